"""Starts the whole product as an operator would: `skystead up` with the shipped configuration, on its own data."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# SKYSTEAD_BUILD=debug takes the other build.
PROGRAMS = ROOT / ".build" / os.environ.get("SKYSTEAD_BUILD", "release")
ADMIN_PASSWORD = "admin-of-the-tests"


def free_port():
    """A port that nobody listens on. SKYSTEAD_TEST_PORTS=first-last limits the choice."""
    given = os.environ.get("SKYSTEAD_TEST_PORTS")
    if not given:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return probe.getsockname()[1]
    first, last = (int(number) for number in given.split("-"))
    for port in range(first, last + 1):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise RuntimeError(f"no free port in {given}")


def postgres(statement):
    """Runs a statement on the PostgreSQL of the tests (`scripts/postgres start`), and returns its URL."""
    url = os.environ.get("SKYSTEAD_TEST_POSTGRES_URL")
    if not url:
        raise RuntimeError("SKYSTEAD_TEST_POSTGRES_URL is not set: export it as $(scripts/postgres start)")
    subprocess.run(["psql", "-q", "-v", "ON_ERROR_STOP=1", url, "-c", statement], check=True)
    return url


def start_plc(address="127.0.0.1"):
    """The double of the PLC directory on a free port: its process and URL."""
    process = subprocess.Popen(
        [sys.executable, ROOT / "Tests/Support/plc_directory.py", "--port", "0", "--address", address],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    return process, process.stdout.readline().split()[-1].replace("127.0.0.1", "localhost")


class Stack:
    """One running service on data of its own. `web` is nginx, caddy or None, `database` sqlite or postgres.

    `private_hosts` are further `host:port`s of this machine that it may ask. As one of several machines it is given
    what they share: `database_url`, `plc_url`, and `prefix`, the command that puts a process on its machine.
    """

    handle_domain = ".test"

    def __init__(
        self, web="nginx", database="sqlite", directory=None, port=None, settings=None, private_hosts=(),
        database_url=None, plc_url=None, prefix=(),
    ):
        self.web = web
        self.is_temporary = directory is None
        self.directory = Path(directory or tempfile.mkdtemp(prefix="sky"))
        self.port = port or free_port()
        self.base_url = f"http://localhost:{self.port}"
        self.data_dir = self.directory / "data"
        # First, because it may raise: nothing runs yet that would be left behind.
        self.database_name = None
        self.prefix = list(prefix)
        if database == "postgres":
            self.database_name = f"sky_{os.getpid()}_{self.port}"
            url = postgres(f"CREATE DATABASE {self.database_name}")
            database_url = url.rsplit("/", 1)[0] + "/" + self.database_name
        self.plc_process = None
        if plc_url is None:
            self.plc_process, plc_url = start_plc()
        self.plc_url = plc_url
        self.environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "SKYSTEAD_SETTINGS_FILE": "",
            "SKYSTEAD_PORT": str(self.port),
            "SKYSTEAD_DATA_DIR": str(self.data_dir),
            "SKYSTEAD_PLC_URL": self.plc_url,
            "SKYSTEAD_ALLOW_PRIVATE_HOSTS": ",".join([self.plc_url.removeprefix("http://"), *private_hosts]),
            "SKYSTEAD_ADMIN_PASSWORD": ADMIN_PASSWORD,
            "SKYSTEAD_INVITE_REQUIRED": "no",
            "SKYSTEAD_RATE_LIMITS": "no",
            **(settings or {}),
        }
        if database_url:
            self.environment["SKYSTEAD_DATABASE_URL"] = database_url
        self.process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, *_):
        self.stop()
        if kind is None:
            if self.is_temporary:
                shutil.rmtree(self.directory)
        else:
            print(f"the data of the failed run is in {self.directory}", file=sys.stderr)

    def start(self):
        """Starts it and returns when it says that it is up. Raises with its output when it does not come up."""
        command = [*self.prefix, PROGRAMS / "skystead", "up", "--conf", ROOT / "conf"]
        if self.web == "caddy":
            command.append("--caddy")
        if self.web is None:
            command.append("--no-web-server")
        self.directory.mkdir(exist_ok=True)
        self.output = open(self.directory / "up.log", "a+")
        self.process = subprocess.Popen(
            command, env=self.environment, stdout=subprocess.PIPE, stderr=self.output, text=True,
        )
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if "is up." in line:
                return
        self.output.seek(0)
        raise RuntimeError(f"skystead up ended:\n{''.join(lines)}{self.output.read()}")

    def stop(self):
        """Stops everything and asks that it went well."""
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            self.process.stdout.read()
            code = self.process.wait()
            self.process.stdout.close()
            self.process = None
            self.output.close()
            if code != 0:
                said = (self.directory / "up.log").read_text()
                raise RuntimeError(f"skystead up ended with {code}:\n{said[-2000:]}")
        if self.database_name:
            postgres(f"DROP DATABASE IF EXISTS {self.database_name} WITH (FORCE)")
        if self.plc_process:
            self.plc_process.terminate()
            self.plc_process.wait()
            self.plc_process.stdout.close()
            self.plc_process = None

    def tool(self, *arguments, check=True):
        """Runs the skystead tool with the settings of this stack. Returns what it prints."""
        done = subprocess.run(
            [*self.prefix, PROGRAMS / "skystead", *arguments], env=self.environment, capture_output=True, text=True
        )
        if check and done.returncode != 0:
            raise RuntimeError(f"skystead {arguments}: {done.stdout}{done.stderr}")
        return done.stdout

    def log(self, name):
        return (self.data_dir / "log" / f"{name}.log").read_text()

    def pids(self):
        """The processes of each kind: xrpc, stream, and the web server with its workers."""
        processes = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except (FileNotFoundError, ProcessLookupError):
                continue
            processes[int(entry.name)] = (parent, command)
        own = {pid: command for pid, (parent, command) in processes.items() if parent == self.process.pid}
        kinds = {"xrpc": "skystead-fcgi xrpc", "stream": "skystead-worker stream", "web": self.web}
        found = {kind: [pid for pid, command in own.items() if word in command] for kind, word in kinds.items()}
        found["web"] += [pid for pid, (parent, _) in processes.items() if parent in found["web"]]
        return found

    # XRPC without a client library, for what the SDK hides

    def call(self, method, body=None, token=None, params="", headers=None, raw=None):
        """Status, headers and body of one call. A body is sent as JSON, `raw` as it is."""
        request = urllib.request.Request(f"{self.base_url}/xrpc/{method}{params}")
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        if raw is not None:
            request.data = raw
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        for name, value in (headers or {}).items():
            request.add_header(name, value)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read()

    def did_key(self, did):
        """The signing key of `did`, from the PLC directory."""
        with urllib.request.urlopen(f"{self.plc_url}/{did}/data", timeout=10) as answer:
            return json.load(answer)["verificationMethods"]["atproto"]


def record_key(number):
    """A TID that is the test's own: `number`, below 2^60, in the alphabet that sorts."""
    digits = "234567abcdefghijklmnopqrstuvwxyz"
    return "3" + "".join(digits[number >> 5 * place & 31] for place in reversed(range(12)))


def wait_until(condition, seconds=20, what="a condition"):
    """For what another process does in its own time: asks again until `condition` holds, or raises."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.01)
