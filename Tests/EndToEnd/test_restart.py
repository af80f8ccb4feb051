"""A graceful restart under load loses no request: `kill -HUP` of `skystead up` replaces the responder, whose successor
inherits the socket; meanwhile clients write and read without pause, and nobody may see anything but an answer.

    python3 Tests/EndToEnd/test_restart.py [-v]
"""

import http.client
import json
import signal
import sys
import threading
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Support"))

from stack import Stack, wait_until

CLIENTS = 8
RESTARTS = 10


class Load(threading.Thread):
    """One account that writes and reads. Every answer but 200 is a loss."""

    def __init__(self, stack, number, stop):
        super().__init__(daemon=True)
        self.stop = stop
        self.answered = 0
        self.losses = []
        self.stack = stack
        status, _, body = stack.call(
            "com.atproto.server.createAccount",
            {
                "handle": f"load{number}{stack.handle_domain}",
                "email": f"l{number}@example.com",
                "password": "long enough",
            },
        )
        if status != 200:
            raise RuntimeError(body)
        account = json.loads(body)
        self.did, self.token = account["did"], account["accessJwt"]

    def run(self):
        connection = http.client.HTTPConnection("localhost", self.stack.port, timeout=30)
        record = {"$type": "app.bsky.feed.post", "text": "x", "createdAt": "2026-01-01T00:00:00.000Z"}
        body = json.dumps({"repo": self.did, "collection": "app.bsky.feed.post", "record": record})
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        while not self.stop.is_set():
            try:
                if self.answered % 2:
                    connection.request("GET", f"/xrpc/com.atproto.sync.getLatestCommit?did={self.did}")
                else:
                    connection.request("POST", "/xrpc/com.atproto.repo.createRecord", body, headers)
                answer = connection.getresponse()
                answer.read()
                if answer.status == 200:
                    self.answered += 1
                else:
                    self.losses.append(answer.status)
            except (OSError, http.client.HTTPException) as error:
                self.losses.append(repr(error))
                connection.close()
        connection.close()


class RestartCase:
    web = None

    def test_no_request_is_lost(self):
        with Stack(self.web, "sqlite") as stack:
            stop = threading.Event()
            clients = [Load(stack, number, stop) for number in range(CLIENTS)]
            for client in clients:
                client.start()
            for _ in range(RESTARTS):
                old = stack.pids()["xrpc"]
                before = sum(client.answered for client in clients)
                wait_until(lambda: sum(client.answered for client in clients) > before + 50, 60, "load")
                stack.process.send_signal(signal.SIGHUP)
                wait_until(lambda: not set(old) & set(stack.pids()["xrpc"]), 60, "the old responder's end")
            stop.set()
            for client in clients:
                client.join()
            answered = sum(client.answered for client in clients)
            losses = [loss for client in clients for loss in client.losses]
            print(f"{RESTARTS} restarts behind {self.web}: {len(losses)} of {answered + len(losses)} requests lost")
            self.assertEqual(losses, [])


class NginxRestart(RestartCase, unittest.TestCase):
    web = "nginx"


class CaddyRestart(RestartCase, unittest.TestCase):
    web = "caddy"


if __name__ == "__main__":
    unittest.main()
