"""Relays: they are told of news, and what they had seen before a restore does not lose them. On both databases.

    .build/venv/bin/python Tests/EndToEnd/test_relay.py [-v]
"""

import asyncio
import json
import shutil
import subprocess
import sys
import time
import unittest
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Support"))

import libipld
import websockets

from stack import PROGRAMS, ROOT, Stack, free_port, wait_until


class RelayDouble:
    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, ROOT / "Tests/Support/relay.py", "--port", "0"], stdout=subprocess.PIPE, text=True
        )
        self.url = self.process.stdout.readline().split()[-1].replace("127.0.0.1", "localhost")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()

    @property
    def state(self):
        with urllib.request.urlopen(f"{self.url}/double/state", timeout=10) as answer:
            return json.load(answer)

    @property
    def asked(self):
        return [tuple(row[1:]) for row in self.state["asked"]]

    def change(self, **values):
        request = urllib.request.Request(f"{self.url}/double/state", data=json.dumps(values).encode(), method="POST")
        with urllib.request.urlopen(request, timeout=10):
            pass


def account(stack, name):
    body = {"handle": f"{name}.test", "email": f"{name}@example.com", "password": "long enough"}
    status, _, answer = stack.call("com.atproto.server.createAccount", body)
    assert status == 200, answer
    return json.loads(answer)


def post(stack, session, text):
    record = {"$type": "app.bsky.feed.post", "text": text, "createdAt": "2026-01-01T00:00:00Z"}
    body = {"repo": session["did"], "collection": "app.bsky.feed.post", "record": record}
    status, _, answer = stack.call("com.atproto.repo.createRecord", body, token=session["accessJwt"])
    assert status == 200, answer
    return json.loads(answer)


async def events(stack, cursor, count):
    """The first `count` events after `cursor`, as (header, payload), or what ended the stream."""
    url = f"ws://localhost:{stack.port}/xrpc/com.atproto.sync.subscribeRepos?cursor={cursor}"
    found = []
    async with websockets.connect(url, max_size=None) as stream:
        while len(found) < count:
            try:
                frame = await asyncio.wait_for(stream.recv(), 20)
            except websockets.ConnectionClosed:
                break
            header, payload = libipld.decode_dag_cbor_multi(frame)
            found.append((header, payload))
    return found


def stack_with(relay, database, directory=None):
    stack = Stack(database=database, directory=directory, settings={"SKYSTEAD_CRAWLERS": relay.url})
    stack.environment["SKYSTEAD_ALLOW_PRIVATE_HOSTS"] += "," + relay.url.removeprefix("http://")
    return stack


class RelayTests(unittest.TestCase):
    def test_is_told_of_news_and_not_too_often(self):
        for database in ("sqlite", "postgres"):
            with self.subTest(database=database), RelayDouble() as relay, stack_with(relay, database) as stack:
                self.assertIn("pending    no", stack.tool("crawlers"))
                self.assertEqual(relay.asked, [])
                began = time.monotonic()
                alice = account(stack, "alice")
                wait_until(lambda: relay.asked, what="a request of the worker")
                self.assertLess(time.monotonic() - began, 5)
                self.assertEqual(relay.asked, [("localhost", 200)])
                post(stack, alice, "hello")
                # Pending, and not asked: the interval is 20 minutes.
                wait_until(lambda: "pending    yes, not before" in stack.tool("crawlers"), what="something pending")
                self.assertEqual(len(relay.asked), 1)
                self.assertIn("was asked not long ago", stack.tool("crawlers", "notify"))
                self.assertEqual(len(relay.asked), 1)
                self.assertIn("accepted (200)", stack.tool("crawlers", "notify", "--now"))
                self.assertEqual(len(relay.asked), 2)
                self.assertIn("pending    no", stack.tool("crawlers"))
                self.assertIn("crawler.told", stack.log("notify-crawlers"))

    def test_a_refusal_is_shown_and_not_repeated(self):
        with RelayDouble() as relay, stack_with(relay, "sqlite") as stack:
            relay.change(status=400)
            account(stack, "alice")
            wait_until(lambda: relay.asked, what="a request of the worker")
            wait_until(lambda: "HostBanned" in stack.tool("crawlers"), what="the refusal")
            shown = stack.tool("crawlers")
            self.assertIn("error      HostBanned: this host is banned (1 in a row)", shown)
            self.assertIn("pending    yes, not before", shown)
            self.assertEqual(relay.asked, [("localhost", 400)])
            done = subprocess.run(
                [PROGRAMS / "skystead", "crawlers", "notify", "--now"], env=stack.environment, capture_output=True,
                text=True,
            )
            self.assertEqual(done.returncode, 1)
            self.assertIn("refused (400): HostBanned", done.stdout)

    def test_a_relay_that_is_away(self):
        with RelayDouble() as relay, Stack() as stack:
            nobody = f"http://localhost:{free_port()}"
            stack.environment["SKYSTEAD_CRAWLERS"] = nobody
            stack.environment["SKYSTEAD_ALLOW_PRIVATE_HOSTS"] += "," + nobody.removeprefix("http://")
            # A file of the running stack counts where the environment says nothing: here it says something else.
            done = subprocess.run(
                [PROGRAMS / "skystead", "crawlers", "notify"], env=stack.environment, capture_output=True, text=True
            )
            self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
            self.assertIn("did not answer: unreachable", done.stdout)
            self.assertEqual(relay.asked, [])

    def test_without_crawlers(self):
        with Stack() as stack:
            for words in (["crawlers"], ["crawlers", "notify"]):
                done = subprocess.run(
                    [PROGRAMS / "skystead", *words], env=stack.environment, capture_output=True, text=True
                )
                self.assertEqual(done.returncode, 1)
                self.assertIn("set SKYSTEAD_CRAWLERS", done.stderr)

    def test_after_a_restore_nobody_is_lost(self):
        """A backup is put back. The relay has seen events that the restored server never heard of."""
        with RelayDouble() as relay:
            stack = stack_with(relay, "sqlite")
            with stack:
                alice = account(stack, "alice")
                bob = account(stack, "bob")
                post(stack, alice, "before the backup")
                backup = stack.directory / "backup.sqlite"
                subprocess.run(
                    [sys.executable, "-c", "import sqlite3,sys; sqlite3.connect(sys.argv[1]).execute("
                     "'VACUUM INTO ?', (sys.argv[2],))", stack.data_dir / "skystead.sqlite", backup], check=True,
                )
                for number in range(5):
                    last = post(stack, alice, f"after the backup {number}")
                newest = int(stack.tool("sequence").split()[1])
                seen = asyncio.run(events(stack, newest - 1, 1))
                self.assertEqual(seen[0][1]["seq"], newest)
                relay.change(seq=newest)

                # The service stops, the backup takes the database's place.
                plc, stack.plc_process = stack.plc_process, None
                stack.stop()
                stack.plc_process = plc
                for ending in ("", "-wal", "-shm"):
                    Path(f"{stack.data_dir}/skystead.sqlite{ending}").unlink(missing_ok=True)
                shutil.copy(backup, stack.data_dir / "skystead.sqlite")
                stack.start()

                # As it was before this command existed: the relay is turned away.
                turned_away = asyncio.run(events(stack, newest, 1))
                self.assertEqual(turned_away[0][0]["op"], -1)
                self.assertEqual(turned_away[0][1]["error"], "FutureCursor")
                said = subprocess.run(
                    [PROGRAMS / "skystead", "sequence"], env=stack.environment, capture_output=True, text=True
                )
                self.assertEqual(said.returncode, 1)
                self.assertIn("it would be told FutureCursor", said.stdout)

                said = stack.tool("restore-finish")
                self.assertIn(f"{relay.url}  has seen {newest}", said)
                self.assertIn("2 accounts announced, 2 of them with #sync", said)

                # The relay comes back with its cursor: no error, each account with a #sync of a greater revision.
                found = asyncio.run(events(stack, newest, 4))
                self.assertEqual([header["op"] for header, _ in found], [1] * 4)
                self.assertEqual([header["t"] for header, _ in found], ["#account", "#sync"] * 2)
                self.assertEqual({payload["did"] for _, payload in found}, {alice["did"], bob["did"]})
                syncs = {payload["did"]: payload for header, payload in found if header["t"] == "#sync"}
                self.assertGreater(syncs[alice["did"]]["rev"], last["commit"]["rev"])
                for _, payload in found:
                    self.assertGreater(payload["seq"], newest)
                    self.assertLess(payload["seq"], 1 << 53)
                self.assertEqual(
                    subprocess.run([PROGRAMS / "skystead", "sequence"], env=stack.environment).returncode, 0)
                # And the service goes on: the next event is greater still, and the commit is built on the #sync.
                highest = max(payload["seq"] for _, payload in found)
                post(stack, alice, "after the restore")
                header, payload = asyncio.run(events(stack, highest, 1))[0]
                self.assertEqual((header["t"], payload["since"]), ("#commit", syncs[alice["did"]]["rev"]))
                wait_until(lambda: len(relay.asked) >= 1, what="a request of the worker")

    def test_sequence_raise(self):
        for database in ("sqlite", "postgres"):
            with self.subTest(database=database), RelayDouble() as relay, stack_with(relay, database) as stack:
                account(stack, "alice")
                self.assertIn("jump from", stack.tool("sequence", "raise", "--to", "500"))
                self.assertIn("newest  500", stack.tool("sequence"))
                self.assertIn("is 500 already", stack.tool("sequence", "raise", "--to", "20"))
                relay.change(seq=(1 << 53) - 1)
                before = int(time.time() * 1e6)
                self.assertIn("which is not believed", stack.tool("sequence", "raise"))
                after = int(stack.tool("sequence", check=False).split()[1])
                self.assertTrue(before <= after <= int(time.time() * 1e6))
                for wrong in ("x", "-1", str(1 << 60), "99999999999999999999"):
                    done = subprocess.run(
                        [PROGRAMS / "skystead", "sequence", "raise", "--to", wrong], env=stack.environment,
                        capture_output=True, text=True,
                    )
                    self.assertIn(done.returncode, (1, 2), wrong)
                self.assertEqual(int(stack.tool("sequence", check=False).split()[1]), after)


if __name__ == "__main__":
    unittest.main()
