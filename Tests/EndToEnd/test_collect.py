"""`skystead-worker collect` as its timer runs it: beside a running service, on both databases, keeping what is new.

    python3 Tests/EndToEnd/test_collect.py [-v]
"""

import subprocess
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Support"))

from stack import PROGRAMS, Stack


class CollectTests(unittest.TestCase):
    def collect(self, stack, *words):
        return subprocess.run(
            [PROGRAMS / "skystead-worker", *words], env=stack.environment, capture_output=True, text=True, timeout=60
        )

    def test_keeps_what_is_new(self):
        for database in ("sqlite", "postgres"):
            with self.subTest(database=database), Stack(database=database) as stack:
                account = {"handle": "alice.test", "email": "a@example.com", "password": "long enough"}
                self.assertEqual(stack.call("com.atproto.server.createAccount", account)[0], 200)
                done = self.collect(stack, "collect")
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertIn("collect.done events=0 blobs=0 budgets=0", done.stderr)

    def test_wrong_words(self):
        with Stack() as stack:
            for words in ([], ["collect", "now"], ["nothing"]):
                with self.subTest(words=words):
                    done = self.collect(stack, *words)
                    self.assertEqual(done.returncode, 64)
                    self.assertIn("skystead-worker stream | collect | notify-crawlers", done.stderr)

    def test_without_a_database(self):
        with Stack() as stack:
            stack.environment["SKYSTEAD_DATA_DIR"] = str(stack.directory / "nowhere")
            done = self.collect(stack, "collect")
            self.assertNotEqual(done.returncode, 0)
            # What is wrong, and what to do about it.
            self.assertIn("unable to open database file", done.stderr)
            self.assertIn('remedy="skystead check"', done.stderr)


if __name__ == "__main__":
    unittest.main()
