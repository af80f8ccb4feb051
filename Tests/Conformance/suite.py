"""What the rows stand on: requests, accounts, the event stream, and the verdict of each row.

Nothing here knows whose server answers. `Tests/Support` gives the independent decoding (verify.py) and did:plc's
encodings (plc_directory.py).
"""

import base64
import hashlib
import hmac
import http.client
import json
import secrets
import select
import socket
import ssl
import struct
import subprocess
import sys
import time
import urllib.parse
import zlib
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Support"))

from verify import Wrong, decode_frame, demand  # noqa: E402
from websockets.exceptions import ConnectionClosed  # noqa: E402
from websockets.sync.client import connect  # noqa: E402

POST = "app.bsky.feed.post"
LIKE = "app.bsky.feed.like"
PROFILE = "app.bsky.actor.profile"
# A collection that no published lexicon describes: any server takes it unchecked.
UNKNOWN = "com.example.conformance.note"
PASSWORD = "correct horse battery staple"
# Seconds for one answer, one event, one mail.
ANSWER_SECONDS = 60
EVENT_SECONDS = 30


class Skip(Exception):
    """The row cannot be tried here; the sentence says what is missing."""


@dataclass
class Row:
    number: object
    text: str
    needs: tuple
    run: object


class Table:
    """Rows in the order of their numbers, each a function with its number and text beside it."""

    def __init__(self):
        self.rows = []

    def row(self, number, text, *needs):
        """The function below is row `number`; it is skipped without the options that `needs` names."""

        def add(function):
            demand(all(known.number != number for known in self.rows), f"row {number} is there twice")
            self.rows.append(Row(number, text, needs, function))
            return function

        return add


def nsid(name):
    """`server.createSession` is short for `com.atproto.server.createSession`, as in the specification's table."""
    is_short = name.split(".")[0] in ("admin", "identity", "label", "moderation", "repo", "server", "sync")
    return f"com.atproto.{name}" if is_short else name


class Answer:
    """Status, header fields and body of an answer, and which request it belongs to."""

    def __init__(self, request, status, headers, body, seconds=0.0):
        self.request, self.status, self.headers, self.body, self.seconds = request, status, headers, body, seconds

    @property
    def json(self):
        try:
            return json.loads(self.body)
        except ValueError:
            raise Wrong(f"the body is not JSON: {self.body[:200]!r}") from None

    @property
    def error(self):
        return self.json.get("error")

    @property
    def message(self):
        return self.json.get("message")

    def header(self, name):
        return self.headers.get(name, "")

    def __str__(self):
        return f"{self.request} → {self.status} {shown(self.body, 400)}"


def expect(answer, status, error=None, message=None, has=None, starts=None):
    """The status; for an error also its name and words: `message` is exact. Returns the JSON body, or None.

    An error has a name; words only where they are asked for (https://atproto.com/specs/xrpc#error-responses).
    """
    statuses = status if isinstance(status, (set, frozenset)) else {status}
    demand(answer.status in statuses, f"status {answer.status}, not {sorted(statuses)}")
    if answer.status >= 400:
        value = answer.json
        demand(isinstance(value.get("error"), str) and isinstance(value.get("message", ""), str),
               "an error has `error`, and `message` is text")
        demand("json" in answer.header("content-type"), "an error is JSON")
        names = error if isinstance(error, (set, frozenset)) else {error}
        demand(error is None or value["error"] in names, f"error {value['error']!r}, not {sorted(map(str, names))}")
        words = value.get("message", "")
        demand(message is None or words == message, f"message {words!r}, not {message!r}")
        demand(has is None or has in words, f"message {words!r} without {has!r}")
        demand(starts is None or words.startswith(starts), f"message {words!r} does not begin with {starts!r}")
        return value
    return answer.json if answer.body and "json" in answer.header("content-type") else None


class Server:
    """A PDS by its base URL."""

    def __init__(self, url):
        parts = urllib.parse.urlsplit(url)
        demand(parts.scheme in ("http", "https") and parts.hostname, f"{url} is no base URL")
        self.url = url.rstrip("/")
        self.is_tls = parts.scheme == "https"
        self.host, self.port = parts.hostname, parts.port or (443 if self.is_tls else 80)
        self.authority = parts.netloc
        self.last = None

    def socket(self, receive_buffer=None):
        """A connection, with TLS if the URL says so."""
        plain = None
        for family, kind, protocol, _, address in socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM):
            plain = socket.socket(family, kind, protocol)
            if receive_buffer:
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            plain.settimeout(ANSWER_SECONDS)
            try:
                plain.connect(address)
                break
            except OSError:
                plain.close()
                plain = None
        if plain is None:
            raise Wrong(f"nobody listens at {self.url}")
        return ssl.create_default_context().wrap_socket(plain, server_hostname=self.host) if self.is_tls else plain

    def request(self, method, target, headers=None, body=None):
        """One request as it is given; every request has a connection of its own."""
        fields = {"Host": self.authority, "Connection": "close", "User-Agent": "conformance", **(headers or {})}
        if body is not None:
            fields.setdefault("Content-Length", str(len(body)))
        described = f"{method} {target[:200]}" + (f" {shown(body)}" if body else "")
        connection = http.client.HTTPConnection(self.host, self.port)
        connection.sock = self.socket()
        begun = time.monotonic()
        try:
            connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            for name, value in fields.items():
                for one in value if isinstance(value, list) else [value]:
                    connection.putheader(name, one)
            connection.endheaders()
            self.send_while_welcome(connection.sock, body or b"")
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.last = Answer(described, 0, {}, b"")
            raise Wrong(f"no answer: {error!r}") from None
        finally:
            connection.close()
        self.last = Answer(described, answer.status, answer.headers, content, time.monotonic() - begun)
        return self.last

    @staticmethod
    def send_while_welcome(connection, body):
        """Sends a body until the other side answers or closes: a refusal of a large body may come early."""
        view = memoryview(body)
        try:
            while view:
                readable, writable, _ = select.select([connection], [connection], [], ANSWER_SECONDS)
                if readable or not writable:
                    return
                view = view[connection.send(view[:65_536]) :]
        except (BrokenPipeError, ConnectionResetError):
            return

    def get(self, method, token=None, headers=None, auth=None, query=None, **params):
        """A query. A parameter that is a list is repeated; `query` replaces them all."""
        text = urllib.parse.urlencode({k: v for k, v in params.items() if v is not None}, doseq=True)
        text = text if query is None else query
        return self.request("GET", f"/xrpc/{nsid(method)}" + (f"?{text}" if text else ""), fields(token, auth, headers))

    def post(self, method, body=None, token=None, headers=None, auth=None, raw=None, kind=None):
        """A procedure. `body` goes as JSON, `raw` as bytes of the content type `kind`."""
        all_fields = fields(token, auth, headers)
        content = raw
        if body is not None:
            content = json.dumps(body).encode()
            kind = kind or "application/json"
        if kind:
            all_fields["Content-Type"] = kind
        if content is None:
            all_fields.setdefault("Content-Length", "0")
        return self.request("POST", f"/xrpc/{nsid(method)}", all_fields, content)

    def raw(self, data, ends=False, seconds=20):
        """Sends bytes as they are and reads until the other side closes. Status 0 is a connection that just ended.

        With `ends` it says that nothing more will come, as a client that breaks off does.
        """
        described = shown(data)
        begun = time.monotonic()
        connection = self.socket()
        received = b""
        try:
            connection.settimeout(seconds)
            self.send_while_welcome(connection, data)
            try:
                if ends and not self.is_tls:
                    connection.shutdown(socket.SHUT_WR)
                while piece := connection.recv(65_536):
                    received += piece
            except TimeoutError:
                raise Wrong(f"no end of the answer in {seconds} s, after {received[:100]!r}") from None
            except OSError:
                pass  # reset, perhaps before the answer was read: then there is none
        finally:
            connection.close()
        head, _, body = received.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        words = lines[0].split(" ")
        status = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        self.last = Answer(described, status, Lowercase(headers), body, time.monotonic() - begun)
        return self.last


def shown(data, size=200):
    """The beginning of `data` for people; of what is no text only its length."""
    try:
        text = data[:size].decode()
    except UnicodeDecodeError:
        return f"({len(data)} bytes)"
    if any(character < " " and character not in "\r\n\t" for character in text):
        return f"({len(data)} bytes)"
    return text.replace("\r\n", "⏎") + (f"… ({len(data)} bytes)" if len(data) > size else "")


class Lowercase(dict):
    """Header fields of a raw answer, by name in any case."""

    def get(self, name, default=None):
        return super().get(name.lower(), default)


def fields(token, auth, headers):
    made = dict(headers or {})
    if token is not None:
        made["Authorization"] = f"Bearer {token}"
    if auth is not None:
        made["Authorization"] = auth
    return made


class Account:
    """An account of the server under test, signed in."""

    def __init__(self, suite, session, email=None, password=PASSWORD):
        self.suite, self.email, self.password = suite, email, password
        self.did, self.handle = session["did"], session["handle"]
        self.access, self.refresh = session["accessJwt"], session["refreshJwt"]

    def get(self, method, **rest):
        return self.suite.server.get(method, token=self.access, **rest)

    def post(self, method, body=None, **rest):
        return self.suite.server.post(method, body, token=self.access, **rest)

    def create(self, record, collection=POST, **rest):
        """createRecord; the answer's JSON, with the commit also where the answer leaves it out."""
        body = {"repo": self.did, "collection": collection, "record": record, **rest}
        made = expect(self.post("repo.createRecord", body), 200)
        if "commit" not in made:
            made["commit"] = self.head()
        return made

    def head(self):
        """cid and rev of getLatestCommit."""
        return expect(self.get("sync.getLatestCommit", did=self.did), 200)

    def upload(self, content, kind="image/png"):
        """uploadBlob; the reference that records take."""
        return expect(self.post("repo.uploadBlob", raw=content, kind=kind), 200)["blob"]

    def archive(self, **params):
        """The bytes of getRepo."""
        answer = self.get("sync.getRepo", did=self.did, **params)
        expect(answer, 200)
        demand(answer.header("content-type") == "application/vnd.ipld.car", "the media type of a CAR")
        return answer.body


class Suite:
    """What the rows of one run share: the server, the options, the accounts that any row may use."""

    def __init__(self, options, doubles):
        self.options = options
        self.server = Server(options.url)
        self.doubles = doubles
        self.run_tag = secrets.token_hex(3)
        self.count = 0
        self.shared = {}
        self.left = []

    # Options

    def has(self, need):
        """Whether what the option gives is there; otherwise says so in the row's verdict."""
        return getattr(self.options, need) is not None

    def left_out(self, what):
        """A part of the row was not tried: the row then counts as skipped, with this reason."""
        if what not in self.left:
            self.left.append(what)

    def optional(self, answer, name):
        """A property that the lexicon lets a server leave out. Without it the row counts as skipped; None then."""
        if name not in answer:
            self.left_out(f"{name}, which the lexicon lets a server leave out")
        return answer.get(name)

    @property
    def admin(self):
        """The value of `Authorization` for the operator."""
        return "Basic " + base64.b64encode(f"admin:{self.options.admin_password}".encode()).decode()

    def run_command(self, command):
        """Runs an option's command: what no request can bring about (the passing of time)."""
        done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=120)
        demand(done.returncode == 0, f"`{command}` ended with {done.returncode}: {done.stderr[-300:]}")

    # What the server says of itself

    @property
    def description(self):
        if "description" not in self.shared:
            self.shared["description"] = expect(self.server.get("server.describeServer"), 200)
        return self.shared["description"]

    @property
    def service_did(self):
        return self.description["did"]

    @property
    def domain(self):
        """The first domain for handles, with its dot."""
        if not self.description["availableUserDomains"]:
            raise Skip("this server has no domain for handles")
        return self.description["availableUserDomains"][0]

    # Accounts

    def label(self):
        """A first label that nobody has: short enough for every server."""
        self.count += 1
        return f"c{self.run_tag}{self.count}"

    def handle(self):
        return self.label() + self.domain

    def registration(self, **changes):
        """A body for createAccount that is right, but for `changes`; None takes a field away."""
        handle = changes.get("handle") or self.handle()
        body = {"handle": handle, "email": f"{handle.split('.')[0]}@example.com", "password": PASSWORD}
        if code := self.invite_code():
            body["inviteCode"] = code
        body.update(changes)
        return {name: value for name, value in body.items() if value is not None}

    def invite_code(self):
        """A code with uses left, or None where nobody asks for one."""
        if not self.description.get("inviteCodeRequired"):
            return None
        if self.options.invite_code:
            return self.options.invite_code
        if not self.has("admin_password"):
            raise Skip("this server asks for invite codes: --invite-code or --admin-password")
        if "invite" not in self.shared:
            made = self.server.post("server.createInviteCode", {"useCount": 1_000}, auth=self.admin)
            self.shared["invite"] = expect(made, 200)["code"]
        return self.shared["invite"]

    def account(self, **changes):
        """A new account."""
        if self.options.account:
            raise Skip("it takes accounts of its own, and --account is given")
        body = self.registration(**changes)
        session = expect(self.server.post("server.createAccount", body), 200)
        return Account(self, session, body.get("email"), body["password"])

    def given(self, place):
        """An account of `--account`, or a new one where there is no such option."""
        if not self.options.account:
            return self.account()
        if place >= len(self.options.account):
            raise Skip("it takes a second --account")
        handle, _, password = self.options.account[place].partition(",")
        session = expect(self.server.post("server.createSession", {"identifier": handle, "password": password}), 200)
        return Account(self, session, session.get("email"), password)

    def sign_in(self, account, password=None, **more):
        """createSession; the answer."""
        body = {"identifier": account.did, "password": password or account.password, **more}
        return self.server.post("server.createSession", body)

    @property
    def first(self):
        """A1 of the table: for rows that leave it as usable as they found it."""
        if "first" not in self.shared:
            self.shared["first"] = self.given(0)
        return self.shared["first"]

    @property
    def second(self):
        """A2 of the table."""
        if "second" not in self.shared:
            self.shared["second"] = self.given(1)
        return self.shared["second"]

    def signing_key(self, did):
        """The Multikey of `#atproto` in the DID document, from the PLC directory if it is known, else from the PDS."""
        document = self.document(did)
        for method in document["verificationMethod"]:
            if method["id"] in ("#atproto", f"{did}#atproto"):
                return method["publicKeyMultibase"]
        raise Wrong("the DID document has no #atproto key")

    def document(self, did):
        if self.has("plc_url"):
            return self.doubles.plc.document(did)
        return expect(self.server.get("repo.describeRepo", repo=did), 200)["didDoc"]

    # The event stream

    def stream(self, cursor=None):
        return Stream(self.server, cursor)

    # Tokens

    def session_token(self, did, scope, kind, expires_at, audience=None, **claims):
        """A token as this server would have made it, signed with `--session-key`: how time is passed."""
        payload = {"scope": scope, "sub": did, "iat": expires_at - 60, "exp": expires_at, "aud": audience,
                   **claims}
        payload["aud"] = audience or self.service_did
        text = ".".join(b64url(json.dumps(part).encode()) for part in ({"typ": kind, "alg": "HS256"}, payload))
        key = bytes.fromhex(self.options.session_key)
        return f"{text}.{b64url(hmac.new(key, text.encode(), hashlib.sha256).digest())}"


class Stream:
    """A subscription to com.atproto.sync.subscribeRepos."""

    def __init__(self, server, cursor=None):
        url = server.url.replace("http", "ws", 1) + "/xrpc/com.atproto.sync.subscribeRepos"
        if cursor is not None:
            url += f"?cursor={cursor}"
        self.socket = connect(url, max_size=8 << 20, compression=None, proxy=None)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def next(self, seconds=EVENT_SECONDS):
        """(header, payload) of the next frame; raises ConnectionClosed at the end."""
        try:
            frame = self.socket.recv(timeout=seconds)
        except TimeoutError:
            raise Wrong(f"no event in {seconds} s") from None
        demand(isinstance(frame, bytes), "a frame is not binary")
        return decode_frame(frame)

    def until(self, condition, seconds=EVENT_SECONDS):
        """Every frame up to and with the first for which `condition(type, payload)` holds."""
        deadline = time.monotonic() + seconds
        seen = []
        while True:
            header, payload = self.next(max(0.1, deadline - time.monotonic()))
            demand(header.get("op") == 1, f"an error frame: {payload}")
            seen.append((header["t"], payload))
            if condition(header["t"], payload):
                return seen

    def commit_of(self, rev, did):
        """Everything up to the commit `rev` of `did`."""
        return self.until(lambda kind, event: kind == "#commit" and (event["repo"], event["rev"]) == (did, rev))

    def is_closed(self, seconds=EVENT_SECONDS):
        try:
            self.socket.recv(timeout=seconds)
        except ConnectionClosed:
            return True
        except TimeoutError:
            pass
        return False


def did_of(event):
    return event.get("repo") or event.get("did")


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def jwt_parts(token):
    """Header and claims of a JWT; nothing is verified."""
    parts = token.split(".")
    demand(len(parts) == 3, "a JWT has three parts")
    return tuple(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in parts[:2])


def jwt_signature(token):
    part = token.split(".")[2]
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def now_text():
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())


def post(text="conformance", **more):
    """A post that every lexicon check passes."""
    return {"$type": POST, "text": text, "createdAt": now_text(), **more}


def note(text):
    return {"$type": UNKNOWN, "text": text}


def png(seed=0):
    """A small PNG; each seed has other bytes."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + hashlib.sha256(f"{seed}-{row}".encode()).digest()[:24] for row in range(8))
    header = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def image_post(*blobs):
    images = [{"image": blob, "alt": ""} for blob in blobs]
    return post("with a picture", embed={"$type": "app.bsky.embed.images", "images": images})


def wait_for(condition, what, seconds=EVENT_SECONDS):
    """For what another machine does in its own time: asks again until `condition()` gives something, or raises."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        demand(time.monotonic() < deadline, f"not in {seconds} s: {what}")
        time.sleep(0.02)
    return value
