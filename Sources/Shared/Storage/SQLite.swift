internal import Base

/// A SQLite file: WAL, every write durable when it returns, one writing connection shared by group commit, and a
/// bounded pool of reading connections that are opened when they are first needed.
///
/// Other processes may read and write the same file at the same time.
public final class SQLite: MigratableDatabase {
    public let dialect = Dialect.sqlite
    /// The most connections that read at the same time; one more reader waits.
    public static let readerCountMax = 16
    /// How long a reader waits for a connection before it throws `.busy`.
    static let readerMillisecondsMax: UInt64 = 5_000

    private let path: String
    private let writer: GroupCommit<SQLiteConnection>
    private let readers = Monitor(Readers())
    private let freed = Condition()

    private struct Readers {
        var idle: [SQLiteConnection] = []
        var open = 0
        var waiting = 0
    }

    /// Opens the file, creating it when it is not there. Throws `StorageError.unsafeSetting` when a setting that
    /// durability or integrity rests on is not in force, `.refused` when it is not a database.
    public convenience init(path: String) throws(StorageError) {
        try self.init(path: path, settings: SQLiteConnection.settings)
    }

    init(path: String, settings: [SQLiteConnection.Setting], batchCountMax: Int = 128) throws(StorageError) {
        self.path = path
        let first = try SQLiteConnection(path: path, isReader: false, settings: settings)
        writer = GroupCommit(connection: first, batchCountMax: batchCountMax) {
            try SQLiteConnection(path: path, isReader: false)
        }
    }

    public func write<Result>(_ body: (any Writer) throws -> Result) throws -> Result { try writer.write(body) }

    public func read<Result>(_ body: (any Reader) throws -> Result) throws -> Result {
        let connection = try takeReader()
        defer { giveBack(connection) }
        try connection.beginRead()
        defer { connection.endRead() }
        return try body(connection)
    }

    private enum Taken { case connection(SQLiteConnection), permission }

    private func takeReader() throws(StorageError) -> SQLiteConnection {
        // The last one given back first: its cache is warm.
        var taken = readers.withLock { Self.take(from: &$0) }
        if taken == nil {
            let deadline = Clock.monotonicNanoseconds() &+ Self.readerMillisecondsMax &* 1_000_000
            readers.withLock { $0.waiting += 1 }
            taken = readers.wait(on: freed, deadline: deadline) { Self.take(from: &$0) }
            readers.withLock { $0.waiting -= 1 }
        }
        switch taken {
        case .connection(let connection): return connection
        case nil: throw .busy
        case .permission:
            do throws(StorageError) {
                return try SQLiteConnection(path: path, isReader: true)
            } catch {
                readers.withLock { $0.open -= 1 }
                freed.signal()
                throw error
            }
        }
    }

    private static func take(from readers: inout Readers) -> Taken? {
        if let connection = readers.idle.popLast() { return .connection(connection) }
        guard readers.open < readerCountMax else { return nil }
        readers.open += 1
        return .permission
    }

    private func giveBack(_ connection: SQLiteConnection) {
        let isUsable = connection.isUsable
        let isAwaited = readers.withLock { readers in
            if isUsable { readers.idle.append(connection) } else { readers.open -= 1 }
            return readers.waiting > 0
        }
        if isAwaited { freed.signal() }
    }
}
