internal import ATProto
public import Base
public import Storage

/// Who decides: in the log, and in what a decision leaves behind.
public enum Actor: Sendable, Equatable {
    /// The operator's password, by XRPC or a page.
    case admin
    /// The `skystead` tool: whoever has the machine.
    case tool
    /// The program itself, carrying out what was asked for earlier.
    case worker
    /// A moderation service, by the DID that signed.
    case service(Bytes)

    public var words: Bytes {
        switch self {
        case .admin: "admin"
        case .tool: "tool"
        case .worker: "worker"
        case .service(let did): did
        }
    }
}

/// What administrators and moderators do. The raw value is the log's word: never reused.
public enum AdminAct: String, Sendable, CaseIterable {
    case create, takedown, liftTakedown = "lift-takedown", suspend, unsuspend, deactivate, activate, delete
    case setHandle = "set-handle", setEmail = "set-email", setPassword = "set-password", rotateKey = "rotate-key"
    case repairIdentity = "repair-identity"
    case revokeCredentials = "revoke-credentials"
    case createInvites = "create-invites", disableInvites = "disable-invites"
    case forbidInvites = "forbid-invites", allowInvites = "allow-invites"
    case reserveHandle = "reserve-handle", closeReport = "close-report"
    /// A message by mail; the detail is who wrote it, its subject, and the comment that only the log has.
    case sendMail = "send-mail"
    /// A code by mail was read out of the database; the detail is its purpose.
    case showCode = "show-code"
}

/// One line of the log.
public struct AdminAction: Sendable, Equatable {
    public let id: Int
    public let at: Timestamp
    public let actor: Bytes
    public let action: Bytes
    public let subject: Bytes
    public let detail: Bytes?
}

/// The log of administration: every act, written in the transaction of the act itself, never changed.
///
/// It outlives the accounts that it names, or an act could hide by deleting its subject. It holds DIDs, URIs and the
/// operator's words; never an address, a password or a key.
public struct AdminLog: Sendable {
    /// Bytes of the operator's words that are kept.
    public static let detailSizeMax = 2_000

    private let database: any Database
    private let clock: Clock

    public init(database: any Database, clock: Clock) {
        self.database = database
        self.clock = clock
    }

    /// Notes an act as part of the transaction that does it. `detail` is cut off at `detailSizeMax`.
    public func note(_ act: AdminAct, _ subject: Bytes, by actor: Actor, detail: Bytes? = nil, in writer: any Writer)
        throws
    {
        let id = try writer.nextID("admin_action")
        try writer.run(
            """
            INSERT INTO admin_action (id, created_at, actor, action, subject, detail)
            VALUES (\(id), \(clock.now()), \(SQL.Value.text(actor.words)), \(act.rawValue),
                \(SQL.Value.text(subject)), \(detail.map { SQL.Value.text($0.cutToText(Self.detailSizeMax)) }))
            """)
    }

    /// The newest first: those before `before`, about `subject` only when it is given, at most `limit`.
    public func list(before: Int? = nil, subject: Bytes? = nil, limit: Int) throws -> [AdminAction] {
        let before = before ?? Int.max
        let statement: SQL =
            if let subject {
                """
                SELECT id, created_at, actor, action, subject, detail FROM admin_action
                WHERE id < \(before) AND subject = \(SQL.Value.text(subject)) ORDER BY id DESC LIMIT \(limit)
                """
            } else {
                """
                SELECT id, created_at, actor, action, subject, detail FROM admin_action
                WHERE id < \(before) ORDER BY id DESC LIMIT \(limit)
                """
            }
        return try database.read { reader in
            try reader.all(statement) { row in
                AdminAction(
                    id: try row.integer(0), at: try row.timestamp(1), actor: try row.text(2), action: try row.text(3),
                    subject: try row.text(4), detail: try row.optionalText(5))
            }
        }
    }
}

extension Writer {
    /// The next number of the counter `name`. Throws `ModerationError.corrupt` when there is no such counter.
    func nextID(_ name: StaticString) throws -> Int {
        let name = SQL.Value.text(Bytes(stringLiteral: name))
        let id = try first("UPDATE counter SET value = value + 1 WHERE name = \(name) RETURNING value") {
            try $0.integer(0)
        }
        guard let id else { throw ModerationError.corrupt("no counter") }
        return id
    }
}

extension Bytes {
    /// At most `size` bytes, cut between characters: what PostgreSQL takes as text.
    func cutToText(_ size: Int) -> Bytes {
        guard count > size else { return self }
        var end = size
        while end > 0, self[end] & 0xC0 == 0x80 { end -= 1 }
        return upTo(end)
    }
}
