public import ATProto
public import Base
public import Storage

/// An invite code and who has used it.
public struct InviteCode: Sendable, Equatable {
    public struct Use: Sendable, Equatable {
        public let by: Bytes
        public let at: Timestamp
    }

    public let code: Bytes
    /// How many accounts it was made for.
    public let usesMax: Int
    public let isDisabled: Bool
    /// The account whose code it is, or `admin`.
    public let forAccount: Bytes
    public let createdBy: Bytes
    public let createdAt: Timestamp
    public let uses: [Use]
}

public enum InviteError: Error, Equatable, Sendable {
    /// Unknown, used up or disabled: never which.
    case notAvailable
}

/// Invite codes.
public struct InviteStore: Sendable {
    /// Accounts that one code may be made for.
    public static let usesMax = 100_000
    /// Codes that one call may make.
    public static let createdCountMax = 1_000
    public static let codeSizeMax = 320

    let database: any Database
    private let entropy: Entropy
    private let prefix: Bytes

    /// `host` begins every code, so that people see where it belongs: `home-example-xxxxx-xxxxx`.
    public init(database: any Database, host: Bytes, entropy: Entropy) {
        self.database = database
        self.entropy = entropy
        prefix = Bytes(host.map { $0 == 0x2E || $0 == 0x3A ? 0x2D : $0 })
    }

    /// Makes `count` codes for each of `accounts`, in their order; `also` runs in the same transaction.
    public func create(
        count: Int, usesMax: Int, for accounts: [Bytes], by creator: Bytes, now: Timestamp,
        also: (any Writer) throws -> Void = { _ in }
    ) throws -> [(account: Bytes, codes: [Bytes])] {
        var made: [(account: Bytes, codes: [Bytes])] = []
        for account in accounts {
            var codes: [Bytes] = []
            for _ in 0..<count { codes.append(try generate()) }
            made.append((account, codes))
        }
        let rows = made
        try database.write { writer in
            for (account, codes) in rows {
                for code in codes {
                    try writer.run(
                        """
                        INSERT INTO invite_code (code, uses_left, for_account, created_by, created_at)
                        VALUES (\(code.asText), \(usesMax), \(account.asText), \(creator.asText), \(now))
                        """)
                }
            }
            try also(writer)
        }
        return made
    }

    /// Throws `notAvailable` when `code` would not be taken now.
    public func check(_ code: Bytes) throws {
        let usesLeft = try database.read { reader in
            try reader.first("SELECT uses_left FROM invite_code WHERE code = \(code.asText) AND disabled = 0") {
                try $0.integer(0)
            }
        }
        guard let usesLeft, usesLeft > 0 else { throw InviteError.notAvailable }
    }

    /// Takes one use. Two accounts that want the last one: one of them gets `notAvailable`.
    public static func use(_ code: Bytes, by did: DID, now: Timestamp, in writer: any Writer) throws {
        let changed = try writer.run(
            """
            UPDATE invite_code SET uses_left = uses_left - 1
            WHERE code = \(code.asText) AND disabled = 0 AND uses_left > 0
            """)
        guard changed == 1 else { throw InviteError.notAvailable }
        try writer.run(
            "INSERT INTO invite_code_use (code, used_by, used_at) VALUES (\(code.asText), \(did.sql), \(now))")
    }

    /// The codes of an account, oldest first, with their uses.
    public func list(of did: DID) throws -> [InviteCode] {
        try database.read { reader in
            var uses: [Bytes: [InviteCode.Use]] = [:]
            try reader.each(
                """
                SELECT u.code, u.used_by, u.used_at FROM invite_code_use u JOIN invite_code c ON c.code = u.code
                WHERE c.for_account = \(did.sql) ORDER BY u.used_at, u.used_by
                """
            ) { row in
                uses[try row.text(0), default: []].append(
                    InviteCode.Use(by: try row.text(1), at: try row.timestamp(2)))
                return true
            }
            return try reader.all(
                """
                SELECT code, uses_left, disabled, created_by, created_at FROM invite_code
                WHERE for_account = \(did.sql) ORDER BY created_at, code
                """
            ) { row in
                let code = try row.text(0)
                let used = uses[code] ?? []
                return InviteCode(
                    code: code, usesMax: try row.integer(1) + used.count, isDisabled: try row.bool(2),
                    forAccount: did.bytes, createdBy: try row.text(3), createdAt: try row.timestamp(4), uses: used)
            }
        }
    }

    /// `host-with-dashes-xxxxx-xxxxx`: 50 random bits.
    private func generate() throws -> Bytes {
        let characters = RadixEncoding.base32.encode(try entropy.bytes(7))
        var code = prefix.array
        for (index, character) in characters.prefix(10).enumerated() {
            if index % 5 == 0 { code.append(0x2D) }
            code.append(character)
        }
        return Bytes(code)
    }
}
