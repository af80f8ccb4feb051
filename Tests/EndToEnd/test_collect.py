"""`skystead-worker collect` as its timer runs it: beside a running service, on both databases, keeping what is new.

    python3 Tests/EndToEnd/test_collect.py [-v]
"""

import json
import sqlite3
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
                self.assertIn("collect.done events=0 blobs=0 trash=0 imports=0 budgets=0 mails=0", done.stderr)

    def sql(self, stack, statement):
        """Changes the database behind the service's back: time passes for nobody else."""
        if stack.database_name:
            url = stack.environment["SKYSTEAD_DATABASE_URL"]
            subprocess.run(["psql", "-q", "-v", "ON_ERROR_STOP=1", url, "-c", statement], check=True)
            return
        connection = sqlite3.connect(stack.data_dir / "skystead.sqlite", timeout=10)
        with connection:
            connection.execute(statement)
        connection.close()

    def test_blobs_and_quotas(self):
        quotas = {"SKYSTEAD_QUOTA_SOFT": "1K", "SKYSTEAD_QUOTA_HARD": "2K"}
        for database in ("sqlite", "postgres"):
            with self.subTest(database=database), Stack(database=database, settings=quotas) as stack:
                account = {"handle": "alice.test", "email": "a@example.com", "password": "long enough"}
                session = json.loads(stack.call("com.atproto.server.createAccount", account)[2])
                token = session["accessJwt"]

                def upload(content):
                    kind = {"Content-Type": "text/plain"}
                    status, _, answer = stack.call("com.atproto.repo.uploadBlob", token=token, raw=content, headers=kind)
                    return status, json.loads(answer)

                self.assertNotIn("quota.soft", self.collect(stack, "collect").stderr)
                status, answer = upload(b"a" * 1_500)
                self.assertEqual(status, 200)
                cid = answer["blob"]["ref"]["$link"]
                status, answer = upload(b"b" * 549)
                self.assertEqual((status, answer["error"]), (400, "QuotaExceeded"))
                record = {"$type": "com.example.note", "text": "c" * 600}
                body = {"repo": session["did"], "collection": "com.example.note", "record": record}
                status, _, content = stack.call("com.atproto.repo.createRecord", body, token)
                self.assertEqual((status, json.loads(content)["error"]), (400, "QuotaExceeded"))
                record["text"] = "c" * 100
                self.assertEqual(stack.call("com.atproto.repo.createRecord", body, token)[0], 200)
                said = self.collect(stack, "collect").stderr
                self.assertIn(f"quota.soft did={session['did']} bytes=16", said)
                said = stack.tool("account", "info", "alice.test")
                self.assertIn("of 2.0 KiB, above the soft quota", said)
                self.assertRegex(said, r"blobs +1\.4 KiB in 1")
                self.assertRegex(said, r"com\.example\.note  \d+ B in 1")

                self.assertIn("all blobs are what they should be", stack.tool("blobs", "check"))
                self.sql(stack, "UPDATE blob SET created_at = 0")
                self.assertIn("blobs=1 trash=0", self.collect(stack, "collect").stderr)
                folder = stack.data_dir / "blobs" / cid[-2:]
                self.assertEqual(len(list(folder.glob(f"{cid}.*"))), 1, "in the trash")
                self.assertIn("1 blobs are back", stack.tool("blobs", "restore", "alice.test", cid))
                self.assertIn("0 blobs are back", stack.tool("blobs", "restore", session["did"]))
                self.sql(stack, "UPDATE blob SET created_at = 0")
                self.assertIn("blobs=1 trash=0", self.collect(stack, "collect").stderr)
                self.sql(stack, "UPDATE blob_trash SET trashed_at = 0")
                self.assertIn("blobs=0 trash=1", self.collect(stack, "collect").stderr)
                self.assertEqual(list(folder.iterdir()), [])

                self.assertEqual(upload(b"d" * 100)[0], 200)
                (file,) = [path for path in (stack.data_dir / "blobs").glob("??/*")]
                file.write_bytes(b"e" * 100)
                self.assertIn("all blobs are", stack.tool("blobs", "check", "--quick"))
                self.assertIn("damaged: ", stack.tool("blobs", "check", check=False))
                file.unlink()
                self.assertIn("missing: ", stack.tool("blobs", "check", check=False))
                for words in (["alice.test", "x"], ["nobody.test"], ["alice.test", file.name.split(".")[0]]):
                    with self.subTest(words=words):
                        with self.assertRaises(RuntimeError):
                            stack.tool("blobs", "restore", *words)

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
                    self.assertIn("skystead-worker stream | collect | notify-crawlers | mail | lexicons", done.stderr)

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
