public import ATProto
public import Base
public import Crypto
public import Storage

/// What became of a mail.
public enum MailState: String, Sendable, CaseIterable {
    /// It waits for its time, or is being handed over now.
    case queued
    /// The mail server has taken it.
    case sent
    /// Nobody tries any more: the mail server refused it for good, or did not take it for a day.
    case failed
}

/// A mail as the operator sees it.
public struct QueuedMail: Sendable, Equatable {
    public let id: Bytes
    /// What it is about, such as `reset_password`.
    public let kind: Bytes
    public let account: DID?
    public let recipient: Bytes
    public let createdAt: Timestamp
    public let state: MailState
    /// How often it was tried.
    public let attempts: Int
    /// When it is tried next; of meaning for `queued` only.
    public let nextAt: Timestamp
    /// What the mail server said last; of an error, for the operator.
    public let lastError: Bytes?
}

/// A mail that this process, and no other, may hand over until its lease ends.
public struct ClaimedMail: Sendable {
    public let id: Bytes
    public let kind: Bytes
    public let account: DID?
    public let recipient: MailAddress
    public let text: MailText
    public let createdAt: Timestamp
    /// This one included.
    public let attempts: Int
    let lease: Bytes
}

/// Mail that is to be handed over, as rows: it is written with what it tells, and survives everything.
///
/// A mail is sent at least once. Whoever sends it first takes a lease, in a transaction, that is longer than a
/// hand-over may last: so no two processes ever send one mail at a time. Only a crash between the mail server's 250 and
/// the row's `sent` sends it again, with the same Message-ID; a code that never comes would be worse than one that
/// comes twice.
public struct MailQueue: Sendable {
    /// Longer than a hand-over with its goodbye: `SMTPClient.deadlineMilliseconds` and `replyMilliseconds`.
    public static let leaseSeconds: Int64 = 180
    /// The waits after the first failures; the last one repeats. Greylisting servers want some minutes (RFC 6647 §5).
    public static let retrySeconds: [Int64] = [10, 30, 60, 120, 300, 600, 900, 1_800]
    /// How long a mail is tried: who asked for a code asks again sooner.
    public static let giveUpSeconds: Int64 = 86_400
    /// How long a mail's row is kept, whatever became of it.
    public static let keepSeconds: Int64 = 604_800
    /// The most rows that one `trim` drops.
    public static let trimCountMax = 1_000
    /// The kind of a mail that somebody wrote: each is of its own, and no later one takes its place.
    public static let message: Bytes = "message"
    static let errorSizeMax = 500
    private static let idSize = 15

    private let database: any Database
    private let sealer: Sealer
    private let entropy: Entropy

    public init(database: any Database, sealer: Sealer, entropy: Entropy) {
        self.database = database
        self.sealer = sealer
        self.entropy = entropy
    }

    // MARK: Writing

    /// A mail with all that needs randomness, ready for `add`: a transaction should need none.
    public struct Prepared: Sendable {
        let id: Bytes
        let kind: Bytes
        let account: DID?
        let recipient: Bytes
        let subject: Bytes
        let content: [UInt8]
    }

    /// Throws `EntropyError` and what sealing throws.
    public func prepare(_ text: MailText, kind: Bytes, account: DID?, to recipient: MailAddress) throws -> Prepared {
        let id = Bytes(RadixEncoding.base32.encode(try entropy.bytes(Self.idSize)))
        return Prepared(
            id: id, kind: kind, account: account, recipient: recipient.bytes, subject: text.subject.bytes,
            content: try sealer.seal(text.sealable, context: Self.context(id), entropy: entropy))
    }

    /// Queues it, in the transaction of what it tells. A mail of the same kind to the same account that still waits is
    /// dropped: what it says no longer holds. A `message` stays.
    public static func add(_ mail: Prepared, now: Timestamp, in writer: any Writer) throws {
        try put(mail, state: .queued, now: now, in: writer)
    }

    /// Writes as much as `add` does, and mails nothing: for an answer that must not tell whether there was a mail.
    public static func addNothing(_ mail: Prepared, now: Timestamp, in writer: any Writer) throws {
        try writer.run("DELETE FROM mail WHERE kind = '' AND state = 'sent'")
        let empty = Prepared(
            id: mail.id, kind: Bytes(), account: nil, recipient: Bytes(), subject: Bytes(), content: mail.content)
        try put(empty, state: .sent, now: now, in: writer)
    }

    private static func put(_ mail: Prepared, state: MailState, now: Timestamp, in writer: any Writer) throws {
        if let account = mail.account, mail.kind != message { try drop(mail.kind, of: account, in: writer) }
        try writer.run(
            """
            INSERT INTO mail (id, kind, did, recipient, subject, content, created_at, state, next_at,
                give_up_at)
            VALUES (\(SQL.Value.text(mail.id)), \(SQL.Value.text(mail.kind)),
                \(mail.account.map { SQL.Value.text($0.bytes) }), \(SQL.Value.text(mail.recipient)),
                \(SQL.Value.text(mail.subject)), \(mail.content), \(now), \(state.rawValue), \(now),
                \(now.adding(seconds: Self.giveUpSeconds)))
            """)
    }

    /// Drops the mail of one kind that waits for an account: what it says no longer holds. One that is being handed
    /// over goes its way.
    public static func drop(_ kind: Bytes, of did: DID, in writer: any Writer) throws {
        try writer.run(
            """
            DELETE FROM mail WHERE did = \(SQL.Value.text(did.bytes)) AND kind = \(SQL.Value.text(kind))
            AND state = 'queued' AND lease IS NULL
            """)
    }

    /// How many wait for their time, or are being handed over.
    public static func depth(in database: any Database) throws -> Int {
        try database.first("SELECT count(*) FROM mail WHERE state = 'queued'") { try $0.integer(0) } ?? 0
    }

    /// Drops what waits for an account that is gone.
    public static func remove(of did: DID, in writer: any Writer) throws {
        try writer.run("DELETE FROM mail WHERE did = \(SQL.Value.text(did.bytes))")
    }

    // MARK: Handing over

    /// The mail that is due longest, with a lease on it, or nil when none is. One that was tried for too long is given
    /// up on the way.
    public func claim(now: Timestamp) throws -> ClaimedMail? {
        // Asked every second, for nothing most of the time: without the write lock.
        let due: SQL = "SELECT id FROM mail WHERE state = 'queued' AND next_at <= \(now) LIMIT 1"
        guard try database.read({ try $0.first(due) { try $0.text(0) } }) != nil else { return nil }
        let lease = Bytes(RadixEncoding.base32.encode(try entropy.bytes(Self.idSize)))
        return try database.write { writer in
            try writer.run(
                """
                UPDATE mail SET state = 'failed', lease = NULL, finished_at = \(now)
                WHERE state = 'queued' AND next_at <= \(now) AND give_up_at <= \(now)
                """)
            let until = now.adding(seconds: Self.leaseSeconds)
            return try writer.first(
                """
                UPDATE mail SET lease = \(SQL.Value.text(lease)), next_at = \(until), attempts = attempts + 1
                WHERE id = (SELECT id FROM mail WHERE state = 'queued' AND next_at <= \(now)
                    ORDER BY next_at, id LIMIT 1)
                RETURNING id, kind, did, recipient, subject, content, created_at, attempts
                """
            ) { try claimed($0, lease) }
        }
    }

    private func claimed(_ row: any Row, _ lease: Bytes) throws -> ClaimedMail {
        let id = try row.text(0)
        let content = try sealer.open(try row.bytes(5), context: Self.context(id))
        guard let recipient = MailAddress(try row.text(3)),
            let text = MailText(subject: try row.text(4), sealable: content)
        else { throw StorageError.unexpectedColumn(3) }
        return ClaimedMail(
            id: id, kind: try row.text(1), account: try row.optionalText(2).flatMap { DID($0) }, recipient: recipient,
            text: text, createdAt: try row.timestamp(6), attempts: try row.integer(7), lease: lease)
    }

    /// The mail server has taken it: its text is forgotten, and `also` happens in the same transaction. Nothing happens
    /// when the lease is another's by now, or the mail is gone.
    public func sent(_ mail: ClaimedMail, now: Timestamp, also: (any Writer) throws -> Void) throws {
        try database.write { writer in
            let changed = try writer.run(
                """
                UPDATE mail SET state = 'sent', content = NULL, lease = NULL, last_error = NULL, finished_at = \(now)
                WHERE id = \(SQL.Value.text(mail.id)) AND lease = \(SQL.Value.text(mail.lease))
                """)
            if changed == 1 { try also(writer) }
        }
    }

    /// It was refused for good. `reason` is for the operator.
    public func failed(_ mail: ClaimedMail, _ reason: Bytes, now: Timestamp) throws {
        try database.write { writer in
            _ = try writer.run(
                """
                UPDATE mail SET state = 'failed', lease = NULL, finished_at = \(now),
                    last_error = \(SQL.Value.text(reason.upTo(Self.errorSizeMax)))
                WHERE id = \(SQL.Value.text(mail.id)) AND lease = \(SQL.Value.text(mail.lease))
                """)
        }
    }

    /// It was not taken now and is due again at `next`; unless a newer one of its kind waits, which it would confuse.
    public func postponed(_ mail: ClaimedMail, _ reason: Bytes, until next: Timestamp) throws {
        try database.write { writer in
            let changed = try writer.run(
                """
                UPDATE mail SET lease = NULL, next_at = \(next),
                    last_error = \(SQL.Value.text(reason.upTo(Self.errorSizeMax)))
                WHERE id = \(SQL.Value.text(mail.id)) AND lease = \(SQL.Value.text(mail.lease))
                """)
            guard changed == 1, let account = mail.account, mail.kind != Self.message else { return }
            try writer.run(
                """
                DELETE FROM mail WHERE id = \(SQL.Value.text(mail.id)) AND EXISTS (
                    SELECT 1 FROM mail newer WHERE newer.did = \(SQL.Value.text(account.bytes))
                    AND newer.kind = \(SQL.Value.text(mail.kind)) AND newer.created_at > \(mail.createdAt))
                """)
        }
    }

    // MARK: For the operator

    /// The newest mails first, at most `limit`.
    public func list(limit: Int) throws -> [QueuedMail] {
        try database.read { reader in
            try reader.all(
                """
                SELECT id, kind, did, recipient, created_at, state, attempts, next_at, last_error FROM mail
                WHERE kind <> '' ORDER BY created_at DESC, id LIMIT \(limit)
                """
            ) { row in
                guard let state = MailState(rawValue: try row.text(5).description) else {
                    throw StorageError.unexpectedColumn(5)
                }
                return QueuedMail(
                    id: try row.text(0), kind: try row.text(1),
                    account: try row.optionalText(2).flatMap { DID($0) }, recipient: try row.text(3),
                    createdAt: try row.timestamp(4), state: state, attempts: try row.integer(6),
                    nextAt: try row.timestamp(7), lastError: try row.optionalText(8))
            }
        }
    }

    /// Makes a mail that waits or was given up due now, and gives it a day again. False when there is no such mail, it
    /// was sent, or it is being handed over.
    public func retry(_ id: Bytes, now: Timestamp) throws -> Bool {
        try database.write { writer in
            try writer.run(
                """
                UPDATE mail SET state = 'queued', next_at = \(now), attempts = 0, finished_at = NULL,
                    give_up_at = \(now.adding(seconds: Self.giveUpSeconds))
                WHERE id = \(SQL.Value.text(id)) AND state IN ('queued', 'failed') AND lease IS NULL
                """) == 1
        }
    }

    /// Drops rows that are older than they are kept, at most `trimCountMax`; returns how many. For a timer.
    public static func trim(now: Timestamp, in database: any Database) throws -> Int {
        let oldest = now.adding(seconds: -keepSeconds)
        return try database.write { writer in
            try writer.run(
                """
                DELETE FROM mail WHERE id IN
                    (SELECT id FROM mail WHERE created_at < \(oldest) LIMIT \(trimCountMax))
                """)
        }
    }

    private static func context(_ id: Bytes) -> Bytes { "mail " + id }
}
