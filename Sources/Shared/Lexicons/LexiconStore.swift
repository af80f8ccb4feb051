public import ATProto
public import Base
public import Storage

/// A lexicon's record as its authority's repository has it, proved.
public struct PublishedLexicon: Sendable, Equatable {
    public let nsid: NSID
    /// The authority's account.
    public let did: DID
    /// The repository's revision that proves it.
    public let rev: TID
    public let cid: CID
    /// The record in DAG-CBOR.
    public let document: Bytes

    public init(nsid: NSID, did: DID, rev: TID, cid: CID, document: Bytes) {
        self.nsid = nsid
        self.did = did
        self.rev = rev
        self.cid = cid
        self.document = document
    }

    /// Where it is: `at://did/com.atproto.lexicon.schema/nsid`.
    public var uri: ATURI {
        ATURI(.did(did), NSID(Collections.lexicon), RecordKey(nsid.bytes))
    }

    /// The document, read. Throws `SchemaProblem`, which for one from the store means a newer program put it there.
    public func lexicon() throws(SchemaProblem) -> Lexicon { try Lexicon(record: document) }
}

extension Lexicon {
    /// The document in a record's DAG-CBOR. Throws `SchemaProblem`.
    init(record: Bytes) throws(SchemaProblem) {
        guard record.count <= Self.sizeMax else {
            throw SchemaProblem("must not be longer than \(Self.sizeMax) bytes")
        }
        let value: Value
        do throws(CBORError) { value = try DAGCBOR.decode(record) } catch { throw SchemaProblem("\(error)") }
        try self.init(value)
    }
}

/// The lexicons of the network that this server has had to do with: what is known of them, and what should be asked.
public struct LexiconStore: Sendable {
    /// Lexicons that are kept or wanted. When so many are, one that was asked for in vain makes room.
    public static let countMax = 2_048
    /// As many of them as strangers can bring here by asking for them: the rest is for records.
    public static let strangersMax = 512
    /// Lexicons that one record type may bring along by its references, and theirs.
    public static let companionsMax = 64

    /// A lexicon is asked for again after this.
    public static let staleSeconds: Int64 = 86_400
    /// One that could not be asked for again counts as unknown from this age on.
    public static let ageMaxSeconds: Int64 = 90 * 86_400
    /// The wait after a failure: doubled by each further one, up to `staleSeconds`.
    public static let retrySeconds: Int64 = 900
    /// One that nobody could give is forgotten after this. Who needs it again notes it again.
    public static let forgetSeconds: Int64 = 7 * 86_400

    private let database: any Database

    public init(database: any Database) { self.database = database }

    // MARK: Reading

    /// Changes whenever a document does.
    public func revision() throws -> Int {
        try database.read {
            try $0.first("SELECT value FROM counter WHERE name = 'lexicon'") { try $0.integer(0) } ?? 0
        }
    }

    /// A lexicon that was proved, and when.
    public struct Known: Sendable {
        public let published: PublishedLexicon
        public let fetchedAt: Timestamp
    }

    /// What is known of `nsid`, however old.
    public func find(_ nsid: NSID) throws -> Known? {
        try database.read { try Self.find(nsid, $0) }
    }

    private static func find(_ nsid: NSID, _ reader: any Reader) throws -> Known? {
        let row: Known?? = try reader.first(
            "SELECT did, rev, cid, document, fetched_at FROM lexicon WHERE nsid = \(SQL.Value.text(nsid.bytes))"
        ) { row in
            guard let did = try row.optionalText(0).flatMap({ DID($0) }),
                let rev = try row.optionalText(1).flatMap({ TID($0) }),
                let cid = try row.optionalBytes(2).flatMap({ CID($0) }), let document = try row.optionalBytes(3),
                let fetchedAt = try row.optionalTimestamp(4)
            else { return nil }
            return Known(
                published: PublishedLexicon(nsid: nsid, did: did, rev: rev, cid: cid, document: document),
                fetchedAt: fetchedAt)
        }
        return row ?? nil
    }

    /// Lexicons to ask for at `now`, those that have waited longest first.
    public func due(now: Timestamp, limit: Int) throws -> [NSID] {
        try database.read { reader in
            try reader.all("SELECT nsid FROM lexicon WHERE due_at <= \(now) ORDER BY due_at, nsid LIMIT \(limit)") {
                NSID(try $0.text(0))
            }.compactMap { $0 }
        }
    }

    // MARK: Writing

    /// Notes that `wanted` are needed to check records of `collection`. Those that are noted already stay as they
    /// are; of too many the rest is left out.
    public func note(_ wanted: [NSID], for collection: NSID, now: Timestamp) throws {
        guard !wanted.isEmpty else { return }
        try database.write { try Self.note(wanted, for: collection.bytes, now: now, $0) }
    }

    private static func note(_ wanted: [NSID], for root: Bytes, now: Timestamp, _ writer: any Writer) throws {
        var companions =
            try writer.first("SELECT count(*) FROM lexicon WHERE wanted_by = \(SQL.Value.text(root))") {
                try $0.integer(0)
            } ?? 0
        for nsid in wanted where companions <= companionsMax {
            let name = SQL.Value.text(nsid.bytes)
            if try writer.first("SELECT 1 FROM lexicon WHERE nsid = \(name)", { try $0.integer(0) }) != nil { continue }
            guard try hasRoom(writer, countMax) else { return }
            try writer.run(
                """
                INSERT INTO lexicon (nsid, wanted_by, noted_at, due_at)
                VALUES (\(name), \(SQL.Value.text(root)), \(now), \(now))
                """)
            companions += 1
        }
    }

    /// Whether there is room for one more, once one that nobody could give has gone for it.
    private static func hasRoom(_ writer: any Writer, _ countMax: Int) throws -> Bool {
        let count = try writer.first("SELECT count(*) FROM lexicon") { try $0.integer(0) } ?? 0
        if count < countMax { return true }
        return try writer.run(
            """
            DELETE FROM lexicon WHERE nsid = (
                SELECT nsid FROM lexicon WHERE document IS NULL AND failures > 0 ORDER BY noted_at, nsid LIMIT 1
            )
            """) > 0
    }

    /// Keeps what was just proved, and notes the lexicons in `references` for the sake of whoever wanted this one.
    /// One that no record wants is kept while there is room for such, and brings nothing along.
    ///
    /// Throws `LexiconError.rolledBack`, and keeps the old, when the same account has shown a later revision before.
    public func save(_ published: PublishedLexicon, references: [NSID], now: Timestamp) throws {
        try database.write { writer in
            let name = SQL.Value.text(published.nsid.bytes)
            let old = try Self.find(published.nsid, writer)
            if let old, old.published.did == published.did, published.rev < old.published.rev {
                throw LexiconError.rolledBack(published.nsid)
            }
            let isWanted = try Self.isNoted(name, writer)
            guard try isWanted || Self.hasRoom(writer, Self.strangersMax) else { return }
            let due = now.adding(seconds: Self.staleSeconds)
            try writer.run(
                """
                INSERT INTO lexicon (nsid, wanted_by, noted_at, due_at, did, rev, cid, document, fetched_at)
                VALUES (\(name), '', \(now), \(due), \(SQL.Value.text(published.did.bytes)),
                    \(SQL.Value.text(published.rev.bytes)), \(published.cid.bytes), \(published.document), \(now))
                ON CONFLICT (nsid) DO UPDATE SET due_at = excluded.due_at, failures = 0, did = excluded.did,
                    rev = excluded.rev, cid = excluded.cid, document = excluded.document,
                    fetched_at = excluded.fetched_at
                """)
            if old?.published.cid != published.cid { try Self.bumpRevision(writer) }
            let root = try writer.first("SELECT wanted_by FROM lexicon WHERE nsid = \(name)") { try $0.text(0) }
            if let root, !root.isEmpty { try Self.note(references, for: root, now: now, writer) }
        }
    }

    private static func isNoted(_ name: SQL.Value, _ reader: any Reader) throws -> Bool {
        try reader.first("SELECT 1 FROM lexicon WHERE nsid = \(name)", { try $0.integer(0) }) != nil
    }

    /// Notes that `nsid` was asked for in vain. What was known of it stays, until it is too old.
    public func saveFailure(_ nsid: NSID, now: Timestamp) throws {
        try database.write { writer in
            let name = SQL.Value.text(nsid.bytes)
            let before = try writer.first("SELECT failures FROM lexicon WHERE nsid = \(name)") { try $0.integer(0) }
            guard let before else { return }
            let wait = min(Self.retrySeconds << Int64(min(before, 10)), Self.staleSeconds)
            try writer.run(
                """
                UPDATE lexicon SET failures = \(before + 1), due_at = \(now.adding(seconds: wait))
                WHERE nsid = \(name)
                """)
        }
    }

    /// Drops documents that are too old, and lexicons that nobody could give for long. Returns how many went.
    @discardableResult public func trim(now: Timestamp) throws -> Int {
        try database.write { writer in
            let expired = now.adding(seconds: -Self.ageMaxSeconds)
            let documents = try writer.run(
                "DELETE FROM lexicon WHERE document IS NOT NULL AND fetched_at <= \(expired)")
            if documents > 0 { try Self.bumpRevision(writer) }
            let forgotten = now.adding(seconds: -Self.forgetSeconds)
            return documents
                + (try writer.run(
                    "DELETE FROM lexicon WHERE document IS NULL AND failures > 0 AND noted_at <= \(forgotten)"))
        }
    }

    private static func bumpRevision(_ writer: any Writer) throws {
        try writer.run("UPDATE counter SET value = value + 1 WHERE name = 'lexicon'")
    }
}
