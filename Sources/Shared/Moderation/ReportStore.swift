public import ATProto
public import Base
public import Storage

/// A report, as somebody makes it.
public struct NewReport: Sendable {
    public var subject: Subject
    /// A reason's token, such as `com.atproto.moderation.defs#reasonSpam`.
    public var reasonType: Bytes
    public var reason: Bytes?
    public var reportedBy: DID
    /// The labeler that is to hear of it, as `did` or `did#service`; nil for nobody.
    public var forwardTo: Bytes?

    public init(subject: Subject, reasonType: Bytes, reason: Bytes?, reportedBy: DID, forwardTo: Bytes? = nil) {
        self.subject = subject
        self.reasonType = reasonType
        self.reason = reason
        self.reportedBy = reportedBy
        self.forwardTo = forwardTo
    }
}

/// A report that is kept.
public struct Report: Sendable, Equatable {
    public let id: Int
    public let createdAt: Timestamp
    public let reasonType: Bytes
    public let reason: Bytes?
    public let subject: Subject
    /// nil once the reporter's account is deleted.
    public let reportedBy: DID?
    public let closedAt: Timestamp?
    public let closedBy: Bytes?
    /// What the operator wrote when closing it.
    public let note: Bytes?
    public let forwardTo: Bytes?
    public let forwardedAt: Timestamp?
    public let forwardAttempts: Int
}

/// Which reports a listing gives.
public enum ReportFilter: Sendable { case open, closed, all }

/// Reports: kept here always, so that the operator of the server sees what is said of the accounts on it.
public struct ReportStore: Sendable {
    /// The method that takes reports, here and at those to whom they are passed on.
    public static let method: Bytes = "com.atproto.moderation.createReport"
    /// Bytes of a reason: the lexicon's `maxLength`.
    public static let reasonSizeMax = 20_000
    /// Bytes of a reason's token. Tokens are NSIDs with a fragment.
    public static let reasonTypeSizeMax = 512
    /// Bytes of what the operator writes on closing.
    public static let noteSizeMax = 2_000
    /// How often passing on is tried: hourly, for three days.
    public static let forwardAttemptsMax = 72

    private let database: any Database
    private let clock: Clock

    public init(database: any Database, clock: Clock) {
        self.database = database
        self.clock = clock
    }

    /// Keeps a report, durably. One with `forwardTo` is due for passing on at once.
    public func create(_ new: NewReport) throws -> Report {
        let now = clock.now()
        let reason = new.reason.map { SQL.Value.text($0) }
        let uri: Bytes? = if case .record = new.subject { new.subject.uri } else { nil }
        let cid = new.subject.cid.map { SQL.Value.bytes(Bytes($0.bytes)) }
        let due = new.forwardTo == nil ? nil : now
        let id = try database.write { writer in
            let id = try writer.nextID("report")
            try writer.run(
                """
                INSERT INTO report (id, created_at, reason_type, reason, subject_did, subject_uri, subject_cid,
                    reported_by, forward_to, forward_after)
                VALUES (\(id), \(now), \(SQL.Value.text(new.reasonType)), \(reason),
                    \(SQL.Value.text(new.subject.did.bytes)), \(uri.map { SQL.Value.text($0) }), \(cid),
                    \(SQL.Value.text(new.reportedBy.bytes)), \(new.forwardTo.map { SQL.Value.text($0) }), \(due))
                """)
            return id
        }
        return Report(
            id: id, createdAt: now, reasonType: new.reasonType, reason: new.reason, subject: new.subject,
            reportedBy: new.reportedBy, closedAt: nil, closedBy: nil, note: nil, forwardTo: new.forwardTo,
            forwardedAt: nil, forwardAttempts: 0)
    }

    /// Throws `reportNotFound`.
    public func find(_ id: Int) throws -> Report {
        let report = try database.read { reader in
            try reader.first(
                """
                SELECT id, created_at, reason_type, reason, subject_did, subject_uri, subject_cid, reported_by,
                    closed_at, closed_by, note, forward_to, forwarded_at, forward_attempts FROM report WHERE id = \(id)
                """, Self.report)
        }
        guard let report else { throw ModerationError.reportNotFound(id) }
        return report
    }

    /// The newest first, before the number `before`, at most `limit`.
    public func list(_ filter: ReportFilter, before: Int? = nil, limit: Int) throws -> [Report] {
        let (open, closed) = (filter != .closed, filter != .open)
        return try database.read { reader in
            try reader.all(
                """
                SELECT id, created_at, reason_type, reason, subject_did, subject_uri, subject_cid, reported_by,
                    closed_at, closed_by, note, forward_to, forwarded_at, forward_attempts FROM report
                WHERE id < \(before ?? Int.max)
                AND ((closed_at IS NULL AND \(open) = 1) OR (closed_at IS NOT NULL AND \(closed) = 1))
                ORDER BY id DESC LIMIT \(limit)
                """, Self.report)
        }
    }

    /// How many are open.
    public func openCount() throws -> Int {
        try database.read {
            try $0.first("SELECT count(*) FROM report WHERE closed_at IS NULL") { try $0.integer(0) } ?? 0
        }
    }

    /// Closes a report, whether it is open or not: the last word counts. Throws `reportNotFound`.
    public static func close(_ id: Int, by actor: Actor, note: Bytes?, now: Timestamp, in writer: any Writer) throws {
        let note = note.map { SQL.Value.text($0.cutToText(noteSizeMax)) }
        let changed = try writer.run(
            """
            UPDATE report SET closed_at = \(now), closed_by = \(SQL.Value.text(actor.words)), note = \(note)
            WHERE id = \(id)
            """)
        guard changed == 1 else { throw ModerationError.reportNotFound(id) }
    }

    // MARK: Passing on

    /// Reports that are to be passed on by now, the longest due first.
    public func due(limit: Int) throws -> [Report] {
        try database.read { reader in
            try reader.all(
                """
                SELECT id, created_at, reason_type, reason, subject_did, subject_uri, subject_cid, reported_by,
                    closed_at, closed_by, note, forward_to, forwarded_at, forward_attempts FROM report
                WHERE forward_after <= \(clock.now()) ORDER BY forward_after, id LIMIT \(limit)
                """, Self.report)
        }
    }

    /// Takes the report for one attempt: counts it and puts the next one off. False when another process did so
    /// first, or when there is nothing left to do.
    public func claim(_ report: Report) throws -> Bool {
        let attempts = report.forwardAttempts + 1
        // The first attempts come sooner: a service that restarts is back in minutes.
        let pause = Int64(min(attempts, 6)) * 600
        let next = attempts >= Self.forwardAttemptsMax ? nil : clock.now().adding(seconds: pause)
        return try database.write { writer in
            try writer.run(
                """
                UPDATE report SET forward_attempts = \(attempts), forward_after = \(next)
                WHERE id = \(report.id) AND forward_attempts = \(report.forwardAttempts) AND forward_after IS NOT NULL
                """) == 1
        }
    }

    /// Notes that the report was passed on.
    public func markForwarded(_ id: Int) throws {
        try database.write { writer in
            _ = try writer.run(
                "UPDATE report SET forwarded_at = \(clock.now()), forward_after = NULL WHERE id = \(id)")
        }
    }

    /// Notes that passing on was refused and won't be tried again.
    public func giveUp(_ id: Int) throws {
        try database.write { _ = try $0.run("UPDATE report SET forward_after = NULL WHERE id = \(id)") }
    }

    // MARK: Removing

    /// An account is deleted: reports about it go; of those that it made only what they are about stays.
    public static func remove(of did: DID, in writer: any Writer) throws {
        let did = SQL.Value.text(did.bytes)
        try writer.run("DELETE FROM report WHERE subject_did = \(did)")
        try writer.run(
            "UPDATE report SET reported_by = NULL, reason = NULL, forward_after = NULL WHERE reported_by = \(did)")
    }

    private static func report(_ row: any Row) throws -> Report {
        func did(_ bytes: Bytes) throws -> DID {
            guard let did = DID(bytes) else { throw ModerationError.corrupt("DID") }
            return did
        }
        let whose = try did(try row.text(4))
        let subject: Subject
        if let text = try row.optionalText(5) {
            guard let uri = ATURI(text), let collection = uri.collection, let rkey = uri.rkey else {
                throw ModerationError.corrupt("URI")
            }
            let cid = try row.optionalBytes(6).flatMap { $0.withUnsafeBytes { CID($0) } }
            subject = .record(whose, RepoPath(collection, rkey), cid)
        } else {
            subject = .account(whose)
        }
        return Report(
            id: try row.integer(0), createdAt: try row.timestamp(1), reasonType: try row.text(2),
            reason: try row.optionalText(3), subject: subject, reportedBy: try row.optionalText(7).map(did),
            closedAt: try row.optionalTimestamp(8), closedBy: try row.optionalText(9), note: try row.optionalText(10),
            forwardTo: try row.optionalText(11), forwardedAt: try row.optionalTimestamp(12),
            forwardAttempts: try row.integer(13))
    }
}
