#!/usr/bin/env python3
"""A PLC directory for tests: did:plc v0.1 (https://web.plc.directory/spec/v0.1/did-plc) over HTTP on loopback.

It shares nothing with the product: the encodings are its own, and signatures are checked by `python3-cryptography`.

    plc_directory.py --port 2582 --database plc.sqlite      (--port 0 takes a free one)

It prints one line when it listens: `plc_directory ready http://127.0.0.1:<port>`.
"""

import argparse
import hashlib
import json
import re
import sqlite3
import sys
import threading
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

OPERATION_SIZE_MAX = 7_500  # bytes of DAG-CBOR
BODY_SIZE_MAX = 65_536  # bytes of JSON
ROTATION_KEYS_MAX = 10
VERIFICATION_METHODS_MAX = 10
SERVICES_MAX = 10
ALIASES_MAX = 10
ALIAS_SIZE_MAX = 258  # "at://" and the longest handle
ID_SIZE_MAX = 32
SERVICE_TYPE_SIZE_MAX = 256
ENDPOINT_SIZE_MAX = 512
RECOVERY_WINDOW_MS = 72 * 3_600_000
RATE_WINDOW_MS = 3_600_000
RATE_MAX = 10  # operations for a DID in the window
EXPORT_COUNT_MAX = 1_000


class Refusal(Exception):
    """An operation or a request that is not taken, with the HTTP status for it."""

    def __init__(self, message, status=400):
        super().__init__(message)
        self.status = status


# Encodings

BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
BASE32 = "abcdefghijklmnopqrstuvwxyz234567"
BASE64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def base32(data):
    bits = "".join(f"{byte:08b}" for byte in data)
    bits += "0" * (-len(bits) % 5)
    return "".join(BASE32[int(bits[at : at + 5], 2)] for at in range(0, len(bits), 5))


def base58_decode(text):
    number = 0
    for character in text:
        if character not in BASE58:
            raise ValueError("not base58")
        number = number * 58 + BASE58.index(character)
    zeros = len(text) - len(text.lstrip("1"))
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")


def base64url_encode(data):
    bits = "".join(f"{byte:08b}" for byte in data)
    bits += "0" * (-len(bits) % 6)
    return "".join(BASE64URL[int(bits[at : at + 6], 2)] for at in range(0, len(bits), 6))


def base64url_decode(text):
    """The one byte string that `text` stands for: no padding, no line breaks, no bits set past the end."""
    if any(character not in BASE64URL for character in text):
        raise ValueError("not base64url")
    bits = "".join(f"{BASE64URL.index(character):06b}" for character in text)
    whole = len(bits) // 8 * 8
    if len(bits) - whole >= 6 or "1" in bits[whole:]:
        raise ValueError("not canonical base64url")
    return bytes(int(bits[at : at + 8], 2) for at in range(0, whole, 8))


def cbor(value):
    """DAG-CBOR of what an operation is made of: null, text, lists and maps."""
    if value is None:
        return b"\xf6"
    if isinstance(value, str):
        data = value.encode()
        return cbor_head(3, len(data)) + data
    if isinstance(value, list):
        return cbor_head(4, len(value)) + b"".join(map(cbor, value))
    if isinstance(value, dict):
        pairs = sorted(((key.encode(), item) for key, item in value.items()), key=lambda pair: (len(pair[0]), pair[0]))
        body = b"".join(cbor_head(3, len(key)) + key + cbor(item) for key, item in pairs)
        return cbor_head(5, len(pairs)) + body
    raise Refusal("Only null, text, lists and maps are allowed")


def cbor_head(major, argument):
    top = major << 5
    if argument < 24:
        return bytes([top | argument])
    for extra, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if argument < 1 << 8 * size:
            return bytes([top | extra]) + argument.to_bytes(size, "big")
    raise Refusal("Too large")


def cid_of(operation):
    return "b" + base32(b"\x01\x71\x12\x20" + hashlib.sha256(cbor(operation)).digest())


def did_of(genesis):
    return "did:plc:" + base32(hashlib.sha256(cbor(genesis)).digest())[:24]


# Keys and signatures

CURVES = {
    b"\xe7\x01": (ec.SECP256K1(), 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141),
    b"\x80\x24": (ec.SECP256R1(), 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551),
}
SUITES = {
    b"\xe7\x01": "https://w3id.org/security/suites/secp256k1-2019/v1",
    b"\x80\x24": "https://w3id.org/security/suites/ecdsa-2019/v1",
}


def multikey(did_key):
    """The code and the point of a did:key. Raises ValueError when it is none."""
    if not did_key.startswith("did:key:z") or len(did_key) > 256:
        raise ValueError("not a did:key")
    data = base58_decode(did_key[len("did:key:z") :])
    if len(data) < 3:
        raise ValueError("too short")
    return data[:2], data[2:]


def public_key(did_key):
    """The key and the order of its curve, of one of the two curves. Raises ValueError for any other."""
    code, point = multikey(did_key)
    if code not in CURVES or len(point) != 33 or point[0] not in (2, 3):
        raise ValueError("unsupported key")
    curve, order = CURVES[code]
    return ec.EllipticCurvePublicKey.from_encoded_point(curve, point), order


def is_signed_by(did_key, data, signature):
    try:
        key, order = public_key(did_key)
    except ValueError:
        return False
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    if len(signature) != 64 or not 0 < r < order or not 0 < s <= order // 2:
        return False
    try:
        key.verify(encode_dss_signature(r, s), data, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def signer(operation, keys):
    """The place in `keys` of the first key that signed `operation`; a Refusal when none did."""
    unsigned = {name: value for name, value in operation.items() if name != "sig"}
    try:
        signature = base64url_decode(operation["sig"])
    except ValueError:
        raise Refusal("Invalid signature encoding") from None
    for place, key in enumerate(keys):
        if is_signed_by(key, cbor(unsigned), signature):
            return place
    raise Refusal("Invalid signature on operation")


# Operations

TEXT = "text"
FIELDS = {
    "plc_operation": {
        "rotationKeys": "texts",
        "verificationMethods": "text map",
        "alsoKnownAs": "texts",
        "services": "services",
        "prev": "text or null",
        "sig": TEXT,
    },
    "plc_tombstone": {"prev": TEXT, "sig": TEXT},
    "create": {
        "signingKey": TEXT,
        "recoveryKey": TEXT,
        "handle": TEXT,
        "service": TEXT,
        "prev": "null",
        "sig": TEXT,
    },
}


def is_of(shape, value):
    if shape == TEXT:
        return isinstance(value, str)
    if shape == "null":
        return value is None
    if shape == "text or null":
        return value is None or isinstance(value, str)
    if shape == "texts":
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    if shape == "text map":
        return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())
    return isinstance(value, dict) and all(
        isinstance(item, dict) and set(item) == {"type", "endpoint"} and all(isinstance(v, str) for v in item.values())
        for item in value.values()
    )


def check_shape(operation):
    """Refuses anything but the three kinds of operation, each with all of its fields and no other."""
    kind = operation.get("type") if isinstance(operation, dict) else None
    fields = FIELDS.get(kind) if isinstance(kind, str) else None
    if fields is None:
        raise Refusal("Not a valid operation: unknown type")
    if set(operation) - {"type"} != set(fields):
        raise Refusal("Not a valid operation: missing or unknown fields")
    for name, shape in fields.items():
        if not is_of(shape, operation[name]):
            raise Refusal(f"Not a valid operation: {name}")


def check_limits(operation):
    """What the directory asks of new operations beyond the method itself."""
    if len(cbor(operation)) > OPERATION_SIZE_MAX:
        raise Refusal(f"Operation too large ({OPERATION_SIZE_MAX} bytes maximum in cbor encoding)")
    if operation["type"] == "plc_tombstone":
        return
    data = data_of("", operation)
    for name, limit in (
        ("rotationKeys", ROTATION_KEYS_MAX),
        ("verificationMethods", VERIFICATION_METHODS_MAX),
        ("services", SERVICES_MAX),
        ("alsoKnownAs", ALIASES_MAX),
    ):
        if len(data[name]) > limit:
            raise Refusal(f"Too many {name} entries (max {limit})")
    for key in data["rotationKeys"]:
        try:
            public_key(key)
        except ValueError:
            raise Refusal(f"Invalid rotationKey: {key}") from None
    for name, key in data["verificationMethods"].items():
        try:
            multikey(key)
        except ValueError:
            raise Refusal(f"Invalid verificationMethod key: {key}") from None
        if len(name) > ID_SIZE_MAX:
            raise Refusal(f"Verification method id too long (max {ID_SIZE_MAX})")
    for name, service in data["services"].items():
        sizes = (
            (len(name), ID_SIZE_MAX, "id"),
            (len(service["type"]), SERVICE_TYPE_SIZE_MAX, "type"),
            (len(service["endpoint"]), ENDPOINT_SIZE_MAX, "endpoint"),
        )
        for size, limit, what in sizes:
            if size > limit:
                raise Refusal(f"Service {what} too long (max {limit})")
    if any(len(alias) > ALIAS_SIZE_MAX for alias in data["alsoKnownAs"]):
        raise Refusal(f"alsoKnownAs entry too long (max {ALIAS_SIZE_MAX})")
    if len(set(data["alsoKnownAs"])) != len(data["alsoKnownAs"]):
        raise Refusal("Duplicate alsoKnownAs entry")


def data_of(did, operation):
    """What an operation says of a DID, legacy form or not; None for a tombstone."""
    if operation["type"] == "plc_tombstone":
        return None
    if operation["type"] == "plc_operation":
        names = ("verificationMethods", "rotationKeys", "alsoKnownAs", "services")
        return {"did": did, **{name: operation[name] for name in names}}
    handle = re.sub(r"^(at|https?)://", "", operation["handle"])
    service = operation["service"]
    endpoint = service if re.match(r"https?://", service) else "https://" + service
    return {
        "did": did,
        "verificationMethods": {"atproto": operation["signingKey"]},
        "rotationKeys": [operation["recoveryKey"], operation["signingKey"]],
        "alsoKnownAs": ["at://" + handle],
        "services": {"atproto_pds": {"type": "AtprotoPersonalDataServer", "endpoint": endpoint}},
    }


def document_of(data):
    """The DID document that the public directory gives for `data`."""
    did = data["did"]
    context = ["https://www.w3.org/ns/did/v1", "https://w3id.org/security/multikey/v1"]
    methods = []
    for name, key in data["verificationMethods"].items():
        suite = SUITES.get(multikey(key)[0])
        if suite is not None and suite not in context:
            context.append(suite)
        methods.append(
            {
                "id": f"{did}#{name}",
                "type": "Multikey",
                "controller": did,
                "publicKeyMultibase": key[len("did:key:") :],
            }
        )
    services = [
        {"id": f"#{name}", "type": service["type"], "serviceEndpoint": service["endpoint"]}
        for name, service in data["services"].items()
    ]
    return {
        "@context": context,
        "id": did,
        "alsoKnownAs": data["alsoKnownAs"],
        "verificationMethod": methods,
        "service": services,
    }


@dataclass
class Entry:
    """An accepted operation in a DID's log."""

    did: str
    operation: dict
    cid: str
    nullified: bool
    created: int  # milliseconds since 1970

    def audit(self):
        return {
            "did": self.did,
            "operation": self.operation,
            "cid": self.cid,
            "nullified": self.nullified,
            "createdAt": iso8601(self.created),
        }


def iso8601(milliseconds):
    moment = datetime.fromtimestamp(milliseconds // 1000, timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{milliseconds % 1000:03d}Z"


def milliseconds(text):
    moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)
    return round(moment.timestamp() * 1000)


def judge(did, current, proposed, now):
    """What `proposed` nullifies of `current` (the entries that count, in order); a Refusal when it is wrong."""
    check_shape(proposed)
    if not current:
        if proposed["type"] == "plc_tombstone" or proposed["prev"] is not None:
            raise Refusal("Operations not correctly ordered: the first one has no prev")
        signer(proposed, data_of(did, proposed)["rotationKeys"])
        if did_of(proposed) != did:
            raise Refusal(f"Hash of genesis operation does not match DID identifier: {did_of(proposed)}")
        return []
    if proposed["type"] == "create":
        raise Refusal("Legacy operations are for creation only")
    at = next((at for at, entry in enumerate(current) if entry.cid == proposed["prev"]), None)
    base = data_of(did, current[at].operation) if at is not None else None
    if base is None:
        raise Refusal("Operations not correctly ordered")
    nullified = current[at + 1 :]
    keys = base["rotationKeys"]
    if not nullified:
        signer(proposed, keys)
        return []
    # Only a key of higher authority (an earlier place) than the one that signed what is disputed.
    signer(proposed, keys[: signer(nullified[0].operation, keys)])
    late = now - nullified[0].created
    if late > RECOVERY_WINDOW_MS:
        raise Refusal(f"Recovery operation occured outside of the allowed 72 hr recovery window: {late} ms")
    return nullified


def check_audit_log(log):
    """Raises a Refusal unless `log`, as /log/audit gives it, is what a right directory would have accepted."""
    entries = []
    for row in log:
        entry = Entry(row["did"], row["operation"], row["cid"], False, milliseconds(row["createdAt"]))
        if entry.did != log[0]["did"] or cid_of(entry.operation) != entry.cid:
            raise Refusal("CID or DID does not match")
        current = [known for known in entries if not known.nullified]
        for lost in judge(entry.did, current, entry.operation, entry.created):
            lost.nullified = True
        entries.append(entry)
    if [entry.nullified for entry in entries] != [row["nullified"] for row in log]:
        raise Refusal("Nullification does not match")


# The directory


class Directory:
    """The logs in one SQLite database. `clock` gives milliseconds since 1970."""

    def __init__(self, path=":memory:", clock=lambda: time.time_ns() // 1_000_000):
        self.clock = clock
        self.lock = threading.Lock()
        self.database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self.database.executescript("""
            PRAGMA journal_mode = WAL;
            CREATE TABLE IF NOT EXISTS entry (
                seq INTEGER PRIMARY KEY AUTOINCREMENT, did TEXT NOT NULL, cid TEXT NOT NULL, operation TEXT NOT NULL,
                nullified INTEGER NOT NULL DEFAULT 0, created INTEGER NOT NULL, UNIQUE (did, cid));
            CREATE INDEX IF NOT EXISTS entry_created ON entry (created);
            """)

    def close(self):
        self.database.close()

    def _entries(self, where, values):
        rows = self.database.execute(
            f"SELECT did, operation, cid, nullified, created FROM entry {where}", values
        ).fetchall()
        return [Entry(did, json.loads(text), cid, bool(gone), created) for did, text, cid, gone, created in rows]

    def log(self, did):
        """Every entry of `did`, nullified ones too, oldest first."""
        with self.lock:
            return self._entries("WHERE did = ? ORDER BY seq", (did,))

    def export(self, after, count):
        with self.lock:
            return self._entries("WHERE created > ? ORDER BY seq LIMIT ?", (after, count))

    def submit(self, did, operation):
        """Accepts `operation` into the log of `did`, or raises a Refusal and changes nothing."""
        if not re.fullmatch("did:plc:[a-z2-7]{24}", did):
            raise Refusal(f"Not a valid did:plc: {did}")
        check_shape(operation)
        check_limits(operation)
        with self.lock:
            log = self._entries("WHERE did = ? ORDER BY seq", (did,))
            (latest,) = self.database.execute("SELECT coalesce(max(created), 0) FROM entry").fetchone()
            # Strictly later than all before, so that `after` of an export loses nothing.
            now = max(self.clock(), latest + 1)
            lost = judge(did, [entry for entry in log if not entry.nullified], operation, now)
            if sum(entry.created > now - RATE_WINDOW_MS for entry in log) >= RATE_MAX:
                raise Refusal(f"Too many operations within last hour (max {RATE_MAX})")
            self._store(did, operation, [entry.cid for entry in lost], now)

    def _store(self, did, operation, lost, now):
        self.database.execute("BEGIN IMMEDIATE")
        try:
            self.database.executemany(
                "UPDATE entry SET nullified = 1 WHERE did = ? AND cid = ?", [(did, cid) for cid in lost]
            )
            self.database.execute(
                "INSERT INTO entry (did, cid, operation, created) VALUES (?, ?, ?, ?)",
                (did, cid_of(operation), json.dumps(operation), now),
            )
            self.database.execute("COMMIT")
        except BaseException:
            self.database.execute("ROLLBACK")
            raise


def parse_operation(body):
    def distinct(pairs):
        if len({name for name, _ in pairs}) != len(pairs):
            raise ValueError("a name twice")
        return dict(pairs)

    try:
        operation = json.loads(body.decode(), object_pairs_hook=distinct)
        # A lone surrogate can be written in JSON but not in UTF-8.
        json.dumps(operation, ensure_ascii=False).encode()
        return operation
    except (ValueError, RecursionError):
        raise Refusal("Not JSON") from None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "plc_directory"

    @property
    def directory(self):
        return self.server.directory

    def log_message(self, *arguments):
        """Silent: the tests that use it read standard output for the ready line."""

    def do_GET(self):
        self.answer(self.get)

    do_HEAD = do_GET

    def do_POST(self):
        self.answer(self.post)

    def answer(self, method):
        try:
            method()
        except Refusal as refusal:
            self.send(refusal.status, {"message": str(refusal)})

    def send(self, status, value, content_type="application/json; charset=utf-8"):
        body = value if isinstance(value, bytes) else json.dumps(value, ensure_ascii=False).encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def get(self):
        url = urlsplit(self.path)
        if url.path == "/_health":
            return self.send(200, {"version": "test double"})
        if url.path == "/export":
            return self.export(parse_qs(url.query))
        did, _, view = unquote(url.path[1:]).partition("/")
        log = self.directory.log(did)
        if not log:
            raise Refusal(f"DID not registered: {did}", 404)
        current = [entry for entry in log if not entry.nullified]
        if view == "log":
            return self.send(200, [entry.operation for entry in current])
        if view == "log/audit":
            return self.send(200, [entry.audit() for entry in log])
        if view == "log/last":
            return self.send(200, current[-1].operation)
        if view not in ("", "data"):
            raise Refusal("Not found", 404)
        data = data_of(did, current[-1].operation)
        if data is None:
            raise Refusal(f"DID not available: {did}", 410)
        if view == "data":
            return self.send(200, data)
        return self.send(200, document_of(data), "application/did+ld+json; charset=utf-8")

    def export(self, query):
        try:
            count = int(query.get("count", ["10"])[0])
            after = milliseconds(query["after"][0]) if "after" in query else -1
        except ValueError:
            raise Refusal("Invalid count or after") from None
        if not 1 <= count <= EXPORT_COUNT_MAX:
            raise Refusal("Invalid count parameter")
        lines = [json.dumps(entry.audit()) for entry in self.directory.export(after, count)]
        self.send(200, "\n".join(lines).encode(), "application/jsonlines; charset=utf-8")

    def post(self):
        size = self.headers.get("Content-Length", "")
        if not re.fullmatch("[0-9]{1,9}", size) or int(size) > BODY_SIZE_MAX:
            self.close_connection = True
            raise Refusal("A body of known length is needed", 413 if size.isdigit() else 411)
        operation = parse_operation(self.rfile.read(int(size)))
        self.directory.submit(unquote(urlsplit(self.path).path[1:]), operation)
        self.send(200, b"OK", "text/plain; charset=utf-8")


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address, port, directory):
        super().__init__((address, port), Handler)
        self.directory = directory


def main():
    parser = argparse.ArgumentParser(description="A PLC directory for tests.")
    parser.add_argument("--port", type=int, required=True, help="TCP port; 0 for a free one")
    parser.add_argument("--address", default="127.0.0.1", help="the address to listen on")
    parser.add_argument("--database", default=":memory:", help="SQLite file (default: in memory)")
    options = parser.parse_args()
    server = Server(options.address, options.port, Directory(options.database))
    print(f"plc_directory ready http://{options.address}:{server.server_address[1]}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
