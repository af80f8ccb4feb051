public import ATProto
public import Base
public import Crypto

/// Tokens between services: an identity asks another service for one method, signed by its repository key.
/// https://atproto.com/specs/xrpc (inter-service authentication)
public enum ServiceJWT {
    /// Seconds that a token holds when nobody says otherwise.
    public static let seconds: Int64 = 60
    static let idSize = 16

    /// Throws `EntropyError` or `CryptoError`.
    public static func make(
        _ did: DID, audience: Bytes, method: Bytes?, expiresAt: Int64, key: SigningKey, now: Timestamp,
        entropy: Entropy
    ) throws -> Bytes {
        var claims: JOSEObject = [
            "iat": .integer(now.seconds), "iss": .text(did.bytes), "aud": .text(audience), "exp": .integer(expiresAt),
        ]
        if let method { claims["lxm"] = .text(method) }
        claims["jti"] = .text(Bytes(Hex.encode(try entropy.bytes(idSize))))
        return try JWT.sign(header: ["typ": "JWT"], claims: claims, key: key)
    }
}
