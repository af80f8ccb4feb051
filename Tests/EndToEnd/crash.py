"""The crash rig: kill -9 of one process after the other under a mixed load, and what must hold afterwards.

    crash.py --kills 50 [--web nginx|caddy] [--database sqlite|postgres] [--seed N]

Clients write without pause, each to its own account, and note every request and every answer. A follower reads the
firehose and takes its cursor up again whenever the connection breaks. A kill counts only when it was inside a write:
for the responder and the web server at least one request in flight at that moment must have been left without an
answer, for the stream worker the follower's connection must have broken while writes were in flight.

Afterwards: every acknowledged write is there, every unanswered one is there whole or not at all, every repository is
well formed with the root that its records give, and the follower saw each commit once, in order, without a gap.
"""

import argparse
import http.client
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "Support"))
from stack import Stack, record_key  # noqa: E402
from verify import FirehoseChecker, Wrong, demand, verify_repository  # noqa: E402
from websockets.exceptions import ConnectionClosed, InvalidHandshake  # noqa: E402
from websockets.sync.client import connect  # noqa: E402

COLLECTION = "app.bsky.feed.post"
CLIENTS = 16


class Unanswered(Exception):
    """The connection broke: whether the request was carried out is not known."""


class Client:
    """One connection to the web server, for one account."""

    def __init__(self, base):
        self.address = urllib.parse.urlsplit(base)
        self.connection = None

    def call(self, method, path, body=None, token=None):
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if token:
            headers["Authorization"] = "Bearer " + token
        try:
            if self.connection is None:
                self.connection = http.client.HTTPConnection(self.address.hostname, self.address.port, timeout=30)
            self.connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = self.connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Unanswered(str(error)) from None
        # The web server's own words when the responder is gone: it does not know either.
        if answer.status in (502, 503, 504):
            self.close()
            raise Unanswered(f"{answer.status}")
        return answer.status, content

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None


class Writer(threading.Thread):
    """A client that writes to its own account and keeps the model of what must be there."""

    def __init__(self, base, number, stop):
        super().__init__(name=f"writer-{number}", daemon=True)
        self.client = Client(base)
        self.random = random.Random(number)
        self.number = number
        self.stop = stop
        self.known = {}  # rkey: text, as acknowledged
        self.maybe = {}  # rkey: the texts (None: absent) that an unanswered write leaves possible
        self.acknowledged = self.unanswered = 0
        self.in_flight = False
        self.error = None

    def sign_up(self, handle_domain):
        handle = f"crash{self.number}{handle_domain}"
        status, content = self.client.call(
            "POST",
            "/xrpc/com.atproto.server.createAccount",
            {"handle": handle, "email": f"{handle}@example.com", "password": "a long password"},
        )
        demand(status == 200, f"createAccount: {status} {content[:300]}")
        account = json.loads(content)
        self.did, self.token = account["did"], account["accessJwt"]

    def run(self):
        try:
            while not self.stop.is_set():
                self.step()
        except BaseException as error:  # the main thread reports it
            self.error = error

    def step(self):
        chance = self.random.random()
        settled = list(self.known)
        if chance < 0.5 or not settled:
            rkey = self.key(0)
            self.write("putRecord", {rkey: self.text()})
        elif chance < 0.7:
            self.write("putRecord", {self.random.choice(settled): self.text()})
        elif chance < 0.85:
            self.write("deleteRecord", {self.random.choice(settled): None})
        else:
            writes = {self.key(index + 1): self.text() for index in range(self.random.randint(2, 12))}
            writes[self.random.choice(settled)] = None
            self.write("applyWrites", writes)

    def key(self, index):
        return record_key(((self.number << 30) + self.acknowledged + self.unanswered << 4) + index)

    def text(self):
        return f"text {self.random.getrandbits(64):x} " + "x" * self.random.randint(0, 200)

    def record(self, text):
        return {"$type": COLLECTION, "text": text, "createdAt": "2026-01-01T00:00:00.000Z"}

    def write(self, method, changes):
        """Carries out `changes` (rkey: text, or None to delete) and takes the outcome into the model."""
        common = {"repo": self.did, "collection": COLLECTION}
        if method == "applyWrites":
            body = {"repo": self.did, "writes": []}
            for rkey, text in changes.items():
                kind = "delete" if text is None else "create"
                row = {"$type": f"com.atproto.repo.applyWrites#{kind}", "collection": COLLECTION, "rkey": rkey}
                body["writes"].append(row if text is None else row | {"value": self.record(text)})
        else:
            ((rkey, text),) = changes.items()
            body = common | {"rkey": rkey}
            if text is not None:
                body["record"] = self.record(text)
        self.in_flight = True
        try:
            status, content = self.client.call("POST", f"/xrpc/com.atproto.repo.{method}", body, self.token)
        except Unanswered:
            self.unanswered += 1
            before = {rkey: self.known.pop(rkey, None) for rkey in changes}
            self.maybe[len(self.maybe)] = (before, changes)
            self.stop.wait(0.005)
            return
        finally:
            self.in_flight = False
        demand(status == 200, f"{method}: {status} {content[:300]}")
        self.acknowledged += 1
        for rkey, text in changes.items():
            if text is None:
                self.known.pop(rkey, None)
            else:
                self.known[rkey] = text

    def check(self, client, key):
        """Compares the repository with the model."""
        import cbrrr

        status, content = client.call("GET", f"/xrpc/com.atproto.sync.getRepo?did={self.did}")
        demand(status == 200, f"getRepo: {status}")
        commit, found, blocks = verify_repository(content, self.did, key)
        texts = {
            path.decode().split("/", 1)[1]: cbrrr.decode_dag_cbor(blocks[bytes(cid)])["text"]
            for path, cid in found.items()
        }
        for rkey, text in self.known.items():
            demand(texts.pop(rkey, None) == text, f"{self.did} {rkey}: an acknowledged write is lost")
        for before, changes in self.maybe.values():
            there = {rkey: texts.pop(rkey, None) for rkey in changes}
            demand(there in (before, changes), f"{self.did}: an unanswered write is there in part: {there}")
        demand(not texts, f"{self.did}: records that nobody wrote: {list(texts)[:3]}")
        return commit


class Follower(threading.Thread):
    """Reads the firehose from its beginning and takes up its cursor whenever the connection breaks."""

    def __init__(self, base, stop):
        super().__init__(name="follower", daemon=True)
        self.url = base.replace("http", "ws", 1) + "/xrpc/com.atproto.sync.subscribeRepos?cursor="
        self.checker = FirehoseChecker()
        self.stop = stop
        self.breaks = 0
        self.is_receiving = False
        self.error = None

    def run(self):
        try:
            while not self.stop.is_set():
                try:
                    self.follow()
                except (OSError, ConnectionClosed, InvalidHandshake, EOFError):
                    self.is_receiving = False
                    self.breaks += 1
                    self.stop.wait(0.01)
        except BaseException as error:
            self.error = error

    def follow(self):
        with connect(self.url + str(self.checker.seq), max_size=6_000_000, open_timeout=10) as socket:
            while not self.stop.is_set():
                try:
                    frame = socket.recv(timeout=0.2)
                except TimeoutError:
                    continue
                self.checker.take(frame)
                self.is_receiving = True


def first_error(threads):
    for thread in threads:
        if thread.error is not None:
            raise thread.error


def until(condition, what, threads=(), seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        first_error(threads)
        demand(time.monotonic() < end, f"after {seconds} s still not: {what}")
        time.sleep(0.002)


def kill_inside_a_write(stack, kind, writers, follower):
    """Kills one process of `kind` while writes are in flight; tells whether it was inside one."""
    # A connection that still waits to be accepted would survive the worker: its socket is the supervisor's.
    until(lambda: follower.is_receiving, "the follower receives", [*writers, follower])
    until(lambda: sum(writer.in_flight for writer in writers) >= 2, "two writes in flight", writers)
    pids = stack.pids()[kind]
    unanswered, breaks = sum(writer.unanswered for writer in writers), follower.breaks
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    acknowledged = [writer.acknowledged for writer in writers]
    # Back at work: every writer has been answered again.
    until(
        lambda: all(writer.acknowledged > before + 2 for writer, before in zip(writers, acknowledged)),
        f"writers answered after the kill of {kind}",
        [*writers, follower],
    )
    if kind == "stream":
        until(lambda: follower.breaks > breaks, "the follower's connection broken", [*writers, follower])
        return True
    return sum(writer.unanswered for writer in writers) > unanswered


def signing_key(client, did):
    """The atproto key of the account's DID document, as describeRepo shows it."""
    status, content = client.call("GET", f"/xrpc/com.atproto.repo.describeRepo?repo={did}")
    demand(status == 200, f"describeRepo: {status} {content[:200]}")
    for method in json.loads(content)["didDoc"]["verificationMethod"]:
        if method["id"].endswith("#atproto"):
            return method["publicKeyMultibase"]
    raise Wrong("the DID document has no atproto key")


def run(arguments):
    chance = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory(prefix="skystead-crash-") as directory:
        stack = Stack(
            web=arguments.web,
            database=arguments.database,
            directory=directory,
            port=arguments.port,
            settings={"SKYSTEAD_RATE_LIMITS": "no"},
        )
        stack.start()
        stop = threading.Event()
        try:
            writers = [Writer(stack.base_url, number, stop) for number in range(CLIENTS)]
            for writer in writers:
                writer.sign_up(stack.handle_domain)
            follower = Follower(stack.base_url, stop)
            threads = [*writers, follower]
            for thread in threads:
                thread.start()
            counted, tried = {"xrpc": 0, "stream": 0, "web": 0}, 0
            while sum(counted.values()) < arguments.kills:
                kind = chance.choice(list(counted))
                time.sleep(chance.random() * 0.2)
                tried += 1
                if kill_inside_a_write(stack, kind, writers, follower):
                    counted[kind] += 1
                    print(f"kill {sum(counted.values())} of {arguments.kills}: {kind}", flush=True)
                demand(tried < arguments.kills * 4, "too few kills were inside a write")
            stop_writing(stop, writers, follower, stack)
            report(stack, writers, follower, counted, tried)
        finally:
            stop.set()
            stack.stop()


def stop_writing(stop, writers, follower, stack):
    """Ends the load; the follower reads on until it has everything."""
    for writer in writers:
        writer.stop = threading.Event()
        writer.stop.set()
    for writer in writers:
        writer.join(60)
    client = Client(stack.base_url)

    def level():
        for writer in writers:
            status, content = client.call("GET", f"/xrpc/com.atproto.sync.getLatestCommit?did={writer.did}")
            demand(status == 200, f"getLatestCommit: {status}")
            if follower.checker.heads.get(writer.did, ("",))[0] != json.loads(content)["rev"]:
                return False
        return True

    first_error(writers)
    until(level, "the follower has every commit", [follower])
    stop.set()
    follower.join(60)
    first_error([follower])


def report(stack, writers, follower, counted, tried):
    client = Client(stack.base_url)
    for writer in writers:
        commit = writer.check(client, signing_key(client, writer.did))
        demand(follower.checker.heads[writer.did] == (commit["rev"], commit["data"]), "the stream's head is another")
    kinds = ", ".join(f"{count} {kind}" for kind, count in counted.items())
    print(
        f"{sum(counted.values())} kills inside a write ({kinds}; {tried} tried),"
        f" {sum(writer.acknowledged for writer in writers)} acknowledged writes,"
        f" {sum(writer.unanswered for writer in writers)} unanswered, {follower.checker.commits} commits on the stream"
        f" over {follower.breaks} broken connections: nothing lost, skipped or repeated"
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--web", default="nginx", choices=["nginx", "caddy"])
    parser.add_argument("--database", default="sqlite", choices=["sqlite", "postgres"])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--port", type=int, default=18080)
    run(parser.parse_args())


if __name__ == "__main__":
    main()
