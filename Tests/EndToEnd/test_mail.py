"""Mail, from a client's request through the web server to a mail server that nobody here wrote, with TLS and a login.

    python3 Tests/EndToEnd/test_mail.py [-v] [TestCase]
"""

import base64
import collections
import contextlib
import email
import email.policy
import email.utils
import json
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Support"))

from atproto import Client, models
from mail_server import LOGIN, TROUBLES, Authority, MailServer, code_in
from stack import ADMIN_PASSWORD, PROGRAMS, Stack, free_port, wait_until

SENDER = "home@example.com"
PASSWORD = "correct horse battery staple"
ALICE = "alice@example.com"
NO_TLS = "no TLS, or a certificate that does not hold for the name"
# A directory for certificates, for as long as this process lives.
WORK = tempfile.TemporaryDirectory(prefix="skymail")
AUTHORITY = Authority(Path(WORK.name))


def settings(server, **more):
    return {
        "SKYSTEAD_SMTP_URL": server.url,
        "SKYSTEAD_MAIL_FROM": f"Zuhause ü <{SENDER}>",
        "SKYSTEAD_EXTRA_CA_FILE": str(AUTHORITY.path),
        **more,
    }


def tool(stack, *words):
    """Exit code and everything that the tool said."""
    done = subprocess.run(
        [PROGRAMS / "skystead", *words], env=stack.environment, capture_output=True, text=True, timeout=120
    )
    return done.returncode, done.stdout + done.stderr


class MailCase(unittest.TestCase):
    stack = None

    def call(self, method, body=None, token=None):
        """Status and JSON of a POST."""
        status, _, text = self.stack.call(
            method, body, token, raw=b"" if body is None else None
        )
        return status, json.loads(text) if text else None

    def done(self, method, body=None, token=None):
        status, answer = self.call(method, body, token)
        self.assertEqual(status, 200, answer)
        return answer

    def refused(self, status, error, method, body=None, token=None):
        answer = self.call(method, body, token)
        self.assertEqual((answer[0], answer[1]["error"]), (status, error), answer)

    def send_message(self, body, password=ADMIN_PASSWORD):
        """Status and JSON of sendEmail by the operator."""
        basic = base64.b64encode(f"admin:{password}".encode()).decode()
        headers = {"Authorization": f"Basic {basic}"}
        status, _, text = self.stack.call("com.atproto.admin.sendEmail", body, headers=headers)
        return status, json.loads(text)

    def account(self, name="alice"):
        return self.done(
            "com.atproto.server.createAccount",
            {"handle": f"{name}.test", "email": f"{name}@example.com", "password": PASSWORD},
        )

    def sign_in(self, password=PASSWORD, **more):
        return self.call(
            "com.atproto.server.createSession", {"identifier": "alice.test", "password": password, **more}
        )

    def queue(self):
        """The lines of `skystead mail queue` that are mails, as words; errors are lines of their own."""
        return [line.split() for line in self.stack.tool("mail", "queue").splitlines() if not line.startswith(" ")]


class JourneyTests(MailCase):
    """Everything that an account does by mail."""

    def journey(self, way, database):
        with MailServer(way, AUTHORITY.context("localhost")) as server:
            with Stack(database=database, settings=settings(server), private_hosts=[server.host]) as self.stack:
                self.confirm(server)
                self.second_factor(server)
                self.reset(server)
                self.identity(server)
                self.message(server)
                self.delete(server)
                self.assertTrue(all(server.logins))
                self.assertEqual(len(server.logins), len(server.messages), "one connection a mail, each signed in")
                ids = [email.message_from_bytes(content)["message-id"] for _, content in server.messages]
                self.assertEqual(len(set(ids)), len(ids), "no mail twice")
                # Codes and addresses are nobody's business who reads logs.
                logs = "".join(path.read_text() for path in (self.stack.data_dir / "log").glob("*.log"))
                self.assertIn("mail.sent", logs)
                for secret in self.secrets + [ALICE, LOGIN]:
                    self.assertNotIn(secret, logs)

    def test_implicit_tls(self):
        self.journey("smtps", "sqlite")

    def test_starttls(self):
        self.journey("smtp", "postgres")

    def mailed(self, server, subject):
        """The code of the next mail."""
        self.count = getattr(self, "count", 0) + 1
        receivers, message = server.wait(self.count)
        self.assertEqual(receivers, [ALICE])
        self.assertEqual(message["to"], ALICE)
        self.assertEqual(message["from"], f"Zuhause ü <{SENDER}>")
        self.assertEqual(message["subject"], f"{subject} on localhost")
        sent = email.utils.parsedate_to_datetime(message["date"]).timestamp()
        self.assertLess(abs(sent - time.time()), 60)
        self.assertRegex(message["message-id"], r"^<[a-z2-7]+@localhost>$")
        self.assertEqual(message["auto-submitted"], "auto-generated")
        for name in ("date", "from", "to", "subject", "message-id", "content-type"):
            self.assertEqual(len(message.get_all(name)), 1, name)
        code = code_in(message)
        self.secrets = getattr(self, "secrets", []) + [code]
        return code

    def confirm(self, server):
        client = Client(f"{self.stack.base_url}/xrpc")
        client.com.atproto.server.create_account(
            models.ComAtprotoServerCreateAccount.Data(handle="alice.test", email=ALICE, password=PASSWORD)
        )
        client.login("alice.test", PASSWORD, fetch_bsky_profile=False)
        self.assertFalse(client.com.atproto.server.get_session().email_confirmed)
        self.assertTrue(client.com.atproto.server.request_email_confirmation())
        code = self.mailed(server, "Confirm your e-mail address")
        self.assertTrue(client.com.atproto.server.confirm_email({"email": ALICE, "token": code}))
        self.assertTrue(client.com.atproto.server.get_session().email_confirmed)
        self.did = client._session.did

    def second_factor(self, server):
        token = self.sign_in()[1]["accessJwt"]
        self.done("com.atproto.server.updateEmail", {"email": ALICE, "emailAuthFactor": True}, token)
        status, answer = self.sign_in()
        self.assertEqual((status, answer["error"]), (401, "AuthFactorTokenRequired"))
        code = self.mailed(server, "Your sign-in code")
        status, answer = self.sign_in(authFactorToken="AAAAA-AAAAA")
        self.assertEqual((status, answer["error"]), (400, "InvalidToken"))
        status, answer = self.sign_in(authFactorToken=code)
        self.assertEqual((status, answer["emailAuthFactor"]), (200, True))
        token = answer["accessJwt"]
        self.assertTrue(self.done("com.atproto.server.requestEmailUpdate", None, token)["tokenRequired"])
        code = self.mailed(server, "Change your e-mail address")
        off = {"email": ALICE, "emailAuthFactor": False}
        self.refused(400, "TokenRequired", "com.atproto.server.updateEmail", off, token)
        self.done("com.atproto.server.updateEmail", {**off, "token": code}, token)
        self.assertEqual(self.sign_in()[0], 200)

    def reset(self, server):
        session = self.sign_in()[1]
        method = "com.atproto.server.requestPasswordReset"
        known = self.stack.call(method, {"email": ALICE})
        unknown = self.stack.call(method, {"email": "nobody@example.com"})
        names = ("content-type", "content-length", "cache-control")
        self.assertEqual(known[0], 200)
        self.assertEqual(
            [(a, [h[n] for n in names], b) for a, h, b in (known,)],
            [(a, [h[n] for n in names], b) for a, h, b in (unknown,)],
        )
        code = self.mailed(server, "Reset your password")
        new = {"token": code, "password": "another password"}
        self.done("com.atproto.server.resetPassword", new)
        self.refused(400, "InvalidToken", "com.atproto.server.resetPassword", new)
        self.assertEqual(self.sign_in()[0], 401)
        self.assertEqual(self.sign_in("another password")[0], 200)
        status, _, body = self.stack.call(
            "com.atproto.server.refreshSession", None, session["refreshJwt"], raw=b""
        )
        self.assertEqual((status, json.loads(body)["error"]), (400, "ExpiredToken"))

    def identity(self, server):
        """Signs an operation with a recovery key of its owner's before this server's key, and submits it."""
        token = self.sign_in("another password")[1]["accessJwt"]
        self.refused(400, "InvalidRequest", "com.atproto.identity.signPlcOperation", {}, token)
        self.done("com.atproto.identity.requestPlcOperationSignature", None, token)
        code = self.mailed(server, "Change your identity")
        recovery = "did:key:zQ3shmHbSYMDjbn39JXWvhLUGf9ggNztXFAm4iVnDLyd7rGSi"
        wanted = json.loads(
            self.stack.call("com.atproto.identity.getRecommendedDidCredentials", token=token)[2]
        )
        signed = self.done(
            "com.atproto.identity.signPlcOperation",
            {"token": code, "rotationKeys": [recovery, *wanted["rotationKeys"]]},
            token,
        )["operation"]
        self.done("com.atproto.identity.submitPlcOperation", {"operation": signed}, token)
        # The directory has checked the signature by the rules of its own.
        with urllib.request.urlopen(f"{self.stack.plc_url}/{self.did}/data", timeout=10) as answer:
            self.assertEqual(json.load(answer)["rotationKeys"], [recovery, *wanted["rotationKeys"]])
        signed["alsoKnownAs"] = ["at://bob.test"]
        self.refused(
            400, "InvalidRequest", "com.atproto.identity.submitPlcOperation", {"operation": signed}, token
        )

    def message(self, server):
        """What a moderator writes: as it was written, and as text."""
        body = {
            "recipientDid": self.did,
            "senderDid": "did:web:mod.example.com",
            "subject": "Ihr Beitrag ü",
            "content": "<p>Be <b>kind</b>.</p>\n<p>.<br>\n.hidden</p>",
            "comment": "the third time",
        }
        self.assertEqual(self.send_message(body, ALICE)[0], 401)
        self.assertEqual(self.send_message(body), (200, {"sent": True}))
        self.count += 1
        receivers, message = server.wait(self.count)
        self.assertEqual((receivers, message["subject"]), ([ALICE], body["subject"]))
        plain, markup = (
            message.get_body((part,)).get_content().replace("\r\n", "\n") for part in ("plain", "html")
        )
        self.assertEqual(plain, "Be kind.\n\n.\n.hidden\n")
        self.assertEqual(markup.strip(), body["content"])
        audit = self.stack.tool("audit", self.did)
        self.assertRegex(audit, r"admin +send-mail .*did:web:mod.example.com: Ihr Beitrag ü \(the third time\)")
        self.assertNotIn("kind", audit)

    def delete(self, server):
        token = self.sign_in("another password")[1]["accessJwt"]
        self.done("com.atproto.server.requestAccountDelete", None, token)
        code = self.mailed(server, "Delete your account")
        method = "com.atproto.server.deleteAccount"
        wrong = {"did": self.did, "password": PASSWORD, "token": code}
        self.refused(401, "AuthenticationRequired", method, wrong)
        self.done(method, {**wrong, "password": "another password"})
        self.assertEqual(self.sign_in("another password")[0], 401)
        status, _, body = self.stack.call("com.atproto.sync.getRepoStatus", params=f"?did={self.did}")
        self.assertEqual((status, json.loads(body)["error"]), (400, "RepoNotFound"))
        self.assertEqual(self.queue(), [], "its mail is forgotten with it")


class TroubleTests(MailCase):
    """What goes wrong between an operator and a mail server, and what the operator is told."""

    def trouble(self, way, words, name="localhost", url=None, **more):
        """One mail that cannot be handed over: what the tool, the check and the queue say of it."""
        with MailServer(way, AUTHORITY.context(name)) as server:
            given = settings(server, **more)
            if url:
                given["SKYSTEAD_SMTP_URL"] = url(server)
            with Stack(settings=given, private_hosts=[server.host]) as self.stack:
                code, said = tool(self.stack, "mail", "test", "bob@example.com")
                self.assertEqual(code, 1, said)
                self.assertIn(words, said)
                self.assertIn("→", said)
                code, said = tool(self.stack, "check")
                self.assertEqual(code, 1, said)
                self.assertIn(f"mail: {words}" if words.startswith("the") else words, said)
                session = self.account()
                self.done("com.atproto.server.requestEmailConfirmation", None, session["accessJwt"])
                wait_until(lambda: "mail.postponed" in self.stack.log("mail"), what="the first try")
                self.assertEqual([line[1:3] for line in self.queue()], [["queued", "confirm_email"]])
                self.assertIn(words, self.stack.tool("mail", "queue"))
                self.assertEqual(server.messages, [])
                return server

    def test_wrong_password(self):
        for way in ("smtps", "smtp"):
            with self.subTest(way=way):
                server = self.trouble(
                    way,
                    "the mail server does not let us in: 535",
                    url=lambda server: server.url.replace("word@", "wort@"),
                )
                self.assertIn(False, server.logins)

    def test_no_login(self):
        self.trouble(
            "smtps", "the mail server does not let us in: 530",
            url=lambda server: f"smtps://{server.host}",
        )

    def test_another_name(self):
        for way in ("smtps", "smtp"):
            with self.subTest(way=way):
                server = self.trouble(way, NO_TLS, name="other.test")
                self.assertEqual(server.logins, [], "no password for a server that is another")

    def test_unknown_authority(self):
        server = self.trouble(
            "smtps", NO_TLS, SKYSTEAD_EXTRA_CA_FILE=""
        )
        self.assertEqual(server.logins, [])

    def test_the_wrong_way(self):
        # Ports are the tests' own here, so the mistake is only found by trying.
        self.trouble(
            "smtp", NO_TLS,
            url=lambda server: server.url.replace("smtp://", "smtps://"),
        )

    def test_later_then_taken(self):
        with MailServer("smtps", AUTHORITY.context("localhost")) as server:
            with Stack(settings=settings(server), private_hosts=[server.host]) as self.stack:
                server.answers = ["451 4.7.1 greylisted, come again"]
                session = self.account()
                self.done("com.atproto.server.requestEmailConfirmation", None, session["accessJwt"])
                wait_until(lambda: "mail.postponed" in self.stack.log("mail"), what="the first try")
                self.assertIn("451 4.7.1 greylisted, come again", self.stack.tool("mail", "queue"))
                (mail,) = self.queue()
                self.assertEqual(mail[1], "queued")
                self.stack.tool("mail", "retry", mail[0])
                receivers, message = server.wait(1)
                body = {"email": ALICE, "token": code_in(message)}
                self.done("com.atproto.server.confirmEmail", body, session["accessJwt"])
                self.assertEqual(self.queue()[0][:2], [mail[0], "sent"])
                self.assertEqual(tool(self.stack, "mail", "retry", mail[0])[0], 1)

    def test_refused(self):
        with MailServer("smtps", AUTHORITY.context("localhost")) as server:
            with Stack(settings=settings(server), private_hosts=[server.host]) as self.stack:
                refusal = "550 5.1.1 <alice@example.com>: no such user"
                server.answers = [refusal]
                session = self.account()
                self.done("com.atproto.server.requestEmailConfirmation", None, session["accessJwt"])
                wait_until(lambda: "mail.refused" in self.stack.log("mail"), what="the refusal")
                self.assertIn(refusal, self.stack.tool("mail", "queue"))
                self.assertNotIn(ALICE, self.stack.log("mail"))
                (mail,) = self.queue()
                self.assertEqual(mail[1], "failed")
                self.stack.tool("mail", "retry", mail[0])
                server.wait(1)

    def test_the_tool(self):
        with MailServer("smtp", AUTHORITY.context("localhost")) as server:
            with Stack(settings=settings(server), private_hosts=[server.host]) as self.stack:
                self.assertEqual(tool(self.stack, "mail", "test", "no address")[0], 2)
                self.assertEqual(tool(self.stack, "mail", "retry", "nothing")[0], 1)
                code, said = tool(self.stack, "mail", "test", "bob@example.com")
                self.assertEqual(code, 0, said)
                receivers, message = server.wait(1)
                self.assertEqual(receivers, ["bob@example.com"])
                self.assertEqual(message["subject"], "Test of localhost")
                server.answers = ["550 5.7.1 relaying denied"]
                code, said = tool(self.stack, "mail", "test", "bob@example.com")
                self.assertEqual(code, 1)
                self.assertIn("refused it: 550 5.7.1 relaying denied", said)
                self.assertEqual(tool(self.stack, "check")[0], 0)
                self.assertEqual(self.queue(), [])

    def test_the_server_comes_up_later(self):
        port = free_port()
        url = f"smtps://{LOGIN}@localhost:{port}"
        given = {"SKYSTEAD_SMTP_URL": url, "SKYSTEAD_MAIL_FROM": SENDER}
        given["SKYSTEAD_EXTRA_CA_FILE"] = str(AUTHORITY.path)
        with Stack(settings=given, private_hosts=[f"localhost:{port}"]) as self.stack:
            session = self.account()
            self.done("com.atproto.server.requestEmailConfirmation", None, session["accessJwt"])
            wait_until(lambda: "mail.postponed" in self.stack.log("mail"), what="the first try")
            self.assertIn("the mail server does not answer", self.stack.tool("mail", "queue"))
            with MailServer("smtps", AUTHORITY.context("localhost"), port) as server:
                # By itself: after ten seconds, and what is random of two more.
                _, message = server.wait(1, seconds=60)
                body = {"email": ALICE, "token": code_in(message)}
                self.done("com.atproto.server.confirmEmail", body, session["accessJwt"])


class OutageTests(MailCase):
    """The mail server is away for an hour, and takes every mail once when it is back.

    The worker is the shipped one and so is its patience: only its clock runs fast (fast_clock.c).
    """

    RATE = 120
    HOUR = 3_600 * 1_000_000
    ACCOUNTS = 10
    # What each of them asks for, and the subject of the mail.
    REQUESTS = {
        "com.atproto.server.requestEmailConfirmation": "Confirm your e-mail address on localhost",
        "com.atproto.server.requestAccountDelete": "Delete your account on localhost",
        "com.atproto.identity.requestPlcOperationSignature": "Change your identity on localhost",
        "com.atproto.server.requestPasswordReset": "Reset your password on localhost",
    }
    MAILS = ACCOUNTS * len(REQUESTS)
    # Seconds between the tries of one mail, and up to a fifth more: `MailQueue.retrySeconds`.
    WAITS = (10, 30, 60, 120, 300, 600, 900, 1_800)

    @classmethod
    def setUpClass(cls):
        cls.clock = Path(WORK.name) / "fast_clock.so"
        source = Path(__file__).resolve().parents[1] / "Support/fast_clock.c"
        # Swift's toolchain has the other one.
        compiler = shutil.which("cc") or "clang"
        subprocess.run([compiler, "-shared", "-fPIC", "-o", cls.clock, source], check=True)

    def test_nothing_listens(self):
        for way, database in (("smtps", "sqlite"), ("smtp", "postgres")):
            with self.subTest(database=database):
                self.outage(way, database)

    def test_it_takes_nothing(self):
        for way, database in (("smtp", "sqlite"), ("smtps", "postgres")):
            with self.subTest(database=database):
                self.outage(way, database, TROUBLES)

    def outage(self, way, database, troubles=None):
        server = MailServer(way, AUTHORITY.context("localhost"))
        # The service itself has no mail server, and so no worker that would send with a clock of its own.
        with contextlib.ExitStack() as parts:
            self.stack = parts.enter_context(Stack(database=database))
            sessions = self.ask()
            if troubles:
                server.troubles = troubles
                parts.enter_context(server)
            parts.enter_context(self.worker(server))
            wait_until(lambda: self.tried_for() >= self.HOUR, 240, "an hour of the worker's")
            self.down(server, troubles)
            server.troubles = ()
            if not troubles:
                parts.enter_context(server)
            server.wait(self.MAILS, 240)
            self.up(server, sessions)
            if troubles:
                self.assertEqual(set(server.troubled), set(troubles))
                self.assertTrue(server.untaken)
                # Whoever kept a mail and could not say so sees by this that it is the same.
                self.assertLessEqual(server.untaken, {message["message-id"] for message in self.parsed(server)})

    def ask(self):
        """Makes the accounts, each of which asks for every mail that there is."""
        sessions = []
        for number in range(self.ACCOUNTS):
            session = self.account(f"person{number}")
            for method in self.REQUESTS:
                if method.endswith("PasswordReset"):
                    self.done(method, {"email": f"person{number}@example.com"})
                else:
                    self.done(method, None, session["accessJwt"])
            sessions.append(session)
        return sessions

    @contextlib.contextmanager
    def worker(self, server):
        """The mail worker with a fast clock, until the end; it must end well."""
        self.log = self.stack.directory / "fast.log"
        with open(self.log, "w") as output:
            process = subprocess.Popen(
                [PROGRAMS / "skystead-worker", "mail"],
                env={
                    **self.stack.environment,
                    **settings(server),
                    "SKYSTEAD_ALLOW_PRIVATE_HOSTS": server.host,
                    "LD_PRELOAD": str(self.clock),
                    "FAST_CLOCK_RATE": str(self.RATE),
                },
                stdout=output,
                stderr=output,
            )
            try:
                yield
            finally:
                process.terminate()
                code = process.wait()
            self.assertEqual(code, 0, self.log.read_text())

    def rows(self):
        """id, state, attempts, created_at and next_at of the mails that nobody is handing over."""
        statement = "SELECT id, state, attempts, created_at, next_at FROM mail WHERE lease IS NULL"
        if url := self.stack.environment.get("SKYSTEAD_DATABASE_URL"):
            done = subprocess.run(
                ["psql", "-qAt", "-F", " ", url, "-c", statement], capture_output=True, text=True, check=True
            )
            rows = [line.split() for line in done.stdout.splitlines()]
        else:
            with contextlib.closing(sqlite3.connect(self.stack.data_dir / "skystead.sqlite", timeout=20)) as database:
                rows = database.execute(statement).fetchall()
        return [(id, state, *(int(number) for number in numbers)) for id, state, *numbers in rows]

    def waits(self):
        """By mail, the seconds after each of its tries that came to nothing."""
        waits = collections.defaultdict(list)
        for id, seconds in re.findall(r'mail\.postponed id=(\S+) seconds=(\d+)', self.log.read_text()):
            waits[id].append(int(seconds))
        return waits

    def tried_for(self):
        """Microseconds of the worker's clock from the first request to the newest try."""
        waits, rows = self.waits(), self.rows()
        tries = [row[4] - waits[row[0]][-1] * 1_000_000 for row in rows if row[2] == len(waits[row[0]]) > 0]
        return max(tries, default=0) - min(row[3] for row in rows) if tries else 0

    def down(self, server, troubles):
        """After the hour: all still wait, all were tried by the table, none was taken or given up."""
        rows = []

        def nothing_is_handed_over():
            rows[:] = self.rows()
            return len(rows) == self.MAILS

        wait_until(nothing_is_handed_over, what="a moment without a hand-over")
        self.assertEqual({row[1] for row in rows}, {"queued"})
        # By the table they are due eight times in the hour. Where nothing listens, one is tried in five seconds.
        self.assertGreaterEqual(min(row[2] for row in rows), 6)
        for id, waits in self.waits().items():
            for wait, least in zip(waits, self.WAITS):
                self.assertTrue(least <= wait <= least * 1.2, f"{id}: {waits}")
        self.assertEqual(server.messages, [])
        log = self.log.read_text()
        self.assertNotIn("mail.refused", log)
        self.assertNotIn("mail.sent", log)
        if troubles:
            self.assertTrue(all(server.logins))

    def parsed(self, server):
        return [email.message_from_bytes(content, policy=email.policy.default) for _, content in server.messages]

    def up(self, server, sessions):
        """All have come, once, and are worth something; and nothing comes after them but what is asked for then."""
        wait_until(lambda: all(row[1] == "sent" for row in self.rows()), what="the rows")
        messages = self.parsed(server)
        self.assertEqual(
            collections.Counter((message["to"], message["subject"]) for message in messages),
            collections.Counter(
                (f"person{number}@example.com", subject)
                for number in range(self.ACCOUNTS)
                for subject in self.REQUESTS.values()
            ),
        )
        self.assertEqual(len({message["message-id"] for message in messages}), self.MAILS)
        waits = self.waits()
        self.assertEqual({row[0]: row[2] - 1 for row in self.rows()}, {id: len(waits[id]) for id in waits})
        token = sessions[0]["accessJwt"]
        (first,) = (
            message for message in messages
            if message["to"] == "person0@example.com" and message["subject"].startswith("Confirm")
        )
        self.done("com.atproto.server.confirmEmail", {"email": first["to"], "token": code_in(first)}, token)
        self.assertTrue(self.done("com.atproto.server.requestEmailUpdate", None, token)["tokenRequired"])
        _, last = server.wait(self.MAILS + 1)
        self.assertEqual(last["subject"], "Change your e-mail address on localhost")
        wait_until(lambda: all(row[1] == "sent" for row in self.rows()), what="the last row")
        self.assertEqual(len(server.messages), self.MAILS + 1)


class WithoutMailTests(MailCase):
    """No mail server: the operator is told, and is the one who has the codes."""

    def test_codes_by_the_operator(self):
        for database in ("sqlite", "postgres"):
            with self.subTest(database=database), Stack(database=database) as self.stack:
                self.assertIn('mail.off problem="no mail is sent: SKYSTEAD_SMTP_URL', self.stack.log("xrpc"))
                code, said = tool(self.stack, "check")
                self.assertEqual(code, 0, said)
                self.assertIn("warn  mail: no mail is sent", said)
                self.assertEqual(tool(self.stack, "mail", "test", "bob@example.com")[0], 1)
                session = self.account()
                self.done("com.atproto.server.requestEmailConfirmation", None, session["accessJwt"])
                self.done("com.atproto.server.requestPasswordReset", {"email": ALICE})
                self.assertEqual({line[2] for line in self.queue()}, {"confirm_email", "reset_password"})
                lines = [line.split() for line in self.stack.tool("mail", "queue", "--codes").splitlines()]
                codes = {line[1]: line for line in lines if line[1] in ("confirm_email", "reset_password")}
                self.assertEqual(codes["confirm_email"][2:4], [session["did"], "alice.test"])
                # A message that would wait for ever is refused, and is nobody's act.
                message = {"recipientDid": session["did"], "senderDid": session["did"], "content": "x"}
                status, answer = self.send_message(message)
                self.assertEqual((status, answer["error"]), (501, "MethodNotImplemented"))
                self.assertIn("SKYSTEAD_SMTP_URL is not set", answer["message"])
                code = codes["confirm_email"][0]
                body = {"email": ALICE, "token": code}
                self.done("com.atproto.server.confirmEmail", body, session["accessJwt"])
                audit = self.stack.tool("audit")
                self.assertEqual(audit.count("show-code"), 2, audit)
                self.assertEqual(audit.count(session["did"]), 2, audit)
                self.assertIn("confirm_email", audit)
                self.assertNotIn(code, audit)
                # What was used is no longer shown.
                self.assertNotIn("confirm_email  did:", self.stack.tool("mail", "queue", "--codes"))

    def test_the_worker_ends_by_itself(self):
        with Stack() as self.stack:
            done = subprocess.run(
                [PROGRAMS / "skystead-worker", "mail"], env=self.stack.environment, capture_output=True, text=True,
                timeout=60,
            )
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("mail.off", done.stderr)

    def test_settings_that_cannot_be(self):
        rows = [
            ("no sender", {"SKYSTEAD_SMTP_URL": "smtps://a:b@smtp.example.com"}, "needs SKYSTEAD_MAIL_FROM"),
            ("an @ in the user", {"SKYSTEAD_SMTP_URL": "smtps://a@b.c:d@smtp.example.com"}, "an @ is %40"),
            ("a sender that is none", {"SKYSTEAD_MAIL_FROM": "me"}, "is not an address"),
            (
                "a private host",
                {"SKYSTEAD_SMTP_URL": "smtp://127.0.0.1:25", "SKYSTEAD_MAIL_FROM": SENDER},
                "SKYSTEAD_ALLOW_PRIVATE_HOSTS",
            ),
        ]
        with Stack() as self.stack:
            for name, given, words in rows:
                with self.subTest(name):
                    done = subprocess.run(
                        [PROGRAMS / "skystead-worker", "mail"], env={**self.stack.environment, **given},
                        capture_output=True, text=True, timeout=60,
                    )
                    self.assertEqual(done.returncode, 78)
                    self.assertIn(words, done.stderr)


if __name__ == "__main__":
    # unittest would turn aiosmtpd's warnings on again: see mail_server.
    unittest.main(warnings="ignore")
