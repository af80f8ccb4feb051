public import ATProto
public import Base
public import Storage

/// The accounts of this server.
public struct AccountStore: Sendable {
    /// Bytes of a new password: scrypt takes any length, a request should not.
    public static let passwordSizeMax = 256
    /// And at least so many: shorter ones are guessed within the login limits.
    public static let passwordSizeMin = 8

    let database: any Database

    public init(database: any Database) { self.database = database }

    // MARK: Finding

    public func find(_ did: DID) throws -> Account? { try database.first(Self.select(.did(did)), Self.account) }

    public func find(_ handle: Handle) throws -> Account? {
        try database.first(Self.select(.handle(handle)), Self.account)
    }

    /// By an address in lower case.
    public func find(email: Bytes) throws -> Account? {
        try database.first(Self.select(.email(email)), Self.account)
    }

    public func find(_ identifier: ATIdentifier) throws -> Account? {
        switch identifier {
        case .did(let did): try find(did)
        case .handle(let handle): try find(handle)
        }
    }

    public static func find(_ did: DID, in reader: any Reader) throws -> Account? {
        try reader.first(select(.did(did)), account)
    }

    /// What login works on: the account and its stored password hash.
    func credentials(_ key: Key) throws -> (account: Account, password: Bytes)? {
        try database.read { reader in
            try reader.first(Self.select(key)) { (try Self.account($0), try $0.text(11)) }
        }
    }

    /// What an account is unique by.
    enum Key {
        case did(DID), handle(Handle), email(Bytes)
    }

    private static func select(_ key: Key) -> SQL {
        switch key {
        case .did(let did):
            """
            SELECT did, handle, email, email_confirmed_at, created_at, deactivated_at, delete_after, taken_down_at,
                suspended_at, invites_disabled, email_auth_factor, password FROM account WHERE did = \(did.sql)
            """
        case .handle(let handle):
            """
            SELECT did, handle, email, email_confirmed_at, created_at, deactivated_at, delete_after, taken_down_at,
                suspended_at, invites_disabled, email_auth_factor, password FROM account WHERE handle = \(handle.sql)
            """
        case .email(let email):
            """
            SELECT did, handle, email, email_confirmed_at, created_at, deactivated_at, delete_after, taken_down_at,
                suspended_at, invites_disabled, email_auth_factor, password FROM account WHERE email = \(email.asText)
            """
        }
    }

    static func account(_ row: any Row) throws -> Account {
        guard let did = DID(try row.text(0)) else { throw StorageError.unexpectedColumn(0) }
        let state: AccountState =
            if try row.optionalInteger(7) != nil {
                .takenDown
            } else if try row.optionalInteger(8) != nil {
                .suspended
            } else if try row.optionalInteger(5) != nil {
                .deactivated
            } else {
                .active
            }
        return Account(
            did: did, handle: try row.optionalText(1).flatMap { Handle($0) }, email: try row.optionalText(2),
            emailConfirmedAt: try row.optionalTimestamp(3), createdAt: try row.timestamp(4), state: state,
            deleteAfter: try row.optionalTimestamp(6), invitesDisabled: try row.bool(9),
            wantsEmailCode: try row.bool(10))
    }

    // MARK: Making and changing

    /// A new account's row. `password` is a hash, made outside of the transaction: it takes 40 ms.
    public struct New: Sendable {
        public var did: DID
        public var handle: Handle
        public var email: Bytes?
        public var password: Bytes
        public var createdAt: Timestamp
        public var deactivatedAt: Timestamp?
        public var deleteAfter: Timestamp?
        public var inviteCode: Bytes?

        public init(
            did: DID, handle: Handle, email: Bytes?, password: Bytes, createdAt: Timestamp,
            deactivatedAt: Timestamp? = nil, deleteAfter: Timestamp? = nil, inviteCode: Bytes? = nil
        ) {
            self.did = did
            self.handle = handle
            self.email = email
            self.password = password
            self.createdAt = createdAt
            self.deactivatedAt = deactivatedAt
            self.deleteAfter = deleteAfter
            self.inviteCode = inviteCode
        }
    }

    /// Throws `exists`, `handleTaken` or `emailTaken` when the account could not be made now.
    public static func checkFree(did: DID?, handle: Handle, email: Bytes?, in reader: any Reader) throws {
        if let did, try reader.first("SELECT 1 FROM account WHERE did = \(did.sql)", { _ in true }) != nil {
            throw AccountError.exists(did)
        }
        if try reader.first("SELECT 1 FROM account WHERE handle = \(handle.sql)", { _ in true }) != nil {
            throw AccountError.handleTaken(handle)
        }
        if let email, try reader.first("SELECT 1 FROM account WHERE email = \(email.asText)", { _ in true }) != nil {
            throw AccountError.emailTaken(email)
        }
    }

    public func checkFree(did: DID?, handle: Handle, email: Bytes?) throws {
        try database.read { try Self.checkFree(did: did, handle: handle, email: email, in: $0) }
    }

    /// Makes the row. Throws as `checkFree` does.
    public static func insert(_ new: New, in writer: any Writer) throws {
        try checkFree(did: new.did, handle: new.handle, email: new.email, in: writer)
        try writer.run(
            """
            INSERT INTO account (did, handle, email, password, created_at, deactivated_at, delete_after, invite_code)
            VALUES (\(new.did.sql), \(new.handle.sql), \(new.email?.asText), \(new.password.asText),
                \(new.createdAt), \(new.deactivatedAt), \(new.deleteAfter), \(new.inviteCode?.asText))
            """)
    }

    /// Throws `handleTaken` when another account has it, `notFound` when there is no such account.
    public static func setHandle(_ handle: Handle, of did: DID, in writer: any Writer) throws {
        let owner = try writer.first("SELECT did FROM account WHERE handle = \(handle.sql)") { try $0.text(0) }
        if let owner, owner != did.bytes { throw AccountError.handleTaken(handle) }
        let changed = try writer.run("UPDATE account SET handle = \(handle.sql) WHERE did = \(did.sql)")
        guard changed == 1 else { throw AccountError.notFound }
    }

    /// Throws `notFound`. `deleteAfter` is when the owner wants it gone.
    public static func deactivate(
        _ did: DID, at now: Timestamp, deleteAfter: Timestamp?, in writer: any Writer
    ) throws {
        let changed = try writer.run(
            """
            UPDATE account SET deactivated_at = \(now), delete_after = \(deleteAfter) WHERE did = \(did.sql)
            """)
        guard changed == 1 else { throw AccountError.notFound }
    }

    /// Throws `notFound`. Takedowns and suspensions stay.
    public static func activate(_ did: DID, in writer: any Writer) throws {
        let changed = try writer.run(
            "UPDATE account SET deactivated_at = NULL, delete_after = NULL WHERE did = \(did.sql)")
        guard changed == 1 else { throw AccountError.notFound }
    }

    /// Takes the account down at `moment`, or lifts the takedown with nil. `reference` is what the moderation service
    /// calls its decision. Throws `notFound`.
    public static func setTakedown(
        _ moment: Timestamp?, of did: DID, reference: Bytes? = nil, in writer: any Writer
    ) throws {
        let reference = moment == nil ? nil : reference?.asText
        let changed = try writer.run(
            "UPDATE account SET taken_down_at = \(moment), takedown_ref = \(reference) WHERE did = \(did.sql)")
        guard changed == 1 else { throw AccountError.notFound }
    }

    /// Throws unless `password` may be an account's. NUL is refused: scrypt can't tell some passwords with it apart.
    public static func checkPassword(_ password: Bytes) throws(AccountError) {
        guard password.count >= passwordSizeMin else { throw .passwordTooShort }
        guard password.count <= passwordSizeMax else { throw .passwordTooLong }
        guard !password.contains(0) else { throw .passwordHasNUL }
    }

    /// Stores a new password hash and ends every session of the account (specs/pds.md §2.5). Throws `notFound`.
    public func setPassword(_ hash: Bytes, of did: DID) throws {
        try database.write { try Self.setPassword(hash, of: did, in: $0) }
    }

    /// The account's address, which must still be `email`, is its owner's. Throws `notFound`.
    public static func confirmEmail(_ email: Bytes, of did: DID, at now: Timestamp, in writer: any Writer) throws {
        let changed = try writer.run(
            "UPDATE account SET email_confirmed_at = \(now) WHERE did = \(did.sql) AND email = \(email.asText)")
        guard changed == 1 else { throw AccountError.notFound }
    }

    /// Whether signing in with the account's password wants a code by mail too. Throws `notFound`.
    public static func setEmailAuthFactor(_ wantsCode: Bool, of did: DID, in writer: any Writer) throws {
        let changed = try writer.run("UPDATE account SET email_auth_factor = \(wantsCode) WHERE did = \(did.sql)")
        guard changed == 1 else { throw AccountError.notFound }
    }

    /// The same as part of a transaction.
    public static func setPassword(_ hash: Bytes, of did: DID, in writer: any Writer) throws {
        let changed = try writer.run("UPDATE account SET password = \(hash.asText) WHERE did = \(did.sql)")
        guard changed == 1 else { throw AccountError.notFound }
        try SessionStore.revokeAll(of: did, in: writer)
    }

    /// Removes the account with all that hangs on it in this module: keys, sessions, app passwords, preferences, its
    /// invite codes, and its name among the users of another's code.
    public static func delete(_ did: DID, in writer: any Writer) throws {
        try writer.run("DELETE FROM account WHERE did = \(did.sql)")
        try writer.run("DELETE FROM reserved_key WHERE did = \(did.sql)")
        try writer.run("DELETE FROM invite_code WHERE for_account = \(did.sql) OR created_by = \(did.sql)")
        try writer.run("DELETE FROM invite_code_use WHERE used_by = \(did.sql)")
    }

    /// Whether the database answers.
    public func checkHealth() throws {
        _ = try database.read { try $0.first("SELECT 1 FROM counter") { try $0.integer(0) } }
    }

    /// Deactivated accounts whose time has come, oldest wish first.
    public func due(at now: Timestamp, limit: Int) throws -> [DID] {
        try database.read { reader in
            try reader.all(
                """
                SELECT did FROM account WHERE delete_after <= \(now) AND deactivated_at IS NOT NULL
                ORDER BY delete_after LIMIT \(limit)
                """
            ) { row in
                guard let did = DID(try row.text(0)) else { throw StorageError.unexpectedColumn(0) }
                return did
            }
        }
    }
}
