public import Base
internal import COpenSSL

/// Seals small secrets (keys, TOTP seeds, tokens) for the database: AES-256-GCM under the master key.
///
/// A sealed value is version byte 1, 12 bytes of nonce, the ciphertext, 16 bytes of tag. The context (such as the DID
/// and the column) is authenticated but not stored, so that a value moved to another row does not open. With random
/// nonces one key may seal 2³² values (NIST SP 800-38D §8.3), far above what a server has keys for.
public struct Sealer: Sendable {
    private static let version: UInt8 = 1
    private static let nonceSize = 12
    private static let tagSize = 16
    /// What sealing adds to the plain bytes.
    public static let overhead = 1 + nonceSize + tagSize
    /// The largest secret that is sealed; everything that is sealed is a key or a token.
    public static let plainSizeMax = 1 << 20

    private let key: Secret

    /// Throws `invalidSymmetricKey` unless `key` has 32 bytes.
    public init(key: Secret) throws(CryptoError) {
        guard key.count == 32 else { throw .invalidSymmetricKey }
        self.key = key
    }

    /// `plain`, sealed under a fresh nonce. Throws `EntropyError`, or `libraryFailure` also above `plainSizeMax`.
    public func seal(_ plain: Secret, context: Bytes, entropy: Entropy) throws -> [UInt8] {
        guard plain.count <= Self.plainSizeMax else { throw CryptoError.libraryFailure }
        let nonce = try entropy.bytes(Self.nonceSize)
        let (body, tag) = try plain.withBytes { bytes throws(CryptoError) in
            try key.withBytes { key throws(CryptoError) in
                try Self.encrypt(bytes, key: key, nonce: nonce, associated: context)
            }
        }
        return [Self.version] + nonce + body + tag
    }

    /// What `seal` was given. Throws `notAuthentic` for anything that this key and context did not seal.
    public func open(_ sealed: Bytes, context: Bytes) throws(CryptoError) -> Secret {
        guard sealed.count >= Self.overhead, sealed.count <= Self.plainSizeMax + Self.overhead,
            sealed.first == Self.version
        else { throw .notAuthentic }
        let nonce = sealed.slice(1..<1 + Self.nonceSize).array
        let body = sealed.slice(1 + Self.nonceSize..<sealed.count - Self.tagSize).array
        let tag = sealed.from(sealed.count - Self.tagSize).array
        return try key.withBytes { key throws(CryptoError) in
            Secret(try Self.decrypt(body, tag: tag, key: key, nonce: nonce, associated: context))
        }
    }

    static func encrypt(
        _ plain: [UInt8], key: [UInt8], nonce: [UInt8], associated: Bytes
    ) throws(CryptoError) -> (body: [UInt8], tag: [UInt8]) {
        let cipher = try context(key: key, nonce: nonce, associated: associated, encrypts: true)
        defer { EVP_CIPHER_CTX_free(cipher) }
        var body = [UInt8](repeating: 0, count: plain.count)
        var tag = [UInt8](repeating: 0, count: tagSize)
        var written: Int32 = 0
        var last: UInt8 = 0
        guard plain.isEmpty || EVP_CipherUpdate(cipher, &body, &written, plain, Int32(plain.count)) == 1,
            EVP_CipherFinal_ex(cipher, &last, &written) == 1, COpenSSL_get_tag(cipher, &tag, Int32(tagSize)) == 1
        else { throw .libraryFailure }
        return (body, tag)
    }

    static func decrypt(
        _ body: [UInt8], tag: [UInt8], key: [UInt8], nonce: [UInt8], associated: Bytes
    ) throws(CryptoError) -> [UInt8] {
        let cipher = try context(key: key, nonce: nonce, associated: associated, encrypts: false)
        defer { EVP_CIPHER_CTX_free(cipher) }
        var plain = [UInt8](repeating: 0, count: body.count)
        var tag = tag
        var written: Int32 = 0
        var last: UInt8 = 0
        guard tag.count == tagSize,
            body.isEmpty || EVP_CipherUpdate(cipher, &plain, &written, body, Int32(body.count)) == 1,
            COpenSSL_set_tag(cipher, &tag, Int32(tagSize)) == 1
        else { throw .libraryFailure }
        guard EVP_CipherFinal_ex(cipher, &last, &written) == 1 else {
            plain.withUnsafeMutableBytes { OPENSSL_cleanse($0.baseAddress, $0.count) }
            ERR_clear_error()
            throw .notAuthentic
        }
        return plain
    }

    /// A cipher context, to be freed by the caller, that has seen the associated data.
    private static func context(
        key: [UInt8], nonce: [UInt8], associated: Bytes, encrypts: Bool
    ) throws(CryptoError) -> OpaquePointer {
        guard key.count == 32, nonce.count == nonceSize, let cipher = EVP_CIPHER_CTX_new()
        else { throw .libraryFailure }
        var written: Int32 = 0
        let isReady = associated.withUnsafeBytes { raw in
            EVP_CipherInit_ex(cipher, EVP_aes_256_gcm(), nil, key, nonce, encrypts ? 1 : 0) == 1
                && (raw.isEmpty
                    || EVP_CipherUpdate(
                        cipher, nil, &written, raw.bindMemory(to: UInt8.self).baseAddress, Int32(clamping: raw.count))
                        == 1)
        }
        if isReady { return cipher }
        EVP_CIPHER_CTX_free(cipher)
        throw .libraryFailure
    }
}
