internal import ATProto
public import Base
internal import Storage

/// Moving the bytes of blobs from one place to another, while everything runs.
extension BlobStore {
    /// How long the old copy stays: an answer that is under way is still read from it.
    static let movedSeconds: Int64 = 3_600
    /// Rows that one statement fetches.
    private static let moveBatch = 100

    /// How far a move is.
    public struct MoveProgress: Sendable, Equatable {
        public var moved = 0
        public var bytes = 0
        /// Those that could not be moved, each of which was reported.
        public var left = 0
        /// Objects that were to be moved at the beginning.
        public var all = 0
    }

    /// Moves every object that is not in `target` there: copied, held against its CID, and only then given up where it
    /// was. Can be broken off and begun again at any time. `found` hears of objects that are missing or damaged,
    /// which stay as they are.
    ///
    /// New uploads go where the settings say. Throws `BlobStorageError.notConfigured`, and what the places throw.
    public func move(
        entropy: Entropy, progress: (MoveProgress) -> Void, _ found: (Problem) throws -> Void
    ) throws -> MoveProgress {
        _ = try places[places.target]
        var state = MoveProgress()
        state.all =
            try database.first("SELECT count(*) FROM blob_object WHERE place <> \(places.target.sql)") {
                try $0.integer(0)
            } ?? 0
        var after = Bytes()
        while true {
            let batch = Self.moveBatch
            let rows = try database.read { reader in
                try reader.all(
                    """
                    SELECT cid, place, generation FROM blob_object
                    WHERE place <> \(places.target.sql) AND cid > \(after) ORDER BY cid LIMIT \(batch)
                    """
                ) { row in
                    (place: try row.blobPlace(1), object: BlobObject(cid: try row.cid(0), generation: try row.text(2)))
                }
            }
            for row in rows {
                if let size = try move(row.object, from: row.place, entropy, found) {
                    state.moved += 1
                    state.bytes += size
                } else {
                    state.left += 1
                }
                progress(state)
            }
            guard rows.count == batch, let last = rows.last else { return state }
            after = Bytes(last.object.cid.bytes)
        }
    }

    /// Returns the object's size, or nil when it stays.
    private func move(
        _ object: BlobObject, from place: BlobPlace, _ entropy: Entropy, _ found: (Problem) throws -> Void
    ) throws -> Int? {
        let owner = try database.first(
            "SELECT did, mime_type FROM blob WHERE cid = \(object.cid.sql) ORDER BY did LIMIT 1"
        ) { (did: try $0.did(0), mimeType: try $0.text(1)) }
        guard let content = try places[place].open(object, range: nil) else {
            // Removed or moved by somebody else since; or really gone.
            if try isObject(object, in: place), let owner { try found(.missing(owner.did, object.cid)) }
            return nil
        }
        let copy = try BlobUpload(in: uploads, sizeMax: .max, entropy: entropy)
        defer { copy.discard() }
        try content.read { try copy.write($0) }
        guard let sealed = try? copy.seal(), sealed.cid == object.cid else {
            try found(.damaged(object.cid))
            return nil
        }
        let new = BlobObject(cid: object.cid, generation: copy.name)
        try database.write { try reserve(new, in: $0) }
        let file = BlobFile(copy, size: sealed.size, mimeType: owner?.mimeType ?? MediaType.unknown)
        do {
            try places[places.target].put(new, file)
            try database.write { try replace(object, in: place, by: new, $0) }
        } catch {
            giveUp(new, in: places.target)
            throw error
        }
        return sealed.size
    }

    /// Makes `new` the blob's object. Should the old one have gone meanwhile, `new` is doomed instead.
    private func replace(
        _ object: BlobObject, in place: BlobPlace, by new: BlobObject, _ writer: any Writer
    ) throws {
        let now = clock.now()
        try keep(new, in: places.target, writer)
        let replaced = try writer.run(
            """
            UPDATE blob_object SET place = \(places.target.sql), generation = \(SQL.Value.text(new.generation))
            WHERE cid = \(object.cid.sql) AND place = \(place.sql)
            AND generation = \(SQL.Value.text(object.generation))
            """)
        if replaced == 1 {
            try doom(object, in: place, at: now.adding(seconds: Self.movedSeconds), writer)
        } else {
            try doom(new, in: places.target, at: now, writer)
        }
    }

    private func isObject(_ object: BlobObject, in place: BlobPlace) throws -> Bool {
        try database.first(
            """
            SELECT 1 FROM blob_object WHERE cid = \(object.cid.sql) AND place = \(place.sql)
            AND generation = \(SQL.Value.text(object.generation))
            """
        ) { _ in true } ?? false
    }
}
