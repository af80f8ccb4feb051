import Base
import Crypto
import Testing

@testable import Authorization

@Suite struct PKCETests {
    /// RFC 7636 appendix B.
    static let verifier: Bytes = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    static let challenge: Bytes = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"

    @Test func theExampleOfTheSpecification() throws {
        let challenge = try PKCEChallenge(challenge: Self.challenge, method: "S256")
        #expect(challenge.matches(Self.verifier))
    }

    static let refusedChallenges: [(name: String, challenge: Bytes?, method: Bytes?)] = [
        ("none", nil, "S256"),
        ("no method, which means plain", challenge, nil),
        ("plain", challenge, "plain"),
        ("another case", challenge, "s256"),
        ("empty method", challenge, ""),
        ("empty", "", "S256"),
        ("42 characters", challenge.upTo(42), "S256"),
        ("44 characters", challenge + "A", "S256"),
        ("padded", challenge + "=", "S256"),
        ("a bit too many", challenge.upTo(42) + "N", "S256"),
        ("base64", challenge.upTo(42) + "+", "S256"),
        ("NUL", challenge.upTo(42) + Bytes([0]), "S256"),
        ("not UTF-8", challenge.upTo(42) + Bytes([0xFF]), "S256"),
    ]

    @Test(arguments: refusedChallenges.indices) func challengesThatAreRefused(_ index: Int) {
        let row = Self.refusedChallenges[index]
        let error = #expect(throws: AuthorizationError.self, "\(row.name)") {
            _ = try PKCEChallenge(challenge: row.challenge, method: row.method)
        }
        #expect(error?.code == .invalidRequest, "\(row.name)")
    }

    /// What is asked with a challenge that is made of the verifier itself, so that only its form can be wrong.
    static let verifiers: [(name: String, verifier: Bytes, isTaken: Bool)] = [
        ("43", Bytes([UInt8](repeating: 0x61, count: 43)), true),
        ("128", Bytes([UInt8](repeating: 0x7E, count: 128)), true),
        ("every mark", Bytes([UInt8](repeating: 0x61, count: 39)) + "-._~", true),
        ("42", Bytes([UInt8](repeating: 0x61, count: 42)), false),
        ("129", Bytes([UInt8](repeating: 0x61, count: 129)), false),
        ("empty", "", false),
        ("plus", Bytes([UInt8](repeating: 0x61, count: 42)) + "+", false),
        ("blank", Bytes([UInt8](repeating: 0x61, count: 42)) + " ", false),
        ("padding", Bytes([UInt8](repeating: 0x61, count: 42)) + "=", false),
        ("NUL", Bytes([UInt8](repeating: 0x61, count: 43)) + Bytes([0]), false),
        ("not ASCII", Bytes([UInt8](repeating: 0x61, count: 43)) + "é", false),
    ]

    @Test(arguments: verifiers.indices) func formsOfVerifiers(_ index: Int) {
        let row = Self.verifiers[index]
        let challenge = PKCEChallenge(digest: SHA256.hash(row.verifier))
        #expect(challenge.matches(row.verifier) == row.isTaken, "\(row.name)")
    }

    @Test func anotherVerifier() throws {
        let challenge = try PKCEChallenge(challenge: Self.challenge, method: "S256")
        for position in 0..<Self.verifier.count {
            var other = Self.verifier.array
            other[position] = other[position] == 0x61 ? 0x62 : 0x61
            #expect(!challenge.matches(Bytes(other)), "\(position)")
        }
        // The challenge as its own verifier: what `plain` would take.
        #expect(!challenge.matches(Self.challenge))
    }
}
