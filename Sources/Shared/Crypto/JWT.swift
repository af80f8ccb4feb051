public import Base

/// Why a token is not taken.
public enum JWTError: Error, Sendable, Equatable {
    /// Not three parts of unpadded base64url around strict JSON objects, or too large.
    case malformed
    /// The header's `alg` is not the one of the key that verifies, or `crit` asks for an extension.
    case wrongAlgorithm
    case wrongSignature
}

/// A signed token in compact form (RFC 7519 over RFC 7515).
///
/// Parsing proves nothing: only `verify` does, and the algorithm is that of the key which the caller holds, never the
/// one that the token names (RFC 8725 §3.1). Claims such as `exp` and `aud` are the caller's to judge.
public struct JWT: Sendable {
    public let header: JOSEObject
    public let claims: JOSEObject
    public let signature: Bytes
    /// What was signed: header and claims as they were sent, with the dot between.
    public let signedPart: Bytes

    /// Tokens travel in a header line, which the web server limits to 16 KiB.
    public static let sizeMax = 16_384

    /// Takes a compact token apart. Throws `malformed`.
    public init(parsing token: Bytes) throws(JWTError) {
        guard token.count <= Self.sizeMax else { throw .malformed }
        let parts = token.split(on: 0x2E)
        guard parts.count == 3, let header = RadixEncoding.base64URL.decode(parts[0]),
            let claims = RadixEncoding.base64URL.decode(parts[1]),
            let signature = RadixEncoding.base64URL.decode(parts[2])
        else { throw .malformed }
        self.header = try JOSEObject(json: Bytes(header))
        self.claims = try JOSEObject(json: Bytes(claims))
        self.signature = Bytes(signature)
        signedPart = token.upTo(parts[0].count + 1 + parts[1].count)
    }

    /// Throws unless this token is HS256 under `key`.
    public func verify(hs256 key: Secret) throws(JWTError) {
        try checkAlgorithm("HS256")
        let expected = HMACSHA256.authenticate(signedPart, key: key)
        guard constantTimeEqual(Bytes(expected.bytes), signature) else { throw .wrongSignature }
    }

    /// Throws unless this token is signed by `key`, under ES256 or ES256K as the key's curve says.
    ///
    /// With `lowS` (the protocol's service tokens) a high S is refused; without (DPoP proofs and client assertions,
    /// which browsers make) it is taken.
    public func verify(_ key: VerificationKey, lowS: Bool = true) throws(JWTError) {
        try checkAlgorithm(key.algorithm.jwsName)
        let digest = SHA256.hash(signedPart)
        let isValid = lowS ? key.verify(signature, of: digest) : key.verifyJOSE(signature, of: digest)
        guard isValid else { throw .wrongSignature }
    }

    private func checkAlgorithm(_ name: Bytes) throws(JWTError) {
        // `crit` names extensions that must be understood; none is (RFC 7515 §4.1.11).
        guard header.text("alg") == name, header["crit"] == nil else { throw .wrongAlgorithm }
    }

    /// A token under HS256. `alg` is put into the header; `typ` and the rest are the caller's.
    public static func sign(header: JOSEObject, claims: JOSEObject, hs256 key: Secret) -> Bytes {
        let part = signedPart(header: header, algorithm: "HS256", claims: claims)
        return joined(part, signature: HMACSHA256.authenticate(part, key: key).bytes)
    }

    /// A token under ES256 or ES256K, as the key's curve says. `alg` is put into the header.
    public static func sign(
        header: JOSEObject, claims: JOSEObject, key: SigningKey
    ) throws(CryptoError) -> Bytes {
        let part = signedPart(header: header, algorithm: key.algorithm.jwsName, claims: claims)
        return joined(part, signature: try key.sign(SHA256.hash(part)))
    }

    private static func signedPart(header: JOSEObject, algorithm: Bytes, claims: JOSEObject) -> Bytes {
        var header = header
        header["alg"] = .text(algorithm)
        var out = RadixEncoding.base64URL.encode(header.json)
        out.append(0x2E)
        out.append(contentsOf: RadixEncoding.base64URL.encode(claims.json))
        return Bytes(out)
    }

    private static func joined(_ part: Bytes, signature: [UInt8]) -> Bytes {
        Bytes(part.array + [0x2E] + RadixEncoding.base64URL.encode(signature))
    }
}

extension JOSEValue: ExpressibleByStringLiteral {
    public init(stringLiteral value: StaticString) { self = .text(Bytes(stringLiteral: value)) }
}
