"""Calls that are passed on to an AppView and to services that the caller names: the shipped configuration in front, an
AppView that checks every token behind, and what goes wrong between (specs/pds.md §2.3; rows 59 to 65, F028).

    python3 Tests/EndToEnd/test_proxy.py [-v] [TestCase]
"""

import gzip
import http.client
import json
import socket
import sys
import threading
import time
import unittest
import urllib.parse
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Support"))

import plc_directory as plc
from appview import DID, AppView
from atproto import Client
from stack import Stack, free_port
from test_plc_directory import K2, operation

PASSWORD = "correct horse battery staple"
TIMELINE = "app.bsky.feed.getTimeline"
POSTS = "app.bsky.feed.getPosts"
# What the responder passes on at most.
RESPONSE_MAX = 10_485_760
# What eight bodies of that size under way at once may cost it: a tenth of what they are.
GROWTH_MAX = 8 << 20


class Trap:
    """A listener that nobody may reach."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.socket.settimeout(0.2)
        self.port = self.socket.getsockname()[1]

    def was_reached(self):
        try:
            self.socket.accept()[0].close()
            return True
        except TimeoutError:
            return False


class ProxyTests:
    """The rows, for one web server and one database."""

    web, database = "nginx", "sqlite"

    @classmethod
    def setUpClass(cls):
        cls.appview = AppView()
        cls.addClassCleanup(cls.appview.close)
        cls.metrics_port = free_port()
        settings = {
            "SKYSTEAD_APPVIEW_URL": cls.appview.origin,
            "SKYSTEAD_APPVIEW_DID": DID,
            "SKYSTEAD_HOST_OVERRIDES": "rebound.example.com=127.0.0.1,ten.example.com=10.0.0.1",
            "SKYSTEAD_METRICS_PORT": str(cls.metrics_port),
        }
        cls.stack = Stack(cls.web, cls.database, settings=settings)
        cls.stack.environment["SKYSTEAD_ALLOW_PRIVATE_HOSTS"] += "," + cls.appview.origin.removeprefix("http://")
        cls.stack.start()
        cls.addClassCleanup(cls.stack.stop)
        cls.appview.plc_url = cls.stack.plc_url
        account = {"handle": "alice.test", "email": "a@example.com", "password": PASSWORD}
        status, _, body = cls.stack.call("com.atproto.server.createAccount", account)
        assert status == 200, body
        session = json.loads(body)
        cls.did, cls.token = session["did"], session["accessJwt"]
        cls.trap = Trap()
        cls.addClassCleanup(cls.trap.socket.close)
        cls.service = cls.publish({"here": cls.appview.origin})
        private = {
            "loopback": f"http://127.0.0.1:{cls.trap.port}",
            "loopback_tls": f"https://127.0.0.1:{cls.trap.port}",
            "name": f"http://localhost:{cls.trap.port}",
            "ten": "https://10.0.0.1",
            "six": f"https://[::1]:{cls.trap.port}",
            "mapped": "https://[::ffff:127.0.0.1]",
            "decimal": "https://2130706433",
            "rebound": "https://rebound.example.com",
            "rebound_ten": "https://ten.example.com",
            "file": "file:///etc/passwd",
        }
        # A document has ten services at most.
        cls.private = {name: cls.publish({name: endpoint}) for name, endpoint in private.items()}

    @classmethod
    def publish(cls, endpoints):
        """A DID whose document has these services."""
        services = {name: {"type": "Service", "endpoint": endpoint} for name, endpoint in endpoints.items()}
        genesis = K2.sign(operation(services=services, alsoKnownAs=[]))
        did = plc.did_of(genesis)
        request = urllib.request.Request(
            f"{cls.stack.plc_url}/{did}", json.dumps(genesis).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 200
        return did

    def setUp(self):
        self.appview.answers.clear()
        self.appview.delegated.clear()
        self.appview.requests.clear()

    def call(self, method, headers=None, params="", body=None, token=None):
        status, fields, content = self.stack.call(
            method, body, token=token or self.token, params=params, headers=headers
        )
        return status, fields, content

    def error(self, method, headers=None, params="", body=None):
        status, _, content = self.call(method, headers, params, body)
        return status, json.loads(content)["error"]

    def connect(self, target, headers=None):
        """One GET whose answer is read by the test itself."""
        connection = http.client.HTTPConnection("localhost", self.stack.port, timeout=30)
        self.addCleanup(connection.close)
        connection.request("GET", "/xrpc/" + target, headers={"Authorization": f"Bearer {self.token}", **(headers or {})})
        return connection.getresponse()

    # Row 59

    def test_a_profile(self):
        profile = {"did": self.did, "handle": "alice.test", "displayName": "Alice"}
        self.appview.answers["app.bsky.actor.getProfile"] = (200, profile, {"Atproto-Repo-Rev": "3jzfcijpj2z2a"})
        headers = {"Atproto-Accept-Labelers": "did:web:labels.example.com;redact", "Cookie": "a=b", "X-Bsky-Topics": "t"}
        status, fields, body = self.call("app.bsky.actor.getProfile", headers, f"?actor={self.did}")
        self.assertEqual((status, json.loads(body)), (200, profile))
        self.assertEqual(fields["Atproto-Repo-Rev"], "3jzfcijpj2z2a")
        self.assertEqual(fields["Cache-Control"], "private")
        (verb, path, sent, _, claims), = self.appview.requests
        self.assertEqual((verb, path), ("GET", f"/xrpc/app.bsky.actor.getProfile?actor={self.did}"))
        self.assertEqual((claims["iss"], claims["aud"], claims["lxm"]), (self.did, DID, "app.bsky.actor.getProfile"))
        self.assertEqual(sent["atproto-accept-labelers"], "did:web:labels.example.com;redact")
        self.assertEqual(
            set(sent) - {"host", "accept", "user-agent"},
            {"authorization", "accept-encoding", "atproto-accept-labelers", "x-bsky-topics"},
        )

    def test_the_sdk_signs_in_with_its_profile(self):
        self.appview.answers["app.bsky.actor.getProfile"] = (200, {"did": self.did, "handle": "alice.test"})
        me = Client(f"{self.stack.base_url}/xrpc").login("alice.test", PASSWORD)
        self.assertEqual((me.did, me.handle), (self.did, "alice.test"))

    # Rows 60 to 62

    def test_a_service_of_the_callers_choice(self):
        # The double is one service with one name: a token for another audience is refused by it, as it should be.
        status, _, body = self.call(
            "chat.bsky.convo.listConvos", {"Atproto-Proxy": f"{self.service}#here"}, "?limit=3"
        )
        self.assertEqual((status, json.loads(body)["error"]), (401, "BadJwtAudience"))
        self.appview.delegated["chat.bsky.convo.listConvos"] = (self.service, "chat.bsky.convo.listConvos")
        self.appview.answers["chat.bsky.convo.listConvos"] = (200, {"convos": []})
        headers = {"Atproto-Proxy": f"{self.service}#here", "Cookie": "a=b", "DPoP": "a.b.c", "Accept-Language": "de"}
        status, _, body = self.call("chat.bsky.convo.listConvos", headers, "?limit=3")
        self.assertEqual((status, json.loads(body)), (200, {"convos": []}))
        (_, path, sent, _, claims), = self.appview.requests
        self.assertEqual((path, claims["aud"]), ("/xrpc/chat.bsky.convo.listConvos?limit=3", self.service))
        self.assertEqual(sent["accept-language"], "de")
        self.assertFalse({"cookie", "dpop", "atproto-proxy"} & set(sent))

    def test_a_post_with_its_body(self):
        self.appview.answers["app.bsky.graph.muteActor"] = (200, b"", {})
        status, _, body = self.call("app.bsky.graph.muteActor", body={"actor": "did:web:x.example.com"})
        self.assertEqual((status, body), (200, b""))
        (verb, _, sent, content, _), = self.appview.requests
        self.assertEqual((verb, json.loads(content)), ("POST", {"actor": "did:web:x.example.com"}))
        self.assertEqual(sent["content-type"], "application/json")

    def test_wrong_names_of_services(self):
        rows = {
            "foo": "no service id specified in proxy header",
            "did:web:x": "no service id specified in proxy header",
            "did:web:x#": "no service id specified in proxy header",
            "#here": "no did specified in proxy header",
            f"{self.service} #here": "proxy header cannot contain spaces",
            f"{self.service}#a#b": "invalid proxy header format",
            self.service + "#" + "a" * 4_096: "invalid proxy header format",
            "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa#here": "could not resolve proxy did",
            f"{self.service}#other": "could not resolve proxy did service url",
        }
        for header, message in rows.items():
            with self.subTest(header=header[:60]):
                status, _, body = self.call(TIMELINE, {"Atproto-Proxy": header})
                self.assertEqual((status, json.loads(body)["message"]), (400, message))
        self.assertEqual(self.appview.requests, [])

    def test_methods_that_never_leave(self):
        proxy = {"Atproto-Proxy": f"{self.service}#here"}
        status, _, body = self.call("com.atproto.server.getSession", proxy)
        self.assertEqual((status, json.loads(body)["did"]), (200, self.did))
        # Answered here, where it takes no body; and by another spelling not at all.
        self.assertEqual(self.error("com.atproto.server.requestEmailUpdate", proxy, body={}), (400, "InvalidRequest"))
        self.assertEqual(self.error("com.atproto.server.requestemailupdate", proxy, body={}), (400, "InvalidToken"))
        self.assertEqual(self.appview.requests, [])
        status, _, body = self.stack.call(TIMELINE)
        self.assertEqual((status, json.loads(body)["error"]), (401, "AuthMissing"))
        self.assertEqual(self.appview.requests, [])

    # Row 63

    def test_failures_of_the_appview(self):
        rows = [
            ((400, {"error": "X", "message": "m"}), (400, "X")),
            ((404, {"error": "Y"}), (404, "Y")),
            ((500, {"error": "InternalServerError"}), (502, "UpstreamFailure")),
            ((503, b"<html>", {"Content-Type": "text/html"}), (503, "UpstreamFailure")),
            ((429, {"error": "RateLimitExceeded"}, {"Retry-After": "7"}), (429, "RateLimitExceeded")),
        ]
        for answer, expected in rows:
            with self.subTest(answer=answer):
                self.appview.answers[POSTS] = answer
                status, fields, body = self.call(POSTS)
                self.assertEqual(status, expected[0])
                self.assertEqual(json.loads(body)["error"], expected[1])
                if status == 429:
                    self.assertEqual(fields["Retry-After"], "7")

    def test_an_appview_that_is_not_there(self):
        gone = self.publish({"gone": self.appview.origin})
        self.appview.answers[POSTS] = lambda handler: handler.cut()
        self.assertEqual(self.error(POSTS), (502, "UpstreamFailure"))
        self.assertEqual(self.error(POSTS, {"Atproto-Proxy": f"{gone}#gone"})[0], 401)

    def test_an_appview_that_hangs_keeps_nobody_else_waiting(self):
        released = threading.Event()
        self.addCleanup(released.set)
        self.appview.answers[POSTS] = lambda handler: released.wait(60)
        results = []
        begun = time.monotonic()
        callers = [threading.Thread(target=lambda: results.append(self.error(POSTS))) for _ in range(30)]
        for caller in callers:
            caller.start()
        answered = 0
        while any(caller.is_alive() for caller in callers):
            self.assertEqual(self.stack.call("com.atproto.server.getSession", token=self.token)[0], 200)
            answered += 1
            time.sleep(0.05)
        self.assertGreater(answered, 20)
        self.assertLess(time.monotonic() - begun, 30)
        self.assertEqual(set(results), {(504, "UpstreamTimeout"), (503, "NotEnoughResources")})

    # Bodies

    def test_a_body_goes_out_as_it_comes(self):
        """The second half is sent when the first has arrived: who waits for the whole waits for ever."""
        for headers in ({"length": 400_000}, {"length": None}):
            with self.subTest(headers=headers):
                arrived = threading.Event()

                def answer(handler, headers=headers):
                    handler.begin({}, headers["length"])
                    write = handler.wfile.write if headers["length"] else handler.chunk
                    write(b"x" * 200_000)
                    handler.wfile.flush()
                    if not arrived.wait(20):
                        return handler.cut()
                    write(b"y" * 200_000)
                    if not headers["length"]:
                        handler.chunk(b"")

                self.appview.answers[POSTS] = answer
                response = self.connect(POSTS)
                self.assertEqual(response.read(100_000), b"x" * 100_000)
                arrived.set()
                self.assertEqual(response.read(), b"x" * 100_000 + b"y" * 200_000)

    def test_large_bodies_in_flat_memory(self):
        size = RESPONSE_MAX - 1_000

        def answer(handler):
            handler.begin({}, size)
            for start in range(0, size, 65_536):
                handler.wfile.write(b"x" * min(65_536, size - start))

        self.appview.answers[POSTS] = answer

        def download():
            response = self.connect(POSTS)
            count = 0
            while piece := response.read(65_536):
                count += len(piece)
            counts.append(count)

        counts = []
        download()
        # From here on the peaks count (proc(5), clear_refs).
        for pid in self.stack.pids()["xrpc"]:
            Path(f"/proc/{pid}/clear_refs").write_text("5")
        before = self.resident()
        callers = [threading.Thread(target=download) for _ in range(8)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        self.assertEqual(counts, [size] * 9)
        growth = self.resident(peak=True) - before
        self.assertLess(growth, GROWTH_MAX)

    def resident(self, peak=False):
        """Bytes of the responders' memory."""
        total = 0
        for pid in self.stack.pids()["xrpc"]:
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("VmHWM:" if peak else "VmRSS:"):
                    total += int(line.split()[1]) * 1024
        return total

    def test_a_body_beyond_the_limit(self):
        self.appview.answers[POSTS] = lambda handler: handler.begin({}, RESPONSE_MAX + 1)
        self.assertEqual(self.error(POSTS), (502, "UpstreamFailure"))

    def test_a_body_that_breaks_off_is_broken_for_the_client(self):
        def cut_length(handler):
            handler.begin({}, 400_000)
            handler.wfile.write(b"x" * 200_000)
            handler.cut()

        def cut_chunks(handler):
            handler.begin({})
            handler.chunk(b"x" * 200_000)
            handler.cut()

        # Caddy 2.6.2 ends a chunked body properly whatever happens (docs/web-servers.md).
        for answer in (cut_length,) if self.web == "caddy" else (cut_length, cut_chunks):
            with self.subTest(answer=answer.__name__):
                self.appview.answers[POSTS] = answer
                with self.assertRaises((http.client.IncompleteRead, ConnectionError)):
                    self.connect(POSTS).read()
                self.assertEqual(self.stack.call("com.atproto.server.describeServer")[0], 200)

    def test_compressed_bodies_pass_as_they_are(self):
        content = gzip.compress(json.dumps({"posts": ["x" * 1_000]}).encode(), mtime=0)
        self.appview.answers[POSTS] = (200, content, {"Content-Encoding": "gzip"})
        response = self.connect(POSTS, {"Accept-Encoding": "gzip, br;q=0.5"})
        self.assertEqual(response.headers["Content-Encoding"], "gzip")
        self.assertEqual(response.read(), content)
        self.assertEqual(self.appview.requests[0][2]["accept-encoding"], "gzip, br;q=0.5")

    # Row 64, F028

    def test_private_addresses_are_not_asked(self):
        for name, did in self.private.items():
            with self.subTest(service=name):
                status, _, body = self.call(TIMELINE, {"Atproto-Proxy": f"{did}#{name}"})
                self.assertEqual(
                    (status, json.loads(body)["message"]), (400, "could not resolve proxy did service url")
                )
        self.assertFalse(self.trap.was_reached())

    def test_redirects_are_not_followed(self):
        for location in (f"http://127.0.0.1:{self.trap.port}/", f"{self.appview.origin}/xrpc/{TIMELINE}", "//x"):
            for status in (301, 302, 307, 308):
                with self.subTest(location=location, status=status):
                    self.appview.answers[POSTS] = (status, {}, {"Location": location})
                    self.assertEqual(self.error(POSTS), (502, "UpstreamFailure"))
        self.assertFalse(self.trap.was_reached())
        self.assertEqual({path for _, path, *_ in self.appview.requests}, {f"/xrpc/{POSTS}"})

    # Row 65

    def test_what_was_just_written_is_there(self):
        def write(text):
            record = {"$type": "app.bsky.feed.post", "text": text, "createdAt": "2026-01-01T00:00:00Z"}
            body = {"repo": self.did, "collection": "app.bsky.feed.post", "record": record}
            status, _, content = self.stack.call("com.atproto.repo.createRecord", body, token=self.token)
            self.assertEqual(status, 200, content)
            return json.loads(content)

        old = write("old")
        seen = {"Atproto-Repo-Rev": old["commit"]["rev"]}
        item = {"post": {"uri": old["uri"], "indexedAt": "2026-01-01T00:00:00.000Z", "record": {"text": "old"}}}
        method, params = "app.bsky.feed.getAuthorFeed", f"?actor={self.did}"
        self.appview.answers[method] = (200, {"feed": [item]}, seen)
        _, fields, body = self.call(method, params=params)
        self.assertEqual(len(json.loads(body)["feed"]), 1)
        self.assertIsNone(fields["Atproto-Upstream-Lag"])
        new = write("new")
        _, fields, body = self.call(method, {"Accept-Encoding": "gzip"}, params)
        feed = json.loads(body)["feed"]
        self.assertEqual([post["post"]["record"]["text"] for post in feed], ["new", "old"])
        self.assertEqual((feed[0]["post"]["uri"], feed[0]["post"]["cid"]), (new["uri"], new["cid"]))
        self.assertEqual(feed[0]["post"]["author"], {"did": self.did, "handle": "alice.test"})
        self.assertGreaterEqual(int(fields["Atproto-Upstream-Lag"]), 0)
        self.appview.answers["app.bsky.feed.getPostThread"] = (400, {"error": "NotFound"}, seen)
        status, _, body = self.call(
            "app.bsky.feed.getPostThread", params="?uri=" + urllib.parse.quote(new["uri"], safe="")
        )
        self.assertEqual((status, json.loads(body)["thread"]["post"]["record"]["text"]), (200, "new"))

    def test_a_feeds_token_is_for_its_maker(self):
        self.appview.answers["com.atproto.repo.getRecord"] = (200, {"value": {"did": "did:web:feeds.example.com"}})
        self.appview.delegated["app.bsky.feed.getFeed"] = ("did:web:feeds.example.com", "app.bsky.feed.getFeedSkeleton")
        self.appview.answers["app.bsky.feed.getFeed"] = (200, {"feed": []})
        params = "?feed=at://did:web:maker.example.com/app.bsky.feed.generator/hot"
        status, _, body = self.call("app.bsky.feed.getFeed", params=params)
        self.assertEqual((status, json.loads(body)), (200, {"feed": []}))

    def test_a_record_of_somebody_else(self):
        record = {"uri": "at://did:web:o.example.com/app.bsky.feed.post/a", "value": {}}
        self.appview.answers["com.atproto.repo.getRecord"] = (200, record)
        params = "?repo=did:web:o.example.com&collection=app.bsky.feed.post&rkey=a"
        status, _, body = self.stack.call("com.atproto.repo.getRecord", params=params)
        self.assertEqual((status, json.loads(body)), (200, record))
        self.assertIsNone(self.appview.requests[0][4])

    # Figures

    def test_zz_outcomes_are_counted(self):
        self.appview.answers[POSTS] = (200, {"posts": []})
        self.assertEqual(self.call(POSTS)[0], 200)
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        counts = {}
        for line in lines:
            if line.startswith("skystead_upstream_calls_total{"):
                counts[line.split('"')[1]] = int(line.split()[-1])
        self.assertEqual(
            set(counts), {"answered", "refused", "failed", "timeout", "unreachable", "not_allowed", "broken", "busy"}
        )
        self.assertGreater(counts["answered"], 0)


class NginxTests(ProxyTests, unittest.TestCase):
    web, database = "nginx", "sqlite"


class CaddyTests(ProxyTests, unittest.TestCase):
    web, database = "caddy", "postgres"


if __name__ == "__main__":
    unittest.main()
