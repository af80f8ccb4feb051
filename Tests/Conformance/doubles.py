"""The other machines that a PDS speaks with, as far as the suite must see or say something there: AppView, mail."""

import email
import email.policy
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from data import Directory
from suite import jwt_parts, jwt_signature, wait_for
from verify import demand, verify_signature


def address_of(text):
    host, _, port = text.rpartition(":")
    return host, int(port)


class Doubles:
    """What the options of a run ask for; started and stopped together."""

    def __init__(self, options):
        self.plc = Directory(options.plc_url) if options.plc_url else None
        self.appview = self.service = self.mail = None
        if options.appview_listen:
            self.appview = Service(address_of(options.appview_listen), options.appview_did, self.plc)
        if options.service_listen:
            self.service = Service(address_of(options.service_listen), None, self.plc)
        if options.smtp_listen:
            self.mail = SMTPSink(address_of(options.smtp_listen))
        elif options.mail_directory:
            self.mail = MailDirectory(Path(options.mail_directory))
        self.running = [one for one in (self.appview, self.service, self.mail) if hasattr(one, "stop")]

    def __enter__(self):
        for one in self.running:
            one.start()
        return self

    def __exit__(self, *_):
        for one in self.running:
            one.stop()


class Seen:
    """A request that a service got."""

    def __init__(self, method, target, headers, body):
        self.method, self.target, self.headers, self.body = method, target, headers, body
        self.nsid = urlsplit(target).path.removeprefix("/xrpc/")
        self.params = parse_qs(urlsplit(target).query)
        self.claims = None


class Service:
    """An XRPC service behind a PDS, such as an AppView: it takes nothing without a service token that holds.

    `answers` has what to say, by NSID: a function of the request that gives (status, headers, body). What `PUBLIC`
    names is answered without a token too: a service knows nothing of the accounts of these tests.
    """

    PUBLIC = {"com.atproto.repo.getRecord": ("RecordNotFound", "Could not locate record")}

    def __init__(self, address, did, plc):
        self.address, self.did, self.plc = address, did, plc
        self.answers, self.seen = {}, []
        self.server = None

    def start(self):
        """Listens; does nothing when it does already."""
        if self.server:
            return
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                """Silent: what came is in `seen`."""

            def respond(self):
                size = int(self.headers.get("Content-Length") or 0)
                request = Seen(self.command, self.path, self.headers, self.rfile.read(size))
                status, headers, body = service.answer(request)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = respond

        class Listener(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

        self.server = Listener(self.address, Handler)
        self.address = self.server.server_address[:2]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        """Nobody listens afterwards: what the PDS sees of a service that is down."""
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    @property
    def url(self):
        return f"http://localhost:{self.address[1]}"

    def answer(self, request):
        self.seen.append(request)
        if request.nsid in self.PUBLIC and "Authorization" not in request.headers:
            return reply(400, dict(zip(("error", "message"), self.PUBLIC[request.nsid])))
        try:
            request.claims = self.check(request)
        except Exception as error:
            return reply(401, {"error": "BadJwt", "message": str(error)})
        if request.nsid not in self.answers:
            return reply(501, {"error": "MethodNotImplemented", "message": "not in this test"})
        return self.answers[request.nsid](request)

    def check(self, request):
        """The claims of the request's service token; raises unless everything about it holds."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        demand(scheme == "Bearer", "no service token")
        header, claims = jwt_parts(token)
        demand(header.get("typ") == "JWT" and header["alg"] in ("ES256K", "ES256"), f"header {header}")
        demand(claims["aud"].split("#")[0] == self.did, f"aud is {claims['aud']}")
        demand(claims["lxm"] == request.nsid, f"lxm is {claims['lxm']}")
        demand(time.time() - 5 < claims["exp"] <= time.time() + 300, "exp")
        demand(claims.get("jti"), "no jti")
        if self.plc:
            document = self.plc.document(claims["iss"].split("#")[0])
            key = next(method["publicKeyMultibase"] for method in document["verificationMethod"]
                       if method["id"].endswith("#atproto"))
            verify_signature(key, jwt_signature(token), token.rsplit(".", 1)[0].encode())
        return claims

    def take(self):
        """What was seen since the last time."""
        seen, self.seen = self.seen, []
        return seen


def reply(status, value, **headers):
    """An answer in JSON."""
    return status, {"Content-Type": "application/json", **headers}, json.dumps(value).encode()


class Mailbox:
    """Mail by its recipient."""

    def find(self, address, count=1):
        """The text of the `count`-th mail to `address`, waited for."""
        found = wait_for(lambda: (mails := self.to(address))[count - 1 :] and mails, f"mail {count} to {address}")
        return found[count - 1]


class SMTPSink(Mailbox):
    """A real SMTP server that keeps what it takes."""

    def __init__(self, address):
        from aiosmtpd.controller import Controller

        self.messages = []
        self.controller = Controller(self, hostname=address[0], port=address[1], decode_data=False)

    def start(self):
        self.controller.start()

    def stop(self):
        self.controller.stop()

    async def handle_DATA(self, server, session, envelope):
        text = text_of(envelope.content)
        self.messages += [(recipient.lower(), text) for recipient in envelope.rcpt_tos]
        return "250 taken"

    def to(self, address):
        return [text for recipient, text in list(self.messages) if recipient == address.lower()]


class MailDirectory(Mailbox):
    """Mail that lies in files, the oldest name first."""

    def __init__(self, path):
        self.path = path

    def to(self, address):
        found = []
        for file in sorted(self.path.iterdir()):
            if file.is_file() and not file.name.startswith("."):
                content = file.read_bytes()
                message = email.message_from_bytes(content, policy=email.policy.default)
                if address.lower() in (message["to"] or "").lower():
                    found.append(text_of(content))
        return found


def text_of(content):
    """The plain text of a message, with its subject."""
    message = email.message_from_bytes(content, policy=email.policy.default)
    body = message.get_body(("plain", "html"))
    return f"{message['subject']}\n{body.get_content() if body else ''}"
