"""A mail server on loopback with TLS and a login: aiosmtpd, which nobody here wrote, with certificates made here."""

import datetime
import email
import email.policy
import logging
import re
import ssl
import threading
import warnings

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from stack import free_port, wait_until

# It warns of a login without TLS, which it can't see when TLS is there from the first byte.
warnings.filterwarnings("ignore", module="aiosmtpd")
logging.getLogger("mail.log").setLevel(logging.ERROR)

USER = "home@example.com"
PASSWORD = "p:a/s@s%word"
# As an operator writes it into the URL.
LOGIN = "home%40example.com:p%3Aa%2Fs%40s%25word"


class Authority:
    """A certificate authority in a directory: `ca.pem`, and server certificates by name."""

    def __init__(self, directory):
        self.directory = directory
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test authority")])
        usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
        certificate = self._sign(
            self.name, self.key, [(x509.BasicConstraints(True, None), True), (usage, True)]
        )
        self.path = directory / "ca.pem"
        self.path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def _sign(self, name, key, extensions):
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(self.key, hashes.SHA256())

    def context(self, host):
        """A server's TLS context with a certificate for `host`."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)]),
            key,
            [
                (x509.SubjectAlternativeName([x509.DNSName(host)]), False),
                (x509.BasicConstraints(False, None), True),
            ],
        )
        path = self.directory / f"{host}.pem"
        path.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(path)
        return context


# What a server in trouble does: it says goodbye, does not take the receiver now, does not take the mail now, or breaks
# the connection when the whole mail is there, so that nobody knows.
TROUBLES = ("421 4.3.2 going down", "450 4.2.1 mailbox busy", "451 4.3.0 out of storage", "break")


class MailServer:
    """`way` is smtps (TLS from the first byte) or smtp (STARTTLS, required). Wants USER with PASSWORD."""

    def __init__(self, way, context, port=None):
        self.way = way
        self.port = port or free_port()
        self.host = f"localhost:{self.port}"
        self.url = f"{way}://{LOGIN}@{self.host}"
        self.messages = []
        # What RCPT answers next, in order; then 250.
        self.answers = []
        # What befalls each mail in turn, of TROUBLES; none is taken while there is some.
        self.troubles = ()
        # The troubles there were, and the Message-IDs of mails that came whole and were not taken.
        self.troubled = []
        self.untaken = set()
        self.logins = []
        self.lock = threading.Lock()
        implicit = way == "smtps"
        self.controller = Controller(
            self,
            hostname="127.0.0.1",
            port=self.port,
            tls_context=None if implicit else context,
            require_starttls=not implicit,
            auth_required=True,
            # With implicit TLS aiosmtpd does not see that the connection is a safe one.
            auth_require_tls=not implicit,
            authenticator=self.authenticate,
            server_hostname="localhost",
            ssl_context=context if implicit else None,
        )

    def __enter__(self):
        self.controller.start()
        return self

    def __exit__(self, *_):
        self.controller.stop()

    def authenticate(self, server, session, envelope, mechanism, data):
        good = (
            isinstance(data, LoginPassword) and data.login == USER.encode() and data.password == PASSWORD.encode()
        )
        with self.lock:
            self.logins.append(good)
        return AuthResult(success=good, handled=False)

    async def handle_RCPT(self, server: SMTP, session, envelope, address, options):
        with self.lock:
            answer = self.answers.pop(0) if self.answers else "250 OK"
            session.trouble = self.troubles[len(self.troubled) % len(self.troubles)] if self.troubles else None
            if session.trouble:
                self.troubled.append(session.trouble)
                if session.trouble[:3] in ("421", "450"):
                    answer = session.trouble
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        if answer.startswith("421"):
            # Once it is said (RFC 5321 §3.8).
            server.loop.call_soon(server.transport.close)
        return answer

    async def handle_DATA(self, server, session, envelope):
        with self.lock:
            if session.trouble is None:
                self.messages.append((list(envelope.rcpt_tos), envelope.content))
                return "250 taken"
            self.untaken.add(email.message_from_bytes(envelope.content)["message-id"])
        if session.trouble == "break":
            server.transport.abort()
            raise ConnectionResetError
        return session.trouble

    def wait(self, count, seconds=20):
        """Returns when `count` messages have come, with the newest: its receivers and the parsed message."""
        wait_until(lambda: len(self.messages) >= count, seconds, f"mail number {count}")
        receivers, content = self.messages[count - 1]
        return receivers, email.message_from_bytes(content, policy=email.policy.default)


def code_in(message):
    """The one code of a mail: the same in both of its parts, and not in its subject."""
    form = r"\b[A-Z2-7]{5}-[A-Z2-7]{5}\b"
    plain = re.findall(form, message.get_body(("plain",)).get_content())
    markup = re.findall(form, message.get_body(("html",)).get_content())
    if len(plain) != 1 or plain != markup or re.search(form, message["subject"]):
        raise AssertionError(f"codes: {plain}, {markup}, {message['subject']}")
    return plain[0]
