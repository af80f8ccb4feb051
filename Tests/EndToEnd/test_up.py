"""`skystead up`: what it runs from time to time, and that it goes on without what the service does not need.

    python3 Tests/EndToEnd/test_up.py [-v] [TestCase]
"""

import os
import shutil
import sys
import tempfile
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Support"))

from stack import PROGRAMS, Stack, wait_until

WORKER = """#!/bin/sh
case "$1" in
%s) echo "a planted fault of $1"; exit %d ;;
*) exec "%s/skystead-worker" "$@" ;;
esac
"""


def mail(url, sender="home@example.com"):
    return {"SKYSTEAD_SMTP_URL": url, "SKYSTEAD_MAIL_FROM": sender}


class UpTests(unittest.TestCase):
    def setUp(self):
        self.directory = Path(tempfile.mkdtemp(prefix="sky"))
        self.addCleanup(shutil.rmtree, self.directory)

    def stack(self, **more):
        return Stack(directory=self.directory, **more)

    def let_runs_be_due(self, stack):
        """As if each run had been two hours ago."""
        run = stack.data_dir / "run"
        run.mkdir(parents=True, exist_ok=True)
        for name in ("collect", "lexicons", "check"):
            (run / f"{name}.last").touch()
            os.utime(run / f"{name}.last", (time.time() - 7_200,) * 2)

    def said(self):
        return (self.directory / "up.log").read_text()

    def logged(self, stack, name, words):
        path = stack.data_dir / "log" / f"{name}.log"
        wait_until(lambda: path.exists() and words in path.read_text(), what=f"{words} in {name}.log")

    def serves(self, stack, name):
        account = {"handle": f"{name}.test", "email": f"{name}@example.com", "password": "long enough"}
        status, _, body = stack.call("com.atproto.server.createAccount", account)
        self.assertEqual(status, 200, body)

    def failing(self, worker, code):
        """The programs, of which one worker ends at once with `code`."""
        programs = self.directory / "programs"
        programs.mkdir()
        shutil.copy2(PROGRAMS / "skystead", programs)
        (programs / "skystead-fcgi").symlink_to((PROGRAMS / "skystead-fcgi").resolve())
        script = programs / "skystead-worker"
        script.write_text(WORKER % (worker, code, PROGRAMS.resolve()))
        script.chmod(0o755)
        return programs

    def test_what_is_due_runs(self):
        stack = self.stack()
        self.let_runs_be_due(stack)
        with stack:
            self.logged(stack, "collect", "collect.done")
            self.logged(stack, "lexicons", "lexicons.done")
            self.logged(stack, "check", "green")
            self.serves(stack, "alice")
        self.assertNotIn("skystead-worker", self.said())
        self.assertNotIn("skystead check", self.said())

    def test_what_is_not_due_does_not_run(self):
        with self.stack() as stack:
            self.serves(stack, "alice")
            for name in ("collect", "lexicons", "check"):
                self.assertTrue((stack.data_dir / "run" / f"{name}.last").exists())
                self.assertFalse((stack.data_dir / "log" / f"{name}.log").exists(), name)

    def test_a_run_that_fails_is_told_and_ends_nothing(self):
        stack = self.stack()
        stack.programs = self.failing("collect", 75)
        self.let_runs_be_due(stack)
        with stack:
            wait_until(lambda: "skystead-worker collect exited with 75" in self.said(), what="the failure is told")
            self.logged(stack, "collect", "a planted fault of collect")
            self.logged(stack, "lexicons", "lexicons.done")
            self.serves(stack, "alice")
            self.assertIn("it runs again 60 min after its start", self.said())
            self.assertIn("log/collect.log", self.said())

    def test_a_mail_server_that_may_not_be_asked(self):
        with self.stack(settings=mail("smtp://user:secret@mail.internal:587")) as stack:
            self.serves(stack, "alice")
            self.assertIn("NO MAIL IS SENT: SKYSTEAD_SMTP_URL: the mail server's name or address", self.said())
            self.assertIn("SKYSTEAD_ALLOW_PRIVATE_HOSTS", self.said())
            self.assertNotIn("secret", self.said())
            self.assertFalse((stack.data_dir / "log" / "mail.log").exists())

    def test_a_mail_worker_that_does_not_start(self):
        stack = self.stack(settings=mail("smtps://mail.example.com:465"))
        stack.programs = self.failing("mail", 78)
        with stack:
            wait_until(lambda: "the service goes on without" in self.said(), what="the failure is told")
            self.serves(stack, "alice")
            self.assertIn("skystead-worker mail does not start: it exited with 78", self.said())
            self.assertEqual(self.said().count("mail exited with 78; starting it again"), 3)

    def test_a_mail_setting_that_is_malformed_is_named(self):
        rows = [
            ("no scheme", mail("mail.example.com"), "SKYSTEAD_SMTP_URL"),
            ("@ in the user", mail("smtps://a@b:c@mail.example.com"), "SKYSTEAD_SMTP_URL"),
            ("no sender", {"SKYSTEAD_SMTP_URL": "smtps://mail.example.com"}, "SKYSTEAD_MAIL_FROM"),
            ("no address", mail("smtps://mail.example.com", sender="nobody"), "SKYSTEAD_MAIL_FROM"),
        ]
        for name, settings, key in rows:
            with self.subTest(name):
                stack = self.stack(settings=settings)
                with self.assertRaises(RuntimeError) as ended:
                    stack.start()
                stack.process.wait()
                stack.process.stdout.close()
                stack.process = None
                stack.output.close()
                stack.stop()
                self.assertIn(key, str(ended.exception))


if __name__ == "__main__":
    unittest.main()
