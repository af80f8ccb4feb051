"""An AppView for tests: an HTTP server that believes nobody without a service token that holds.

It shares no code with the product. A token is checked as https://atproto.com/specs/xrpc says (inter-service
authentication): the signature with the key of the issuer's DID document, which the PLC directory gives, the audience, the
method, the expiry, and that no token comes twice. What it answers is up to the test: `answers[method]` is called with
the request's handler, or is a (status, headers, body) of its own.
"""

import base64
import json
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import plc_directory as plc

DID = "did:web:appview.example.com"
# The longest life of a token, seconds.
LIFE = 60


class Refusal(Exception):
    """An error of XRPC: status 401 and a name."""


def demand(condition, name):
    if not condition:
        raise Refusal(name)


def decoded(part):
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


class AppView(ThreadingHTTPServer):
    """Listens from its creation, on loopback unless told otherwise; `origin` is where. `did` is its audience."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address=("127.0.0.1", 0), did=DID):
        super().__init__(address, Handler)
        self.did = did
        self.origin = f"http://localhost:{self.server_address[1]}"
        self.plc_url = None
        self.answers = {}
        # What came, in order: method, path, headers in lower case, body, claims of the token or None.
        self.requests = []
        # Tokens that may be for another service, as a feed's: method of the request -> (audience, method).
        self.delegated = {}
        self.tokens = set()
        self.lock = threading.Lock()
        self.thread = threading.Thread(target=self.serve_forever, daemon=True)
        self.thread.start()

    def close(self):
        self.shutdown()
        self.server_close()
        self.thread.join()

    def handle_error(self, request, client_address):
        """Connections that break are what some tests are about."""

    def did_key(self, did):
        with urllib.request.urlopen(f"{self.plc_url}/{did}", timeout=10) as answer:
            document = json.load(answer)
        demand(document["id"] == did, "BadJwtIss")
        for method in document["verificationMethod"]:
            if method["id"] == did + "#atproto":
                return "did:key:" + method["publicKeyMultibase"]
        raise Refusal("BadJwtIss")

    def claims_of(self, authorization, method):
        """The claims of a token that holds for `method`; None without one. Raises Refusal."""
        if authorization is None:
            return None
        scheme, _, token = authorization.partition(" ")
        demand(scheme == "Bearer", "MissingJwt")
        parts = token.split(".")
        demand(len(parts) == 3, "BadJwt")
        header, claims = json.loads(decoded(parts[0])), json.loads(decoded(parts[1]))
        demand(header["typ"] == "JWT", "BadJwtType")
        code = plc.multikey(self.did_key(claims["iss"]))[0]
        demand(header["alg"] == {b"\xe7\x01": "ES256K", b"\x80\x24": "ES256"}[code], "BadJwt")
        audience, lexicon = self.delegated.get(method, (self.did, method))
        demand(claims["aud"] == audience, "BadJwtAudience")
        demand(claims["lxm"] == lexicon, "BadJwtLexiconMethod")
        now = time.time()
        demand(claims["iat"] <= now + 5, "BadJwt")
        demand(now < claims["exp"] <= claims["iat"] + LIFE, "JwtExpired")
        signed = f"{parts[0]}.{parts[1]}".encode()
        demand(plc.is_signed_by(self.did_key(claims["iss"]), signed, decoded(parts[2])), "BadJwtSignature")
        with self.lock:
            demand(len(claims["jti"]) >= 16 and claims["jti"] not in self.tokens, "BadJwt")
            self.tokens.add(claims["jti"])
        return claims


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        """Says nothing."""

    def do_GET(self):
        self.take()

    def do_POST(self):
        self.take()

    def do_HEAD(self):
        self.take()

    def take(self):
        parts = urlsplit(self.path)
        self.query = parse_qs(parts.query, keep_blank_values=True)
        method = parts.path.removeprefix("/xrpc/")
        size = int(self.headers.get("Content-Length", 0))
        self.body = self.rfile.read(size)
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            self.claims = self.server.claims_of(headers.get("authorization"), method)
        except Refusal as refusal:
            return self.send(401, {"error": str(refusal), "message": "token refused"})
        with self.server.lock:
            self.server.requests.append((self.command, self.path, headers, self.body, self.claims))
        answer = self.server.answers.get(method)
        if answer is None:
            return self.send(404, {"error": "XRPCNotSupported", "message": "XRPCNotSupported"})
        if callable(answer):
            return answer(self)
        return self.send(*answer)

    def send(self, status, body, headers=None):
        """A whole answer; a body that is no bytes is sent as JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def begin(self, headers, length=None):
        """The head of an answer whose body the test writes: with a length, or else in chunks (`chunk`)."""
        self.send_response(200)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        if length is None:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def chunk(self, data):
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def cut(self):
        """Closes the connection in the middle of the answer."""
        self.close_connection = True
        self.wfile.flush()
