public import ATProto
public import Base
public import Storage

/// What an administrator sees of an account beside what it is to everyone.
public struct AccountDetails: Sendable, Equatable {
    public let account: Account
    /// When each state began; nil when it does not hold. Several may.
    public let deactivatedAt: Timestamp?
    public let suspendedAt: Timestamp?
    public let takenDownAt: Timestamp?
    /// What the moderation service calls its decision.
    public let takedownReference: Bytes?
    /// The code that the account was made with.
    public let inviteCode: Bytes?
    /// Why it may not get invite codes, in an administrator's words.
    public let inviteNote: Bytes?
}

extension AccountStore {
    /// Bytes of a note or a reference that is kept.
    public static let noteSizeMax = 2_000

    /// An account with what only administrators see, or nil.
    public func details(of did: DID) throws -> AccountDetails? {
        try database.read { reader in
            guard let account = try Self.find(did, in: reader) else { return nil }
            return try reader.first(
                """
                SELECT deactivated_at, suspended_at, taken_down_at, takedown_ref, invite_code, invite_note
                FROM account WHERE did = \(did.sql)
                """
            ) { row in
                AccountDetails(
                    account: account, deactivatedAt: try row.optionalTimestamp(0),
                    suspendedAt: try row.optionalTimestamp(1), takenDownAt: try row.optionalTimestamp(2),
                    takedownReference: try row.optionalText(3), inviteCode: try row.optionalText(4),
                    inviteNote: try row.optionalText(5))
            }
        }
    }

    /// Accounts with `part` in their e-mail address, whatever its case, by DID after `after`; all accounts without it.
    /// Reads the whole table: for administrators.
    public func search(email part: Bytes?, after: DID?, limit: Int) throws -> [Account] {
        guard let part, !part.isEmpty else { return try list(after: after, limit: limit) }
        let pattern = "%" + Self.likeEscaped(part.lowercasedASCII) + "%"
        let start = SQL.Value.text(after?.bytes ?? Bytes())
        return try database.read { reader in
            let dids = try reader.all(
                """
                SELECT did FROM account WHERE did > \(start) AND email LIKE \(pattern.asText) ESCAPE '!'
                ORDER BY did LIMIT \(limit)
                """
            ) { row in
                guard let did = DID(try row.text(0)) else { throw StorageError.unexpectedColumn(0) }
                return did
            }
            return try dids.compactMap { try Self.find($0, in: reader) }
        }
    }

    /// `text` with the characters that LIKE reads as patterns made plain.
    private static func likeEscaped(_ text: Bytes) -> Bytes {
        Bytes(text.flatMap { [0x25, 0x5F, 0x21].contains($0) ? [0x21, $0] : [$0] })
    }

    /// Gives the account another address (in lower case), which is then unconfirmed. What was mailed to the old one no
    /// longer holds, and codes at sign-in end with it. Throws `emailTaken`, `notFound`.
    public static func setEmail(_ email: Bytes, of did: DID, in writer: any Writer) throws {
        let owner = try writer.first("SELECT did FROM account WHERE email = \(email.asText)") { try $0.text(0) }
        if let owner, owner != did.bytes { throw AccountError.emailTaken(email) }
        let changed = try writer.run(
            """
            UPDATE account SET email = \(email.asText), email_confirmed_at = NULL, email_auth_factor = 0
            WHERE did = \(did.sql)
            """)
        guard changed == 1 else { throw AccountError.notFound }
        try AccountTokenStore.removeAll(of: did, in: writer)
    }

    /// Suspends the account at `moment`, or lifts that with nil. Throws `notFound`.
    public static func setSuspension(_ moment: Timestamp?, of did: DID, in writer: any Writer) throws {
        let changed = try writer.run("UPDATE account SET suspended_at = \(moment) WHERE did = \(did.sql)")
        guard changed == 1 else { throw AccountError.notFound }
    }

    /// Whether the account may be given invite codes, and why. Throws `notFound`.
    public static func setInvites(
        disabled isDisabled: Bool, note: Bytes?, of did: DID, in writer: any Writer
    ) throws {
        let changed = try writer.run(
            """
            UPDATE account SET invites_disabled = \(isDisabled), invite_note = \(note?.asText) WHERE did = \(did.sql)
            """)
        guard changed == 1 else { throw AccountError.notFound }
    }

    /// Ends every session and takes every password back, until one is set anew. Throws `notFound`.
    /// `unmatchable` is a hash that no password has, made outside of the transaction.
    public static func revokeCredentials(of did: DID, unmatchable: Bytes, in writer: any Writer) throws {
        try setPassword(unmatchable, of: did, in: writer)
        try writer.run("DELETE FROM app_password WHERE did = \(did.sql)")
    }

    /// Throws `notFound` unless the account was asked to be gone by `now` and still is deactivated.
    public static func checkDue(_ did: DID, at now: Timestamp, in reader: any Reader) throws {
        let isDue = try reader.first(
            """
            SELECT 1 FROM account WHERE did = \(did.sql) AND deactivated_at IS NOT NULL AND delete_after <= \(now)
            """
        ) { _ in true }
        guard isDue == true else { throw AccountError.notFound }
    }

    // MARK: Reserved names

    /// Reserves a whole handle or the first label of handles here, beside those of the program. Accounts that have it
    /// keep it.
    public static func reserve(name: Bytes, now: Timestamp, in writer: any Writer) throws {
        try writer.run(
            """
            INSERT INTO reserved_handle (name, created_at) VALUES (\(name.asText), \(now))
            ON CONFLICT (name) DO NOTHING
            """)
    }

    /// Whether the operator has reserved `handle` or its first label.
    public func isReserved(_ handle: Handle) throws -> Bool {
        let label = handle.bytes.upTo(handle.bytes.position(of: 0x2E) ?? handle.bytes.count)
        return try database.read { reader in
            try reader.first(
                "SELECT 1 FROM reserved_handle WHERE name = \(handle.sql) OR name = \(label.asText) LIMIT 1"
            ) { _ in true } == true
        }
    }
}

/// The order of an administrator's list of invite codes.
public enum InviteOrder: Sendable {
    /// The newest first.
    case recent
    /// The most used first.
    case usage
}

/// Where a page of invite codes ended: the value that it is ordered by, and the code.
public struct InvitePlace: Sendable, Equatable {
    /// Microseconds since 1970, or a count of uses.
    public let value: Int
    public let code: Bytes

    public init(value: Int, code: Bytes) {
        self.value = value
        self.code = code
    }

    public init(_ code: InviteCode, in order: InviteOrder) {
        self.code = code.code
        value = order == .recent ? Int(code.createdAt.microseconds) : code.uses.count
    }
}

extension InviteStore {
    /// Every code in `order`, after `place`, at most `limit`, with its uses.
    public func list(_ order: InviteOrder, after place: InvitePlace?, limit: Int) throws -> [InviteCode] {
        let value = place?.value ?? Int.max
        let code = (place?.code ?? Bytes()).asText
        let statement: SQL =
            switch order {
            case .recent:
                """
                SELECT code, uses_left, disabled, for_account, created_by, created_at FROM invite_code
                WHERE created_at < \(value) OR (created_at = \(value) AND code < \(code))
                ORDER BY created_at DESC, code DESC LIMIT \(limit)
                """
            case .usage:
                """
                SELECT code, uses_left, disabled, for_account, created_by, created_at FROM (
                    SELECT c.code, c.uses_left, c.disabled, c.for_account, c.created_by, c.created_at,
                        (SELECT count(*) FROM invite_code_use u WHERE u.code = c.code) AS used FROM invite_code c
                ) AS counted WHERE used < \(value) OR (used = \(value) AND code < \(code))
                ORDER BY used DESC, code DESC LIMIT \(limit)
                """
            }
        return try database.read { reader in
            let rows = try reader.all(statement, InviteRow.init)
            return try rows.map { try $0.with(uses: Self.uses(of: $0.code, reader)) }
        }
    }

    /// One code with its uses, or nil.
    public func find(_ code: Bytes) throws -> InviteCode? {
        try database.read { reader in
            try reader.first(
                """
                SELECT code, uses_left, disabled, for_account, created_by, created_at FROM invite_code
                WHERE code = \(code.asText)
                """, InviteRow.init
            ).map { try $0.with(uses: Self.uses(of: $0.code, reader)) }
        }
    }

    /// Takes codes out of use. Codes that there are not are left out.
    public static func disable(codes: [Bytes], in writer: any Writer) throws {
        for code in codes { try writer.run("UPDATE invite_code SET disabled = 1 WHERE code = \(code.asText)") }
    }

    /// Takes every code of the accounts out of use.
    public static func disable(codesOf accounts: [Bytes], in writer: any Writer) throws {
        for account in accounts {
            try writer.run("UPDATE invite_code SET disabled = 1 WHERE for_account = \(account.asText)")
        }
    }

    private struct InviteRow {
        let code: Bytes
        let usesLeft: Int
        let isDisabled: Bool
        let forAccount: Bytes
        let createdBy: Bytes
        let createdAt: Timestamp

        init(_ row: any Row) throws {
            code = try row.text(0)
            usesLeft = try row.integer(1)
            isDisabled = try row.bool(2)
            forAccount = try row.text(3)
            createdBy = try row.text(4)
            createdAt = try row.timestamp(5)
        }

        func with(uses: [InviteCode.Use]) -> InviteCode {
            InviteCode(
                code: code, usesMax: usesLeft + uses.count, isDisabled: isDisabled, forAccount: forAccount,
                createdBy: createdBy, createdAt: createdAt, uses: uses)
        }
    }

    private static func uses(of code: Bytes, _ reader: any Reader) throws -> [InviteCode.Use] {
        try reader.all(
            "SELECT used_by, used_at FROM invite_code_use WHERE code = \(code.asText) ORDER BY used_at, used_by"
        ) { InviteCode.Use(by: try $0.text(0), at: try $0.timestamp(1)) }
    }
}
