"""Rows 1-20: without these nothing works."""

import re
import time

import cbrrr
from suite import LIKE, POST, PROFILE, Table, expect, image_post, jwt_parts, now_text, png, post
from verify import block_of, demand, invert_commit, parse_car, tree_of, verify_commit

table = Table()
row = table.row
TID = re.compile(r"[234567a-j][234567a-z]{12}")


@row(1, "_health answers with a version")
def health(s):
    demand(isinstance(expect(s.server.request("GET", "/xrpc/_health"), 200)["version"], str), "version is text")


@row(2, "describeServer: did:web of the host, domains, whether invites are needed")
def describe(s):
    said = s.description
    demand(said["did"] == f"did:web:{s.server.host}", f"did is {said['did']}")
    demand(all(name.startswith(".") for name in said["availableUserDomains"]), "domains begin with a dot")
    if not said["availableUserDomains"]:
        s.left_out("a domain for handles: a server need not have one")
    demand(isinstance(s.optional(said, "inviteCodeRequired"), (bool, type(None))), "inviteCodeRequired is a boolean")


@row(3, "preflight: any origin, the headers that clients need")
def preflight(s):
    wanted = ["authorization", "atproto-proxy", "dpop"]
    answer = s.server.request("OPTIONS", "/xrpc/com.atproto.server.getSession", {
        "Origin": "https://app.example", "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": ",".join(wanted)})
    demand(answer.status in (200, 204), f"status {answer.status}")
    demand(answer.header("access-control-allow-origin") == "*", "any origin")
    allowed = [name.strip() for name in answer.header("access-control-allow-headers").lower().split(",")]
    # An asterisk allows all but Authorization (https://fetch.spec.whatwg.org/#cors-preflight-fetch).
    demand(all(name in allowed or ("*" in allowed and name != "authorization") for name in wanted),
           f"allowed headers are {allowed}")
    if not answer.header("access-control-max-age"):
        s.left_out("how long it holds: a server need not say")
    demand(answer.header("access-control-max-age") in ("", "86400"), "it holds for a day")


@row(4, "createAccount: did:plc, handle, tokens of the right kind and life")
def create_account(s):
    body = s.registration()
    made = expect(s.server.post("server.createAccount", body), 200)
    demand(re.fullmatch("did:plc:[a-z2-7]{24}", made["did"]), f"did is {made['did']}")
    demand(made["handle"] == body["handle"], "the handle asked for")
    header, claims = jwt_parts(made["accessJwt"])
    demand(header["typ"] == "at+jwt" and header["alg"] == "HS256", f"header of the access token {header}")
    demand(claims["exp"] - claims["iat"] == 7_200, "an access token lives 120 minutes")
    demand(claims["aud"] == s.service_did and claims["sub"] == made["did"], f"claims {claims}")
    demand(claims["scope"] == "com.atproto.access", "scope of an access token")
    header, claims = jwt_parts(made["refreshJwt"])
    demand(header["typ"] == "refresh+jwt", "typ of a refresh token")
    demand(claims["exp"] - claims["iat"] == 7_776_000, "a refresh token lives 90 days")
    demand(claims["scope"] == "com.atproto.refresh" and claims["jti"], f"claims {claims}")
    if "didDoc" in made:
        demand(made["didDoc"]["id"] == made["did"], "didDoc is the account's")


@row(5, "createSession by handle, by e-mail, by DID; names in capitals too")
def create_session(s):
    a = s.first
    names = [a.handle, a.did, a.handle.upper()]
    if a.email:
        names += [a.email, a.email.upper()]
    else:
        s.left_out("by e-mail: the server does not tell it")
    for identifier in names:
        body = {"identifier": identifier, "password": a.password}
        said = expect(s.server.post("server.createSession", body), 200)
        demand(said["did"] == a.did and said["handle"] == a.handle, "the account's names")
        demand(s.optional(said, "active") in (None, True), "active")
        demand(s.optional(said, "emailConfirmed") in (None, False), "not confirmed")


@row(6, "getSession: who is signed in")
def get_session(s):
    a = s.first
    said = expect(a.get("server.getSession"), 200)
    demand((said["did"], said["handle"]) == (a.did, a.handle), "the account")
    demand(s.optional(said, "email") in (None, a.email), "its e-mail")
    demand(s.optional(said, "active") in (None, True), "active")
    demand((s.optional(said, "didDoc") or {"id": a.did})["id"] == a.did, "with its DID document")


@row(7, "refreshSession: a new pair, a new jti")
def refresh_session(s):
    a = s.account()
    said = expect(s.server.post("server.refreshSession", token=a.refresh), 200)
    demand((said["did"], said["handle"]) == (a.did, a.handle), "the account")
    demand(jwt_parts(said["refreshJwt"])[1]["jti"] != jwt_parts(a.refresh)[1]["jti"], "a new jti")
    expect(s.server.get("server.getSession", token=said["accessJwt"]), 200)


@row(8, "getSession without a header")
def no_header(s):
    expect(s.server.get("server.getSession"), 401, "AuthMissing", message="Authentication Required")


@row(9, "getSession with a token that is none, and with a refresh token")
def wrong_tokens(s):
    expect(s.server.get("server.getSession", token="x"), 400, "InvalidToken", message="Token could not be verified")
    said = expect(s.server.get("server.getSession", token=s.first.refresh), 400, "InvalidToken")
    demand(said["message"] in ("Bad token scope", "Invalid token"), f"message {said['message']!r}")
    expect(s.server.get("server.getSession", auth="x"), 400, "InvalidToken", message="Malformed authorization header")
    expect(s.server.get("server.getSession", auth="Basic YTpi"), 400, "InvalidToken",
           starts="Unsupported authorization type:")


@row(10, "getSession with an expired access token", "session_key")
def expired_access(s):
    token = s.session_token(s.first.did, "com.atproto.access", "at+jwt", int(time.time()) + 600)
    expect(s.server.get("server.getSession", token=token), 200)
    token = s.session_token(s.first.did, "com.atproto.access", "at+jwt", int(time.time()) - 10)
    expect(s.server.get("server.getSession", token=token), 400, "ExpiredToken", message="Token has expired")


@row(11, "createSession with a wrong password, with an unknown identifier: the same answer")
def wrong_password(s):
    bodies = []
    for identifier in (s.first.handle, s.handle(), "nobody@example.com"):
        body = {"identifier": identifier, "password": "wrong"}
        answer = s.server.post("server.createSession", body)
        expect(answer, 401, "AuthenticationRequired", message="Invalid identifier or password")
        bodies.append(answer.body)
    demand(len(set(bodies)) == 1, "the answers differ")
    body = {"identifier": s.first.handle, "password": "x" * 513}
    expect(s.server.post("server.createSession", body), 401, "AuthenticationRequired",
           message="Password too long. Consider resetting your password.")


@row(12, "createRecord of a post")
def create_record(s):
    a = s.first
    body = {"repo": a.did, "collection": POST, "record": post()}
    made = expect(a.post("repo.createRecord", body), 200)
    demand(s.optional(made, "validationStatus") in (None, "valid"), "validationStatus")
    place, collection, rkey = made["uri"].removeprefix("at://").split("/")
    demand((place, collection) == (a.did, POST) and TID.fullmatch(rkey), f"uri {made['uri']}")
    head = a.head()
    demand((s.optional(made, "commit") or head) == {"cid": head["cid"], "rev": head["rev"]}, "the commit is the head")
    demand(made["cid"].startswith("bafyrei"), "a record's CID")


@row(13, "getRecord and listRecords of it, without credentials")
def read_record(s):
    a = s.first
    made = a.create(post("read me"))
    rkey = made["uri"].rsplit("/", 1)[1]
    for repo in (a.did, a.handle):
        got = expect(s.server.get("repo.getRecord", repo=repo, collection=POST, rkey=rkey), 200)
        demand((got["uri"], got["cid"]) == (made["uri"], made["cid"]), "uri and cid")
        demand(got["value"]["$type"] == POST and got["value"]["text"] == "read me", "the value")
    place = {"repo": a.did, "collection": POST, "rkey": rkey}
    expect(s.server.get("repo.getRecord", cid=made["cid"], **place), 200)
    expect(s.server.get("repo.getRecord", cid=s.second.head()["cid"], **place), 400, "RecordNotFound")
    listed = expect(s.server.get("repo.listRecords", repo=a.did, collection=POST, limit=1), 200)["records"]
    demand([(one["cid"], one["value"]["$type"]) for one in listed] == [(made["cid"], POST)], "the newest first")


@row(14, "putRecord, then again unchanged: no commit")
def put_record(s):
    a = s.first
    body = {"repo": a.did, "collection": PROFILE, "rkey": "self",
            "record": {"$type": PROFILE, "displayName": "Conformance"}}
    made = expect(a.post("repo.putRecord", body), 200)
    head = a.head()
    demand((s.optional(made, "commit") or head)["rev"] == head["rev"], "a commit")
    again = expect(a.post("repo.putRecord", body), 200)
    demand("commit" not in again and again["cid"] == made["cid"], "no commit, the same cid")
    demand(a.head() == head, "the head has not changed")


@row(15, "deleteRecord, then again")
def delete_record(s):
    a = s.first
    made = a.create(post("to go"))
    body = {"repo": a.did, "collection": POST, "rkey": made["uri"].rsplit("/", 1)[1]}
    said = expect(a.post("repo.deleteRecord", body), 200)
    head = a.head()
    demand(head["rev"] > made["commit"]["rev"], "a commit")
    demand((s.optional(said or {}, "commit") or head) == head, "the commit is the head")
    expect(a.post("repo.deleteRecord", body), 200)
    demand(a.head() == head, "the second makes no commit")
    expect(s.server.get("repo.getRecord", **body), 400, "RecordNotFound", starts="Could not locate record: at://")


@row(16, "applyWrites of create, update and delete: one rev")
def apply_writes(s):
    a = s.first
    kept, gone = a.create(post("to change")), a.create(post("to go"))
    place = {"collection": POST}
    writes = [
        {"$type": "com.atproto.repo.applyWrites#create", **place, "value": post("new")},
        {"$type": "com.atproto.repo.applyWrites#update", **place, "rkey": kept["uri"].rsplit("/", 1)[1],
         "value": post("changed")},
        {"$type": "com.atproto.repo.applyWrites#delete", **place, "rkey": gone["uri"].rsplit("/", 1)[1]},
    ]
    with s.stream() as stream:
        said = expect(a.post("repo.applyWrites", {"repo": a.did, "writes": writes}), 200)
        results = s.optional(said, "results") or []
        kinds = [result["$type"] for result in results]
        wanted = [f"com.atproto.repo.applyWrites#{kind}Result" for kind in ("create", "update", "delete")]
        demand(not results or kinds == wanted, f"results are {kinds}")
        demand(all(s.optional(result, "validationStatus") in (None, "valid") for result in results[:2]), "valid")
        head = a.head()
        demand((s.optional(said, "commit") or head)["rev"] == head["rev"], "one commit")
        event = stream.commit_of(head["rev"], a.did)[-1][1]
    demand(event["since"] == gone["commit"]["rev"] and len(event["ops"]) == 3,
           f"one event with three operations: {event['since']}, {event['ops']}")


@row(17, "uploadBlob (also in chunks), a record with it, getBlob: the bytes, in headers that make no page of them")
def blob(s):
    a = s.first
    content = png(17)
    reference = a.upload(content)
    demand(reference["$type"] == "blob" and reference["mimeType"] == "image/png", f"reference {reference}")
    demand(reference["size"] == len(content) and reference["ref"]["$link"].startswith("bafkrei"), "size and CID")
    head = (f"POST /xrpc/com.atproto.repo.uploadBlob HTTP/1.1\r\nHost: {s.server.authority}\r\nConnection: close\r\n"
            f"Authorization: Bearer {a.access}\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n")
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (content[:50], content[50:], b""))
    answer = s.server.raw(head.encode() + chunks)
    demand(answer.status == 200 and reference["ref"]["$link"].encode() in answer.body, f"in chunks: {answer}")
    unnamed = s.server.get("sync.getBlob", did=a.did, cid=reference["ref"]["$link"])
    demand(unnamed.status == 400, "a blob that no record names is nobody's to see")
    a.create(image_post(reference))
    got = s.server.get("sync.getBlob", did=a.did, cid=reference["ref"]["$link"])
    demand(got.status == 200 and got.body == content, f"status {got.status}, {len(got.body)} bytes")
    demand(got.header("content-type") == "image/png", "its type")
    demand(got.header("content-security-policy") == "default-src 'none'; sandbox", "Content-Security-Policy")
    demand(got.header("x-content-type-options") == "nosniff", "X-Content-Type-Options")
    demand(got.header("content-length") == str(len(content)), "Content-Length")
    name = f'attachment; filename="{reference["ref"]["$link"]}"'
    demand(got.header("content-disposition") == name, f"Content-Disposition {got.header('content-disposition')}")


@row(18, "getRepo: one root, a signed commit of version 3, the tree of all records")
def get_repo(s):
    a = s.first
    a.create(post())
    answer = s.server.get("sync.getRepo", did=a.did)
    expect(answer, 200)
    demand(answer.header("content-type") == "application/vnd.ipld.car", "the media type of a CAR")
    root, _, blocks = parse_car(answer.body)
    commit = verify_commit(block_of(blocks, root), a.did, s.signing_key(a.did))
    records = tree_of(blocks, commit["data"])
    listed = {}
    for collection in expect(s.server.get("repo.describeRepo", repo=a.did), 200)["collections"]:
        cursor = None
        while True:
            page = expect(s.server.get("repo.listRecords", repo=a.did, collection=collection, limit=100,
                                       cursor=cursor), 200)
            for record in page["records"]:
                listed[record["uri"].removeprefix(f"at://{a.did}/").encode()] = record["cid"]
            cursor = page.get("cursor")
            if not page["records"] or cursor is None:
                break
    demand({key: cid.encode() for key, cid in records.items()} == listed, "the tree has what listRecords has")
    for cid in records.values():
        cbrrr.decode_dag_cbor(block_of(blocks, cid))


@row(19, "subscribeRepos without a cursor: a commit that can be inverted")
def firehose(s):
    a = s.first
    before = a.head()
    _, _, blocks = parse_car(a.archive())
    data_before = cbrrr.decode_dag_cbor(blocks[bytes(cbrrr.CID.decode(before["cid"]))])["data"]
    with s.stream() as stream:
        made = a.create({"$type": LIKE, "createdAt": now_text(),
                         "subject": {"uri": f"at://{a.did}/{POST}/3jzfcijpj2z2a", "cid": before["cid"]}}, LIKE)
        event = stream.commit_of(made["commit"]["rev"], a.did)[-1][1]
    demand(event["commit"].encode() == made["commit"]["cid"] and event["since"] == before["rev"], "commit and since")
    path = made["uri"].removeprefix(f"at://{a.did}/")
    demand([(op["action"], op["path"], op["cid"].encode()) for op in event["ops"]]
           == [("create", path, made["cid"])], f"ops {event['ops']}")
    demand(event["prevData"] == data_before, "prevData is the data before")
    demand(not event["rebase"] and not event["tooBig"] and event["blobs"] == [], "the fields that stay for old readers")
    commit = invert_commit(event)
    verify_commit(block_of(parse_car(event["blocks"])[2], event["commit"]), a.did, s.signing_key(a.did))
    demand(commit["rev"] == event["rev"], "rev")


@row(20, "/.well-known/atproto-did by host")
def well_known(s):
    s.domain  # a server without handles of its own need not answer for any
    got = s.server.request("GET", "/.well-known/atproto-did", {"Host": s.first.handle})
    demand(got.status == 200 and got.body.decode().strip() == s.first.did, f"{got.status} {got.body!r}")
    demand(got.header("content-type").startswith("text/plain"), "text/plain")
    got = s.server.request("GET", "/.well-known/atproto-did", {"Host": s.handle()})
    demand(got.status == 404, f"unknown handle: {got.status}")
