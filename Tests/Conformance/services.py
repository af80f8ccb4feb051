"""Rows 59-65 and 79-83: what is passed on to other services, and the manners of every answer."""

import json
import socket
import threading
from urllib.parse import urlsplit

from data import Identity
from doubles import reply
from suite import POST, Table, expect, post
from verify import demand

table = Table()
row = table.row
PROFILE_METHOD = "app.bsky.actor.getProfile"


def profile_of(account):
    return {"did": account.did, "handle": account.handle, "displayName": "from the AppView"}


@row(59, "app.bsky.actor.getProfile goes to the AppView, in the account's name", "appview_listen", "plc_url")
def to_appview(s):
    a, view = s.first, s.doubles.appview
    view.answers[PROFILE_METHOD] = lambda _: reply(200, profile_of(a), **{
        "atproto-repo-rev": "2222222222222", "atproto-content-labelers": "did:plc:labeler", "x-secret": "kept there"})
    view.take()
    answer = a.get(PROFILE_METHOD, actor=a.did, headers={
        "atproto-accept-labelers": "did:plc:labeler;redact", "x-bsky-topics": "a", "accept-language": "de",
        "cookie": "session=1", "x-other": "no"})
    said = expect(answer, 200)
    demand(said["displayName"] == "from the AppView" and said["did"] == a.did, f"body {said}")
    demand(answer.header("atproto-repo-rev") == "2222222222222", "atproto-repo-rev")
    demand(answer.header("atproto-content-labelers") == "did:plc:labeler", "atproto-content-labelers")
    demand(not answer.header("x-secret"), "other header fields of the AppView stay there")
    request = view.take()[0]
    demand(request.claims["iss"] == a.did, f"claims {request.claims}")
    demand(request.params == {"actor": [a.did]}, f"parameters {request.params}")
    demand(request.headers["atproto-accept-labelers"] == "did:plc:labeler;redact", "atproto-accept-labelers")
    demand((request.headers["x-bsky-topics"], request.headers["accept-language"]) == ("a", "de"), "fields to keep")
    demand(request.headers["cookie"] is None and request.headers["x-other"] is None, "fields that stay here")


def service_identity(s, kind="conformance", url=None):
    """A did:plc whose document has the service `#<kind>` where the suite answers (or at `url`)."""
    identity = Identity(s.doubles.plc, services={kind: ("ConformanceService", url or s.doubles.service.url)})
    if url is None:
        s.doubles.service.be(identity.did)
    return identity


@row(60, "atproto-proxy: to the service that is named, and nothing else with it", "service_listen", "plc_url")
def proxy_header(s):
    a, service = s.first, s.doubles.service
    identity = service_identity(s)
    service.answers["com.example.echo"] = lambda request: reply(200, {"body": json.loads(request.body or b"null")})
    service.take()
    proxy = {"atproto-proxy": f"{identity.did}#conformance"}
    expect(a.get("com.example.echo", headers=proxy | {"cookie": "session=1", "x-other": "no"}, a="1"), 200)
    said = expect(a.post("com.example.echo", {"b": [2]}, headers=proxy), 200)
    demand(said == {"body": {"b": [2]}}, f"body {said}")
    first, second = service.take()
    for request in (first, second):
        demand(request.claims["iss"] == a.did and request.claims["lxm"] == "com.example.echo", f"{request.claims}")
        for name in ("cookie", "x-other", "atproto-proxy", "host"):
            demand(name == "host" or request.headers[name] is None, f"{name} is handed on")
    demand(first.params == {"a": ["1"]} and second.headers["content-type"] == "application/json", "as they came")


@row(61, "atproto-proxy that names nothing", "plc_url")
def proxy_header_wrong(s):
    rows = [
        ("foo", {"no service id specified in proxy header", "invalid proxy header format"}),
        ("did:web:x", {"no service id specified in proxy header"}),
        ("did:web:x#", {"no service id specified in proxy header", "invalid proxy header format"}),
        ("#x", {"no did specified in proxy header"}),
        ("did:web:x #y", {"proxy header cannot contain spaces"}),
        ("did:web:x#y#z", {"invalid proxy header format"}),
        ("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa#x", {"could not resolve proxy did"}),
        (f"{s.first.did}#nothing", {"could not resolve proxy did service url"}),
    ]
    for value, messages in rows:
        said = expect(s.first.get(PROFILE_METHOD, actor=s.first.did, headers={"atproto-proxy": value}), 400,
                      "InvalidRequest")
        demand(said["message"] in messages, f"{value!r}: message {said['message']!r}")


@row(62, "protected methods are never sent out", "service_listen", "plc_url")
def proxy_protected(s):
    a, service = s.first, s.doubles.service
    identity = service_identity(s)
    proxy = {"atproto-proxy": f"{identity.did}#conformance"}
    service.answers["com.example.echo"] = lambda _: reply(200, {})
    expect(a.get("com.example.echo", headers=proxy), 200)
    demand(len(service.take()) > 0, "what is not protected is passed on")
    for method, body in (("server.createAppPassword", {"name": f"never {s.label()}"}),
                         ("identity.updateHandle", {"handle": "not a handle"})):
        answer = a.post(method, body, headers=proxy)
        demand(answer.status in (200, 400), f"{method}: {answer.status}")
    answer = a.get("server.getSession", headers=proxy)
    demand(answer.status == 200 or answer.error == "InvalidToken", f"getSession: {answer.status}")
    demand(not service.take(), "the service was asked")


@row(63, "an AppView that is down, that fails, that refuses", "appview_listen", "plc_url")
def appview_trouble(s):
    a, view = s.first, s.doubles.appview
    method = "app.bsky.feed.getSuggestedFeeds"
    view.answers[method] = lambda _: reply(400, {"error": "SomethingWrong", "message": "told by the AppView"})
    expect(a.get(method), 400, "SomethingWrong", message="told by the AppView")
    view.answers[method] = lambda _: reply(500, {"error": "InternalServerError", "message": "secret"})
    expect(a.get(method), 502)
    view.stop()
    try:
        expect(a.get(method), 502, "UpstreamFailure")
    finally:
        view.start()
    expect(s.server.get(method), 401, "AuthMissing")


@row(64, "a service whose document points into a private network: refused, no connection", "plc_url")
def private_service(s):
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.2)
    connections = []

    def watch():
        while listener.fileno() >= 0:
            try:
                connections.append(listener.accept()[1])
            except TimeoutError:
                continue
            except OSError:
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        port = listener.getsockname()[1]
        for url in (f"http://127.0.0.1:{port}", f"https://127.0.0.1:{port}", f"https://[::ffff:127.0.0.1]:{port}",
                    "https://10.0.0.1", f"https://2130706433:{port}", "https://169.254.169.254"):
            identity = service_identity(s, url=url)
            answer = s.first.get("com.example.echo", headers={"atproto-proxy": f"{identity.did}#conformance"})
            expect(answer, {400, 502}, {"InvalidRequest", "UpstreamFailure"})
    finally:
        listener.close()
        thread.join()
    demand(not connections, f"connections from {connections}")


@row(65, "read after write: what the AppView has not seen yet", "appview_listen", "plc_url")
def read_after_write(s):
    a, view = s.account(), s.doubles.appview
    older = a.create(post("seen by the AppView"))
    newer = a.create(post("not seen yet"))
    shown = {"uri": older["uri"], "cid": older["cid"], "author": profile_of(a), "record": post("seen by the AppView"),
             "indexedAt": "2026-01-01T00:00:00.000Z", "replyCount": 0, "repostCount": 0, "likeCount": 0}
    view.answers["app.bsky.feed.getAuthorFeed"] = lambda _: reply(
        200, {"feed": [{"post": shown}]}, **{"atproto-repo-rev": older["commit"]["rev"]})
    # What a PDS may ask to make its own view of a post.
    view.answers[PROFILE_METHOD] = lambda _: reply(200, profile_of(a))
    view.answers["app.bsky.actor.getProfiles"] = lambda _: reply(200, {"profiles": [profile_of(a)]})
    answer = a.get("app.bsky.feed.getAuthorFeed", actor=a.did)
    feed = expect(answer, 200)["feed"]
    demand([item["post"]["uri"] for item in feed] == [newer["uri"], older["uri"]],
           f"the feed has {[item['post']['uri'] for item in feed]}")
    demand(feed[0]["post"]["record"]["text"] == "not seen yet", "the post is whole")
    demand(answer.header("atproto-upstream-lag").isdigit(), "Atproto-Upstream-Lag")


@row(79, "wrong HTTP method, body, content type, parameter: texts")
def wrong_requests(s):
    a = s.first
    create = "repo.createRecord"
    expect(a.get(create), 400, "InvalidRequest", message="Incorrect HTTP method (GET) expected POST")
    expect(a.post("repo.getRecord", {}), 400, "InvalidRequest", message="Incorrect HTTP method (POST) expected GET")
    expect(a.post(create), 400, "InvalidRequest", message="A request body is expected but none was provided")
    expect(a.post(create, raw=b"{}", kind="text/plain"), 400, "InvalidRequest",
           message="Wrong request encoding (Content-Type): text/plain")
    expect(a.post("server.activateAccount", {"a": 1}), 400, "InvalidRequest",
           message="A request body was provided when none was expected")
    expect(a.post(create, {"repo": a.did, "collection": POST}), 400, "InvalidRequest",
           starts='Invalid com.atproto.repo.createRecord body: Input must have the property "record"')
    expect(a.post(create, {"repo": 1, "collection": POST, "record": {}}), 400, "InvalidRequest",
           starts="Invalid com.atproto.repo.createRecord body: Input/repo must be")
    expect(s.server.get("repo.listRecords", repo=a.did, collection=POST, limit="x"), 400, "InvalidRequest",
           starts="Invalid com.atproto.repo.listRecords params: ")
    expect(s.server.get("repo.getRecord", repo=a.did), 400, "InvalidRequest",
           starts="Invalid com.atproto.repo.getRecord params: Params must have the property ")
    answer = a.post(create, raw=b"{}", kind="application/json", headers={"Content-Encoding": "zstd"})
    expect(answer, 415, "UnsupportedMediaType")


@row(80, "paths that name no method, methods that nobody has")
def unknown_methods(s):
    expect(s.server.get("not_an_nsid"), 400, "InvalidRequest", message="invalid xrpc path")
    for method in ("com.example.nothing", "com.atproto.server.nothing"):
        answer = s.server.get(method)
        expect(answer, {400, 401, 501}, {"InvalidRequest", "AuthMissing", "MethodNotImplemented"})
        expect(s.server.post(method, {}), {400, 401, 501})


@row(81, "31 wrong passwords within five minutes: a limit, and its header fields before it")
def rate_limit(s):
    a = s.account()
    body = {"identifier": a.handle, "password": "wrong"}
    names = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "RateLimit-Policy")
    for number in range(30):
        answer = s.server.post("server.createSession", body)
        demand(answer.status == 401, f"attempt {number + 1}: {answer.status}")
        demand(all(answer.header(name) for name in names), f"attempt {number + 1}: RateLimit fields")
    demand(answer.header("RateLimit-Remaining") == "0" and answer.header("RateLimit-Limit") == "30", "nothing left")
    answer = s.server.post("server.createSession", body)
    expect(answer, 429, "RateLimitExceeded")
    demand(all(answer.header(name) for name in names), "RateLimit fields")
    demand(answer.header("Retry-After").isdigit(), "Retry-After")
    exposed = answer.header("access-control-expose-headers").lower()
    demand(all(name.lower() in exposed for name in (*names, "Retry-After")), f"exposed are {exposed}")
    demand(answer.header("RateLimit-Policy") == "30;w=300", f"policy {answer.header('RateLimit-Policy')}")


@row(82, "answers to credentials are private to them")
def private_answers(s):
    a = s.first
    answers = [
        a.get("server.getSession"), a.get("server.listAppPasswords"), a.get("app.bsky.actor.getPreferences"),
        a.get("server.getServiceAuth", aud="did:web:x"), a.get("sync.getLatestCommit", did=a.did),
        a.post("repo.createRecord", {"repo": a.did, "collection": POST, "record": post()}),
        a.post("repo.createRecord", {"repo": a.did}), s.server.get("server.getSession"),
        s.server.get("server.getSession", token="x"),
    ]
    for answer in answers:
        demand("private" in answer.header("cache-control"), f"Cache-Control of {answer}")
        demand("authorization" in answer.header("vary").lower(), f"Vary of {answer}")
        demand(answer.header("access-control-allow-origin") == "*", f"CORS of {answer}")
        if answer.header("dpop-nonce"):
            demand("dpop-nonce" in answer.header("access-control-expose-headers").lower(), "DPoP-Nonce is exposed")


@row(83, "/robots.txt; /tls-check of a handle, of another domain, of an unknown name")
def other_paths(s):
    demand(s.server.request("GET", "/robots.txt").status == 200, "robots.txt")

    def check(query):
        return s.server.request("GET", f"/tls-check{query}").status

    demand(check(f"?domain={s.first.handle}") == 200, "a handle")
    demand(check(f"?domain={s.handle()}") == 404, "an unknown name")
    demand(check(f"?domain={urlsplit('http://other.example').hostname}") in (400, 404), "another domain")
    demand(check("") == 400, "no domain")
