public import ATProto
public import Base
public import Crypto
public import Storage

/// What a code by mail allows. The words are those of the database and of the operator's list.
public enum TokenPurpose: String, Sendable, CaseIterable {
    case confirmEmail = "confirm_email"
    case updateEmail = "update_email"
    case resetPassword = "reset_password"
    case deleteAccount = "delete_account"
    case plcOperation = "plc_operation"
    /// The second factor.
    case signIn = "sign_in"
}

/// Why a code is not taken.
public enum AccountTokenError: Error, Equatable, Sendable {
    /// Not the one that was mailed, used already, or guessed at too often: never which.
    case invalid
    case expired
}

/// A code that was mailed and not used, for the operator.
public struct PendingToken: Sendable, Equatable {
    public let account: DID
    public let purpose: TokenPurpose
    public let code: Bytes
    public let createdAt: Timestamp
    public let expiresAt: Timestamp
}

/// Codes by mail, such as `K7QWZ-3MDUA`: ten characters of upper-case base 32 (50 random bits), one for each account
/// and purpose, for 15 minutes, for one use (specs/pds.md §2.5).
///
/// The database has a keyed digest of a code, which is compared in constant time, and the code sealed, for the operator
/// whose mail does not work. Five guesses, right or wrong, and a code is dead: each is counted before it is judged.
public struct AccountTokenStore: Sendable {
    public static let lifeSeconds: Int64 = 900
    public static let guessesMax = 5
    /// Characters of a code with its hyphen.
    public static let codeSize = 11
    /// Codes that one list shows.
    public static let listCountMax = 1_000

    private let database: any Database
    private let key: Secret
    private let sealer: Sealer
    private let entropy: Entropy

    /// `key` makes the digests.
    public init(database: any Database, key: Secret, sealer: Sealer, entropy: Entropy) {
        self.database = database
        self.key = key
        self.sealer = sealer
        self.entropy = entropy
    }

    // MARK: Making

    /// A code that is not stored yet.
    public struct New: Sendable {
        public let code: Bytes
        let purpose: TokenPurpose
        let digest: [UInt8]
        let sealed: [UInt8]
    }

    /// Makes a code. Throws `EntropyError` and what sealing throws.
    public func make(_ purpose: TokenPurpose, for did: DID) throws -> New {
        let characters = RadixEncoding.base32.encode(try entropy.bytes(7)).prefix(10).map {
            $0 >= 0x61 ? $0 & 0xDF : $0
        }
        let code = Bytes(Array(characters.prefix(5)) + [0x2D] + Array(characters.suffix(5)))
        return New(
            code: code, purpose: purpose, digest: digest(code, purpose),
            sealed: try sealer.seal(Secret(code.array), context: Self.context(purpose, did), entropy: entropy))
    }

    /// Stores it in the place of the one that the account had for this purpose.
    public static func put(_ new: New, for did: DID, now: Timestamp, in writer: any Writer) throws {
        let expiresAt = now.adding(seconds: lifeSeconds)
        try writer.run(
            """
            INSERT INTO account_token (did, purpose, digest, sealed, created_at, expires_at)
            VALUES (\(did.sql), \(new.purpose.rawValue), \(new.digest), \(new.sealed), \(now), \(expiresAt))
            ON CONFLICT (did, purpose) DO UPDATE SET digest = excluded.digest, sealed = excluded.sealed,
                created_at = excluded.created_at, expires_at = excluded.expires_at, guesses = 0
            """)
    }

    /// Begins the 15 minutes of the code that was made at `createdAt` again: its mail has gone out only now.
    public static func renew(
        _ purpose: TokenPurpose, of did: DID, createdAt: Timestamp, now: Timestamp, in writer: any Writer
    ) throws {
        try writer.run(
            """
            UPDATE account_token SET expires_at = \(now.adding(seconds: lifeSeconds))
            WHERE did = \(did.sql) AND purpose = \(purpose.rawValue) AND created_at = \(createdAt)
            """)
    }

    // MARK: Taking

    /// A code that was judged right, to be used up in the transaction of what it allows. Only `check` makes one.
    public struct Checked: Sendable {
        public let account: DID
        public let purpose: TokenPurpose
        let digest: Bytes
    }

    /// Judges what was given for the account's code, and counts it. Throws `AccountTokenError`.
    public func check(_ given: Bytes, _ purpose: TokenPurpose, of did: DID, now: Timestamp) throws -> Checked {
        let wanted = try database.write { writer in
            try writer.first(
                """
                UPDATE account_token SET guesses = guesses + 1
                WHERE did = \(did.sql) AND purpose = \(purpose.rawValue) AND guesses < \(Self.guessesMax)
                RETURNING digest, expires_at
                """
            ) { (digest: try $0.bytes(0), expiresAt: try $0.timestamp(1)) }
        }
        guard let wanted, constantTimeEqual(wanted.digest, Bytes(digest(Self.normal(given), purpose))) else {
            throw AccountTokenError.invalid
        }
        guard now < wanted.expiresAt else { throw AccountTokenError.expired }
        return Checked(account: did, purpose: purpose, digest: wanted.digest)
    }

    /// The same for a code that alone says whose it is. It is looked up by its digest, so that no guess is at one
    /// account: 2⁵⁰ codes and the caller's budget stand before it.
    public func check(_ given: Bytes, _ purpose: TokenPurpose, now: Timestamp) throws -> Checked {
        let digest = Bytes(digest(Self.normal(given), purpose))
        let found = try database.read { reader in
            try reader.first(
                """
                SELECT did, expires_at FROM account_token
                WHERE digest = \(digest) AND purpose = \(purpose.rawValue) AND guesses < \(Self.guessesMax)
                """
            ) { (did: DID(try $0.text(0)), expiresAt: try $0.timestamp(1)) }
        }
        guard let found, let did = found.did else { throw AccountTokenError.invalid }
        guard now < found.expiresAt else { throw AccountTokenError.expired }
        return Checked(account: did, purpose: purpose, digest: digest)
    }

    /// Uses it up. Throws `invalid` when another request was faster or a new code has been made since.
    public static func use(_ checked: Checked, in writer: any Writer) throws {
        let changed = try writer.run(
            """
            DELETE FROM account_token WHERE did = \(checked.account.sql) AND purpose = \(checked.purpose.rawValue)
            AND digest = \(checked.digest)
            """)
        guard changed == 1 else { throw AccountTokenError.invalid }
    }

    /// Drops the account's codes: what they were mailed to, or who asked for them, is in doubt.
    public static func removeAll(of did: DID, in writer: any Writer) throws {
        try writer.run("DELETE FROM account_token WHERE did = \(did.sql)")
    }

    // MARK: For the operator

    /// The codes that would be taken now, newest first.
    public func pending(now: Timestamp) throws -> [PendingToken] {
        let rows = try database.read { reader in
            try reader.all(
                """
                SELECT did, purpose, sealed, created_at, expires_at FROM account_token
                WHERE expires_at > \(now) AND guesses < \(Self.guessesMax)
                ORDER BY created_at DESC, did LIMIT \(Self.listCountMax)
                """
            ) { row in
                (
                    did: DID(try row.text(0)), purpose: TokenPurpose(rawValue: try row.text(1).description),
                    sealed: try row.bytes(2), createdAt: try row.timestamp(3), expiresAt: try row.timestamp(4)
                )
            }
        }
        return try rows.map { row in
            guard let did = row.did, let purpose = row.purpose else { throw StorageError.unexpectedColumn(1) }
            let code = try sealer.open(row.sealed, context: Self.context(purpose, did))
            return PendingToken(
                account: did, purpose: purpose, code: code.withBytes { Bytes($0) }, createdAt: row.createdAt,
                expiresAt: row.expiresAt)
        }
    }

    /// As people type it: in either case, with blanks around.
    private static func normal(_ code: Bytes) -> Bytes {
        Bytes(code.trimming(" \t\r\n").map { $0 >= 0x61 && $0 <= 0x7A ? $0 & 0xDF : $0 })
    }

    private func digest(_ code: Bytes, _ purpose: TokenPurpose) -> [UInt8] {
        HMACSHA256.authenticate(Bytes(purpose.rawValue) + "\n" + code, key: key).bytes
    }

    private static func context(_ purpose: TokenPurpose, _ did: DID) -> Bytes {
        "account_token " + Bytes(purpose.rawValue) + " " + did.bytes
    }
}
