#!/usr/bin/env python3
"""Two machines of one service: they share a PostgreSQL and an S3 store, and each has its responder and its stream.

    two_machines.py [--kills 20] [--subscribers 50] [--seed N]

Three network namespaces, made here and removed at the end: the store, with PostgreSQL, S3 and the PLC directory's
double, and two machines with nginx and everything that `skystead up` starts. Clients write through both machines to
accounts of their own; subscribers follow both streams and take their cursor up whenever a connection breaks; responders
and stream workers of both are killed meanwhile.

Afterwards: every acknowledged write is there, read at the other machine; every subscriber of either machine saw every
event of the database once, in order, with the same bytes; every picture that came in at either machine is read at both.
"""

import argparse
import ctypes
import hashlib
import http.client
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Support"))
import crash  # noqa: E402
from s3 import S3  # noqa: E402
from stack import ROOT, Stack, start_plc  # noqa: E402
from verify import decode_frame, demand  # noqa: E402
from websockets.exceptions import ConnectionClosed, InvalidHandshake  # noqa: E402
from websockets.sync.client import connect  # noqa: E402

NETWORK = "10.213.7"
STORE = f"{NETWORK}.1"
PORT = 18080
POSTGRES_PORT = 21398
CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)


class Namespace:
    """A network namespace. `enter` puts the calling thread, and what it starts, into it."""

    def __init__(self, name):
        self.name = f"sky-{os.getpid()}-{name}"
        self.path = f"/run/netns/{self.name}"
        ip("netns", "add", self.name)
        self.ip("link", "set", "lo", "up")

    def ip(self, *words):
        ip("-n", self.name, *words)

    def enter(self):
        file = os.open(self.path, os.O_RDONLY)
        try:
            if LIBC.setns(file, CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
        finally:
            os.close(file)

    @property
    def prefix(self):
        return ["nsenter", f"--net={self.path}"]

    def remove(self):
        ip("netns", "delete", self.name)


def ip(*words):
    subprocess.run(["ip", *words], check=True)


def network():
    """The store with a bridge, and two machines on it."""
    store = Namespace("store")
    store.ip("link", "add", "bridge", "type", "bridge")
    store.ip("addr", "add", f"{STORE}/24", "dev", "bridge")
    store.ip("link", "set", "bridge", "up")
    machines = []
    for number, name in enumerate(["a", "b"]):
        machine = Namespace(name)
        ip("link", "add", f"up-{name}", "netns", store.name, "type", "veth", "peer", "name", "eth0", "netns", machine.name)
        store.ip("link", "set", f"up-{name}", "master", "bridge", "up")
        machine.ip("addr", "add", f"{NETWORK}.{number + 2}/24", "dev", "eth0")
        machine.ip("link", "set", "eth0", "up")
        machines.append(machine)
    return store, machines


class Writer(crash.Writer):
    """As the crash rig's, on a machine: its thread lives there."""

    def __init__(self, namespace, base, number, stop):
        super().__init__(base, number, stop)
        self.namespace = namespace

    def run(self):
        self.namespace.enter()
        super().run()


class Subscriber(threading.Thread):
    """Follows one machine's stream from its beginning, and keeps the number and the digest of every frame."""

    def __init__(self, namespace, base, stop):
        super().__init__(daemon=True)
        self.namespace = namespace
        self.url = base.replace("http", "ws", 1) + "/xrpc/com.atproto.sync.subscribeRepos?cursor="
        self.stop = stop
        self.seen = []
        self.breaks = 0
        self.error = None

    @property
    def seq(self):
        return self.seen[-1][0] if self.seen else 0

    def run(self):
        self.namespace.enter()
        try:
            while not self.stop.is_set():
                try:
                    self.follow()
                except (OSError, ConnectionClosed, InvalidHandshake, EOFError):
                    self.breaks += 1
                    self.stop.wait(0.01)
        except BaseException as error:
            self.error = error

    def follow(self):
        with connect(self.url + str(self.seq), max_size=6_000_000, open_timeout=10) as socket:
            while not self.stop.is_set():
                try:
                    frame = socket.recv(timeout=0.2)
                except TimeoutError:
                    continue
                header, event = decode_frame(frame)
                demand(header.get("op") == 1 and header["t"] != "#info", f"{header} {event}")
                demand(event["seq"] > self.seq, f"seq {event['seq']} after {self.seq}")
                self.seen.append((event["seq"], hashlib.sha256(frame).hexdigest()))


def events(url):
    """The number and digest of every event in the database."""
    rows = subprocess.run(
        ["psql", "-qAt", url, "-c", "SELECT seq, encode(sha256(payload), 'hex') FROM event ORDER BY seq"],
        check=True, capture_output=True, text=True,
    ).stdout.split()
    return [(int(seq), digest) for seq, digest in (row.split("|") for row in rows)]


def on(namespace, body):
    """Runs `body` on a thread of its own in `namespace`; returns what it returns."""
    result = {}

    def run():
        namespace.enter()
        try:
            result["value"] = body()
        except BaseException as error:
            result["error"] = error

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if "error" in result:
        raise result["error"]
    return result["value"]


def postgres(action):
    environment = {
        **os.environ, "SKYSTEAD_POSTGRES_ADDRESS": STORE, "SKYSTEAD_POSTGRES_PORT": str(POSTGRES_PORT),
        "SKYSTEAD_POSTGRES_DIR": f"/tmp/skystead-two-machines-{os.getpid()}",
    }
    done = subprocess.run([ROOT / "scripts/postgres", action], env=environment, capture_output=True, text=True)
    demand(done.returncode == 0, f"scripts/postgres {action}: {done.stderr}")
    if action == "stop":
        shutil.rmtree(environment["SKYSTEAD_POSTGRES_DIR"], ignore_errors=True)
    return done.stdout.strip()


def start_machines(directory, machines, plc_url, s3):
    url = f"postgresql://postgres@{STORE}:{POSTGRES_PORT}/postgres"
    subprocess.run(["psql", "-q", url, "-c", "CREATE DATABASE home"], check=True)
    database_url = url.rsplit("/", 1)[0] + "/home"
    stacks = []
    for number, machine in enumerate(machines):
        private = [plc_url.removeprefix("http://"), f"{STORE}:{s3.port}"]
        stack = Stack(
            directory=directory / str(number), port=PORT, database_url=database_url, plc_url=plc_url,
            prefix=machine.prefix, settings={"SKYSTEAD_ALLOW_PRIVATE_HOSTS": ",".join(private), **s3.settings},
        )
        if stacks:
            # The keys are the service's, not the machine's.
            shutil.copytree(stacks[0].data_dir / "keys", stack.data_dir / "keys")
            (stack.data_dir / "keys").chmod(0o700)
        stack.start()
        stacks.append(stack)
    return database_url, stacks


class BlobWriter(Writer):
    """Uploads pictures and names each in a record; what was acknowledged must be there, at both machines."""

    def __init__(self, *words):
        super().__init__(*words)
        self.pictures = {}  # CID: SHA-256

    def step(self):
        picture = b"\x89PNG\r\n\x1a\n" + self.random.randbytes(self.random.randint(1, 200_000))
        self.in_flight = True
        try:
            status, body = self.upload(picture)
            demand(status == 200, f"uploadBlob: {status} {body[:200]}")
            blob = json.loads(body)["blob"]
            record = {"$type": "com.example.picture", "image": blob}
            status, body = self.client.call("POST", "/xrpc/com.atproto.repo.createRecord", {
                "repo": self.did, "collection": "com.example.picture", "record": record}, self.token)
            demand(status == 200, f"createRecord: {status} {body[:200]}")
        except crash.Unanswered:
            self.unanswered += 1
            self.stop.wait(0.005)
            return
        finally:
            self.in_flight = False
        self.acknowledged += 1
        self.pictures[blob["ref"]["$link"]] = hashlib.sha256(picture).digest()

    def upload(self, picture):
        connection = http.client.HTTPConnection(self.client.address.hostname, self.client.address.port, timeout=30)
        try:
            connection.request("POST", "/xrpc/com.atproto.repo.uploadBlob", picture, {
                "Content-Type": "image/png", "Authorization": "Bearer " + self.token})
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise crash.Unanswered(str(error)) from None
        finally:
            connection.close()
        if answer.status in (502, 503, 504):
            raise crash.Unanswered(f"{answer.status}")
        return answer.status, body

    def check_pictures(self, stack):
        for cid, digest in self.pictures.items():
            status, headers, body = stack.call("com.atproto.sync.getBlob", params=f"?did={self.did}&cid={cid}")
            demand(status == 200 and hashlib.sha256(body).digest() == digest, f"getBlob {cid}: {status}")
            demand(headers["Content-Security-Policy"] == "default-src 'none'; sandbox", "the blob is not in a sandbox")


def kill(stack, kind, writers, machine):
    """Kills every process of `kind` on one machine, of which a writer waits for an answer. Returns whether it was
    inside a write, or broke the connections of subscribers."""
    own = [writer for writer in writers if writer.namespace is machine]
    crash.until(lambda: any(writer.in_flight for writer in own), "a write in flight", writers)
    unanswered = sum(writer.unanswered for writer in own)
    for pid in stack.pids()[kind]:
        os.kill(pid, 9)
    before = [writer.acknowledged for writer in writers]
    crash.until(
        lambda: all(writer.acknowledged > count + 1 for writer, count in zip(writers, before)),
        f"writers answered after the kill of {kind}", writers,
    )
    return kind == "stream" or sum(writer.unanswered for writer in own) > unanswered


def load(arguments, machines, stacks, database_url):
    chance = random.Random(arguments.seed)
    stop = threading.Event()
    base = f"http://127.0.0.1:{PORT}"
    writers = [Writer(machines[number % 2], base, number, stop) for number in range(arguments.writers)]
    picture_writers = [BlobWriter(machine, base, 1_000 + number, stop) for number, machine in enumerate(machines)]
    everyone = [*writers, *picture_writers]
    for writer in everyone:
        on(writer.namespace, lambda writer=writer: writer.sign_up(".test"))
    subscribers = [Subscriber(machines[number % 2], base, stop) for number in range(arguments.subscribers)]
    threads = [*everyone, *subscribers]
    for thread in threads:
        thread.start()
    inside, tried = 0, 0
    try:
        while inside < arguments.kills:
            time.sleep(chance.random() * 0.3)
            kind, number = chance.choice(["xrpc", "stream", "web"]), chance.randrange(2)
            tried += 1
            if kill(stacks[number], kind, everyone, machines[number]):
                inside += 1
                print(f"kill {inside} of {arguments.kills}: {kind} of machine {'ab'[number]}", flush=True)
            demand(tried < arguments.kills * 4, "too few kills were inside a write")
        for writer in everyone:
            writer.stop = threading.Event()
            writer.stop.set()
        for writer in everyone:
            writer.join(60)
        crash.first_error(threads)
        wanted = events(database_url)
        crash.until(lambda: all(each.seq >= wanted[-1][0] for each in subscribers), "every subscriber has all", subscribers)
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
    crash.first_error(threads)
    for number, subscriber in enumerate(subscribers):
        demand(subscriber.seen == wanted, f"subscriber {number}: {len(subscriber.seen)} events, {len(wanted)} in the database")
    for writer in writers:
        # At the machine where it was not written.
        other = machines[1 - machines.index(writer.namespace)]
        on(other, lambda writer=writer: writer.check(client := crash.Client(base), crash.signing_key(client, writer.did)))
    for stack, machine in zip(stacks, machines):
        for writer in picture_writers:
            on(machine, lambda stack=stack, writer=writer: writer.check_pictures(stack))
    said = stacks[0].tool("blobs", "check")
    demand("all blobs are what they should be" in said, said)
    print(
        f"{inside} kills on two machines ({tried} tried), {sum(writer.acknowledged for writer in everyone)} acknowledged"
        f" writes, {sum(writer.unanswered for writer in everyone)} unanswered; {len(wanted)} events, the same at"
        f" {len(subscribers)} subscribers over {sum(each.breaks for each in subscribers)} broken connections: nothing"
        f" lost, skipped or repeated; {sum(len(each.pictures) for each in picture_writers)} pictures at both machines"
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--subscribers", type=int, default=50)
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        print("SKIPPED: network namespaces need root", file=sys.stderr)
        return
    directory = Path(tempfile.mkdtemp(prefix="sky2-"))
    store, machines = network()
    stacks, plc, has_postgres = [], None, False
    try:
        store.enter()
        has_postgres = True
        postgres("start")
        plc, plc_url = start_plc(STORE)
        with S3(address=STORE) as s3:
            try:
                database_url, stacks = start_machines(directory, machines, plc_url, s3)
                load(arguments, machines, stacks, database_url)
                demand(s3.keys(), "no blob is in the store")
            finally:
                for stack in stacks:
                    stack.stop()
    finally:
        if plc:
            plc.terminate()
            plc.wait()
        if has_postgres:
            postgres("stop")
        for namespace in [store, *machines]:
            namespace.remove()
    shutil.rmtree(directory)


if __name__ == "__main__":
    main()
