"""kill -9 of the responder while it imports: the repository is the old one or the new one, never anything between.

    import_kill.py --kills 100 [--records 50000] [--web nginx|caddy] [--database sqlite|postgres] [--seed N]

One account has a repository with records of its own; a CAR is imported over it again and again, and the responder is
killed at a random moment of each import. What getRepo gives right before and right after is compared byte for byte,
and with the CAR's own tree when it changed. A kill counts only when the import was left without an answer. Between,
now and then, `collect` runs, and a few imports are let finish, so that the old and the new one change places.
"""

import argparse
import http.client
import json
import os
import random

import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "Support"))
import repository  # noqa: E402
from stack import PROGRAMS, Stack, wait_until  # noqa: E402
from verify import demand, parse_car, verify_commit, verify_repository  # noqa: E402

ACCOUNT = {"handle": "mover.test", "email": "m@example.com", "password": "a long password"}


class Import(threading.Thread):
    """One call of importRepo. `status` is None when it was left without an answer."""

    def __init__(self, stack, token, path):
        super().__init__(daemon=True)
        self.address = urllib.parse.urlsplit(stack.base_url)
        self.token, self.path = token, path
        self.status = None

    def run(self):
        connection = http.client.HTTPConnection(self.address.hostname, self.address.port, timeout=600)
        try:
            with open(self.path, "rb") as file:
                connection.request(
                    "POST",
                    "/xrpc/com.atproto.repo.importRepo",
                    file,
                    {
                        "Authorization": f"Bearer {self.token}",
                        "Content-Type": "application/vnd.ipld.car",
                        "Content-Length": str(os.path.getsize(self.path)),
                    },
                )
            answer = connection.getresponse()
            self.body = answer.read()
            # The web server's own words when the responder is gone.
            if answer.status not in (502, 503, 504):
                self.status = answer.status
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()


class Rig:
    def __init__(self, stack, directory, records, chance):
        self.stack, self.chance = stack, chance
        status, _, body = stack.call("com.atproto.server.createAccount", ACCOUNT)
        demand(status == 200, f"createAccount: {status} {body[:300]}")
        account = json.loads(body)
        self.did, self.token = account["did"], account["accessJwt"]
        self.key = stack.did_key(self.did)
        # Two repositories that take turns: each import changes everything.
        self.cars, self.roots = [], []
        for number in (0, 1):
            path = os.path.join(directory, f"{number}.car")
            root, _ = repository.write(path, self.did, repository.posts(records + number, 200, seed=number))
            self.cars.append(path)
            self.roots.append(bytes(root))
        self.seconds = self.finish(0)
        self.current = self.export()
        demand(self.data(self.current) == self.roots[0], "the first import did not take")
        verify_repository(self.current, self.did, self.key)
        self.place = 0

    def export(self):
        status, _, content = self.stack.call("com.atproto.sync.getRepo", params=f"?did={self.did}")
        demand(status == 200, f"getRepo: {status} {content[:200]}")
        return content

    def data(self, content):
        root, order, blocks = parse_car(content)
        return bytes(verify_commit(blocks[bytes(root)], self.did, self.key)["data"])

    def finish(self, place):
        """Imports without a kill. Returns how long it took."""
        started = time.monotonic()
        call = Import(self.stack, self.token, self.cars[place])
        call.start()
        call.join()
        demand(call.status == 200, f"importRepo: {call.status}")
        return time.monotonic() - started

    def is_up(self):
        try:
            return self.stack.call("_health")[0] == 200
        except OSError:
            return False

    def kill_once(self):
        """True when the kill left an import without an answer."""
        other = 1 - self.place
        call = Import(self.stack, self.token, self.cars[other])
        call.start()
        time.sleep(self.chance.random() * self.seconds)
        was_alive = call.is_alive()
        if not was_alive:
            # It takes less than it seemed: kills past its end show nothing.
            self.seconds *= 0.9
        for pid in self.stack.pids()["xrpc"]:
            os.kill(pid, signal.SIGKILL)
        call.join(60)
        demand(not call.is_alive(), "the import's connection outlived the responder")
        wait_until(self.is_up, what="the responder is back")
        content = self.export()
        if content != self.current:
            # Not the old one: then it is the new one, whole.
            demand(self.data(content) == self.roots[other], "a repository that nobody made")
            _, found, _ = verify_repository(content, self.did, self.key)
            demand(len(found) > 0, "an empty repository")
            self.current, self.place = content, other
            return "after" if call.status is None else None
        demand(call.status != 200, "an acknowledged import was lost")
        return "before" if was_alive and call.status is None else None


def run(arguments):
    chance = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory(prefix="skystead-import-") as directory:
        stack = Stack(
            web=arguments.web, database=arguments.database, directory=os.path.join(directory, "s"), port=arguments.port
        )
        os.makedirs(os.path.join(directory, "s"), exist_ok=True)
        with stack:
            rig = Rig(stack, directory, arguments.records, chance)
            print(f"an import takes {rig.seconds:.2f} s", flush=True)
            counted, tried = {"before": 0, "after": 0}, 0
            while sum(counted.values()) < arguments.kills:
                tried += 1
                demand(tried < arguments.kills * 4 + 10, "too few kills were inside an import")
                kind = rig.kill_once()
                if kind:
                    counted[kind] += 1
                if tried % 10 == 0:
                    subprocess.run([PROGRAMS / "skystead-worker", "collect"], env=stack.environment, check=True)
                    print(f"{sum(counted.values())} kills", flush=True)
            # What was killed does not stand in the way of what is let finish.
            other = 1 - rig.place
            rig.finish(other)
            content = rig.export()
            demand(rig.data(content) == rig.roots[other], "the last import did not take")
            _, found, _ = verify_repository(content, rig.did, rig.key)
            demand(len(found) == arguments.records + other, "records are missing")
            subprocess.run([PROGRAMS / "skystead-worker", "collect"], env=stack.environment, check=True)
            demand(rig.export() == content, "collecting changed the repository")
            print(
                f"{sum(counted.values())} kills inside an import of {arguments.records} records ({counted['before']} left"
                f" the old one, {counted['after']} the new one; {tried} tried): nothing between"
            )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--records", type=int, default=50_000)
    parser.add_argument("--web", default="nginx", choices=["nginx", "caddy"])
    parser.add_argument("--database", default="sqlite", choices=["sqlite", "postgres"])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--port", type=int, default=0)
    run(parser.parse_args())


if __name__ == "__main__":
    main()
