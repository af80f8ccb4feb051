public import Base
public import Storage

/// The documents of clients that were fetched lately, for all processes.
///
/// It is a cache and no more: what is missing is fetched again. Sessions and consents keep their own snapshots.
public struct ClientStore: Sendable {
    /// What is at an address. The number is what stands in the database.
    public enum Kind: Int, Sendable, CaseIterable {
        case metadata = 0
        case keys = 1
    }

    /// Documents that are kept, failures included. One more pushes the oldest out, failures first.
    public static let countMax = 2_048
    /// Documents older than this are of no use to anyone.
    public static let keepSeconds: Int64 = ClientResolver.freshSeconds + ClientResolver.graceSeconds

    private let database: any Database

    public init(database: any Database) { self.database = database }

    /// What is known of an address: the document as last seen, and a failure when that is what the last try was.
    public struct Known: Sendable, Equatable {
        public let document: Bytes?
        public let fetchedAt: Timestamp?
        public let failure: AuthorizationError?
        public let failedAt: Timestamp?
    }

    public func find(_ kind: Kind, at address: Bytes) throws -> Known? {
        try database.first(
            """
            SELECT document, fetched_at, failure_code, failure_text, failed_at FROM oauth_client_document
            WHERE address = \(SQL.Value.text(address)) AND kind = \(kind.rawValue)
            """
        ) { row in
            let code = try row.optionalText(2).flatMap { AuthorizationError.Code(rawValue: $0.description) }
            let words = try row.optionalText(3)
            return Known(
                document: try row.optionalBytes(0), fetchedAt: try row.optionalTimestamp(1),
                failure: code.map { AuthorizationError($0, words ?? Bytes()) },
                failedAt: try row.optionalTimestamp(4))
        }
    }

    /// Keeps `document`, which was fetched and found right at `now`.
    public func save(_ document: Bytes, _ kind: Kind, at address: Bytes, now: Timestamp) throws {
        try database.write { writer in
            try writer.run(
                """
                INSERT INTO oauth_client_document (address, kind, document, fetched_at, touched_at)
                VALUES (\(SQL.Value.text(address)), \(kind.rawValue), \(document), \(now), \(now))
                ON CONFLICT (address, kind) DO UPDATE SET document = excluded.document,
                    fetched_at = excluded.fetched_at, failure_code = NULL, failure_text = NULL, failed_at = NULL,
                    touched_at = excluded.touched_at
                """)
            try Self.makeRoom(writer)
        }
    }

    /// Keeps that a try failed at `now`. What was known before stays for those who may go on with it, unless the
    /// failure says that it holds no more.
    public func saveFailure(
        _ failure: AuthorizationError, _ kind: Kind, at address: Bytes, now: Timestamp
    ) throws {
        let holds = failure.code == .temporarilyUnavailable
        try database.write { writer in
            try writer.run(
                """
                INSERT INTO oauth_client_document (address, kind, failure_code, failure_text, failed_at, touched_at)
                VALUES (\(SQL.Value.text(address)), \(kind.rawValue), \(failure.code.rawValue),
                    \(SQL.Value.text(failure.description)), \(now), \(now))
                ON CONFLICT (address, kind) DO UPDATE SET failure_code = excluded.failure_code,
                    failure_text = excluded.failure_text, failed_at = excluded.failed_at,
                    touched_at = excluded.touched_at
                """)
            if !holds {
                try writer.run(
                    """
                    UPDATE oauth_client_document SET document = NULL, fetched_at = NULL
                    WHERE address = \(SQL.Value.text(address)) AND kind = \(kind.rawValue)
                    """)
            }
            try Self.makeRoom(writer)
        }
    }

    private static func makeRoom(_ writer: any Writer) throws {
        let count = try writer.first("SELECT count(*) FROM oauth_client_document") { try $0.integer(0) } ?? 0
        guard count > countMax else { return }
        try writer.run(
            """
            DELETE FROM oauth_client_document WHERE (address, kind) IN (
                SELECT address, kind FROM oauth_client_document
                ORDER BY CASE WHEN document IS NULL THEN 0 ELSE 1 END, touched_at, address, kind
                LIMIT \(count - countMax)
            )
            """)
    }

    /// Drops what is too old to be of use. Returns how many went.
    @discardableResult public func trim(now: Timestamp) throws -> Int {
        let old = now.adding(seconds: -Self.keepSeconds)
        return try database.write {
            try $0.run("DELETE FROM oauth_client_document WHERE touched_at <= \(old)")
        }
    }
}
