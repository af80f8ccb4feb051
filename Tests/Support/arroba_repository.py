"""A repository that `arroba` made, a PDS that nobody here wrote, as its getRepo gives it."""

import os

for name in ("PDS_HOST", "APPVIEW_HOST", "RELAY_HOST"):
    os.environ.setdefault(name, "localhost")
os.environ.setdefault("REPO_TOKEN", "test")
os.environ.setdefault("SKIP_BLOB_VALIDATION", "1")

from arroba.repo import Repo, Write  # noqa: E402
from arroba.storage import Action, MemoryStorage  # noqa: E402
from arroba.util import new_key, next_tid  # noqa: E402
from carbox import car  # noqa: E402

POST = "app.bsky.feed.post"


def make(did, count):
    """(CAR, {path: CID bytes}) of a repository of `did` with `count` posts, written ten at a time."""
    storage = MemoryStorage()
    repo = Repo.create(storage, did, signing_key=new_key())
    for start in range(0, count, 10):
        writes = [
            Write(
                Action.CREATE,
                POST,
                next_tid(),
                {"$type": POST, "text": f"post {number} 🏡", "createdAt": "2026-01-01T00:00:00.000Z", "langs": ["en"]},
            )
            for number in range(start, min(start + 10, count))
        ]
        storage.commit(repo, writes)
    # As arroba.xrpc_sync.get_repo does; that module wants Google's client libraries before it lets itself be imported.
    blocks = [car.Block(repo.head.cid, repo.head.encoded)]
    blocks += [car.Block(cid, data) for cid, data in repo.mst.load_all()]
    return car.write_car([repo.head.cid], blocks), {leaf.key: bytes(leaf.value) for leaf in repo.mst.leaves()}
