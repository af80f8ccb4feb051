#!/usr/bin/env python3
"""Installs Skystead as docs/install.md says, under a real systemd, behind Debian's nginx and Caddy with TLS.

usage: installed.py [--root DIRECTORY]

Makes a Debian 12 of its own (debootstrap), boots it in a container without a network (systemd-nspawn), runs
scripts/install there and asks what an operator would ask. Needs root and the release build. The directory is kept, so
that the next run only boots. The part behind `--inside` runs in the container.
"""

import argparse
import json
import os
import pwd
import re
import shutil
import ssl
import subprocess
import sys
import threading
import time
import unittest
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOST = "home.test"
HANDLE = "alice.home.test"
SETTINGS = Path("/etc/skystead/skystead.env")
CERTIFICATES = Path("/etc/letsencrypt/live") / HOST
# In the container: what is shared with the outside, and the checkout.
SHARED = Path("/opt/outside")
CHECKOUT = Path("/opt/skystead")
BOOT_SECONDS_MAX = 300
BASE = "systemd,systemd-sysv,dbus,ca-certificates"
# An operator's web servers, and what this test asks with.
PACKAGES = "nginx-light caddy adduser sudo binutils openssl python3 python3-cryptography python3-websockets".split()


# MARK: Outside


def mirror():
    """The mirror that this machine's apt uses for Debian 12, or none for debootstrap's own choice."""
    for file in [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]:
        text = file.read_text() if file.is_file() else ""
        for stanza in text.split("\n\n"):
            if re.search(r"^Suites:.*\bbookworm\b", stanza, re.M):
                return re.search(r"^URIs:\s*(\S+)", stanza, re.M).group(1)
        found = re.search(r"^deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+bookworm\s", text, re.M)
        if found:
            return found.group(1)
    return None


def make_system(root):
    """A Debian 12 with what the product and this test need. Nothing is started while it is made."""
    done = root / "made"
    if done.exists() and done.read_text() == " ".join(PACKAGES):
        return
    shutil.rmtree(root, ignore_errors=True)
    with open(root.with_suffix(".log"), "w") as log:
        def do(*command, **options):
            if subprocess.run(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, **options).returncode != 0:
                sys.exit(f"{command[0]}: {Path(log.name).read_text()[-1500:]}")

        do("debootstrap", "--variant=minbase", f"--include={BASE}", "bookworm", root, *filter(None, [mirror()]))
        # How this machine's apt reaches its mirror.
        shutil.copytree("/etc/apt/apt.conf.d", root / "etc/apt/apt.conf.d", dirs_exist_ok=True)
        shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
        policy = root / "usr/sbin/policy-rc.d"
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        do("chroot", root, "apt-get", "update", env=environment)
        # The libraries too: inside there is no network for scripts/install to get them from.
        libraries = re.search(r"install -y --no-install-recommends (lib.*?) >", (ROOT / "scripts/install").read_text(), re.S)
        wanted = [*PACKAGES, *libraries.group(1).replace("\\\n", " ").split()]
        do("chroot", root, "apt-get", "install", "-y", "--no-install-recommends", *wanted, env=environment)
        policy.unlink()
        (root / "etc/resolv.conf").unlink()
    done.write_text(" ".join(PACKAGES))


def put_in(root):
    """The checkout as far as an operator copies it, and the unit that runs the inside part."""
    target = root / CHECKOUT.relative_to("/")
    shutil.rmtree(target, ignore_errors=True)
    for name in ["conf", "scripts", "docs", "Tests/Support"]:
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    (target / "Tests/EndToEnd").mkdir()
    shutil.copy(__file__, target / "Tests/EndToEnd")
    (target / ".build/release").mkdir(parents=True)
    for program in ["skystead", "skystead-fcgi", "skystead-worker"]:
        shutil.copy(ROOT / ".build/release" / program, target / ".build/release")
    unit = root / "etc/systemd/system/outside.service"
    unit.write_text(
        "[Unit]\nAfter=multi-user.target\n"
        "[Service]\nType=oneshot\n"
        f"ExecStart=/usr/bin/python3 {CHECKOUT}/Tests/EndToEnd/installed.py --inside\n"
        f"StandardOutput=file:{SHARED}/output\nStandardError=inherit\n"
        "ExecStopPost=/bin/systemctl poweroff --no-block\n"
    )
    wanted = root / "etc/systemd/system/default.target.wants"
    wanted.mkdir(exist_ok=True)
    link = wanted / unit.name
    if not link.is_symlink():
        link.symlink_to(f"../{unit.name}")


def forget(root):
    """What a run before this one installed."""
    for path in ["etc/skystead", "var/lib/skystead", "usr/lib/skystead", "etc/caddy/skystead.caddy"]:
        shutil.rmtree(root / path, ignore_errors=True) if (root / path).is_dir() else (root / path).unlink(missing_ok=True)
    for pattern in ["etc/systemd/system/skystead*", "etc/systemd/system/*/skystead*", "etc/nginx/**/skystead*"]:
        for path in root.glob(pattern):
            path.unlink()


def outside(root):
    if os.geteuid() != 0:
        print("SKIPPED: a container with systemd needs root", file=sys.stderr)
        return 0
    make_system(root)
    forget(root)
    put_in(root)
    shared = root / SHARED.relative_to("/")
    shutil.rmtree(shared, ignore_errors=True)
    shared.mkdir(parents=True)
    with open(root.with_suffix(".boot.log"), "w") as log:
        container = subprocess.Popen(
            ["systemd-nspawn", "-q", "-D", root, "--register=no", "--keep-unit", "--private-network",
             "--hostname=box", "--boot"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )
        try:
            container.wait(BOOT_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            container.terminate()
            container.wait()
    output = shared / "output"
    print(output.read_text() if output.exists() else Path(log.name).read_text()[-3000:])
    result = shared / "result"
    return 0 if result.exists() and result.read_text() == "well" else 1


# MARK: Inside


def run(*command, check=True, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if check and done.returncode != 0:
        raise AssertionError(f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def as_service(*command, **options):
    return run("sudo", "-u", "skystead", *command, **options)


def ask(path, host=HOST, data=None, token=None, kind="application/json"):
    """A request through TLS. Returns status, headers and body."""
    context = ssl.create_default_context(cafile=CERTIFICATES / "fullchain.pem")
    request = urllib.request.Request(f"https://{host}{path}", data=data)
    if data is not None:
        request.add_header("Content-Type", kind)
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=20, context=context) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read()


def call(nsid, body=None, token=None):
    status, _, answer = ask(f"/xrpc/{nsid}", data=None if body is None else json.dumps(body).encode(), token=token)
    if status != 200:
        raise AssertionError(f"{nsid}: {status} {answer}")
    return json.loads(answer or b"{}")


def show(unit, *properties):
    lines = run("systemctl", "show", unit, *(f"--property={name}" for name in properties)).splitlines()
    return dict(line.split("=", 1) for line in lines)


def prepare():
    """What docs/install.md leaves to the operator: a certificate and names; and a PLC directory for want of the real one."""
    CERTIFICATES.mkdir(parents=True, exist_ok=True)
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", f"/CN={HOST}",
        "-addext", f"subjectAltName=DNS:{HOST},DNS:*.{HOST}",
        "-keyout", str(CERTIFICATES / "privkey.pem"), "-out", str(CERTIFICATES / "fullchain.pem"))
    # Caddy reads it as its own user.
    (CERTIFICATES / "privkey.pem").chmod(0o644)
    Path("/etc/hosts").write_text(f"127.0.0.1 localhost box {HOST} {HANDLE}\n")
    run("systemctl", "disable", "--now", "nginx", "caddy", check=False)
    subprocess.Popen(
        [sys.executable, CHECKOUT / "Tests/Support/plc_directory.py", "--port", "2582"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )


def install(*arguments):
    return run("scripts/install", *arguments, cwd=CHECKOUT)


def set_up(*arguments):
    install("--host", HOST, "--no-start", *arguments)
    text = SETTINGS.read_text()
    if "SKYSTEAD_PLC_URL=http://localhost:2582" not in text:
        SETTINGS.write_text(
            text + "SKYSTEAD_PLC_URL=http://localhost:2582\n"
            f"SKYSTEAD_ALLOW_PRIVATE_HOSTS=localhost:2582,{HOST},{HANDLE}\n"
            f"SKYSTEAD_EXTRA_CA_FILE={CERTIFICATES}/fullchain.pem\n"
            "SKYSTEAD_ADMIN_PASSWORD=password-of-the-box\n"
        )
    return install(*arguments)


class Installed(unittest.TestCase):
    """In the order of their names: each goes on from where the one before left the machine."""

    server = "nginx"
    account = {}

    def test_01_the_services_run(self):
        prepare()
        set_up()
        if self.server == "nginx":
            run("nginx", "-t")
            run("systemctl", "start", "nginx")
        for unit in ["skystead-xrpc", "skystead-admin", "skystead-stream"]:
            self.assertEqual(show(f"{unit}.service", "ActiveState", "SubState"),
                             {"ActiveState": "active", "SubState": "running"}, unit)
            self.assertEqual(show(f"{unit}.socket", "ActiveState")["ActiveState"], "active")
        failed = run("systemctl", "--no-legend", "--failed", "--plain")
        self.assertNotIn("skystead", failed)

    def test_02_check_is_green_for_root_and_for_the_service(self):
        run("skystead", "check")
        # The sockets are the web server's alone: that is a warning to whoever is not root.
        self.assertNotIn("FAIL", as_service("skystead", "check"))

    def test_03_a_look_leaves_nothing_that_is_not_the_service_s(self):
        run("skystead", "account", "list")
        run("skystead", "invite")
        owners = {pwd.getpwuid(path.lstat().st_uid).pw_name for path in Path("/var/lib/skystead").rglob("*")}
        self.assertEqual(owners, {"skystead"})
        self.assertEqual(oct(SETTINGS.stat().st_mode & 0o777), "0o640")
        for path in Path("/var/lib/skystead/keys").iterdir():
            self.assertEqual(oct(path.stat().st_mode & 0o777), "0o600", path)

    def test_04_an_account_writes_and_is_read_back_by_tls(self):
        code = as_service("skystead", "invite").split()[-1]
        made = call("com.atproto.server.createAccount", {
            "handle": HANDLE, "email": "alice@example.com", "password": "correct horse", "inviteCode": code})
        Installed.account = made
        text = {"$type": "app.bsky.feed.post", "text": "from a real systemd", "createdAt": "2026-01-01T00:00:00Z"}
        record = {"repo": made["did"], "collection": "app.bsky.feed.post", "record": text}
        uri = call("com.atproto.repo.createRecord", record, made["accessJwt"])["uri"]
        rkey = uri.rsplit("/", 1)[1]
        found = call(f"com.atproto.repo.getRecord?repo={made['did']}&collection=app.bsky.feed.post&rkey={rkey}")
        self.assertEqual(found["value"], text)
        self.assertEqual(ask("/.well-known/atproto-did", host=HANDLE)[2].decode(), made["did"])

    def test_05_a_blob_is_sent_by_the_web_server(self):
        self.check_blob(b"\x89PNG\r\n\x1a\n" + os.urandom(200_000))

    def check_blob(self, picture):
        made = self.account
        status, _, answer = ask("/xrpc/com.atproto.repo.uploadBlob", data=picture, token=made["accessJwt"], kind="image/png")
        self.assertEqual(status, 200, answer)
        blob = json.loads(answer)["blob"]
        value = {"$type": "app.bsky.actor.profile", "avatar": blob}
        call("com.atproto.repo.putRecord", {
            "repo": made["did"], "collection": "app.bsky.actor.profile", "rkey": "self", "record": value,
        }, made["accessJwt"])
        status, headers, answer = ask(f"/xrpc/com.atproto.sync.getBlob?did={made['did']}&cid={blob['ref']['$link']}")
        self.assertEqual((status, answer == picture), (200, True), answer[:200])
        self.assertEqual(headers.get("Content-Security-Policy"), "default-src 'none'; sandbox")

    def test_06_the_firehose_comes_through_tls(self):
        import asyncio

        import websockets  # Debian's 10.4

        async def first_frame():
            context = ssl.create_default_context(cafile=CERTIFICATES / "fullchain.pem")
            address = f"wss://{HOST}/xrpc/com.atproto.sync.subscribeRepos?cursor=0"
            async with websockets.connect(address, ssl=context) as socket:
                return await asyncio.wait_for(socket.recv(), 20)

        self.assertIn(self.account["did"].encode(), asyncio.run(first_frame()))

        # Its figures are there, too, by a socket that is made for it: it has no network of its own.
        with urllib.request.urlopen("http://127.0.0.1:9402/metrics", timeout=20) as answer:
            figures = answer.read().decode()
        self.assertRegex(figures, r"(?m)^skystead_stream_frames_total [1-9]")
        pid = show("skystead-stream.service", "MainPID")["MainPID"]
        self.assertNotEqual(os.readlink(f"/proc/{pid}/ns/net"), os.readlink("/proc/self/ns/net"))
        self.assertNotIn("SKYSTEAD_STREAM_METRICS_PORT=9", SETTINGS.read_text())

    def test_07_the_admin_page_is_there(self):
        status, headers, page = ask("/admin/sign-in")
        self.assertEqual(status, 200)
        self.assertIn(b"Administrator", page)
        self.assertIn("max-age", headers.get("Strict-Transport-Security", "max-age" if self.server == "caddy" else ""))

    def test_08_a_restart_loses_no_request(self):
        failures, count = [], [0]
        stop = threading.Event()

        def load():
            while not stop.is_set():
                status, _, answer = ask("/xrpc/com.atproto.server.describeServer")
                count[0] += 1
                if status != 200:
                    failures.append((status, answer[:200]))

        threads = [threading.Thread(target=load) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(3):
            before = count[0]
            run("systemctl", "restart", "skystead-xrpc.service")
            while count[0] < before + 20:
                time.sleep(0.01)
        stop.set()
        for thread in threads:
            thread.join()
        print(f"{count[0]} requests during 3 restarts, {len(failures)} lost", file=sys.stderr)
        self.assertEqual(failures, [])

    def test_09_a_killed_responder_comes_back(self):
        before = show("skystead-xrpc.service", "MainPID")["MainPID"]
        os.kill(int(before), 9)
        for _ in range(200):
            now = show("skystead-xrpc.service", "MainPID", "ActiveState")
            if now["ActiveState"] == "active" and now["MainPID"] not in ("0", before):
                break
            time.sleep(0.05)
        self.assertNotIn(now["MainPID"], ("0", before))
        self.assertEqual(ask("/xrpc/_health")[0], 200)

    def test_10_the_timers_run_and_their_services_end_well(self):
        timers = run("systemctl", "list-timers", "--all", "--no-legend", "skystead*")
        for unit in sorted(Path("/etc/systemd/system").glob("skystead-*.timer")):
            self.assertIn(unit.name, timers)
            service = unit.with_suffix(".service").name
            run("systemctl", "start", service)
            self.assertEqual(show(service, "Result")["Result"], "success", service)

    def test_11_the_sandbox_holds(self):
        pid = show("skystead-xrpc.service", "MainPID")["MainPID"]
        status = Path(f"/proc/{pid}/status").read_text()
        self.assertRegex(status, r"NoNewPrivs:\s1")
        self.assertRegex(status, r"Seccomp:\s2")
        self.assertRegex(status, r"CapEff:\s0+\n")
        self.assertNotRegex(status, r"Uid:\s0\s")
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        self.assertNotIn(Path("/etc/skystead/sealing-key.hex").read_bytes(), environment)

    def test_12_installing_again_keeps_what_was_edited(self):
        conf = Path("/etc/nginx/conf.d/skystead.conf" if self.server == "nginx" else "/etc/caddy/skystead.caddy")
        edited = conf.read_text() + "# mine\n"
        conf.write_text(edited)
        settings = SETTINGS.read_text()
        said = install(*([] if self.server == "nginx" else ["--caddy"]))
        self.assertIn("kept", said)
        self.assertEqual(conf.read_text(), edited)
        self.assertEqual(SETTINGS.read_text(), settings)
        run("skystead", "check")

    def test_13_and_the_same_machine_changes_to_caddy(self):
        run("systemctl", "disable", "--now", "nginx")
        type(self).server = "caddy"
        set_up("--caddy")
        site = Path("/etc/caddy/skystead.caddy")
        text = site.read_text()
        opening = f"{HOST}, *.{HOST} {{\n"
        self.assertIn(opening, text)
        site.write_text(text.replace(
            opening, f"{opening}\ttls {CERTIFICATES}/fullchain.pem {CERTIFICATES}/privkey.pem\n"))
        shutil.copy(CHECKOUT / "conf/caddy/Caddyfile", "/etc/caddy/Caddyfile")
        run("systemctl", "start", "caddy")
        run("skystead", "check")
        self.check_blob(b"\x89PNG\r\n\x1a\n" + os.urandom(300_000))
        self.test_08_a_restart_loses_no_request()
        self.test_12_installing_again_keeps_what_was_edited()


def inside():
    os.environ["PATH"] = "/usr/sbin:/usr/bin:/sbin:/bin"
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(Installed)
    result = unittest.TextTestRunner(verbosity=2, failfast=True).run(suite)
    if not result.wasSuccessful():
        for unit in ["skystead*", "nginx", "caddy"]:
            print(run("journalctl", "--no-pager", "-b", "-n", "60", "-u", unit, check=False), file=sys.stderr)
    (SHARED / "result").write_text("well" if result.wasSuccessful() else "not well")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", type=Path, default=ROOT / ".build" / "installed")
    parser.add_argument("--inside", action="store_true")
    given = parser.parse_args()
    if given.inside:
        inside()
    else:
        sys.exit(outside(given.root))
