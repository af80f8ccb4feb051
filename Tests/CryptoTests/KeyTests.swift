import Base
import Crypto
import Foundation
import Testing

@Suite struct KeyTests {
    struct SignatureRow: Decodable {
        let comment, messageBase64, algorithm, publicKeyDid, publicKeyMultibase, signatureBase64: String
        let validSignature: Bool
    }

    @Test(.enabled(if: Oracle.isExpected)) func publishedSignaturesAreJudgedRight() throws {
        let rows = try Oracle.rows("vectors/crypto/signature-fixtures.json", as: SignatureRow.self)
        #expect(rows.count == 6)
        for row in rows {
            let key = try VerificationKey(didKey: Bytes(row.publicKeyDid))
            #expect(key.didKey == Bytes(row.publicKeyDid), "\(row.comment)")
            #expect(key.algorithm.jwsName == Bytes(row.algorithm), "\(row.comment)")
            let legacy = try VerificationKey(multibase: Bytes(row.publicKeyMultibase), legacy: key.algorithm)
            #expect(legacy == key, "\(row.comment)")
            let message = try #require(RadixEncoding.base64.decode(Array(row.messageBase64.utf8)), "\(row.comment)")
            let signature = try #require(RadixEncoding.base64.decode(Array(row.signatureBase64.utf8)), "\(row.comment)")
            let isValid = key.verify(Bytes(signature), of: SHA256.hash(message))
            #expect(isValid == row.validSignature, "\(row.comment)")
        }
    }

    struct KeyRow: Decodable {
        let privateKeyBytesHex: String?
        let privateKeyBytesBase58: String?
        let publicDidKey: String
    }

    @Test(
        .enabled(if: Oracle.isExpected),
        arguments: [
            ("vectors/crypto/w3c_didkey_K256.json", KeyAlgorithm.k256, 5),
            ("vectors/crypto/w3c_didkey_P256.json", KeyAlgorithm.p256, 1),
        ])
    func publishedDIDKeysComeOfTheirPrivateKeys(path: String, algorithm: KeyAlgorithm, count: Int) throws {
        let rows = try Oracle.rows(path, as: KeyRow.self)
        #expect(rows.count == count)
        for row in rows {
            let hex = row.privateKeyBytesHex.flatMap { Hex.decode(Array($0.utf8)) }
            let base58 = row.privateKeyBytesBase58.flatMap { Base58.decode(Array($0.utf8)) }
            let secret = try #require(hex ?? base58)
            let key = try SigningKey(algorithm: algorithm, secret: Secret(secret))
            #expect(key.publicKey.didKey == Bytes(row.publicDidKey))
            #expect(try VerificationKey(didKey: Bytes(row.publicDidKey)) == key.publicKey)
        }
    }

    @Test func k256SignsDeterministically() throws {
        // The well-known answer for the key 1 under RFC 6979, with low S.
        let key = try SigningKey(algorithm: .k256, secret: Secret([UInt8](repeating: 0, count: 31) + [1]))
        let signature = try key.sign(SHA256.hash(Array("Satoshi Nakamoto".utf8)))
        #expect(
            String(decoding: Hex.encode(signature), as: UTF8.self)
                == "934b1ea10a4b3c1757e2b0c017d0b6143ce3c9a7e6a4a49860d7a6ab210ee3d8"
                + "2442ce9d2b916064108014783e923ec36b49743e2ffa1c4496f01a512aafd9e5")
    }

    @Test(arguments: KeyAlgorithm.allCases) func signaturesVerifyAndHaveLowS(algorithm: KeyAlgorithm) throws {
        let key = try SigningKey.generate(algorithm, entropy: .system)
        for round in 0..<40 {
            let digest = SHA256.hash(Array("message \(round)".utf8))
            let signature = try key.sign(digest)
            #expect(signature.count == 64)
            #expect(signature[32] < 0x80)
            #expect(key.publicKey.verify(Bytes(signature), of: digest))
        }
    }

    @Test(arguments: KeyAlgorithm.allCases) func changedSignaturesAreRefused(algorithm: KeyAlgorithm) throws {
        let key = try SigningKey.generate(algorithm, entropy: .system)
        let other = try SigningKey.generate(algorithm, entropy: .system)
        let digest = SHA256.hash(Array("message".utf8))
        let good = try key.sign(digest)
        let zeros = [UInt8](repeating: 0, count: 32)
        let ones = [UInt8](repeating: 0xFF, count: 32)
        let rows: [(name: String, signature: [UInt8])] = [
            ("empty", []), ("63 bytes", Array(good.dropLast())), ("65 bytes", good + [0]),
            ("65 bytes with a leading zero", [0] + good),
            ("r = 0", zeros + good[32...]), ("s = 0", good[..<32] + zeros), ("r = s = 0", zeros + zeros),
            ("r above the order", ones + good[32...]), ("s above the order", good[..<32] + ones),
            ("halves swapped", Array(good[32...]) + good[..<32]),
            ("a bit of r", [good[0] ^ 1] + good[1...]), ("a bit of s", good[..<63] + [good[63] ^ 1]),
            ("of another key", try other.sign(digest)),
            ("of another digest", try key.sign(SHA256.hash(Array("massage".utf8)))),
        ]
        #expect(key.publicKey.verify(Bytes(good), of: digest))
        for row in rows {
            #expect(!key.publicKey.verify(Bytes(row.signature), of: digest), "\(row.name)")
            #expect(!key.publicKey.verifyJOSE(Bytes(row.signature), of: digest), "\(row.name)")
        }
    }

    /// The order n of each curve, from SEC 2.
    static let orders: [(KeyAlgorithm, String)] = [
        (.p256, "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"),
        (.k256, "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"),
    ]

    @Test(arguments: orders) func privateKeysOutsideTheOrderAreRefused(algorithm: KeyAlgorithm, order: String) throws {
        let order = try #require(Hex.decode(Array(order.utf8)))
        let rows: [(name: String, secret: [UInt8])] = [
            ("empty", []), ("zero", [UInt8](repeating: 0, count: 32)), ("the order", order),
            ("above the order", [UInt8](repeating: 0xFF, count: 32)),
            ("31 bytes", [UInt8](repeating: 1, count: 31)), ("33 bytes", [UInt8](repeating: 1, count: 33)),
        ]
        for row in rows {
            #expect(throws: CryptoError.invalidPrivateKey, "\(row.name)") {
                try SigningKey(algorithm: algorithm, secret: Secret(row.secret))
            }
        }
        let greatest = order[..<31] + [order[31] - 1]
        #expect(try SigningKey(algorithm: algorithm, secret: Secret(Array(greatest))).publicKey.algorithm == algorithm)
    }

    static let wrongDIDKeys: [(name: String, text: String)] = [
        ("empty", ""), ("no key", "did:key:"),
        ("no multibase", "did:key:Q3shqwJEJyMBsBXCWyCBpUBMqxcon9oHB7mCvx4sSpMdLJwc"),
        ("another method", "did:web:zQ3shqwJEJyMBsBXCWyCBpUBMqxcon9oHB7mCvx4sSpMdLJwc"),
        ("another base", "did:key:bQ3shqwJEJyMBsBXCWyCBpUBMqxcon9oHB7mCvx4sSpMdLJwc"),
        ("a foreign character", "did:key:zQ3shqwJEJyMBsBXCWyCBpUBMqxcon9oHB7mCvx4sSpMdLJw0"),
        ("cut", "did:key:zQ3shqwJEJyMBsBXCWyCBpUBMqxcon9oHB7mCvx4sSpMdLJw"),
        ("an x off the curve", "did:key:zQ3shqwJEJyMBsBXCWyCBpUBMqxcon9oHB7mCvx4sSpMdLJw1"),
        ("with a fragment", "did:key:zQ3shqwJEJyMBsBXCWyCBpUBMqxcon9oHB7mCvx4sSpMdLJwc#x"),
        ("an Ed25519 key", "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK"),
        ("very long", "did:key:z" + String(repeating: "2", count: 5000)),
        ("a bare point", "did:key:z25z9DTpsiYYJKGsWmSPJK2NFN8PcJtZig12K59UgW7q5t"),
    ]

    @Test(arguments: wrongDIDKeys) func wrongDIDKeysAreRefused(name: String, text: String) {
        #expect(throws: CryptoError.invalidPublicKey) { try VerificationKey(didKey: Bytes(text)) }
    }

    @Test(arguments: KeyAlgorithm.allCases) func pointsAreTakenInTwoFormsOnly(algorithm: KeyAlgorithm) throws {
        let key = try SigningKey.generate(algorithm, entropy: .system).publicKey
        let x = try #require(key.jwk.text("x").flatMap { RadixEncoding.base64URL.decode($0) })
        let y = try #require(key.jwk.text("y").flatMap { RadixEncoding.base64URL.decode($0) })
        #expect(try VerificationKey(algorithm: algorithm, point: Bytes([4] + x + y)) == key)
        #expect(try VerificationKey(algorithm: algorithm, point: key.compressed) == key)
        #expect(
            try VerificationKey(multibase: Bytes([0x7A] + Base58.encode([4] + x + y)), legacy: algorithm) == key)
        let rows: [(name: String, point: [UInt8])] = [
            ("empty", []), ("infinity", [0]), ("infinity, padded", [UInt8](repeating: 0, count: 33)),
            ("hybrid", [6 | y[31] & 1] + x + y), ("without its form", x + y),
            ("off the curve", [4] + x + y[..<31] + [y[31] ^ 1]), ("x only", [2] + x.dropLast()),
            ("x above the field", [2] + [UInt8](repeating: 0xFF, count: 32)), ("one byte more", [4] + x + y + [0]),
        ]
        for row in rows {
            #expect(throws: CryptoError.invalidPublicKey, "\(row.name)") {
                try VerificationKey(algorithm: algorithm, point: Bytes(row.point))
            }
        }
    }

    @Test func theCurveOfADIDKeyIsItsOwn() throws {
        // A K-256 point under the P-256 code, and the other way round, is off that curve (nearly always; here surely).
        let key = try VerificationKey(didKey: "did:key:zQ3shqwJEJyMBsBXCWyCBpUBMqxcon9oHB7mCvx4sSpMdLJwc")
        #expect(key.algorithm == .k256)
        #expect(key.multibase == "zQ3shqwJEJyMBsBXCWyCBpUBMqxcon9oHB7mCvx4sSpMdLJwc")
        #expect(key.description == "did:key:zQ3shqwJEJyMBsBXCWyCBpUBMqxcon9oHB7mCvx4sSpMdLJwc")
    }
}
