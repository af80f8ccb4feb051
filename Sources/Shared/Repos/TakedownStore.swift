public import ATProto
public import Base
public import Storage

/// A record or blob that is not shown.
public struct ContentTakedown: Sendable, Equatable {
    /// The version of the record that was judged, where somebody said which.
    public let cid: CID?
    /// What the moderation service calls its decision.
    public let reference: Bytes?
    public let at: Timestamp
}

/// Takedowns of single records and blobs.
///
/// A taken down record is not shown by getRecord and listRecords, whatever it is changed to, until that is lifted; the
/// repository's CAR stays whole, because it is signed. A taken down blob is not served, listed or taken again.
public struct TakedownStore: Sendable {
    private let database: any Database

    public init(database: any Database) { self.database = database }

    // MARK: Records

    /// Throws `repoNotFound`. With nil `moment` the takedown is lifted.
    public static func set(
        _ moment: Timestamp?, on path: RepoPath, of did: DID, cid: CID?, reference: Bytes?, in writer: any Writer
    ) throws {
        let repo = try RepoState.find(did, writer).id
        try writer.run("DELETE FROM record_takedown WHERE repo = \(repo) AND key = \(path.bytes)")
        guard let moment else { return }
        try writer.run(
            """
            INSERT INTO record_takedown (repo, key, cid, ref, created_at)
            VALUES (\(repo), \(path.bytes), \(cid?.sql), \(reference.map { SQL.Value.text($0) }), \(moment))
            """)
    }

    /// The takedown of a record, or nil. Throws `repoNotFound`.
    public func find(_ path: RepoPath, of did: DID) throws -> ContentTakedown? {
        try database.read { reader in
            let repo = try RepoState.find(did, reader).id
            return try reader.first(
                "SELECT cid, ref, created_at FROM record_takedown WHERE repo = \(repo) AND key = \(path.bytes)"
            ) { row in
                let cid = try row.optionalBytes(0) == nil ? nil : row.cid(0)
                return ContentTakedown(cid: cid, reference: try row.optionalText(1), at: try row.timestamp(2))
            }
        }
    }

    /// The CID of a record, shown or not; nil when there is none. Throws `repoNotFound`.
    public func current(_ path: RepoPath, of did: DID) throws -> CID? {
        try database.read { reader in
            let repo = try RepoState.find(did, reader).id
            return try reader.first("SELECT cid FROM record WHERE repo = \(repo) AND key = \(path.bytes)") {
                try $0.cid(0)
            }
        }
    }

    // MARK: Blobs

    /// With nil `moment` the takedown is lifted. The blob need not be here: it is refused when it comes.
    public static func set(
        _ moment: Timestamp?, on cid: CID, of did: DID, reference: Bytes?, in writer: any Writer
    ) throws {
        try writer.run("DELETE FROM blob_takedown WHERE did = \(did.sql) AND cid = \(cid.sql)")
        guard let moment else { return }
        try writer.run(
            """
            INSERT INTO blob_takedown (did, cid, ref, created_at)
            VALUES (\(did.sql), \(cid.sql), \(reference.map { SQL.Value.text($0) }), \(moment))
            """)
    }

    /// The takedown of a blob, or nil.
    public func find(_ cid: CID, of did: DID) throws -> ContentTakedown? {
        try database.read { reader in
            try reader.first(
                "SELECT ref, created_at FROM blob_takedown WHERE did = \(did.sql) AND cid = \(cid.sql)"
            ) { ContentTakedown(cid: cid, reference: try $0.optionalText(0), at: try $0.timestamp(1)) }
        }
    }

    static func isTakenDown(_ cid: CID, of did: DID, in reader: any Reader) throws -> Bool {
        try reader.first(
            "SELECT 1 FROM blob_takedown WHERE did = \(did.sql) AND cid = \(cid.sql)"
        ) { _ in true } == true
    }
}
