"""Moving an account from one Skystead to another, as `goat account migrate` does it, by plain HTTP.

    python3 Tests/EndToEnd/test_migration.py [-v] [TestCase]

Two whole services that share a PLC directory: each database as the source of the other. The operation that changes the
identity is signed by the owner, who holds a rotation key, or by the old host, which mails a code for it.

Every step is interrupted and taken again. Each call of a step loses its responder twice: to a kill -9 before there is
an answer, and to one when there is, which the client then never sees. After that the step is taken, the responders are
killed once more, and it is taken again. Whatever had happened, the move goes on, and at its end the account is whole at
the new host, once.
"""

import base64
import hashlib
import http.client
import json
import os
import random
import select
import signal
import sys
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Support"))

import cbrrr
import repository
from cryptography.hazmat.primitives.asymmetric import ec
from mail_server import Authority, MailServer, code_in
from stack import Stack, wait_until
from verify import FirehoseChecker, parse_car, verify_commit, verify_repository
from websockets.sync.client import connect

PASSWORD = "correct horse battery staple"
POST = "app.bsky.feed.post"
CAR = {"Content-Type": "application/vnd.ipld.car"}
TYPE = {"Content-Type": "image/x-test"}


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
        pids = self.stack.pids()["xrpc"]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        self.wait(pids)

    def wait(self, killed):
        """Returns when none of the `killed` is left and another answers."""
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in killed), what="the responder is gone")
        wait_until(lambda: self.stack.call("_health")[0] == 200, what="the responder is back")

    def interrupt(self, moment, method, body=None, token=None, params="", headers=None, raw=None):
        """Makes a call and kills the responder at `moment`: a number of seconds after the call was sent; "answered",
        when an answer has come, which is then not read; or a condition, when that holds. Returns the status of the
        answer that came nevertheless, None for none.
        """
        pids = self.stack.pids()["xrpc"]
        headers = {"Authorization": f"Bearer {token or self.token}", **(headers or {})}
        if body is not None:
            raw = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        connection = http.client.HTTPConnection("localhost", self.stack.port, timeout=60)
        try:
            connection.request("GET" if raw is None else "POST", f"/xrpc/{method}{params}", raw, headers)
            if moment == "answered":
                if not select.select([connection.sock], [], [], 60)[0]:
                    raise AssertionError(f"{method}: no answer")
            elif callable(moment):
                wait_until(moment, what=f"the moment of {method}")
            else:
                time.sleep(moment)
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            if moment == "answered":
                return None
            try:
                status = connection.getresponse().status
            except (OSError, http.client.HTTPException):
                return None
            # The web server's own words when the responder is gone.
            return None if status in (502, 503, 504) else status
        finally:
            connection.close()
            self.wait(pids)


class Line(ThreadingHTTPServer):
    """What is between a host and its PLC directory: passes everything on, and can keep an answer to itself."""

    daemon_threads = True

    def __init__(self, url):
        super().__init__(("127.0.0.1", 0), LineHandler)
        self.directory, self.url = url, f"http://localhost:{self.server_address[1]}"
        self.holds, self.may_go = threading.Event(), threading.Event()
        self.may_go.set()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def hold(self):
        """The next answer to a POST stays here: `holds` is set when it has come."""
        self.holds.clear()
        self.may_go.clear()

    def release(self):
        self.may_go.set()

    def handle_error(self, request, client_address):
        """A host that was killed leaves its connections as they are."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    def close(self):
        self.release()
        self.shutdown()
        self.server_close()


class LineHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def pass_on(self):
        size = int(self.headers.get("Content-Length", 0))
        request = urllib.request.Request(self.server.directory + self.path, self.rfile.read(size) if size else None)
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                status, kind, content = answer.status, answer.headers["Content-Type"], answer.read()
        except urllib.error.HTTPError as error:
            with error:
                status, kind, content = error.code, error.headers["Content-Type"], error.read()
        if self.command == "POST" and not self.server.may_go.is_set():
            self.server.holds.set()
            self.server.may_go.wait(60)
        try:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
        except OSError:
            pass  # nobody is there any more

    do_GET = do_POST = pass_on

    def log_message(self, *_):
        pass


class MigrationTests(unittest.TestCase):
    def pair(self, source, target, settings=None, private_hosts=()):
        old = Stack(database=source, settings=settings, private_hosts=private_hosts)
        self.addCleanup(old.stop)
        old.start()
        self.plc_url = old.plc_url
        self.line = Line(old.plc_url)
        self.addCleanup(self.line.close)
        new = Stack(
            database=target,
            settings={
                "SKYSTEAD_PLC_URL": self.line.url,
                "SKYSTEAD_ALLOW_PRIVATE_HOSTS": self.line.url.removeprefix("http://"),
            },
        )
        self.addCleanup(new.stop)
        new.start()
        return Host(old), Host(new)

    def settle(self, old, recovery=None):
        """An account on the old host with records, blobs and preferences. `recovery` is its owner's rotation key."""
        self.recovery = recovery
        body = {"handle": "mover.test", "email": "mover@example.com", "password": PASSWORD}
        if recovery:
            body["recoveryKey"] = repository.did_key(recovery)
        account = old.json("com.atproto.server.createAccount", body)
        old.token, self.did = account["accessJwt"], account["did"]
        self.blobs = {}
        for number in range(12):
            content = f"blob {number}: ".encode() + os.urandom(1_000)
            blob = old.json("com.atproto.repo.uploadBlob", raw=content, headers=TYPE)["blob"]
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

    # The steps of a move. Each can be taken again, whatever became of it the first time. `calls_` gives the calls that
    # a step is made of, as (host, method, what goes with it), for being interrupted in each of them.

    AUTH = {"params": "?aud=did:web:localhost&lxm=com.atproto.server.createAccount"}

    def registration(self):
        return {"handle": "mover.test", "email": "mover@example.com", "password": PASSWORD, "did": self.did}

    def calls_account(self, old, new):
        yield old, "com.atproto.server.getServiceAuth", self.AUTH
        token = old.json("com.atproto.server.getServiceAuth", **self.AUTH)["token"]
        yield new, "com.atproto.server.createAccount", {"body": self.registration(), "token": token}

    def step_account(self, old, new):
        token = old.json("com.atproto.server.getServiceAuth", **self.AUTH)["token"]
        body = self.registration()
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

    def calls_repository(self, old, new):
        yield old, "com.atproto.sync.getRepo", {"params": f"?did={self.did}"}
        car = old.call("com.atproto.sync.getRepo", params=f"?did={self.did}")[2]
        yield new, "com.atproto.repo.importRepo", {"raw": car, "headers": CAR}

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

    def calls_blobs(self, old, new):
        yield new, "com.atproto.repo.listMissingBlobs", {}
        cid = self.missing(new)[0]
        yield old, "com.atproto.sync.getBlob", {"params": f"?did={self.did}&cid={cid}"}
        yield new, "com.atproto.repo.uploadBlob", {"raw": self.blobs[cid], "headers": TYPE}

    def step_blobs(self, old, new):
        missing = self.missing(new)
        # Half of them, as if the line broke; the rest the next time.
        for cid in missing[: max(1, len(missing) // 2)]:
            status, _, content = old.call("com.atproto.sync.getBlob", params=f"?did={self.did}&cid={cid}")
            self.assertEqual(status, 200)
            self.assertEqual(content, self.blobs[cid])
            blob = new.json("com.atproto.repo.uploadBlob", raw=content, headers=TYPE)["blob"]
            self.assertEqual(blob["ref"]["$link"], cid)
        left = self.missing(new)
        self.assertEqual(len(left), len(missing) - max(1, len(missing) // 2) if missing else 0)
        answer = new.json("com.atproto.server.checkAccountStatus")
        self.assertEqual(answer["importedBlobs"], 12 - len(left))
        if left:
            self.step_blobs(old, new)

    def calls_preferences(self, old, new):
        yield old, "app.bsky.actor.getPreferences", {}
        yield new, "app.bsky.actor.putPreferences", {"body": {"preferences": self.preferences}}

    def step_preferences(self, old, new):
        preferences = old.json("app.bsky.actor.getPreferences")
        self.assertEqual(preferences["preferences"], self.preferences)
        new.json("app.bsky.actor.putPreferences", preferences)
        self.assertEqual(new.json("app.bsky.actor.getPreferences")["preferences"], self.preferences)

    def recommended(self, new):
        wanted = new.json("com.atproto.identity.getRecommendedDidCredentials")
        self.assertEqual(wanted["services"]["atproto_pds"]["endpoint"], new.stack.base_url)
        return wanted

    def calls_credentials(self, old, new):
        yield new, "com.atproto.identity.getRecommendedDidCredentials", {}

    def step_credentials(self, old, new):
        # The key that it promised once is the key that it signs with.
        before = getattr(self, "credentials", None)
        self.credentials = self.recommended(new)
        self.assertIn(before, (None, self.credentials))

    def calls_identity(self, old, new):
        return self.calls_credentials(old, new)

    def step_identity(self, old, new):
        """By the owner's key."""
        if new.json("com.atproto.server.checkAccountStatus")["validDid"]:
            return
        self.assertEarly(new)
        self.change_identity(self.recommended(new))
        self.assertTrue(new.json("com.atproto.server.checkAccountStatus")["validDid"])

    def assertEarly(self, new):
        status, _, content = new.call("com.atproto.server.activateAccount", raw=b"")
        self.assertEqual((status, json.loads(content)["error"]), (400, "IncompatibleDidDoc"), "before the identity")

    # By the old host.

    def newest_code(self, old):
        """The code that counts: of the newest mail, or as the operator reads it."""
        if self.mail_server is None:
            lines = old.stack.tool("mail", "queue", "--codes").splitlines()
            words = [line.split() for line in lines if f"  plc_operation  {self.did}  mover.test  " in line]
            self.assertEqual(len(words), 1, lines)
            return words[0][0]
        # The code of a mail before does not count any more: every mail that was asked for has to come first.
        queue = [line for line in old.stack.tool("mail", "queue").splitlines() if line[:1].strip()]
        receivers, message = self.mail_server.wait(len(queue))
        self.assertEqual(receivers, ["mover@example.com"])
        return code_in(message)

    def request_code(self, old):
        old.json("com.atproto.identity.requestPlcOperationSignature", raw=b"")
        return self.newest_code(old)

    def calls_token(self, old, new):
        yield old, "com.atproto.identity.requestPlcOperationSignature", {"raw": b""}

    def step_token(self, old, new):
        before = getattr(self, "code", None)
        self.code = self.request_code(old)
        self.assertNotEqual(before, self.code)

    def calls_sign(self, old, new):
        # A code is good for one signature: who did not see the answer asks for another.
        body = {"token": self.request_code(old), **self.credentials}
        yield old, "com.atproto.identity.signPlcOperation", {"body": body}

    def step_sign(self, old, new):
        body = {"token": self.request_code(old), **self.credentials}
        self.operation = old.json("com.atproto.identity.signPlcOperation", body)["operation"]
        for name, value in self.credentials.items():
            self.assertEqual(self.operation[name], value)
        status, _, content = old.call("com.atproto.identity.signPlcOperation", body)
        self.assertEqual((status, json.loads(content)["error"]), (400, "InvalidToken"), "a code twice")
        # It is signed, and nothing more: the directory has what it had.
        self.assertEqual(len(self.directory("/log/audit")), 1)
        self.assertEarly(new)

    def calls_submit(self, old, new):
        yield new, "com.atproto.identity.submitPlcOperation", {"body": {"operation": self.operation}}

    def interrupt_submit(self, old, new):
        """Also when the directory has the operation and this host has not heard of it."""
        self.line.hold()
        method, body = "com.atproto.identity.submitPlcOperation", {"operation": self.operation}
        self.assertIsNone(new.interrupt(self.line.holds.is_set, method, body))
        self.line.release()
        self.assertEqual(len(self.directory("/log/audit")), 2)
        self.interruptions += 1
        self.interrupt("submit", old, new)

    def step_submit(self, old, new):
        # Who did not see the answer sends it again.
        new.json("com.atproto.identity.submitPlcOperation", {"operation": self.operation})
        self.assertTrue(new.json("com.atproto.server.checkAccountStatus")["validDid"])
        self.assertEqual([one["operation"] for one in self.directory("/log/audit")][1:], [self.operation])

    def calls_activation(self, old, new):
        yield new, "com.atproto.server.activateAccount", {"raw": b""}

    def step_activation(self, old, new):
        new.json("com.atproto.server.activateAccount", raw=b"")
        self.assertTrue(new.json("com.atproto.server.checkAccountStatus")["activated"])

    def calls_leaving(self, old, new):
        yield old, "com.atproto.server.deactivateAccount", {"body": {}}

    def step_leaving(self, old, new):
        old.json("com.atproto.server.deactivateAccount", {})

    BRING = ("account", "repository", "blobs", "preferences")
    TURN = ("activation", "leaving")
    BY_OWNER = (*BRING, "identity", *TURN)
    BY_OLD_HOST = (*BRING, "credentials", "token", "sign", "submit", *TURN)

    def interrupt(self, name, old, new):
        """Interrupts each call of a step, before its answer and after it."""
        calls = getattr(self, f"calls_{name}")
        for place in range(sum(1 for _ in calls(old, new))):
            for is_early in (True, False):
                pause = self.chance.uniform(0, 0.02)
                while True:
                    host, method, words = next(call for at, call in enumerate(calls(old, new)) if at == place)
                    status = host.interrupt(pause if is_early else "answered", method, **words)
                    if status is None:
                        break
                    # It was quicker than the kill.
                    pause /= 2
                    self.assertGreater(pause, 1e-9, f"{method} is always answered")
                self.interruptions += 1

    def move(self, steps, old, new):
        self.interruptions = 0
        for name in steps:
            getattr(self, f"interrupt_{name}", lambda *hosts: self.interrupt(name, *hosts))(old, new)
            step = getattr(self, f"step_{name}")
            step(old, new)
            new.restart_responder()
            old.restart_responder()
            step(old, new)
        self.check_new(new)
        self.check_old(old)
        self.check_stream(new, "submit" in steps)

    def begin(self):
        self.chance = random.Random(1)
        for name in ("credentials", "code", "operation"):
            self.__dict__.pop(name, None)
        self.mail_server = None

    def test_signed_by_the_owner(self):
        for source, target in (("sqlite", "postgres"), ("postgres", "sqlite")):
            with self.subTest(source=source, target=target):
                self.begin()
                old, new = self.pair(source, target)
                self.settle(old, ec.generate_private_key(ec.SECP256K1()))
                self.move(self.BY_OWNER, old, new)
                self.assertEqual(self.interruptions, 24)

    def test_signed_by_the_old_host(self):
        """With the code from a mail, and as the operator of a host without mail reads it."""
        with tempfile.TemporaryDirectory(prefix="skymail") as directory:
            authority = Authority(Path(directory))
            with MailServer("smtps", authority.context("localhost")) as server:
                mail = {
                    "SKYSTEAD_SMTP_URL": server.url,
                    "SKYSTEAD_MAIL_FROM": "home@example.com",
                    "SKYSTEAD_EXTRA_CA_FILE": str(authority.path),
                }
                rows = (("sqlite", "postgres", server, mail), ("postgres", "sqlite", None, {}))
                for source, target, mail_server, settings in rows:
                    with self.subTest(source=source, target=target):
                        self.begin()
                        self.mail_server = mail_server
                        hosts = [mail_server.host] if mail_server else []
                        old, new = self.pair(source, target, settings, hosts)
                        self.settle(old)
                        self.move(self.BY_OLD_HOST, old, new)
                        self.assertEqual(self.interruptions, 31)
                        self.assertEqual(len(self.directory("/log/audit")), 2, "one operation after the first")

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
        # Its last word on the stream is that the account has left.
        url = f"{old.stack.base_url.replace('http', 'ws')}/xrpc/com.atproto.sync.subscribeRepos?cursor=0"
        with connect(url, max_size=8 << 20, compression=None) as socket:
            checker = FirehoseChecker()
            while True:
                header, event = checker.take(socket.recv(timeout=20))
                if header["t"] == "#account" and not event["active"]:
                    self.assertEqual(event["status"], "deactivated")
                    break

    def check_stream(self, new, is_submitted):
        """Nothing of the account before its identity; then the account, its identity, where the repository stands."""
        url = f"{new.stack.base_url.replace('http', 'ws')}/xrpc/com.atproto.sync.subscribeRepos?cursor=0"
        kinds, checker = [], FirehoseChecker()
        with connect(url, max_size=8 << 20, compression=None) as socket:
            while "#commit" not in kinds:
                header, event = checker.take(socket.recv(timeout=20))
                kinds.append(header["t"])
                if header["t"] == "#account":
                    self.assertTrue(event["active"])
                if header["t"] == "#sync":
                    root, _, blocks = parse_car(event["blocks"])
                    commit = verify_commit(blocks[bytes(root)], self.did, self.key())
                    self.assertEqual(commit["rev"], event["rev"])
                    checker.heads[self.did] = (commit["rev"], commit["data"])
        # An operation that goes through this host is an event of its own.
        first = kinds.index("#account")
        self.assertEqual(set(kinds[:first]), {"#identity"} if is_submitted else set())
        # Activated once more it says so again, and nothing else: each time all of it.
        times = (len(kinds) - 1 - first) // 3
        self.assertGreaterEqual(times, 3)
        self.assertEqual(kinds[first:], ["#account", "#identity", "#sync"] * times + ["#commit"])


class LargeTests(unittest.TestCase):
    """A repository with another order of blocks than ours, and many of them."""

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
