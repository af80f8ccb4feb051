"""What the suite makes itself: keys, did:plc identities, repositories as CAR files. None of it asks the server."""

import hashlib
import json
import secrets
import time
import urllib.error
import urllib.request

import cbrrr
import plc_directory as plc
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from suite import b64url
from verify import Wrong, block_of, cid_of, demand, layer

TID_LETTERS = "234567abcdefghijklmnopqrstuvwxyz"


def base58(data):
    number, text = int.from_bytes(data, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        text = plc.BASE58[digit] + text
    return text


def tid(microseconds=None, clock=0):
    """A TID of a moment, or of now."""
    number = (int(time.time() * 1e6) if microseconds is None else microseconds) << 10 | clock
    return "".join(TID_LETTERS[number >> 5 * place & 31] for place in reversed(range(13)))


class Key:
    """A private key of K-256, or of P-256."""

    ALGORITHMS = {b"\xe7\x01": "ES256K", b"\x80\x24": "ES256"}

    def __init__(self, code=b"\xe7\x01"):
        curve, self.order = plc.CURVES[code]
        self.algorithm = self.ALGORITHMS[code]
        self.private = ec.generate_private_key(curve)
        point = self.private.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
        self.multikey = "z" + base58(code + point)
        self.did_key = "did:key:" + self.multikey

    def sign(self, message, low=True):
        """64 bytes: r and s, s in the lower half of the order unless `low` is False."""
        r, s = decode_dss_signature(self.private.sign(message, ec.ECDSA(hashes.SHA256())))
        if (s <= self.order // 2) != low:
            s = self.order - s
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def jwt(self, claims, header=None):
        """A service token: `typ: JWT`, signed."""
        parts = ({"typ": "JWT", "alg": self.algorithm, **(header or {})}, claims)
        text = ".".join(b64url(json.dumps(part).encode()) for part in parts)
        return f"{text}.{b64url(self.sign(text.encode()))}"

    def service_token(self, issuer, audience, method, **changes):
        now = int(time.time())
        claims = {"iat": now, "exp": now + 60, "iss": issuer, "aud": audience, "lxm": method,
                  "jti": secrets.token_hex(16)}
        return self.jwt({name: value for name, value in (claims | changes).items() if value is not None})


class Directory:
    """A PLC directory by its URL: did:plc over HTTP."""

    def __init__(self, url):
        self.url = url.rstrip("/")

    def fetch(self, path, operation=None):
        data = json.dumps(operation).encode() if operation is not None else None
        request = urllib.request.Request(f"{self.url}/{path}", data, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                body = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                raise Wrong(f"the PLC directory says {error.code} {error.read()[:200]!r}") from None
        return json.loads(body) if data is None else None

    def document(self, did):
        return self.fetch(did)

    def last(self, did):
        """The last operation of `did`, as it was signed."""
        return self.fetch(f"{did}/log/last")

    def submit(self, did, operation):
        self.fetch(did, operation)


def signed_operation(operation, key):
    unsigned = {name: value for name, value in operation.items() if name != "sig"}
    return {**unsigned, "sig": plc.base64url_encode(key.sign(plc.cbor(unsigned)))}


class Identity:
    """A did:plc whose keys the suite holds: an account of some other server that is about to move, or a service."""

    def __init__(self, directory, handle=None, services=None):
        self.directory = directory
        self.rotation, self.signing = Key(), Key()
        if services is None:
            services = {"atproto_pds": ("AtprotoPersonalDataServer", "https://old.example.com")}
        operation = {
            "type": "plc_operation",
            "rotationKeys": [self.rotation.did_key],
            "verificationMethods": {"atproto": self.signing.did_key},
            "alsoKnownAs": [f"at://{handle}"] if handle else [],
            "services": {name: {"type": kind, "endpoint": url} for name, (kind, url) in services.items()},
            "prev": None,
        }
        genesis = signed_operation(operation, self.rotation)
        self.did, self.handle = plc.did_of(genesis), handle
        directory.submit(self.did, genesis)

    def next_operation(self, credentials, **changes):
        """An operation after the last, made of what `getRecommendedDidCredentials` says; signed."""
        operation = {"type": "plc_operation", "prev": plc.cid_of(self.directory.last(self.did)), **credentials,
                     **changes}
        return signed_operation(operation, self.rotation)


# Repositories


def tree_blocks(records):
    """(root, {CID: block}) of the MST over {key: CID}. Bottom up, from layer and order alone."""
    blocks = {}

    def node(left, entries):
        previous, rows = b"", []
        for key, value, right in entries:
            prefix = 0
            while prefix < min(len(previous), len(key)) and previous[prefix] == key[prefix]:
                prefix += 1
            rows.append({"k": key[prefix:], "p": prefix, "t": right, "v": value})
            previous = key
        block = cbrrr.encode_dag_cbor({"e": rows, "l": left})
        cid = cid_of(block)
        blocks[bytes(cid)] = block
        return cid

    def build(keys, height):
        """The node of layer `height` over `keys`, or None for no keys."""
        if not keys:
            return None
        left, entries, run = None, [], []
        for key in keys:
            if layers[key] == height:
                under = build(run, height - 1)
                if entries:
                    entries[-1][2] = under
                else:
                    left = under
                entries.append([key, records[key], None])
                run = []
            else:
                run.append(key)
        under = build(run, height - 1)
        if entries:
            entries[-1][2] = under
        else:
            left = under
        return node(left, entries)

    layers = {key: layer(key) for key in records}
    if not records:
        return node(None, []), blocks
    return build(sorted(records), max(layers.values())), blocks


def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def section(data):
    return varint(len(data)) + data


def car(roots, blocks):
    """A CAR v1 of (CID bytes, block) pairs."""
    header = cbrrr.encode_dag_cbor({"version": 1, "roots": [cbrrr.CID(bytes(root)) for root in roots]})
    return section(header) + b"".join(section(bytes(cid) + block) for cid, block in blocks)


def commit_block(did, data, key, /, **changes):
    """A signed commit of version 3; `changes` to its fields are signed too; `...` leaves one out."""
    fields = {"did": did, "version": 3, "data": data, "rev": tid(), "prev": None}
    fields |= {name: value for name, value in changes.items() if name != "sig"}  # `sig` signs
    fields = {name: value for name, value in fields.items() if value is not ...}
    sign = changes.get("sig", key.sign)
    return cbrrr.encode_dag_cbor(fields | {"sig": sign(cbrrr.encode_dag_cbor(fields))})


class Repository:
    """A repository that the suite has made: its records, tree and commit."""

    def __init__(self, identity, records, **changes):
        """`records`: {path: value}."""
        self.record_blocks, places = {}, {}
        for path, value in records.items():
            block = cbrrr.encode_dag_cbor(value)
            cid = cid_of(block)
            places[path.encode()] = cid
            self.record_blocks[bytes(cid)] = block
        self.places = places
        self.data, self.nodes = tree_blocks(places)
        self.commit = commit_block(identity.did, self.data, identity.signing, **changes)
        self.root = cid_of(self.commit)

    @property
    def pairs(self):
        """Every block: commit, tree, records."""
        return [(bytes(self.root), self.commit), *self.nodes.items(), *self.record_blocks.items()]

    def car(self):
        return car([self.root], self.pairs)


def find(blocks, cid, key):
    """The record's CID under `key` in the tree at `cid`, or None where the tree proves that there is none.

    Walks only the path to the key: blocks beside it need not be there.
    """
    node = cbrrr.decode_dag_cbor(block_of(blocks, cid))
    below, found = node["l"], b""
    for entry in node["e"]:
        found = found[: entry["p"]] + entry["k"]
        if found == key:
            return entry["v"]
        if found > key:
            break
        below = entry["t"]
    demand(below is None or bytes(below) in blocks, "the path to the key is not in the proof")
    return None if below is None else find(blocks, below, key)


def raw_cid(content):
    """The CID of bytes: codec raw, SHA-256."""
    return cbrrr.CID(b"\x01\x55\x12\x20" + hashlib.sha256(content).digest())
