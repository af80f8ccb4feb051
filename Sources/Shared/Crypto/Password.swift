public import Base
internal import COpenSSL

/// Passwords as scrypt (RFC 7914) in the form of the reference implementation, so that its accounts can move here.
///
/// Stored is `salt:hash`: 16 random bytes in hex, and 64 bytes in hex. What is fed to scrypt as the salt is the hex
/// *text*, not the bytes that it stands for. N = 16,384, r = 8, p = 1 are Node's defaults: 16 MiB and about 43 ms.
public enum Password {
    public static let hashSize = 64
    public static let saltSize = 16
    private static let cost: UInt64 = 16_384
    private static let blockSize: UInt64 = 8
    private static let parallelism: UInt64 = 1
    /// OpenSSL's own limit; the parameters above need 16.1 MiB.
    private static let memorySizeMax: UInt64 = 32 << 20

    /// `hexsalt:hexhash` of `password`. `salt` (16 bytes) is given for app passwords, whose salt comes from the DID;
    /// else it is random. Throws `EntropyError` or `CryptoError.libraryFailure`.
    public static func hash(_ password: Bytes, salt: [UInt8]? = nil, entropy: Entropy) throws -> Bytes {
        let salt = Bytes(Hex.encode(try salt ?? entropy.bytes(saltSize)))
        let derived = try derive(password, salt: salt, count: hashSize)
        return salt + ":" + Bytes(Hex.encode(derived))
    }

    /// Whether `password` is the one that `stored` was made of. Takes as long for a wrong one as for the right one.
    /// Throws `invalidPasswordHash` when `stored` is not of the form.
    public static func verify(_ password: Bytes, against stored: Bytes) throws(CryptoError) -> Bool {
        let parts = stored.split(on: 0x3A)
        guard parts.count == 2, !parts[0].isEmpty, parts[0].count <= 128, let expected = Hex.decode(parts[1]),
            expected.count == hashSize
        else { throw .invalidPasswordHash }
        let derived = try derive(password, salt: parts[0], count: hashSize)
        return constantTimeEqual(Bytes(derived), Bytes(expected))
    }

    /// What no password matches: of the stored form, so that verifying against it takes as long as against a real one.
    /// Throws `EntropyError`.
    public static func unmatchable(entropy: Entropy) throws(EntropyError) -> Bytes {
        // 64 bytes that are a digest of something and no output of scrypt of anything known.
        let first = SHA256.hash(try entropy.bytes(32)).bytes
        let salt = Hex.encode(try entropy.bytes(16))
        return Bytes(salt + [0x3A] + Hex.encode(first + SHA256.hash(first).bytes))
    }

    private static func derive(_ password: Bytes, salt: Bytes, count: Int) throws(CryptoError) -> [UInt8] {
        try scrypt(
            password, salt: salt, cost: cost, blockSize: blockSize, parallelism: parallelism, count: count)
    }

    /// scrypt itself, for the known answers of RFC 7914 §12.
    static func scrypt(
        _ password: Bytes, salt: Bytes, cost: UInt64, blockSize: UInt64, parallelism: UInt64, count: Int
    ) throws(CryptoError) -> [UInt8] {
        var out = [UInt8](repeating: 0, count: count)
        let derived = password.withUnsafeBytes { password in
            salt.withUnsafeBytes { salt in
                // A nil password would mean "only check the parameters", so an empty one points somewhere.
                withUnsafePointer(to: CChar(0)) { empty in
                    EVP_PBE_scrypt(
                        password.bindMemory(to: CChar.self).baseAddress ?? empty, password.count,
                        salt.bindMemory(to: UInt8.self).baseAddress, salt.count,
                        cost, blockSize, parallelism, memorySizeMax, &out, count)
                }
            }
        }
        guard derived == 1 else {
            ERR_clear_error()
            throw .libraryFailure
        }
        return out
    }
}
