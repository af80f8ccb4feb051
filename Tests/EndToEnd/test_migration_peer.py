"""Moving an account to and from `arroba`, a PDS that nobody here wrote, over HTTP; both databases.

    python3 Tests/EndToEnd/test_migration_peer.py [-v] [TestCase]

arroba 3.1 has no move of accounts. What it serves and what not:

    served over XRPC     getRepo, importRepo (it asks the PLC directory and verifies our commit), listRecords,
                         getLatestCommit, getRepoStatus, createRecord, putRecord, applyWrites
    functions of its     service token, PLC operation, activation, deactivation: called in its process, since no XRPC
    own, without XRPC    method leads to them (Tests/Support/arroba_peer.py)
    not there            createAccount, getServiceAuth, listMissingBlobs, preferences, recommended credentials,
                         submission of an operation; blobs: uploadBlob is not implemented, and getBlob needs Google's
                         datastore. The owner brings the blob from a copy, and to the peer none goes

Its commits name the one before (`prev`), and its revisions are numbers of its event stream, decades before ours: both
must come through an import. On our side every call is also interrupted, as in test_migration.py.
"""

import hashlib
import json
import sys
import tempfile
import unittest
import urllib.error
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Support"))

import cbrrr
import repository
from arroba_peer import TOKEN, Peer
from stack import Stack, record_key
from test_migration import CAR, PASSWORD, POST, TYPE, Host
from verify import block_of, parse_car, tree_of, verify_commit, verify_repository, verify_signature

NOTE = "com.example.note"
PICTURE = "com.example.picture"
CREATE = "com.atproto.server.createAccount"
PICTURE_BYTES = b"a picture, of sorts"


def samples(blob):
    """{path: record}: what a data model has to carry unchanged."""
    values = {
        "integers": [0, -1, 2**53 - 1, -(2**53) + 1],
        "text": "🏡 é é \u0001 \\ \" /",
        "bytes": {"$bytes": "AP/+"},
        "link": {"$link": "bafyreie5cvv4h45feadgeuwhbcutmh6t2ceseocckahdoe6uat64zmz454"},
        "nested": {"b": [None, True, {"aa": [], "c": {}}], "a": False},
    }
    found = {f"{NOTE}/{name}": {"$type": NOTE, "value": value} for name, value in values.items()}
    found[f"{PICTURE}/self"] = {"$type": PICTURE, "picture": blob}
    for number in range(300):
        found[f"{POST}/{record_key(number)}"] = {
            "$type": POST,
            "text": f"post {number} 🏡",
            "createdAt": "2026-01-01T00:00:00.000Z",
            "langs": ["en"],
        }
    return found


class PeerHost:
    """The peer, asked over HTTP."""

    def __init__(self, url):
        self.url = url

    def call(self, method, body=None, params="", raw=None):
        """Status and body."""
        request = urllib.request.Request(f"{self.url}/xrpc/{method}{params}", raw)
        if body is not None:
            request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json" if raw is None else CAR["Content-Type"])
        request.add_header("Authorization", f"Bearer {TOKEN}")
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def json(self, method, body=None, **words):
        status, content = self.call(method, body, **words)
        if status != 200:
            raise AssertionError(f"the peer, {method}: {status} {content[:300]}")
        return json.loads(content) if content else None


class PeerCase:
    database = None

    @classmethod
    def setUpClass(cls):
        cls.stack = Stack(database=cls.database)
        cls.stack.start()
        cls.addClassCleanup(cls.stack.stop)
        cls.peer = Peer(cls.stack.plc_url)
        cls.addClassCleanup(cls.peer.close)

    def setUp(self):
        self.here, self.there = Host(self.stack), PeerHost(self.peer.url)

    def directory(self, path):
        with urllib.request.urlopen(f"{self.stack.plc_url}/{self.did}{path}", timeout=10) as answer:
            return json.load(answer)

    def interrupted(self, method, body=None, **words):
        """A call of ours, once it has been killed before its answer and after it: its JSON."""
        pause = 0.004
        while self.here.interrupt(pause, method, body, **words) is not None:
            pause /= 2
        self.here.interrupt("answered", method, body, **words)
        return self.here.json(method, body, **words)

    def listed(self, ask):
        """{path: CID} as listRecords of one side has it."""
        found = {}
        for collection in (NOTE, PICTURE, POST):
            cursor = ""
            while True:
                params = f"?repo={self.did}&collection={collection}&limit=100{cursor}"
                page = ask("com.atproto.repo.listRecords", params=params)
                # With a cursor the peer begins with the record that was the last before.
                found |= {one["uri"].removeprefix(f"at://{self.did}/"): one["cid"] for one in page["records"]}
                if "cursor" not in page:
                    break
                cursor = f"&cursor={page['cursor']}"
        return found

    def tree(self, content, key):
        """(root, commit, {path: CID}) of a CAR; its commit holds under `key`, whatever stands in `prev`."""
        root, _, blocks = parse_car(content)
        commit = cbrrr.decode_dag_cbor(block_of(blocks, root))
        self.assertEqual((commit["did"], commit["version"]), (self.did, 3))
        unsigned = {name: value for name, value in commit.items() if name != "sig"}
        verify_signature(key, commit["sig"], cbrrr.encode_dag_cbor(unsigned))
        found = tree_of(blocks, commit["data"])
        for cid in found.values():
            block_of(blocks, cid)
        return root, commit, {path.decode(): cid.encode() for path, cid in found.items()}

    # In

    def test_in(self):
        blob = {"$type": "blob", "mimeType": "image/x-test", "size": len(PICTURE_BYTES)}
        link = cbrrr.CID(b"\x01\x55\x12\x20" + hashlib.sha256(PICTURE_BYTES).digest()).encode()
        handle = f"in{self.database}.test"
        self.did = self.peer.do("create", handle=handle)["did"]
        self.assertEqual(self.directory("/data")["services"]["atproto_pds"]["endpoint"], self.peer.url)
        wanted = samples(blob | {"ref": {"$link": link}})
        self.fill_peer(wanted)
        status, car = self.there.call("com.atproto.sync.getRepo", params=f"?did={self.did}")
        self.assertEqual(status, 200)
        _, commit, records = self.tree(car, self.directory("/data")["verificationMethods"]["atproto"])
        self.assertIsNotNone(commit["prev"])
        self.assertEqual(records, self.listed(self.there.json))
        self.assertEqual(set(records), set(wanted))

        self.arrive(handle)
        self.interrupted("com.atproto.repo.importRepo", raw=car, headers=CAR)
        self.assertIn("signed=yes", self.stack.log("xrpc"))
        missing = self.here.json("com.atproto.repo.listMissingBlobs")["blobs"]
        self.assertEqual(missing, [{"cid": link, "recordUri": f"at://{self.did}/{PICTURE}/self"}])
        self.interrupted("com.atproto.repo.uploadBlob", raw=PICTURE_BYTES, headers=TYPE)
        self.assertEqual(self.here.json("com.atproto.repo.listMissingBlobs")["blobs"], [])
        wanted_identity = self.interrupted("com.atproto.identity.getRecommendedDidCredentials")
        self.peer.do(
            "move_identity",
            did=self.did,
            handle=handle,
            signing_key=wanted_identity["verificationMethods"]["atproto"],
            rotation_key=wanted_identity["rotationKeys"][-1],
            pds_url=self.stack.base_url,
        )
        self.interrupted("com.atproto.server.activateAccount", raw=b"")
        self.peer.do("deactivate", did=self.did)

        # Every record as the peer's own tree had it, in the same tree, under a commit of ours.
        self.assertEqual(self.directory("/data")["services"]["atproto_pds"]["endpoint"], self.stack.base_url)
        key = self.directory("/data")["verificationMethods"]["atproto"]
        content = self.stack.call("com.atproto.sync.getRepo", params=f"?did={self.did}")[2]
        mine, found, _ = verify_repository(content, self.did, key)
        self.assertEqual(mine["data"], commit["data"])
        self.assertEqual({path.decode(): cid.encode() for path, cid in found.items()}, records)
        self.assertEqual(self.listed(self.here.json), records)
        for path, record in wanted.items():
            collection, rkey = path.split("/")
            params = f"?repo={self.did}&collection={collection}&rkey={rkey}"
            got = self.here.json("com.atproto.repo.getRecord", params=params)
            self.assertEqual((got["cid"], got["value"]), (records[path], record), path)
        self.assertGreater(mine["rev"], commit["rev"])
        status = self.stack.call("com.atproto.sync.getBlob", params=f"?did={self.did}&cid={link}")
        self.assertEqual((status[0], status[2]), (200, PICTURE_BYTES))
        body = {"repo": self.did, "collection": NOTE, "record": {"$type": NOTE}}
        self.here.json("com.atproto.repo.createRecord", body)
        self.assertFalse(self.there.json("com.atproto.sync.getRepoStatus", params=f"?did={self.did}")["active"])

    def fill_peer(self, records):
        """By its own code: one by one, and many in one commit; one is changed and one deleted."""
        paths = list(records)
        for path in paths[:8]:
            collection, rkey = path.split("/")
            body = {"repo": self.did, "collection": collection, "rkey": rkey, "record": records[path]}
            self.there.json("com.atproto.repo.createRecord", body)
        for start in range(8, len(paths), 100):
            writes = [
                {
                    "$type": "com.atproto.repo.applyWrites#create",
                    "collection": path.split("/")[0],
                    "rkey": path.split("/")[1],
                    "value": records[path],
                }
                for path in paths[start : start + 100]
            ]
            self.there.json("com.atproto.repo.applyWrites", {"repo": self.did, "writes": writes})
        place = {"repo": self.did, "collection": NOTE, "rkey": "passing"}
        for number in range(2):
            self.there.json("com.atproto.repo.putRecord", place | {"record": {"$type": NOTE, "value": number}})
        # By this and not by deleteRecord, which does it and answers 400: its own lexicon wants an output.
        delete = {"$type": "com.atproto.repo.applyWrites#delete", "collection": NOTE, "rkey": "passing"}
        self.there.json("com.atproto.repo.applyWrites", {"repo": self.did, "writes": [delete]})

    def arrive(self, handle):
        """An account for the peer's identity, on the word of the peer's key."""
        body = {"handle": handle, "email": f"{handle}@example.com", "password": PASSWORD, "did": self.did}
        audience = json.loads(self.stack.call("com.atproto.server.describeServer")[2])["did"]

        def token():
            return self.peer.do("service_token", did=self.did, audience=audience, method=CREATE)["token"]

        pause = 0.004
        while self.here.interrupt(pause, CREATE, body, token=token()) is not None:
            pause /= 2
        self.here.interrupt("answered", CREATE, body, token=token())
        status, _, content = self.stack.call(CREATE, body, token())
        self.assertEqual(status, 400, "there is one already")
        session = self.here.json("com.atproto.server.createSession", {"identifier": self.did, "password": PASSWORD})
        self.here.token = session["accessJwt"]
        self.assertFalse(session["active"])

    # Out

    def test_out(self):
        handle = f"out{self.database}.test"
        body = {"handle": handle, "email": f"{handle}@example.com", "password": PASSWORD}
        account = self.here.json(CREATE, body)
        self.did, self.here.token = account["did"], account["accessJwt"]
        blob = self.here.json("com.atproto.repo.uploadBlob", raw=PICTURE_BYTES, headers=TYPE)["blob"]
        wanted = samples(blob)
        self.fill_here(wanted)
        key = self.directory("/data")["verificationMethods"]["atproto"]
        self.here.interrupt("answered", "com.atproto.sync.getRepo", params=f"?did={self.did}")
        car = self.here.call("com.atproto.sync.getRepo", params=f"?did={self.did}")[2]
        commit, found, _ = verify_repository(car, self.did, key)
        records = {path.decode(): cid.encode() for path, cid in found.items()}
        self.assertEqual(set(records), set(wanted))
        self.assertEqual(self.listed(self.here.json), records)

        # Its own code asks the directory for our key, and takes nothing that the key has not signed.
        with tempfile.NamedTemporaryFile() as file:
            repository.write(file.name, self.did, repository.posts(3, 200))
            forged = Path(file.name).read_bytes()
        status, content = self.there.call("com.atproto.repo.importRepo", raw=forged)
        self.assertEqual((status, b"verify signature" in content), (400, True), content)
        self.assertEqual(self.there.call("com.atproto.repo.importRepo", raw=car)[0], 200)
        status, content = self.there.call("com.atproto.repo.importRepo", raw=car)
        self.assertEqual((status, b"already exists" in content), (400, True), content)
        keys = self.peer.do("keys", did=self.did)
        code = self.request_code(handle)
        credentials = {
            "rotationKeys": [keys["rotation"]],
            "verificationMethods": {"atproto": keys["signing"]},
            "alsoKnownAs": [f"at://{handle}"],
            "services": {"atproto_pds": {"type": "AtprotoPersonalDataServer", "endpoint": self.peer.url}},
        }
        signed = self.here.json("com.atproto.identity.signPlcOperation", {"token": code, **credentials})["operation"]
        # It would lead away from here: this host does not pass it on, the owner does.
        status, _, content = self.here.call("com.atproto.identity.submitPlcOperation", {"operation": signed})
        self.assertEqual(status, 400, content)
        request = urllib.request.Request(f"{self.stack.plc_url}/{self.did}", json.dumps(signed).encode())
        request.add_header("Content-Type", "application/json")
        urllib.request.urlopen(request, timeout=10).close()
        self.peer.do("activate", did=self.did)
        self.interrupted("com.atproto.server.deactivateAccount", {})

        # As both tell.
        head = self.there.json("com.atproto.sync.getLatestCommit", params=f"?did={self.did}")
        mine = self.here.json("com.atproto.sync.getLatestCommit", params=f"?did={self.did}")
        self.assertEqual(head, mine)
        self.assertEqual(head["rev"], commit["rev"])
        self.assertEqual(self.listed(self.there.json), records)
        content = self.there.call("com.atproto.sync.getRepo", params=f"?did={self.did}")[1]
        _, theirs, kept = self.tree(content, key)
        self.assertEqual((theirs, kept), (commit, records))
        # A write of the peer stands on the tree that it took over, under its own key.
        record = {"$type": NOTE, "value": "at the peer's"}
        body = {"repo": self.did, "collection": NOTE, "rkey": "new", "record": record}
        made = self.there.json("com.atproto.repo.createRecord", body)
        self.assertEqual(self.directory("/data")["verificationMethods"]["atproto"], keys["signing"])
        content = self.there.call("com.atproto.sync.getRepo", params=f"?did={self.did}")[1]
        self.assertEqual(self.tree(content, keys["signing"])[2], records | {f"{NOTE}/new": made["cid"]})
        # And here nobody is at home, but for the owner.
        status, _, content = self.stack.call("com.atproto.sync.getRepo", params=f"?did={self.did}")
        self.assertEqual((status, json.loads(content)["error"]), (400, "RepoDeactivated"))
        status, _, content = self.here.call("com.atproto.server.activateAccount", raw=b"")
        self.assertEqual((status, json.loads(content)["error"]), (400, "IncompatibleDidDoc"))
        link = blob["ref"]["$link"]
        got = self.here.call("com.atproto.sync.getBlob", params=f"?did={self.did}&cid={link}")
        self.assertEqual(got[2], PICTURE_BYTES)

    def fill_here(self, records):
        paths = list(records)
        for start in range(0, len(paths), 200):
            writes = [
                {
                    "$type": "com.atproto.repo.applyWrites#create",
                    "collection": path.split("/")[0],
                    "rkey": path.split("/")[1],
                    "value": records[path],
                }
                for path in paths[start : start + 200]
            ]
            self.here.json("com.atproto.repo.applyWrites", {"repo": self.did, "writes": writes})

    def request_code(self, handle):
        self.here.json("com.atproto.identity.requestPlcOperationSignature", raw=b"")
        lines = self.stack.tool("mail", "queue", "--codes").splitlines()
        (line,) = [line for line in lines if f"  plc_operation  {self.did}  {handle}  " in line]
        return line.split()[0]


class SQLite(PeerCase, unittest.TestCase):
    database = "sqlite"


class Postgres(PeerCase, unittest.TestCase):
    database = "postgres"


if __name__ == "__main__":
    unittest.main()
