"""The operator's commands beside a running service, on both databases: what they do is what the service then shows.

    python3 Tests/EndToEnd/test_administration.py [-v]
"""

import base64
import contextlib
import http.server
import json
import re
import sqlite3
import subprocess
import sys
import threading
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Support"))

from stack import PROGRAMS, Stack

COLLECT = [PROGRAMS / "skystead-worker", "collect"]
UNKNOWN_CID = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"


class Labeler(http.server.BaseHTTPRequestHandler):
    """A moderation service that is down until it is said to be up, and keeps what it gets."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, self.headers["Authorization"], json.loads(body)))
        self.send_response(200 if self.server.is_up else 503)
        self.end_headers()

    def log_message(self, *_):
        pass


class AdministrationTests(unittest.TestCase):
    def tool(self, stack, *words):
        return subprocess.run(
            [PROGRAMS / "skystead", *words], env=stack.environment, capture_output=True, text=True, timeout=60
        )

    def done(self, stack, *words):
        """What a command says that must work."""
        result = self.tool(stack, *words)
        self.assertEqual(result.returncode, 0, f"{words}: {result.stderr}")
        self.assertEqual(result.stderr, "")
        return result.stdout

    def call(self, stack, method, body=None, token=None):
        """Status and JSON of one call."""
        status, _, answer = stack.call(method, body, token=token)
        return status, json.loads(answer) if answer else None

    def session(self, stack, name, password="long enough"):
        return self.call(stack, "com.atproto.server.createSession", {"identifier": name, "password": password})

    def test_an_operators_day(self):
        for database in ("sqlite", "postgres"):
            with self.subTest(database=database), Stack(database=database) as stack:
                self.day(stack)

    def day(self, stack):
        account = {"handle": "alice.test", "email": "a@example.com", "password": "long enough"}
        status, alice = self.call(stack, "com.atproto.server.createAccount", account)
        self.assertEqual(status, 200)
        did, token = alice["did"], alice["accessJwt"]
        record = {"repo": did, "collection": "com.example.thing", "rkey": "a", "record": {"text": "hello"}}
        self.assertEqual(self.call(stack, "com.atproto.repo.createRecord", record, token=token)[0], 200)
        shown = f"com.atproto.repo.getRecord?repo={did}&collection=com.example.thing&rkey=a"
        subject = {"$type": "com.atproto.admin.defs#repoRef", "did": did}
        report = {"reasonType": "com.atproto.moderation.defs#reasonSpam", "reason": "a\u001b[31mb", "subject": subject}
        self.assertEqual(self.call(stack, "com.atproto.moderation.createReport", report, token=token)[0], 200)

        self.done(stack, "account", "create", "bob.test", "--email", "b@example.com")
        self.assertRegex(self.done(stack, "audit", "bob.test"), r"tool +create +did:plc:")

        # A record, and back.
        uri = f"at://{did}/com.example.thing/a"
        self.assertEqual(self.call(stack, shown)[0], 200)
        self.assertIn("is taken down", self.done(stack, "takedown", "record", uri, "--reason", "spam"))
        self.assertEqual(self.call(stack, shown)[0], 400)
        self.assertIn("no longer", self.done(stack, "takedown", "record", uri, "--lift"))
        self.assertEqual(self.call(stack, shown)[0], 200)

        # An account: suspended, taken down, and back.
        for begin, end, state in (
            (["account", "suspend"], ["account", "unsuspend"], "suspended"),
            (["account", "takedown"], ["account", "takedown", "--lift"], "takendown"),
            (["takedown", "account"], ["takedown", "account", "--lift"], "takendown"),
        ):
            self.done(stack, *begin, "alice.test")
            status, said = self.call(stack, f"com.atproto.sync.getRepoStatus?did={did}")
            self.assertEqual((status, said["active"], said["status"]), (200, False, state))
            self.assertIn(did, self.done(stack, "account", "list", "--state", state))
            self.assertNotIn(did, self.done(stack, "account", "list", "--state", "active"))
            self.assertEqual(self.session(stack, "alice.test")[0], 401)
            self.done(stack, *end, "alice.test")
            self.assertTrue(self.call(stack, f"com.atproto.sync.getRepoStatus?did={did}")[1]["active"])

        # Password, key, address, name.
        said = self.done(stack, "account", "reset-password", "alice.test")
        password = said.split()[-1]
        self.assertEqual(self.session(stack, did)[0], 401)
        self.assertEqual(self.session(stack, did, password)[0], 200)
        key = self.done(stack, "account", "rotate-key", did).split()[-1]
        self.assertIn(key, self.done(stack, "account", "info", did))
        self.assertIn(key, self.done(stack, "plc", "show", "alice.test"))
        self.assertIn("is as it must be", self.done(stack, "plc", "repair", did))
        token = self.session(stack, did, password)[1]["accessJwt"]
        again = {**record, "rkey": "b"}
        self.assertEqual(self.call(stack, "com.atproto.repo.createRecord", again, token=token)[0], 200)
        self.done(stack, "account", "set-email", did, "New@example.com")
        self.assertIn("new@example.com", self.done(stack, "account", "list", "--email", "NEW@"))
        self.done(stack, "account", "set-handle", did, "support.test")
        self.assertEqual(self.call(stack, "com.atproto.identity.resolveHandle?handle=support.test"), (200, {"did": did}))

        # Invite codes.
        code = self.done(stack, "invite", "--uses", "2").strip()
        self.assertIn(code, self.done(stack, "invite", "list", "--usable"))
        self.assertIn("disabled", self.done(stack, "invite", "disable", code))
        self.assertNotIn(code, self.done(stack, "invite", "list", "--usable"))
        self.assertRegex(self.done(stack, "invite", "list"), rf"{code} +0/2 +disabled")

        # The report, without the colours that its writer put in.
        said = self.done(stack, "report", "list")
        self.assertRegex(said, r"1 +\d{4}-\d\d-\d\d \d\d:\d\d +open +spam")
        self.assertIn("a [31mb", said)
        self.assertNotIn("\u001b", said)
        self.assertIn("to nobody", self.done(stack, "report", "show", "1"))
        self.done(stack, "report", "close", "1", "--note", "talked to her")
        self.assertEqual(self.done(stack, "report", "list"), "no open reports\n")
        self.assertIn("talked to her", self.done(stack, "report", "show", "1"))

        # The end, and what the log says.
        refused = self.tool(stack, "account", "delete", did)
        self.assertEqual(refused.returncode, 2)
        self.assertIn("--yes", refused.stderr)
        self.done(stack, "account", "delete", did, "--yes", "--reason", "asked for it")
        self.assertEqual(self.call(stack, f"com.atproto.sync.getRepoStatus?did={did}")[0], 400)
        self.assertEqual(self.done(stack, "report", "list", "--all"), "no open reports\n")
        log = self.done(stack, "audit", did)
        acts = [re.split(r" {2,}", line)[3] for line in log.splitlines()[1:]]
        self.assertEqual(
            acts,
            ["delete", "set-handle", "set-email", "rotate-key", "set-password"]
            + ["lift-takedown", "takedown"] * 2
            + ["unsuspend", "suspend"],
        )
        self.assertIn("asked for it", log)
        everything = self.done(stack, "audit", "--limit", "100")
        self.assertIn("close-report", everything)
        self.assertIn("create-invites", everything)
        self.assertNotIn(password, everything)
        self.assertNotIn("@example.com", everything)

    def test_wrong_words(self):
        with Stack() as stack:
            account = {"handle": "alice.test", "email": "a@example.com", "password": "long enough"}
            did = self.call(stack, "com.atproto.server.createAccount", account)[1]["did"]
            rows = (
                (["account", "suspend"], 2, "needs HANDLE-OR-DID"),
                (["account", "suspend", "no handle"], 2, "neither a handle nor a DID"),
                (["account", "suspend", "bob.test"], 1, "there is no account 'bob.test' here"),
                (["account", "list", "--state", "gone"], 2, "there are active, deactivated, suspended, takendown"),
                (["account", "set-handle", did, "x"], 2, "is not a handle"),
                (["account", "set-handle", did, "a.b.test"], 1, "handles here end in .test"),
                (["account", "set-handle", did, "alice.example.com"], 1, "TXT record _atproto.alice.example.com"),
                (["account", "set-email", did, "nobody"], 1, "not an e-mail address"),
                (["account", "rotate-key", did, "--to", "did:key:zNobody"], 1, "not reserved that key"),
                (["takedown", "record", did], 2, "is not at://ACCOUNT/COLLECTION/KEY"),
                (["takedown", "record", f"at://{did}/com.example.thing/a"], 1, "there is no record"),
                (["takedown", "blob", did, "x"], 2, "is not a CID"),
                (["takedown", "blob", did, UNKNOWN_CID], 1, "has no blob"),
                (["invite", "disable"], 2, "say which"),
                (["invite", "disable", "localhost-aaaaa-bbbbb"], 1, "there is no invite code"),
                (["report", "show", "one"], 2, "is not a report's number"),
                (["report", "show", "7"], 1, "there is no report 7"),
                (["report", "close", "7"], 1, "there is no report 7"),
                (["audit", "--limit", "0"], 2, "--limit is a number from 1"),
            )
            for words, code, message in rows:
                with self.subTest(words=words):
                    result = self.tool(stack, *words)
                    self.assertEqual(result.returncode, code, result.stderr)
                    self.assertIn(message, result.stderr)
                    self.assertEqual(result.stdout, "")
            self.assertEqual(self.done(stack, "audit"), "nothing was done\n")

    def test_an_account_whose_time_has_come(self):
        with Stack() as stack:
            account = {"handle": "alice.test", "email": "a@example.com", "password": "long enough"}
            alice = self.call(stack, "com.atproto.server.createAccount", account)[1]
            body = {"deleteAfter": "2020-01-01T00:00:00Z"}
            status, _ = self.call(stack, "com.atproto.server.deactivateAccount", body, token=alice["accessJwt"])
            self.assertEqual(status, 200)
            done = subprocess.run(COLLECT, env=stack.environment, capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("accounts=1", done.stderr)
            self.assertEqual(self.call(stack, f"com.atproto.sync.getRepoStatus?did={alice['did']}")[0], 400)
            self.assertRegex(self.done(stack, "audit"), r"worker +delete")

    def test_a_report_is_passed_on(self):
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Labeler) as labeler:
            labeler.is_up, labeler.got = False, []
            thread = threading.Thread(target=labeler.serve_forever)
            thread.start()
            try:
                self.passing_on(labeler)
            finally:
                labeler.shutdown()
                thread.join()

    def passing_on(self, labeler):
        place = f"localhost:{labeler.server_port}"
        stack = Stack(
            settings={"SKYSTEAD_MODERATION_DID": "did:web:mod.example.com", "SKYSTEAD_MODERATION_URL": f"http://{place}"}
        )
        stack.environment["SKYSTEAD_ALLOW_PRIVATE_HOSTS"] += f",{place}"
        with stack:
            account = {"handle": "alice.test", "email": "a@example.com", "password": "long enough"}
            alice = self.call(stack, "com.atproto.server.createAccount", account)[1]
            subject = {"$type": "com.atproto.admin.defs#repoRef", "did": alice["did"]}
            report = {"reasonType": "com.atproto.moderation.defs#reasonSpam", "subject": subject}
            status, _ = self.call(stack, "com.atproto.moderation.createReport", report, token=alice["accessJwt"])
            self.assertEqual(status, 200, "the labeler is down, and the person has reported")
            self.assertIn("not yet, 1 attempts", self.done(stack, "report", "show", "1"))

            labeler.is_up = True
            # As if the time until the next attempt were over.
            with contextlib.closing(sqlite3.connect(stack.data_dir / "skystead.sqlite")) as database, database:
                database.execute("UPDATE report SET forward_after = 1")
            done = subprocess.run(COLLECT, env=stack.environment, capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("collect.reports forwarded=1", done.stderr)
            self.assertRegex(self.done(stack, "report", "show", "1"), r"passed on +to did:web:mod.example.com at \d{4}-")
            self.assertEqual(len(labeler.got), 2)
            path, authorization, body = labeler.got[1]
            self.assertEqual(path, "/xrpc/com.atproto.moderation.createReport")
            self.assertEqual(body, report)
            claims = authorization.removeprefix("Bearer ").split(".")[1]
            claims = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
            self.assertEqual((claims["iss"], claims["aud"]), (alice["did"], "did:web:mod.example.com"))
            self.assertEqual(claims["lxm"], "com.atproto.moderation.createReport")


if __name__ == "__main__":
    unittest.main()
