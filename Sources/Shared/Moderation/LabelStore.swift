public import ATProto
public import Base
public import Storage

/// A label of this server's own: that it took something down.
public struct Label: Sendable, Equatable {
    /// Its place in the order of all labels.
    public let id: Int
    public let uri: Bytes
    public let cid: CID?
    public let value: Bytes
    public let createdAt: Timestamp
}

/// The labels that this server gives: one for each account or record that it took down, in the words of the network.
///
/// They are not signed: the server's did:web has no `#atproto_label` key, and says so by having none.
public struct LabelStore: Sendable {
    /// https://atproto.com/specs/label: values with `!` are of the system, this one hides from everyone.
    public static let takedown: Bytes = "!takedown"

    private let database: any Database

    public init(database: any Database) { self.database = database }

    /// Labels `subject`, or negates that. A blob has no URI, and so no label.
    public static func set(_ isApplied: Bool, on subject: Subject, now: Timestamp, in writer: any Writer) throws {
        guard let uri = subject.uri else { return }
        let id = try writer.nextID("label")
        try writer.run(
            """
            INSERT INTO label (id, did, uri, cid, value, negated, created_at)
            VALUES (\(id), \(SQL.Value.text(subject.did.bytes)), \(SQL.Value.text(uri)),
                \(subject.cid.map { SQL.Value.bytes(Bytes($0.bytes)) }), \(SQL.Value.text(takedown)),
                \(!isApplied), \(now))
            """)
    }

    /// Labels that hold, after `after` and from `since` on, in order: at most `limit`.
    public func list(after: Int = 0, since: Timestamp = Timestamp(microseconds: 0), limit: Int) throws -> [Label] {
        try database.read { reader in
            try reader.all(
                """
                SELECT l.id, l.uri, l.cid, l.value, l.created_at FROM label l
                WHERE l.id > \(after) AND l.created_at >= \(since) AND l.negated = 0
                AND NOT EXISTS (SELECT 1 FROM label n WHERE n.uri = l.uri AND n.value = l.value AND n.id > l.id)
                ORDER BY l.id LIMIT \(limit)
                """
            ) { row in
                let cid = try row.optionalBytes(2).map { bytes in
                    guard let cid = bytes.withUnsafeBytes({ CID($0) }) else { throw ModerationError.corrupt("CID") }
                    return cid
                }
                return Label(
                    id: try row.integer(0), uri: try row.text(1), cid: cid, value: try row.text(3),
                    createdAt: try row.timestamp(4))
            }
        }
    }

    /// Removes the labels of an account and of its records: it is deleted.
    public static func remove(of did: DID, in writer: any Writer) throws {
        try writer.run("DELETE FROM label WHERE did = \(SQL.Value.text(did.bytes))")
    }
}
