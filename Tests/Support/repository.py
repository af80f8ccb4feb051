"""Makes repositories as another server would hand them out: a CAR of any size, written as it is made.

    repository.py FILE DID --records 100000 [--size 300]

Shares no code with the product.
"""

import argparse
import hashlib
import random

import cbrrr
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

POST = "app.bsky.feed.post"
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
TID_ALPHABET = "234567abcdefghijklmnopqrstuvwxyz"
FIRST_MICROSECOND = 1_700_000_000_000_000


def tid(microseconds, clock=0):
    number = microseconds << 10 | clock
    return "".join(TID_ALPHABET[number >> shift & 31] for shift in range(60, -1, -5))


def cid_bytes(block, codec=0x71):
    return bytes((1, codec, 0x12, 0x20)) + hashlib.sha256(block).digest()


def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def section(cid, block):
    return varint(len(cid) + len(block)) + cid + block


def header(*roots):
    block = cbrrr.encode_dag_cbor({"roots": [cbrrr.CID(root) for root in roots], "version": 1})
    return varint(len(block)) + block


def layer(key):
    return (256 - int.from_bytes(hashlib.sha256(key).digest(), "big").bit_length()) // 2


class Tree:
    """An MST from keys in order; each finished node goes to `sink` as (CID, block), children first."""

    def __init__(self, sink):
        self.sink = sink
        self.levels = [[None, []]]  # [left child, [[key, value, right child]]]

    def add(self, key, value):
        height = layer(key)
        while len(self.levels) <= height:
            self.levels.append([None, []])
        for below in range(height):
            self.attach(below + 1, self.close(below))
        self.levels[height][1].append([key, value, None])

    def attach(self, height, cid):
        if cid is None:
            return
        left_and_entries = self.levels[height]
        if left_and_entries[1]:
            left_and_entries[1][-1][2] = cid
        else:
            left_and_entries[0] = cid

    def close(self, height, force=False):
        left, entries = self.levels[height]
        self.levels[height] = [None, []]
        if left is None and not entries and not force:
            return None
        previous, rows = b"", []
        for key, value, right in entries:
            prefix = 0
            while prefix < min(len(previous), len(key)) and previous[prefix] == key[prefix]:
                prefix += 1
            rows.append(
                {"k": key[prefix:], "p": prefix, "t": right and cbrrr.CID(right), "v": cbrrr.CID(value)}
            )
            previous = key
        block = cbrrr.encode_dag_cbor({"e": rows, "l": left and cbrrr.CID(left)})
        cid = cid_bytes(block)
        self.sink(cid, block)
        return cid

    def finish(self):
        """The root's CID."""
        for below in range(len(self.levels) - 1):
            self.attach(below + 1, self.close(below))
        return self.close(len(self.levels) - 1, force=True)


def signature(key, message):
    """64 bytes with a low S."""
    r, s = utils.decode_dss_signature(key.sign(message, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + min(s, ORDER - s).to_bytes(32, "big")


def did_key(key):
    """The did:key of a secp256k1 key."""
    numbers = key.public_key().public_numbers()
    raw = b"\xe7\x01" + bytes((2 + numbers.y % 2,)) + numbers.x.to_bytes(32, "big")
    number, text = int.from_bytes(raw, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        text = BASE58[digit] + text
    return "did:key:z" + text


def signed_commit(did, data, key, rev=None, version=3):
    commit = {"did": did, "version": version, "data": cbrrr.CID(data), "prev": None, "rev": rev or tid(FIRST_MICROSECOND)}
    commit["sig"] = signature(key, cbrrr.encode_dag_cbor(commit))
    return cbrrr.encode_dag_cbor(commit)


def posts(count, size, seed=1):
    """`count` records of `size` bytes, about, under keys in order; no two alike."""
    chance = random.Random(seed)
    for number in range(count):
        text = chance.randbytes(max(1, (size - 90) // 2)).hex()
        yield (
            f"{POST}/{tid(FIRST_MICROSECOND + number * 1_000)}",
            {"$type": POST, "text": text, "createdAt": "2026-01-01T00:00:00.000Z"},
        )


def write(path, did, records, key=None, commit_last=False):
    """Writes the CAR of `records` (pairs of path and value, in order) to `path`. Returns (root of the tree, records).

    Blocks come in the order of their making: each node after what is under it. The commit is at the end, as nothing
    says that it may not be, or in its place when the file has been written.
    """
    key = key or ec.generate_private_key(ec.SECP256K1())
    count = 0
    with open(path, "wb") as file:
        # The header has the same length whatever the root is; so has the commit of one DID.
        file.write(header(b"\x01\x71\x12\x20" + bytes(32)))
        place = file.tell()
        if not commit_last:
            blank = signed_commit(did, b"\x01\x71\x12\x20" + bytes(32), key)
            file.write(section(cid_bytes(blank), blank))
        tree = Tree(lambda cid, block: file.write(section(cid, block)))
        for record_path, value in records:
            block = cbrrr.encode_dag_cbor(value)
            cid = cid_bytes(block)
            file.write(section(cid, block))
            tree.add(record_path.encode(), cid)
            count += 1
        data = tree.finish()
        commit = signed_commit(did, data, key)
        if not commit_last:
            file.seek(place)
        file.write(section(cid_bytes(commit), commit))
        file.seek(0)
        file.write(header(cid_bytes(commit)))
    return data, count


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    parser.add_argument("did")
    parser.add_argument("--records", type=int, default=1_000)
    parser.add_argument("--size", type=int, default=300)
    arguments = parser.parse_args()
    print(*write(arguments.file, arguments.did, posts(arguments.records, arguments.size)))


if __name__ == "__main__":
    main()
