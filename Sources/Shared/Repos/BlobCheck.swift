public import ATProto
public import Base
internal import Storage

/// Holding rows against what is stored.
extension BlobStore {
    /// What a check of blobs found wrong.
    public enum Problem: Sendable, Equatable {
        /// A blob whose bytes are not there.
        case missing(DID, CID)
        /// Bytes that are not what their name says.
        case damaged(CID)
        /// A blob with another size than its bytes.
        case size(DID, CID)
        /// Something stored that belongs to no blob, by its name in the place.
        case unnamed(BlobPlace, Bytes)
        /// What the account's blobs are said to take up is not what they do.
        case storageUse(DID, stored: Int, counted: Int)
    }

    /// Rows that one statement fetches.
    private static let checkBatch = 500

    private struct Row: Equatable {
        let did: DID
        let cid: CID
        let size: Int
        let place: BlobPlace?
        let object: BlobObject?
    }

    /// Holds every blob against its object and everything that is stored against the rows; with `hashing`, reads each
    /// object once for each blob and hashes it. `progress` hears of how many blobs were looked at and of how many there
    /// are.
    ///
    /// What is uploaded, removed or moved meanwhile is no problem: what looks like one is looked at again. Throws
    /// `BlobStorageError.notConfigured` and what the places throw.
    public func check(
        hashing: Bool, progress: (_ done: Int, _ all: Int) -> Void, _ found: (Problem) throws -> Void
    ) throws {
        let all = try database.read { try $0.first("SELECT count(*) FROM blob") { try $0.integer(0) } } ?? 0
        var (done, did, cid) = (0, Bytes(), Bytes())
        while true {
            let rows = try rows(after: did, cid)
            for row in rows {
                if let problem = try look(at: row, hashing: hashing), try isStill(row) { try found(problem) }
                done += 1
            }
            progress(done, all)
            guard rows.count == Self.checkBatch, let last = rows.last else { break }
            (did, cid) = (last.did.bytes, Bytes(last.cid.bytes))
        }
        try checkObjects(found)
        for place in places.reachable { try checkNames(of: place, found) }
        try checkUse(found)
    }

    private func rows(after did: Bytes, _ cid: Bytes) throws -> [Row] {
        let batch = Self.checkBatch
        return try database.read { reader in
            try reader.all(
                """
                SELECT did, blob.cid, size, place, generation
                FROM blob LEFT JOIN blob_object ON blob_object.cid = blob.cid
                WHERE (did, blob.cid) > (\(SQL.Value.text(did)), \(cid)) ORDER BY did, blob.cid LIMIT \(batch)
                """
            ) { row in
                let cid = try row.cid(1)
                let generation = try row.optionalText(4)
                return Row(
                    did: try row.did(0), cid: cid, size: try row.integer(2),
                    place: generation == nil ? nil : try row.blobPlace(3),
                    object: generation.map { BlobObject(cid: cid, generation: $0) })
            }
        }
    }

    private func look(at row: Row, hashing: Bool) throws -> Problem? {
        guard let place = row.place, let object = row.object else { return .missing(row.did, row.cid) }
        let storage = try places[place]
        guard hashing else {
            guard let size = try storage.size(of: object) else { return .missing(row.did, row.cid) }
            return size == row.size ? nil : .size(row.did, row.cid)
        }
        guard let content = try storage.open(object, range: nil) else { return .missing(row.did, row.cid) }
        if content.size != row.size { return .size(row.did, row.cid) }
        var hash = BlobHash()
        try content.read { hash.update($0) }
        return hash.cid == row.cid ? nil : .damaged(row.cid)
    }

    /// Whether the blob is there and its bytes are where they were.
    private func isStill(_ row: Row) throws -> Bool {
        let now = try database.read { reader in
            try reader.first(
                """
                SELECT place, generation FROM blob LEFT JOIN blob_object ON blob_object.cid = blob.cid
                WHERE did = \(row.did.sql) AND blob.cid = \(row.cid.sql)
                """
            ) { (place: try $0.optionalText(0), generation: try $0.optionalText(1)) }
        }
        guard let now else { return false }
        return now.generation == row.object?.generation && now.place == row.place.map { Bytes($0.rawValue) }
    }

    /// Objects that a row knows of although no blob does.
    private func checkObjects(_ found: (Problem) throws -> Void) throws {
        let idle = try database.read { reader in
            try reader.all(
                """
                SELECT cid, place, generation FROM blob_object o
                WHERE NOT EXISTS (SELECT 1 FROM blob b WHERE b.cid = o.cid)
                AND NOT EXISTS (SELECT 1 FROM blob_trash t WHERE t.cid = o.cid) LIMIT 1000
                """
            ) { row in
                (place: try row.blobPlace(1), object: BlobObject(cid: try row.cid(0), generation: try row.text(2)))
            }
        }
        for (place, object) in idle { try found(.unnamed(place, object.name)) }
    }

    private func checkNames(of place: BlobPlace, _ found: (Problem) throws -> Void) throws {
        let storage = try places[place]
        try storage.eachName { name in
            guard let object = BlobObject(name: name) else { return try found(.unnamed(place, name)) }
            guard try !isKnown(object, in: place) else { return }
            // Removed between the two looks.
            if try storage.size(of: object) != nil { try found(.unnamed(place, name)) }
        }
    }

    /// One moment of both tables: an object goes from one to the other in one transaction.
    func isKnown(_ object: BlobObject, in place: BlobPlace) throws -> Bool {
        let generation = SQL.Value.text(object.generation)
        return try database.first(
            """
            SELECT 1 FROM blob_object
            WHERE place = \(place.sql) AND cid = \(object.cid.sql) AND generation = \(generation)
            UNION ALL
            SELECT 1 FROM blob_leftover
            WHERE place = \(place.sql) AND cid = \(object.cid.sql) AND generation = \(generation)
            """
        ) { _ in true } ?? false
    }

    private func checkUse(_ found: (Problem) throws -> Void) throws {
        let wrong = try database.read { reader in
            try reader.all(
                """
                SELECT did, stored, counted FROM (
                    SELECT did, blob_bytes AS stored, CAST(
                        (SELECT coalesce(sum(size), 0) FROM blob WHERE blob.did = repo.did) AS BIGINT) AS counted
                    FROM repo) AS used
                WHERE stored <> counted LIMIT 1000
                """
            ) { (did: try $0.did(0), stored: try $0.integer(1), counted: try $0.integer(2)) }
        }
        for row in wrong { try found(.storageUse(row.did, stored: row.stored, counted: row.counted)) }
    }
}
