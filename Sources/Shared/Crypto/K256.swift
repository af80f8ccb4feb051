internal import Base
internal import CSecp256k1

/// ECDSA over secp256k1 by libsecp256k1, whose signing is constant-time and deterministic (RFC 6979).
enum K256 {
    /// One context for the process, blinded once. The library documents that calls which take it as `const` (all of
    /// those below) may run on many threads at once, which is why it may be shared unguarded.
    nonisolated(unsafe) private static let context: OpaquePointer? = {
        guard let context = secp256k1_context_create(UInt32(SECP256K1_CONTEXT_SIGN | SECP256K1_CONTEXT_VERIFY))
        else { return nil }
        // Without entropy the context works unblinded: blinding is a second line behind constant-time code.
        if let seed = try? Entropy.system.bytes(32) { _ = secp256k1_context_randomize(context, seed) }
        return context
    }()

    /// The compressed public key of 32 secret bytes; nil when they are zero or not below the order.
    static func publicKey(of secret: [UInt8]) -> [UInt8]? {
        guard let context, secret.count == 32 else { return nil }
        var key = secp256k1_pubkey()
        guard secp256k1_ec_pubkey_create(context, &key, secret) == 1 else { return nil }
        return serialize(&key, context, compressed: true)
    }

    /// The compressed form of a point given compressed or uncompressed; nil when it is no point of the curve.
    static func compress(_ point: Bytes) -> [UInt8]? { convert(point, compressed: true) }

    /// The uncompressed form, 65 bytes.
    static func uncompress(_ point: Bytes) -> [UInt8]? { convert(point, compressed: false) }

    private static func convert(_ point: Bytes, compressed: Bool) -> [UInt8]? {
        guard let context, var key = parse(point, context) else { return nil }
        return serialize(&key, context, compressed: compressed)
    }

    private static func parse(_ point: Bytes, _ context: OpaquePointer) -> secp256k1_pubkey? {
        // The library also takes the hybrid forms 06 and 07 of X9.62, which no specification here allows.
        guard let first = point.first, first <= 4 else { return nil }
        var key = secp256k1_pubkey()
        let isParsed = point.withUnsafeBytes { raw in
            withBase(raw) { secp256k1_ec_pubkey_parse(context, &key, $0, raw.count) }
        }
        return isParsed ? key : nil
    }

    private static func serialize(
        _ key: inout secp256k1_pubkey, _ context: OpaquePointer, compressed: Bool
    ) -> [UInt8]? {
        var count = compressed ? 33 : 65
        var out = [UInt8](repeating: 0, count: count)
        let flags = UInt32(compressed ? SECP256K1_EC_COMPRESSED : SECP256K1_EC_UNCOMPRESSED)
        guard secp256k1_ec_pubkey_serialize(context, &out, &count, &key, flags) == 1 else { return nil }
        return out
    }

    /// r‖s with low S; nil when the library refuses the key.
    static func sign(_ digest: Digest, secret: [UInt8]) -> [UInt8]? {
        guard let context, secret.count == 32 else { return nil }
        var signature = secp256k1_ecdsa_signature()
        let isSigned = digest.withUnsafeBytes { raw in
            withBase(raw) { secp256k1_ecdsa_sign(context, &signature, $0, secret, nil, nil) }
        }
        guard isSigned else { return nil }
        var out = [UInt8](repeating: 0, count: 64)
        guard secp256k1_ecdsa_signature_serialize_compact(context, &out, &signature) == 1 else { return nil }
        return out
    }

    /// Whether `signature` is r‖s over `digest`, with low S where that is asked for. The library's verification refuses
    /// high S and zeros.
    static func verify(_ signature: Bytes, digest: Digest, point: Bytes, lowS: Bool) -> Bool {
        guard let context, signature.count == 64, var key = parse(point, context) else { return false }
        var parsed = secp256k1_ecdsa_signature()
        let isParsed = signature.withUnsafeBytes { raw in
            withBase(raw) { secp256k1_ecdsa_signature_parse_compact(context, &parsed, $0) }
        }
        guard isParsed else { return false }
        // With −S a signature is as good; it is a second text for the same proof, which is why commits refuse it.
        if !lowS {
            let given = parsed
            withUnsafePointer(to: given) { _ = secp256k1_ecdsa_signature_normalize(context, &parsed, $0) }
        }
        return digest.withUnsafeBytes { raw in
            withBase(raw) { secp256k1_ecdsa_verify(context, &parsed, $0, &key) }
        }
    }

    /// Whether the library's `call` on the bytes of `raw` answered 1; false for no bytes.
    private static func withBase(_ raw: UnsafeRawBufferPointer, _ call: (UnsafePointer<UInt8>) -> Int32) -> Bool {
        guard let base = raw.bindMemory(to: UInt8.self).baseAddress else { return false }
        return call(base) == 1
    }
}
