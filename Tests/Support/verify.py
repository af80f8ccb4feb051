"""Independent checks of repositories and of the firehose: Python over cbrrr and atmst, none of the product's code.

Each function raises `Wrong` with a sentence when something does not hold.
"""

import hashlib
import io

import cbrrr
from atmst.blockstore import MemoryBlockStore
from atmst.mst.node_store import NodeStore
from atmst.mst.node_wrangler import NodeWrangler
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
# Multicodec prefixes of a public key, and the order of its curve (SEC 2).
CURVES = {
    b"\xe7\x01": (ec.SECP256K1(), 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141),
    b"\x80\x24": (ec.SECP256R1(), 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551),
}


class Wrong(Exception):
    """What the product answered is not what the protocol says."""


def demand(condition, sentence):
    if not condition:
        raise Wrong(sentence)


def cid_of(block):
    """The DAG-CBOR CID of a block, as cbrrr's type."""
    return cbrrr.CID(b"\x01\x71\x12\x20" + hashlib.sha256(block).digest())


def varint(stream):
    """A CAR varint, or None at the end of the stream."""
    number, shift = 0, 0
    while True:
        byte = stream.read(1)
        if not byte:
            demand(shift == 0, "the CAR ends inside a varint")
            return None
        number |= (byte[0] & 127) << shift
        shift += 7
        if byte[0] < 128:
            return number
        demand(shift < 63, "a varint of the CAR is too long")


def parse_car(content):
    """(root CID, [CID in order], {CID bytes: block}) of a CAR; every block is hashed against its CID."""
    stream = io.BytesIO(content)
    header = cbrrr.decode_dag_cbor(stream.read(varint(stream)))
    demand(header.get("version") == 1, "the CAR is not of version 1")
    demand(len(header["roots"]) == 1, "the CAR has not exactly one root")
    order, blocks = [], {}
    while (size := varint(stream)) is not None:
        section = stream.read(size)
        demand(len(section) == size, "the CAR ends inside a section")
        cid, block = section[:36], section[36:]
        demand(cid[:4] in (b"\x01\x71\x12\x20", b"\x01\x55\x12\x20"), "a CID of the CAR is of another form")
        demand(hashlib.sha256(block).digest() == cid[4:], "a block of the CAR does not match its CID")
        order.append(cbrrr.CID(cid))
        blocks[cid] = block
    return header["roots"][0], order, blocks


def block_of(blocks, cid):
    demand(bytes(cid) in blocks, f"block {cid.encode()} is missing")
    return blocks[bytes(cid)]


def public_key(multibase):
    """(key, order of the curve) of a Multikey or did:key."""
    text = multibase.removeprefix("did:key:")
    demand(text[0] == "z", "the key is not base58")
    number = 0
    for character in text[1:]:
        number = number * 58 + BASE58.index(character)
    raw = number.to_bytes(35, "big")
    curve, order = CURVES[raw[:2]]
    return ec.EllipticCurvePublicKey.from_encoded_point(curve, raw[2:]), order


def verify_signature(multibase, signature, message):
    key, order = public_key(multibase)
    demand(len(signature) == 64, "the signature is not 64 bytes")
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    demand(s <= order // 2, "the signature has a high S")
    try:
        key.verify(utils.encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        raise Wrong("the signature does not verify") from None


def verify_commit(block, did, multibase):
    """The fields of a commit block, once its form and its signature are right."""
    commit = cbrrr.decode_dag_cbor(block)
    demand(set(commit) == {"did", "version", "data", "rev", "prev", "sig"}, f"the commit has fields {sorted(commit)}")
    demand(commit["did"] == did, "the commit is of another DID")
    demand(commit["version"] == 3, "the commit is not of version 3")
    demand(commit["prev"] is None, "the commit's prev is not null")
    unsigned = {name: value for name, value in commit.items() if name != "sig"}
    verify_signature(multibase, commit["sig"], cbrrr.encode_dag_cbor(unsigned))
    return commit


def walk(blocks, cid, found, order=None):
    """Collects key → CID of the tree under `cid`, in order, and the pre-order of its blocks."""
    if order is not None:
        order.append(cid)
    node = cbrrr.decode_dag_cbor(block_of(blocks, cid))
    if node["l"] is not None:
        walk(blocks, node["l"], found, order)
    key = b""
    for entry in node["e"]:
        key = key[: entry["p"]] + entry["k"]
        found[key] = entry["v"]
        if order is not None:
            order.append(entry["v"])
        if entry["t"] is not None:
            walk(blocks, entry["t"], found, order)


def tree_of(blocks, root):
    """{key: CID} of the whole tree, checked to be sorted and to have `root` when it is built anew from its keys."""
    found = {}
    walk(blocks, root, found)
    demand(list(found) == sorted(found), "the keys of the tree are not in order")
    demand(root_of(found) == root, "the tree built from its keys has another root")
    return found


def layer(key):
    return (256 - int.from_bytes(hashlib.sha256(key).digest(), "big").bit_length()) // 2


def root_of(records):
    """The root of the MST over {key: CID}, built bottom up."""
    nodes = [[None, []]]

    def close(height):
        left, entries = nodes[height]
        nodes[height] = [None, []]
        if left is None and not entries:
            return None
        previous, rows = b"", []
        for key, value, right in entries:
            prefix = 0
            while prefix < min(len(previous), len(key)) and previous[prefix] == key[prefix]:
                prefix += 1
            rows.append({"k": key[prefix:], "p": prefix, "t": right, "v": value})
            previous = key
        return cid_of(cbrrr.encode_dag_cbor({"e": rows, "l": left}))

    def attach(height, cid):
        if cid is not None:
            left_and_entries = nodes[height]
            if left_and_entries[1]:
                left_and_entries[1][-1][2] = cid
            else:
                left_and_entries[0] = cid

    for key in sorted(records):
        height = layer(key)
        while len(nodes) <= height:
            nodes.append([None, []])
        for below in range(height):
            attach(below + 1, close(below))
        nodes[height][1].append([key, records[key], None])
    for below in range(len(nodes) - 1):
        attach(below + 1, close(below))
    return close(len(nodes) - 1) or cid_of(cbrrr.encode_dag_cbor({"e": [], "l": None}))


def verify_repository(content, did, multibase):
    """(commit, {key: record CID}, {CID bytes: block}) of a getRepo answer: everything in it is needed and right."""
    root, order, blocks = parse_car(content)
    demand(order[0] == root, "the CAR does not begin with its root")
    commit = verify_commit(block_of(blocks, root), did, multibase)
    found, preorder = {}, []
    walk(blocks, commit["data"], found, preorder)
    demand(root_of(found) == commit["data"], "the tree built from its keys has another root")
    for key, cid in found.items():
        block_of(blocks, cid)
    # A record comes wherever its key stands, also when an equal one came before: a reader keeps nothing.
    demand(order[1:] == preorder, "the blocks are not in pre-order")
    return commit, found, blocks


def invert_commit(event):
    """Undoes the operations of a #commit event on its own blocks and compares with prevData."""
    root, _, blocks = parse_car(event["blocks"])
    demand(root == event["commit"], "the root of the event's blocks is not its commit")
    commit = cbrrr.decode_dag_cbor(block_of(blocks, root))
    demand(commit["rev"] == event["rev"], "rev of event and commit differ")
    wrangler = NodeWrangler(NodeStore(MemoryBlockStore(dict(blocks))))
    tree = commit["data"]
    try:
        for operation in event["ops"]:
            if operation["action"] != "delete":
                block_of(blocks, operation["cid"])
        for operation in reversed(event["ops"]):
            if operation["action"] == "create":
                tree = wrangler.del_record(tree, operation["path"])
            else:
                tree = wrangler.put_record(tree, operation["path"], operation["prev"])
    except KeyError as missing:
        raise Wrong(f"the event lacks a block that inversion needs: {missing}") from None
    demand(tree == event["prevData"], "the inverted tree is not prevData")
    return commit


def decode_frame(frame):
    """(header, payload) of a message of an event stream."""
    header = first_object(frame)
    return cbrrr.decode_dag_cbor(header), cbrrr.decode_dag_cbor(frame[len(header) :])


def first_object(frame):
    """The bytes of the header: a map of at most two short entries, so its end is found by trying."""
    for end in range(2, min(len(frame), 64)):
        try:
            cbrrr.decode_dag_cbor(frame[:end])
            return frame[:end]
        except Exception:
            continue
    raise Wrong("the frame has no header")


class FirehoseChecker:
    """Checks a run of events one by one: seq rises, and each repository's chain of rev and data is unbroken."""

    def __init__(self):
        self.seq = 0
        self.heads = {}  # did: (rev, data)
        self.commits = 0

    def take(self, frame):
        header, event = decode_frame(frame)
        demand(header.get("op") == 1, f"an error frame: {event}")
        if header["t"] == "#info":
            return header, event
        demand(event["seq"] > self.seq, f"seq {event['seq']} after {self.seq}")
        self.seq = event["seq"]
        if header["t"] == "#commit":
            did = event["repo"]
            if event.get("prevData") is not None:
                commit = invert_commit(event)
            else:
                root, _, blocks = parse_car(event["blocks"])
                commit = cbrrr.decode_dag_cbor(block_of(blocks, root))
            if did in self.heads:
                rev, data = self.heads[did]
                demand(event["since"] == rev, f"since {event['since']} is not the rev before, {rev}")
                demand(event.get("prevData") == data, "prevData is not the data before")
                demand(event["rev"] > rev, "rev does not rise")
            self.heads[did] = (event["rev"], commit["data"])
            self.commits += 1
        return header, event
