public import Base
internal import Crypto
public import Storage

/// Which DPoP proofs and client assertions were used: each counts once, whichever process it comes to (RFC 9449 §11.1,
/// RFC 7523 §3).
///
/// A proof comes with every request, also those that only read, and a sync for each would cost them milliseconds. So
/// what is remembered of proofs needs no sync: it outlives processes, and where it can be lost (PostgreSQL's unlogged
/// tables after a crash, a SQLite file with `SQLiteDurability.process` after a restart of the machine) it is lost as a
/// whole, with the `epoch` beside it. Nonces are made with the epoch, and using a proof asks in the same statement
/// that the epoch still stands: after a loss every proof from before it is refused by its nonce. In a database where
/// every commit is synced all this holds too, more slowly.
public struct ReplayStore: Sendable {
    /// Who takes proofs. One does not know the other's.
    public enum Space: Int, Sendable, CaseIterable {
        case authorizationServer = 1
        case resourceServer = 2
    }

    /// Proofs that are remembered in one space: one more is refused, and none is forgotten before its time. Each is
    /// remembered for two to three minutes.
    public static let proofCountMax = 262_144
    /// Assertions that are remembered.
    public static let assertionCountMax = 65_536
    /// After a proof's end it is remembered for so long: another machine's clock may be behind.
    static let skewSeconds: Int64 = 60
    /// The most rows that one step of trimming looks at.
    public static let trimCountMax = 1_024
    /// Each so many uses the rows that are over are removed, so that there is no work for a timer to save up.
    static let trimEvery = 64
    private static let epochSize = 16
    /// 128 bits: who finds a second proof with the same digest has refused himself.
    private static let digestSize = 16
    /// Client assertions' own number, beside those of `Space`.
    private static let assertionSpace = 3

    private enum Table: String { case proofs = "dpop_replay", assertions = "assertion_replay" }

    private enum Outcome { case used, replayed, full, otherEpoch }

    private let database: any Database
    private let proofCountMax: Int

    /// `database` is the one of the service, or a file of `Migration.usedProofs`.
    public init(_ database: any Database) { self.init(database, proofCountMax: Self.proofCountMax) }

    init(_ database: any Database, proofCountMax: Int) {
        self.database = database
        self.proofCountMax = proofCountMax
    }

    /// What nonces are to be made with; the first who asks chooses it. Throws what the database throws.
    public func epoch(entropy: Entropy) throws -> Bytes {
        let find: SQL = "SELECT epoch FROM dpop_epoch"
        if let epoch = try database.first(find, { try $0.bytes(0) }) { return epoch }
        let fresh = try entropy.bytes(Self.epochSize)
        return try database.write { writer in
            try writer.run("INSERT INTO dpop_epoch (one, epoch) VALUES (1, \(fresh)) ON CONFLICT (one) DO NOTHING")
            return try writer.first(find) { try $0.bytes(0) } ?? Bytes(fresh)
        }
    }

    /// Ends the epoch: every nonce that was given out is void, and clients ask for another. For a database that came
    /// back from a backup, whose memory of used proofs is older than its nonces.
    public static func endEpoch(in writer: any Writer) throws { try writer.run("DELETE FROM dpop_epoch") }

    /// Marks `proof` as used. When this returns, no other call for the same key and identifier will.
    ///
    /// Throws `invalidDPoPProof` when it was used before, `useDPoPNonce` when the epoch of its nonce is over,
    /// `temporarilyUnavailable` when there are too many proofs to remember, and what the database throws.
    public func use(_ proof: DPoPProof, in space: Space, now: Timestamp) throws {
        let digest = Self.digest(space.rawValue, proof.thumbprint, proof.identifier)
        let outcome = try database.write { writer in
            try Self.insert(
                digest, space.rawValue, .proofs, epoch: proof.epoch, until: proof.usableUntil, now: now,
                countMax: proofCountMax, in: writer)
        }
        switch outcome {
        case .used: return
        case .replayed: throw AuthorizationError(.invalidDPoPProof, "DPoP proof: it was used before")
        case .otherEpoch: throw AuthorizationError(.useDPoPNonce, "The nonce is not a current one of this server")
        case .full: throw Self.full
        }
    }

    /// Marks `assertion` as used, in the transaction that does what it was sent for: a request that fails has not used
    /// it. `writer` is of the service's own database.
    ///
    /// Throws `invalidClient` when it was used before, `temporarilyUnavailable` when there are too many to remember.
    public static func use(_ assertion: ClientAssertion, now: Timestamp, in writer: any Writer) throws {
        let digest = digest(assertionSpace, assertion.key.thumbprint, assertion.identifier)
        let outcome = try insert(
            digest, assertionSpace, .assertions, epoch: nil, until: assertion.usableUntil, now: now,
            countMax: assertionCountMax, in: writer)
        switch outcome {
        case .used: return
        case .replayed: throw AuthorizationError(.invalidClient, "Client assertion: it was used before")
        case .full, .otherEpoch: throw full
        }
    }

    private static var full: AuthorizationError {
        AuthorizationError(.temporarilyUnavailable, "Too many requests at present")
    }

    /// Both parts before the identifier have a fixed length, so that no two triples make one text.
    private static func digest(_ space: Int, _ thumbprint: Bytes, _ identifier: Bytes) -> Bytes {
        Bytes(SHA256.hash(Bytes(String(space)) + thumbprint + identifier).bytes).upTo(digestSize)
    }

    /// `until` and the skew bound how long the row lives. Ids are given out here, by one writer at a time, and only to
    /// rows that are kept: the distance from the first to the last is never less than the count of rows.
    private static func insert(
        _ digest: Bytes, _ space: Int, _ table: Table, epoch: Bytes?, until: Timestamp, now: Timestamp, countMax: Int,
        in writer: any Writer
    ) throws -> Outcome {
        let expires = until.adding(seconds: skewSeconds)
        let row: SQL = """
            INSERT INTO \(table: table.rawValue) (space, id, digest, expires_at)
            SELECT \(space), last.id + 1, \(digest), \(expires)
            FROM (SELECT coalesce(max(id), 0) AS id FROM \(table: table.rawValue) WHERE space = \(space)) AS last,
                (SELECT coalesce(min(id), 1) AS id FROM \(table: table.rawValue) WHERE space = \(space)) AS first
            WHERE last.id - first.id + 1 < \(countMax)\(epochCondition: epoch)
            ON CONFLICT (digest) DO NOTHING RETURNING id
            """
        if let id = try writer.first(row, { try $0.integer(0) }) {
            if id % trimEvery == 0 { try trim(space, table, now: now, in: writer) }
            return .used
        }
        let find: SQL = "SELECT 1 FROM \(table: table.rawValue) WHERE digest = \(digest)"
        if try writer.first(find, { try $0.integer(0) }) != nil { return .replayed }
        if let epoch {
            let same: SQL = "SELECT 1 FROM dpop_epoch WHERE epoch = \(epoch)"
            guard try writer.first(same, { try $0.integer(0) }) != nil else { return .otherEpoch }
        }
        // What is over may be all that stands in the way; the next one finds the room.
        try trim(space, table, now: now, in: writer)
        return .full
    }

    /// Removes rows that are over among the oldest `trimCountMax`; never one that is not.
    @discardableResult
    private static func trim(_ space: Int, _ table: Table, now: Timestamp, in writer: any Writer) throws -> Int {
        try writer.run(
            """
            DELETE FROM \(table: table.rawValue) WHERE space = \(space) AND expires_at <= \(now) AND id <
                (SELECT min(id) FROM \(table: table.rawValue) WHERE space = \(space)) + \(trimCountMax)
            """)
    }

    /// Removes proofs that are over, at most `trimCountMax` in each space; returns how many. For a timer.
    public func trim(now: Timestamp) throws -> Int {
        try database.write { writer in
            try Space.allCases.reduce(0) { try $0 + Self.trim($1.rawValue, .proofs, now: now, in: writer) }
        }
    }

    /// Removes assertions that are over, at most `trimCountMax`; returns how many. For a timer.
    public static func trimAssertions(now: Timestamp, in database: any Database) throws -> Int {
        try database.write { try trim(assertionSpace, .assertions, now: now, in: $0) }
    }
}

extension SQL.Interpolation {
    /// A table's name, one of this file's.
    fileprivate mutating func appendInterpolation(table: String) { appendLiteral(table) }

    /// Nothing, or that `epoch` is the one that stands.
    fileprivate mutating func appendInterpolation(epochCondition epoch: Bytes?) {
        guard let epoch else { return }
        appendLiteral(" AND EXISTS (SELECT 1 FROM dpop_epoch WHERE epoch = ")
        appendInterpolation(epoch)
        appendLiteral(")")
    }
}
