"""getRepo of a repository that was sent before: the web server sends the file that was kept, to those who may have it.

    python3 Tests/EndToEnd/test_archive.py [-v]
"""

import json
import os
import sys
import unittest
import urllib.error
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "Support"))
from stack import Stack  # noqa: E402


class ArchiveTest(unittest.TestCase):
    def call(self, path, body=None, token=None, method=None):
        """(status, headers, content); errors are answers too."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.stack.base_url + path, data, method=method)
        if data is not None:
            request.add_header("Content-Type", "application/json")
        if token:
            request.add_header("Authorization", "Bearer " + token)
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()

    def kept(self):
        return sorted(path.name for path in (self.stack.data_dir / "cars").iterdir())

    def check(self, web):
        with Stack(web=web) as self.stack:
            status, _, content = self.call(
                "/xrpc/com.atproto.server.createAccount",
                {"handle": "alice.test", "email": "alice@example.com", "password": "a long password"},
            )
            self.assertEqual(status, 200, content)
            account = json.loads(content)
            did, token = account["did"], account["accessJwt"]
            for start in range(0, 1_000, 200):
                writes = [
                    {
                        "$type": "com.atproto.repo.applyWrites#create",
                        "collection": "com.example.thing",
                        "value": {"text": f"{number} " + "x" * 500},
                    }
                    for number in range(start, start + 200)
                ]
                status, _, content = self.call(
                    "/xrpc/com.atproto.repo.applyWrites", {"repo": did, "writes": writes}, token
                )
                self.assertEqual(status, 200, content)
            path = f"/xrpc/com.atproto.sync.getRepo?did={did}"
            first, again = self.call(path), self.call(path)
            self.assertEqual((first[0], again[0]), (200, 200))
            self.assertGreater(len(first[2]), 500_000)
            self.assertEqual(first[2], again[2])
            (name,) = self.kept()
            # The second one is not made by the responder, which knows no length.
            self.assertEqual(again[1]["Content-Length"], str(len(again[2])))
            for header in (
                "Content-Type", "Cache-Control", "Vary", "Access-Control-Allow-Origin", "Access-Control-Expose-Headers",
            ):
                self.assertEqual(again[1].get_all(header), first[1].get_all(header), f"{web}: {header}")
            for header in ("ETag", "Last-Modified", "X-Accel-Redirect"):
                self.assertIsNone(again[1][header], f"{web}: {header}")
            self.assertRegex(again[1]["X-Request-Id"], "^[0-9a-f-]{32,36}$")
            status, headers, content = self.call(path, method="HEAD")
            self.assertEqual((status, content), (200, b""))
            # Never by its own name.
            for direct in (f"/_cars/{name}", f"/cars/{name}", f"/_cars/../cars/{name}"):
                self.assertNotEqual(self.call(direct)[0], 200, direct)
            # What came after a revision is not a whole repository.
            latest = json.loads(self.call(f"/xrpc/com.atproto.sync.getLatestCommit?did={did}")[2])
            self.assertLess(len(self.call(f"{path}&since={latest['rev']}")[2]), 1_000)
            # Who may not have it does not get the file either.
            self.assertEqual(self.call("/xrpc/com.atproto.server.deactivateAccount", {}, token)[0], 200)
            status, _, content = self.call(path)
            self.assertEqual((status, json.loads(content)["error"]), (400, "RepoDeactivated"))
            self.assertEqual(self.call("/xrpc/com.atproto.server.activateAccount", token=token, method="POST")[0], 200)
            self.assertEqual(self.call(path)[2], first[2])
            # A kept file that has gone costs only time.
            os.unlink(self.stack.data_dir / "cars" / name)
            self.assertEqual(self.call(path)[2], first[2])
            self.assertEqual(self.kept(), [name])

    def test_nginx(self):
        self.check("nginx")

    def test_caddy(self):
        self.check("caddy")


if __name__ == "__main__":
    unittest.main()
