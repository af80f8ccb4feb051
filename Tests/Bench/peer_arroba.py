"""The peer PDS `arroba` (from the package index) with one repository in memory, as a benchmark's other side.

    peer_arroba.py PORT [KEY]  prints one line of JSON {"did", "token"} when it listens

With KEY, a did:key, importRepo believes that every identity has that signing key: nobody is asked over the network.
"""

import json
import logging
import os
import sys

os.environ.setdefault("REPO_TOKEN", "bench")
os.environ.setdefault("PDS_HOST", "localhost")
os.environ.setdefault("APPVIEW_HOST", "localhost")
os.environ.setdefault("RELAY_HOST", "localhost")
os.environ.setdefault("SKIP_BLOB_VALIDATION", "1")

import arroba.xrpc_repo  # noqa: F401, E402  (registers its methods)
from arroba import server  # noqa: E402
from arroba.repo import Repo  # noqa: E402
from arroba.storage import MemoryStorage  # noqa: E402
from arroba.util import new_key  # noqa: E402
from flask import Flask  # noqa: E402
from lexrpc.flask_server import init_flask  # noqa: E402
from werkzeug.serving import make_server  # noqa: E402

DID = "did:web:alice.test"


def believe(key):
    """importRepo asks for the identity's document, and for its key."""
    arroba.xrpc_repo.did.resolve = lambda *_, **__: {}
    arroba.xrpc_repo.did.get_signing_key = lambda _: arroba.did.decode_did_key(key)
    arroba.xrpc_repo.did.get_handle = lambda _: "mover.test"


def main():
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    app = Flask("peer")
    server.storage = MemoryStorage()
    Repo.create(server.storage, DID, handle="alice.test", signing_key=new_key())
    if len(sys.argv) > 2:
        believe(sys.argv[2])
    init_flask(server.server, app)
    listening = make_server("127.0.0.1", int(sys.argv[1]), app, threaded=True)
    print(json.dumps({"did": DID, "token": "bench"}), flush=True)
    listening.serve_forever()


if __name__ == "__main__":
    main()
