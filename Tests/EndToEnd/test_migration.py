"""Moving an account from one Skystead to another, as `goat account migrate` does it, by plain HTTP.

    python3 Tests/EndToEnd/test_migration.py [-v] [TestCase]

Two whole services that share a PLC directory: each database as the source of the other. The account's owner holds a
rotation key of their own. After every step the new responder is killed and the step is taken once more: whatever had
happened, the move goes on. A second case brings the repository of `arroba`, a PDS that nobody here wrote.
"""

import base64
import hashlib
import json
import os
import signal
import sys
import tempfile
import unittest
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Support"))

import arroba_repository
import cbrrr
import repository
from cryptography.hazmat.primitives.asymmetric import ec
from stack import Stack, wait_until
from verify import FirehoseChecker, parse_car, verify_commit, verify_repository
from websockets.sync.client import connect

PASSWORD = "correct horse battery staple"
POST = "app.bsky.feed.post"
CAR = {"Content-Type": "application/vnd.ipld.car"}


class Host:
    """One side of the move and the session that the owner has there."""

    def __init__(self, stack):
        self.stack = stack
        self.token = None

    def call(self, method, body=None, token=None, params="", headers=None, raw=None):
        return self.stack.call(method, body, token or self.token, params, headers, raw)

    def json(self, method, body=None, **words):
        status, _, content = self.call(method, body, **words)
        if status != 200:
            raise AssertionError(f"{method}: {status} {content[:300]}")
        return json.loads(content) if content else None

    def restart_responder(self):
        """Kills the responder, and waits until its supervisor has put another in its place."""
        for pid in self.stack.pids()["xrpc"]:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: self.stack.call("_health")[0] == 200, what="the responder is back")


class MigrationTests(unittest.TestCase):
    def pair(self, source, target):
        old = Stack(database=source)
        self.addCleanup(old.stop)
        old.start()
        new = Stack(
            database=target,
            settings={
                "SKYSTEAD_PLC_URL": old.plc_url,
                "SKYSTEAD_ALLOW_PRIVATE_HOSTS": old.plc_url.removeprefix("http://"),
            },
        )
        self.addCleanup(new.stop)
        new.start()
        return Host(old), Host(new)

    def settle(self, old):
        """An account on the old host with records, blobs and preferences. Its owner's rotation key is kept."""
        self.recovery = ec.generate_private_key(ec.SECP256K1())
        account = old.json(
            "com.atproto.server.createAccount",
            {
                "handle": "mover.test",
                "email": "mover@example.com",
                "password": PASSWORD,
                "recoveryKey": repository.did_key(self.recovery),
            },
        )
        old.token, self.did = account["accessJwt"], account["did"]
        self.blobs = {}
        for number in range(12):
            content = f"blob {number}: ".encode() + os.urandom(1_000)
            blob = old.json("com.atproto.repo.uploadBlob", raw=content, headers={"Content-Type": "image/x-test"})["blob"]
            self.blobs[blob["ref"]["$link"]] = content
            record = {"$type": "com.example.picture", "picture": blob}
            old.json(
                "com.atproto.repo.createRecord",
                {"repo": self.did, "collection": "com.example.picture", "record": record},
            )
        for start in range(0, 1_000, 200):
            writes = [
                {
                    "$type": "com.atproto.repo.applyWrites#create",
                    "collection": POST,
                    "value": {"$type": POST, "text": f"post {start + number}", "createdAt": "2026-01-01T00:00:00Z"},
                }
                for number in range(200)
            ]
            old.json("com.atproto.repo.applyWrites", {"repo": self.did, "writes": writes})
        self.preferences = [{"$type": "app.bsky.actor.defs#adultContentPref", "enabled": False}]
        old.json("app.bsky.actor.putPreferences", {"preferences": self.preferences})

    def directory(self, path, body=None):
        request = urllib.request.Request(f"{self.plc_url}/{self.did}{path}")
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=10) as answer:
            content = answer.read()
        return json.loads(content) if body is None else None

    def change_identity(self, wanted):
        """Signs what the new host recommends with the owner's own key, and hands it to the directory."""
        last = self.directory("/log/last")
        operation = {
            "type": "plc_operation",
            "rotationKeys": [repository.did_key(self.recovery), *wanted["rotationKeys"]],
            "verificationMethods": wanted["verificationMethods"],
            "alsoKnownAs": wanted["alsoKnownAs"],
            "services": wanted["services"],
            "prev": cbrrr.CID(b"\x01\x71\x12\x20" + hashlib.sha256(cbrrr.encode_dag_cbor(last)).digest()).encode(),
        }
        signed = repository.signature(self.recovery, cbrrr.encode_dag_cbor(operation))
        operation["sig"] = base64.urlsafe_b64encode(signed).rstrip(b"=").decode()
        self.directory("", operation)

    # The steps of a move. Each can be taken again, whatever became of it the first time.

    def step_account(self, old, new):
        token = old.json(
            "com.atproto.server.getServiceAuth",
            params="?aud=did:web:localhost&lxm=com.atproto.server.createAccount",
        )["token"]
        body = {"handle": "mover.test", "email": "mover@example.com", "password": PASSWORD, "did": self.did}
        status, _, content = new.stack.call("com.atproto.server.createAccount", body)
        self.assertEqual((status, json.loads(content)["error"]), (401, "AuthenticationRequired"), "without a token")
        status, _, content = new.stack.call("com.atproto.server.createAccount", body, token)
        if status == 200:
            self.assertEqual(json.loads(content)["did"], self.did)
        else:
            # The second time there is one: the owner signs in.
            self.assertEqual(status, 400, content)
        session = new.json("com.atproto.server.createSession", {"identifier": self.did, "password": PASSWORD})
        self.assertFalse(session["active"])
        new.token = session["accessJwt"]
        answer = new.json("com.atproto.server.checkAccountStatus")
        self.assertEqual((answer["activated"], answer["validDid"]), (False, False))

    def step_repository(self, old, new):
        status, _, car = old.call("com.atproto.sync.getRepo", params=f"?did={self.did}")
        self.assertEqual(status, 200)
        rev = new.json("com.atproto.server.checkAccountStatus")["repoRev"]
        self.assertEqual(new.call("com.atproto.repo.importRepo", raw=car, headers=CAR)[0], 200)
        answer = new.json("com.atproto.server.checkAccountStatus")
        self.assertEqual(answer["indexedRecords"], 1_012)
        self.assertEqual(answer["expectedBlobs"], 12)
        self.assertGreater(answer["repoRev"], rev)
        # What is wrong changes nothing.
        before = new.call("com.atproto.sync.getRepo", params=f"?did={self.did}")[2]
        other = bytes(car).replace(self.did.encode(), b"did:plc:" + b"a" * 24)
        wrong = [("cut", car[:-10]), ("another's", other), ("a byte changed", car[:-1] + bytes((car[-1] ^ 1,)))]
        for name, bad in wrong:
            with self.subTest(wrong=name):
                status, _, content = new.call("com.atproto.repo.importRepo", raw=bad, headers=CAR)
                self.assertEqual(status, 400, content)
                self.assertEqual(new.call("com.atproto.sync.getRepo", params=f"?did={self.did}")[2], before)

    def missing(self, new):
        cids, cursor = [], ""
        while True:
            answer = new.json("com.atproto.repo.listMissingBlobs", params=f"?limit=5{cursor}")
            cids += [blob["cid"] for blob in answer["blobs"]]
            if "cursor" not in answer:
                return cids
            cursor = f"&cursor={answer['cursor']}"

    def step_blobs(self, old, new):
        missing = self.missing(new)
        # Half of them, as if the line broke; the rest the next time.
        for cid in missing[: max(1, len(missing) // 2)]:
            status, _, content = old.call("com.atproto.sync.getBlob", params=f"?did={self.did}&cid={cid}")
            self.assertEqual(status, 200)
            self.assertEqual(content, self.blobs[cid])
            blob = new.json("com.atproto.repo.uploadBlob", raw=content, headers={"Content-Type": "image/x-test"})["blob"]
            self.assertEqual(blob["ref"]["$link"], cid)
        left = self.missing(new)
        self.assertEqual(len(left), len(missing) - max(1, len(missing) // 2) if missing else 0)
        answer = new.json("com.atproto.server.checkAccountStatus")
        self.assertEqual(answer["importedBlobs"], 12 - len(left))
        if left:
            self.step_blobs(old, new)

    def step_preferences(self, old, new):
        preferences = old.json("app.bsky.actor.getPreferences")
        self.assertEqual(preferences["preferences"], self.preferences)
        new.json("app.bsky.actor.putPreferences", preferences)
        self.assertEqual(new.json("app.bsky.actor.getPreferences")["preferences"], self.preferences)

    def step_identity(self, old, new):
        if new.json("com.atproto.server.checkAccountStatus")["validDid"]:
            return
        status, _, content = new.call("com.atproto.server.activateAccount", raw=b"")
        self.assertEqual((status, json.loads(content)["error"]), (400, "IncompatibleDidDoc"), "before the identity")
        wanted = new.json("com.atproto.identity.getRecommendedDidCredentials")
        self.assertEqual(wanted["services"]["atproto_pds"]["endpoint"], new.stack.base_url)
        self.change_identity(wanted)
        self.assertTrue(new.json("com.atproto.server.checkAccountStatus")["validDid"])

    def step_activation(self, old, new):
        new.json("com.atproto.server.activateAccount", raw=b"")
        self.assertTrue(new.json("com.atproto.server.checkAccountStatus")["activated"])

    def step_leaving(self, old, new):
        old.json("com.atproto.server.deactivateAccount", {})

    STEPS = ("account", "repository", "blobs", "preferences", "identity", "activation", "leaving")

    def test_between_two_homes(self):
        for source, target in (("sqlite", "postgres"), ("postgres", "sqlite")):
            with self.subTest(source=source, target=target):
                old, new = self.pair(source, target)
                self.plc_url = old.stack.plc_url
                self.settle(old)
                for name in self.STEPS:
                    step = getattr(self, f"step_{name}")
                    step(old, new)
                    new.restart_responder()
                    step(old, new)
                self.check_new(new)
                self.check_old(old)
                self.check_stream(new)

    def check_new(self, new):
        """It is whole, signed by the new key, and works."""
        content = new.stack.call("com.atproto.sync.getRepo", params=f"?did={self.did}")[2]
        _, found, _ = verify_repository(content, self.did, self.key())
        self.assertEqual(len(found), 1_012)
        for cid, bytes_ in self.blobs.items():
            self.assertEqual(new.stack.call("com.atproto.sync.getBlob", params=f"?did={self.did}&cid={cid}")[2], bytes_)
        record = {"$type": POST, "text": "at the new home", "createdAt": "2026-01-01T00:00:00Z"}
        new.json("com.atproto.repo.createRecord", {"repo": self.did, "collection": POST, "record": record})
        answer = new.stack.call("com.atproto.sync.getRepoStatus", params=f"?did={self.did}")[2]
        self.assertTrue(json.loads(answer)["active"])

    def key(self):
        return self.directory("/data")["verificationMethods"]["atproto"]

    def check_old(self, old):
        """Deactivated it gives nothing to strangers, and everything to the owner, who may have forgotten something."""
        for method in ("com.atproto.sync.getRepo", "com.atproto.sync.getLatestCommit", "com.atproto.sync.listBlobs"):
            status, _, content = old.stack.call(method, params=f"?did={self.did}")
            self.assertEqual((status, json.loads(content)["error"]), (400, "RepoDeactivated"), method)
            self.assertEqual(old.call(method, params=f"?did={self.did}")[0], 200, method)
        cid = next(iter(self.blobs))
        self.assertEqual(old.stack.call("com.atproto.sync.getBlob", params=f"?did={self.did}&cid={cid}")[0], 400)
        self.assertEqual(old.call("com.atproto.sync.getBlob", params=f"?did={self.did}&cid={cid}")[0], 200)
        self.assertEqual(old.json("app.bsky.actor.getPreferences")["preferences"], self.preferences)
        # A new session too: it must not hang on the key of the identity, which is the new home's now.
        session = old.json("com.atproto.server.createSession", {"identifier": self.did, "password": PASSWORD})
        self.assertEqual((session["active"], session["status"]), (False, "deactivated"))
        old.token = session["accessJwt"]
        query = "?aud=did:web:localhost&lxm=com.atproto.server.createAccount"
        self.assertEqual(old.call("com.atproto.server.getServiceAuth", params=query)[0], 200)
        record = {"repo": self.did, "collection": POST, "record": {"$type": POST, "text": "x"}}
        status, _, content = old.call("com.atproto.repo.createRecord", record)
        self.assertEqual((status, json.loads(content)["error"]), (401, "AccountDeactivated"))
        status, _, content = old.call("com.atproto.server.activateAccount", raw=b"")
        self.assertEqual((status, json.loads(content)["error"]), (400, "IncompatibleDidDoc"), "one home at a time")

    def check_stream(self, new):
        """Nothing before the activation; then the account, its identity, where the repository stands, its commits."""
        url = f"{new.stack.base_url.replace('http', 'ws')}/xrpc/com.atproto.sync.subscribeRepos?cursor=0"
        kinds, checker = [], FirehoseChecker()
        with connect(url, max_size=8 << 20, compression=None) as socket:
            while "#commit" not in kinds:
                header, event = checker.take(socket.recv(timeout=20))
                kinds.append(header["t"])
                if header["t"] == "#sync":
                    root, _, blocks = parse_car(event["blocks"])
                    commit = verify_commit(blocks[bytes(root)], self.did, self.key())
                    self.assertEqual(commit["rev"], event["rev"])
                    checker.heads[self.did] = (commit["rev"], commit["data"])
        self.assertEqual(kinds[:3], ["#account", "#identity", "#sync"])
        # Activated a second time it says so again, and nothing else.
        self.assertEqual(kinds, ["#account", "#identity", "#sync"] * 2 + ["#commit"])


class StrangersTests(unittest.TestCase):
    """Repositories that other programs wrote."""

    def take(self, stack, did, car):
        body = {"handle": did.removeprefix("did:web:"), "email": "a@example.com", "password": PASSWORD, "did": did}
        status, _, content = stack.call("com.atproto.server.createAccount", body)
        self.assertEqual(status, 200, content)
        token = json.loads(content)["accessJwt"]
        status, _, content = stack.call("com.atproto.repo.importRepo", token=token, raw=car, headers=CAR)
        self.assertEqual(status, 200, content)
        document = json.loads(stack.call("com.atproto.repo.describeRepo", params=f"?repo={did}")[2])["didDoc"]
        key = document["verificationMethod"][0]["publicKeyMultibase"]
        return verify_repository(stack.call("com.atproto.sync.getRepo", params=f"?did={did}")[2], did, key)

    def test_arroba(self):
        did = "did:web:alice.test"
        car, wanted = arroba_repository.make(did, 300)
        with Stack() as stack:
            _, found, _ = self.take(stack, did, car)
            self.assertEqual({key.decode(): bytes(cid) for key, cid in found.items()}, wanted)

    def test_fifty_thousand_in_bounded_memory(self):
        did = "did:web:alice.test"
        for database in ("sqlite", "postgres"):
            for commit_last in (False, True):
                with self.subTest(database=database, commit_last=commit_last), Stack(database=database) as stack:
                    with tempfile.NamedTemporaryFile() as file:
                        records = list(repository.posts(50_000, 200))
                        data, count = repository.write(file.name, did, records, commit_last=commit_last)
                        commit, found, _ = self.take(stack, did, Path(file.name).read_bytes())
                    self.assertEqual(len(found), count)
                    self.assertEqual(bytes(commit["data"]), data)
                    for pid in stack.pids()["xrpc"]:
                        status = Path(f"/proc/{pid}/status").read_text()
                        peak = int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])
                        self.assertLess(peak, 128 << 10, "KiB")


if __name__ == "__main__":
    unittest.main()
