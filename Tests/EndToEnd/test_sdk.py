"""The product through its front door, with a client that nobody here wrote: the Python `atproto` SDK, unmodified.

    python3 Tests/EndToEnd/test_sdk.py [-v] [TestCase]

Each web server with each database. What the SDK cannot see (headers, the archive, the stream) is asked plainly and
judged by Tests/Support/verify.py, which shares no code with the product.
"""

import hashlib
import json
import struct
import sys
import threading
import unittest
import urllib.error
import urllib.request
import warnings
import zlib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Support"))

from atproto import Client, models
from atproto_client.exceptions import BadRequestError, UnauthorizedError
from stack import ADMIN_PASSWORD, Stack, record_key
from verify import FirehoseChecker, verify_repository
from websockets.sync.client import connect

PASSWORD = "correct horse battery staple"
RECORDS = 1_000


def png(width, height, colour):
    """A PNG of one colour."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + bytes(colour) * width) * height
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


class Follower(threading.Thread):
    """Reads the firehose from its beginning; every event is checked as it comes."""

    def __init__(self, stack, until):
        super().__init__(daemon=True)
        self.url = f"{stack.base_url.replace('http', 'ws')}/xrpc/com.atproto.sync.subscribeRepos?cursor=0"
        self.until = until
        self.checker = FirehoseChecker()
        self.kinds = {}
        self.error = None

    def run(self):
        try:
            with connect(self.url, max_size=8 << 20, compression=None) as socket:
                while self.checker.commits < self.until:
                    header, _ = self.checker.take(socket.recv(timeout=60))
                    self.kinds[header["t"]] = self.kinds.get(header["t"], 0) + 1
        except BaseException as error:
            self.error = error


class ClientCase:
    """The journey. Subclasses say through which web server and on which database."""

    web = database = None

    @classmethod
    def setUpClass(cls):
        cls.stack = Stack(cls.web, cls.database)
        cls.stack.start()

    @classmethod
    def tearDownClass(cls):
        cls.stack.stop()

    def account(self, name):
        """A new account, signed in."""
        client = Client(f"{self.stack.base_url}/xrpc")
        handle = f"{name}{self.stack.handle_domain}"
        client.com.atproto.server.create_account(
            models.ComAtprotoServerCreateAccount.Data(
                handle=handle, email=f"{name}@example.com", password=PASSWORD
            )
        )
        client.login(handle, PASSWORD, fetch_bsky_profile=False)
        return client

    def test_account_and_session(self):
        client = self.account("alice")
        did = client._session.did
        self.assertTrue(did.startswith("did:plc:"), did)
        session = client.com.atproto.server.get_session()
        self.assertEqual((session.handle, session.did, session.email), ("alice.test", did, "alice@example.com"))
        resolved = client.com.atproto.identity.resolve_handle({"handle": "alice.test"})
        self.assertEqual(resolved.did, did)

        old = client._session.refresh_jwt
        client._refresh_and_set_session()
        self.assertNotEqual(client._session.refresh_jwt, old)
        client.com.atproto.server.get_session()

        # As people write it: the SDK then also asks for a profile, which is not served here.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.assertIsNone(Client(f"{self.stack.base_url}/xrpc").login("alice.test", PASSWORD))
        with self.assertRaises(UnauthorizedError):
            Client(f"{self.stack.base_url}/xrpc").login("alice.test", "wrong")
        with self.assertRaises(BadRequestError) as taken:
            self.account("alice")
        self.assertEqual(taken.exception.response.content.error, "HandleNotAvailable")

    def test_posts_pictures_and_likes(self):
        client = self.account("bob")
        did = client._session.did
        # Without app.bsky there is no profile, so the SDK is told whose repository is meant.
        post = client.send_post("first", profile_identify=did)
        self.assertTrue(post.uri.startswith(f"at://{did}/app.bsky.feed.post/"))
        picture = png(64, 48, (200, 30, 30))
        with_image = client.send_image("with a picture", picture, "a red rectangle", profile_identify=did)
        like = client.app.bsky.feed.like.create(
            did,
            models.AppBskyFeedLike.Record(
                created_at=client.get_current_time_iso(), subject={"uri": post.uri, "cid": post.cid}
            ),
        )

        listed = client.com.atproto.repo.list_records({"repo": did, "collection": "app.bsky.feed.post", "limit": 50})
        self.assertEqual([row.value.text for row in listed.records], ["with a picture", "first"])
        rkey = with_image.uri.rsplit("/", 1)[1]
        got = client.com.atproto.repo.get_record({"repo": did, "collection": "app.bsky.feed.post", "rkey": rkey})
        image = got.value.embed.images[0].image
        self.assertEqual((image.mime_type, image.size), ("image/png", len(picture)))
        self.check_blob(did, image.ref.link, picture)

        self.assertTrue(client.delete_post(post.uri))
        with self.assertRaises(BadRequestError) as absent:
            client.com.atproto.repo.get_record(
                {"repo": did, "collection": "app.bsky.feed.post", "rkey": post.uri.rsplit("/", 1)[1]}
            )
        self.assertEqual(absent.exception.response.content.error, "RecordNotFound")
        self.assertTrue(client.unlike(like.uri))

        car = client.com.atproto.sync.get_repo({"did": did})
        _, found, _ = verify_repository(car, did, self.stack.did_key(did))
        self.assertEqual([key.decode() for key in found], [f"app.bsky.feed.post/{rkey}"])
        again = client.com.atproto.sync.get_repo({"did": did})
        self.assertEqual(hashlib.sha256(car).digest(), hashlib.sha256(again).digest())

    def check_blob(self, did, cid, content):
        """getBlob: the bytes, and the headers that keep a stranger's file from being a page."""
        status, headers, body = self.stack.call("com.atproto.sync.getBlob", params=f"?did={did}&cid={cid}")
        self.assertEqual((status, body), (200, content))
        self.assertEqual(headers["Content-Type"], "image/png")
        self.assertEqual(headers["X-Content-Type-Options"], "nosniff")
        self.assertIn("sandbox", headers["Content-Security-Policy"])
        self.assertIn("default-src 'none'", headers["Content-Security-Policy"])
        self.assertEqual(headers["Access-Control-Allow-Origin"], "*")
        for name in ("X-Accel-Redirect", "Status", "Content-Encoding", "Server-Timing"):
            self.assertIsNone(headers[name], name)
        for name in ("Content-Type", "Content-Length", "ETag", "Content-Security-Policy", "X-Content-Type-Options"):
            self.assertLessEqual(len(headers.get_all(name) or []), 1, name)
        part = self.stack.call(
            "com.atproto.sync.getBlob", params=f"?did={did}&cid={cid}", headers={"Range": "bytes=1-3"}
        )
        self.assertEqual((part[0], part[2]), (206, content[1:4]))
        packed = self.stack.call(
            "com.atproto.sync.getBlob", params=f"?did={did}&cid={cid}", headers={"Accept-Encoding": "gzip"}
        )
        self.assertEqual((packed[1]["Content-Encoding"], packed[2]), (None, content))
        # The internal name of the file is nobody's business.
        for path in (f"/_blobs/{cid[-2:]}/{cid}", f"/_blobs/{cid}"):
            with self.assertRaises(urllib.error.HTTPError) as hidden:
                urllib.request.urlopen(self.stack.base_url + path, timeout=10)
            self.assertIn(hidden.exception.code, (400, 404))
            hidden.exception.close()

    def test_thousand_records_on_the_stream(self):
        client = self.account("carol")
        did = client._session.did
        follower = Follower(self.stack, 10**9)
        follower.start()
        # Creates, updates, deletes and batches: each is one commit but the batches.
        kept, commits = {}, 0
        token = client._session.access_jwt

        def write(method, body):
            status, _, answer = self.stack.call(f"com.atproto.repo.{method}", body | {"repo": did}, token)
            self.assertEqual(status, 200, answer)
            return json.loads(answer)

        def record(text):
            return {"$type": "app.bsky.feed.post", "text": text, "createdAt": "2026-01-01T00:00:00.000Z"}

        count = 0
        while count < RECORDS:
            if count % 10 == 9:
                rows = [
                    {"$type": "com.atproto.repo.applyWrites#create", "collection": "app.bsky.feed.post",
                     "rkey": record_key(count * 10 + index), "value": record(f"batch {count} {index}")}
                    for index in range(10)
                ]
                write("applyWrites", {"writes": rows})
                kept.update({row["rkey"]: row["value"]["text"] for row in rows})
                count += 10
            else:
                answer = write("createRecord", {"collection": "app.bsky.feed.post", "record": record(f"text {count}")})
                kept[answer["uri"].rsplit("/", 1)[1]] = f"text {count}"
                count += 1
            commits += 1
            if count % 7 == 0:
                rkey = sorted(kept)[count % len(kept)]
                write("putRecord", {"collection": "app.bsky.feed.post", "rkey": rkey, "record": record(f"new {count}")})
                kept[rkey] = f"new {count}"
                commits += 1
            if count % 11 == 0:
                rkey = sorted(kept)[count % len(kept)]
                write("deleteRecord", {"collection": "app.bsky.feed.post", "rkey": rkey})
                del kept[rkey]
                commits += 1
        car = self.stack.call("com.atproto.sync.getRepo", params=f"?did={did}")[2]
        commit, found, blocks = verify_repository(car, did, self.stack.did_key(did))
        self.assertEqual(len(found), len(kept))

        head = (commit["rev"], commit["data"])
        deadline = threading.Event()
        for _ in range(600):
            if follower.error or follower.checker.heads.get(did) == head:
                break
            deadline.wait(0.1)
        if follower.error:
            raise follower.error
        self.assertEqual(follower.checker.heads.get(did), head)
        self.assertGreaterEqual(follower.checker.commits, commits)
        self.assertGreaterEqual(follower.kinds.get("#identity", 0), 1)
        self.assertGreaterEqual(follower.kinds.get("#account", 0), 1)

    def test_plain_get_of_the_stream(self):
        status, headers, _ = self.stack.call("com.atproto.sync.subscribeRepos")
        self.assertEqual(status, 426)
        if self.web == "nginx":  # Caddy takes every hop-by-hop field away
            self.assertEqual((headers["Upgrade"] or "").lower(), "websocket")

    def test_what_is_not_offered(self):
        # Without an AppView (test_proxy.py has one): clients know this name for what is not served.
        token = self.account("frank")._session.access_jwt
        status, _, body = self.stack.call("app.bsky.actor.getProfile", params="?actor=bob.test", token=token)
        self.assertEqual((status, json.loads(body)["error"]), (400, "MethodNotImplemented"))
        status, headers, body = self.stack.call("com.atproto.server.nothing", {})
        self.assertEqual((status, json.loads(body)["error"]), (501, "MethodNotImplemented"))
        self.assertEqual(headers["Access-Control-Allow-Origin"], "*")
        status, _, body = self.stack.call("com.atproto.repo.createRecord", {"a": 1}, "not.a.token")
        self.assertEqual((status, json.loads(body)["error"]), (400, "InvalidToken"))

    def test_bodies_have_limits(self):
        token = self.account("erin")._session.access_jwt
        status, headers, body = self.stack.call(
            "com.atproto.repo.createRecord", raw=b" " * (1_200 << 10), token=token,
            headers={"Content-Type": "application/json"},
        )
        self.assertEqual((status, json.loads(body)["error"]), (413, "PayloadTooLarge"))
        self.assertEqual(headers["Access-Control-Allow-Origin"], "*")

    def test_the_tool_and_the_documents(self):
        made = self.stack.tool("account", "create", "dave.test", "--email", "dave@example.com")
        self.assertIn("did:plc:", made)
        self.assertIn("dave.test", self.stack.tool("account", "list"))
        self.assertIn("dave@example.com", self.stack.tool("account", "info", "dave.test"))
        self.assertRegex(self.stack.tool("invite"), r"^[a-z0-9-]+\n$")
        self.assertIn("green", self.stack.tool("check"))
        self.assertNotIn(ADMIN_PASSWORD, self.stack.tool("settings"))
        did = next(word for word in made.split() if word.startswith("did:plc:"))
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.stack.port}/.well-known/atproto-did", headers={"Host": "dave.test"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            self.assertEqual(answer.read().decode().strip(), did)
        with urllib.request.urlopen(f"{self.stack.base_url}/.well-known/did.json", timeout=10) as answer:
            self.assertTrue(json.load(answer)["id"].startswith("did:web:localhost"))


class NginxSQLite(ClientCase, unittest.TestCase):
    web, database = "nginx", "sqlite"


class CaddySQLite(ClientCase, unittest.TestCase):
    web, database = "caddy", "sqlite"


class NginxPostgres(ClientCase, unittest.TestCase):
    web, database = "nginx", "postgres"


class CaddyPostgres(ClientCase, unittest.TestCase):
    web, database = "caddy", "postgres"


if __name__ == "__main__":
    # The SDK leaves its sockets to the garbage collector.
    unittest.main(warnings="ignore")
