public import Base

extension VerificationKey {
    /// The key as a JWK (RFC 7517, RFC 7518 §6.2), with the members of RFC 7638 in their order: its JSON is what the
    /// thumbprint hashes. Add `kid`, `use` and `alg` as needed.
    public var jwk: JOSEObject {
        var bytes = point
        if bytes.count != 65 {
            let found = algorithm == .p256 ? P256.uncompress(compressed) : K256.uncompress(compressed)
            // A key that exists is on its curve, so the point is always there.
            bytes = Bytes(found ?? [UInt8](repeating: 0, count: 65))
        }
        return [
            "crv": .text(algorithm.curveName), "kty": "EC",
            "x": .text(Bytes(RadixEncoding.base64URL.encode(bytes.slice(1..<33)))),
            "y": .text(Bytes(RadixEncoding.base64URL.encode(bytes.from(33)))),
        ]
    }

    /// The RFC 7638 thumbprint of `jwk`: the `jkt` of DPoP.
    public var jwkThumbprint: Digest { SHA256.hash(jwk.json) }

    /// `jwkThumbprint` as it is written: 43 characters of base64url.
    public var jwkThumbprintText: Bytes { Bytes(RadixEncoding.base64URL.encode(jwkThumbprint.bytes)) }

    /// From a public JWK that may verify signatures.
    ///
    /// Throws `invalidPublicKey` for another kind of key, coordinates that are not 32 bytes below the field's prime and
    /// on the curve, a private or symmetric member (which must never have been sent), a `use`, `key_ops` or `alg` of
    /// another purpose (RFC 7517 §4.2–4.4).
    public init(jwk: JOSEObject) throws(CryptoError) {
        guard jwk.text("kty") == "EC", !jwk.hasSecretMember, let curve = jwk.text("crv"),
            let algorithm = KeyAlgorithm.allCases.first(where: { $0.curveName == curve }),
            jwk.allowsVerification(algorithm), let xText = jwk.text("x"), let yText = jwk.text("y"),
            xText.count == 43, yText.count == 43, let x = RadixEncoding.base64URL.decode(xText),
            let y = RadixEncoding.base64URL.decode(yText)
        else { throw .invalidPublicKey }
        try self.init(algorithm: algorithm, point: Bytes([4] + x + y))
    }
}

extension JOSEObject {
    /// Members that private and symmetric keys have (RFC 7518 §6.2.2, §6.3.2, §6.4).
    private static let secretMembers: Set<Bytes> = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"]

    fileprivate var hasSecretMember: Bool { members.contains { Self.secretMembers.contains($0.name) } }

    /// Whether the members that say what a JWK is for, where they are there, allow verifying under `algorithm`. An
    /// empty `key_ops` is what browsers write for a key that was imported without a use: it says nothing.
    fileprivate func allowsVerification(_ algorithm: KeyAlgorithm) -> Bool {
        switch self["use"] {
        case nil, .text("sig"): break
        default: return false
        }
        switch self["key_ops"] {
        case nil, .texts([]): break
        case .texts(let operations) where operations.contains("verify"): break
        default: return false
        }
        switch self["alg"] {
        case nil: return true
        case .text(let name): return name == algorithm.jwsName
        default: return false
        }
    }
}

/// The public keys that somebody registered (RFC 7517 §5), each under its `kid`.
public struct JWKSet: Sendable, Equatable {
    /// A set with more keys is refused.
    public static let keyCountMax = 32
    /// Bytes of JSON.
    public static let sizeMax = 65_536
    /// The longest `kid`, in bytes.
    public static let keyIDSizeMax = 256

    private let keys: [Bytes: VerificationKey]

    /// From `{"keys":[…]}`.
    ///
    /// Keys of other kinds or purposes, and those without a `kid`, are left out (RFC 7517 §5 says to ignore what is not
    /// understood). Throws `malformed` for what is no such set, above the limits, when one `kid` stands for two usable
    /// keys, or when there is a private or symmetric key in it: that one is everybody's by now.
    public init(json: Bytes) throws(JWTError) {
        guard json.count <= Self.sizeMax else { throw .malformed }
        let entries: [JOSEObject]
        switch try JOSEObject(json: json)["keys"] {
        case .texts([]): entries = []
        case .json(let list): entries = try JOSEObject.list(json: list, countMax: Self.keyCountMax)
        default: throw .malformed
        }
        var keys: [Bytes: VerificationKey] = [:]
        for entry in entries {
            if entry.hasSecretMember { throw .malformed }
            guard let id = entry.text("kid"), !id.isEmpty, id.count <= Self.keyIDSizeMax,
                let key = try? VerificationKey(jwk: entry)
            else { continue }
            guard keys.updateValue(key, forKey: id) == nil else { throw .malformed }
        }
        self.keys = keys
    }

    /// The key under `id`.
    public subscript(id: Bytes) -> VerificationKey? { keys[id] }

    public var isEmpty: Bool { keys.isEmpty }
}
