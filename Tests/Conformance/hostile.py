"""Hostile inputs that can be tried from outside. Each is answered with its error, soon, and changes nothing.

The numbers are those of the corpus in docs/conformance.md: H the HTTP edge, J JSON and text, C CBOR, CAR and trees (as
importRepo brings them), F identities, O tokens.
"""

import json
import time
from dataclasses import dataclass

import cbrrr
from data import Identity, Key, Repository, car, commit_block, section, tree_blocks, varint
from migration import CAR, move_in
from suite import LIKE, POST, UNKNOWN, Table, b64url, expect, image_post, jwt_parts, note, now_text, png, post
from verify import cid_of, demand, layer

table = Table()
REFUSED = frozenset({400})


@dataclass
class Case:
    """One input: how it is sent, and what may come back."""

    name: str
    send: object
    status: frozenset = REFUSED
    error: object = None
    has: object = None


def row(number, text, *needs):
    """The function below gives the cases of row `number`, and the account whose repository must stay as it is."""

    def add(function):
        @table.row(number, text, *needs)
        def run(s):
            account, cases = function(s)
            head = account.head()
            for case in cases:
                answer = case.send()
                try:
                    check(s, case, answer)
                except Exception as wrong:
                    raise type(wrong)(f"{case.name}: {wrong}") from None
                demand(account.head() == head, f"{case.name}: the repository has changed")
            demand(s.server.request("GET", "/xrpc/_health").status == 200, "the server still answers")

        return function

    return add


def check(s, case, answer):
    demand(answer.status in case.status, f"status {answer.status}, not {sorted(case.status)}: {answer.body[:200]!r}")
    if case.error or case.has:
        expect(answer, answer.status, case.error, has=case.has)
    limit = s.options.hostile_seconds
    demand(answer.seconds <= limit, f"it took {answer.seconds:.1f} s, more than {limit}")


# H: the edge


def raw_get(s, target, *headers, host=None, method="GET", version="1.1"):
    """The bytes of a request without a body; `host` False leaves the field out."""
    lines = [f"{method} {target} HTTP/{version}"]
    if host is not False:
        lines.append(f"Host: {s.server.authority if host is None else host}")
    lines += [*headers, "Connection: close"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def raw_post(s, body, *headers):
    return raw_get(s, "/xrpc/com.atproto.server.createSession", "Content-Type: application/json", *headers,
                   method="POST") + body


DESCRIBE = "/xrpc/com.atproto.server.describeServer"


def edge_row(number, text, make, ends=False):
    """A row of raw requests: `make(s)` gives (name, bytes, statuses). With `ends` the client breaks off after them."""

    @row(number, text)
    def cases(s):
        return s.first, [Case(name, lambda data=data: s.server.raw(data, ends), frozenset(status))
                         for name, data, status in make(s)]


edge_row("H006", "two Authorization fields", lambda s: [
    ("two", raw_get(s, "/xrpc/com.atproto.server.getSession", "Authorization: Bearer a", "Authorization: Bearer b"),
     {400})])
edge_row("H007", "two Content-Type fields", lambda s: [
    ("two", raw_post(s, b"{}", "Content-Length: 2", "Content-Type: text/plain"), {400})])
edge_row("H009", "a length and chunks", lambda s: [
    ("both", raw_post(s, b"2\r\n{}\r\n0\r\n\r\n", "Content-Length: 2", "Transfer-Encoding: chunked"), {400})])
edge_row("H010", "lengths that are none", lambda s: [
    (value, raw_post(s, b"12345", f"Content-Length: {value}"), {400}) for value in ("+5", "0x5", "5, 5", "-5")
] + [("two", raw_post(s, b"12345", "Content-Length: 5", "Content-Length: 6"), {400})])
edge_row("H013", "chunks that are none", lambda s: [
    ("huge size", raw_post(s, b"FFFFFFFFFFFFFFFF\r\nhello\r\n", "Transfer-Encoding: chunked"), {0, 400, 413}),
    ("no size", raw_post(s, b"xyz\r\nhello\r\n", "Transfer-Encoding: chunked"), {0, 400}),
    ("long extension", raw_post(s, b"2;" + b"a" * 1_048_576 + b"\r\n{}\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
     {0, 400, 401, 413}),
], ends=True)
edge_row("H014", "70 KB of header, 2,000 fields", lambda s: [
    ("70 KB", raw_get(s, DESCRIBE, "A: " + "a" * 70_000), {400, 431}),
    ("2,000 fields", raw_get(s, DESCRIBE, *(f"X-{number}: {'a' * 40}" for number in range(2_000))), {400, 431}),
])
edge_row("H015", "control bytes, dots and broken escapes in a path", lambda s: [
    (target, raw_get(s, target), {400, 404}) for target in (
        "/a%00b", "/a%0ab", "/a%0d%0aSet-Cookie:x", "/%2e%2e/%2e%2e/etc/passwd", "/..%2f..%2f", "/..;/", "/.%5c../",
        "/xrpc/../etc/passwd", "/%ff%fe", "/%c0%af", "/%", "/%zz", "/xrpc/com.atproto.server.describeServer%00",
        "/_blobs/aa/bafkreiaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")])
edge_row("H018", "empty segments", lambda s: [
    ("two slashes", raw_get(s, "//xrpc//com.atproto.server.describeServer"), {400, 404, 501})])
edge_row("H020", "the absolute form with another host", lambda s: [
    ("other host", raw_get(s, "http://victim.example/xrpc/_health"), {400, 404, 421})])
edge_row("H021", "hosts that are none", lambda s: [
    (repr(host)[:40], raw_get(s, "/.well-known/did.json", host=host), {400, 404, 421}) for host in (
        "a@evil", "[::1]", "", "a" * 300, "a..example", "evil.example", "evil.example%00.test", "xn--\xe9.test",
        "a b.test", "-a.test")
] + [("none", raw_get(s, DESCRIBE, host=False), {400}), ("two", raw_get(s, DESCRIBE, "Host: other.test"), {400})])
edge_row("H024", "methods that are none", lambda s: [
    (method, raw_get(s, DESCRIBE, method=method), {400, 405, 501}) for method in
    ("TRACE", "CONNECT", "PUT", "DELETE", "PATCH", "get", "M" * 40)])
edge_row("H025", "upgrades of what can't be upgraded", lambda s: [
    ("h2c", raw_get(s, DESCRIBE, "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"), {200, 426}),
    ("websocket", raw_get(s, DESCRIBE, "Upgrade: websocket", "Sec-WebSocket-Version: 13",
                          "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="), {200, 426})])
edge_row("H031", "queries that are too much", lambda s: [
    ("100,000 parameters", raw_get(s, DESCRIBE + "?" + "a=1&" * 100_000), {0, 400, 414, 431}),
    ("long key", raw_get(s, DESCRIBE + "?" + "a" * 1_000_000 + "=1"), {0, 400, 414, 431}),
    ("broken escape", raw_get(s, "/xrpc/com.atproto.identity.resolveHandle?handle=%"), {400}),
    ("twice", raw_get(s, "/xrpc/com.atproto.identity.resolveHandle?handle=a.test&handle=b.test"), {400}),
])


@row("H026", "ranges that are too many or too large")
def ranges(s):
    a = s.first
    blob = a.upload(png("H026"))
    a.create(image_post(blob))
    names = {"many": "bytes=" + ",".join(f"{n}-{n}" for n in range(1_000)), "minus nothing": "bytes=-0",
             "beyond": "bytes=99999999999999999999-", "reversed": "bytes=5-1", "no unit": "0-5"}
    # One range at most: whatever comes is not more than the blob.
    cases = [Case(name, lambda value=value: s.server.get(
        "sync.getBlob", did=a.did, cid=blob["ref"]["$link"], headers={"Range": value}), frozenset({200, 206, 416}))
        for name, value in names.items()]
    return a, cases


@row("H027", "a long If-None-Match")
def long_conditions(s):
    a = s.first
    # Below what any web server takes of a header; above it is H014.
    value = ", ".join(f'"{n}"' for n in range(1_200))
    return a, [Case("1,200 tags", lambda: s.server.get("server.describeServer", headers={"If-None-Match": value}),
                    frozenset({200, 400}))]


# J: JSON and text


def raw_record(a, record, collection=UNKNOWN):
    """createRecord with `record` as it is written: text or bytes."""
    record = record if isinstance(record, bytes) else record.encode()
    head = f'{{"repo":"{a.did}","collection":"{collection}","record":'.encode()
    return lambda: a.post("repo.createRecord", raw=head + record + b"}", kind="application/json")


def json_row(number, text, cases):
    """A row of records as JSON: (name, text of the record, error, words)."""

    @row(number, text)
    def made(s):
        return s.first, [Case(name, raw_record(s.first, record), REFUSED, error, has)
                         for name, record, error, has in cases]


@row("J001", "a key twice")
def duplicate_keys(s):
    a = s.first
    body = f'{{"repo":"{a.did}","repo":"{a.did}","collection":"{UNKNOWN}","record":{{}}}}'.encode()
    return a, [
        Case("in the body", lambda: a.post("repo.createRecord", raw=body, kind="application/json"), REFUSED,
             "InvalidRequest", "duplicate key repo"),
        Case("in the record", raw_record(a, '{"a":1,"a":2}'), REFUSED, "InvalidRequest", "duplicate key a"),
        Case("as an escape", raw_record(a, '{"a":1,"\\u0061":2}'), REFUSED, "InvalidRequest", "duplicate key a"),
    ]


@table.row("J002", "two keys that look alike: both are kept, and the CID is right")
def equivalent_keys(s):
    record = {"$type": UNKNOWN, "é": 1, "e\u0301": 2}
    made = s.second.create(record, UNKNOWN)
    demand(made["cid"] == cid_of(cbrrr.encode_dag_cbor(record)).encode(), "the CID is of another record")
    rkey = made["uri"].rsplit("/", 1)[1]
    value = expect(s.server.get("repo.getRecord", repo=s.second.did, collection=UNKNOWN, rkey=rkey), 200)["value"]
    demand(value == record, f"value {value}")


json_row("J003", "what is no JSON", [
    (repr(text)[:30], text, "InvalidRequest", "invalid JSON at byte") for text in (
        '{"a":[1,2,]}', '{"a":1,}', '{"a":NaN}', '{"a":01}', "{'a':1}", '{"a":1}//', '{"a":"\n"}', '{"a" 1}', "{",
        b'\xef\xbb\xbf{"a":1}', '{"a":"\\x"}', "nul", '{"a":+1}', '{"a":.5}')])
json_row("J004", "nesting", [
    (f"{depth} deep", '{"a":' + "[" * depth + "]" * depth + "}", "InvalidRequest", "nesting deeper than 32")
    for depth in (33, 1_000, 100_000)])
json_row("J005", "numbers that are no integers of the data model", [
    ("2^63", '{"a":9223372036854775808}', "InvalidRequest", "integer out of range"),
    ("1e400", '{"a":1e400}', "InvalidRequest", "floats are not allowed"),
    ("1.5", '{"a":1.5}', "InvalidRequest", "floats are not allowed"),
    ("-0.5", '{"a":-0.5}', "InvalidRequest", "floats are not allowed"),
])
json_row("J006", "what is no Unicode", [
    ("lone surrogate", '{"a":"\\ud800"}', "InvalidRequest", "not valid Unicode"),
    ("reversed surrogates", '{"a":"\\udc00\\ud800"}', "InvalidRequest", "not valid Unicode"),
    ("a byte", b'{"a":"\xff"}', "InvalidRequest", "not valid Unicode"),
    ("an encoded surrogate", b'{"a":"\xed\xa0\x80"}', "InvalidRequest", "not valid Unicode"),
    ("overlong", b'{"a":"\xc0\x80"}', "InvalidRequest", "not valid Unicode"),
    ("in a key", '{"\\ud800":1}', "InvalidRequest", "not valid Unicode"),
])
json_row("J007", "too much of it", [
    ("131,073 elements", '{"a":[' + "0," * 131_072 + "0]}", "InvalidRequest", "131072"),
    ("a key of 8,193 bytes", '{"' + "k" * 8_193 + '":1}', "InvalidRequest", "8192"),
    ("an empty key", '{"":1}', "InvalidRequest", "empty key"),
])


@row("J007+", "a record of 2 MB")
def large_record(s):
    return s.first, [Case("2 MB", raw_record(s.first, json.dumps(note("x" * 2_000_000))), frozenset({413}),
                          "PayloadTooLarge")]


json_row("J008", "links, bytes and types that are none", [
    ("$link of a number", '{"a":{"$link":5}}', "InvalidRecord", "$link"),
    ("$link of no CID", '{"a":{"$link":"x"}}', "InvalidRecord", "$link"),
    ("$link and more", '{"a":{"$link":"bafyreigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi","y":1}}',
     "InvalidRecord", "$link"),
    ("$bytes of no base64", '{"a":{"$bytes":"%%"}}', "InvalidRecord", "$bytes"),
    ("an empty $type", '{"a":{"$type":""}}', "InvalidRecord", "$type"),
    ("a $type of null", '{"a":{"$type":null}}', "InvalidRecord", "$type"),
    ("another collection", '{"$type":"com.example.other"}', "InvalidRequest", UNKNOWN),
    ("no object", "[1]", "InvalidRequest", "must be an object"),
])


@row("J009", "blobs that are none")
def wrong_blobs(s):
    a = s.first
    blob = a.upload(png("J009"))
    dag = "bafyreigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi"
    rows = {"size -1": {"size": -1}, "size 0": {"size": 0}, "codec dag-cbor": {"ref": {"$link": dag}},
            "no type": {"mimeType": ""}, "a type with a line break": {"mimeType": "image/png\r\nX: y"},
            "no ref": {"ref": None}, "a size of text": {"size": "5"}}
    return a, [Case(name, raw_record(a, json.dumps(image_post(blob | changes)), POST))
               for name, changes in rows.items()]


def body_row(number, text, method, name, values, error=None, **more):
    """A row of values for one field of a procedure's body. createAccount is nobody's, the others are A1's."""

    @row(number, text)
    def made(s):
        a = s.first
        is_new = method == "server.createAccount"
        body = s.registration() if is_new else {"repo": a.did, **more}

        def send(value):
            return s.server.post(method, body | {name: value}, token=None if is_new else a.access)

        return a, [Case(repr(value)[:40], lambda value=value: send(value), REFUSED, error) for value in values]


body_row("J010", "record keys that are none", "repo.createRecord", "rkey",
         [".", "..", "a/b", "a" * 513, "%41", "a\0", "é", "", "a b", 5, "a#b"], "InvalidRequest",
         collection=UNKNOWN, record=note("x"))
body_row("J011", "collections that are none", "repo.createRecord", "collection",
         ["app.bsky", "APP..x", "a" * 60 + ".b" * 130 + ".c", "com.example.", ".com.example.x", "com.example.3x",
          "com.exämple.x", "", 5, "com.example/x.y"], "InvalidRequest", record={})
body_row("J012", "handles that are none", "identity.updateHandle", "handle",
         ["a" * 250 + ".test", "-a.test", "a-.test", "a.b.", "127.0.0.1", "\u212Aelvin.test", "test", "", "a..test",
          "a b.test", "alice.test\0", "a_b.test", "alice.local", "alice.localhost", "alice.arpa"], "InvalidHandle")
body_row("J013", "passwords that are none", "server.createAccount", "password",
         ["x" * 257, "x" * 7, "with\0NUL inside", "", 12345678])
body_row("J014", "addresses that are none", "server.createAccount", "email",
         ["a@b\r\nBcc: x@y.z", "a" * 400 + "@example.com", "a@b@c", "Alice <a@example.com>", "example.com", "@", "a@",
          "a b@example.com", "a@exa mple.com", "a@example.com\0", "a@[127.0.0.1]"])


@row("J015", "datetimes that are none")
def datetimes(s):
    values = ["2024-01-01T00:00:00", "2024-01-01", "2024-01-01 00:00Z", "2024-01-01T00:00Z", "2024-1-1T00:00:00Z",
              "2024-01-01t00:00:00z", "2024-01-01T00:00:00." + "1" * 60 + "Z", "2024-01-01T00:00:00.Z", "now", "",
              "2024-01-01T00:00:00-00:00", "20240101T000000Z"]
    return s.first, [Case(value[:30], raw_record(s.first, json.dumps(post(createdAt=value)), POST), REFUSED,
                          "InvalidRequest", "createdAt") for value in values]


@row("J016", "at-uris that are none")
def at_uris(s):
    a = s.first
    good = a.create(post())
    values = [good["uri"] + "?a=1", "at://" + "a" * 8_193, "at://", "https://example.com/", "at://did:plc:x y/a.b.c/d",
              good["uri"] + "/more", "at://user@example.com/app.bsky.feed.post/1", ""]

    def like(uri):
        return json.dumps({"$type": LIKE, "createdAt": now_text(), "subject": {"uri": uri, "cid": good["cid"]}})

    return a, [Case(value[:40], raw_record(a, like(value), LIKE), REFUSED, "InvalidRequest", "uri")
               for value in values]


@row("J017", "limits and cursors that are none")
def limits_and_cursors(s):
    a = s.first
    cases = []
    for limit in ("0", "101", "-1", "1e2", "99999999999999999999", "", "%201", "01", "1.0"):
        query = f"repo={a.did}&collection={UNKNOWN}&limit={limit}"
        cases.append(Case(f"limit {limit}", lambda query=query: s.server.get("repo.listRecords", query=query), REFUSED,
                          "InvalidRequest"))
    for method in ("listBlobs", "listRepos"):
        for cursor in ("x", "-1", "bafy", "99999999999999999999", "%00"):
            query = f"did={a.did}&cursor={cursor}"
            cases.append(Case(f"{method} cursor {cursor}", lambda method=method, query=query: s.server.get(
                f"sync.{method}", query=query), REFUSED, "InvalidRequest"))
    for flag in ("1", "yes", "TRUE", ""):
        query = f"repo={a.did}&collection={UNKNOWN}&reverse={flag}"
        cases.append(Case(f"reverse {flag}", lambda query=query: s.server.get("repo.listRecords", query=query),
                          REFUSED, "InvalidRequest"))
    return a, cases


# C: CBOR, CAR, trees, commits, as importRepo brings them


def import_row(number, text, words, make, error="InvalidRepo"):
    """A row of repositories for importRepo: `make(identity)` gives (name, the CAR) and sometimes other words."""

    @row(number, text, "plc_url")
    def cases(s):
        identity, account = move_in(s)
        return account, [Case(name, lambda content=content: account.post("repo.importRepo", raw=content, kind=CAR),
                              REFUSED, error, other[0] if other else words)
                         for name, content, *other in make(identity)]


def with_record(identity, block, key=f"{UNKNOWN}/3jzfcijpj2z2a"):
    """The CAR of a repository with one record, whose block is `block` as it is."""
    return with_tree(identity, *tree_blocks({key.encode(): cid_of(block)}), [(bytes(cid_of(block)), block)])


def with_tree(identity, data, nodes, more=(), /, **changes):
    """The CAR of a commit on the tree at `data`."""
    commit = commit_block(identity.did, data, identity.signing, **changes)
    return car([cid_of(commit)], [(bytes(cid_of(commit)), commit), *nodes.items(), *more])


def cbor_row(number, text, words, values):
    """Records of hostile CBOR: each value stands under the key `a` of an otherwise good record."""
    import_row(number, text, words, lambda identity: [
        (name, with_record(identity, b"\xa2aa" + bytes.fromhex(value) + cbrrr.encode_dag_cbor("$type")
                           + cbrrr.encode_dag_cbor(UNKNOWN)))
        for name, value in values.items()])


cbor_row("C001", "CBOR: lengths that are not the shortest", "non-canonical length", {
    "1 in two bytes": "1801", "16 in three": "190010", "text": "780161", "bytes": "580161", "array": "9800",
    "map": "b800", "negative": "3800", "1 in nine": "1b0000000000000001", "a tag": "d9002a4100"})
cbor_row("C009", "CBOR: indefinite lengths", "indefinite length", {
    "array": "9fff", "map": "bfff", "bytes": "5f4100ff", "text": "7f6161ff", "a break alone": "ff"})
cbor_row("C013", "CBOR: floats", "float not allowed", {
    "half": "f93c00", "single": "fa3f800000", "double": "fb3ff0000000000000", "NaN": "f97e00",
    "negative zero": "fb8000000000000000"})
cbor_row("C017", "CBOR: simple values", "unsupported simple value", {
    "undefined": "f7", "16": "f0", "20 in two bytes": "f814"})
cbor_row("C020", "CBOR: keys of maps", "map keys", {
    "twice": "a2616101616102", "unsorted": "a2616201616102", "bytewise, not by length": "a262616101616202",
    "an integer": "a10101", "bytes": "a1416101"})
cbor_row("C024", "CBOR: text that is not UTF-8", "text is not UTF-8", {
    "a byte": "61ff", "a surrogate": "63eda080", "overlong": "62c080", "cut": "61c3"})
cbor_row("C027", "CBOR: CIDs that are none", "invalid CID", {
    "no prefix byte": "d82a582501711220" + "00" * 33, "the prefix alone": "d82a4100",
    "CIDv0": "d82a5823001220" + "00" * 32,
    "version 2": "d82a58250002711220" + "00" * 32, "a short digest": "d82a58240001711220" + "00" * 31,
    "a byte too many": "d82a58260001711220" + "00" * 33, "codec dag-pb": "d82a58250001701220" + "00" * 32,
    "sha-512": "d82a58450001711340" + "00" * 64, "text": "d82a6162", "a tag in a tag": "d82ad82a4100"})
cbor_row("C033", "CBOR: other tags", "unsupported tag", {"0": "c06161", "43": "d82b4100", "1": "c100"})
cbor_row("C034", "CBOR: lengths beyond the input", "length exceeds input", {
    "array of 2^32-1": "9affffffff", "array of 2^63": "9b8000000000000000", "map of 2^60": "bb1000000000000000",
    "bytes of 2^63": "5b8000000000000000", "text of 2^32": "7b0000000100000000"})
cbor_row("C035", "CBOR: nesting", "nesting deeper than 32", {
    f"{depth} arrays": "81" * depth + "00" for depth in (33, 1_000, 100_000)})
cbor_row("C037", "CBOR: integers beyond the data model", "integer out of range", {
    "2^64-1": "1bffffffffffffffff", "-2^64": "3bffffffffffffffff"})
import_row("C036", "CBOR: something after the record", "trailing data", lambda identity: [
    ("a byte", with_record(identity, cbrrr.encode_dag_cbor(note("x")) + b"\0")),
    ("two records", with_record(identity, cbrrr.encode_dag_cbor(note("x")) * 2)),
    ("nothing at all", with_record(identity, b""), "truncated")])


def car_headers(identity):
    made = Repository(identity, {f"{UNKNOWN}/a": note("x")})
    blocks = b"".join(section(bytes(cid) + block) for cid, block in made.pairs)

    def header(value):
        return section(cbrrr.encode_dag_cbor(value)) + blocks

    return [
        ("nothing", b"", "A request body is expected"), ("a header of 0 bytes", b"\0" + blocks),
        ("a header of 1 GiB", varint(1 << 30) + blocks),
        ("version 2", header({"version": 2, "roots": [made.root]})),
        ("no roots", header({"version": 1, "roots": []}), "expected one root"),
        ("two roots", header({"version": 1, "roots": [made.root] * 2}), "expected one root"),
        ("a root that is text", header({"version": 1, "roots": ["x"]})),
        ("no version", header({"roots": [made.root]})), ("a list", header([1]))]


def car_sections(identity):
    made = Repository(identity, {f"{UNKNOWN}/a": note("x")})
    good = made.car()
    other = bytes(made.root) + b"\0"
    return [
        ("10 bytes of length", good + b"\x80" * 10 + b"\1", "varint too long"),
        ("11", good + b"\x80" * 11 + b"\1", "varint too long"),
        ("a million", good + b"\x80" * 1_000_000, "varint too long"),
        ("a length that is not the shortest", good + b"\x81\0a", "varint not minimal"),
        ("a section of 0 bytes", good + b"\0", "truncated CAR"),
        ("shorter than a CID", good + section(b"\1\x71\x12"), "truncated CAR"),
        ("longer than what is left", good + varint(100) + b"\1", "truncated CAR"),
        ("2 GiB", good + varint(2 << 30) + b"\1\x71", "section too large"),
        ("cut off", good[:-5], "truncated CAR"),
        ("a block that is not its CID", good + section(other), "block does not match its CID"),
        ("an identity CID", good + section(b"\1\x55\0" + varint(100_000) + bytes(100_000)), "unsupported CID"),
        ("a digest of 4 KiB", good + section(b"\1\x55\x12" + varint(4_096) + bytes(4_096)), "unsupported CID")]


def car_gaps(identity):
    made = Repository(identity, {f"{UNKNOWN}/{number:04d}": note(str(number)) for number in range(300)})
    pairs = made.pairs
    nodes = [cid for cid in made.nodes if cid != bytes(made.data)]

    def without(gone):
        return car([made.root], [pair for pair in pairs if pair[0] != gone])

    return [("the commit", without(bytes(made.root))), ("the root of the tree", without(bytes(made.data))),
            ("a node", without(nodes[0])), ("a record", without(next(iter(made.record_blocks))))]


import_row("C038", "CAR: headers", "CAR header", car_headers, "InvalidRequest")
import_row("C039", "CAR: sections", "CAR", car_sections, "InvalidRequest")
import_row("C043", "CAR: something is missing", "missing block bafyrei", car_gaps)

RECORD = cbrrr.encode_dag_cbor(note("x"))
RECORD_PAIR = (bytes(cid_of(RECORD)), RECORD)


def tree_of_nodes(identity, root, *nodes):
    """The CAR of a commit on the node `root`, with more nodes; all as values for DAG-CBOR."""
    blocks = [cbrrr.encode_dag_cbor(node) for node in (root, *nodes)]
    return with_tree(identity, cid_of(blocks[0]), {bytes(cid_of(block)): block for block in blocks}, [RECORD_PAIR])


def entry(key, prefix=0, right=None):
    return {"k": key, "p": prefix, "t": right, "v": cid_of(RECORD)}


def trees(identity):
    # Keys of layer 0, in order.
    key = [f"{UNKNOWN}/{letter}".encode() for letter in "abcdefghijklmnop"]
    keys = [one for one in key if not layer(one)][:3]
    empty = {"e": [], "l": None}
    empty_cid = cid_of(cbrrr.encode_dag_cbor(empty))
    shared = len(keys[0]) - 1
    rows = [
        ("a prefix before the first", [entry(keys[0], 1)]),
        ("a prefix longer than the key before", [entry(keys[0]), entry(b"x", len(keys[0]) + 1)]),
        ("not the longest prefix", [entry(keys[0]), entry(keys[1])]),
        ("unsorted", [entry(keys[1]), entry(keys[0][-1:], shared)]),
        ("a key twice", [entry(keys[0]), entry(b"", len(keys[0]))]),
        ("an empty key", [entry(b"")]),
        ("no collection", [entry(b"abc")]),
    ]
    made = [(name, tree_of_nodes(identity, {"e": entries, "l": None})) for name, entries in rows]
    child = {"e": [entry(keys[0])], "l": None}
    child_cid = cid_of(cbrrr.encode_dag_cbor(child))
    made += [
        ("a child on the same layer", tree_of_nodes(
            identity, {"e": [entry(keys[1])], "l": child_cid}, child)),
        ("an empty leaf", tree_of_nodes(identity, {"e": [entry(keys[0], right=empty_cid)], "l": None}, empty)),
        ("an empty root over a child", tree_of_nodes(identity, {"e": [], "l": child_cid}, child)),
        ("no l", tree_of_nodes(identity, {"e": [entry(keys[0])]})),
        ("another field", tree_of_nodes(identity, {"e": [entry(keys[0])], "l": None, "x": 1})),
    ]
    return made


def diamond(identity):
    """30 levels of nodes, each with 16 links to the same child: 16^30 paths."""
    node = {"e": [entry(f"{UNKNOWN}/a".encode())], "l": None}
    blocks = [cbrrr.encode_dag_cbor(node)]
    for _ in range(30):
        below = cid_of(blocks[-1])
        entries = [entry(f"{UNKNOWN}/{letter}".encode() if letter == "a" else letter.encode(),
                         0 if letter == "a" else len(UNKNOWN) + 1, below) for letter in "abcdefghijklmnop"]
        blocks.append(cbrrr.encode_dag_cbor({"e": entries, "l": below}))
    nodes = {bytes(cid_of(block)): block for block in blocks}
    return [("30 levels", with_tree(identity, cid_of(blocks[-1]), nodes, [RECORD_PAIR]))]


import_row("C045", "MST: nodes that no tree has", "MST: ", trees)
import_row("C047", "MST: a diamond", "MST: ", diamond)
import_row("C048", "MST: keys that name no record", "invalid repo path", lambda identity: [
    (repr(key)[:40], with_record(identity, RECORD, key)) for key in (
        f"{UNKNOWN}/" + "a" * 1_025, f"{UNKNOWN}//b", f"{UNKNOWN}/a/b", f"{UNKNOWN}/é", "../x", f"{UNKNOWN}/..", "x/y",
        f"{UNKNOWN}/", "/a")])


def commits(identity):
    data, nodes = tree_blocks({f"{UNKNOWN}/a".encode(): cid_of(RECORD)})

    def made(**changes):
        return with_tree(identity, data, nodes, [RECORD_PAIR], **changes)

    raw = cbrrr.CID(b"\x01\x55\x12\x20" + bytes(cid_of(RECORD))[4:])
    rows = {
        "another DID": {"did": "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"}, "no DID": {"did": ...},
        "version 1": {"version": 1}, "version 4": {"version": 4}, "a version of text": {"version": "3"},
        "a prev of text": {"prev": "x"}, "no rev": {"rev": ...}, "a rev that is no TID": {"rev": "yesterday"},
        "data of codec raw": {"data": raw}, "no data": {"data": ...},
        "63 bytes": {"sig": lambda message: identity.signing.sign(message)[:63]},
        "65 bytes": {"sig": lambda message: identity.signing.sign(message) + b"\0"},
        "a signature of text": {"sig": lambda _: "x"}}
    return [(name, made(**changes)) for name, changes in rows.items()]


import_row("C049", "commits that are none", "commit", commits)


# F: identities; O: tokens


@row("F024", "DIDs that are none")
def dids(s):
    values = ["did:web:127.0.0.1", "did:web:localhost%3A80", "did:web:a:b:c", "did:key:z6Mk", "did:plc:" + "a" * 23,
              "did:plc:" + "a" * 25, "did:plc:" + "a" * 2_049, "DID:plc:" + "a" * 24, "did:PLC:" + "a" * 24, "did:", "",
              "did:plc:", "did:web:a b", "did:web:%00"]
    return s.first, [Case(value[:40], lambda value=value: s.server.get("identity.resolveDid", did=value),
                          frozenset({400, 502})) for value in values]


@row("O001", "access tokens with other algorithms, types and shapes")
def tokens(s):
    a = s.first
    header, claims = jwt_parts(a.access)
    signature = a.access.split(".")[2]

    def token(changes, sign=signature):
        parts = [b64url(json.dumps(part).encode()) for part in (header | changes, claims)]
        return ".".join([*parts, sign])

    values = {
        "alg none": token({"alg": "none"}, ""), "alg None": token({"alg": "None"}), "RS256": token({"alg": "RS256"}),
        "alg array": token({"alg": ["HS256"]}), "alg missing": token({"alg": None}), "HS512": token({"alg": "HS512"}),
        "crit": token({"crit": ["b64"]}), "kid": token({"kid": "../../etc/passwd"}), "typ": token({"typ": "JWT"}),
        "long header": token({"x": "a" * 5_000}), "embedded key": token({"jwk": {"kty": "oct", "k": "AA"}}),
        "two parts": a.access.rsplit(".", 1)[0], "four parts": a.access + ".AA", "empty parts": "..",
        "other signature": a.access[:-4] + ("AAAA" if a.access[-4:] != "AAAA" else "BBBB"), "padded": a.access + "=",
        "a signed key": Key().jwt(claims), "no JSON": f"AA.AA.{signature}"}
    return a, [Case(name, lambda value=value: s.server.get("server.getSession", token=value), REFUSED, "InvalidToken")
               for name, value in values.items()]


@table.row("O029", "31 wrong passwords for one account, by its handle, by its DID, in capitals: one budget (and H002)")
def guesses(s):
    a = s.account()
    names = (a.handle, a.did, a.handle.upper())
    for number in range(31):
        # Whoever says that somebody else is asking is not believed.
        answer = s.server.post(
            "server.createSession", {"identifier": names[number % 3], "password": "wrong"},
            headers={"X-Forwarded-For": f"203.0.113.{number}", "X_Forwarded_For": f"203.0.113.{number}",
                     "Forwarded": f"for=203.0.113.{number}", "X-Real-IP": f"203.0.113.{number}"})
        demand(answer.status == (429 if number == 30 else 401), f"attempt {number + 1}: {answer.status}")
    expect(answer, 429, "RateLimitExceeded")


@row("H003", "an operator's method from an address that is only said to be near")
def said_to_be_near(s):
    return s.first, [Case(name, lambda name=name: s.server.post(
        "server.createInviteCode", {"useCount": 1}, headers={name: "127.0.0.1"}), frozenset({401}))
        for name in ("X-Forwarded-For", "X-Real-IP", "Forwarded")]


@row("F028", "atproto-proxy that names what can't be asked", "plc_url")
def proxy_targets(s):
    a = s.first
    values = [a.did + "#x#y", "#", "did:web:#x", "did:plc:" + "a" * 4_096 + "#x", "did:key:zQ3sh#x",
              "did:web:127.0.0.1#x", "did:web:localhost%3A80#x",
              "did:web:a:b#x", "did:web:a b#x", "did:web:a,did:web:b#x", "\u00e9#x"]
    return a, [Case(value[:40], lambda value=value: a.get(
        "app.bsky.actor.getProfile", actor=a.did, headers={"atproto-proxy": value}), REFUSED, "InvalidRequest")
        for value in values]


@row("O033", "service tokens that are none", "plc_url")
def service_tokens(s):
    identity = Identity(s.doubles.plc, s.handle())
    method = "com.atproto.server.createAccount"

    def made(key=identity.signing, issuer=identity.did, audience=s.service_did, lxm=method, **changes):
        return key.service_token(issuer, audience, lxm, **changes)

    values = {
        "another audience": (made(audience="did:web:other.example"), "BadJwtAudience"),
        "another method": (made(lxm="com.atproto.repo.uploadBlob"), "BadJwtLexiconMethod"),
        "no method": (made(lxm=None), "BadJwtLexiconMethod"),
        "expired": (made(exp=int(time.time()) - 10), "JwtExpired"),
        "another key": (made(key=Key()), "BadJwtSignature"),
        "another curve": (made(key=Key(b"\x80\x24")), "BadJwtSignature"),
        "another service of the identity": (made(issuer=identity.did + "#other"), None),
        "an unknown identity": (made(issuer="did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"), None),
        "no issuer": (made(iss=None), "BadJwt"), "no expiry": (made(exp=None), "BadJwt"),
        "an expiry of text": (made(exp="tomorrow"), "BadJwt"), "no token": ("x", "BadJwt"),
        "a DPoP proof": (identity.signing.jwt({"iss": identity.did, "aud": s.service_did, "lxm": method,
                                               "exp": int(time.time()) + 60}, {"typ": "dpop+jwt"}), "BadJwtType"),
    }
    body = s.registration(handle=identity.handle, did=identity.did)
    return s.first, [Case(name, lambda value=value: s.server.post("server.createAccount", body, token=value),
                          frozenset({401}), error) for name, (value, error) in values.items()]
