public import Base

/// The two curves of the protocol. https://atproto.com/specs/cryptography
public enum KeyAlgorithm: Sendable, Hashable, CaseIterable {
    /// NIST P-256 (secp256r1), `ES256`.
    case p256
    /// secp256k1, `ES256K`.
    case k256

    /// The `alg` of a JWS (RFC 7518 §3.1, RFC 8812 §3.2).
    public var jwsName: Bytes { self == .p256 ? "ES256" : "ES256K" }

    /// The `crv` of a JWK (RFC 7518 §6.2.1.1, RFC 8812 §3.1).
    public var curveName: Bytes { self == .p256 ? "P-256" : "secp256k1" }

    /// The multicodec code of a public key, as a varint.
    var multicodec: [UInt8] { self == .p256 ? [0x80, 0x24] : [0xE7, 0x01] }
}

/// A private key that signs.
public struct SigningKey: Sendable {
    public let algorithm: KeyAlgorithm
    /// The 32 bytes of the key.
    public let secret: Secret
    public let publicKey: VerificationKey

    /// From the 32 bytes of a private key, big-endian. Throws `invalidPrivateKey` for any other count, zero, or a
    /// number not below the order of the curve.
    public init(algorithm: KeyAlgorithm, secret: Secret) throws(CryptoError) {
        let point = secret.withBytes { bytes in
            algorithm == .p256 ? P256.publicKey(of: bytes) : K256.publicKey(of: bytes)
        }
        guard let point else { throw .invalidPrivateKey }
        self.algorithm = algorithm
        self.secret = secret
        publicKey = VerificationKey(algorithm: algorithm, known: Bytes(point))
    }

    /// A new key. Throws `EntropyError` when there is no randomness, `CryptoError` when what came is no key.
    public static func generate(_ algorithm: KeyAlgorithm, entropy: Entropy) throws -> SigningKey {
        // The chance that 32 random bytes are no key is below 2⁻³² for P-256 and 2⁻¹²⁷ for K-256.
        for _ in 0..<8 {
            let secret = Secret(try entropy.bytes(32))
            if let key = try? SigningKey(algorithm: algorithm, secret: secret) { return key }
        }
        throw CryptoError.invalidPrivateKey
    }

    /// The 64 bytes r‖s over a SHA-256 digest, with low S. Deterministic for K-256 (RFC 6979).
    public func sign(_ digest: Digest) throws(CryptoError) -> [UInt8] {
        let signature = secret.withBytes { bytes in
            algorithm == .p256 ? P256.sign(digest, secret: bytes) : K256.sign(digest, secret: bytes)
        }
        guard let signature else { throw .libraryFailure }
        return signature
    }
}

/// A public key that verifies: a point that is known to be on its curve.
public struct VerificationKey: Sendable, Hashable, CustomStringConvertible {
    public let algorithm: KeyAlgorithm
    /// The point in compressed form, 33 bytes.
    public let compressed: Bytes
    /// The point as it came, 33 bytes or 65: to use a compressed one costs a square root each time.
    let point: Bytes

    init(algorithm: KeyAlgorithm, known compressed: Bytes, point: Bytes? = nil) {
        self.algorithm = algorithm
        self.compressed = compressed
        self.point = point ?? compressed
    }

    public static func == (left: VerificationKey, right: VerificationKey) -> Bool {
        left.algorithm == right.algorithm && left.compressed == right.compressed
    }

    public func hash(into hasher: inout Hasher) {
        hasher.combine(algorithm)
        hasher.combine(compressed)
    }

    /// From a point of 33 bytes (compressed) or 65 (uncompressed). Throws `invalidPublicKey` when it is not on the
    /// curve or in another form.
    public init(algorithm: KeyAlgorithm, point: Bytes) throws(CryptoError) {
        let compressed = algorithm == .p256 ? P256.compress(point) : K256.compress(point)
        guard let compressed else { throw .invalidPublicKey }
        self.init(algorithm: algorithm, known: Bytes(compressed), point: point)
    }

    /// The longest did:key of the two curves is 57 bytes; anything much longer is not one.
    public static let didKeySizeMax = 128

    /// From `did:key:zQ3sh…` (K-256) or `did:key:zDn…` (P-256), compressed as the specification asks.
    public init(didKey: Bytes) throws(CryptoError) {
        let prefix: Bytes = "did:key:"
        guard didKey.count <= Self.didKeySizeMax, didKey.starts(with: prefix) else { throw .invalidPublicKey }
        try self.init(multibase: didKey.from(prefix.count))
    }

    /// From the `publicKeyMultibase` of a verification method.
    ///
    /// `legacy` is nil for the type `Multikey`, which names its curve. The older types
    /// `EcdsaSecp256r1VerificationKey2019` and `EcdsaSecp256k1VerificationKey2019` name it in the type: then give the
    /// curve, and a bare point, compressed or not, is taken (DID specification of the protocol, "legacy").
    public init(multibase: Bytes, legacy: KeyAlgorithm? = nil) throws(CryptoError) {
        guard multibase.count <= Self.didKeySizeMax, multibase.first == 0x7A,
            let decoded = Base58.decode(multibase.from(1))
        else { throw .invalidPublicKey }
        if let legacy {
            try self.init(algorithm: legacy, point: Bytes(decoded))
            return
        }
        guard let algorithm = KeyAlgorithm.allCases.first(where: { decoded.starts(with: $0.multicodec) }),
            decoded.count == 35
        else { throw .invalidPublicKey }
        try self.init(algorithm: algorithm, point: Bytes(decoded).from(2))
    }

    /// The Multikey form `zQ3sh…` or `zDn…`.
    public var multibase: Bytes { Bytes([0x7A] + Base58.encode(algorithm.multicodec + compressed)) }

    /// The did:key form.
    public var didKey: Bytes { "did:key:" + multibase }

    public var description: String { didKey.description }

    /// Whether `signature` is the 64 bytes r‖s over `digest` by this key, with low S: the protocol's rule for commits,
    /// operations and service tokens. DER and any other length is refused.
    public func verify(_ signature: Bytes, of digest: Digest) -> Bool {
        switch algorithm {
        case .p256: P256.verify(signature, digest: digest, point: point, lowS: true)
        case .k256: K256.verify(signature, digest: digest, point: point, lowS: true)
        }
    }

    /// Like `verify`, but signatures with high S count too: JOSE (RFC 7518 §3.4, RFC 8812 §3.2) does not ask for low S;
    /// browsers' WebCrypto, and whoever signs by OpenSSL, makes high S half of the time.
    public func verifyJOSE(_ signature: Bytes, of digest: Digest) -> Bool {
        switch algorithm {
        case .p256: P256.verify(signature, digest: digest, point: point, lowS: false)
        case .k256: K256.verify(signature, digest: digest, point: point, lowS: false)
        }
    }
}
