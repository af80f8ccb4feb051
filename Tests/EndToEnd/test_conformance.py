"""The conformance suite (scripts/conformance) against the product, with every option it has: nothing may be skipped.

    python3 Tests/EndToEnd/test_conformance.py [-v] [TestCase]

Rows of methods that the product does not have yet stand in PENDING, with the reason; one that passes fails the run.
"""

import hashlib
import hmac
import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "Tests/Support"))

from stack import ADMIN_PASSWORD, Stack, free_port

APPVIEW_DID = "did:web:appview.test"
PENDING = {}
# KiB that a responder may ever have had resident: row 86 imports a repository, row 38 refuses large bodies.
MEMORY_MAX = 128 << 10
# A hostile input takes milliseconds; the machine of a test may be busy with others.
HOSTILE_SECONDS = "10"


class ConformanceCase:
    """One web server on one database."""

    web = database = None

    @classmethod
    def setUpClass(cls):
        cls.appview, cls.service, cls.smtp = (f"localhost:{free_port()}" for _ in range(3))
        cls.stack = Stack(cls.web, cls.database, settings={
            "SKYSTEAD_INVITE_REQUIRED": "yes",
            "SKYSTEAD_RATE_LIMITS": "yes",
            # So that row 38 finds its end.
            "SKYSTEAD_BLOB_SIZE_MAX": "5M",
            "SKYSTEAD_APPVIEW_URL": f"http://{cls.appview}",
            "SKYSTEAD_APPVIEW_DID": APPVIEW_DID,
            "SKYSTEAD_SMTP_URL": f"smtp://{cls.smtp}",
            "SKYSTEAD_MAIL_FROM": "home@localhost.example",
        })
        cls.stack.environment["SKYSTEAD_ALLOW_PRIVATE_HOSTS"] += f",{cls.appview},{cls.service},{cls.smtp}"
        cls.stack.start()

    @classmethod
    def tearDownClass(cls):
        cls.stack.stop()

    def session_key(self):
        """The key of session tokens, as `Keys` derives it: row 10 needs a token that has expired."""
        sealing = (self.stack.data_dir / "keys/sealing.key").read_bytes()
        return hmac.new(sealing, b"skystead session tokens, version 1", hashlib.sha256).hexdigest()

    def suite(self, *more):
        """The verdicts of a run, by row. What it prints goes to the log."""
        pass_time = f"{sys.executable} {ROOT / 'Tests/Support/pass_time.py'}"
        with tempfile.NamedTemporaryFile() as report:
            done = subprocess.run(
                [sys.executable, ROOT / "Tests/Conformance", self.stack.base_url, "--report", report.name,
                 "--admin-password", ADMIN_PASSWORD, "--plc-url", self.stack.plc_url,
                 "--session-key", self.session_key(), "--outdate-events", f"{pass_time} events",
                 "--appview-listen", self.appview, "--appview-did", APPVIEW_DID, "--service-listen", self.service,
                 "--smtp-listen", self.smtp, "--expire-mail-codes", f"{pass_time} codes", *more],
                env=self.stack.environment, stdout=sys.stderr)
            self.assertIn(done.returncode, (0, 1))
            return json.load(report)

    def judge(self, verdicts):
        self.assertGreater(len(verdicts), 50)
        for verdict in verdicts:
            with self.subTest(row=verdict["row"], text=verdict["text"]):
                if reason := PENDING.get(verdict["row"]):
                    self.assertNotEqual(verdict["verdict"], "ok", f"passes, and is said to be pending: {reason}")
                else:
                    self.assertEqual(verdict["verdict"], "ok", verdict["note"])

    def test_rows(self):
        self.judge(self.suite())
        # Row 86 from inside: what was imported never lay in memory.
        for pid in self.stack.pids()["xrpc"]:
            status = Path(f"/proc/{pid}/status").read_text()
            peak = int(status.split("VmHWM:")[1].split()[0])
            self.assertLess(peak, MEMORY_MAX, f"peak of process {pid} in KiB")

    def test_hostile(self):
        self.judge(self.suite("--hostile", "--hostile-seconds", HOSTILE_SECONDS))


class NginxSQLite(ConformanceCase, unittest.TestCase):
    web, database = "nginx", "sqlite"


class CaddyPostgres(ConformanceCase, unittest.TestCase):
    web, database = "caddy", "postgres"


if __name__ == "__main__":
    unittest.main()
