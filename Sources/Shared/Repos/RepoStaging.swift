internal import ATProto
internal import Base
internal import Storage

/// A repository that is being built aside, under an id that nobody reads yet.
final class RepoStaging {
    private let repos: RepoStore
    /// The repository as it was when this began: what `publish` replaces, if it still is so.
    private let old: RepoState
    private let id: Int
    /// The revision of the commit that `publish` makes, and hence of every row.
    private let rev: TID
    private var root: CID?
    private var rows = StagedRows()
    /// Bytes of all records so far.
    private var size = 0

    /// Rows and bytes of one transaction: a few milliseconds, which other writers wait at most.
    private static let batchCountMax = 300
    private static let batchSizeMax = 256 << 10

    /// Throws `RepoError.repoNotFound`. `foreign` is a revision that the new one should be later than.
    init(_ repos: RepoStore, did: DID, after foreign: TID?) throws {
        self.repos = repos
        let now = repos.clock.now()
        (old, id) = try repos.database.write { writer in
            let old = try RepoState.find(did, writer)
            let id = try RepoStore.newID(in: writer)
            try writer.run("UPDATE repo_part SET due_at = 0 WHERE did = \(did.sql)")
            try writer.run(
                """
                INSERT INTO repo_part (repo, did, due_at)
                VALUES (\(id), \(did.sql), \(now.adding(seconds: RepoImporter.idleSeconds)))
                """)
            return (old, id)
        }
        // As far ahead of the clock as relays let a revision be (https://atproto.com/specs/sync, five minutes).
        let latest = now.adding(seconds: 300)
        var after = old.rev
        if let foreign, foreign > after, foreign.timestamp < latest { after = foreign }
        rev = try repos.nextRev(after: after)
    }

    // MARK: Adding

    /// Adds a node of the tree. The first one is the root.
    func add(_ cid: CID, _ block: Bytes) throws {
        if root == nil { root = cid }
        rows.nodes.append((cid, block))
        rows.size += block.count
        try flushIfFull()
    }

    /// Adds a record. They come in key order.
    func add(_ record: StagedRecord) throws {
        rows.records.append(record)
        rows.size += record.bytes.count
        size += record.bytes.count
        if let hard = repos.quota.hard, size > hard { throw RepoError.quotaExceeded(max: hard) }
        try flushIfFull()
    }

    private func flushIfFull() throws {
        if rows.count >= Self.batchCountMax || rows.size >= Self.batchSizeMax { try flush() }
    }

    private func flush() throws {
        let (rows, id, rev) = (rows, id, rev)
        let due = repos.clock.now().adding(seconds: RepoImporter.idleSeconds)
        try repos.database.write { writer in
            // What `collect` has begun to remove must not be added to.
            let kept = try writer.run("UPDATE repo_part SET due_at = \(due) WHERE repo = \(id) AND due_at > 0")
            guard kept == 1 else { throw RepoImportError.abandoned }
            try rows.store(repo: id, rev: rev, in: writer)
        }
        self.rows = StagedRows()
    }

    // MARK: Ending

    /// Puts what was added in the repository's place, in one transaction with its commit and, when it is active, its
    /// event. Throws `RepoImportError.repoChanged` when the repository is no longer what it was.
    func publish() throws -> CommitInfo {
        try flush()
        guard let root else { throw RepoError.corrupt("an import without a tree") }
        let (repos, old, id, rev, size) = (repos, old, id, rev, size)
        return try repos.database.write { writer in
            let state: RepoState
            do { state = try RepoState.find(old.did, writer) } catch RepoError.repoNotFound {
                throw RepoImportError.repoChanged
            }
            guard state.id == old.id, state.commit == old.commit else { throw RepoImportError.repoChanged }
            // The ids change places: what is left over is the old one's, and due.
            let kept = try writer.run(
                "UPDATE repo_part SET repo = \(old.id), due_at = 0 WHERE repo = \(id) AND due_at > 0")
            guard kept == 1 else { throw RepoImportError.abandoned }
            let commit = try SignedCommit(old.did, rev, root, try repos.keys(old.did, writer))
            try writer.run("UPDATE repo SET id = \(id), record_bytes = \(size) WHERE id = \(old.id)")
            // A takedown of a record holds whatever stands at its path.
            try writer.run("UPDATE record_takedown SET repo = \(id) WHERE repo = \(old.id)")
            try repos.quota.check(old.did, growth: size, in: writer)
            try repos.move(state.renumbered(id), to: commit, data: root, in: writer)
            try Self.settleBlobs(of: old.did, repo: id, now: repos.clock.now(), in: writer)
            if state.status == .active {
                try repos.events.appendSync(old.did, commit: commit.info, block: Bytes(commit.block), in: writer)
            }
            return commit.info
        }
    }

    /// Blobs that the new records name are kept; those that only the old ones named go after their grace.
    private static func settleBlobs(of did: DID, repo: Int, now: Timestamp, in writer: any Writer) throws {
        try writer.run(
            """
            UPDATE blob SET temporary = 0 WHERE did = \(did.sql) AND temporary = 1
            AND EXISTS (SELECT 1 FROM blob_reference r WHERE r.repo = \(repo) AND r.cid = blob.cid)
            """)
        try writer.run(
            """
            UPDATE blob SET temporary = 1, created_at = \(now) WHERE did = \(did.sql) AND temporary = 0
            AND NOT EXISTS (SELECT 1 FROM blob_reference r WHERE r.repo = \(repo) AND r.cid = blob.cid)
            """)
    }

    /// Gives up: removes what was stored.
    func discard() throws {
        let parts = RepoParts(repos.database)
        try parts.condemn(id)
        while try parts.remove(id) > 0 {}
    }
}

/// Rows of one batch.
private struct StagedRows {
    var records: [StagedRecord] = []
    var nodes: [(cid: CID, block: Bytes)] = []
    /// Bytes of their blocks.
    var size = 0

    var count: Int { records.count + nodes.count }

    func store(repo: Int, rev: TID, in writer: any Writer) throws {
        let rev = rev.sql
        try Self.insert(
            "INSERT INTO record (repo, key, cid, rev, value) VALUES ",
            records.map { [repo.sqlValue, $0.path.bytes.sqlValue, $0.cid.sql, rev, $0.bytes.sqlValue] }, in: writer)
        try Self.insert(
            "INSERT INTO mst_node (repo, cid, rev, bytes) VALUES ",
            nodes.map { [repo.sqlValue, $0.cid.sql, rev, $0.block.sqlValue] }, in: writer)
        try Self.insert(
            "INSERT INTO backlink (repo, collection, subject, key) VALUES ",
            records.compactMap { record in
                record.subject.map { subject in
                    [repo.sqlValue, record.path.collection.sql, .text(subject), record.path.bytes.sqlValue]
                }
            }, in: writer)
        try Self.insert(
            "INSERT INTO blob_reference (repo, cid, key, rev) VALUES ",
            records.flatMap { record in
                record.blobs.map { [repo.sqlValue, $0.sql, record.path.bytes.sqlValue, rev] }
            }, in: writer)
    }

    /// Rows of one statement: few texts for the engines to prepare, few round trips.
    private static let statementRows = 64

    private static func insert(_ head: String, _ rows: [[SQL.Value]], in writer: any Writer) throws {
        var rest = rows[...]
        while let first = rest.first {
            let count = rest.count >= statementRows ? statementRows : 1
            var sql = SQL.StringInterpolation(literalCapacity: 512, interpolationCount: count * first.count)
            sql.appendLiteral(head)
            for (position, row) in rest.prefix(count).enumerated() {
                sql.appendLiteral(position == 0 ? "(" : ", (")
                for (column, value) in row.enumerated() {
                    if column > 0 { sql.appendLiteral(", ") }
                    sql.appendInterpolation(value)
                }
                sql.appendLiteral(")")
            }
            try writer.run(SQL(stringInterpolation: sql))
            rest = rest.dropFirst(count)
        }
    }
}

/// Rows of ids that no repository has (table `repo_part`), and their removal in bounded steps.
struct RepoParts {
    private let database: any Database

    /// Rows that one transaction removes.
    static let batch = 1_000

    init(_ database: any Database) { self.database = database }

    /// Nothing is to be added to `id` or made of it any more.
    func condemn(_ id: Int) throws {
        try database.write { writer in _ = try writer.run("UPDATE repo_part SET due_at = 0 WHERE repo = \(id)") }
    }

    /// Removes rows of an id that is condemned, at most `batch` of each table. Returns how many; the last call removes
    /// the id itself and returns 0.
    func remove(_ id: Int) throws -> Int {
        let batch = Self.batch
        return try database.write { writer in
            let removed =
                try writer.run(
                    """
                    DELETE FROM record WHERE repo = \(id) AND key IN
                    (SELECT key FROM record WHERE repo = \(id) ORDER BY key LIMIT \(batch))
                    """)
                + writer.run(
                    """
                    DELETE FROM mst_node WHERE repo = \(id) AND cid IN
                    (SELECT cid FROM mst_node WHERE repo = \(id) ORDER BY cid LIMIT \(batch))
                    """)
                + writer.run(
                    """
                    DELETE FROM mst_pack WHERE repo = \(id) AND rev IN
                    (SELECT rev FROM mst_pack WHERE repo = \(id) ORDER BY rev LIMIT \(batch))
                    """)
                + writer.run(
                    """
                    DELETE FROM backlink WHERE repo = \(id) AND (collection, subject, key) IN
                    (SELECT collection, subject, key FROM backlink WHERE repo = \(id)
                        ORDER BY collection, subject, key LIMIT \(batch))
                    """)
                + writer.run(
                    """
                    DELETE FROM blob_reference WHERE repo = \(id) AND (cid, key) IN
                    (SELECT cid, key FROM blob_reference WHERE repo = \(id) ORDER BY cid, key LIMIT \(batch))
                    """)
            if removed == 0 { try writer.run("DELETE FROM repo_part WHERE repo = \(id)") }
            return removed
        }
    }

    /// Removes rows of one id that is due. Returns how much, at least 1 while there is anything that is due.
    func collect(now: Timestamp) throws -> Int {
        let due = try database.write { writer in
            let id = try writer.first("SELECT repo FROM repo_part WHERE due_at <= \(now) ORDER BY due_at LIMIT 1") {
                try $0.integer(0)
            }
            if let id { try writer.run("UPDATE repo_part SET due_at = 0 WHERE repo = \(id)") }
            return id
        }
        guard let due else { return 0 }
        return max(1, try remove(due))
    }
}
