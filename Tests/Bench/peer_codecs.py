"""The in-process peers of scripts/bench: libipld (Rust) for DAG-CBOR, and an MST over cbrrr.

    peer_codecs.py records FILE COUNT    writes COUNT records of ordinary sizes for both sides
    peer_codecs.py cbor FILE             decode and encode by libipld
    peer_codecs.py mst COUNT             an MST of COUNT sorted keys
    peer_codecs.py car FILE COUNT        writes a CAR with COUNT blocks

Each measuring form prints one line of JSON.
"""

import hashlib
import json
import random
import statistics
import struct
import sys
import time

import cbrrr
import libipld

ALPHABET = b"234567abcdefghijklmnopqrstuvwxyz"
LINK = "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a"


def key(index):
    """The same keys as bench-core's: sorted, as TIDs are."""
    return b"app.bsky.feed.post/3k" + bytes(ALPHABET[(index >> (place * 5)) & 31] for place in range(10, -1, -1))


def record(chance):
    words = ["the", "quick", "brown", "föx", "jumps", "over", "a", "lazy", "dog", "and", "sleeps", "🙂"]
    post = {
        "$type": "app.bsky.feed.post",
        "text": " ".join(chance.choice(words) for _ in range(chance.randint(5, 45))),
        "createdAt": "2026-01-01T00:00:00.000Z",
        "langs": ["en"],
    }
    if chance.random() < 0.5:
        reference = {"cid": LINK, "uri": "at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/app.bsky.feed.post/3kabcdefghijk"}
        post["reply"] = {"root": dict(reference), "parent": dict(reference)}
    if chance.random() < 0.3:
        post["facets"] = [
            {
                "index": {"byteStart": 3, "byteEnd": 17},
                "features": [{"$type": "app.bsky.richtext.facet#link", "uri": "https://example.com/some/page"}],
            }
        ]
    return post


def records(path, count):
    chance = random.Random(1)
    with open(path, "wb") as file:
        for _ in range(count):
            block = cbrrr.encode_dag_cbor(record(chance))
            file.write(struct.pack(">I", len(block)) + block)


def read_records(path):
    found, offset = [], 0
    with open(path, "rb") as file:
        content = file.read()
    while offset < len(content):
        (size,) = struct.unpack_from(">I", content, offset)
        found.append(content[offset + 4 : offset + 4 + size])
        offset += 4 + size
    return found


def cbor(path):
    blocks = read_records(path)
    size = sum(map(len, blocks)) / 1e6
    decoding, encoding = [], []
    for _ in range(9):
        start = time.process_time()
        values = [libipld.decode_dag_cbor(block) for block in blocks]
        decoding.append(size / (time.process_time() - start))
        start = time.process_time()
        for value in values:
            libipld.encode_dag_cbor(value)
        encoding.append(size / (time.process_time() - start))
    rates = {"decode": decoding, "encode": encoding}
    print(json.dumps({f"{name}_mb_per_second": statistics.median(found) for name, found in rates.items()}))


def layer(text):
    digest = int.from_bytes(hashlib.sha256(text).digest(), "big")
    return (256 - digest.bit_length()) // 2


def shared(left, right):
    count = 0
    for one, other in zip(left, right):
        if one != other:
            break
        count += 1
    return count


def mst(count):
    """Builds the tree bottom up from sorted keys: each open layer keeps its unfinished node."""
    keys = [key(index) for index in range(count)]
    value = cbrrr.CID.cidv1_dag_cbor_sha256_32_from(b"value")
    start = time.process_time()
    open_nodes = []  # for each layer: [left subtree, entries]; an entry is [key, value, right subtree]

    def close(height):
        left, entries = open_nodes[height]
        open_nodes[height] = [None, []]
        if not entries and left is None:
            return None
        previous, rows = b"", []
        for name, cid, right in entries:
            prefix = shared(previous, name)
            rows.append({"k": name[prefix:], "p": prefix, "t": right, "v": cid})
            previous = name
        return cbrrr.CID.cidv1_dag_cbor_sha256_32_from(cbrrr.encode_dag_cbor({"e": rows, "l": left}))

    def attach(height, cid):
        if cid is None:
            return
        node = open_nodes[height]
        if node[1]:
            node[1][-1][2] = cid
        else:
            node[0] = cid

    for name in keys:
        height = layer(name)
        while len(open_nodes) <= height:
            open_nodes.append([None, []])
        for below in range(height):
            attach(below + 1, close(below))
        open_nodes[height][1].append([name, value, None])
    for below in range(len(open_nodes) - 1):
        attach(below + 1, close(below))
    root = close(len(open_nodes) - 1)
    print(json.dumps({"keys_per_second": count / (time.process_time() - start), "root": root.encode()}))


def car(path, count):
    chance = random.Random(2)

    def varint(number):
        out = b""
        while number > 127:
            out += bytes([number & 127 | 128])
            number >>= 7
        return out + bytes([number])

    blocks = [cbrrr.encode_dag_cbor(record(chance) | {"number": index}) for index in range(count)]
    cids = [cbrrr.CID.cidv1_dag_cbor_sha256_32_from(block) for block in blocks]
    header = cbrrr.encode_dag_cbor({"roots": [cids[0]], "version": 1})
    with open(path, "wb") as file:
        file.write(varint(len(header)) + header)
        for cid, block in zip(cids, blocks):
            file.write(varint(len(bytes(cid)) + len(block)) + bytes(cid) + block)


if __name__ == "__main__":
    form, words = sys.argv[1], sys.argv[2:]
    if form == "records":
        records(words[0], int(words[1]))
    elif form == "cbor":
        cbor(words[0])
    elif form == "mst":
        mst(int(words[0]))
    elif form == "car":
        car(words[0], int(words[1]))
    else:
        sys.exit(__doc__)
