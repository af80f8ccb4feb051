"""The other machines that a PDS speaks with, as far as the suite must see or say something there: AppView, mail."""

import email
import email.policy
import json
from pathlib import Path
from urllib.parse import urlsplit

from appview import AppView
from data import Directory
from suite import wait_for


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
    """A request that a service got, with the claims of its token."""

    def __init__(self, handler):
        self.method, self.headers, self.body, self.claims = (
            handler.command, handler.headers, handler.body, handler.claims)
        self.nsid = urlsplit(handler.path).path.removeprefix("/xrpc/")
        self.params = handler.query


class Service:
    """An XRPC service behind a PDS, such as an AppView: Tests/Support/appview.py, which can go down and come back.

    `answers` has what to say, by NSID: a function of the request that gives (status, headers, body). Without a token
    only what `PUBLIC` names is answered: a service knows nothing of the accounts of these tests.
    """

    PUBLIC = {"com.atproto.repo.getRecord": ("RecordNotFound", "Could not locate record")}

    def __init__(self, address, did, plc):
        self.address, self.did, self.plc = address, did, plc
        self.answers, self.seen = {}, []
        self.view = None

    def start(self):
        """Listens; does nothing when it does already."""
        if self.view is None:
            self.view = AppView(self.address, self.did)
            self.view.plc_url = self.plc.url if self.plc else None
            self.view.answers = self
            self.address = self.view.server_address[:2]

    def stop(self):
        """Nobody listens afterwards: what the PDS sees of a service that is down."""
        if self.view:
            self.view.close()
            self.view = None

    def be(self, did):
        """From here on its tokens are for `did`."""
        self.did = self.view.did = did

    @property
    def url(self):
        return f"http://localhost:{self.address[1]}"

    def get(self, method):
        """What the double looks up to answer `method`."""
        return self.respond

    def respond(self, handler):
        request = Seen(handler)
        self.seen.append(request)
        if request.claims is None and request.nsid in self.PUBLIC:
            answer = reply(400, dict(zip(("error", "message"), self.PUBLIC[request.nsid])))
        elif request.claims is None:
            answer = reply(401, {"error": "AuthMissing", "message": "Authentication Required"})
        elif request.nsid in self.answers:
            answer = self.answers[request.nsid](request)
        else:
            answer = reply(501, {"error": "MethodNotImplemented", "message": "not in this test"})
        status, headers, body = answer
        handler.send(status, body, headers)

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
