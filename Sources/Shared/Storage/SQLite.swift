/// What a write to a SQLite file outlives once it has returned.
public enum SQLiteDurability: Sendable {
    /// A loss of power: every commit is synced.
    case power
    /// The end of every process, but not of the machine's kernel: nothing is ever synced, a commit costs microseconds.
    /// After a restart of the machine the file may be old or broken. So it is for what may be lost as a whole and never
    /// in part, and its path must be one that a restart makes new: in a tmpfs, or with the boot's identifier in it.
    case process
}

/// A SQLite file: WAL, every write durable when it returns, one writing connection shared by group commit, and a
/// bounded pool of reading connections that are opened when they are first needed.
///
/// Other processes may read and write the same file at the same time.
public final class SQLite: MigratableDatabase {
    public let dialect = Dialect.sqlite
    /// The most connections that read at the same time; one more reader waits, at most 5 s.
    public static let readerCountMax = 16

    private let path: String
    private let durability: SQLiteDurability
    private let doorbell: String?
    let writer: GroupCommit<SQLiteConnection>
    private let readers: ConnectionPool<SQLiteConnection>

    /// Opens the file; with `creates`, it is made when it is not there. Throws `StorageError.unsafeSetting` when a
    /// setting that durability or integrity rests on is not in force, `.refused` when it is not a database.
    /// `doorbell` is the path of the socket that `changeSignal` makes and announced changes ring (107 bytes at most).
    public convenience init(
        path: String, doorbell: String? = nil, creates: Bool = true, durability: SQLiteDurability = .power
    ) throws(StorageError) {
        try self.init(path: path, doorbell: doorbell, creates: creates, vfs: nil, durability: durability)
    }

    /// `settings` and `vfs` are for tests: an unsafe setting is refused, a disk fails on demand.
    init(
        path: String, doorbell: String? = nil, creates: Bool = true, vfs: String? = nil,
        busyMillisecondsMax: UInt64 = SQLiteConnection.busyMillisecondsMax,
        durability: SQLiteDurability = .power, settings: [SQLiteConnection.Setting]? = nil
    ) throws(StorageError) {
        self.path = path
        self.durability = durability
        self.doorbell = doorbell
        let first = try SQLiteConnection(
            path: path, isReader: false, creates: creates, doorbell: doorbell, vfs: vfs,
            busyMillisecondsMax: busyMillisecondsMax, durability: durability, settings: settings)
        writer = GroupCommit(connection: first) { () throws(StorageError) in
            try SQLiteConnection(
                path: path, isReader: false, doorbell: doorbell, vfs: vfs, busyMillisecondsMax: busyMillisecondsMax,
                durability: durability)
        }
        readers = ConnectionPool(countMax: Self.readerCountMax) { () throws(StorageError) in
            try SQLiteConnection(path: path, isReader: true, vfs: vfs, durability: durability)
        }
    }

    public func write<Result>(queued: () -> Void, _ body: (any Writer) throws -> Result) throws -> Result {
        try writer.write(queued: queued, body)
    }
    public func read<Result>(_ body: (any Reader) throws -> Result) throws -> Result { try readers.read(body) }
    public func each(_ sql: SQL, _ body: (any Row) throws -> Bool) throws { try readers.each(sql, body) }

    /// A connection of its own, closed with the value: for statements that do not work in a transaction.
    func maintenanceConnection() throws(StorageError) -> SQLiteConnection {
        try SQLiteConnection(path: path, isReader: false, durability: durability)
    }

    /// Throws `StorageError.unsafeSetting` when this was opened without a doorbell, `SystemError` when that can't be
    /// made.
    public func changeSignal() throws -> any ChangeSignal {
        guard let doorbell else { throw StorageError.unsafeSetting("no doorbell") }
        return try Doorbell(path: doorbell)
    }
}
