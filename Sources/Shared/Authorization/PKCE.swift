public import Base
public import Crypto

/// What a client will have to know the preimage of when it trades its code in (RFC 7636). `S256` alone is taken.
public struct PKCEChallenge: Sendable, Hashable {
    /// Characters of a verifier (RFC 7636 §4.1).
    public static let verifierSizes = 43...128
    /// The one `code_challenge_method`.
    public static let method: Bytes = "S256"
    private static let textSize = 43

    /// SHA-256 of the verifier.
    public let digest: Digest

    /// From `code_challenge` and `code_challenge_method`. Throws `invalid_request` when either is missing, for `plain`
    /// (which is what a missing method means, RFC 7636 §4.3) and for what is no SHA-256 in base64url.
    public init(challenge: Bytes?, method: Bytes?) throws(AuthorizationError) {
        guard let challenge else { throw AuthorizationError(.invalidRequest, "code_challenge is missing") }
        guard method == Self.method else {
            throw AuthorizationError(.invalidRequest, "code_challenge_method must be S256")
        }
        guard challenge.count == Self.textSize, let bytes = RadixEncoding.base64URL.decode(challenge),
            let digest = bytes.withUnsafeBytes({ Digest($0) })
        else { throw AuthorizationError(.invalidRequest, "code_challenge is no SHA-256 in base64url") }
        self.digest = digest
    }

    init(digest: Digest) { self.digest = digest }

    /// Whether `verifier` is the one. The time it takes depends on its count alone.
    public func matches(_ verifier: Bytes) -> Bool {
        guard Self.verifierSizes.contains(verifier.count), verifier.allSatisfy(Self.isUnreserved) else { return false }
        return constantTimeEqual(Bytes(SHA256.hash(verifier).bytes), Bytes(digest.bytes))
    }

    /// RFC 3986 §2.3.
    private static func isUnreserved(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F, 0x7E: true
        default: false
        }
    }
}
