internal import Base
internal import COpenSSL

/// ECDSA over NIST P-256 by OpenSSL.
///
/// `EC_KEY` and `ECDSA_do_*` rather than `EVP_PKEY_fromdata`: they give and take r and s as numbers (no DER), and
/// make a key from bytes without a provider fetch.
enum P256 {
    /// n/2, the greatest S that counts as low (atproto cryptography specification, "low-S").
    static let halfOrder: [UInt8] = [
        0x7F, 0xFF, 0xFF, 0xFF, 0x80, 0x00, 0x00, 0x00, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
        0xDE, 0x73, 0x7D, 0x56, 0xD3, 0x8B, 0xCF, 0x42, 0x79, 0xDC, 0xE5, 0x61, 0x7E, 0x31, 0x92, 0xA8,
    ]

    /// The compressed public key of 32 secret bytes; nil when they are zero or not below the order.
    static func publicKey(of secret: [UInt8]) -> [UInt8]? {
        guard let key = privateKey(secret) else { return nil }
        defer { EC_KEY_free(key) }
        guard let group = EC_KEY_get0_group(key), let point = EC_POINT_new(group) else { return nil }
        defer { EC_POINT_free(point) }
        guard EC_POINT_mul(group, point, EC_KEY_get0_private_key(key), nil, nil, nil) == 1 else { return nil }
        return octets(point, group, compressed: true)
    }

    /// The compressed form of a point given compressed or uncompressed; nil when it is no point of the curve.
    static func compress(_ point: Bytes) -> [UInt8]? { convert(point, compressed: true) }

    /// The uncompressed form, 65 bytes.
    static func uncompress(_ point: Bytes) -> [UInt8]? { convert(point, compressed: false) }

    private static func convert(_ point: Bytes, compressed: Bool) -> [UInt8]? {
        guard let key = publicKey(point) else { return nil }
        defer { EC_KEY_free(key) }
        guard let group = EC_KEY_get0_group(key), let parsed = EC_KEY_get0_public_key(key) else { return nil }
        return octets(parsed, group, compressed: compressed)
    }

    private static func octets(_ point: OpaquePointer, _ group: OpaquePointer, compressed: Bool) -> [UInt8]? {
        var out = [UInt8](repeating: 0, count: compressed ? 33 : 65)
        let form = compressed ? POINT_CONVERSION_COMPRESSED : POINT_CONVERSION_UNCOMPRESSED
        return EC_POINT_point2oct(group, point, form, &out, out.count, nil) == out.count ? out : nil
    }

    /// A key to be freed by the caller, from a point in either form that is on the curve.
    private static func publicKey(_ point: Bytes) -> OpaquePointer? {
        // The point at infinity (one byte 00) and the hybrid forms 06 and 07 are no keys.
        guard let first = point.first, first == 4 ? point.count == 65 : (2...3).contains(first) && point.count == 33,
            let key = EC_KEY_new_by_curve_name(NID_X9_62_prime256v1)
        else { return nil }
        let parsed = point.withUnsafeBytes {
            EC_KEY_oct2key(key, $0.bindMemory(to: UInt8.self).baseAddress, $0.count, nil)
        }
        if parsed == 1 { return key }
        EC_KEY_free(key)
        ERR_clear_error()
        return nil
    }

    /// A key to be freed by the caller, from 32 bytes in 1..<n.
    private static func privateKey(_ secret: [UInt8]) -> OpaquePointer? {
        guard secret.count == 32, let number = BN_bin2bn(secret, 32, nil) else { return nil }
        defer { BN_clear_free(number) }
        guard let key = EC_KEY_new_by_curve_name(NID_X9_62_prime256v1) else { return nil }
        if BN_is_zero(number) == 0, let group = EC_KEY_get0_group(key), let order = EC_GROUP_get0_order(group),
            BN_cmp(number, order) < 0, EC_KEY_set_private_key(key, number) == 1
        {
            return key
        }
        EC_KEY_free(key)
        ERR_clear_error()
        return nil
    }

    /// r‖s with low S; nil when the library refuses.
    static func sign(_ digest: Digest, secret: [UInt8]) -> [UInt8]? {
        guard let key = privateKey(secret) else { return nil }
        defer { EC_KEY_free(key) }
        let made = digest.withUnsafeBytes {
            ECDSA_do_sign($0.bindMemory(to: UInt8.self).baseAddress, Int32($0.count), key)
        }
        guard let made, let order = EC_GROUP_get0_order(EC_KEY_get0_group(key)), let low = BN_new() else {
            ECDSA_SIG_free(made)
            return nil
        }
        defer {
            ECDSA_SIG_free(made)
            BN_free(low)
        }
        var out = [UInt8](repeating: 0, count: 64)
        let isWritten = out.withUnsafeMutableBufferPointer { buffer -> Bool in
            guard let base = buffer.baseAddress, BN_bn2binpad(ECDSA_SIG_get0_r(made), base, 32) == 32,
                BN_bn2binpad(ECDSA_SIG_get0_s(made), base + 32, 32) == 32
            else { return false }
            guard isHigh(UnsafeRawBufferPointer(start: base + 32, count: 32)) else { return true }
            return BN_sub(low, order, ECDSA_SIG_get0_s(made)) == 1 && BN_bn2binpad(low, base + 32, 32) == 32
        }
        return isWritten ? out : nil
    }

    /// Whether `signature` is r‖s with low S over `digest`. OpenSSL takes high S, so that is refused here.
    static func verify(_ signature: Bytes, digest: Digest, point: Bytes, lowS: Bool) -> Bool {
        guard signature.count == 64, let key = publicKey(point) else { return false }
        defer { EC_KEY_free(key) }
        guard let parsed = ECDSA_SIG_new() else { return false }
        defer { ECDSA_SIG_free(parsed) }
        let isParsed = signature.withUnsafeBytes { raw -> Bool in
            if lowS, isHigh(UnsafeRawBufferPointer(rebasing: raw[32...])) { return false }
            guard let base = raw.bindMemory(to: UInt8.self).baseAddress, let r = BN_bin2bn(base, 32, nil)
            else { return false }
            guard let s = BN_bin2bn(base + 32, 32, nil), ECDSA_SIG_set0(parsed, r, s) == 1 else {
                BN_free(r)
                return false
            }
            return true
        }
        guard isParsed else { return false }
        // 1 is valid, 0 is not, −1 is an error such as r = 0 (which then waits in this thread's error queue).
        let result = digest.withUnsafeBytes {
            ECDSA_do_verify($0.bindMemory(to: UInt8.self).baseAddress, Int32($0.count), parsed, key)
        }
        if result < 0 { ERR_clear_error() }
        return result == 1
    }

    /// Whether 32 big-endian bytes are above n/2. They are public: no constant time is needed.
    private static func isHigh(_ s: UnsafeRawBufferPointer) -> Bool { halfOrder.lexicographicallyPrecedes(s) }
}
