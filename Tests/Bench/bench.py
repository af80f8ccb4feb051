"""The table of scripts/bench: every figure with its other side, both measured in this run on this machine.

    bench.py [--only WORD,…] [--seconds N] [--rounds N] [--peer NAME=URL,HANDLE,PASSWORD] [--output FILE]

A peer is a PDS that already runs here; `arroba` from the package index is started by itself.
"""

import argparse
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "Tests", "Support"))
from cryptography.hazmat.primitives.asymmetric import ec  # noqa: E402
from measure import (  # noqa: E402
    Table,
    cpu_seconds,
    in_turn,
    limits,
    median,
    median_ratio,
    proportional_kib,
    wait_for,
    wrk,
)
import repository  # noqa: E402
from stack import Stack  # noqa: E402

RELEASE = os.path.join(ROOT, ".build", "release")
POST = "app.bsky.feed.post"


def post(number):
    """A record of the ordinary length."""
    return {
        "$type": POST,
        "text": f"A post of the ordinary length, number {number}, that says nothing in particular but takes its room.",
        "createdAt": "2026-01-01T00:00:00.000Z",
        "langs": ["en"],
    }


class API:
    """A small XRPC client over one kept connection."""

    def __init__(self, base):
        self.address = urllib.parse.urlsplit(base)
        self.connection = http.client.HTTPConnection(self.address.hostname, self.address.port, timeout=120)

    def call(self, method, path, body=None, token=None, raw=None, content_type="application/json"):
        headers = {}
        if token:
            headers["Authorization"] = "Bearer " + token
        data = raw if raw is not None else (json.dumps(body).encode() if body is not None else None)
        if data is not None:
            headers["Content-Type"] = content_type
        self.connection.request(method, path, data, headers)
        answer = self.connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{method} {path}: {answer.status} {content[:300]}")
        return content

    def procedure(self, nsid, body, token=None):
        content = self.call("POST", f"/xrpc/{nsid}", body, token)
        return json.loads(content) if content else None


class Bench:
    def __init__(self, stack, table, arguments):
        self.stack = stack
        self.table = table
        self.seconds = arguments.seconds
        self.rounds = arguments.rounds
        self.peers = arguments.peer
        self.directory = stack.directory
        self.api = API(stack.base_url)
        self.accounts = []

    # Preparation

    def sign_up(self, count):
        """`count` more accounts: [(did, token)]."""
        made = []
        for _ in range(count):
            handle = f"bench{len(self.accounts)}{self.stack.handle_domain}"
            account = self.api.procedure(
                "com.atproto.server.createAccount",
                {"handle": handle, "email": f"{handle}@example.com", "password": "a long password"},
            )
            made.append((account["did"], account["accessJwt"]))
            self.accounts.append(made[-1])
        return made

    def fill(self, account, count):
        """Writes `count` records by applyWrites; their rkeys."""
        did, token = account
        keys = []
        for start in range(0, count, 200):
            writes = [
                {"$type": "com.atproto.repo.applyWrites#create", "collection": POST, "value": post(number)}
                for number in range(start, min(start + 200, count))
            ]
            answer = self.api.procedure("com.atproto.repo.applyWrites", {"repo": did, "writes": writes}, token)
            keys += [result["uri"].rsplit("/", 1)[1] for result in answer["results"]]
        return keys

    def lines(self, name, lines):
        path = os.path.join(self.directory, name)
        with open(path, "w") as file:
            file.write("\n".join(lines) + "\n")
        return path

    def responder_cpu(self, run):
        """(result of run, CPU seconds that the responder used meanwhile)."""
        pids = self.stack.pids()["xrpc"]
        before = cpu_seconds(pids)
        result = run()
        return result, cpu_seconds(pids) - before

    def tokens(self, name, accounts):
        return {"BENCH_TOKENS": self.lines(name, [f"{did}\t{token}" for did, token in accounts])}

    # The empty responders, beside the product behind the same kind of nginx

    def empty_responders(self):
        """nginx with /swift and /c before the two empty responders, and /memory before one that answers bytes."""
        directory = os.path.join(self.directory, "empty")
        os.makedirs(directory, exist_ok=True)
        program = os.path.join(directory, "empty_responder")
        subprocess.run(
            ["gcc", "-O2", "-pthread", "-o", program, os.path.join(HERE, "empty_responder.c"), "-lfcgi"], check=True
        )
        sockets = {name: os.path.join(directory, name + ".sock") for name in ("swift", "c", "memory")}
        content = os.path.join(directory, "answer")
        if not os.path.exists(content):
            with open(content, "wb") as file:
                file.write(b"hello")
        swift = os.path.join(RELEASE, "bench-empty-responder")
        processes = {
            "swift": subprocess.Popen([swift, sockets["swift"], "24"], stderr=subprocess.DEVNULL),
            "c": subprocess.Popen([program, sockets["c"], "24"], stderr=subprocess.DEVNULL),
            "memory": subprocess.Popen([swift, sockets["memory"], "24", "--file", content], stderr=subprocess.DEVNULL),
        }
        port = self.stack.port + 50
        parameters = os.path.join(ROOT, "conf", "nginx", "skystead_fastcgi_params")
        locations = "".join(
            f"location /{name} {{ include {parameters}; fastcgi_pass unix:{path}; }}\n"
            for name, path in sockets.items()
        )
        configuration = self.lines(
            "empty/nginx.conf",
            [
                f"daemon off; pid {directory}/pid; error_log {directory}/error.log crit; worker_processes 2;",
                "user root;" if os.geteuid() == 0 else "",
                "events { worker_connections 1024; }",
                f"http {{ access_log off; client_body_temp_path {directory}/body; fastcgi_temp_path {directory}/temp;",
                f"proxy_temp_path {directory}/proxy; uwsgi_temp_path {directory}/uwsgi;",
                f"scgi_temp_path {directory}/scgi;",
                "sendfile on; fastcgi_buffer_size 16k; fastcgi_buffers 16 16k;",
                f"server {{ listen 127.0.0.1:{port} backlog=1024;",
                f"location /file {{ root {directory}; }}",
                locations,
                "} }",
            ],
        )
        processes["nginx"] = subprocess.Popen(["nginx", "-c", configuration], stderr=subprocess.DEVNULL)

        def ready():
            try:
                return all(
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/{name}").status == 200 for name in sockets
                )
            except OSError:
                return False

        wait_for(ready, 20, "the empty responders")
        return f"http://127.0.0.1:{port}", processes, directory

    @staticmethod
    def end(processes):
        for process in processes.values():
            process.terminate()
        for process in processes.values():
            process.wait()

    # The lines of the table

    def empty(self):
        base, processes, _ = self.empty_responders()
        try:
            sides = {
                name: lambda name=name: wrk(f"{base}/{name}", 32, self.seconds)["rate"] for name in ("swift", "c")
            }
            found = in_turn(sides, self.rounds)
        finally:
            self.end(processes)
        ratio = median_ratio(found["swift"], found["c"])
        self.table.add(
            "empty responder through nginx",
            f"{median(found['swift']):,.0f}/s",
            f"C over libfcgi {median(found['c']):,.0f}/s",
            f"{ratio:.2f}",
            "≥ 0.95",
            ratio >= 0.95,
        )

    def get_record(self):
        account = self.sign_up(1)[0]
        keys = self.fill(account, 10_000)
        paths = [
            f"/xrpc/com.atproto.repo.getRecord?repo={account[0]}&collection={POST}&rkey={key}" for key in keys[::7]
        ]
        environment = {"BENCH_PATHS": self.lines("paths", paths)}
        base, processes, _ = self.empty_responders()
        try:
            found = in_turn(
                {
                    "record": lambda: wrk(self.stack.base_url, 16, self.seconds, "get.lua", environment)["rate"],
                    "empty": lambda: wrk(f"{base}/swift", 16, self.seconds)["rate"],
                },
                self.rounds,
            )
        finally:
            self.end(processes)
        ratio = median_ratio(found["record"], found["empty"])
        self.table.add(
            "getRecord, 16 clients, repository of 10,000",
            f"{median(found['record']):,.0f}/s",
            f"empty responder {median(found['empty']):,.0f}/s",
            f"{ratio:.2f}",
            "≥ 0.6",
            ratio >= 0.6,
        )
        self.list_records(account, keys)

    def list_records(self, account, keys):
        path = f"/xrpc/com.atproto.repo.listRecords?repo={account[0]}&collection={POST}&limit=50&cursor="
        environment = {"BENCH_PATHS": self.lines("lists", [path + key for key in keys[100::97]])}
        size = len(self.api.call("GET", path + keys[5_000]))
        os.makedirs(os.path.join(self.directory, "empty"), exist_ok=True)
        with open(os.path.join(self.directory, "empty", "answer"), "wb") as file:
            file.write(b"x" * size)
        base, processes, _ = self.empty_responders()
        try:

            def listing():
                result, cpu = self.responder_cpu(
                    lambda: wrk(self.stack.base_url, 16, self.seconds, "get.lua", environment)
                )
                return cpu / result["requests"] * 1e6

            def memory():
                pid = [processes["memory"].pid]
                before = cpu_seconds(pid)
                result = wrk(f"{base}/memory", 16, self.seconds)
                return (cpu_seconds(pid) - before) / result["requests"] * 1e6

            found = in_turn({"list": listing, "memory": memory}, self.rounds)
        finally:
            self.end(processes)
        ratio = median_ratio(found["list"], found["memory"])
        self.table.add(
            f"listRecords, limit 50 ({size:,} bytes)",
            f"{median(found['list']):.0f} µs of CPU",
            f"the same bytes from memory {median(found['memory']):.0f} µs",
            f"{ratio:.2f} ×",
            "≤ 3 ×",
            ratio <= 3,
        )

    def create_record(self):
        environment = self.tokens("tokens64", self.sign_up(64))
        database = os.path.join(self.directory, "limit.sqlite")

        def product():
            result, cpu = self.responder_cpu(
                lambda: wrk(self.stack.base_url, 64, self.seconds, "post.lua", environment, threads=2)
            )
            return result["rate"], cpu / result["requests"] * 1e6

        found = in_turn(
            {
                "product": product,
                "sqlite": lambda: limits("group", database, 64, self.seconds)["transactions_per_second"],
                "sign": lambda: limits("sign")["microseconds"],
            },
            self.rounds,
        )
        rates = [rate for rate, _ in found["product"]]
        costs = [cost for _, cost in found["product"]]
        ratio = median_ratio(costs, found["sign"])
        self.table.add(
            "createRecord, 64 clients on 64 repositories, CPU",
            f"{median(costs):.0f} µs a write",
            f"one signature {median(found['sign']):.1f} µs",
            f"{ratio:.1f} signatures",
            "≤ 5",
            ratio <= 5,
        )
        ratio = median_ratio(rates, found["sqlite"])
        self.table.add(
            "createRecord, 64 clients on 64 repositories, throughput",
            f"{median(rates):,.0f}/s",
            f"SQLite's group commit {median(found['sqlite']):,.0f}/s",
            f"{ratio:.2f}",
            "≥ 0.5",
            ratio >= 0.5,
        )

    def create_one(self):
        environment = self.tokens("token1", self.sign_up(1))
        database = os.path.join(self.directory, "limit.sqlite")
        found = in_turn(
            {
                "product": lambda: wrk(self.stack.base_url, 1, self.seconds, "post.lua", environment)["latency"],
                "sqlite": lambda: limits("single", database, self.seconds)["median_microseconds"],
            },
            self.rounds,
        )
        ratio = median_ratio(found["product"], found["sqlite"])
        self.table.add(
            "createRecord, 1 client, latency through nginx",
            f"{median(found['product']):.0f} µs",
            f"one FULL transaction {median(found['sqlite']):.0f} µs",
            f"{ratio:.2f} ×",
            "≤ 1.5 ×",
            ratio <= 1.5,
        )

    def against_peers(self):
        account = self.sign_up(1)[0]
        key = self.fill(account, 200)[100]
        own = {"name": "skystead", "base": self.stack.base_url, "did": account[0], "token": account[1], "rkey": key}
        process = subprocess.Popen(
            [sys.executable, os.path.join(HERE, "peer_arroba.py"), str(self.stack.port + 60)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            arroba = json.loads(process.stdout.readline())
            peers = [({"name": "arroba", "base": f"http://127.0.0.1:{self.stack.port + 60}", **arroba}, 40, 40)]
            for given in self.peers:
                name, rest = given.split("=", 1)
                base, handle, password = rest.split(",")
                session = API(base).procedure(
                    "com.atproto.server.createSession", {"identifier": handle, "password": password}
                )
                peers.append(
                    ({"name": name, "base": base, "did": session["did"], "token": session["accessJwt"]}, 10, 4)
                )
            for peer, create_reach, get_reach in peers:
                self.against(own, peer, create_reach, get_reach)
        finally:
            process.terminate()
            process.wait()
        if not self.peers:
            self.table.missing("createRecord and getRecord against millipds", "start it and name it with --peer")

    def against(self, own, peer, create_reach, get_reach):
        for side in (own, peer):
            if "rkey" not in side:
                uri = API(side["base"]).procedure(
                    "com.atproto.repo.createRecord",
                    {"repo": side["did"], "collection": POST, "record": post(0)},
                    side["token"],
                )["uri"]
                side["rkey"] = uri.rsplit("/", 1)[1]

        def creating(side):
            environment = self.tokens("token-" + side["name"], [(side["did"], side["token"])])
            return wrk(side["base"], 16, self.seconds, "post.lua", environment)["rate"]

        def getting(side):
            path = f"/xrpc/com.atproto.repo.getRecord?repo={side['did']}&collection={POST}&rkey={side['rkey']}"
            return wrk(side["base"] + path, 16, self.seconds)["rate"]

        for what, run, reach in (("createRecord", creating, create_reach), ("getRecord", getting, get_reach)):
            found = in_turn({side["name"]: lambda side=side: run(side) for side in (own, peer)}, self.rounds)
            ours, other = found[own["name"]], found[peer["name"]]
            ratio = median_ratio(ours, other)
            self.table.add(
                f"{what}, 16 clients, one repository",
                f"{median(ours):,.0f}/s",
                f"{peer['name']} {median(other):,.0f}/s",
                f"{ratio:.0f} ×",
                f"≥ {reach} ×",
                ratio >= reach,
            )

    def send_car(self, base, token, path):
        """Imports the CAR at `path`; seconds."""
        address = urllib.parse.urlsplit(base)
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=900)
        started = time.monotonic()
        with open(path, "rb") as file:
            headers = {
                "Authorization": f"Bearer {token}",
                "Content-Type": "application/vnd.ipld.car",
                "Content-Length": str(os.path.getsize(path)),
            }
            connection.request("POST", "/xrpc/com.atproto.repo.importRepo", file, headers)
            answer = connection.getresponse()
            content = answer.read()
        connection.close()
        if answer.status != 200:
            raise RuntimeError(f"importRepo: {answer.status} {content[:300]}")
        return time.monotonic() - started

    def import_repository(self):
        (did, token), (large, large_token) = self.sign_up(2)
        path = os.path.join(self.directory, "import.car")
        # The peer takes a repository once, and holds it in memory: it keeps no promise to a disk.
        foreign = ec.generate_private_key(ec.SECP256K1())
        times = {"skystead": [], "arroba": []}
        for number in range(self.rounds):
            repository.write(path, did, repository.posts(100_000, 300, seed=number), foreign)
            times["skystead"].append(self.send_car(self.stack.base_url, token, path))
            process = subprocess.Popen(
                [
                    sys.executable,
                    os.path.join(HERE, "peer_arroba.py"),
                    str(self.stack.port + 60),
                    repository.did_key(foreign),
                ],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            try:
                process.stdout.readline()
                times["arroba"].append(self.send_car(f"http://127.0.0.1:{self.stack.port + 60}", "bench", path))
            finally:
                process.terminate()
                process.wait()
        ratio = median_ratio(times["arroba"], times["skystead"])
        self.table.add(
            "importRepo, 100,000 records",
            f"{median(times['skystead']):.2f} s, on the disk",
            f"arroba {median(times['arroba']):.2f} s, in memory and unchecked",
            f"{ratio:.1f} ×",
            "≥ 1 ×",
            ratio >= 1,
        )
        # 2,640,000 records and as many nodes as they take: 1 GiB of small blocks, which costs an importer most.
        repository.write(path, large, repository.posts(2_640_000, 300))
        size = os.path.getsize(path)
        seconds = self.send_car(self.stack.base_url, large_token, path)
        os.unlink(path)
        peak = 0
        for pid in self.stack.pids()["xrpc"]:
            with open(f"/proc/{pid}/status") as file:
                peak = max(peak, int(re.search(r"^VmHWM:\s+(\d+)", file.read(), re.M).group(1)))
        self.table.add(
            f"importRepo of {size / 2**20:,.0f} MiB in {seconds:.0f} s, most memory of the responder",
            f"{peak / 1_024:.0f} MiB",
            "the length of the CAR",
            f"{peak * 1_024 / size:.3f}",
            "≤ 128 MiB",
            peak <= 128 << 10,
        )

    def large_repository(self):
        large, small = self.sign_up(2)
        started = time.monotonic()
        slopes = []
        for part in range(10):
            before = time.monotonic()
            self.fill(large, 10_000)
            slopes.append(time.monotonic() - before)
        self.large_fill = (time.monotonic() - started, slopes)
        print(
            f"filled 100,000 records in {self.large_fill[0]:.1f} s; the tenths took "
            + ", ".join(f"{slope:.2f}" for slope in slopes),
            flush=True,
        )
        accounts = {"large": large, "small": small}
        sides = {name: self.tokens("token-" + name, [account]) for name, account in accounts.items()}

        def creating(name):
            result, cpu = self.responder_cpu(
                lambda: wrk(self.stack.base_url, 4, self.seconds, "post.lua", sides[name])
            )
            return cpu / result["requests"] * 1e6

        # The small one must stay small: it gets one short run in each round.
        found = in_turn({name: lambda name=name: creating(name) for name in ("large", "small")}, self.rounds)
        ratio = median_ratio(found["large"], found["small"])
        self.table.add(
            "createRecord into a repository of 100,000, CPU",
            f"{median(found['large']):.0f} µs",
            f"into a new one {median(found['small']):.0f} µs",
            f"{ratio:.2f} ×",
            "≤ 1.5 ×",
            ratio <= 1.5,
        )
        self.get_repo(large)

    def get_repo(self, account):
        base, processes, directory = self.empty_responders()
        try:
            url = f"{self.stack.base_url}/xrpc/com.atproto.sync.getRepo?did={account[0]}"
            path = os.path.join(directory, "file")
            self.download(url, path)
            size = os.path.getsize(path)
            pids = self.stack.pids()["xrpc"]
            memory = proportional_kib(pids)
            peak = [memory]

            def product(is_first):
                # What was sent before is kept as a file: without it the responder makes the whole answer again.
                if is_first:
                    for kept in (self.stack.data_dir / "cars").iterdir():
                        kept.unlink()
                seconds = self.download(url)
                peak[0] = max(peak[0], proportional_kib(pids))
                return size / seconds / 1e6

            found = in_turn(
                {
                    "first": lambda: product(True),
                    "again": lambda: product(False),
                    "file": lambda: size / self.download(f"{base}/file") / 1e6,
                },
                self.rounds + 2,
            )
        finally:
            self.end(processes)
        for side, word in (("first", "made by the responder"), ("again", "sent before")):
            ratio = median_ratio(found[side], found["file"])
            self.table.add(
                f"getRepo of 100,000 records ({size / 1e6:.0f} MB), {word}",
                f"{median(found[side]):.0f} MB/s, memory {memory / 1024:.0f} → {peak[0] / 1024:.0f} MiB",
                f"nginx, the same bytes as a file {median(found['file']):.0f} MB/s",
                f"{ratio:.2f}",
                "≥ 0.5",
                ratio >= 0.5,
            )

    @staticmethod
    def download(url, path=os.devnull):
        started = time.monotonic()
        subprocess.run(["curl", "-sf", "-o", path, url], check=True)
        return time.monotonic() - started

    def upload_blob(self):
        did, token = self.sign_up(1)[0]
        size = 5 * 1024 * 1024
        file = os.path.join(self.directory, "limit.blob")
        content = [os.urandom(size) for _ in range(8)]
        number = [0]

        def product():
            number[0] += 1
            body = bytes([number[0] & 255, number[0] >> 8]) + content[number[0] % 8][2:]
            started = time.monotonic()
            self.api.call(
                "POST",
                "/xrpc/com.atproto.repo.uploadBlob",
                token=token,
                raw=body,
                content_type="application/octet-stream",
            )
            return size / (time.monotonic() - started) / 1e6

        def parts():
            result = limits("blob", file, size)
            return size / max(result["sha256_seconds"], result["write_fsync_seconds"]) / 1e6

        found = in_turn({"product": lambda: median([product() for _ in range(5)]), "parts": parts}, self.rounds + 2)
        ratio = median_ratio(found["product"], found["parts"])
        self.table.add(
            "uploadBlob of 5 MiB",
            f"{median(found['product']):.0f} MB/s",
            f"the slower of SHA-256 and write + fsync {median(found['parts']):.0f} MB/s",
            f"{ratio:.2f}",
            "≥ 0.7",
            ratio >= 0.7,
        )

    def stream(self):
        output = subprocess.run([os.path.join(RELEASE, "bench-stream")], capture_output=True, text=True, check=True)
        lines = re.findall(
            r"^(live|bursts)[^,]*, (\d+) subscribers.* loop ([\d.]+) .*server ([\d.]+) .*ratio ([\d.]+)$",
            output.stdout,
            re.M,
        )
        for name, subscribers, other, ours, ratio in lines:
            self.table.add(
                f"stream fan-out to {subscribers} subscribers, {name}, CPU a frame",
                f"{ours} µs",
                f"a loop of send {other} µs",
                f"{ratio} ×",
                "≤ 1.3 ×",
                float(ratio) <= 1.3,
            )
        if len(lines) != 2:
            raise RuntimeError(output.stdout)

    def codecs(self):
        core, peer = os.path.join(RELEASE, "bench-core"), os.path.join(HERE, "peer_codecs.py")
        file, car = os.path.join(self.directory, "records"), os.path.join(self.directory, "car")
        subprocess.run([sys.executable, peer, "records", file, "20000"], check=True)
        subprocess.run([sys.executable, peer, "car", car, "50000"], check=True)

        def swift(*words):
            return lambda: json.loads(subprocess.run([core, *words], capture_output=True, check=True).stdout)

        def python(*words):
            return lambda: json.loads(
                subprocess.run([sys.executable, peer, *words], capture_output=True, check=True).stdout
            )

        found = in_turn({"swift": swift("cbor", file), "libipld": python("cbor", file)}, self.rounds)
        for form, reach in (("decode", 2), ("encode", 1)):
            ours, other = ([run[f"{form}_mb_per_second"] for run in found[side]] for side in ("swift", "libipld"))
            ratio = median_ratio(ours, other)
            self.table.add(
                f"DAG-CBOR {form}",
                f"{median(ours):.0f} MB/s",
                f"libipld {median(other):.0f} MB/s",
                f"{ratio:.1f} ×",
                f"≥ {reach} ×",
                ratio >= reach,
            )
        found = in_turn({"swift": swift("mst", "1000000"), "python": python("mst", "1000000")}, 1)
        (ours,), (other,) = found["swift"], found["python"]
        ratio = ours["keys_per_second"] / other["keys_per_second"]
        self.table.add(
            "MST of 1,000,000 sorted keys" + (", same root" if ours["root"] == other["root"] else ", ANOTHER ROOT"),
            f"{ours['keys_per_second']:,.0f} keys/s",
            f"Python over cbrrr {other['keys_per_second']:,.0f} keys/s",
            f"{ratio:.1f} ×",
            "≥ 4 ×, same root",
            ratio >= 4 and ours["root"] == other["root"],
        )
        found = [swift("car", car)() for _ in range(self.rounds)]
        ratio = median([run["parse_mb_per_second"] / run["sha256_mb_per_second"] for run in found])
        self.table.add(
            "CAR parse with every block verified",
            f"{median([run['parse_mb_per_second'] for run in found]):.0f} MB/s",
            f"SHA-256 alone {median([run['sha256_mb_per_second'] for run in found]):.0f} MB/s",
            f"{ratio:.2f}",
            "≥ 0.5",
            ratio >= 0.5,
        )
        run = swift("insert", "1000000")()
        ratio = run["full_microseconds"] / run["empty_microseconds"]
        self.table.add(
            "insert into a repository of 1,000,000, in process, CPU",
            f"{run['full_microseconds']:.1f} µs",
            f"into an empty one {run['empty_microseconds']:.1f} µs",
            f"{ratio:.2f} ×",
            "≤ 2 ×",
            ratio <= 2,
        )

    def idle(self):
        """Memory of the whole stack at rest, and how long each process takes to be ready."""
        pids = [pid for group in self.stack.pids().values() for pid in group]
        total = proportional_kib(pids) / 1024
        detail = ", ".join(
            f"{name} {proportional_kib(group) / 1024:.1f}" for name, group in self.stack.pids().items()
        )
        good = total * 1.048576 <= 60
        self.table.add("whole stack idle", f"{total:.1f} MiB ({detail})", "–", "–", "≤ 60 MB", good)
        for name, command in {
            "skystead-fcgi xrpc": "skystead-fcgi xrpc",
            "skystead-worker stream": "skystead-worker stream",
        }.items():
            started = median([self.start_time(command) for _ in range(9)])
            self.table.add(f"start of {name}", f"{started * 1e3:.1f} ms", "–", "–", "≤ 50 ms", started <= 0.05)

    def start_time(self, command):
        """Seconds from the start of a second process of the kind until it says READY (sd_notify(3))."""
        listening = socket.socket(socket.AF_UNIX)
        path = os.path.join(self.directory, f"start-{time.monotonic_ns()}.sock")
        listening.bind(path)
        listening.listen(16)
        notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notified.bind(path + ".notify")
        notified.settimeout(10)
        environment = {**self.stack.environment, "LISTEN_FDS": "1", "NOTIFY_SOCKET": path + ".notify"}
        # The shell becomes the program: LISTEN_PID must be its pid. The socket is moved to descriptor 3.
        script = f'LISTEN_PID=$$ exec "{RELEASE}/"{command} 3<&{listening.fileno()}'
        started = time.monotonic()
        process = subprocess.Popen(
            ["sh", "-c", script], env=environment, pass_fds=[listening.fileno()], stderr=subprocess.DEVNULL
        )
        try:
            while b"READY=1" not in notified.recv(4096):
                pass
            return time.monotonic() - started
        finally:
            process.terminate()
            process.wait()
            listening.close()
            notified.close()
            os.unlink(path)
            os.unlink(path + ".notify")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="")
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer", action="append", default=[])
    parser.add_argument("--output")
    parser.add_argument("--port", type=int, default=18200)
    arguments = parser.parse_args()
    chosen = [word for word in arguments.only.split(",") if word]
    table = Table()
    with tempfile.TemporaryDirectory(prefix="skystead-bench-", dir=os.path.join(ROOT, ".build")) as directory:
        program = os.path.join(directory, "limits")
        subprocess.run(
            ["gcc", "-O2", "-o", program, os.path.join(HERE, "limits.c"), "-lsqlite3", "-lsecp256k1", "-lcrypto"],
            check=True,
        )
        os.environ["BENCH_LIMITS"] = program
        stack = Stack(
            web="nginx",
            database="sqlite",
            directory=directory,
            port=arguments.port,
            settings={"SKYSTEAD_RATE_LIMITS": "no"},
        )
        stack.start()
        try:
            bench = Bench(stack, table, arguments)
            for name in (
                "idle",
                "codecs",
                "empty",
                "get_record",
                "create_record",
                "create_one",
                "upload_blob",
                "stream",
                "against_peers",
                "import_repository",
                "large_repository",
            ):
                if not chosen or name in chosen:
                    # The line before may have taken longer than the web server keeps an idle connection.
                    bench.api.connection.close()
                    getattr(bench, name)()
        except BaseException:
            print("skystead up:", stack.process.poll(), file=sys.stderr)
            for log in sorted(stack.directory.glob("*.log")) + sorted(stack.directory.glob("data/log/*.log")):
                print(f"the end of {log.name}:\n" + "\n".join(log.read_text().splitlines()[-12:]), file=sys.stderr)
            raise
        finally:
            stack.stop()
    print("\n" + table.markdown())
    if arguments.output:
        with open(arguments.output, "w") as file:
            file.write(table.markdown() + "\n")
    sys.exit(0)


if __name__ == "__main__":
    main()
