internal import ATProto
internal import Base
internal import Storage

/// After a database was restored that is older than what is stored: blobs may have been moved since, or removed and
/// uploaded again, and their bytes have other names.
extension BlobStore {
    /// Gives blobs whose bytes are not where their rows say the bytes that are stored under another generation, in
    /// whichever place, once these were held against the CID. Returns how many blobs have their bytes again.
    ///
    /// Throws `BlobStorageError.notConfigured` and what the places throw.
    public func recover() throws -> Int {
        var count = 0
        for place in places.reachable {
            let storage = try places[place]
            try storage.eachName { name in
                guard let object = BlobObject(name: name), try !isKnown(object, in: place),
                    let lost = try lost(object.cid), try isWhole(object, in: storage)
                else { return }
                if try adopt(object, in: place, insteadOf: lost) { count += 1 }
            }
        }
        return count
    }

    /// What the rows say of a blob whose bytes are not there; nil when they are, or when nobody has the blob.
    private func lost(_ cid: CID) throws -> Lost? {
        let (isWanted, row) = try database.read { reader in
            (
                try Self.isNamed(cid, in: reader),
                try reader.first("SELECT place, generation FROM blob_object WHERE cid = \(cid.sql)") {
                    (place: try $0.blobPlace(0), object: BlobObject(cid: cid, generation: try $0.text(1)))
                }
            )
        }
        guard isWanted else { return nil }
        guard let row else { return .nowhere }
        return try places[row.place].size(of: row.object) == nil ? .gone(row.place, row.object) : nil
    }

    private enum Lost {
        case nowhere
        case gone(BlobPlace, BlobObject)
    }

    private func isWhole(_ object: BlobObject, in storage: any BlobStorage) throws -> Bool {
        guard let content = try storage.open(object, range: nil) else { return false }
        var hash = BlobHash()
        try content.read { hash.update($0) }
        return hash.cid == object.cid
    }

    /// False when the rows say something else by now.
    private func adopt(_ object: BlobObject, in place: BlobPlace, insteadOf lost: Lost) throws -> Bool {
        let generation = SQL.Value.text(object.generation)
        return try database.write { writer in
            switch lost {
            case .nowhere:
                return try writer.run(
                    """
                    INSERT INTO blob_object (cid, place, generation)
                    VALUES (\(object.cid.sql), \(place.sql), \(generation)) ON CONFLICT (cid) DO NOTHING
                    """) == 1
            case .gone(let oldPlace, let old):
                return try writer.run(
                    """
                    UPDATE blob_object SET place = \(place.sql), generation = \(generation)
                    WHERE cid = \(object.cid.sql) AND place = \(oldPlace.sql)
                    AND generation = \(SQL.Value.text(old.generation))
                    """) == 1
            }
        }
    }
}
