"""Tests of the PLC directory double: `python3 -m unittest discover -s Tests/Support`.

The published audit logs lie beside the checkout (`SKYSTEAD_SHARED_DIR`, or `shared` next to it); in CI they must.
"""

import copy
import glob
import http.client
import json
import os
import subprocess
import sys
import threading
import unittest
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

sys.path.insert(0, str(Path(__file__).parent))
import plc_directory as plc  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("SKYSTEAD_SHARED_DIR", ROOT.parent / "shared"))
LOGS = SHARED / "vectors" / "plc" / "audit_log"
HOUR = 3_600_000


def base58(data):
    number, text = int.from_bytes(data, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        text = plc.BASE58[digit] + text
    return text


class Key:
    """A rotation key that signs operations."""

    def __init__(self, code=b"\xe7\x01"):
        curve, self.order = plc.CURVES[code]
        self.private = ec.generate_private_key(curve)
        point = self.private.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
        self.did = "did:key:z" + base58(code + point)

    def numbers(self, operation):
        return decode_dss_signature(self.private.sign(plc.cbor(operation), ec.ECDSA(hashes.SHA256())))

    def sign(self, operation, low=True):
        unsigned = {name: value for name, value in operation.items() if name != "sig"}
        r, s = self.numbers(unsigned)
        if (s <= self.order // 2) != low:
            s = self.order - s
        return {**unsigned, "sig": plc.base64url_encode(r.to_bytes(32, "big") + s.to_bytes(32, "big"))}


K1, K2, K3, P1 = Key(), Key(), Key(), Key(b"\x80\x24")
SIGNING = Key().did


def operation(prev=None, keys=(K1, K2), **changes):
    made = {
        "type": "plc_operation",
        "rotationKeys": [key.did for key in keys],
        "verificationMethods": {"atproto": SIGNING},
        "alsoKnownAs": ["at://alice.test"],
        "services": {"atproto_pds": {"type": "AtprotoPersonalDataServer", "endpoint": "https://pds.test"}},
        "prev": prev,
    }
    made.update(changes)
    return made


def legacy():
    return {
        "type": "create",
        "signingKey": K2.did,
        "recoveryKey": K1.did,
        "handle": "alice.test",
        "service": "https://pds.test",
        "prev": None,
    }


def tombstone(prev):
    return {"type": "plc_tombstone", "prev": prev}


class LogTests(unittest.TestCase):
    def logs(self, kind):
        paths = sorted(glob.glob(str(LOGS / kind / "*.json")))
        if not paths and "CI" not in os.environ:
            self.skipTest(f"SKIPPED: no published audit logs in {LOGS}")
        self.assertEqual(len(paths), 10)
        return [(os.path.basename(path), json.loads(Path(path).read_text())) for path in paths]

    def test_valid_logs_are_accepted(self):
        for name, log in self.logs("valid"):
            with self.subTest(name):
                plc.check_audit_log(log)

    def test_invalid_logs_are_refused(self):
        for name, log in self.logs("invalid"):
            with self.subTest(name), self.assertRaises(plc.Refusal):
                plc.check_audit_log(log)

    def test_changed_logs_are_refused(self):
        def change(log, place, name, value):
            changed = copy.deepcopy(log)
            changed[place][name] = value
            return changed

        for name, log in self.logs("valid"):
            rows = [
                ("the CID of another", change(log, -1, "cid", log[0]["cid"][:-1] + "a")),
                ("nullified turned over", change(log, -1, "nullified", not log[-1]["nullified"])),
                ("another DID", change(log, 0, "did", "did:plc:" + "a" * 24)),
            ]
            for what, changed in rows:
                with self.subTest(log=name, change=what), self.assertRaises(plc.Refusal):
                    plc.check_audit_log(changed)


class EncodingTests(unittest.TestCase):
    def test_base64url_is_strict(self):
        self.assertEqual(plc.base64url_decode(""), b"")
        self.assertEqual(plc.base64url_decode("_-8"), b"\xff\xef")
        for text in ("A", "AB", "AA=", "AA==", "A A", "AA\n", "+A", "/A", "AAAAA", "é"):
            with self.subTest(text), self.assertRaises(ValueError):
                plc.base64url_decode(text)

    def test_cbor_is_deterministic(self):
        rows = [
            (None, "f6"),
            ("", "60"),
            ("é", "62c3a9"),
            ([], "80"),
            ({"b": "", "a": "", "aa": None}, "a361616061626062616 1f6".replace(" ", "")),
            ("x" * 24, "7818" + "78" * 24),
            ("x" * 256, "790100" + "78" * 256),
        ]
        for value, expected in rows:
            self.assertEqual(plc.cbor(value).hex(), expected)
        for value in (1, True, 1.5, b"x"):
            with self.subTest(value), self.assertRaises(plc.Refusal):
                plc.cbor(value)

    def test_times_survive(self):
        for value in (0, 1, 999, 1_753_458_658_440):
            self.assertEqual(plc.milliseconds(plc.iso8601(value)), value)


class DirectoryTests(unittest.TestCase):
    def setUp(self):
        self.now = 1_700_000_000_000
        self.directory = plc.Directory(clock=lambda: self.now)
        self.addCleanup(self.directory.close)

    def create(self, signer=K2, **changes):
        genesis = signer.sign(operation(**changes))
        did = plc.did_of(genesis)
        self.directory.submit(did, genesis)
        return did, plc.cid_of(genesis)

    def update(self, did, prev, signer, minutes=1, **changes):
        self.now += minutes * 60_000
        signed = signer.sign(operation(prev, **changes))
        self.directory.submit(did, signed)
        return plc.cid_of(signed)

    def current(self, did):
        return [entry.cid for entry in self.directory.log(did) if not entry.nullified]

    def test_right_operations_are_accepted(self):
        did, first = self.create()
        second = self.update(did, first, K1, keys=(K3, P1))
        third = self.update(did, second, P1, keys=(P1,), alsoKnownAs=[], services={}, verificationMethods={})
        gone = P1.sign(tombstone(third))
        self.directory.submit(did, gone)
        self.assertEqual(self.current(did), [first, second, third, plc.cid_of(gone)])
        plc.check_audit_log([entry.audit() for entry in self.directory.log(did)])

    def test_a_legacy_creation_is_accepted_once(self):
        for signer in (K1, K2):
            genesis = signer.sign(legacy())
            did = plc.did_of(genesis)
            self.directory.submit(did, genesis)
            self.update(did, plc.cid_of(genesis), K1)
        with self.assertRaises(plc.Refusal):
            self.directory.submit(did, K1.sign({**legacy(), "handle": "bob.test"}))

    def test_wrong_first_operations_are_refused(self):
        good = K1.sign(operation())
        did = plc.did_of(good)
        without = lambda name: {key: value for key, value in good.items() if key != name}  # noqa: E731
        service = {"type": "T", "endpoint": "https://pds.test"}
        sized = lambda count: operation(
            services={f"s{n}": {"type": "T" * 256, "endpoint": "E" * 512} for n in range(count)}
        )  # noqa: E731
        rows = [
            ("no type", without("type")),
            ("an unknown type", K1.sign(operation(type="plc_update"))),
            ("a type that is no text", {**good, "type": ["plc_operation"]}),
            ("no object", [good]),
            ("a number", 1),
            ("null", None),
            ("no signature", without("sig")),
            ("no prev", without("prev")),
            ("no services", K1.sign(without("services"))),
            ("an unknown field", K1.sign(operation(note="x"))),
            ("an unknown field of a service", K1.sign(operation(services={"a": {**service, "x": "y"}}))),
            ("a service without its endpoint", K1.sign(operation(services={"a": {"type": "T"}}))),
            ("keys that are no list", K1.sign(operation(rotationKeys=K1.did))),
            ("a key that is no text", {**good, "rotationKeys": [None]}),
            ("an alias that is a number", {**good, "alsoKnownAs": [1]}),
            ("prev a number", {**good, "prev": 0}),
            ("prev false", {**good, "prev": False}),
            (
                "a prev where there is nothing",
                K1.sign(operation("bafyreihqa4o4gsyai22ydms6j4cua6yr6tuc7trq2temvnycadk2daniru")),
            ),
            ("a tombstone first", K1.sign(tombstone("x"))),
            ("signed by a stranger", K3.sign(operation())),
            ("changed after signing", {**good, "alsoKnownAs": ["at://mallory.test"]}),
            ("high S, K-256", K1.sign(operation(), low=False)),
            ("high S, P-256", P1.sign(operation(keys=(P1,)), low=False)),
            ("a padded signature", {**good, "sig": good["sig"] + "=="}),
            ("a signature with a line break", {**good, "sig": good["sig"] + "\n"}),
            ("a cut signature", {**good, "sig": good["sig"][:-2]}),
            ("an empty signature", {**good, "sig": ""}),
            ("zeros", {**good, "sig": "A" * 86}),
            ("11 rotation keys", K1.sign(operation(keys=[K1] * 11))),
            (
                "an Ed25519 rotation key",
                K1.sign(operation(rotationKeys=[K1.did, "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK"])),
            ),
            ("a rotation key that is none", K1.sign(operation(rotationKeys=[K1.did, "did:key:zQ3"]))),
            ("a method key that is none", K1.sign(operation(verificationMethods={"atproto": "x"}))),
            ("11 methods", K1.sign(operation(verificationMethods={str(n): SIGNING for n in range(11)}))),
            ("a long method id", K1.sign(operation(verificationMethods={"x" * 33: SIGNING}))),
            ("11 services", K1.sign(operation(services={str(n): service for n in range(11)}))),
            ("a long service id", K1.sign(operation(services={"x" * 33: service}))),
            ("a long service type", K1.sign(operation(services={"a": {**service, "type": "x" * 257}}))),
            ("a long endpoint", K1.sign(operation(services={"a": {**service, "endpoint": "x" * 513}}))),
            ("11 aliases", K1.sign(operation(alsoKnownAs=[f"at://{n}.test" for n in range(11)]))),
            ("a long alias", K1.sign(operation(alsoKnownAs=["at://" + "x" * 254]))),
            ("an alias twice", K1.sign(operation(alsoKnownAs=["at://a.test", "at://a.test"]))),
            ("more than 7,500 bytes", K1.sign(sized(10))),
        ]
        for name, wrong in rows:
            target = plc.did_of(wrong) if isinstance(wrong, dict) and self.encodes(wrong) else did
            with self.subTest(name), self.assertRaises(plc.Refusal):
                self.directory.submit(target, wrong)
        for target in (
            did[:-1] + ("a" if did[-1] != "a" else "b"),
            did.upper(),
            did + "a",
            did[:-1],
            "did:web:a.test",
            "",
        ):
            with self.subTest(target), self.assertRaises(plc.Refusal):
                self.directory.submit(target, good)
        self.directory.submit(did, good)

    @staticmethod
    def encodes(value):
        try:
            plc.cbor(value)
        except plc.Refusal:
            return False
        return True

    def test_wrong_later_operations_are_refused(self):
        did, first = self.create()
        second = self.update(did, first, K1, keys=(K2, K3))
        other, _ = self.create(alsoKnownAs=["at://bob.test"])
        rows = [
            ("prev is null", K2.sign(operation())),
            ("prev unknown", K2.sign(operation(first[:-1] + "a"))),
            ("prev empty", K2.sign(operation(""))),
            ("prev in capitals", K2.sign(operation(second.upper()))),
            ("by a key that was current before", K1.sign(operation(second))),
            ("by a key that it brings itself", P1.sign(operation(second, keys=(P1,)))),
            ("a fork by the key of the disputed operation", K1.sign(operation(first))),
            ("a fork by a lower key", K2.sign(operation(first))),
            ("a legacy creation", K2.sign({**legacy(), "prev": None})),
            ("a tombstone by a stranger", P1.sign(tombstone(second))),
            ("a tombstone with a field too many", K2.sign({**tombstone(second), "alsoKnownAs": []})),
            ("a tombstone without prev", K2.sign({"type": "plc_tombstone"})),
        ]
        for name, wrong in rows:
            with self.subTest(name), self.assertRaises(plc.Refusal):
                self.directory.submit(did, wrong)
        with self.assertRaises(plc.Refusal):
            self.directory.submit(other, K2.sign(operation(second)))
        self.assertEqual(self.current(did), [first, second])

    def test_a_higher_key_rewrites_history_for_72_hours(self):
        for minutes, is_taken in ((72 * 60, True), (72 * 60 + 1, False)):
            with self.subTest(minutes):
                did, first = self.create(alsoKnownAs=[f"at://a{minutes}.test"])
                lost = [self.update(did, first, K2)]
                lost.append(self.update(did, lost[0], K2, minutes=0))
                if not is_taken:
                    with self.assertRaises(plc.Refusal):
                        self.update(did, first, K1, minutes=minutes)
                    self.assertEqual(self.current(did), [first] + lost)
                    continue
                kept = self.update(did, first, K1, minutes=minutes)
                self.assertEqual(self.current(did), [first, kept])
                plc.check_audit_log([entry.audit() for entry in self.directory.log(did)])

    def test_nothing_follows_what_is_nullified(self):
        did, first = self.create()
        lost = [self.update(did, first, K2)]
        lost.append(self.update(did, lost[0], K2))
        kept = self.update(did, first, K1)
        for prev in lost:
            for signer in (K1, K2):
                with self.subTest(prev), self.assertRaises(plc.Refusal):
                    self.update(did, prev, signer)
        self.assertEqual(self.current(did), [first, kept])

    def test_a_tombstone_ends_a_did_until_it_is_nullified(self):
        did, first = self.create()
        gone = K2.sign(tombstone(first))
        self.directory.submit(did, gone)
        with self.assertRaises(plc.Refusal):
            self.update(did, plc.cid_of(gone), K1)
        back = self.update(did, first, K1)
        self.assertEqual(self.current(did), [first, back])

    def test_ten_operations_an_hour(self):
        did, prev = self.create()
        for count in range(9):
            prev = self.update(did, prev, K1, alsoKnownAs=[f"at://a{count}.test"])
        with self.assertRaises(plc.Refusal):
            self.update(did, prev, K1)
        self.create(alsoKnownAs=["at://another.test"])
        self.now += HOUR
        self.update(did, prev, K1)

    def test_the_database_outlives_the_directory(self):
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            path = folder + "/plc.sqlite"
            genesis = K1.sign(operation())
            did = plc.did_of(genesis)
            for _ in range(2):
                directory = plc.Directory(path)
                if not directory.log(did):
                    directory.submit(did, genesis)
                self.assertEqual([entry.operation for entry in directory.log(did)], [genesis])
                directory.close()

    def test_one_of_many_at_once_wins(self):
        did, first = self.create()
        outcomes = []

        def submit(number):
            try:
                self.directory.submit(did, K1.sign(operation(first, alsoKnownAs=[f"at://a{number}.test"])))
                outcomes.append("taken")
            except plc.Refusal:
                outcomes.append("refused")

        threads = [threading.Thread(target=submit, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(sorted(outcomes), ["refused"] * 7 + ["taken"])


class HTTPTests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        script = Path(__file__).parent / "plc_directory.py"
        cls.process = subprocess.Popen([sys.executable, script, "--port", "0"], stdout=subprocess.PIPE, text=True)
        ready = cls.process.stdout.readline().split()
        cls.port = int(ready[2].rsplit(":", 1)[1])

    @classmethod
    def tearDownClass(cls):
        cls.process.terminate()
        cls.process.wait()
        cls.process.stdout.close()

    def ask(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        self.addCleanup(connection.close)
        data = json.dumps(body) if isinstance(body, (dict, list)) else body
        connection.request(method, path, data, headers or {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.getheader("Content-Type"), response.read()

    def test_a_did_from_creation_to_tombstone(self):
        genesis = K1.sign(operation())
        did = plc.did_of(genesis)
        self.assertEqual(self.ask("GET", "/" + did)[0], 404)
        self.assertEqual(self.ask("POST", "/" + did, genesis)[0], 200)
        status, kind, body = self.ask("GET", "/" + did)
        self.assertEqual((status, kind), (200, "application/did+ld+json; charset=utf-8"))
        self.assertEqual(
            json.loads(body),
            {
                "@context": [
                    "https://www.w3.org/ns/did/v1",
                    "https://w3id.org/security/multikey/v1",
                    "https://w3id.org/security/suites/secp256k1-2019/v1",
                ],
                "id": did,
                "alsoKnownAs": ["at://alice.test"],
                "verificationMethod": [
                    {
                        "id": did + "#atproto",
                        "type": "Multikey",
                        "controller": did,
                        "publicKeyMultibase": SIGNING[8:],
                    }
                ],
                "service": [
                    {
                        "id": "#atproto_pds",
                        "type": "AtprotoPersonalDataServer",
                        "serviceEndpoint": "https://pds.test",
                    }
                ],
            },
        )
        self.assertEqual(self.ask("HEAD", "/" + did)[::2], (200, b""))
        escaped = "/" + did.replace(":", "%3A")
        self.assertEqual(json.loads(self.ask("GET", escaped + "/data")[2]), plc.data_of(did, genesis))
        gone = K1.sign(tombstone(plc.cid_of(genesis)))
        self.assertEqual(self.ask("POST", "/" + did, gone)[0], 200)
        self.assertEqual(self.ask("GET", "/" + did)[0], 410)
        self.assertEqual(self.ask("GET", f"/{did}/data")[0], 410)
        self.assertEqual(json.loads(self.ask("GET", f"/{did}/log")[2]), [genesis, gone])
        self.assertEqual(json.loads(self.ask("GET", f"/{did}/log/last")[2]), gone)
        audit = json.loads(self.ask("GET", f"/{did}/log/audit")[2])
        plc.check_audit_log(audit)
        exported = [json.loads(line) for line in self.ask("GET", "/export?count=1000")[2].splitlines()]
        self.assertEqual([row for row in exported if row["did"] == did], audit)
        later = self.ask("GET", "/export?count=1000&after=" + audit[0]["createdAt"])[2].splitlines()
        self.assertEqual([json.loads(line) for line in later if did.encode() in line], audit[1:])

    def test_a_legacy_creation_reads_as_a_new_one(self):
        genesis = K1.sign(legacy())
        did = plc.did_of(genesis)
        self.assertEqual(self.ask("POST", "/" + did, genesis)[0], 200)
        self.assertEqual(
            json.loads(self.ask("GET", f"/{did}/data")[2]),
            {
                "did": did,
                "verificationMethods": {"atproto": K2.did},
                "rotationKeys": [K1.did, K2.did],
                "alsoKnownAs": ["at://alice.test"],
                "services": {"atproto_pds": {"type": "AtprotoPersonalDataServer", "endpoint": "https://pds.test"}},
            },
        )

    def test_wrong_requests(self):
        genesis = K1.sign(operation(alsoKnownAs=["at://carol.test"]))
        did = plc.did_of(genesis)
        text = json.dumps(genesis)
        rows = [
            ("no JSON", "POST", "/" + did, "{", 400),
            ("no UTF-8", "POST", "/" + did, b"\xff", 400),
            ("a name twice", "POST", "/" + did, text[:-1] + ',"prev":null}', 400),
            ("deep nesting", "POST", "/" + did, "[" * 60_000, 400),
            ("a lone surrogate", "POST", "/" + did, text.replace("carol", "\\ud800"), 400),
            ("a list", "POST", "/" + did, "[]", 400),
            ("too large", "POST", "/" + did, " " * 65_537, 413),
            ("another DID", "POST", "/did:plc:" + "a" * 24, text, 400),
            ("no DID", "POST", "/", text, 400),
            ("unknown DID", "GET", "/did:plc:" + "a" * 24, None, 404),
            ("unknown view", "GET", f"/{did}/nothing", None, 404),
            ("the root", "GET", "/", None, 404),
            ("count 0", "GET", "/export?count=0", None, 400),
            ("count 1001", "GET", "/export?count=1001", None, 400),
            ("no time", "GET", "/export?after=x", None, 400),
        ]
        for name, method, path, body, expected in rows:
            with self.subTest(name):
                status, _, answer = self.ask(method, path, body)
                self.assertEqual(status, expected)
                self.assertIn("message", json.loads(answer))
        self.assertEqual(self.ask("PUT", "/" + did, text)[0], 501)
        self.assertEqual(self.ask("GET", "/_health")[0], 200)
        self.assertEqual(self.ask("POST", "/" + did, text)[0], 200)


if __name__ == "__main__":
    unittest.main()
