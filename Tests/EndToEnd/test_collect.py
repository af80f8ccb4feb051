"""`skystead-worker collect` as its timer runs it: beside a running service, on both databases, keeping what is new.

    python3 Tests/EndToEnd/test_collect.py [-v]
"""

import json
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

    def test_lexicons_that_nobody_wants(self):
        for database in ("sqlite", "postgres"):
            with self.subTest(database=database), Stack(database=database) as stack:
                done = self.collect(stack, "lexicons")
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertIn("lexicons.done resolved=0 failed=0", done.stderr)

    def test_lexicons_that_cannot_be_had(self):
        with Stack() as stack:
            account = {"handle": "alice.test", "email": "a@example.com", "password": "long enough"}
            token = json.loads(stack.call("com.atproto.server.createAccount", account)[2])["accessJwt"]
            record = {"repo": "alice.test", "collection": "com.example.thing", "record": {"n": 1}}
            status, _, answer = stack.call("com.atproto.repo.createRecord", record, token)
            self.assertEqual((status, json.loads(answer)["validationStatus"]), (200, "unknown"))
            # Nobody answers at this address: the lexicon is wanted, and stays so.
            stack.environment["SKYSTEAD_DNS_SERVERS"] = "127.0.0.1:1"
            done = self.collect(stack, "lexicons")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("lexicons.done resolved=0 failed=1", done.stderr)
            self.assertIn("lexicons.done resolved=0 failed=0", self.collect(stack, "lexicons").stderr)

    def test_wrong_words(self):
        with Stack() as stack:
            for words in ([], ["collect", "now"], ["nothing"]):
                with self.subTest(words=words):
                    done = self.collect(stack, *words)
                    self.assertEqual(done.returncode, 64)
                    self.assertIn("skystead-worker stream | collect | lexicons", done.stderr)

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
