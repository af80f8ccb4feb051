public import Base
internal import CPostgres

/// Where a PostgreSQL database is and how every connection to it is set.
struct PostgresLocation: Sendable {
    let url: String
    let schema: String
    var lockMillisecondsMax = PostgresConnection.lockMillisecondsMax

    /// The longest name of a schema: `channel` has to be a name too, and those end after 63 bytes.
    static let schemaSizeMax = 40
    /// The channel that NOTIFY and LISTEN use.
    var channel: String { "skystead_change_\(schema)" }

    /// The number of the advisory lock that writers take: one a schema, so that tests don't wait for each other.
    var lockNumber: Int64 {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in schema.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        return Int64(bitPattern: hash) >> 1
    }

    /// A new connection, good or bad (`PQstatus` tells); nil when there was no memory. Close it with `PQfinish`.
    func connect() -> OpaquePointer? {
        let settings = [
            "statement_timeout=\(PostgresConnection.statementMillisecondsMax)",
            "lock_timeout=\(lockMillisecondsMax)", "idle_in_transaction_session_timeout=60000",
            "synchronous_commit=on", "standard_conforming_strings=on", "TimeZone=UTC",
            "search_path=\(schema),pg_temp",
        ]
        // Later words win over the URL's, which may not turn off what durability rests on.
        let words: [(String, String)] = [
            ("dbname", url), ("client_encoding", "UTF8"), ("fallback_application_name", "skystead"),
            ("connect_timeout", String(PostgresConnection.connectSecondsMax)), ("keepalives_idle", "30"),
            ("tcp_user_timeout", "30000"), ("options", settings.map { "-c \($0)" }.joined(separator: " ")),
        ]
        let strings = words.map { Array($0.0.utf8CString) } + words.map { Array($0.1.utf8CString) }
        func call(_ index: Int, _ pointers: [UnsafePointer<CChar>?]) -> OpaquePointer? {
            guard index < strings.count else {
                let keywords = Array(pointers[..<words.count]) + [nil]
                return PQconnectdbParams(keywords, Array(pointers[words.count...]) + [nil], 1)
            }
            return strings[index].withUnsafeBufferPointer { call(index + 1, pointers + [$0.baseAddress]) }
        }
        return call(0, [])
    }
}

/// A PostgreSQL database (13 or later) with the promises of `SQLite`: writers one after the other, group commit in each
/// process, readers that see one moment, text in byte order.
///
/// `each` holds a statement's whole answer in memory: bound it in the statement.
public final class Postgres: MigratableDatabase {
    public let dialect = Dialect.postgres
    /// The most connections that read at the same time in a process; one more reader waits, at most 5 s.
    public static let readerCountMax = 8

    let location: PostgresLocation
    private let log: Log
    let writer: GroupCommit<PostgresConnection>
    private let readers: ConnectionPool<PostgresConnection>

    /// Connects to `url` (`postgresql://…`, libpq's form) and works in `schema` alone. Throws `StorageError.busy` when
    /// the server can't be reached, `.unsafeSetting` when it does not keep what it acknowledges.
    public convenience init(
        url: String, schema: String = "public", log: Log = .standardError
    ) throws(StorageError) {
        try self.init(PostgresLocation(url: url, schema: schema), log: log)
    }

    init(_ location: PostgresLocation, log: Log) throws(StorageError) {
        let schema = location.schema
        let isPlain = schema.utf8.allSatisfy { $0 == 0x5F || $0 >= 0x61 && $0 <= 0x7A || $0 >= 0x30 && $0 <= 0x39 }
        guard isPlain, !schema.isEmpty, schema.utf8.count <= PostgresLocation.schemaSizeMax else {
            throw .unsafeSetting("schema \(schema)")
        }
        self.location = location
        self.log = log
        let first = try PostgresConnection(location, log: log)
        writer = GroupCommit(connection: first) { () throws(StorageError) in
            try PostgresConnection(location, log: log)
        }
        readers = ConnectionPool(countMax: Self.readerCountMax) { () throws(StorageError) in
            try PostgresConnection(location, isReader: true, log: log)
        }
    }

    public func write<Result>(queued: () -> Void, _ body: (any Writer) throws -> Result) throws -> Result {
        try writer.write(queued: queued, body)
    }
    public func read<Result>(_ body: (any Reader) throws -> Result) throws -> Result { try readers.read(body) }
    public func each(_ sql: SQL, _ body: (any Row) throws -> Bool) throws { try readers.each(sql, body) }
    public func changeSignal() throws -> any ChangeSignal { try PostgresSignal(location, log: log) }
}
