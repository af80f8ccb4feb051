public import Base
internal import COpenSSL

/// Whether two byte strings are equal, in a time that depends on their counts only.
public func constantTimeEqual(_ a: Bytes, _ b: Bytes) -> Bool {
    guard a.count == b.count else { return false }
    return a.withUnsafeBytes { left in
        b.withUnsafeBytes { right in
            guard let x = left.baseAddress, let y = right.baseAddress else { return true }
            return CRYPTO_memcmp(x, y, left.count) == 0
        }
    }
}

/// HMAC (RFC 2104) with SHA-256.
public enum HMACSHA256 {
    private static let blockSize = 64

    /// The authentication code of `message` under `key`.
    ///
    /// Written over `SHA256`: OpenSSL's one-shot `HMAC` fetches its algorithm anew at each call, which costs
    /// several times the hashing of a token.
    public static func authenticate(_ message: Bytes, key: Secret) -> Digest {
        key.withBytes { given in
            let key = given.count > blockSize ? SHA256.hash(given).bytes : given
            var pad = [UInt8](repeating: 0x36, count: blockSize)
            for (index, byte) in key.enumerated() { pad[index] ^= byte }
            var inner = SHA256()
            pad.withUnsafeBytes { inner.update($0) }
            message.withUnsafeBytes { inner.update($0) }
            // 0x36 ^ 0x5C turns the inner pad into the outer one.
            for index in pad.indices { pad[index] ^= 0x6A }
            var outer = SHA256()
            pad.withUnsafeBytes { outer.update($0) }
            inner.finish().withUnsafeBytes { outer.update($0) }
            pad.withUnsafeMutableBytes { OPENSSL_cleanse($0.baseAddress, $0.count) }
            return outer.finish()
        }
    }
}

/// SHA-1 (FIPS 180-4), for the WebSocket handshake (RFC 6455 §4.2.2) and nothing else.
public enum SHA1 {
    /// The 20 bytes of the digest.
    public static func hash(_ bytes: [UInt8]) -> [UInt8] {
        var digest = [UInt8](repeating: 0, count: Int(SHA_DIGEST_LENGTH))
        var context = SHA_CTX()
        SHA1_Init(&context)
        SHA1_Update(&context, bytes, bytes.count)
        SHA1_Final(&digest, &context)
        return digest
    }
}
