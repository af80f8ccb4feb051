"""Handles under two domains, behind nginx and Caddy as they are shipped, on both databases.

    python3 Tests/EndToEnd/test_handle_domains.py [-v]
"""

import http.client
import json
import sys
import unittest
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Support"))

from stack import Stack

FIRST, SECOND, THIRD = "one.test", "two.test", "three.test"
WELL_KNOWN = "/.well-known/atproto-did"
PASSWORD = "correct horse"


class HandleDomainTests(unittest.TestCase):
    def test_nginx_and_sqlite(self):
        self.domains("nginx", "sqlite")

    def test_caddy_and_postgres(self):
        self.domains("caddy", "postgres")

    def domains(self, web, database):
        settings = {"SKYSTEAD_HANDLE_DOMAINS": f"{FIRST},{SECOND}"}
        with Stack(web=web, database=database, settings=settings) as self.stack:
            self.offered()
            dids = self.accounts()
            self.hosts(dids)
            self.certificates()
            self.service_is_elsewhere()
            self.third_domain()
            self.moves(dids)

    def ask(self, host, path, method="GET", body=None, headers=None):
        """Status, type and text of a request for `host`, which needs no DNS."""
        connection = http.client.HTTPConnection("127.0.0.1", self.stack.port, timeout=20)
        connection.request(method, path, body, {"Host": f"{host}:{self.stack.port}", **(headers or {})})
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, answer.getheader("Content-Type") or "", text

    def call(self, method, body=None, token=None, params=""):
        status, _, answer = self.stack.call(method, body, token, params)
        return status, json.loads(answer) if answer else None

    def create(self, handle, **more):
        body = {"handle": handle, "email": f"{handle}@example.com", "password": PASSWORD, **more}
        return self.call("com.atproto.server.createAccount", body)

    def offered(self):
        status, server = self.call("com.atproto.server.describeServer")
        self.assertEqual((status, server["availableUserDomains"]), (200, [f".{FIRST}", f".{SECOND}"]))

    def accounts(self):
        """Accounts under each, by handle; two have the same first label."""
        dids = {}
        for handle in (f"alice.{FIRST}", f"alice.{SECOND}", f"bob.{SECOND}"):
            status, made = self.create(handle)
            self.assertEqual((status, made.get("handle")), (200, handle), made)
            dids[handle] = made["did"]
        self.assertEqual(len(set(dids.values())), 3)
        # One whose identity is its own host, under the second domain.
        handle = f"walter.{SECOND}"
        status, made = self.create(handle, did=f"did:web:{handle}")
        self.assertEqual((status, made.get("did")), (200, f"did:web:{handle}"), made)
        dids[handle] = made["did"]
        for handle, did in dids.items():
            params = f"?handle={handle}"
            self.assertEqual(self.call("com.atproto.identity.resolveHandle", params=params), (200, {"did": did}))
            body = {"identifier": handle, "password": PASSWORD}
            self.assertEqual(self.call("com.atproto.server.createSession", body)[1]["did"], did)
        return dids

    def hosts(self, dids):
        for handle, did in dids.items():
            self.assertEqual(self.ask(handle, WELL_KNOWN), (200, "text/plain; charset=utf-8", did))
            self.assertEqual(self.ask(handle.upper(), WELL_KNOWN)[2], did)
            self.assertEqual(self.ask(handle, WELL_KNOWN, "HEAD")[::2], (200, ""))
        for nobody in (f"carol.{FIRST}", f"bob.{FIRST}"):
            self.assertEqual(self.ask(nobody, WELL_KNOWN)[0], 404, nobody)
        # No handle is that deep: Caddy's wildcard is one label, nginx's any number.
        self.assertIn(self.ask(f"x.alice.{FIRST}", WELL_KNOWN)[0], (404, 421))
        status, _, document = self.ask(f"walter.{SECOND}", "/.well-known/did.json")
        self.assertEqual((status, json.loads(document)["id"]), (200, f"did:web:walter.{SECOND}"))
        self.assertEqual(self.ask(f"alice.{SECOND}", "/.well-known/did.json")[0], 404)

    def certificates(self):
        rows = [
            (f"alice.{FIRST}", 200), (f"alice.{SECOND}", 200), (f"bob.{SECOND}", 200), ("localhost", 400),
            (f"bob.{FIRST}", 404), (f"carol.{SECOND}", 404), (f"alice.{THIRD}", 404), (FIRST, 404), (SECOND, 404),
            (f"alice{SECOND}", 404), ("", 400), ("..", 400),
        ]
        for domain, status in rows:
            self.assertEqual(self.ask("localhost", f"/tls-check?domain={domain}")[0], status, domain)

    def service_is_elsewhere(self):
        """A handle's host is its owner's: nothing of the service is to be had there."""
        post = {"body": "{}", "headers": {"Content-Type": "application/json"}}
        for host in (f"alice.{FIRST}", f"alice.{SECOND}", f"nobody.{SECOND}"):
            for path, more in (
                ("/xrpc/_health", {}),
                ("/xrpc/com.atproto.server.describeServer", {}),
                ("/xrpc/com.atproto.server.createSession", {"method": "POST", **post}),
                ("/xrpc/com.atproto.server.createSession", {"method": "OPTIONS"}),
                ("/xrpc/com.atproto.repo.uploadBlob", {"method": "POST", **post}),
                ("/xrpc/com.atproto.repo.importRepo", {"method": "POST", **post}),
                ("/xrpc/com.atproto.sync.getBlob?did=did:web:x.test&cid=x", {}),
                ("/xrpc/com.atproto.sync.getRepo?did=did:web:x.test", {}),
                ("/xrpc/com.atproto.sync.getBlocks?did=did:web:x.test", {}),
                ("/xrpc/app.bsky.feed.getTimeline", {}),
            ):
                status, kind, text = self.ask(host, path, **more)
                self.assertEqual(status, 421, f"{host}{path}: {text}")
                self.assertIn("application/json", kind)
                self.assertEqual(json.loads(text)["error"], "MisdirectedRequest")
                self.assertIn(self.stack.base_url, text)
            for path in ("/admin", "/admin/sign-in", f"/tls-check?domain={host}", "/_blobs/", "/oauth/par"):
                self.assertEqual(self.ask(host, path)[0], 404, f"{host}{path}")
            self.assertEqual(self.ask(host, "/robots.txt")[0], 200)
        self.assertEqual(self.ask("localhost", "/xrpc/_health")[0], 200)

    def third_domain(self):
        """What is under no domain of ours is neither given out nor answered for."""
        for handle, error in (
            (f"carol.{THIRD}", "UnsupportedDomain"), (f"carol.extra{SECOND}", "UnsupportedDomain"),
            (SECOND, "UnsupportedDomain"), (f"carol.{FIRST}.{SECOND}", "InvalidHandle"),
            (f"admin.{SECOND}", "HandleNotAvailable"), (f"ab.{SECOND}", "InvalidHandle"),
        ):
            status, answer = self.create(handle)
            self.assertEqual((status, answer["error"]), (400, error), handle)
        token = self.call("com.atproto.server.createSession", {"identifier": f"bob.{SECOND}", "password": PASSWORD})[1]
        status, answer = self.call(
            "com.atproto.identity.updateHandle", {"handle": f"bob.{THIRD}"}, token["accessJwt"]
        )
        self.assertEqual(status, 400, answer)
        for host in (f"alice.{THIRD}", THIRD, f"alice.extra{SECOND}"):
            self.assertEqual(self.ask(host, WELL_KNOWN)[0], 421, host)
        # Not given out and not asked of others: the second domain is ours.
        status, answer = self.call("com.atproto.identity.resolveHandle", params=f"?handle=carol.{SECOND}")
        self.assertEqual((status, answer["error"]), (400, "HandleNotFound"))

    def moves(self, dids):
        """From one domain to the other, and what a deactivated account's host says."""
        old, new = f"alice.{FIRST}", f"alicia.{SECOND}"
        session = self.call("com.atproto.server.createSession", {"identifier": old, "password": PASSWORD})[1]
        method = "com.atproto.identity.updateHandle"
        status, answer = self.call(method, {"handle": f"bob.{SECOND}"}, session["accessJwt"])
        self.assertEqual((status, answer["error"]), (400, "HandleNotAvailable"))
        self.assertEqual(self.call(method, {"handle": new}, session["accessJwt"])[0], 200)
        self.assertEqual(self.ask(new, WELL_KNOWN)[2], dids[old])
        self.assertEqual(self.ask(old, WELL_KNOWN)[0], 404)
        self.assertEqual(self.ask("localhost", f"/tls-check?domain={old}")[0], 404)
        self.assertEqual(self.ask("localhost", f"/tls-check?domain={new}")[0], 200)
        with urllib.request.urlopen(f"{self.stack.plc_url}/{dids[old]}/data", timeout=10) as answer:
            self.assertEqual(json.load(answer)["alsoKnownAs"], [f"at://{new}"])
        self.assertEqual(self.call("com.atproto.server.deactivateAccount", {}, session["accessJwt"])[0], 200)
        self.assertEqual(self.ask(new, WELL_KNOWN)[0], 404)


if __name__ == "__main__":
    unittest.main()
