public import ATProto
public import Base
public import Storage

/// One event as it is stored: its number and its whole frame, as it is sent.
public struct StoredEvent: Sendable, Equatable {
    public let seq: Int
    public let frame: Bytes
}

/// The firehose's outbox: events are written in the transaction of what they tell, and numbered there.
///
/// Numbers come from one row, which the transaction keeps locked until it commits: so a reader never sees a number
/// before all smaller ones are there or never will be (measured elsewhere: a bare PostgreSQL sequence loses 14–17 %).
public struct EventStore: Sendable {
    private let database: any Database
    private let clock: Clock
    private let ring: @Sendable () -> Void

    /// `ring` is called after each commit with an event in it, on the writing thread; it must not block.
    public init(database: any Database, clock: Clock, ring: @escaping @Sendable () -> Void = {}) {
        self.database = database
        self.clock = clock
        self.ring = ring
    }

    // MARK: Writing

    func append(
        _ kind: StaticString, did: DID, in writer: any Writer, frame: (Int, Bytes) throws -> [UInt8]
    ) throws {
        let seq = try writer.first("UPDATE counter SET value = value + 1 WHERE name = 'event' RETURNING value") {
            try $0.integer(0)
        }
        guard let seq else { throw RepoError.corrupt("no event counter") }
        let now = clock.now()
        let frame = try frame(seq, Bytes(now.iso8601Bytes))
        try writer.run(
            """
            INSERT INTO event (seq, did, kind, created_at, payload)
            VALUES (\(seq), \(did.sql), \(SQL.Value.text(Bytes(stringLiteral: kind))), \(now), \(frame))
            """)
        writer.announceChange()
        writer.afterCommit(ring)
    }

    /// The account's handle or keys may have changed. `handle` is a hint for consumers.
    public func appendIdentity(_ did: DID, handle: Handle?, in writer: any Writer) throws {
        try append("identity", did: did, in: writer) { seq, time in
            EventFrame.frame("identity", EventFrame.identity(did: did, handle: handle, seq: seq, time: time))
        }
    }

    /// The account's status changed.
    public func appendAccount(_ did: DID, _ status: RepoStatus, in writer: any Writer) throws {
        try append("account", did: did, in: writer) { seq, time in
            EventFrame.frame("account", EventFrame.account(did: did, status: status, seq: seq, time: time))
        }
    }

    /// The repository is at `commit` now, whatever it was before: after an import or a recovery.
    public func appendSync(_ did: DID, commit: CommitInfo, block: Bytes, in writer: any Writer) throws {
        try append("sync", did: did, in: writer) { seq, time in
            EventFrame.frame("sync", EventFrame.sync(did: did, commit: commit, block: block, seq: seq, time: time))
        }
    }

    // MARK: Reading

    /// Events with a number above `after`, ascending: at most `limit`, and no more once their frames reach `sizeMax`
    /// bytes (at least one, when there is one).
    public func events(after: Int, limit: Int, sizeMax: Int) throws -> [StoredEvent] {
        try database.read { reader in
            var events: [StoredEvent] = []
            var size = 0
            try reader.each("SELECT seq, payload FROM event WHERE seq > \(after) ORDER BY seq LIMIT \(limit)") { row in
                let event = StoredEvent(seq: try row.integer(0), frame: try row.bytes(1))
                events.append(event)
                size += event.frame.count
                return size < sizeMax
            }
            return events
        }
    }

    /// The number that was given out last; 0 when none was.
    public func newest() throws -> Int {
        try database.read { reader in
            try reader.first("SELECT value FROM counter WHERE name = 'event'") { try $0.integer(0) } ?? 0
        }
    }

    /// The smallest number that is kept, or nil.
    public func oldest() throws -> Int? {
        try database.read { reader in
            try reader.first("SELECT min(seq) FROM event") { try $0.optionalInteger(0) } ?? nil
        }
    }

    /// Sets the counter to `number` if it is below. Returns where it stands.
    func raiseCounter(to number: Int) throws -> Int {
        try database.write { writer in
            try writer.run("UPDATE counter SET value = \(number) WHERE name = 'event' AND value < \(number)")
            let value = try writer.first("SELECT value FROM counter WHERE name = 'event'") { try $0.integer(0) }
            guard let value else { throw RepoError.corrupt("no event counter") }
            return value
        }
    }

    // MARK: Removing

    /// Events that one transaction removes, so that writers wait little.
    public static let trimBatch = 1_000

    /// Removes events of before `moment`, at most `trimBatch`. Returns how many went: call again until it is 0.
    public func trim(before moment: Timestamp) throws -> Int {
        let batch = Self.trimBatch
        return try database.write { writer in
            try writer.run(
                """
                DELETE FROM event WHERE seq IN (SELECT seq FROM event ORDER BY seq LIMIT \(batch))
                AND created_at < \(moment)
                """)
        }
    }

    /// Events that one transaction of `removeAll` looks at.
    static let removalBatch = 10_000

    /// Removes what the stream still holds of an account that is deleted, but the last event, which says so: nobody new
    /// may get it. Reads the window, from the newest event back, in transactions of bounded size.
    public func removeAll(of did: DID) throws {
        let did = did.sql
        let batch = Self.removalBatch
        var end = try newest() + 1
        var isLastSeen = false
        while true {
            let next = try database.write { writer -> (start: Int, isLastSeen: Bool)? in
                let start = try writer.first(
                    """
                    SELECT min(seq) FROM
                        (SELECT seq FROM event WHERE seq < \(end) ORDER BY seq DESC LIMIT \(batch)) AS batch
                    """
                ) { try $0.optionalInteger(0) }
                guard let start = start ?? nil else { return nil }
                var limit = end
                if !isLastSeen {
                    let last = try writer.first(
                        "SELECT max(seq) FROM event WHERE did = \(did) AND seq >= \(start) AND seq < \(end)"
                    ) { try $0.optionalInteger(0) }
                    guard let last = last ?? nil else { return (start, false) }
                    limit = last
                }
                try writer.run("DELETE FROM event WHERE did = \(did) AND seq >= \(start) AND seq < \(limit)")
                return (start, true)
            }
            guard let next else { return }
            (end, isLastSeen) = next
        }
    }
}
