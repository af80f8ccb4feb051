public import ATProto
public import Base
public import Crypto
public import Storage

public enum KeyError: Error, Equatable, Sendable {
    case notFound(DID)
}

/// The repository signing keys of accounts, sealed in the database under the server's key file.
public struct KeyStore: Sendable {
    /// Unsealed keys that are held in memory; at 200 bytes each nothing, but not without end.
    public static let cachedCountMax = 4_096
    /// Keys that were reserved and never used are dropped after seven days.
    public static let reservationSeconds: Int64 = 604_800

    private let database: any Database
    private let sealer: Sealer
    private let entropy: Entropy
    /// By account, with the public key's text: a key counts only while the account's row names it, since another
    /// process may have put another one there.
    private let cache = Guarded<[DID: (didKey: Bytes, key: SigningKey)]>([:])

    public init(database: any Database, sealer: Sealer, entropy: Entropy) {
        self.database = database
        self.sealer = sealer
        self.entropy = entropy
    }

    /// The signing key of an account. Throws `KeyError.notFound`, or `CryptoError.notAuthentic` when the row was
    /// sealed under another key file.
    public func key(of did: DID) throws -> SigningKey { try database.read { try key(of: did, in: $0) } }

    /// The same inside of a transaction.
    public func key(of did: DID, in reader: any Reader) throws -> SigningKey {
        let cached = cache.withLock { $0[did] }
        let found = try reader.first("SELECT did_key, sealed FROM signing_key WHERE did = \(did.sql)") {
            row -> (didKey: Bytes, sealed: Bytes?) in
            let didKey = try row.text(0)
            return (didKey, cached?.didKey == didKey ? nil : try row.bytes(1))
        }
        guard let found else { throw KeyError.notFound(did) }
        guard let sealed = found.sealed else {
            if let cached { return cached.key }
            throw KeyError.notFound(did)
        }
        let key = try open(sealed, didKey: found.didKey, context: Self.context(did))
        cache.withLock { cache in
            if cache.count >= Self.cachedCountMax { cache.removeAll(keepingCapacity: true) }
            cache[did] = (found.didKey, key)
        }
        return key
    }

    /// Forgets a key that is no longer the account's.
    public func forget(_ did: DID) { cache.withLock { _ = $0.removeValue(forKey: did) } }

    /// `key` sealed for the account, ready for `insert`: sealing needs randomness, which a transaction should not.
    public func seal(_ key: SigningKey, for did: DID) throws -> [UInt8] {
        try sealer.seal(key.secret, context: Self.context(did), entropy: entropy)
    }

    /// Stores the key of an account that has none, and drops its reservation.
    public static func insert(_ key: VerificationKey, sealed: [UInt8], of did: DID, in writer: any Writer) throws {
        let didKey = key.didKey
        try writer.run(
            "INSERT INTO signing_key (did, did_key, sealed) VALUES (\(did.sql), \(didKey.asText), \(sealed))")
        try writer.run("DELETE FROM reserved_key WHERE did_key = \(didKey.asText) OR did = \(did.sql)")
    }

    /// Puts another key in the place of the account's, and drops the reservation of that. Throws `notFound`.
    public static func replace(_ key: VerificationKey, sealed: [UInt8], of did: DID, in writer: any Writer) throws {
        let didKey = key.didKey
        let changed = try writer.run(
            "UPDATE signing_key SET did_key = \(didKey.asText), sealed = \(sealed) WHERE did = \(did.sql)")
        guard changed == 1 else { throw KeyError.notFound(did) }
        try writer.run("DELETE FROM reserved_key WHERE did_key = \(didKey.asText) OR did = \(did.sql)")
    }

    // MARK: Keys before there is an account

    /// A key kept for an account to come; with a DID, the same one each time until it is used.
    public func reserve(for did: DID?, now: Timestamp) throws -> VerificationKey {
        if let did, let known = try reserved(for: did) { return known.publicKey }
        let key = try SigningKey.generate(.k256, entropy: entropy)
        return try reserve(key, for: did, now: now)
    }

    /// Keeps `key` until its account is made, so that a crash between the directory and the database loses no key.
    @discardableResult
    public func reserve(_ key: SigningKey, for did: DID?, now: Timestamp) throws -> VerificationKey {
        let didKey = key.publicKey.didKey
        let sealed = try sealer.seal(key.secret, context: Self.reservedContext(didKey), entropy: entropy)
        return try database.write { writer in
            let oldest = now.adding(seconds: -Self.reservationSeconds)
            try writer.run("DELETE FROM reserved_key WHERE created_at < \(oldest)")
            if let did {
                let row = try writer.first("SELECT did_key FROM reserved_key WHERE did = \(did.sql)") { try $0.text(0) }
                if let row { return try VerificationKey(didKey: row) }
            }
            try writer.run(
                """
                INSERT INTO reserved_key (did_key, did, sealed, created_at)
                VALUES (\(didKey.asText), \(did?.sql), \(sealed), \(now))
                """)
            return key.publicKey
        }
    }

    /// The key reserved for `did`, or nil.
    public func reserved(for did: DID) throws -> SigningKey? {
        let row = try database.read { reader in
            try reader.first("SELECT did_key, sealed FROM reserved_key WHERE did = \(did.sql)") {
                (didKey: try $0.text(0), sealed: try $0.bytes(1))
            }
        }
        guard let row else { return nil }
        return try open(row.sealed, didKey: row.didKey, context: Self.reservedContext(row.didKey))
    }

    /// The reserved key with this public key, or nil; with `did`, nil too when it is reserved for another account.
    public func reserved(didKey: Bytes, for did: DID? = nil) throws -> SigningKey? {
        let row = try database.read { reader in
            try reader.first("SELECT sealed, did FROM reserved_key WHERE did_key = \(didKey.asText)") {
                (sealed: try $0.bytes(0), owner: try $0.optionalText(1))
            }
        }
        guard let row else { return nil }
        if let did, let owner = row.owner, owner != did.bytes { return nil }
        return try open(row.sealed, didKey: didKey, context: Self.reservedContext(didKey))
    }

    /// Drops a reservation that came to nothing.
    public func release(_ key: VerificationKey) throws {
        let didKey = key.didKey
        try database.write { _ = try $0.run("DELETE FROM reserved_key WHERE did_key = \(didKey.asText)") }
    }

    private func open(_ sealed: Bytes, didKey: Bytes, context: Bytes) throws -> SigningKey {
        let algorithm = try VerificationKey(didKey: didKey).algorithm
        return try SigningKey(algorithm: algorithm, secret: try sealer.open(sealed, context: context))
    }

    private static func context(_ did: DID) -> Bytes { "signing_key " + did.bytes }
    private static func reservedContext(_ didKey: Bytes) -> Bytes { "reserved_key " + didKey }
}
