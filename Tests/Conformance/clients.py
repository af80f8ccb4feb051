"""Rows 21-58: clients break without these."""

import os
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import cbrrr
from data import find, raw_cid
from suite import (
    LIKE,
    POST,
    UNKNOWN,
    Account,
    Server,
    Table,
    did_of,
    expect,
    image_post,
    jwt_parts,
    jwt_signature,
    note,
    now_text,
    png,
    post,
)
from verify import block_of, decode_frame, demand, invert_commit, parse_car, verify_commit, verify_signature
from websockets.exceptions import InvalidStatus

table = Table()
row = table.row
APP_PASSWORD = re.compile("[a-z2-7]{4}(-[a-z2-7]{4}){3}")
# Frames that a subscriber may have waiting before it is cut off: the reference's 500, and some that the network holds.
SLOW_COMMITS = 640


def app_session(s, account, privileged=False):
    """(the app password, an Account that is signed in with it)."""
    body = {"name": f"conformance {s.label()}", "privileged": privileged}
    made = expect(account.post("server.createAppPassword", body), 200)
    session = expect(s.sign_in(account, made["password"]), 200)
    return made, Account(s, session, password=made["password"])


@row(21, "refreshSession twice with the same token within the grace, and eight times at once: the same next jti")
def refresh_twice(s):
    a = s.account()
    answers = [expect(s.server.post("server.refreshSession", token=a.refresh), 200) for _ in range(2)]
    answers += [expect(answer, 200) for answer in at_once(
        8, lambda server: server.post("server.refreshSession", token=a.refresh), s)]
    identifiers = {jwt_parts(answer["refreshJwt"])[1]["jti"] for answer in answers}
    demand(len(identifiers) == 1 and jwt_parts(a.refresh)[1]["jti"] not in identifiers, f"jti {identifiers}")


def at_once(count, ask, s):
    """The answers to `ask`, called by `count` threads with a server of their own."""
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda _: ask(Server(s.server.url)), range(count)))


@row(22, "a refresh token after deleteSession")
def refresh_deleted(s):
    a = s.account()
    answer = s.server.post("server.deleteSession", token=a.refresh)
    expect(answer, 200)
    demand(answer.body == b"", "a procedure without output has an empty body")
    expect(s.server.post("server.refreshSession", token=a.refresh), 400, "ExpiredToken",
           message="Token has been revoked")


@row(23, "deleteSession with an expired refresh token", "session_key")
def delete_expired(s):
    a = s.account()
    identifier = jwt_parts(a.refresh)[1]["jti"]
    token = s.session_token(a.did, "com.atproto.refresh", "refresh+jwt", int(time.time()) - 10, jti=identifier)
    expect(s.server.post("server.refreshSession", token=token), 400, "ExpiredToken", message="Token has expired")
    expect(s.server.post("server.deleteSession", token=token), 200)
    expect(s.server.post("server.refreshSession", token=a.refresh), 400, "ExpiredToken")


@row(24, "createAppPassword, and signing in with it")
def app_password(s):
    a = s.first
    made, session = app_session(s, a)
    demand(APP_PASSWORD.fullmatch(made["password"]), f"form of the password {made['password']}")
    demand(made["privileged"] is False and made["createdAt"], "what it answers")
    demand(jwt_parts(session.access)[1]["scope"] == "com.atproto.appPass", "scope of its session")
    expect(session.get("server.getSession"), 200)
    listed = expect(a.get("server.listAppPasswords"), 200)["passwords"]
    demand(made["name"] in [one["name"] for one in listed] and all("password" not in one for one in listed), "listed")
    expect(a.post("server.createAppPassword", {"name": made["name"]}), 400)


@row(25, "an app password can't manage the account")
def app_password_limits(s):
    _, session = app_session(s, s.first)
    expect(session.post("server.createAppPassword", {"name": "more"}), 400, "InvalidToken", message="Bad token scope")
    expect(session.post("server.requestAccountDelete"), 400, "InvalidToken", message="Bad token scope")
    expect(session.post("repo.importRepo", raw=b"x", kind="application/vnd.ipld.car"), 400, "InvalidToken",
           message="Bad token scope")


@row(26, "getServiceAuth for chat: a privileged app password only")
def app_password_chat(s):
    chat = {"aud": "did:web:api.bsky.chat", "lxm": "chat.bsky.convo.listConvos"}
    _, session = app_session(s, s.first)
    expect(session.get("server.getServiceAuth", **chat), 400, "InvalidRequest", starts="insufficient access to request")
    _, session = app_session(s, s.first, privileged=True)
    demand(jwt_parts(session.access)[1]["scope"] == "com.atproto.appPassPrivileged", "scope of its session")
    expect(session.get("server.getServiceAuth", **chat), 200)


@row(27, "an app password is revoked: its sessions end")
def app_password_revoked(s):
    a = s.first
    made, session = app_session(s, a)
    expect(s.server.post("server.refreshSession", token=session.refresh), 200)
    expect(a.post("server.revokeAppPassword", {"name": made["name"]}), 200)
    expect(s.server.post("server.refreshSession", token=session.refresh), 400, "ExpiredToken",
           message="Token has been revoked")
    expect(s.sign_in(a, made["password"]), 401, "AuthenticationRequired")


@row(28, "getServiceAuth: a token for one minute, signed by the repository's key")
def service_auth(s):
    a = s.first
    asked = {"aud": "did:web:service.example", "lxm": "com.example.method"}
    token = expect(a.get("server.getServiceAuth", **asked), 200)["token"]
    header, claims = jwt_parts(token)
    demand(header["typ"] == "JWT" and header["alg"] in ("ES256K", "ES256"), f"header {header}")
    demand((claims["iss"], claims["aud"], claims["lxm"]) == (a.did, asked["aud"], asked["lxm"]), f"claims {claims}")
    demand(claims["exp"] - claims["iat"] == 60 and claims["jti"], "60 seconds, with a jti")
    verify_signature(s.signing_key(a.did), jwt_signature(token), token.rsplit(".", 1)[0].encode())


@row(29, "getServiceAuth with an expiry in the past, too late, too late without a method")
def service_auth_expiry(s):
    now = int(time.time())
    for more in ({"exp": now - 60, "lxm": "com.example.method"}, {"exp": now + 7_200, "lxm": "com.example.method"},
                 {"exp": now + 600}):
        expect(s.first.get("server.getServiceAuth", aud="did:web:service.example", **more), 400, "BadExpiration")
    expect(s.first.get("server.getServiceAuth", aud="did:web:service.example", exp=now + 600,
                       lxm="com.example.method"), 200)
    expect(s.first.get("server.getServiceAuth", aud="service.example"), 400, "InvalidRequest")


@row(30, "getServiceAuth for a protected method")
def service_auth_protected(s):
    for method in ("server.getSession", "server.createAppPassword", "identity.updateHandle", "server.updateEmail"):
        expect(s.first.get("server.getServiceAuth", aud="did:web:service.example", lxm=f"com.atproto.{method}"), 400,
               "InvalidRequest",
               message="cannot request a service auth token for the following protected method: "
               f"com.atproto.{method}")


@row(31, "uploadBlob with the user's service token: right, wrong method, wrong audience, expired")
def service_upload(s):
    a = s.account()

    def token(audience=s.service_did, method="com.atproto.repo.uploadBlob", **more):
        return expect(a.get("server.getServiceAuth", aud=audience, lxm=method, **more), 200)["token"]

    def upload(bearer):
        return s.server.post("repo.uploadBlob", raw=png(31), kind="image/png", token=bearer)

    short = int(time.time()) + 1
    expired = token(exp=short)
    expect(upload(token()), 200)
    expect(upload(token(method="com.atproto.repo.createRecord")), 401, "BadJwtLexiconMethod")
    expect(upload(token(audience="did:web:other.example")), 401, "BadJwtAudience")
    header, claims, signature = token().split(".")
    broken = ("A" if signature[0] != "A" else "B") + signature[1:]
    expect(upload(f"{header}.{claims}.{broken}"), 401, "BadJwtSignature")
    while time.time() < short + 1:
        time.sleep(0.05)
    expect(upload(expired), 401, "JwtExpired")


@row(32, "createRecord in another's repository")
def others_repo(s):
    body = {"repo": s.second.did, "collection": POST, "record": post()}
    expect(s.first.post("repo.createRecord", body), 401, "AuthenticationRequired")
    for method, more in (("putRecord", {"rkey": "self", "record": post()}), ("deleteRecord", {"rkey": "self"})):
        expect(s.first.post(f"repo.{method}", {"repo": s.second.did, "collection": POST, **more}), 401,
               "AuthenticationRequired")
    expect(s.first.post("repo.applyWrites", {"repo": s.second.did, "writes": []}), 401, "AuthenticationRequired")


@row(33, "createRecord and validation: what is known is checked, what is not is taken")
def validation(s):
    a = s.first
    incomplete = post()
    del incomplete["text"]

    def create(record, collection=POST, **more):
        return a.post("repo.createRecord", {"repo": a.did, "collection": collection, "record": record, **more})

    expect(create(incomplete), 400, "InvalidRequest", has='"text"')
    expect(create(post() | {"$type": LIKE}), 400, "InvalidRequest", has=f"expected {POST}")
    expect(create(post(), rkey="a/b"), 400, "InvalidRequest")
    expect(create(post(createdAt="yesterday")), 400, "InvalidRequest", has="createdAt")
    said = expect(create(note("x"), UNKNOWN), 200)
    demand(s.optional(said, "validationStatus") in (None, "unknown"), "validationStatus")
    expect(create(note("x"), UNKNOWN, validate=True), 400, "InvalidRequest", has=f"Unknown lexicon type: {UNKNOWN}")
    demand("validationStatus" not in expect(create(incomplete, validate=False), 200), "no validationStatus")


@row(34, "createRecord with a blob that is unknown, of another type, of another size")
def blob_reference(s):
    a = s.first
    reference = a.upload(png(34))

    def create(**changes):
        blob = reference | changes
        return a.post("repo.createRecord", {"repo": a.did, "collection": POST, "record": image_post(blob)})

    expect(create(ref={"$link": raw_cid(os.urandom(16)).encode()}), 400, "BlobNotFound", starts="Could not find blob:")
    expect(create(mimeType="image/jpeg"), 400, "InvalidMimeType")
    expect(create(size=reference["size"] + 1), 400, "InvalidSize")
    expect(create(), 200)


@row(35, "swaps: a stale swapCommit, a wrong swapRecord, null where there is a record")
def swaps(s):
    a = s.account()
    made = a.create(post())
    old = made["commit"]["cid"]
    head = a.create(post("more"))["commit"]
    create = {"repo": a.did, "collection": POST, "record": post()}
    expect(a.post("repo.createRecord", create | {"swapCommit": old}), 400, "InvalidSwap",
           message=f"Commit was at {head['cid']}")
    place = {"repo": a.did, "collection": POST, "rkey": made["uri"].rsplit("/", 1)[1]}
    put = place | {"record": post("changed")}
    for swap in (old, None):
        expect(a.post("repo.putRecord", put | {"swapRecord": swap}), 400, "InvalidSwap",
               message=f"Record was at {made['cid']}")
    expect(a.post("repo.deleteRecord", place | {"swapRecord": old}), 400, "InvalidSwap")
    demand(a.head()["cid"] == head["cid"], "nothing has changed")
    expect(a.post("repo.putRecord", put | {"swapRecord": made["cid"], "swapCommit": head["cid"]}), 200)


def creations(count):
    return [{"$type": "com.atproto.repo.applyWrites#create", "collection": UNKNOWN, "value": note(f"{number}")}
            for number in range(count)]


@row(36, "applyWrites with 201 writes")
def too_many_writes(s):
    a = s.account()
    expect(a.post("repo.applyWrites", {"repo": a.did, "writes": creations(201)}), 400, "InvalidRequest",
           message="Too many writes. Max: 200")
    said = expect(a.post("repo.applyWrites", {"repo": a.did, "writes": creations(200)}), 200)
    demand(len(said["results"]) == 200, "200 are taken")


@row(37, "[better] applyWrites that deletes or updates what is not there, creates what is: nothing of it is done")
def delete_missing(s):
    a = s.first
    head = a.head()
    writes = [*creations(1), {"$type": "com.atproto.repo.applyWrites#delete", "collection": UNKNOWN, "rkey": "none"}]
    expect(a.post("repo.applyWrites", {"repo": a.did, "writes": writes}), 400, "InvalidRequest")
    place = {"collection": UNKNOWN, "rkey": "none", "value": note("x")}
    create, update = ({"$type": f"com.atproto.repo.applyWrites#{kind}", **place} for kind in ("create", "update"))
    for writes in ([*creations(1), update], [create, create]):
        expect(a.post("repo.applyWrites", {"repo": a.did, "writes": writes}), 400, "InvalidRequest")
    demand(a.head() == head, "nothing has changed")
    a.create(note("x"), UNKNOWN, rkey="there")
    body = {"repo": a.did, "collection": UNKNOWN, "rkey": "there", "record": note("y")}
    expect(a.post("repo.createRecord", body), 400, "InvalidRequest")


@row(38, "bodies that are too large: 1.1 MB of JSON, a blob beyond the limit; a large one that is refused is told why")
def too_large(s):
    a = s.first
    body = {"repo": a.did, "collection": UNKNOWN, "record": note("x" * 1_100_000)}
    expect(a.post("repo.createRecord", body), 413, "PayloadTooLarge")
    # A client signs in again when it hears this, and loses the upload when it does not.
    expect(s.server.post("repo.uploadBlob", raw=bytes(3_000_000), kind="image/png", token="x"), 400, "InvalidToken")
    limit = s.description.get("blobUploadLimit")
    if not limit or limit > 200_000_000:
        s.left_out("describeServer gives no blobUploadLimit that can be tried")
        return
    expect(a.post("repo.uploadBlob", raw=bytes(limit + 1), kind="application/octet-stream"), 413, "PayloadTooLarge")


@row(39, "a second like of the same subject: the older one goes")
def second_like(s):
    a = s.account()
    subject = a.create(post("to like"))
    record = {"$type": LIKE, "createdAt": now_text(), "subject": {"uri": subject["uri"], "cid": subject["cid"]}}
    older = a.create(record, LIKE)
    with s.stream() as stream:
        newer = a.create(record | {"createdAt": "2026-01-01T00:00:00.000Z"}, LIKE)
        event = stream.commit_of(newer["commit"]["rev"], a.did)[-1][1]
    listed = expect(s.server.get("repo.listRecords", repo=a.did, collection=LIKE), 200)["records"]
    demand([one["uri"] for one in listed] == [newer["uri"]], f"likes {[one['uri'] for one in listed]}")
    kinds = {(op["action"], op["path"].split("/")[1]) for op in event["ops"]}
    demand(kinds == {("delete", older["uri"].rsplit("/", 1)[1]), ("create", newer["uri"].rsplit("/", 1)[1])},
           f"ops {kinds}")


@row(40, "listRecords: limits, order, pages, an unknown repository")
def list_records(s):
    a = s.account()
    for number in range(5):
        expect(a.post("repo.putRecord", {"repo": a.did, "collection": UNKNOWN, "rkey": f"k{number}",
                                         "record": note(str(number))}), 200)
    place = {"repo": a.did, "collection": UNKNOWN}
    for limit in (0, 101):
        expect(s.server.get("repo.listRecords", limit=limit, **place), 400, "InvalidRequest")

    def pages(**more):
        keys, cursor = [], None
        while True:
            page = expect(s.server.get("repo.listRecords", limit=2, cursor=cursor, **place, **more), 200)
            demand(len(page["records"]) <= 2, "no more than asked for")
            keys += [one["uri"].rsplit("/", 1)[1] for one in page["records"]]
            cursor = page.get("cursor")
            if not page["records"] or cursor is None:
                return keys

    demand(pages() == ["k4", "k3", "k2", "k1", "k0"], f"pages {pages()}")
    demand(pages(reverse="true") == ["k0", "k1", "k2", "k3", "k4"], f"reversed {pages(reverse='true')}")
    unknown = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"
    expect(s.server.get("repo.listRecords", repo=unknown, collection=UNKNOWN), 400, "InvalidRequest",
           message=f"Could not find repo: {unknown}")


@row(41, "describeRepo")
def describe_repo(s):
    a = s.first
    a.create(note("x"), UNKNOWN)
    said = expect(s.server.get("repo.describeRepo", repo=a.handle), 200)
    demand((said["handle"], said["did"], said["didDoc"]["id"]) == (a.handle, a.did, a.did), "whose it is")
    demand(UNKNOWN in said["collections"] and said["handleIsCorrect"] is True, f"{said['collections']}")


@row(42, "sync.getRecord: a proof that a record is there, or that it is not")
def record_proof(s):
    a = s.first
    made = a.create(post("proved"))
    key = s.signing_key(a.did)
    for rkey, cid in ((made["uri"].rsplit("/", 1)[1], made["cid"]), ("3zzzzzzzzzzzz", None)):
        answer = s.server.get("sync.getRecord", did=a.did, collection=POST, rkey=rkey)
        expect(answer, 200)
        demand(answer.header("content-type") == "application/vnd.ipld.car", "the media type of a CAR")
        root, _, blocks = parse_car(answer.body)
        commit = verify_commit(block_of(blocks, root), a.did, key)
        found = find(blocks, commit["data"], f"{POST}/{rkey}".encode())
        demand((found.encode() if found else None) == cid, f"the proof says {found}")
        if found:
            demand(cbrrr.decode_dag_cbor(block_of(blocks, found))["text"] == "proved", "the record is in the proof")


@row(43, "getRepo since a revision: no older blocks")
def since(s):
    a = s.account()
    a.create(post("old"))
    rev = a.create(post("older than since"))["commit"]["rev"]
    _, _, before = parse_car(a.archive())
    newer = a.create(post("new"))
    root, _, blocks = parse_car(a.archive(since=rev))
    demand(root.encode() == a.head()["cid"], "the root is the head")
    demand(bytes(cbrrr.CID.decode(newer["cid"])) in blocks, "the new record is there")
    demand(not set(before) & set(blocks), "it has blocks that were there before")


@row(44, "getBlocks of two CIDs, of an unknown one")
def get_blocks(s):
    a = s.first
    cids = [a.create(post(f"block {number}"))["cid"] for number in range(2)]
    answer = s.server.get("sync.getBlocks", did=a.did, cids=cids)
    expect(answer, 200)
    content = answer.body
    for cid in cids:
        demand(bytes(cbrrr.CID.decode(cid)) in content, f"{cid} is not in the CAR")
    unknown = "bafyreigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi"
    expect(s.server.get("sync.getBlocks", did=a.did, cids=[cids[0], unknown]), 400,
           message=f"Could not find cids: {unknown}")


@row(45, "getLatestCommit, getHead, getRepo and getRepoStatus agree")
def heads(s):
    a = s.first
    head = a.head()
    demand(expect(s.server.get("sync.getHead", did=a.did), 200)["root"] == head["cid"], "getHead")
    demand(parse_car(a.archive())[0].encode() == head["cid"], "getRepo")
    status = expect(s.server.get("sync.getRepoStatus", did=a.did), 200)
    demand(status == {"did": a.did, "active": True, "rev": head["rev"]}, f"getRepoStatus {status}")


def listed_repo(s, did):
    """The row of `did` in listRepos, whatever the page; None if it is not there."""
    cursor = None
    while True:
        page = expect(s.server.get("sync.listRepos", limit=1_000, cursor=cursor), 200)
        for repo in page["repos"]:
            if repo["did"] == did:
                return repo
        cursor = page.get("cursor")
        if not page["repos"] or cursor is None:
            return None


@row(46, "listRepos; listBlobs since; a limit of 1001")
def listings(s):
    a = s.account()
    blobs = [a.upload(png(f"46-{number}")) for number in range(2)]
    rev = a.create(image_post(blobs[0]))["commit"]["rev"]
    a.create(image_post(blobs[1]))
    head = a.head()
    said = listed_repo(s, a.did)
    demand(said == {"did": a.did, "head": head["cid"], "rev": head["rev"], "active": True}, f"listRepos {said}")
    links = [blob["ref"]["$link"] for blob in blobs]
    demand(set(expect(s.server.get("sync.listBlobs", did=a.did), 200)["cids"]) == set(links), "listBlobs")
    demand(expect(s.server.get("sync.listBlobs", did=a.did, since=rev), 200)["cids"] == links[1:], "since")
    for method in ("sync.listBlobs", "sync.listRepos"):
        expect(s.server.get(method, did=a.did, limit=1_001), 400, "InvalidRequest")


@row(47, "[better] getRepo of an unknown DID; getBlob of an unknown CID")
def unknown_things(s):
    unknown = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"
    for method in ("getRepo", "getLatestCommit", "getRepoStatus", "listBlobs"):
        expect(s.server.get(f"sync.{method}", did=unknown), 400, "RepoNotFound",
               message=f"Could not find repo for DID: {unknown}")
    cid = raw_cid(os.urandom(16)).encode()
    expect(s.server.get("sync.getBlob", did=s.first.did, cid=cid), 400, "BlobNotFound", message="Blob not found")


def data_of(event):
    """The root of the tree of a #commit event."""
    return cbrrr.decode_dag_cbor(block_of(parse_car(event["blocks"])[2], event["commit"]))["data"]


def current_seq(s):
    """The seq of an event that has just been."""
    with s.stream() as stream:
        made = s.first.create(note("where are we"), UNKNOWN)
        return stream.commit_of(made["commit"]["rev"], s.first.did)[-1][1]["seq"]


@row(48, "subscribeRepos from 0: the whole window, in order; each repository's chain is unbroken")
def from_the_beginning(s):
    a = s.account()
    body = {"repo": a.did, "collection": UNKNOWN, "record": note("at once")}
    for answer in at_once(16, lambda server: server.post("repo.createRecord", body, token=a.access), s):
        expect(answer, 200)
    revs = [a.create(note(str(number)), UNKNOWN)["commit"]["rev"] for number in range(3)]
    with s.stream(0) as stream:
        seen = stream.commit_of(revs[-1], a.did)
    numbers = [event["seq"] for kind, event in seen if kind != "#info"]
    demand(numbers[0] >= 1 and numbers == sorted(set(numbers)), "seq is positive and rises")
    own = [event for kind, event in seen if kind == "#commit" and event["repo"] == a.did]
    demand([event["rev"] for event in own][-3:] == revs, "every commit, once")
    for before, event in zip(own, own[1:]):
        demand(event["since"] == before["rev"] < event["rev"], f"since {event['since']} after {before['rev']}")
        demand(invert_commit(event)["data"] and event["prevData"] == data_of(before), "prevData is the data before")
    middle = own[-2]["seq"]
    with s.stream(middle) as stream:
        kind, event = stream.until(lambda *_: True)[0]
        demand(event["seq"] > middle, "a cursor is the last event that one has")
        demand(did_of(event) == a.did and event["rev"] == revs[-1], "then the next")


@row(49, "subscribeRepos from the future")
def future_cursor(s):
    with s.stream(current_seq(s) + 1_000) as stream:
        header, payload = stream.next()
        demand(header == {"op": -1}, f"header {header}")
        demand(payload["error"] == "FutureCursor" and payload["message"] == "Cursor in the future.", f"{payload}")
        demand(stream.is_closed(), "then it closes")
    for cursor in ("x", "-1", "1.5"):
        try:
            with s.stream(cursor) as stream:
                demand(stream.next()[0] == {"op": -1}, f"cursor {cursor} is taken")
        except InvalidStatus as refused:
            demand(refused.response.status_code == 400, f"cursor {cursor}: {refused.response.status_code}")


@row(50, "subscribeRepos from before the window", "outdate_events")
def outdated_cursor(s):
    seq = current_seq(s)
    s.first.create(note("will be too old"), UNKNOWN)
    s.run_command(s.options.outdate_events)
    made = s.first.create(note("still there"), UNKNOWN)
    with s.stream(seq) as stream:
        header, payload = stream.next()
        demand(header == {"op": 1, "t": "#info"} and payload["name"] == "OutdatedCursor", f"{header} {payload}")
        demand(set(payload) <= {"name", "message"}, f"fields {set(payload)}")
        stream.commit_of(made["commit"]["rev"], s.first.did)


@row(51, "a subscriber that does not read while 640 commits come")
def slow_subscriber(s):
    a = s.account()
    connection = s.server.socket(receive_buffer=4_096)
    connection.sendall((
        "GET /xrpc/com.atproto.sync.subscribeRepos HTTP/1.1\r\n"
        f"Host: {s.server.authority}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n").encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        piece = connection.recv(1)
        demand(piece, f"no handshake: {head!r}")
        head += piece
    demand(head.startswith(b"HTTP/1.1 101"), f"handshake {head[:40]!r}")
    # So much that no buffer on the way holds them all.
    text = "x" * 60_000
    for number in range(SLOW_COMMITS):
        body = {"repo": a.did, "collection": UNKNOWN, "rkey": "same", "record": note(f"{number} {text}")}
        expect(a.post("repo.putRecord", body), 200)
    received = bytearray()
    connection.settimeout(30)
    try:
        while piece := connection.recv(1 << 20):
            received += piece
    except ConnectionResetError:
        pass
    except socket.timeout:
        demand(False, "the connection stays open")
    finally:
        connection.close()
    frames = list(server_frames(received))
    errors = [decode_frame(data) for opcode, data in frames if opcode == 2 and data[:5] != b"\xa2\x61t"]
    refused = [payload for header, payload in errors if header.get("op") == -1]
    demand([one["error"] for one in refused] == ["ConsumerTooSlow"], f"{len(frames)} frames, then {refused}")
    demand(refused[0]["message"] == "Stream consumer too slow", f"message {refused[0]['message']!r}")
    demand(frames[-1][0] == 8 and frames[-1][1][:2] == (1_008).to_bytes(2, "big"), "then a close frame of 1008")


def server_frames(data):
    """(opcode, payload) of the WebSocket messages in `data` (RFC 6455 §5.2), as far as they are whole."""
    at = 0
    while at + 2 <= len(data):
        opcode, size, at = data[at] & 15, data[at + 1], at + 2
        extra = {126: 2, 127: 8}.get(size, 0)
        if extra:
            size = int.from_bytes(data[at : at + extra], "big")
            at += extra
        if at + size > len(data):
            return
        yield opcode, bytes(data[at : at + size])
        at += size


@row(52, "[better] a plain GET of subscribeRepos, a POST")
def plain_stream(s):
    path = "/xrpc/com.atproto.sync.subscribeRepos"
    answer = s.server.request("GET", path)
    demand(answer.status == 426, f"GET: {answer.status}")
    answer = s.server.request("POST", path, {"Content-Length": "0"})
    demand(answer.status == 405, f"POST: {answer.status}")


@row(53, "a new account on the stream: identity, account, commit")
def new_account_events(s):
    with s.stream() as stream:
        a = s.account()
        made = a.create(post())
        seen = stream.commit_of(made["commit"]["rev"], a.did)
    own = [(kind, event) for kind, event in seen if did_of(event) == a.did and kind != "#sync"]
    demand([kind for kind, _ in own] == ["#identity", "#account", "#commit", "#commit"], f"{[k for k, _ in own]}")
    demand(own[0][1].get("handle", a.handle) == a.handle, "the handle")
    demand(own[1][1]["active"] is True and "status" not in own[1][1], "active")
    demand(own[2][1]["since"] is None and own[2][1]["ops"] == [], "the first commit")


@row(54, "updateHandle: the name, the event, the directory")
def update_handle(s):
    a, handle = s.account(), s.handle()
    with s.stream() as stream:
        expect(a.post("identity.updateHandle", {"handle": handle}), 200)
        event = stream.until(lambda kind, event: kind == "#identity" and event["did"] == a.did)[-1][1]
    demand(event.get("handle", handle) == handle, "the event's handle")
    demand(expect(s.server.get("identity.resolveHandle", handle=handle), 200)["did"] == a.did, "resolveHandle")
    demand(expect(a.get("server.getSession"), 200)["handle"] == handle, "getSession")
    expect(s.server.get("identity.resolveHandle", handle=a.handle), 400, "HandleNotFound")
    demand(s.document(a.did)["alsoKnownAs"] == [f"at://{handle}"], "alsoKnownAs")
    if not s.has("plc_url"):
        s.left_out("the directory itself: --plc-url")


@row(55, "updateHandle to a name that can't be")
def wrong_handles(s):
    a, domain = s.account(), s.domain

    def update(handle):
        return a.post("identity.updateHandle", {"handle": handle})

    expect(update(s.first.handle), 400, "HandleNotAvailable", message=f"Handle already taken: {s.first.handle}")
    expect(update("ab" + domain), 400, "InvalidHandle", message="Handle too short")
    expect(update("a" * 19 + domain), 400, "InvalidHandle", message="Handle too long")
    expect(update("admin" + domain), 400, "HandleNotAvailable", message="Reserved handle")
    expect(update("x.yyy" + domain), 400, "InvalidHandle", message="Invalid characters in handle")
    expect(update("not a handle"), 400, "InvalidHandle")
    expect(update(f"{s.label()}.example.com"), 400, "InvalidRequest", message="External handle did not resolve to DID")
    demand(expect(a.get("server.getSession"), 200)["handle"] == a.handle, "nothing has changed")


@row(56, "resolveHandle of an unknown name in the server's domain")
def unknown_handle(s):
    expect(s.server.get("identity.resolveHandle", handle=s.handle()), 400, "HandleNotFound",
           message="Unable to resolve handle")


@row(57, "preferences: there and back, and what is refused")
def preferences(s):
    a = s.account()
    items = [{"$type": "app.bsky.actor.defs#adultContentPref", "enabled": False},
             {"$type": "app.bsky.actor.defs#savedFeedsPrefV2", "items": []}]

    def put(value):
        return a.post("app.bsky.actor.putPreferences", {"preferences": value})

    expect(put(items), 200)
    said = expect(a.get("app.bsky.actor.getPreferences"), 200)["preferences"]
    demand(said == items, f"preferences {said}")
    expect(put([{"enabled": True}]), 400, "InvalidRequest")
    expect(put([{"$type": "com.example.defs#pref"}]), 400, "InvalidRequest",
           message="Some preferences are not in the app.bsky namespace")
    demand(expect(a.get("app.bsky.actor.getPreferences"), 200)["preferences"] == items, "nothing has changed")


@row(58, "an app password does not see personal details")
def personal_details(s):
    a = s.account()
    _, session = app_session(s, a)
    items = [{"$type": "app.bsky.actor.defs#personalDetailsPref", "birthDate": "1990-01-01T00:00:00.000Z"},
             {"$type": "app.bsky.actor.defs#adultContentPref", "enabled": False}]
    expect(a.post("app.bsky.actor.putPreferences", {"preferences": items}), 200)
    said = expect(session.get("app.bsky.actor.getPreferences"), 200)["preferences"]
    kinds = [one["$type"] for one in said]
    demand(items[0]["$type"] not in kinds and items[1]["$type"] in kinds, f"an app sees {kinds}")
    expect(session.post("app.bsky.actor.putPreferences", {"preferences": items[1:]}), 200)
    said = expect(a.get("app.bsky.actor.getPreferences"), 200)["preferences"]
    demand(items[0] in said, "what it can't see it doesn't take away")
