"""`arroba`, a PDS from the package index that nobody here wrote: its whole XRPC server on loopback, in a process.

    arroba_peer.py --plc http://localhost:2582

It prints its base URL when it listens. What arroba has as functions but not as XRPC methods is called by lines of JSON
on standard input, each answered by one on standard output; it ends when its input does. Everything is in its memory.
The one thing that is not as arroba ships it: its PLC directory is reached without TLS.
"""

import argparse
import json
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path

TOKEN = "token-of-the-peer"
PASSWORD = "password-of-the-peer"


class Peer:
    """The peer as a process."""

    def __init__(self, plc_url):
        self.process = subprocess.Popen(
            [sys.executable, Path(__file__), "--plc", plc_url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.url = self.process.stdout.readline().strip()
        if not self.url:
            raise RuntimeError("the peer did not start")

    def do(self, what, **words):
        """The answer to a command."""
        self.process.stdin.write(json.dumps({"do": what, **words}) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        if "error" in answer:
            raise AssertionError(f"the peer, {what}: {answer['error']}")
        return answer

    def close(self):
        self.process.stdin.close()
        self.process.wait(20)
        self.process.stdout.close()


def serve(plc_url):
    host = plc_url.removeprefix("http://")
    os.environ.update(
        PLC_HOST=host, PDS_HOST="localhost", APPVIEW_HOST="localhost", RELAY_HOST="localhost", REPO_TOKEN=TOKEN,
        REPO_PASSWORD=PASSWORD,
        # It knows blobs only by a Google Cloud Datastore, which is not here.
        SKIP_BLOB_VALIDATION="1",
    )
    import arroba.xrpc_identity  # noqa: F401 (registers its methods, as the next three do)
    import arroba.xrpc_repo  # noqa: F401
    import arroba.xrpc_server  # noqa: F401
    import arroba.xrpc_sync
    import webutil.util
    from arroba import did as identities
    from arroba import firehose, server
    from arroba.repo import Repo
    from arroba.storage import MemoryStorage
    from arroba.util import new_key, service_jwt
    from flask import Flask
    from lexrpc.flask_server import init_flask
    from requests.adapters import HTTPAdapter
    from werkzeug.serving import make_server

    class WithoutTLS(HTTPAdapter):
        def send(self, request, **words):
            request.url = request.url.replace("https://", "http://", 1)
            return super().send(request, **words)

    webutil.util.session.mount(f"https://{host}/", WithoutTLS())
    logging.getLogger("werkzeug").setLevel(logging.ERROR)

    def tell(data=None, lost_seq=None):
        """As arroba's subscribeRepos asks of who serves it."""
        if data:
            firehose.send_events()
        elif lost_seq:
            firehose.mark_seq_lost(lost_seq)

    server.storage = MemoryStorage()
    app = Flask("peer")
    init_flask(server.server, app)
    listening = make_server("127.0.0.1", 0, app, threaded=True)
    url = f"http://localhost:{listening.server_port}"
    threading.Thread(target=listening.serve_forever, daemon=True).start()

    def create(handle):
        """An identity in the directory and an empty repository."""
        made = identities.create_plc(handle, pds_url=url)
        Repo.create(
            server.storage, made.did, handle=handle, signing_key=made.signing_key, rotation_key=made.rotation_key,
            callback=tell,
        )
        if not firehose_is_on:
            firehose_is_on.append(firehose.start())
        return {"did": made.did}

    def service_token(did, audience, method):
        """What other servers make of getServiceAuth."""
        key = server.storage.load_repo(did).signing_key
        return {"token": service_jwt("localhost", did, key, aud=audience, lxm=method)}

    def move_identity(did, handle, signing_key, rotation_key, pds_url):
        """Signs the operation that gives an identity to another server, and hands it to the directory."""
        identities.update_plc(
            did, handle=handle, pds_url=pds_url, signing_key=identities.decode_did_key(signing_key),
            rotation_key=server.storage.load_repo(did).rotation_key,
            new_rotation_key=identities.decode_did_key(rotation_key),
        )
        return {}

    def keys(did):
        repo = server.storage.load_repo(did)
        return {
            "signing": identities.encode_did_key(repo.signing_key.public_key()),
            "rotation": identities.encode_did_key(repo.rotation_key.public_key()),
        }

    def activate(did):
        server.storage.activate_repo(server.storage.load_repo(did))
        return {}

    def deactivate(did):
        server.storage.deactivate_repo(server.storage.load_repo(did))
        return {}

    commands = {
        "create": create, "service_token": service_token, "move_identity": move_identity,
        "keys": keys, "activate": activate, "deactivate": deactivate,
    }
    firehose_is_on = []
    print(url, flush=True)
    for line in sys.stdin:
        words = json.loads(line)
        try:
            answer = commands[words.pop("do")](**words)
        except Exception as error:
            answer = {"error": repr(error)}
        print(json.dumps(answer), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--plc", required=True)
    serve(parser.parse_args().plc)


if __name__ == "__main__":
    main()
