internal import ATProto
internal import Base
internal import Storage

/// What a commit does to one record.
struct RecordChange {
    let path: RepoPath
    let before: CID?
    let after: RecordBlock?
}

/// A record of `path` points at `subject`, and should be the only one of its collection.
struct RecordLink {
    let path: RepoPath
    let subject: Bytes

    /// The keys of other records that do.
    func older(in repo: Int, _ reader: any Reader) throws -> [Bytes] {
        let collection = path.collection.bytes
        return try reader.all(
            """
            SELECT key FROM backlink WHERE repo = \(repo) AND collection = \(SQL.Value.text(collection))
            AND subject = \(SQL.Value.text(subject))
            """
        ) { try $0.bytes(0) }.filter { $0 != path.bytes }
    }
}

/// A batch of writes on its way to becoming a commit.
struct RecordChanges {
    /// The keys of the records that a link must take the place of.
    typealias LinkSource = (RecordLink) throws -> [Bytes]

    private let links: LinkSource?
    var tree: MST

    /// Links for which it was taken that there is no older one, because nobody could be asked.
    private(set) var assumedLinks: [RecordLink] = []
    /// Each record that was touched, in the order of the first touch.
    private var changes: [RecordChange] = []
    private var places: [Bytes: Int] = [:]
    /// The record of this batch that points at each subject.
    private var subjects: [Subject: RepoPath] = [:]

    private struct Subject: Hashable {
        let collection: Bytes
        let subject: Bytes
    }

    init(tree: MST, links: LinkSource?) {
        self.tree = tree
        self.links = links
    }

    /// What is other than before the batch.
    var net: [RecordChange] { changes.filter { $0.before != $0.after?.cid } }

    /// Does one write. Returns the CID of the record that is there afterwards.
    mutating func apply(_ write: RecordWrite) throws -> CID? {
        let current = try tree.get(write.path.bytes)
        // What is gone already is as the caller wants it, whatever they took it for.
        if current == nil, case .deleteIfPresent = write.action { return nil }
        switch write.expectation {
        case .anything: break
        case .nothing: if current != nil { throw RepoError.recordSwap(current: current) }
        case .record(let cid): if current != cid { throw RepoError.recordSwap(current: current) }
        }
        switch write.action {
        case .create(let record):
            guard current == nil else { throw RepoError.recordExists(write.path.bytes) }
            try replaceOlder(record)
            return try set(write.path, to: record)
        case .update(let record):
            guard current != nil else { throw RepoError.recordNotFound(write.path.bytes) }
            return try set(write.path, to: record)
        case .put(let record):
            if current == nil { try replaceOlder(record) }
            return try set(write.path, to: record)
        case .delete:
            guard current != nil else { throw RepoError.recordNotFound(write.path.bytes) }
            return try set(write.path, to: nil)
        case .deleteIfPresent:
            return try set(write.path, to: nil)
        }
    }

    private mutating func set(_ path: RepoPath, to record: RecordBlock?) throws -> CID? {
        let before: CID?
        if let record { before = try tree.put(path.bytes, record.cid) } else { before = try tree.remove(path.bytes) }
        if let place = places[path.bytes] {
            changes[place] = RecordChange(path: path, before: changes[place].before, after: record)
        } else {
            places[path.bytes] = changes.count
            changes.append(RecordChange(path: path, before: before, after: record))
        }
        return record?.cid
    }

    /// Takes out what points at the same subject already.
    private mutating func replaceOlder(_ record: RecordBlock) throws {
        guard let text = record.subject else { return }
        let subject = Subject(collection: record.path.collection.bytes, subject: text)
        let link = RecordLink(path: record.path, subject: text)
        if links == nil { assumedLinks.append(link) }
        var older = try (links?(link) ?? []).map { key in
            guard let path = RepoPath(key) else { throw RepoError.corrupt("key of a backlink") }
            return path
        }
        if let path = subjects[subject] { older.append(path) }
        for path in older where path != record.path {
            // Gone already, by an earlier write of this batch.
            guard try tree.get(path.bytes) != nil else { continue }
            _ = try set(path, to: nil)
        }
        subjects[subject] = record.path
    }
}

/// Writes the rows of a commit's records: records, backlinks, blob references.
struct RecordRows {
    let state: RepoState
    let rev: TID
    let now: Timestamp
    let writer: any Writer

    func store(_ changes: [RecordChange]) throws {
        var orphans: Set<CID> = []
        for change in changes {
            if change.before != nil { orphans.formUnion(try clear(change)) }
            if let record = change.after { try insert(record) }
        }
        for cid in orphans { try release(cid) }
    }

    /// Removes what hangs on a record's old value. Returns the blobs that it named.
    private func clear(_ change: RecordChange) throws -> [CID] {
        let key = change.path.bytes
        try clearBacklink(change.path)
        if change.after == nil {
            try writer.run("DELETE FROM record WHERE repo = \(state.id) AND key = \(key)")
        }
        let blobs = try writer.all("SELECT cid FROM blob_reference WHERE repo = \(state.id) AND key = \(key)") {
            try $0.cid(0)
        }
        if !blobs.isEmpty {
            try writer.run("DELETE FROM blob_reference WHERE repo = \(state.id) AND key = \(key)")
        }
        return blobs
    }

    private func clearBacklink(_ path: RepoPath) throws {
        guard RecordBlock.hasSubject(path.collection) else { return }
        let old = try writer.first("SELECT value FROM record WHERE repo = \(state.id) AND key = \(path.bytes)") {
            try $0.bytes(0)
        }
        guard let old, let value = try? DAGCBOR.decode(old),
            let subject = RecordBlock.subject(of: value, in: path.collection)
        else { return }
        try writer.run(
            """
            DELETE FROM backlink WHERE repo = \(state.id) AND collection = \(path.collection.sql)
            AND subject = \(SQL.Value.text(subject)) AND key = \(path.bytes)
            """)
    }

    private func insert(_ record: RecordBlock) throws {
        let key = record.path.bytes
        try writer.run(
            """
            INSERT INTO record (repo, key, cid, rev, value)
            VALUES (\(state.id), \(key), \(record.cid.sql), \(rev.sql), \(record.bytes))
            ON CONFLICT (repo, key) DO UPDATE SET cid = excluded.cid, rev = excluded.rev, value = excluded.value
            """)
        if let subject = record.subject {
            try writer.run(
                """
                INSERT INTO backlink (repo, collection, subject, key)
                VALUES (\(state.id), \(record.path.collection.sql), \(SQL.Value.text(subject)), \(key))
                ON CONFLICT (repo, collection, subject, key) DO NOTHING
                """)
        }
        for blob in record.blobs { try claim(blob, key) }
    }

    /// Ties a blob to the record that names it: from then on it is kept and served.
    private func claim(_ blob: BlobReference, _ key: Bytes) throws {
        let row = try writer.first(
            "SELECT mime_type, size, temporary FROM blob WHERE did = \(state.did.sql) AND cid = \(blob.cid.sql)"
        ) { (mimeType: try $0.text(0), size: try $0.integer(1), isTemporary: try $0.bool(2)) }
        guard let row, try !TakedownStore.isTakenDown(blob.cid, of: state.did, in: writer) else {
            throw RepoError.blobNotFound(blob.cid)
        }
        guard row.mimeType == blob.mimeType else {
            throw RepoError.invalidMimeType(blob.cid, expected: row.mimeType)
        }
        guard row.size == blob.size else { throw RepoError.invalidSize(blob.cid, expected: row.size) }
        if row.isTemporary {
            try writer.run(
                "UPDATE blob SET temporary = 0 WHERE did = \(state.did.sql) AND cid = \(blob.cid.sql)")
        }
        try writer.run(
            """
            INSERT INTO blob_reference (repo, cid, key, rev)
            VALUES (\(state.id), \(blob.cid.sql), \(key), \(rev.sql)) ON CONFLICT (repo, cid, key) DO NOTHING
            """)
    }

    /// A blob that no record names any more is no longer served, and goes with the next purge after its grace.
    private func release(_ cid: CID) throws {
        let isUsed = try writer.first(
            "SELECT 1 FROM blob_reference WHERE repo = \(state.id) AND cid = \(cid.sql) LIMIT 1"
        ) { _ in true }
        if isUsed == true { return }
        try writer.run(
            """
            UPDATE blob SET temporary = 1, created_at = \(now)
            WHERE did = \(state.did.sql) AND cid = \(cid.sql)
            """)
    }
}
