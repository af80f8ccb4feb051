internal import ATProto
public import Base
internal import Storage

/// How objects come and go: never in a transaction, and with a row that knows of them all the while.
extension BlobStore {
    /// How long storing one object may take; what is not somebody's by then is removed.
    static let reservationSeconds: Int64 = 3_600
    /// Objects that one call of `sweep` removes.
    static let sweepBatch = 200

    static func hasObject(_ cid: CID, in reader: any Reader) throws -> Bool {
        try reader.first("SELECT 1 FROM blob_object WHERE cid = \(cid.sql)") { _ in true } ?? false
    }

    /// Announces an object that is about to be stored where new blobs go.
    func reserve(_ object: BlobObject, in writer: any Writer) throws {
        let due = clock.now().adding(seconds: Self.reservationSeconds)
        try writer.run(
            """
            INSERT INTO blob_leftover (place, cid, generation, due_at, doomed)
            VALUES (\(places.target.sql), \(object.cid.sql), \(SQL.Value.text(object.generation)), \(due), 0)
            """)
    }

    /// Stores a reserved object where new blobs go, and runs `body` in the transaction that makes it the blob's.
    ///
    /// When another upload of the same bytes was faster the blob has that one's object. Whatever goes wrong, the object
    /// is removed, now or by `sweep`. Throws `BlobStorageError.tooLate`, and what the place and `body` throw.
    func store<Result>(
        _ object: BlobObject, _ file: BlobFile, _ body: (any Writer) throws -> Result
    ) throws -> Result {
        let place = places.target
        do {
            let storage = try places[place]
            try storage.put(object, file)
            let (isOwn, result) = try database.write { writer in
                let isOwn = try !Self.hasObject(object.cid, in: writer)
                if isOwn {
                    try keep(object, in: place, writer)
                    try writer.run(
                        """
                        INSERT INTO blob_object (cid, place, generation)
                        VALUES (\(object.cid.sql), \(place.sql), \(SQL.Value.text(object.generation)))
                        """)
                }
                return (isOwn, try body(writer))
            }
            if !isOwn { giveUp(object, in: place) }
            return result
        } catch {
            giveUp(object, in: place)
            throw error
        }
    }

    /// Ends the reservation of an object that becomes a blob's. Throws `BlobStorageError.tooLate`.
    func keep(_ object: BlobObject, in place: BlobPlace, _ writer: any Writer) throws {
        let kept = try writer.run(
            """
            DELETE FROM blob_leftover WHERE place = \(place.sql) AND cid = \(object.cid.sql)
            AND generation = \(SQL.Value.text(object.generation)) AND doomed = 0
            """)
        guard kept == 1 else { throw BlobStorageError.tooLate(object.cid) }
    }

    /// Removes an object that became nobody's. Best effort: what fails is left to `sweep`, by its reservation.
    func giveUp(_ object: BlobObject, in place: BlobPlace) {
        _ = try? removeDue([object], from: place, before: Timestamp(microseconds: .max))
    }

    /// Gives up the object of a blob if no account and no trash has it any more.
    func release(_ cid: CID, in writer: any Writer) throws {
        let object = try writer.first("SELECT place, generation FROM blob_object WHERE cid = \(cid.sql)") {
            (place: try $0.blobPlace(0), object: BlobObject(cid: cid, generation: try $0.text(1)))
        }
        guard let object, try !Self.isNamed(cid, in: writer) else { return }
        try writer.run("DELETE FROM blob_object WHERE cid = \(cid.sql)")
        try doom(object.object, in: object.place, at: clock.now(), writer)
    }

    /// An object that nobody has any more, to be removed once `due`.
    func doom(_ object: BlobObject, in place: BlobPlace, at due: Timestamp, _ writer: any Writer) throws {
        try writer.run(
            """
            INSERT INTO blob_leftover (place, cid, generation, due_at, doomed)
            VALUES (\(place.sql), \(object.cid.sql), \(SQL.Value.text(object.generation)), \(due), 1)
            """)
    }

    /// Whether any account, or its trash, has the blob.
    static func isNamed(_ cid: CID, in reader: any Reader) throws -> Bool {
        try reader.first(
            """
            SELECT 1 FROM blob WHERE cid = \(cid.sql) UNION ALL SELECT 1 FROM blob_trash WHERE cid = \(cid.sql) LIMIT 1
            """
        ) { _ in true } ?? false
    }

    /// Removes objects that nobody has any more and that are due, in every place. Returns how many went: call again
    /// until it is 0. Throws `BlobStorageError.notConfigured` and what a place throws; the others were swept then.
    public func sweep() throws -> Int {
        var (count, fault): (Int, (any Error)?) = (0, nil)
        for place in BlobPlace.allCases {
            do { count += try sweep(place) } catch { fault = error }
        }
        if let fault { throw fault }
        return count
    }

    /// `sweep` of one place.
    public func sweep(_ place: BlobPlace) throws -> Int {
        let (now, batch) = (clock.now(), Self.sweepBatch)
        let due = try database.read { reader in
            try reader.all(
                """
                SELECT cid, generation FROM blob_leftover WHERE due_at <= \(now) AND place = \(place.sql)
                ORDER BY due_at LIMIT \(batch)
                """
            ) { BlobObject(cid: try $0.cid(0), generation: try $0.text(1)) }
        }
        return due.isEmpty ? 0 : try removeDue(due, from: place, before: now)
    }

    private func removeDue(_ due: [BlobObject], from place: BlobPlace, before moment: Timestamp) throws -> Int {
        let storage = try places[place]
        // From here on nothing brings one of them back. Those that were kept meanwhile have no row any more.
        let doomed = try database.write { writer in
            try due.filter { object in
                try writer.run(
                    """
                    UPDATE blob_leftover SET doomed = 1, due_at = 0 WHERE place = \(place.sql)
                    AND cid = \(object.cid.sql) AND generation = \(SQL.Value.text(object.generation))
                    AND due_at <= \(moment)
                    """) == 1
            }
        }
        for object in doomed { try storage.remove(object) }
        try database.write { writer in
            for object in doomed {
                try writer.run(
                    """
                    DELETE FROM blob_leftover WHERE place = \(place.sql) AND cid = \(object.cid.sql)
                    AND generation = \(SQL.Value.text(object.generation))
                    """)
            }
        }
        return doomed.count
    }
}

extension BlobStore {
    /// How many objects are in a place.
    public func objectCount(in place: BlobPlace) throws -> Int {
        try database.first("SELECT count(*) FROM blob_object WHERE place = \(place.sql)") { try $0.integer(0) } ?? 0
    }

    /// How many objects are to be removed, or are just being stored.
    public func leftoverCount() throws -> Int {
        try database.first("SELECT count(*) FROM blob_leftover") { try $0.integer(0) } ?? 0
    }

    /// Stores a few bytes where new blobs go, reads them and removes them. Throws `BlobStorageError`, and what the
    /// place throws.
    public func probe(entropy: Entropy) throws {
        let upload = try begin(entropy: entropy)
        defer { upload.discard() }
        let bytes = try entropy.bytes(32)
        try bytes.withUnsafeBytes { try upload.write($0) }
        let sealed = try upload.seal()
        let object = BlobObject(cid: sealed.cid, generation: upload.name)
        try database.write { try reserve(object, in: $0) }
        defer { giveUp(object, in: places.target) }
        let storage = try places[places.target]
        try storage.put(object, BlobFile(upload, size: sealed.size, mimeType: MediaType.unknown))
        var hash = BlobHash()
        try storage.open(object, range: nil)?.read { hash.update($0) }
        guard hash.cid == object.cid else { throw BlobStorageError.wrongSize(object.cid) }
        try storage.remove(object)
    }
}

extension BlobPlace {
    var sql: SQL.Value { .text(Bytes(rawValue)) }
}

extension Row {
    /// Throws `RepoError.corrupt`.
    func blobPlace(_ column: Int) throws -> BlobPlace {
        guard let place = BlobPlace(rawValue: try text(column).description) else {
            throw RepoError.corrupt("place of a blob")
        }
        return place
    }
}
