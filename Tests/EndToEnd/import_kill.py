"""kill -9 of the responder while it imports: the repository is the old one or the new one, never anything between.

    import_kill.py --kills 100 [--records 50000] [--web nginx|caddy] [--database sqlite|postgres] [--seed N]

One account has a repository with records and blobs; a CAR is imported over it again and again, and the responder is
killed in each import: at a random moment of it, at a random moment of its last tenth, or as soon as an observer in the
database sees the new repository there. The last kind is needed to see the other side: between the transaction that
puts the new repository in place and the answer there is less than a millisecond of an import of seconds. A kill counts
only when the import was left without an answer; a run without both outcomes fails.

After each kill everything that tells of a repository is compared with the old one or the new one: getRepo byte by
byte, the rows of the database (read beside the service), blobs and which are missing, and the event stream, which has
one #sync when the new one is there and nothing when it is not. After a kill past the change the client asks again, as
it would. What the killed imports have left in the database is collected now and then.
"""

import argparse
import http.client
import json
import os
import random
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "Support"))
import repository  # noqa: E402
from stack import PROGRAMS, Stack, wait_until  # noqa: E402
from verify import FirehoseChecker, demand, parse_car, verify_commit, verify_repository  # noqa: E402
from websockets.sync.client import connect  # noqa: E402

ACCOUNT = {"handle": "mover.test", "email": "m@example.com", "password": "a long password"}
OTHER = {"handle": "other.test", "email": "o@example.com", "password": "a long password"}
PICTURE = "com.example.picture"
# Tables whose rows belong to a repository by its internal id.
PARTS = ("record", "mst_node", "mst_pack", "backlink", "blob_reference")
# When a kill is fired. Of four imports one is killed by the observer.
WAYS = ("anywhere", "change", "anywhere", "end")


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


class SQLiteObserver:
    """Reads the service's database beside it."""

    hex = "lower(hex({}))"

    def __init__(self, stack):
        self.path = stack.data_dir / "skystead.sqlite"
        self.connection = sqlite3.connect(self.path, timeout=20, isolation_level=None)

    def rows(self, statement):
        found = self.connection.execute(statement)
        return [tuple("" if field is None else str(field) for field in row) for row in found]

    def wait_for_change(self, statement, call):
        """Returns when `statement` gives something else than at first, or when `call` has ended."""
        first = self.connection.execute(statement).fetchall()
        while self.connection.execute(statement).fetchall() == first and call.is_alive():
            pass

    def settle(self):
        """A transaction of a process that ended has ended with it."""

    def close(self):
        self.connection.close()


class PostgresObserver:
    """The same by psql, since a driver is not among the packages of the tests."""

    hex = "encode({}, 'hex')"

    def __init__(self, stack):
        self.command = ["psql", "-qAtX", "-v", "ON_ERROR_STOP=1", stack.environment["SKYSTEAD_DATABASE_URL"]]
        self.process = None

    def rows(self, statement):
        done = subprocess.run([*self.command, "-F", "\t", "-c", statement], capture_output=True, text=True, check=True)
        return [tuple(line.split("\t")) for line in done.stdout.splitlines()]

    def wait_for_change(self, statement, call):
        # Asks in the server, with a new snapshot for each question. A notice comes at once; the rest has time.
        loop = f"""
            DO $$
            DECLARE first text := ({statement}); until timestamptz := clock_timestamp() + interval '60 seconds';
            BEGIN
                WHILE ({statement}) = first AND clock_timestamp() < until LOOP END LOOP;
                RAISE NOTICE 'changed';
            END $$;
            """
        self.process = subprocess.Popen([*self.command, "-c", loop], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.said = os.read(self.process.stderr.fileno(), 1_000)

    def settle(self):
        """Waits until the server has ended what it did for a process that is gone: a COMMIT may be on its way."""
        if self.process:
            with self.process.stderr:
                said = self.said + self.process.stderr.read()
            demand(self.process.wait() == 0 and b"changed" in said, f"the observer ended: {said[:300]}")
            self.process = None
        busy = """
            SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
            AND backend_type = 'client backend'
            AND state <> 'idle'
            """
        wait_until(lambda: not self.rows(busy), what="the transactions of the killed responder have ended")

    def close(self):
        pass


class Target:
    """A CAR and what must be there when it is in place."""

    def __init__(self, path, did, records, blobs, seed):
        self.path, self.blobs = path, blobs  # the CIDs that its records name
        pictures = [
            (f"{PICTURE}/{number:04}", {"$type": PICTURE, "picture": blob})
            for number, blob in enumerate(blobs.values())
        ]
        data, self.count = repository.write(path, did, [*repository.posts(records, 200, seed=seed), *pictures])
        self.data = bytes(data)


class Rig:
    def __init__(self, stack, stream, directory, records, chance):
        self.stack, self.stream, self.chance = stack, stream, chance
        self.did, self.token = self.sign_up(ACCOUNT)
        self.other, self.other_token = self.sign_up(OTHER)
        self.key = stack.did_key(self.did)
        self.observer = (PostgresObserver if stack.database_name else SQLiteObserver)(stack)
        self.checker = FirehoseChecker()
        # One blob in each repository, one in both, one in none, and one that the second names and nobody has.
        first, second, both, neither = (self.upload(name) for name in ("first", "second", "both", "neither"))
        absent = {"$type": "blob", "mimeType": "image/x-test", "size": 6}
        absent["ref"] = repository.cbrrr.CID(repository.cid_bytes(b"absent", codec=0x55))
        self.uploaded = [blob["ref"].encode() for blob in (first, second, both, neither)]
        self.missing = absent["ref"].encode()
        # Two repositories that take turns: each import changes everything.
        self.targets = [
            Target(
                os.path.join(directory, f"{number}.car"),
                self.did,
                records + number,
                {blob["ref"].encode(): blob for blob in blobs},
                seed=number,
            )
            for number, blobs in enumerate(((first, both), (second, both, absent)))
        ]
        self.durations = []
        self.kills = self.tried = 0
        self.outcomes = {"before": 0, "after": 0, "answered": 0}
        self.place, self.current = None, None
        self.events_of_mover()
        self.finish(0)

    def sign_up(self, body):
        status, _, content = self.stack.call("com.atproto.server.createAccount", body)
        demand(status == 200, f"createAccount: {status} {content[:300]}")
        account = json.loads(content)
        return account["did"], account["accessJwt"]

    def upload(self, name):
        words = {"raw": f"blob {name}".encode(), "headers": {"Content-Type": "image/x-test"}}
        blob = json.loads(self.ask("com.atproto.repo.uploadBlob", **words))["blob"]
        return blob | {"ref": repository.cbrrr.CID.decode(blob["ref"]["$link"])}

    def ask(self, method, params="", **words):
        status, _, content = self.stack.call(method, token=self.token, params=params, **words)
        demand(status == 200, f"{method}: {status} {content[:300]}")
        return content

    # Imports

    def finish(self, place):
        """An import that nobody kills."""
        started = time.monotonic()
        call = Import(self.stack, self.token, self.targets[place].path)
        call.start()
        call.join()
        demand(call.status == 200, f"importRepo: {call.status}")
        self.durations.append(time.monotonic() - started)
        demand(self.look() == place, "an import that was answered is not there")

    def is_up(self):
        try:
            return self.stack.call("_health")[0] == 200
        except OSError:
            return False

    def kill_once(self, way):
        """What became of an import that was killed: "before" or "after" when it was left without an answer."""
        other = 1 - self.place
        # Looked up before: the kill itself must be quick.
        pids = self.stack.pids()["xrpc"]
        seconds = statistics.median(self.durations)
        call = Import(self.stack, self.token, self.targets[other].path)
        head = f"SELECT {self.observer.hex.format('commit_cid')} FROM repo WHERE did = '{self.did}'"
        call.start()
        if way == "change":
            self.observer.wait_for_change(head, call)
        else:
            time.sleep(seconds * (self.chance.random() if way == "anywhere" else self.chance.uniform(0.9, 1.05)))
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        call.join(60)
        demand(not call.is_alive(), "the import's connection outlived the responder")
        wait_until(self.is_up, what="the responder is back")
        self.observer.settle()
        was = self.place
        now = self.look()
        if call.status is None:
            return "before" if now == was else "after"
        demand(call.status == 200, f"importRepo: {call.status} {call.body[:300]}")
        demand(now == other, "an acknowledged import was lost")
        return "answered"

    # What is there

    def look(self):
        """Which of the two repositories is in place, once everything has agreed with it."""
        content = self.ask("com.atproto.sync.getRepo", f"?did={self.did}")
        events = self.events_of_mover()
        if content == self.current:
            demand(not events, f"the repository is the old one, and the stream says {events}")
        else:
            root, _, blocks = parse_car(content)
            data = bytes(verify_commit(blocks[bytes(root)], self.did, self.key)["data"])
            places = [place for place, target in enumerate(self.targets) if target.data == data]
            demand(places, "a repository that nobody made")
            commit, found, blocks = verify_repository(content, self.did, self.key)
            demand(len(found) == self.targets[places[0]].count, "records are missing")
            demand(self.current is None or commit["rev"] > self.commit["rev"], "rev does not rise")
            self.current, self.place = content, places[0]
            self.commit, self.root = commit, root
            self.records = {(key.hex(), bytes(cid).hex()) for key, cid in found.items()}
            self.nodes = len(blocks) - 1 - len(set(map(bytes, found.values())))
            self.size = sum(len(blocks[bytes(cid)]) for cid in found.values())
            self.check_events(events)
        self.check_answers()
        self.check_rows()
        return self.place

    def events_of_mover(self):
        """The account's new events: what came before a commit that another account makes now."""
        record = {"$type": PICTURE, "at": str(time.monotonic_ns())}
        body = {"repo": self.other, "collection": PICTURE, "record": record}
        status, _, content = self.stack.call("com.atproto.repo.createRecord", body, self.other_token)
        demand(status == 200, f"createRecord: {status} {content[:300]}")
        rev, events = json.loads(content)["commit"]["rev"], []
        while True:
            header, event = self.checker.take(self.stream.recv(timeout=30))
            if event.get("did", event.get("repo")) == self.did:
                events.append((header["t"], event))
            if header["t"] == "#commit" and event["repo"] == self.other and event["rev"] == rev:
                return events

    def check_events(self, events):
        """One #sync, with the commit that is there."""
        kinds = [kind for kind, _ in events]
        demand(kinds == ["#sync"], f"the repository is the new one, and the stream says {kinds}")
        event = events[0][1]
        root, _, blocks = parse_car(event["blocks"])
        demand((event["rev"], root) == (self.commit["rev"], self.root), "the #sync is of another commit")
        verify_commit(blocks[bytes(root)], self.did, self.key)

    def check_answers(self):
        target = self.targets[self.place]
        head = json.loads(self.ask("com.atproto.sync.getLatestCommit", f"?did={self.did}"))
        demand(head == {"cid": self.root.encode(), "rev": self.commit["rev"]}, f"getLatestCommit says {head}")
        said = json.loads(self.ask("com.atproto.server.checkAccountStatus"))
        there = [cid for cid in target.blobs if cid in self.uploaded]
        wanted = (head["cid"], head["rev"], target.count, len(target.blobs), len(there))
        names = ("repoCommit", "repoRev", "indexedRecords", "expectedBlobs", "importedBlobs")
        demand(tuple(said[name] for name in names) == wanted, f"checkAccountStatus says {said}")
        missing = [one["cid"] for one in json.loads(self.ask("com.atproto.repo.listMissingBlobs"))["blobs"]]
        demand(missing == [cid for cid in target.blobs if cid not in self.uploaded], f"missing blobs {missing}")
        for cid in self.uploaded:
            status = self.stack.call("com.atproto.sync.getBlob", params=f"?did={self.did}&cid={cid}")[0]
            demand(status == (200 if cid in target.blobs else 400), f"getBlob {cid}: {status}")

    def check_rows(self):
        """The rows of the account's repository are its records and nothing else; what is no repository's is known."""
        read, hexed = self.observer.rows, self.observer.hex.format
        ((id,),) = read(f"SELECT id FROM repo WHERE did = '{self.did}'")
        found = read(f"SELECT {hexed('key')}, {hexed('cid')} FROM record WHERE repo = {id}")
        demand(len(found) == len(self.records) and set(found) == self.records, "rows of other records")
        demand(read(f"SELECT count(*) FROM mst_node WHERE repo = {id}") == [(str(self.nodes),)], "rows of other nodes")
        demand(read(f"SELECT count(*) FROM mst_pack WHERE repo = {id}") == [("0",)], "packs of commits before")
        bytes_ = read(f"SELECT record_bytes FROM repo WHERE id = {id}")
        demand(bytes_ == [(str(self.size),)], f"record_bytes {bytes_}, not {self.size}")
        named = sorted(cid for (cid,) in read(f"SELECT {hexed('cid')} FROM blob_reference WHERE repo = {id}"))
        wanted = [bytes(repository.cbrrr.CID.decode(cid)).hex() for cid in self.targets[self.place].blobs]
        demand(named == sorted(wanted), "references of other blobs")
        for cid, temporary in read(f"SELECT {hexed('cid')}, temporary FROM blob WHERE did = '{self.did}'"):
            demand(temporary == ("0" if cid in wanted else "1"), f"blob {cid} is temporary: {temporary}")
        known = {one for (one,) in read("SELECT id FROM repo UNION ALL SELECT repo FROM repo_part")}
        demand(self.owners() <= known, "rows that no repository has and no collector will find")

    def owners(self):
        """The internal ids that rows belong to."""
        union = " UNION ".join(f"SELECT repo FROM {table}" for table in PARTS)
        return {id for (id,) in self.observer.rows(union)}

    def collect(self):
        subprocess.run([PROGRAMS / "skystead-worker", "collect"], env=self.stack.environment, check=True)

    # The run

    def run(self, kills):
        while self.kills < kills:
            self.tried += 1
            demand(self.tried < kills * 4 + 20, f"too few kills were inside an import: {self.outcomes}")
            outcome = self.kill_once(WAYS[self.kills % len(WAYS)])
            self.outcomes[outcome] += 1
            if outcome == "answered":
                continue
            self.kills += 1
            if outcome == "after":
                # The client knows nothing of it and asks again.
                self.finish(self.place)
            if self.kills % 10 == 0:
                self.collect()
                demand(self.look() == self.place, "collecting changed the repository")
                print(f"{self.kills} kills: {self.outcomes}", flush=True)
        # What was killed does not stand in the way of what is let finish, and nothing of it stays.
        self.finish(1 - self.place)
        self.collect()
        demand(self.look() == self.place, "collecting changed the repository")
        repos = {id for (id,) in self.observer.rows("SELECT id FROM repo")}
        demand(self.owners() <= repos, "something of the killed imports is still there")
        demand(self.observer.rows("SELECT repo FROM repo_part") == [], "something is still to be collected")
        least = 5 if kills >= 100 else 1
        for outcome in ("before", "after"):
            demand(self.outcomes[outcome] >= least, f"too few kills {outcome} the change: {self.outcomes}")


def run(arguments):
    chance = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory(prefix="skystead-import-") as directory:
        stack = Stack(
            web=arguments.web, database=arguments.database, directory=os.path.join(directory, "s"), port=arguments.port
        )
        os.makedirs(os.path.join(directory, "s"), exist_ok=True)
        started = time.monotonic()
        with stack:
            url = stack.base_url.replace("http", "ws", 1) + "/xrpc/com.atproto.sync.subscribeRepos?cursor=0"
            with connect(url, max_size=8 << 20, compression=None) as stream:
                rig = Rig(stack, stream, directory, arguments.records, chance)
                try:
                    print(f"an import takes {rig.durations[0]:.2f} s", flush=True)
                    rig.run(arguments.kills)
                finally:
                    rig.observer.close()
            outcomes = rig.outcomes
            print(
                f"{rig.kills} kills inside an import of {arguments.records} records ({outcomes['before']} left the old"
                f" one, {outcomes['after']} the new one), {outcomes['answered']} right after the answer;"
                f" {time.monotonic() - started:.0f} s: nothing between"
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
