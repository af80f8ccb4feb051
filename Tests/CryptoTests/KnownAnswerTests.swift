import Base
import Testing

@testable import Crypto

private func hex(_ text: String) -> [UInt8] { Hex.decode(Array(text.utf8)) ?? [] }
private func text(_ bytes: [UInt8]) -> String { String(decoding: Hex.encode(bytes), as: UTF8.self) }

@Suite struct KnownAnswerTests {
    static let digests: [(name: String, message: String, expected: String)] = [
        ("empty", "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ("FIPS 180 one block", "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            "FIPS 180 two blocks", "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
        ),
        (
            "a million", String(repeating: "a", count: 1_000_000),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
        ),
    ]

    @Test(arguments: digests) func sha256(name: String, message: String, expected: String) {
        #expect(text(SHA256.hash(Array(message.utf8)).bytes) == expected)
        #expect(text(SHA256.hash(Bytes(message)).bytes) == expected)
        var inParts = SHA256()
        let bytes = Array(message.utf8)
        bytes[..<(bytes.count / 3)].withUnsafeBytes { inParts.update($0) }
        bytes[(bytes.count / 3)...].withUnsafeBytes { inParts.update($0) }
        #expect(text(inParts.finish().bytes) == expected)
    }

    @Test func everyShortLengthHashesAsInParts() {
        // The one-shot path for short inputs must agree with the streaming one at each block boundary.
        for count in 0...260 {
            let message = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ count) }
            var inParts = SHA256()
            for byte in message { withUnsafeBytes(of: byte) { inParts.update($0) } }
            #expect(SHA256.hash(message) == inParts.finish(), "\(count) bytes")
        }
    }

    @Test func leadingZeroBits() {
        let rows: [(byte: Int, value: UInt8, expected: Int)] = [
            (0, 0x80, 0), (0, 1, 7), (1, 0x80, 8), (7, 1, 63), (8, 0x40, 65), (16, 0x10, 131), (31, 1, 255),
        ]
        for row in rows {
            var bytes = [UInt8](repeating: 0, count: 32)
            bytes[row.byte] = row.value
            #expect(bytes.withUnsafeBytes { Digest($0)?.leadingZeroBits } == row.expected)
        }
        #expect([UInt8](repeating: 0, count: 32).withUnsafeBytes { Digest($0)?.leadingZeroBits } == 256)
        #expect([UInt8](repeating: 0, count: 31).withUnsafeBytes { Digest($0) } == nil)
    }

    @Test func sha1OfTheHandshake() {
        #expect(text(SHA1.hash(Array("abc".utf8))) == "a9993e364706816aba3e25717850c26c9cd0d89d")
        // RFC 6455 §1.3
        let key = "dGhlIHNhbXBsZSBub25jZQ==258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        #expect(text(SHA1.hash(Array(key.utf8))) == "b37a4f2cc0624f1690f64606cf385945b2bec4ea")
    }

    static let codes: [(name: String, key: [UInt8], message: String, expected: String)] = [
        (
            "RFC 4231 case 1", [UInt8](repeating: 0x0B, count: 20), "Hi There",
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
        ),
        (
            "RFC 4231 case 2", Array("Jefe".utf8), "what do ya want for nothing?",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        ),
        (
            "RFC 4231 case 6: a key longer than a block", [UInt8](repeating: 0xAA, count: 131),
            "Test Using Larger Than Block-Size Key - Hash Key First",
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        ),
        ("empty", [], "", "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad"),
    ]

    @Test(arguments: codes) func hmac(name: String, key: [UInt8], message: String, expected: String) {
        #expect(text(HMACSHA256.authenticate(Bytes(message), key: Secret(key)).bytes) == expected)
    }

    static let equalities: [(name: String, a: [UInt8], b: [UInt8], expected: Bool)] = [
        ("both empty", [], [], true), ("equal", [1, 2, 3], [1, 2, 3], true),
        ("the last byte", [1, 2, 3], [1, 2, 4], false),
        ("the first byte", [0, 2, 3], [1, 2, 3], false), ("a prefix", [1, 2], [1, 2, 3], false),
        ("one empty", [], [0], false),
    ]

    @Test(arguments: equalities) func equality(name: String, a: [UInt8], b: [UInt8], expected: Bool) {
        #expect(constantTimeEqual(Bytes(a), Bytes(b)) == expected)
    }

    static let derivations:
        [(name: String, password: String, salt: String, n: UInt64, r: UInt64, p: UInt64, out: String)] =
            [
                (
                    "RFC 7914 §12, 1", "", "", 16, 1, 1,
                    "77d6576238657b203b19ca42c18a0497f16b4844e3074ae8dfdffa3fede21442"
                        + "fcd0069ded0948f8326a753a0fc81f17e8d3e0fb2e0d3628cf35e20c38d18906"
                ),
                (
                    "RFC 7914 §12, 2", "password", "NaCl", 1024, 8, 16,
                    "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162"
                        + "2eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640"
                ),
                (
                    "RFC 7914 §12, 3", "pleaseletmein", "SodiumChloride", 16_384, 8, 1,
                    "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"
                        + "d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887"
                ),
            ]

    @Test(arguments: derivations)
    func scrypt(
        name: String, password: String, salt: String, n: UInt64, r: UInt64, p: UInt64, out: String
    ) throws {
        let derived = try Password.scrypt(
            Bytes(password), salt: Bytes(salt), cost: n, blockSize: r, parallelism: p, count: 64)
        #expect(text(derived) == out)
    }

    static let ciphers:
        [(name: String, key: String, nonce: String, plain: String, associated: String, sealed: String)] = [
            (
                "GCM test case 13", String(repeating: "00", count: 32), String(repeating: "00", count: 12), "", "",
                "530f8afbc74536b9a963b4f1c4cb738b"
            ),
            (
                "GCM test case 14", String(repeating: "00", count: 32), String(repeating: "00", count: 12),
                "00000000000000000000000000000000", "",
                "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"
            ),
            (
                "GCM test case 16", "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
                "cafebabefacedbaddecaf888",
                "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
                    + "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
                "feedfacedeadbeeffeedfacedeadbeefabaddad2",
                "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
                    + "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b"
            ),
        ]

    @Test(arguments: ciphers)
    func aesGCM(
        name: String, key: String, nonce: String, plain: String, associated: String, sealed: String
    ) throws {
        let made = try Sealer.encrypt(
            hex(plain), key: hex(key), nonce: hex(nonce), associated: Bytes(hex(associated)))
        #expect(text(made.body + made.tag) == sealed)
        let opened = try Sealer.decrypt(
            made.body, tag: made.tag, key: hex(key), nonce: hex(nonce), associated: Bytes(hex(associated)))
        #expect(text(opened) == plain)
    }
}
