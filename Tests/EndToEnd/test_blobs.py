"""Blobs in S3, behind both web servers and on both databases: OpenStack Swift holds them, which verifies signatures.

    python3 Tests/EndToEnd/test_blobs.py [-v]
"""

import json
import os
import subprocess
import sys
import threading
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Support"))

from s3 import S3
from stack import PROGRAMS, Stack

PICTURE = b"\x89PNG\r\n\x1a\n"


class BlobsInS3Tests(unittest.TestCase):
    buckets = 0

    @classmethod
    def setUpClass(cls):
        cls.s3 = S3()
        cls.s3.__enter__()
        cls.addClassCleanup(cls.s3.stop)

    def stack(self, web="nginx", database="sqlite", **settings):
        type(self).buckets += 1
        self.s3.use(f"bucket-{self.buckets}")
        host = self.s3.url.removeprefix("http://")
        return Stack(
            web=web, database=database, private_hosts=[host],
            settings={**self.s3.settings, **settings},
        )

    def sign_up(self, stack):
        account = {"handle": "alice.test", "email": "a@example.com", "password": "long enough"}
        session = json.loads(stack.call("com.atproto.server.createAccount", account)[2])
        return session["did"], session["accessJwt"]

    def upload(self, stack, token, content):
        status, _, answer = stack.call(
            "com.atproto.repo.uploadBlob", token=token, raw=content, headers={"Content-Type": "image/png"})
        self.assertEqual(status, 200, answer)
        return json.loads(answer)["blob"]

    def post(self, stack, did, token, blob):
        record = {"$type": "com.example.picture", "image": blob}
        body = {"repo": did, "collection": "com.example.picture", "record": record}
        status, _, answer = stack.call("com.atproto.repo.createRecord", body, token)
        self.assertEqual(status, 200, answer)

    def get(self, stack, did, blob, headers=None):
        params = f"?did={did}&cid={blob['ref']['$link']}"
        return stack.call("com.atproto.sync.getBlob", params=params, headers=headers)

    def own_keys(self, blobs):
        cids = {blob["ref"]["$link"] for blob in blobs}
        return [key for key in self.s3.keys() if key.split("/")[-1].split(".")[0] in cids]

    def collect(self, stack):
        done = subprocess.run(
            [PROGRAMS / "skystead-worker", "collect"], env=stack.environment, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stderr

    def pass_hours(self, stack, hours):
        """Moves what is due into the past."""
        statement = f"UPDATE blob_leftover SET due_at = due_at - {hours * 3_600_000_000}"
        if stack.database_name:
            subprocess.run(["psql", "-q", stack.environment["SKYSTEAD_DATABASE_URL"], "-c", statement], check=True)
        else:
            subprocess.run(
                [sys.executable, "-c", "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], timeout=10); "
                 "c.execute(sys.argv[2]); c.commit()", stack.data_dir / "skystead.sqlite", statement], check=True)

    def test_there_and_back(self):
        for web, database in (("nginx", "sqlite"), ("caddy", "postgres")):
            with self.subTest(web=web, database=database), self.stack(web, database) as stack:
                did, token = self.sign_up(stack)
                pictures = [PICTURE + os.urandom(size) for size in (1, 65_536, 3_000_000)]
                blobs = [self.upload(stack, token, picture) for picture in pictures]
                for blob in blobs:
                    self.post(stack, did, token, blob)
                self.assertEqual(len(self.own_keys(blobs)), 3)
                self.assertEqual(list((stack.data_dir / "blobs").glob("??/*")), [])
                self.assertEqual(list((stack.data_dir / "blobs/tmp").iterdir()), [])
                self.check_answers(stack, did, blobs, pictures)
                self.assertIn("all blobs are what they should be", stack.tool("blobs", "check"))
                self.assertIn("object storage: an object was stored, read and removed", stack.tool("doctor", check=False))

                self.move_under_load(stack, did, token, blobs, pictures)
                self.pass_hours(stack, 1)
                code, said = self.collect(stack)
                self.assertEqual(code, 0, said)
                self.assertIn("collect.objects removed=", said)
                self.assertIn("all blobs are what they should be", stack.tool("blobs", "check"))
                self.delete_everything(stack, did, token, blobs)

    def check_answers(self, stack, did, blobs, pictures):
        for blob, picture in zip(blobs, pictures):
            status, headers, body = self.get(stack, did, blob)
            self.assertEqual((status, headers["Content-Type"]), (200, "image/png"))
            self.assertEqual(headers["Content-Security-Policy"], "default-src 'none'; sandbox")
            self.assertEqual(headers["X-Content-Type-Options"], "nosniff")
            self.assertEqual(int(headers["Content-Length"]), len(picture))
            self.assertTrue(body == picture, f"{len(body)} bytes")
            tag = headers["ETag"]
            self.assertEqual(tag, f'"{blob["ref"]["$link"]}"')
            self.assertEqual(self.get(stack, did, blob, {"If-None-Match": tag})[0::2], (304, b""))
            status, headers, body = self.get(stack, did, blob, {"Range": "bytes=3-8"})
            self.assertEqual((status, body), (206, picture[3:9]))
            self.assertEqual(headers["Content-Range"], f"bytes 3-8/{len(picture)}")
            self.assertEqual(headers["Content-Security-Policy"], "default-src 'none'; sandbox")
            self.assertEqual(self.get(stack, did, blob, {"Range": f"bytes={len(picture)}-"})[0], 416)

    def move_under_load(self, stack, did, token, blobs, pictures):
        """To the disk, to S3 and to the disk again, while blobs are read and come in."""
        stop, errors, counts = threading.Event(), [], [0, 0]

        def read():
            try:
                while not stop.is_set():
                    self.check_answers(stack, did, blobs, pictures)
                    counts[0] += len(blobs)
            except BaseException as error:
                errors.append(error)

        def write():
            try:
                while not stop.is_set():
                    blob = self.upload(stack, token, PICTURE + os.urandom(1_000))
                    self.post(stack, did, token, blob)
                    self.assertEqual(self.get(stack, did, blob)[0], 200)
                    counts[1] += 1
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=body) for body in (read, read, write)]
        for thread in threads:
            thread.start()
        try:
            for place in ("disk", "s3", "disk"):
                said = stack.tool("blobs", "move", place)
                self.assertRegex(said, r"\d+ moved\n")
                self.assertEqual("new blobs still go elsewhere" in said, place == "disk")
        finally:
            stop.set()
            for thread in threads:
                thread.join(60)
        self.assertEqual(errors, [])
        self.assertTrue(all(counts), f"{counts} were read and written meanwhile")
        files = {path.name.split(".")[0] for path in (stack.data_dir / "blobs").glob("??/*")}
        self.assertLessEqual({blob["ref"]["$link"] for blob in blobs}, files)

    def delete_everything(self, stack, did, token, blobs):
        before = set(self.s3.keys())
        self.assertEqual(stack.call("com.atproto.repo.uploadBlob", token=token, raw=PICTURE)[0], 200)
        self.assertEqual(len(set(self.s3.keys()) - before), 1)
        stack.tool("account", "delete", "alice.test", "--yes")
        code, said = self.collect(stack)
        self.assertEqual(code, 0, said)
        self.assertEqual(list((stack.data_dir / "blobs").glob("??/*")), [])
        self.pass_hours(stack, 1)
        self.collect(stack)
        self.assertEqual(self.own_keys(blobs), [])
        self.assertIn("all blobs are what they should be", stack.tool("blobs", "check", check=False))

    def test_what_is_not_what_it_was(self):
        with self.stack() as stack:
            did, token = self.sign_up(stack)
            blobs = [self.upload(stack, token, PICTURE + os.urandom(1_000)) for _ in range(4)]
            for blob in blobs:
                self.post(stack, did, token, blob)
            (short,), (other,), (gone,) = [self.own_keys([blob]) for blob in blobs[:3]]
            self.s3.native("PUT", f"/{short}", b"short")
            self.s3.native("PUT", f"/{other}", PICTURE + b"x" * 1_000)
            self.s3.native("DELETE", f"/{gone}")
            self.s3.native("PUT", f"/blobs/zz/stray-{did[-4:]}", b"nobody's")
            said = stack.tool("blobs", "check", check=False)
            cids = [blob["ref"]["$link"] for blob in blobs]
            self.assertIn(f"wrong length: {cids[0]} of {did}", said)
            self.assertIn(f"damaged: {cids[1]}", said)
            self.assertIn(f"missing: {cids[2]} of {did}", said)
            self.assertIn(f"of nobody: blobs/zz/stray-{did[-4:]} in the bucket", said)
            self.assertNotIn(cids[3], said)
            quick = stack.tool("blobs", "check", "--quick", check=False)
            self.assertNotIn(cids[1], quick)
            self.assertIn(cids[2], quick)
            # Nothing of another length is passed off as the blob, and a lost one is said to be lost.
            self.assertEqual(self.get(stack, did, blobs[0])[0], 500)
            status, _, body = self.get(stack, did, blobs[2])
            self.assertEqual((status, json.loads(body)["error"]), (400, "BlobNotFound"))
            said = stack.tool("blobs", "move", "disk", check=False)
            self.assertIn("1 moved, 3 stay where they were", said)
            self.s3.native("DELETE", f"/blobs/zz/stray-{did[-4:]}")

    def test_no_way_in(self):
        """A wrong secret, a bucket that is not there: said where it is found, and nothing is half done."""
        rows = (
            ("secret", {"SKYSTEAD_S3_SECRET_ACCESS_KEY": "another"}, "SignatureDoesNotMatch", "_SECRET_ACCESS_KEY is"),
            ("bucket", {"SKYSTEAD_S3_BUCKET": "not-there"}, "NoSuchBucket", "make the bucket"),
            ("region", {"SKYSTEAD_S3_REGION": "eu-west-9"}, "AuthorizationHeaderMalformed", "of another region"),
            ("not public", {"SKYSTEAD_S3_ENDPOINT": "http://127.0.0.1:9"}, "https required", "_ALLOW_PRIVATE_HOSTS"),
        )
        for name, settings, word, remedy in rows:
            with self.subTest(name), self.stack(**settings) as stack:
                did, token = self.sign_up(stack)
                status, _, body = stack.call(
                    "com.atproto.repo.uploadBlob", token=token, raw=PICTURE, headers={"Content-Type": "image/png"})
                self.assertEqual((status, json.loads(body)["error"]), (500, "InternalServerError"))
                self.assertRegex(stack.log("xrpc"), word)
                doctor = stack.tool("doctor", check=False)
                self.assertRegex(doctor, f"FAIL +object storage: the bucket: .*{word}.*\n.*{remedy}")
                self.assertRegex(stack.tool("account", "info", "alice.test"), r"blobs +0 B in 0")
                self.assertEqual(list((stack.data_dir / "blobs/tmp").iterdir()), [])

    def test_while_it_is_away(self):
        """Its server ends and comes back: said as such, nothing is half done, and all is well afterwards."""
        with S3() as s3, Stack(private_hosts=[s3.url.removeprefix("http://")], settings=s3.settings) as stack:
            did, token = self.sign_up(stack)
            blob = self.upload(stack, token, PICTURE)
            self.post(stack, did, token, blob)
            pid = s3.processes[-1].pid
            os.killpg(pid, 9)
            s3.processes.pop().wait()
            answers = [
                self.get(stack, did, blob),
                stack.call("com.atproto.repo.uploadBlob", token=token, raw=PICTURE + b"more",
                           headers={"Content-Type": "image/png"}),
            ]
            for status, headers, body in answers:
                self.assertEqual((status, json.loads(body)["error"]), (503, "ServiceUnavailable"))
                self.assertEqual(headers["Retry-After"], "1")
            self.assertIn("FAIL  object storage", stack.tool("doctor", check=False))
            s3.run("swift-proxy-server", s3.directory / "proxy.conf")
            s3.wait()
            # By a connection that was kept and is gone.
            self.assertEqual(self.get(stack, did, blob)[0], 200)
            self.upload(stack, token, PICTURE + b"more" * 100_000)
            self.assertIn("all blobs are what they should be", stack.tool("blobs", "check"))

    def test_settings_that_contradict(self):
        for settings, word in (
            ({"SKYSTEAD_BLOB_PLACE": "s3"}, "SKYSTEAD_BLOB_PLACE=s3 needs SKYSTEAD_S3_ENDPOINT"),
            ({"SKYSTEAD_S3_ENDPOINT": "https://s3.example"}, "SKYSTEAD_S3_ENDPOINT needs SKYSTEAD_S3_BUCKET"),
            ({"SKYSTEAD_S3_BUCKET": "A/b"}, "is not a bucket's name"),
            ({"SKYSTEAD_S3_REGION": "eu west"}, "is not a region"),
            ({"SKYSTEAD_BLOB_PLACE": "tape"}, "SKYSTEAD_BLOB_PLACE"),
        ):
            with self.subTest(word):
                done = subprocess.run(
                    [PROGRAMS / "skystead", "settings"], capture_output=True, text=True,
                    env={"PATH": "/usr/bin:/bin", "SKYSTEAD_SETTINGS_FILE": "", **settings})
                self.assertNotEqual(done.returncode, 0)
                self.assertIn(word, done.stderr)


if __name__ == "__main__":
    unittest.main()
