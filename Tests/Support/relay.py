"""A relay double: the two methods that a server calls on a relay, and the relay's own side, which follows a firehose.

    python3 Tests/Support/relay.py --port 0

It keeps to the lexicons of com.atproto.sync.requestCrawl and getHostStatus, and to the event stream specification. What it
was asked and what it has seen lies at /double/state (GET); POST there changes how it behaves:

    {"status": 503}        answer requestCrawl with that status from now on (200: as usual)
    {"seq": 12345}         it has seen this event of "host" (localhost) already, and getHostStatus says so
    {"skew": 600}          its clock is so many seconds ahead, as its Date shows
"""

import argparse
import email.utils
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class State:
    def __init__(self):
        self.lock = threading.Lock()
        self.status = 200
        self.skew = 0
        self.hosts = {}  # hostname -> {"seq": int}
        self.asked = []  # (seconds, hostname, status)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state = None

    def log_message(self, *_):
        pass

    def date_time_string(self, timestamp=None):
        return email.utils.formatdate(time.time() + self.state.skew, usegmt=True)

    def answer(self, status, value=None):
        body = json.dumps(value).encode() if value is not None else b""
        self.send_response(status)
        if body:
            self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def do_GET(self):
        url = urlsplit(self.path)
        state = self.state
        with state.lock:
            if url.path == "/double/state":
                return self.answer(200, {"asked": state.asked, "hosts": state.hosts})
            if url.path == "/xrpc/com.atproto.sync.getHostStatus":
                names = parse_qs(url.query).get("hostname", [])
                if len(names) != 1:
                    return self.answer(400, {"error": "InvalidRequest", "message": "hostname"})
                host = state.hosts.get(names[0])
                if host is None:
                    return self.answer(400, {"error": "HostNotFound", "message": "no such host"})
                return self.answer(200, {"hostname": names[0], "status": "active", **host})
        self.answer(404, {"error": "NotFound", "message": self.path})

    def do_POST(self):
        url = urlsplit(self.path)
        body = self.body()
        state = self.state
        with state.lock:
            if url.path == "/double/state":
                change = json.loads(body)
                state.status = change.get("status", state.status)
                state.skew = change.get("skew", state.skew)
                if "seq" in change:
                    state.hosts[change.get("host", "localhost")] = {"seq": change["seq"]}
                return self.answer(200, {})
            if url.path == "/xrpc/com.atproto.sync.requestCrawl":
                if self.headers.get("Content-Type", "").split(";")[0] != "application/json":
                    return self.answer(400, {"error": "InvalidRequest", "message": "Content-Type"})
                hostname = json.loads(body).get("hostname")
                if not isinstance(hostname, str) or not hostname:
                    return self.answer(400, {"error": "InvalidRequest", "message": "hostname"})
                state.asked.append([time.time(), hostname, state.status])
                if state.status == 200:
                    state.hosts.setdefault(hostname, {"seq": 0})
                    return self.answer(200)
                if state.status == 400:
                    return self.answer(400, {"error": "HostBanned", "message": "this host is banned"})
                return self.answer(state.status, {"error": "Unavailable", "message": "come back later"})
        self.answer(404, {"error": "NotFound", "message": self.path})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args()
    Handler.state = State()
    server = ThreadingHTTPServer(("127.0.0.1", arguments.port), Handler)
    print(f"relay double on http://127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
