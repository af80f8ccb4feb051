"""The host-fixture program behind a real nginx or Caddy with the shipped conf/, on loopback. Standard library only.

Environment:
  SKYSTEAD_FIXTURE     the host-fixture program (default: .build/debug/host-fixture)
  SKYSTEAD_CONF_DIR    the configurations to test (default: conf)
  SKYSTEAD_PORT_BASE   first of ten free loopback ports (default: 21400)
  SKYSTEAD_EDGES       which web servers (default: nginx,caddy)
"""
import atexit
import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
FIXTURE = os.environ.get("SKYSTEAD_FIXTURE", str(ROOT / ".build/debug/host-fixture"))
CONF = pathlib.Path(os.environ.get("SKYSTEAD_CONF_DIR", ROOT / "conf"))
PORT_BASE = int(os.environ.get("SKYSTEAD_PORT_BASE", "21400"))
EDGES = os.environ.get("SKYSTEAD_EDGES", "nginx,caddy").split(",")
HOST = "home.example"


def directory():
    path = tempfile.mkdtemp(prefix="skystead-edge-", dir="/tmp")
    os.chmod(path, 0o755)
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return pathlib.Path(path)


class Listener:
    """A listening socket that outlives the processes which serve it, as systemd's does."""

    def __init__(self, path):
        self.path = str(path)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(self.path)
        os.chmod(self.path, 0o666)
        self.socket.listen(511)
        self.children = set()

    def spawn(self, *arguments):
        """Starts host-fixture with the socket as descriptor 3 and waits until it says that it is ready."""
        notify_path = self.path + ".notify"
        if os.path.exists(notify_path):
            os.unlink(notify_path)
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notify.bind(notify_path)
        notify.settimeout(20)
        pid = os.fork()
        if pid == 0:
            try:
                log = os.open(self.path + ".log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
                os.dup2(log, 1)
                os.dup2(log, 2)
                os.dup2(self.socket.fileno(), 3)
                os.set_inheritable(3, True)
                environment = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "NOTIFY_SOCKET": notify_path}
                os.execve(FIXTURE, [FIXTURE, *arguments], environment)
            finally:
                os._exit(127)
        self.children.add(pid)
        assert notify.recv(100) == b"READY=1"
        notify.close()
        return pid

    def stop(self, pid, number=signal.SIGTERM):
        """Ends a process that `spawn` started and returns its exit status."""
        self.children.discard(pid)
        os.kill(pid, number)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def close(self):
        """Ends what is left; returns the exit statuses."""
        statuses = [self.stop(pid) for pid in list(self.children)]
        self.socket.close()
        return statuses


class Edge:
    """nginx or Caddy in front of one socket."""

    def __init__(self, kind, where, port, keep=False):
        self.kind = kind
        self.port = port
        self.where = where
        command = self._nginx(keep) if kind == "nginx" else self._caddy()
        self.log = open(where / f"{kind}.log", "wb")
        environment = dict(os.environ, HOME=str(where), XDG_DATA_HOME=str(where), XDG_CONFIG_HOME=str(where))
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, env=environment)
        self._wait()

    def _text(self, name):
        text = (CONF / name).read_text()
        return text.replace("/run/skystead", str(self.where)).replace("/var/lib/skystead", str(self.where))

    def _nginx(self, keep):
        (self.where / "nginx").mkdir(exist_ok=True)
        site = self._text("nginx/skystead.conf")
        parts = re.split(r"^ *# tls: (?:begin|end)\n", site, flags=re.M)
        assert len(parts) == 5, "conf/nginx/skystead.conf has two parts between tls: begin and tls: end"
        default = f"server {{ listen 127.0.0.1:{self.port} default_server; server_name _; return 421; }}\n"
        site = parts[0] + default + parts[2] + f"listen 127.0.0.1:{self.port};\n" + parts[4]
        site = re.sub(r"access_log [^;]*;", "access_log off;", site)
        locations = self._text("nginx/skystead_locations.conf")
        if keep:
            # Not what is shipped: the mistake that the host must survive.
            site = re.sub(r"(server unix:\S*xrpc\.sock;)", r"\1 keepalive 4;", site)
            locations += "\nfastcgi_keep_conn on;\n"
        (self.where / "skystead.conf").write_text(site)
        (self.where / "skystead_locations.conf").write_text(locations)
        (self.where / "skystead_fastcgi_params").write_text(self._text("nginx/skystead_fastcgi_params"))
        whole = self._text("nginx/standalone.conf").replace("user www-data;", "user root;" if os.getuid() == 0 else "")
        (self.where / "nginx.conf").write_text(whole)
        return [shutil.which("nginx") or "/usr/sbin/nginx", "-p", str(self.where), "-c", str(self.where / "nginx.conf")]

    def _caddy(self):
        name = self._text("caddy/skystead.caddy")
        at = f":{self.port}"
        sites = f"http://{HOST}{at}, http://*.{HOST}{at} {{"
        name = re.sub(r"^home\.example, \*\.home\.example \{", sites, name, flags=re.M)
        whole = self._text("caddy/Caddyfile").replace("\nhttp:// {", f"\nhttp://{at} {{")
        whole = whole.replace("\n{\n", "\n{\n\tdefault_bind 127.0.0.1\n\tauto_https off\n", 1)
        (self.where / "skystead.caddy").write_text(name)
        (self.where / "Caddyfile").write_text(whole)
        program = shutil.which("caddy") or "caddy"
        return [program, "run", "--config", str(self.where / "Caddyfile"), "--adapter", "caddyfile"]

    def _wait(self):
        """Until it listens; its own log says why not."""
        for _ in range(400):
            try:
                socket.create_connection(("127.0.0.1", self.port), 5).close()
                return
            except ConnectionRefusedError:
                try:
                    self.process.wait(0.05)
                except subprocess.TimeoutExpired:
                    continue
                raise AssertionError((self.where / f"{self.kind}.log").read_text())
        raise AssertionError(f"{self.kind} does not listen")

    def raw(self, request, timeout=40, ends=False):
        """Sends bytes (and the end of the stream, with `ends`), returns everything until the server closes."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout)
        with connection:
            try:
                connection.sendall(request)
                if ends:
                    connection.shutdown(socket.SHUT_WR)
            except (BrokenPipeError, ConnectionResetError):
                pass
            return receive(connection)

    def ask(self, target, method="GET", headers=(), body=b"", host=HOST):
        lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", "Connection: close", *headers]
        if body and not any(line.lower().startswith(("content-length", "transfer-encoding")) for line in lines):
            lines.append(f"Content-Length: {len(body)}")
        return Answer(self.raw("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body))

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(40)
        self.log.close()


def receive(connection):
    data = b""
    try:
        while piece := connection.recv(65536):
            data += piece
    except ConnectionResetError:
        pass
    return data


class Answer:
    """One HTTP/1.1 response, with chunks undone. `whole` is False when its body broke off."""

    def __init__(self, data):
        self.data = data
        head, _, rest = data.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        first = lines[0].split(b" ")
        self.status = int(first[1]) if len(first) > 1 and first[0].startswith(b"HTTP/") else 0
        self.headers = [tuple(part.strip() for part in line.split(b":", 1)) for line in lines[1:] if b":" in line]
        self.whole = True
        if (self.get("transfer-encoding") or b"").lower() == b"chunked":
            self.body, self.whole = unchunk(rest)
        else:
            self.body = rest
            length = self.get("content-length")
            if length is not None:
                self.whole = len(rest) >= int(length)

    def get(self, name):
        for key, value in self.headers:
            if key.lower() == name.encode():
                return value
        return None

    @property
    def text(self):
        return self.body.decode("utf-8", "replace")


def unchunk(data):
    body = b""
    while True:
        line, mark, rest = data.partition(b"\r\n")
        if not mark:
            return body, False
        size = int(line.split(b";")[0] or b"0", 16)
        if size == 0:
            return body, True
        if len(rest) < size + 2:
            return body + rest[:size], False
        body += rest[:size]
        data = rest[size + 2:]


def record(kind, content=b"", request=1):
    return struct.pack(">BBHHBB", 1, kind, request, len(content), 0, 0) + content


def stream(kind, content):
    out = b"".join(record(kind, content[i:i + 65528]) for i in range(0, len(content), 65528))
    return out + record(kind)


def pairs(parameters):
    def size(number):
        return bytes([number]) if number < 128 else struct.pack(">I", number | 0x80000000)

    return b"".join(size(len(n)) + size(len(v)) + n + v for n, v in parameters)


def fastcgi_request(method, target, body=b"", host=HOST, extra=(), keep=False):
    parameters = [(b"REQUEST_METHOD", method), (b"REQUEST_URI", target), (b"SKYSTEAD_HOST", host.encode()),
                  (b"SKYSTEAD_PEER", b"127.0.0.1"), (b"SKYSTEAD_SCHEME", b"http"), *extra]
    if body:
        parameters.append((b"CONTENT_LENGTH", str(len(body)).encode()))
    return (record(1, bytes([0, 1, 1 if keep else 0, 0, 0, 0, 0, 0])) + stream(4, pairs(parameters)) + stream(5, body))


def fastcgi(path, method, target, body=b""):
    """Asks the responder without a web server between. The answer's status, body, and whether it ended as it should."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(40)
        connection.connect(path)
        connection.sendall(fastcgi_request(method, target, body))
        data = receive(connection)
    output, ended = b"", False
    while len(data) >= 8:
        _, kind, _, size, padding, _ = struct.unpack(">BBHHBB", data[:8])
        if kind == 6:
            output += data[8:8 + size]
        ended = ended or kind == 3
        data = data[8 + size + padding:]
    head, _, content = output.partition(b"\r\n\r\n")
    status = re.search(rb"^Status: (\d+)", head, re.M)
    return int(status.group(1)) if status else 0, content, ended
