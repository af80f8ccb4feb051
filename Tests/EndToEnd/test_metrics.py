"""Figures of every process, the dashboard and the alarms that are made from them, and reports of unexpected errors.

    .build/venv/bin/python Tests/EndToEnd/test_metrics.py [-v]
"""

import asyncio
import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
import threading
import unittest
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Support"))

import websockets
import yaml

from stack import PROGRAMS, ROOT, Stack, free_port, wait_until
from test_relay import RelayDouble, account, post

PORTS = {"xrpc": "SKYSTEAD_METRICS_PORT", "stream": "SKYSTEAD_STREAM_METRICS_PORT",
         "notify-crawlers": "SKYSTEAD_CRAWLERS_METRICS_PORT"}


class SentryDouble:
    """Takes envelopes as Sentry does (POST /api/<project>/envelope/), and keeps whoever sends waiting until `open`."""

    def __init__(self):
        self.envelopes, self.headers = [], []
        self.open = threading.Event()
        self.came = threading.Event()
        self.status = 200
        double = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                double.came.set()
                double.open.wait(30)
                double.envelopes.append((self.path, body))
                double.headers.append(dict(self.headers))
                answer = b'{"id":"fc6d8c0c43fc4630ad850ee518f1b9d0"}'
                self.send_response(double.status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self):
        self.open.set()
        self.server.shutdown()
        self.server.server_close()


def scrape(port):
    """The samples of one door: {name: {labels: value}}, in the text format 0.0.4, and the types of the families."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4"
        text = answer.read().decode()
    samples, types = {}, {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in types, f"{name} is there twice"
            types[name] = kind
        elif not line.startswith("#"):
            found = re.fullmatch(r'([a-z_][a-z0-9_]*)(?:\{([^}]*)\})? (-?[0-9.e+]+|NaN)', line)
            assert found, line
            labels = tuple(sorted(re.findall(r'([a-z_]+)="([^"]*)"', found[2] or "")))
            assert labels not in samples.setdefault(found[1], {}), line
            samples[found[1]][labels] = float(found[3])
    return samples, types


async def subscribe_and_leave(port):
    async with websockets.connect(f"ws://localhost:{port}/xrpc/com.atproto.sync.subscribeRepos?cursor=0") as stream:
        await asyncio.wait_for(stream.recv(), 20)


class MetricsTests(unittest.TestCase):
    def check_names(self, samples, types):
        """Each name in the dashboard and the alarms is one that a process really gives."""
        given = set(samples) | {"up"}
        for name, kind in types.items():
            # A family without samples yet, such as broken answers.
            given |= {name} if kind not in ("histogram", "summary") else {name + "_sum", name + "_count"}
            if kind == "histogram":
                given.add(name + "_bucket")
        word = re.compile(r"\b((?:skystead|process)_[a-z0-9_]+|up)\b(?=[\s{\[)]|$)")
        dashboard = json.loads((ROOT / "conf/grafana/skystead.json").read_text())
        expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
        alerts = yaml.safe_load((ROOT / "conf/prometheus/alerts.yml").read_text())
        rules = [rule for group in alerts["groups"] for rule in group["rules"]]
        self.assertGreater(len(rules), 10)
        # promtool holds each of them against planted series (scripts/check-conf).
        tests = yaml.safe_load((ROOT / "Tests/Prometheus/alerts.yml").read_text())["tests"]
        fired = {case["alertname"] for test in tests for case in test.get("alert_rule_test", ()) if case.get("exp_alerts")}
        self.assertEqual({rule["alert"] for rule in rules}, fired)
        for rule in rules:
            self.assertLessEqual(set(rule), {"alert", "expr", "for", "labels", "annotations"})
            self.assertEqual(set(rule["annotations"]), {"summary", "remedy"})
            self.assertIn(rule["labels"]["severity"], ("page", "ticket"))
            expressions.append(rule["expr"])
        used = set()
        for expression in expressions:
            names = set(word.findall(expression))
            self.assertTrue(names, expression)
            self.assertEqual(names - given, set(), expression)
            for opening, closing in ("()", "[]", "{}"):
                self.assertEqual(expression.count(opening), expression.count(closing), expression)
            used |= names
        # What is measured is shown somewhere.
        families = {re.sub("_(sum|count|bucket)$", "", name) for name in used}
        ours = {name for name in types if name.startswith("skystead_")}
        unseen = ours - families - used - {"skystead_stream_subscription_duration_seconds"}
        self.assertEqual(unseen, set())
        jobs = yaml.safe_load((ROOT / "conf/prometheus/skystead.yml").read_text())["scrape_configs"]
        self.assertEqual({job["job_name"] for job in jobs}, {f"skystead-{process}" for process in PORTS})

    def test_figures(self):
        for database in ("sqlite", "postgres"):
            ports = {process: free_port() for process in PORTS}
            settings = {PORTS[process]: str(port) for process, port in ports.items()}
            with self.subTest(database=database), RelayDouble() as relay:
                settings["SKYSTEAD_CRAWLERS"] = relay.url
                with Stack(database=database, settings=settings) as stack:
                    self.figures(stack, ports, relay)

    def figures(self, stack, ports, relay):
        alice = account(stack, "alice")
        for number in range(20):
            post(stack, alice, f"number {number}")
        status, _, answer = stack.call("com.atproto.repo.uploadBlob", raw=b"x" * 12_345, token=alice["accessJwt"])
        self.assertEqual(status, 200)
        blob = json.loads(answer)["blob"]
        record = {"$type": "com.example.thing", "file": blob}
        body = {"repo": alice["did"], "collection": "com.example.thing", "record": record}
        self.assertEqual(stack.call("com.atproto.repo.createRecord", body, token=alice["accessJwt"])[0], 200)
        status, _, content = stack.call(
            "com.atproto.sync.getBlob", params=f"?did={alice['did']}&cid={blob['ref']['$link']}")
        self.assertEqual((status, len(content)), (200, 12_345))
        self.assertEqual(stack.call("com.atproto.repo.getRecord")[0], 400)
        asyncio.run(subscribe_and_leave(stack.port))

        def door(process):
            return scrape(ports[process])

        wait_until(lambda: door("stream")[0]["skystead_stream_closes_total"][(("reason", "client"),)] == 1,
                   what="the end of the subscription")
        wait_until(lambda: door("stream")[0]["skystead_stream_newest_seq"][()] >= 20, what="a tick of the stream")
        xrpc, xrpc_types = door("xrpc")
        stream, stream_types = door("stream")
        crawlers, crawlers_types = door("notify-crawlers")

        for process, samples in (("xrpc", xrpc), ("stream", stream), ("notify-crawlers", crawlers)):
            self.assertEqual(samples["skystead_build_info"], {(("process", process), ("version", "0.1.0")): 1})
            self.assertEqual(samples["skystead_errors_total"], {(("event", "none"),): 0})
            self.assertGreater(samples["process_resident_memory_bytes"][()], 1_000_000)
        route = (("route", "com.atproto.repo.createRecord"), ("status", "2xx"))
        self.assertEqual(xrpc["skystead_requests_total"][route], 21)
        route = (("route", "com.atproto.repo.getRecord"), ("status", "4xx"))
        self.assertEqual(xrpc["skystead_requests_total"][route], 1)
        self.assertEqual(xrpc["skystead_blob_received_bytes_total"][()], 12_345)
        self.assertEqual(xrpc["skystead_blob_sent_bytes_total"][()], 12_345)
        commits = xrpc["skystead_store_commits_total"][()]
        self.assertGreaterEqual(commits, 22)
        self.assertGreaterEqual(xrpc["skystead_store_writes_total"][()], commits)
        self.assertEqual(xrpc["skystead_store_commit_duration_seconds_count"][()], commits)
        self.assertEqual(
            xrpc["skystead_store_commit_duration_seconds_bucket"][(("le", "+Inf"),)], commits)
        self.assertEqual(xrpc["skystead_store_commit_failures_total"][()], 0)
        self.assertEqual(xrpc["skystead_store_writes_waiting"][()], 0)

        self.assertEqual(stream["skystead_stream_subscribers"][()], 0)
        self.assertGreaterEqual(stream["skystead_stream_frames_total"][()], 1)
        self.assertGreater(stream["skystead_stream_bytes_total"][()], 100)
        self.assertEqual(stream["skystead_stream_lag_events"][()], 0)
        self.assertEqual(stream["skystead_stream_subscription_duration_seconds_count"][()], 1)
        self.assertEqual(
            {dict(labels)["reason"] for labels in stream["skystead_stream_closes_total"]},
            {"client", "too_slow", "protocol", "no_pong", "restart"})

        # The relay of this test is not one that the guard lets through: it is counted as such.
        wait_until(lambda: door("notify-crawlers")[0].get("skystead_crawler_requests_total"), what="a request")
        crawlers, crawlers_types = door("notify-crawlers")
        labels = (("crawler", relay.url), ("outcome", "unreachable"))
        self.assertEqual(crawlers["skystead_crawler_requests_total"][labels], 1)
        self.assertEqual(crawlers["skystead_crawler_pending"], {(("crawler", relay.url),): 1})
        self.assertEqual(crawlers["skystead_crawler_request_duration_seconds_count"][()], 1)

        self.check_names({**xrpc, **stream, **crawlers}, {**xrpc_types, **stream_types, **crawlers_types})


    def test_the_firehose_has_its_figures_seen_without_a_network(self):
        """As under systemd: both sockets are inherited, and where the process runs there is no network."""
        stack = Stack()
        self.addCleanup(stack.stop)
        stack.tool("migrate")
        requests, figures = socket.socket(socket.AF_UNIX), socket.socket()
        self.addCleanup(requests.close)
        self.addCleanup(figures.close)
        requests.bind(str(stack.directory / "stream.sock"))
        figures.bind(("127.0.0.1", 0))
        sockets = [requests, figures]
        for listener in sockets:
            listener.listen()

        def inherit():
            kept = [os.dup(listener.fileno()) for listener in sockets]
            for number, copy in enumerate(kept):
                os.dup2(copy, 3 + number)
                os.set_inheritable(3 + number, True)

        script = 'export LISTEN_PID=$$; exec "$0" stream'
        worker = subprocess.Popen(
            [*(["unshare", "--net"] if os.geteuid() == 0 else []), "sh", "-c", script, PROGRAMS / "skystead-worker"],
            env={**stack.environment, "LISTEN_FDS": "2", "LISTEN_FDNAMES": "skystead-stream.socket:metrics",
                 # It has no way there, and needs none.
                 "SKYSTEAD_STREAM_METRICS_PORT": "9402"},
            preexec_fn=inherit, close_fds=False, stderr=subprocess.PIPE, text=True)
        try:
            samples, _ = scrape(figures.getsockname()[1])
            self.assertEqual(samples["skystead_build_info"], {(("process", "stream"), ("version", "0.1.0")): 1})
            self.assertEqual(samples["skystead_stream_subscribers"], {(): 0})
            with socket.socket(socket.AF_UNIX) as asker:
                asker.connect(str(stack.directory / "stream.sock"))
                asker.sendall(b"GET /xrpc/com.atproto.sync.subscribeRepos HTTP/1.1\r\nHost: localhost\r\n\r\n")
                self.assertIn(b" 426 ", asker.recv(1_000))
        finally:
            worker.terminate()
            said = worker.communicate(timeout=20)[1]
        self.assertEqual(worker.returncode, 0, said)


class ErrorReportTests(unittest.TestCase):
    def stack(self, double, **settings):
        stack = Stack(settings={"SKYSTEAD_SENTRY_DSN": f"http://publickey@localhost:{double.port}/prefix/42", **settings})
        stack.environment["SKYSTEAD_ALLOW_PRIVATE_HOSTS"] += f",localhost:{double.port}"
        return stack

    def break_something(self, stack):
        """The table of the records goes: whoever asks for one meets an error that nobody has foreseen."""
        with sqlite3.connect(stack.data_dir / "skystead.sqlite") as database:
            database.execute("ALTER TABLE record RENAME TO gone")
        database.close()

    def ask(self, stack, session):
        params = f"?repo={session['did']}&collection=app.bsky.feed.post&rkey=abc"
        return stack.call(
            "com.atproto.repo.getRecord", params=params, token=session["accessJwt"],
            headers={"Cookie": "session=in-the-cookie"})

    def test_an_unexpected_error_is_reported_and_nobody_waits(self):
        double, port = SentryDouble(), free_port()
        self.addCleanup(double.close)
        with self.stack(double, SKYSTEAD_METRICS_PORT=str(port)) as stack:
            alice = account(stack, "alice")
            self.assertEqual(self.ask(stack, alice)[0], 400)
            self.break_something(stack)
            # The double keeps the first report waiting; requests are answered all the same, more than the queue holds.
            status, headers, body = self.ask(stack, alice)
            self.assertEqual((status, json.loads(body)["error"]), (500, "InternalServerError"))
            self.assertTrue(double.came.wait(20))
            for _ in range(99):
                self.assertEqual(self.ask(stack, alice)[0], 500)
            self.assertEqual(double.envelopes, [])
            double.open.set()
            wait_until(lambda: len(double.envelopes) >= 30, what="the reports")
            samples, _ = scrape(port)
            self.assertEqual(samples["skystead_errors_total"], {(("event", "xrpc"),): 100})
        # Not one more than is allowed in a minute; should the minute have changed, twice that.
        self.assertIn(len(double.envelopes), range(30, 61))
        for path, envelope in double.envelopes:
            self.assertEqual(path, "/prefix/api/42/envelope/")
            for secret in (alice["accessJwt"], "in-the-cookie", "Authorization", "Cookie", "publickey"):
                self.assertNotIn(secret.encode(), envelope)
        self.assertIn("sentry_key=publickey", double.headers[0]["X-Sentry-Auth"])
        self.assertEqual(double.headers[0]["Content-Type"], "application/x-sentry-envelope")
        head, item, payload, rest = double.envelopes[0][1].split(b"\n")
        self.assertEqual(rest, b"")
        item, event = json.loads(item), json.loads(payload)
        self.assertEqual((item["type"], item["length"]), ("event", len(payload)))
        self.assertEqual(json.loads(head)["event_id"], event["event_id"])
        self.assertRegex(event["event_id"], "^[0-9a-f]{32}$")
        self.assertEqual((event["level"], event["platform"]), ("error", "other"))
        self.assertEqual(event["logger"], "skystead-fcgi xrpc")
        self.assertEqual(event["release"], "skystead@0.1.0")
        self.assertEqual(event["extra"]["method"], "com.atproto.repo.getRecord")
        self.assertEqual(event["extra"]["request"], headers["X-Request-Id"])
        self.assertEqual(event["exception"]["values"][0]["type"], "xrpc")
        self.assertIn("no such table", event["exception"]["values"][0]["value"])

    def test_a_service_that_is_away_changes_nothing(self):
        double = SentryDouble()
        double.close()
        with self.stack(double) as stack:
            alice = account(stack, "alice")
            self.break_something(stack)
            for _ in range(3):
                self.assertEqual(self.ask(stack, alice)[0], 500)

    def test_too_many_is_heard(self):
        double = SentryDouble()
        self.addCleanup(double.close)
        double.status = 429
        double.open.set()
        with self.stack(double) as stack:
            alice = account(stack, "alice")
            self.break_something(stack)
            self.assertEqual(self.ask(stack, alice)[0], 500)
            wait_until(lambda: double.envelopes, what="the first report")
            for _ in range(20):
                self.assertEqual(self.ask(stack, alice)[0], 500)
        # Some may have been on their way when the answer came.
        self.assertLess(len(double.envelopes), 10)

    def test_a_wrong_address_is_said_at_the_start(self):
        with Stack() as stack:
            for wrong in ("https://o0.example/1", "nothing", "https://key@host", "ftp://key@host/1", "https://@host/1"):
                done = subprocess.run(
                    [PROGRAMS / "skystead-worker", "collect"], capture_output=True, text=True,
                    env={**stack.environment, "SKYSTEAD_SENTRY_DSN": wrong})
                self.assertEqual(done.returncode, 78, wrong)
                self.assertIn("SKYSTEAD_SENTRY_DSN is not https://key@host/project", done.stderr)


if __name__ == "__main__":
    unittest.main()
