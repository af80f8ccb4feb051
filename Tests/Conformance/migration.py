"""Rows 84-91: an account moves in."""

import cbrrr
from data import Identity, Key, Repository, car, raw_cid
from life import mailed_code
from suite import POST, UNKNOWN, Account, Table, did_of, expect, image_post, note, png, post
from verify import demand, parse_car, tree_of, verify_commit

table = Table()
row = table.row
CREATE = "com.atproto.server.createAccount"
CAR = "application/vnd.ipld.car"
# Records of the large import.
MANY = 50_000


def move_in(s, **changes):
    """(an identity of another server, its new and sleeping account here)."""
    handle = s.handle()
    identity = Identity(s.doubles.plc, handle)
    body = s.registration(handle=handle, did=identity.did, **changes)
    token = identity.signing.service_token(identity.did, s.service_did, CREATE)
    session = expect(s.server.post("server.createAccount", body, token=token), 200)
    return identity, Account(s, session, body["email"])


def bring(account, content):
    return account.post("repo.importRepo", raw=content, kind=CAR)


def status_of(account):
    return expect(account.get("server.checkAccountStatus"), 200)


def records(count, text="moved"):
    return {f"{UNKNOWN}/{number:08d}": note(f"{text} {number}") for number in range(count)}


@row(84, "createAccount with another's DID: without a token, with a token of another identity")
def create_unproved(s):
    did = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"
    words = f"Missing auth to create account with did: {did}"
    body = s.registration(did=did)
    expect(s.server.post("server.createAccount", body), 401, "AuthenticationRequired", message=words)
    token = expect(s.first.get("server.getServiceAuth", aud=s.service_did, lxm=CREATE), 200)["token"]
    expect(s.server.post("server.createAccount", body, token=token), 401, "AuthenticationRequired", message=words)


@row(85, "createAccount with its own token: a sleeping account, and nothing on the stream", "plc_url")
def create_moved(s):
    with s.stream() as stream:
        identity, a = move_in(s)
        demand(a.did == identity.did and a.handle == identity.handle, "the account's names")
        said = status_of(a)
        demand(said["activated"] is False and said["validDid"] is False, f"checkAccountStatus {said}")
        session = expect(a.get("server.getSession"), 200)
        demand(session["active"] is False and session["status"] == "deactivated", f"getSession {session}")
        made = s.first.create(post())
        seen = stream.commit_of(made["commit"]["rev"], s.first.did)
    demand(identity.did not in [did_of(event) for _, event in seen], "there is an event of it")
    token = identity.signing.service_token(identity.did, s.service_did, CREATE)
    expect(s.server.post("server.createAccount", s.registration(did=identity.did), token=token), 400)


@row(86, "importRepo of 50,000 records: all of them, and a repository that verifies", "plc_url")
def import_many(s):
    identity, a = move_in(s)
    expect(bring(a, Repository(identity, records(MANY)).car()), 200)
    demand(status_of(a)["indexedRecords"] == MANY, f"checkAccountStatus {status_of(a)}")
    root, _, blocks = parse_car(a.archive())
    expected = expect(a.get("identity.getRecommendedDidCredentials"), 200)["verificationMethods"]["atproto"]
    commit = verify_commit(blocks[bytes(root)], a.did, expected)
    found = tree_of(blocks, commit["data"])
    demand(len(found) == MANY, f"{len(found)} records")
    demand(all(bytes(cid) in blocks for cid in found.values()), "every record is there")


@row(87, "importRepo of what is no repository of this account", "plc_url")
def import_wrong(s):
    identity, a = move_in(s)
    mine = Repository(identity, records(20))
    other, _ = move_in(s)
    corrupt = dict(mine.pairs)
    victim = next(iter(mine.record_blocks))
    corrupt[victim] = corrupt[victim][:-1] + bytes([corrupt[victim][-1] ^ 1])
    rows = {
        "two roots": car([mine.root, mine.root], mine.pairs),
        "no root": car([], mine.pairs),
        "a corrupt block": car([mine.root], corrupt.items()),
        "another DID": Repository(other, records(20)).car(),
        "no CAR": b"not a CAR",
        "nothing after the header": car([mine.root], []),
    }
    head = a.head()
    for name, content in rows.items():
        answer = bring(a, content)
        demand(answer.status == 400, f"{name}: status {answer.status}")
        expect(answer, 400)
        demand(a.head() == head, f"{name}: something has changed")
    expect(bring(a, mine.car()), 200)


@row(88, "listMissingBlobs: what the records name and nobody has brought yet", "plc_url")
def missing_blobs(s):
    identity, a = move_in(s)
    pictures = [png(f"88-{number}") for number in range(2)]
    blobs = [{"$type": "blob", "ref": raw_cid(content), "mimeType": "image/png", "size": len(content)}
             for content in pictures]
    made = Repository(identity, {f"{POST}/3jzfcijpj2z2{letter}": image_post(blob)
                                 for letter, blob in zip("ab", blobs)})
    expect(bring(a, made.car()), 200)
    links = [blob["ref"].encode() for blob in blobs]

    def missing():
        return {one["cid"] for one in expect(a.get("repo.listMissingBlobs"), 200)["blobs"]}

    demand(missing() == set(links), f"missing {missing()}")
    said = status_of(a)
    demand((said["expectedBlobs"], said["importedBlobs"]) == (2, 0), f"checkAccountStatus {said}")
    a.upload(pictures[0])
    demand(missing() == {links[1]}, f"missing {missing()}")
    a.upload(pictures[1])
    said = status_of(a)
    demand((said["expectedBlobs"], said["importedBlobs"]) == (2, 2) and not missing(), f"checkAccountStatus {said}")
    listed = expect(a.get("repo.listMissingBlobs"), 200)["blobs"]
    demand(listed == [], "nothing is missing")


@row(89, "signPlcOperation without the mailed code, with a wrong one, with the right one")
def sign_without_code(s):
    credentials = expect(s.first.get("identity.getRecommendedDidCredentials"), 200)
    demand(credentials["alsoKnownAs"] == [f"at://{s.first.handle}"], f"{credentials}")
    demand(credentials["services"]["atproto_pds"]["type"] == "AtprotoPersonalDataServer", f"{credentials}")
    expect(s.first.post("identity.signPlcOperation", credentials), 400, "InvalidRequest",
           message="email confirmation token required to sign PLC operations")
    expect(s.first.post("identity.signPlcOperation", credentials | {"token": "AAAAA-22222"}), 400, "InvalidToken")
    if not s.has("mail"):
        s.left_out("the right one: --smtp-listen or --mail-directory")
        return
    a = s.account()
    expect(a.post("identity.requestPlcOperationSignature"), 200)
    key = Key()
    keys = [key.did_key, *credentials["rotationKeys"]]
    body = {"token": mailed_code(s, a.email), "rotationKeys": keys}
    operation = expect(a.post("identity.signPlcOperation", body), 200)["operation"]
    demand(operation["rotationKeys"] == keys and operation["alsoKnownAs"] == [f"at://{a.handle}"], f"{operation}")
    demand(operation["prev"] and operation["sig"], "it is signed, and after another")
    expect(a.post("identity.signPlcOperation", body), 400, "InvalidToken")
    expect(a.post("identity.submitPlcOperation", {"operation": operation}), 200)
    demand(expect(a.get("identity.getRecommendedDidCredentials"), 200)["alsoKnownAs"] == [f"at://{a.handle}"], "after")


@row(90, "submitPlcOperation with each thing wrong that would strand the account", "plc_url")
def submit_wrong(s):
    identity, a = move_in(s)
    credentials = expect(a.get("identity.getRecommendedDidCredentials"), 200)
    service = credentials["services"]["atproto_pds"]
    rows = [
        ({"rotationKeys": [identity.rotation.did_key]}, "Rotation keys do not include server's rotation key"),
        ({"services": {"atproto_pds": service | {"type": "Other"}}}, "Incorrect type on atproto_pds service"),
        ({"services": {"atproto_pds": service | {"endpoint": "https://other.example.com"}}},
         "Incorrect endpoint on atproto_pds service"),
        ({"verificationMethods": {"atproto": identity.signing.did_key}}, "Incorrect signing key"),
        ({"alsoKnownAs": [f"at://{s.handle()}"]}, "Incorrect handle in alsoKnownAs"),
    ]
    before = s.doubles.plc.last(a.did)
    for changes, words in rows:
        operation = identity.next_operation(credentials, **changes)
        expect(a.post("identity.submitPlcOperation", {"operation": operation}), 400, "InvalidRequest", message=words)
    demand(s.doubles.plc.last(a.did) == before, "the directory has something new")


@row(91, "activateAccount before the directory points here, and after", "plc_url")
def activate_early(s):
    identity, a = move_in(s)
    expect(bring(a, Repository(identity, records(3)).car()), 200)
    expect(a.post("server.activateAccount"), 400)
    demand(status_of(a)["activated"] is False, "it is still asleep")
    credentials = expect(a.get("identity.getRecommendedDidCredentials"), 200)
    keys = [identity.rotation.did_key, *credentials["rotationKeys"]]
    operation = identity.next_operation(credentials, rotationKeys=keys)
    with s.stream() as stream:
        expect(a.post("identity.submitPlcOperation", {"operation": operation}), 200)
        demand(status_of(a)["validDid"] is True, f"checkAccountStatus {status_of(a)}")
        expect(a.post("server.activateAccount"), 200)
        made = a.create(note("at home"), UNKNOWN)
        seen = stream.commit_of(made["commit"]["rev"], a.did)
    kinds = [kind for kind, event in seen if did_of(event) == a.did]
    demand({"#account", "#identity"} <= set(kinds) and {"#sync", "#commit"} & set(kinds[:-1]), f"events {kinds}")
    _, _, blocks = parse_car(s.server.get("sync.getRepo", did=a.did).body)
    demand(any(cbrrr.decode_dag_cbor(block).get("text") == "moved 0" for block in blocks.values()
               if isinstance(cbrrr.decode_dag_cbor(block), dict)), "what was moved is served")
