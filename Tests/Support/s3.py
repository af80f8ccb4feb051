#!/usr/bin/env python3
"""A real S3 server on loopback for the tests: OpenStack Swift of Debian's packages with its S3 interface.

It verifies signatures (AWS Signature Version 4) and keeps its objects in a directory that goes with it. One copy of each,
four processes. `python3 s3.py PORT` runs it until it is ended.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ACCESS_KEY = "home:operator"
SECRET_KEY = "secret-of-the-store"
REGION = "us-east-1"
READY_SECONDS_MAX = 60

PROXY = """
[DEFAULT]
bind_ip = {address}
bind_port = {port}
workers = 1
swift_dir = {directory}
user = {user}
log_address = {directory}/nobody
{tls}
[pipeline:main]
pipeline = catch_errors healthcheck cache s3api tempauth copy slo dlo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:{memcached}
[filter:s3api]
use = egg:swift#s3api
location = {region}
[filter:tempauth]
use = egg:swift#tempauth
user_home_operator = {secret} .admin
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
"""

STORE = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 1
devices = {directory}/devices
mount_check = false
swift_dir = {directory}
user = {user}
log_address = {directory}/nobody
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
"""

HASHES = "[swift-hash]\nswift_hash_path_suffix = tests\nswift_hash_path_prefix = tests\n"
RING_KINDS = ("account", "container", "object")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class S3:
    """`with S3() as s3`: `s3.url`, `s3.bucket`; `s3.settings` are the product's settings for it."""

    bucket = "blobs"

    def __init__(self, port=None, address="127.0.0.1"):
        self.directory = Path(tempfile.mkdtemp(prefix="s3-"))
        self.address = address
        self.port = port or free_port()
        self.url = f"http://{address}:{self.port}"
        self.processes = []

    def use(self, bucket):
        """Makes a bucket, which `settings`, `native` and `keys` are about from then on."""
        self.bucket = bucket
        self.native("PUT", "")

    @property
    def settings(self):
        return {
            "SKYSTEAD_BLOB_PLACE": "s3",
            "SKYSTEAD_S3_ENDPOINT": self.url,
            "SKYSTEAD_S3_BUCKET": self.bucket,
            "SKYSTEAD_S3_REGION": REGION,
            "SKYSTEAD_S3_ACCESS_KEY_ID": ACCESS_KEY,
            "SKYSTEAD_S3_SECRET_ACCESS_KEY": SECRET_KEY,
        }

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        (self.directory / "devices/d1").mkdir(parents=True)
        (self.directory / "swift.conf").write_text(HASHES)
        memcached = free_port()
        user = "nobody" if os.geteuid() == 0 else os.environ.get("USER", "nobody")
        values = dict(directory=self.directory, region=REGION, secret=SECRET_KEY, memcached=memcached, user=user, tls="")
        ports = {kind: free_port() for kind in RING_KINDS}
        for kind, port in ports.items():
            self.make_ring(kind, port)
            (self.directory / f"{kind}.conf").write_text(STORE.format(kind=kind, port=port, **values))
        (self.directory / "proxy.conf").write_text(PROXY.format(address=self.address, port=self.port, **values))
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", user, self.directory], check=True)
        self.run("memcached", "-l", "127.0.0.1", "-p", str(memcached), "-m", "32", "-u", user)
        for kind in RING_KINDS:
            self.run(f"swift-{kind}-server", self.directory / f"{kind}.conf")
        self.run("swift-proxy-server", self.directory / "proxy.conf")
        self.wait()

    def make_ring(self, kind, port):
        def builder(*words):
            subprocess.run(
                ["swift-ring-builder", self.directory / f"{kind}.builder", *words],
                check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )

        # 2^4 parts, one copy.
        builder("create", "4", "1", "0")
        builder("add", "--region", "1", "--zone", "1", "--ip", "127.0.0.1", "--port", str(port), "--device", "d1",
                "--weight", "1")
        builder("rebalance")

    def run(self, *command):
        log = open(self.directory / "log", "a")
        environment = {"PATH": "/usr/bin:/bin:/usr/sbin", "SWIFT_DIR": str(self.directory)}
        self.processes.append(subprocess.Popen(
            [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment,
            start_new_session=True,
        ))
        log.close()

    def wait(self):
        """Until the bucket could be made."""
        deadline = time.monotonic() + READY_SECONDS_MAX
        while time.monotonic() < deadline and all(process.poll() is None for process in self.processes):
            try:
                self.native("PUT", "")
                return
            except OSError:
                time.sleep(0.1)
        raise RuntimeError(f"the S3 server did not start:\n{(self.directory / 'log').read_text()[-3000:]}")

    def native(self, method, path, body=None):
        """A request of Swift's own protocol, beside the S3 interface: `path` is below the bucket. Returns the body."""
        credentials = {"X-Storage-User": ACCESS_KEY, "X-Storage-Pass": SECRET_KEY}
        sign_in = urllib.request.Request(f"{self.url}/auth/v1.0", headers=credentials)
        with urllib.request.urlopen(sign_in, timeout=10) as answer:
            token = answer.headers["X-Auth-Token"]
        url = f"{self.url}/v1/AUTH_home/{self.bucket}{path}"
        request = urllib.request.Request(url, data=body, method=method, headers={"X-Auth-Token": token})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.read()

    def keys(self):
        """The names of the objects, as Swift itself lists them."""
        return self.native("GET", "").decode().split()

    def stop(self):
        for process in reversed(self.processes):
            if process.poll() is None:
                os.killpg(process.pid, 15)
        for process in self.processes:
            process.wait()
        self.processes = []
        shutil.rmtree(self.directory, ignore_errors=True)


if __name__ == "__main__":
    with S3(int(sys.argv[1]) if len(sys.argv) > 1 else None) as server:
        print(f"S3 on {server.url}, bucket {server.bucket}", flush=True)
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            pass
