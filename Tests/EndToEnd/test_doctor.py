"""`skystead doctor` against a service behind nginx with TLS: nothing is wrong with a healthy one, and each planted fault is
named with its remedy. nginx runs the shipped files with one thing changed; DNS, mail, the relay and the PLC directory are
doubles on loopback.

    .build/venv/bin/python Tests/EndToEnd/test_doctor.py [-v]
"""

import datetime
import http.client
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Support"))

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from dns_double import DNSDouble
from stack import PROGRAMS, ROOT, Stack, free_port, wait_until
from test_relay import RelayDouble

HOST = "home.test"
OUTSIDE = "carol.town"


class Authority:
    """A certificate authority, and certificates of it."""

    def __init__(self, directory):
        self.directory = directory
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority of the tests")])
        self.file = directory / "authority.pem"
        certificate = self.build(self.name, self.key.public_key(), -1, 3650, [], is_authority=True)
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def build(self, subject, public_key, first_day, last_day, names, is_authority=False):
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = (
            x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + datetime.timedelta(days=first_day))
            .not_valid_after(now + datetime.timedelta(days=last_day))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        )
        if names:
            names = [x509.DNSName(name) for name in names]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def certificate(self, name, names, first_day=-1, last_day=90):
        """Makes `name`.pem and `name`.key, and returns their paths."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        certificate = self.build(subject, key.public_key(), first_day, last_day, names)
        chain, secret = self.directory / f"{name}.pem", self.directory / f"{name}.key"
        chain.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + self.file.read_bytes())
        secret.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return chain, secret


class MailDouble:
    """A submission server that offers STARTTLS, as far as a greeting goes (RFC 5321)."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as lines:
                try:
                    self.talk(connection, lines)
                except OSError:
                    # Whoever wanted TLS here has left.
                    pass

    def talk(self, connection, lines):
        connection.sendall(b"220 mail.test ESMTP\r\n")
        for line in lines:
            word = line.split()[0].upper() if line.split() else b""
            if word == b"EHLO":
                connection.sendall(b"250-mail.test\r\n250-STARTTLS\r\n250 8BITMIME\r\n")
            elif word == b"QUIT":
                connection.sendall(b"221 bye\r\n")
                return
            else:
                connection.sendall(b"502 not here\r\n")

    def close(self):
        self.listener.close()


class Nginx:
    """The shipped files with TLS, on ports of their own; `edit` changes them before they are used."""

    def __init__(self, stack, port, certificate, edit=lambda name, text: text):
        run = stack.data_dir / "run"
        where = run / "doctor-nginx"
        where.mkdir(exist_ok=True)
        (run / "nginx").mkdir(exist_ok=True)
        chain, secret = certificate
        plain = free_port()
        for file in (ROOT / "conf/nginx").iterdir():
            text = file.read_text().replace("home.example", HOST)
            text = text.replace("/run/skystead", str(run)).replace("/var/lib/skystead", str(stack.data_dir))
            text = text.replace("/var/log/nginx", str(stack.data_dir / "log")).replace("user www-data;", "user root;")
            text = re.sub(r"(ssl_certificate +)[^;]*;", rf"\g<1>{chain};", text)
            text = re.sub(r"(ssl_certificate_key +)[^;]*;", rf"\g<1>{secret};", text)
            text = re.sub(r"^( *listen (?:\[::\]:)?)443", rf"\g<1>{port}", text, flags=re.M)
            text = re.sub(r"^( *listen (?:\[::\]:)?)80\b", rf"\g<1>{plain}", text, flags=re.M)
            text = text.replace("include skystead.conf;", "include skystead_default.conf;\n    include skystead.conf;")
            if os.geteuid() != 0:
                text = text.replace("user root;", "")
            changed = edit(file.name, text)
            (where / file.name).write_text(changed)
        self.log = open(stack.directory / "nginx.log", "ab")
        command = ["/usr/sbin/nginx", "-p", str(where), "-e", "stderr", "-c", str(where / "standalone.conf")]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        wait_until(lambda: self.answers(port), what="nginx")

    def answers(self, port):
        if self.process.poll() is not None:
            raise RuntimeError(f"nginx ended: see {self.log.name}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return True
        except OSError:
            return False

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.log.close()


class Caddy:
    """The shipped files with TLS, on ports of their own."""

    def __init__(self, stack, port, certificate, edit=lambda name, text: text):
        where = stack.data_dir / "run/doctor-caddy"
        where.mkdir(exist_ok=True)
        chain, secret = certificate
        for file in (ROOT / "conf/caddy").iterdir():
            text = file.read_text().replace("home.example, *.home.example {",
                                            f"https://{HOST}:{port}, https://*.{HOST}:{port} {{\n\ttls {chain} {secret}")
            text = text.replace("/run/skystead", str(stack.data_dir / "run"))
            text = text.replace("/var/lib/skystead", str(stack.data_dir))
            text = text.replace("http:// {", f"http://:{free_port()} {{")
            text = text.replace("\tadmin off\n", "\tadmin off\n\tauto_https disable_redirects\n\tdefault_bind 127.0.0.1\n")
            (where / file.name).write_text(edit(file.name, text))
        self.log = open(stack.directory / "caddy.log", "ab")
        environment = {**os.environ, "XDG_DATA_HOME": str(where), "XDG_CONFIG_HOME": str(where), "HOME": str(where)}
        self.process = subprocess.Popen(
            ["/usr/bin/caddy", "run", "--config", where / "Caddyfile", "--adapter", "caddyfile"], stdout=self.log,
            stderr=self.log, env=environment)
        wait_until(lambda: self.answers(port), what="Caddy")

    answers = Nginx.answers
    stop = Nginx.stop


def replace(file, old, new):
    """An edit: in `file` `old` becomes `new`. It must be there."""

    def edit(name, text):
        if name != file:
            return text
        assert old in text, f"{old!r} is not in {file}"
        return text.replace(old, new)

    return edit


LOCATIONS = "skystead_locations.conf"
LAST = "location / {\n    include"


def without_path(path, instead="return 404;"):
    return replace(LOCATIONS, LAST, f"location {path} {{ {instead} }}\n{LAST}")


class Fault:
    def __init__(self, name, fails, says, remedies, edit=None, dns=None, settings=None, certificate=None, prepare=None,
                 warns=()):
        self.name, self.fails, self.says, self.remedies, self.edit = name, set(fails), says, remedies, edit
        self.dns, self.settings, self.certificate, self.prepare = dns or {}, settings or {}, certificate, prepare
        self.warns = set(warns)


class DoctorTests(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.port = free_port()
        cls.relay = RelayDouble()
        cls.mail = MailDouble()
        cls.dns_rows = {(HOST, "A"): ["127.0.0.1"], ("*." + HOST, "A"): ["127.0.0.1"]}
        cls.dns = DNSDouble(cls.dns_rows)
        cls.stack = Stack(
            web=None,
            settings={
                "SKYSTEAD_HOST": HOST,
                "SKYSTEAD_PUBLIC_URL": f"https://{HOST}:{cls.port}",
                "SKYSTEAD_DNS_SERVERS": cls.dns.address,
                "SKYSTEAD_CRAWLERS": cls.relay.url,
                "SKYSTEAD_SMTP_URL": f"smtp://me%40here:secret@localhost:{cls.mail.port}",
                "SKYSTEAD_MAIL_FROM": f"home@{HOST}",
            },
        )
        cls.stack.environment["SKYSTEAD_ALLOW_PRIVATE_HOSTS"] += "," + cls.relay.url.removeprefix("http://") + ",localhost"
        cls.authority = Authority(cls.stack.directory)
        cls.stack.environment["SKYSTEAD_EXTRA_CA_FILE"] = str(cls.authority.file)
        cls.good = cls.authority.certificate("good", [HOST, "*." + HOST])
        cls.stack.start()
        cls.relay.change(host=HOST, seq=0)
        nginx = Nginx(cls.stack, cls.port, cls.good)
        cls.alice = cls.account("alice." + HOST)
        cls.carol = cls.account("carol." + HOST)
        cls.dns_rows[("_atproto." + OUTSIDE, "TXT")] = ["did=" + cls.carol["did"]]
        cls.call("com.atproto.identity.updateHandle", {"handle": OUTSIDE}, token=cls.carol["accessJwt"])
        blob = cls.call("com.atproto.repo.uploadBlob", raw=b"bytes " * 500, token=cls.alice["accessJwt"])["blob"]
        record = {"$type": "com.example.thing", "file": blob}
        cls.call(
            "com.atproto.repo.createRecord",
            {"repo": cls.alice["did"], "collection": "com.example.thing", "record": record},
            token=cls.alice["accessJwt"],
        )
        nginx.stop()

    @classmethod
    def tearDownClass(cls):
        cls.stack.__exit__(None)
        cls.relay.__exit__()
        cls.mail.close()
        cls.dns.close()

    @classmethod
    def call(cls, method, body=None, raw=None, token=None):
        connection = http.client.HTTPSConnection(
            HOST, cls.port, timeout=30, context=ssl.create_default_context(cafile=str(cls.authority.file))
        )
        # The name is not in this machine's DNS.
        connection._create_connection = lambda address, *rest: socket.create_connection(("127.0.0.1", cls.port), *rest)
        headers = {"Content-Type": "application/json" if raw is None else "application/octet-stream"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        connection.request("POST", f"/xrpc/{method}", body=raw or json.dumps(body).encode(), headers=headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        assert answer.status == 200, (method, answer.status, content)
        return json.loads(content) if content else None

    @classmethod
    def account(cls, handle):
        name = handle.partition(".")[0]
        return cls.call(
            "com.atproto.server.createAccount",
            {"handle": handle, "email": f"{name}@example.com", "password": "long enough"},
        )

    def doctor(self, *words, settings=None):
        return subprocess.run(
            [PROGRAMS / "skystead", "doctor", *words], env={**self.stack.environment, **(settings or {})},
            capture_output=True, text=True, timeout=120,
        )

    def named(self, output, mark):
        return {line[6:].partition(": ")[0] for line in output.splitlines() if line.startswith(mark)}

    def test_a_healthy_service(self):
        nginx = Nginx(self.stack, self.port, self.good)
        self.addCleanup(nginx.stop)
        done = self.doctor()
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        for mark in ("FAIL", "warn", "skip"):
            self.assertEqual(self.named(done.stdout, mark), set(), done.stdout)
        self.assertIn(f"handle {OUTSIDE}", self.named(done.stdout, "ok  "))
        self.assertIn("repositories and blobs come as they are", done.stdout)
        self.assertTrue(done.stdout.endswith("green\n"))
        # Nothing of it is secret.
        self.assertNotIn("secret@", done.stdout)
        self.assertEqual(self.doctor("--quiet").stdout, "")

    def faults(self):
        closed = free_port()
        mode_of = self.stack.data_dir / "keys"

        def mode(file, wrong):
            def prepare(test):
                right = file.stat().st_mode & 0o777
                file.chmod(wrong)
                test.addCleanup(file.chmod, right)

            return prepare

        def relay(**values):
            def prepare(test):
                test.relay.change(**values)
                test.addCleanup(test.relay.change, skew=0)
                test.addCleanup(test.relay.change, host=HOST, seq=0)

            return prepare

        def open_settings(test):
            file = test.stack.directory / "settings.env"
            file.write_text("SKYSTEAD_ADMIN_PASSWORD=known-to-all\n")
            file.chmod(0o644)
            test.addCleanup(file.unlink)

        well_known = {
            f"path /.well-known/{name}" for name in
            ("oauth-protected-resource", "oauth-authorization-server", "did.json", "atproto-did", "change-password")
        }
        handle_hosts, relay_name = f"handle hosts of {HOST}", f"relay {self.relay.url}"
        certificates = {f"certificate of {HOST}", f"certificate under {HOST}"}
        certificate = self.authority.certificate
        everything = {f"path {path}" for path in ("/xrpc", "/oauth", "/@atproto", "/account", "/admin")} | well_known
        return [
            Fault("a path that another site answers", {"path /oauth"}, "not from the responder",
                  ["location /oauth { include skystead_fastcgi_params; fastcgi_pass skystead_xrpc; }"],
                  edit=without_path("/oauth")),
            Fault("two paths more", {"path /@atproto", "path /account"}, "nobody gets at the pages",
                  ["location /@atproto {", "location /account {"],
                  edit=lambda name, text: without_path("/@atproto")(name, without_path("/account")(name, text))),
            Fault("no administration", {"path /admin"}, "the operator doesn't get at",
                  ["location /admin { include skystead_fastcgi_params; fastcgi_pass skystead_admin; }"],
                  edit=replace(LOCATIONS, "location ~ ^/admin(?:/|$) {", "location /admin { return 404; }\n"
                               "location ~ ^/nowhere(?:/|$) {")),
            Fault("certbot's directory takes all of .well-known", well_known | {handle_hosts}, "not from the responder",
                  ["location /.well-known/did.json {", f"server_name {HOST} *.{HOST};"],
                  edit=without_path("/.well-known/", "root /var/www/html;")),
            Fault("no upgrade", {"firehose"}, "does not become a WebSocket (HTTP/1.1 426",
                  ["proxy_set_header Upgrade $skystead_upgrade;", "proxy_http_version 1.1;"],
                  edit=replace(LOCATIONS, "    proxy_set_header Upgrade            $skystead_upgrade;\n", "")),
            Fault("the firehose goes to the responder", {"firehose"}, "no relay can follow",
                  ["location = /xrpc/com.atproto.sync.subscribeRepos {"],
                  edit=replace(LOCATIONS, "location = /xrpc/com.atproto.sync.subscribeRepos {",
                               "location = /nowhere {")),
            Fault("another host", {"host name", handle_hosts}, "was not told the host",
                  ["fastcgi_param SKYSTEAD_HOST $host;"],
                  edit=replace("skystead_fastcgi_params", "$host;", "localhost;")),
            Fault("a small body", {"upload size"}, "refuses an upload of 104857600 bytes",
                  ["client_max_body_size 100m;"],
                  edit=replace(LOCATIONS, "client_max_body_size 100m;", "client_max_body_size 99m;")),
            Fault("gzip", {"compression"}, "comes compressed (gzip)", ["gzip off;"],
                  edit=replace(LOCATIONS, "gzip off;", "gzip on; gzip_types *; gzip_min_length 1;")),
            Fault("gzip of blobs alone", {"compression"}, "getBlob", ["gzip off;"],
                  edit=replace(LOCATIONS, "    internal;\n    alias", "    gzip on; gzip_types *;\n    internal;\n    alias")),
            Fault("the header twice", {"cross-origin access"}, "as '* and *'", ["no add_header Access-Control-"],
                  edit=replace(LOCATIONS, LAST, "add_header Access-Control-Allow-Origin * always;\n" + LAST)),
            Fault("no handle hosts", {f"certificate under {HOST}", handle_hosts}, "no TLS connection to alice.",
                  [f"server_name {HOST} *.{HOST};"],
                  edit=replace("skystead.conf", f"server_name {HOST} *.{HOST};", f"server_name {HOST};")),
            Fault("a wrong socket", everything | {"firehose", "upload size", handle_hosts},
                  "the web server does not reach the responder", ["is its user in the socket's group?"],
                  edit=lambda name, text: re.sub("(xrpc|admin|stream).sock", "no.sock", text)),
            Fault("an expired certificate", certificates, "the certificate expired at", ["certbot renew"],
                  certificate=certificate("expired", [HOST, "*." + HOST], -90, -1)),
            Fault("a certificate without the handles", {f"certificate under {HOST}"},
                  f"that alice.{HOST} gets is for other names ({HOST})", [f"-d '*.{HOST}'"],
                  certificate=certificate("narrow", [HOST])),
            Fault("somebody else's certificate", certificates, "is for other names (other.test)", ["ssl_certificate "],
                  certificate=certificate("other", ["other.test"])),
            Fault("a certificate that nobody trusts", certificates, "is not trusted", ["fullchain.pem"],
                  settings={"SKYSTEAD_EXTRA_CA_FILE": ""}),
            Fault("no wildcard", {f"addresses under {HOST}"}, "there is no wildcard", [f"*.{HOST}. A 127.0.0.1"],
                  dns={("*." + HOST, "A"): None}),
            Fault("a wrong text", {f"handle {OUTSIDE}"}, "not did=" + self.carol["did"],
                  [f'_atproto.{OUTSIDE}. TXT "did={self.carol["did"]}"'],
                  dns={("_atproto." + OUTSIDE, "TXT"): ["did=did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"]}),
            Fault("DNS that does not answer", {f"address of {HOST}", f"addresses under {HOST}", f"handle {OUTSIDE}"},
                  "cannot be looked up", ["SKYSTEAD_DNS_SERVERS"],
                  settings={"SKYSTEAD_DNS_SERVERS": f"127.0.0.1:{closed}",
                            "SKYSTEAD_HOST_OVERRIDES": f"{HOST}=127.0.0.1"}),
            Fault("mail that is refused", {"mail"}, f"localhost:{closed} is not reached: unreachable",
                  ["SKYSTEAD_SMTP_URL"], settings={"SKYSTEAD_SMTP_URL": f"smtp://me:secret@localhost:{closed}"}),
            Fault("mail with TLS where there is none", {"mail"}, "is not reached: tls", ["smtps:// is for port 465"],
                  settings={"SKYSTEAD_SMTP_URL": f"smtps://me:secret@localhost:{self.mail.port}"}),
            Fault("no PLC directory", {"PLC directory"}, "is not answered: unreachable", ["SKYSTEAD_PLC_URL"],
                  settings={"SKYSTEAD_PLC_URL": f"http://localhost:{closed}",
                            "SKYSTEAD_ALLOW_PRIVATE_HOSTS": f"localhost:{closed},localhost:{self.mail.port},"
                            + self.relay.url.removeprefix("http://")}),
            Fault("a clock that is off", {relay_name}, "the clock is -", ["timedatectl set-ntp true"],
                  prepare=relay(skew=600)),
            Fault("a relay that has seen more", {relay_name}, "it is told FutureCursor", ["skystead restore-finish"],
                  prepare=relay(host=HOST, seq=10_000)),
            Fault("a relay that is away", {f"relay http://localhost:{closed}"}, "did not answer", ["SKYSTEAD_CRAWLERS"],
                  settings={"SKYSTEAD_CRAWLERS": f"http://localhost:{closed}",
                            "SKYSTEAD_ALLOW_PRIVATE_HOSTS": f"localhost:{closed},localhost:{self.mail.port},"
                            + self.stack.plc_url.removeprefix("http://")}),
            Fault("a full disk", {"data directory"}, "MiB free", ["make room"],
                  settings={"SKYSTEAD_DISK_FREE_MIN": "1048576G"}),
            Fault("a sealing key for everybody", {"keys"}, "can be read by others (mode 0644)", ["chmod 0600"],
                  prepare=mode(mode_of / "sealing.key", 0o644)),
            Fault("a rotation key for everybody", {"secret files"}, "can be read by others (mode 0644)", ["chmod go-rwx"],
                  prepare=mode(mode_of / "plc-rotation.sealed", 0o644)),
            Fault("settings for everybody", {"secret files"}, "settings.env can be read by others", ["chmod go-rwx"],
                  prepare=open_settings,
                  settings={"SKYSTEAD_SETTINGS_FILE": str(self.stack.directory / "settings.env"),
                            "SKYSTEAD_ADMIN_PASSWORD": ""}),
        ]

    def test_each_fault_is_named_with_its_remedy(self):
        for fault in self.faults():
            with self.subTest(fault.name):
                before = dict(self.dns_rows)
                for key, value in fault.dns.items():
                    if value is None:
                        del self.dns_rows[key]
                    else:
                        self.dns_rows[key] = value
                environment = dict(self.stack.environment)
                settings = dict(fault.settings)
                if settings.pop("SKYSTEAD_ADMIN_PASSWORD", None) is not None:
                    del self.stack.environment["SKYSTEAD_ADMIN_PASSWORD"]
                nginx = Nginx(
                    self.stack, self.port, fault.certificate or self.good, fault.edit or (lambda name, text: text))
                try:
                    if fault.prepare:
                        fault.prepare(self)
                    done = self.doctor(settings=settings)
                finally:
                    nginx.stop()
                    self.doCleanups()
                    self.dns_rows.clear()
                    self.dns_rows.update(before)
                    self.stack.environment = environment
                self.assertEqual(self.named(done.stdout, "FAIL"), fault.fails, done.stdout + done.stderr)
                self.assertEqual(self.named(done.stdout, "warn"), fault.warns, done.stdout)
                self.assertEqual(done.returncode, 1)
                self.assertIn(fault.says, done.stdout)
                for remedy in fault.remedies:
                    self.assertIn(remedy, done.stdout)
                self.assertNotIn("secret@", done.stdout)
                # Each is followed by what to do.
                lines = done.stdout.splitlines()
                for place, line in enumerate(lines):
                    if line.startswith("FAIL"):
                        self.assertTrue(lines[place + 1].startswith("      → "), line)

    def test_behind_caddy(self):
        """A healthy service, and some faults, with the lines for both servers: this one does not say what it is."""
        site = "skystead.caddy"
        first = "\t# The firehose: the one path"
        rows = [
            ("healthy", set(), [], lambda name, text: text),
            ("a path that another site answers", {"path /oauth"}, ["handle /oauth* {", "location /oauth {"],
             replace(site, first, "\thandle /oauth* {\n\t\trespond 404\n\t}\n" + first)),
            ("no stream", {"firehose"}, ["handle /xrpc/com.atproto.sync.subscribeRepos {"],
             replace(site, "@stream path /xrpc/", "@stream path /nowhere/")),
            ("another host", {"host name", f"handle hosts of {HOST}"}, ["env SKYSTEAD_HOST {http.request.host}"],
             replace(site, "env SKYSTEAD_HOST {http.request.host}", "env SKYSTEAD_HOST localhost")),
            # Caddy cuts what is too long and says nothing of it.
            ("a small body", {"upload size"}, ["max_size 101MiB", "client_max_body_size 100m;"],
             replace(site, "max_size 101MiB", "max_size 1MiB")),
            ("a body that is nearly large enough", {"upload size"}, ["max_size 101MiB"],
             replace(site, "max_size 101MiB", "max_size 99MiB")),
            ("a small body, not buffered", {"upload size"}, ["max_size 101MiB"],
             lambda name, text: text.replace("max_size 101MiB", "max_size 50MiB").replace("\t\t\tbuffer_requests\n", "")),
            ("gzip", {"compression"}, ["no `encode`"], replace(site, first, "\tencode {\n\t\tgzip\n\t\tminimum_length 1"
             "\n\t\tmatch {\n\t\t\theader Content-Type *\n\t\t}\n\t}\n" + first)),
        ]
        for name, fails, remedies, edit in rows:
            with self.subTest(name):
                caddy = Caddy(self.stack, self.port, self.good, edit)
                try:
                    done = self.doctor()
                finally:
                    caddy.stop()
                self.assertEqual(self.named(done.stdout, "FAIL"), fails, done.stdout + done.stderr)
                self.assertEqual(done.returncode, 1 if fails else 0)
                for remedy in remedies:
                    self.assertIn(remedy, done.stdout)

    def test_a_web_server_that_closes_every_connection(self):
        nginx = Nginx(self.stack, self.port, self.good, replace(LOCATIONS, "gzip off;", "gzip off;\nkeepalive_timeout 0;"))
        self.addCleanup(nginx.stop)
        done = self.doctor()
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn("ok    upload size: an upload of 104857600 bytes gets in", done.stdout)

    def test_what_only_warns(self):
        nginx = Nginx(self.stack, self.port, self.authority.certificate("short", [HOST, "*." + HOST], -80, 5))
        self.addCleanup(nginx.stop)
        self.relay.change(host=HOST, seq=0)
        done = self.doctor(settings={"SKYSTEAD_SMTP_URL": "", "SKYSTEAD_CRAWLERS": ""})
        # An empty value takes a setting back.
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertEqual(
            self.named(done.stdout, "warn"),
            {f"certificate of {HOST}", f"certificate under {HOST}", "mail", "relays"}, done.stdout)
        self.assertRegex(done.stdout, "expires in [45] days")


class LocalDoctorTests(unittest.TestCase):
    def test_without_a_name_it_says_what_it_leaves_out(self):
        for web in ("nginx", "caddy"):
            with self.subTest(web=web), Stack(web=web) as stack:
                done = subprocess.run(
                    [PROGRAMS / "skystead", "doctor"], env=stack.environment, capture_output=True, text=True, timeout=60
                )
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
                self.assertNotIn("FAIL", done.stdout)
                self.assertIn("skip  address of localhost: SKYSTEAD_HOST is localhost", done.stdout)
                self.assertIn("could not be looked at here", done.stdout)
                self.assertIn("ok    firehose: a WebSocket is opened", done.stdout)
                self.assertIn("ok    path /@atproto", done.stdout)

    def test_a_service_that_is_down(self):
        with Stack() as stack:
            port = free_port()
            done = subprocess.run(
                [PROGRAMS / "skystead", "doctor", "--front", f"http://127.0.0.1:{port}"], env=stack.environment,
                capture_output=True, text=True, timeout=60,
            )
            self.assertEqual(done.returncode, 1)
            self.assertIn("FAIL  path /xrpc", done.stdout)
            self.assertIn("FAIL  firehose", done.stdout)
            # Which web server it is isn't known: the lines for both.
            self.assertIn("in nginx's configuration:", done.stdout)
            self.assertIn("in caddy's configuration:", done.stdout)


if __name__ == "__main__":
    unittest.main()
