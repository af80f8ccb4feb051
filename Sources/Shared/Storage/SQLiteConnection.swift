internal import Base
internal import CSQLite
internal import Glibc

/// One connection to a SQLite file, used by one thread at a time.
final class SQLiteConnection: BatchConnection, ReadConnection {
    /// A setting that is made and then read back: `query` must answer `wanted`.
    struct Setting: Sendable {
        let statement: String
        let query: String
        let wanted: String
    }

    /// The settings that durability, integrity and memory rest on. A new database takes all of them; an old one too.
    /// `synchronous = FULL` (2): 500 commits make 509 syncs, under NORMAL 8, and NORMAL's loss is silent.
    /// secure_delete stays what Debian's build has.
    static let settings: [Setting] = [
        Setting(statement: "PRAGMA journal_mode = WAL", query: "PRAGMA journal_mode", wanted: "wal"),
        Setting(statement: "PRAGMA synchronous = FULL", query: "PRAGMA synchronous", wanted: "2"),
        Setting(statement: "PRAGMA foreign_keys = ON", query: "PRAGMA foreign_keys", wanted: "1"),
        Setting(statement: "PRAGMA trusted_schema = OFF", query: "PRAGMA trusted_schema", wanted: "0"),
        Setting(statement: "PRAGMA cell_size_check = ON", query: "PRAGMA cell_size_check", wanted: "1"),
        Setting(statement: "PRAGMA mmap_size = 0", query: "PRAGMA mmap_size", wanted: "0"),
        Setting(
            statement: "PRAGMA journal_size_limit = 67108864", query: "PRAGMA journal_size_limit", wanted: "67108864"),
    ]

    /// The settings of a file whose writes are as durable as `durability` says.
    static func settings(_ durability: SQLiteDurability) -> [Setting] {
        guard durability == .process else { return settings }
        let unsynced = Setting(statement: "PRAGMA synchronous = OFF", query: "PRAGMA synchronous", wanted: "0")
        return settings.map { $0.query == unsynced.query ? unsynced : $0 }
    }

    /// The writer keeps the pages that writes come back to (16 MiB at most, taken as they are met): with 1.5 MiB, a
    /// twentieth of a write's time was reading them again. It checkpoints every 4,000 pages, so that a page that many
    /// commits change is copied back once. Nothing goes to the WAL before the commit, however long a transaction is
    /// (`SQLiteLogBuffer`).
    static let writerSettings: [Setting] = [
        Setting(statement: "PRAGMA cache_size = -16384", query: "PRAGMA cache_size", wanted: "-16384"),
        Setting(statement: "PRAGMA wal_autocheckpoint = 4000", query: "PRAGMA wal_autocheckpoint", wanted: "4000"),
        Setting(statement: "PRAGMA cache_spill = OFF", query: "PRAGMA cache_spill", wanted: "0"),
    ]
    /// There is a reader for each thread: theirs is small.
    static let readerSettings: [Setting] = [
        Setting(statement: "PRAGMA cache_size = -2048", query: "PRAGMA cache_size", wanted: "-2048")
    ]

    /// The most prepared statements kept on a connection.
    static let statementCountMax = 128
    /// How long a statement waits for another process's lock before it throws `.busy`.
    static let busyMillisecondsMax: UInt64 = 5_000

    private let handle: OpaquePointer
    private let busy: UnsafeMutablePointer<BusyWait>
    private var statements = StatementCache<SQLiteStatement>(countMax: statementCountMax)
    private let fixed: Fixed

    var failure: StorageError?
    var afterCommitBodies: [@Sendable () -> Void] = []
    private(set) var isUsable = true
    private var announcesChange = false
    /// BEGIN waits for the first statement: a read that asks nothing costs nothing, and sees nothing earlier either.
    private var beginsRead = false
    private let doorbell: String?

    /// The statements of every transaction, out of the cache's way.
    private struct Fixed {
        let beginRead, beginWrite, commit, rollback, savepoint, release, rollbackTo: SQLiteStatement
    }

    /// Opens the file, makes every setting and reads it back. With `creates` a missing file is made, with mode 0644
    /// less the umask.
    init(
        path: String, isReader: Bool, creates: Bool = false, doorbell: String? = nil, vfs: String? = nil,
        busyMillisecondsMax: UInt64 = SQLiteConnection.busyMillisecondsMax,
        durability: SQLiteDurability = .power, settings: [Setting]? = nil
    ) throws(StorageError) {
        self.doorbell = doorbell
        var opened: OpaquePointer?
        // Only who writes has anything to gather, and only who syncs may hold it until then.
        let vfs = isReader || durability == .process ? vfs : try SQLiteLogBuffer.register(over: vfs)
        let flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (creates ? SQLITE_OPEN_CREATE : 0)
        let code = sqlite3_open_v2(path, &opened, flags, vfs)
        guard code == SQLITE_OK, let opened else {
            let message = String(cString: sqlite3_errstr(code))
            let isShort = opened.map { Self.lacksDescriptors(code, $0) } ?? false
            sqlite3_close_v2(opened)
            if isShort { throw .busy }
            throw .refused(code: String(code), message: "open: \(message)", sql: "")
        }
        busy = .allocate(capacity: 1)
        busy.initialize(to: BusyWait(nanosecondsMax: busyMillisecondsMax &* 1_000_000))
        do throws(StorageError) {
            try Self.configure(
                opened, busy, isReader: isReader, settings ?? Self.settings(durability),
                wanted: Self.settings(durability))
            fixed = Fixed(
                beginRead: try Self.prepare("BEGIN", opened), beginWrite: try Self.prepare("BEGIN IMMEDIATE", opened),
                commit: try Self.prepare("COMMIT", opened), rollback: try Self.prepare("ROLLBACK", opened),
                savepoint: try Self.prepare("SAVEPOINT one", opened),
                release: try Self.prepare("RELEASE one", opened),
                rollbackTo: try Self.prepare("ROLLBACK TO one", opened))
        } catch {
            sqlite3_close_v2(opened)
            busy.deallocate()
            throw error
        }
        handle = opened
    }

    deinit {
        statements.removeAll()
        // v2: statements still held elsewhere are finalized by their own deinit, the file is closed after them.
        sqlite3_close_v2(handle)
        busy.deallocate()
    }

    private static func configure(
        _ handle: OpaquePointer, _ busy: UnsafeMutablePointer<BusyWait>, isReader: Bool, _ settings: [Setting],
        wanted: [Setting]
    ) throws(StorageError) {
        let more = isReader ? readerSettings : writerSettings
        sqlite3_extended_result_codes(handle, 1)
        sqlite3_busy_handler(handle, waitWhileBusy, busy)
        let flags: [(operation: Int32, value: Int32, name: String)] = [
            (SQLITE_DBCONFIG_DEFENSIVE, 1, "defensive"), (SQLITE_DBCONFIG_DQS_DML, 0, "dqs_dml"),
            (SQLITE_DBCONFIG_DQS_DDL, 0, "dqs_ddl"), (SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, "trusted_schema"),
        ]
        for flag in flags {
            var now: Int32 = -1
            guard CSQLite_config(handle, flag.operation, flag.value, &now) == SQLITE_OK, now == flag.value else {
                throw .unsafeSetting("\(flag.name) is \(now)")
            }
        }
        for setting in settings + more {
            _ = try firstColumn(setting.statement, handle)
        }
        // A reader that meets an INSERT … RETURNING must refuse it.
        if isReader { _ = try firstColumn("PRAGMA query_only = ON", handle) }
        // What is asked is what must be in force, not what was passed in.
        for setting in wanted + more {
            let found = try firstColumn(setting.query, handle)
            if found != setting.wanted { throw .unsafeSetting("\(setting.query) is \(found)") }
        }
        if isReader, try firstColumn("PRAGMA query_only", handle) != "1" { throw .unsafeSetting("query_only") }
    }

    /// The first column of the first row as text; empty when there is no row.
    private static func firstColumn(_ sql: String, _ handle: OpaquePointer) throws(StorageError) -> String {
        let statement = try prepare(sql, handle)
        var found = ""
        while true {
            let code = sqlite3_step(statement.handle)
            guard code == SQLITE_ROW else {
                withExtendedLifetime(statement) {}
                if code == SQLITE_DONE { return found }
                throw error(code, handle, sql)
            }
            if found.isEmpty, let text = sqlite3_column_text(statement.handle, 0) { found = String(cString: text) }
        }
    }

    private static func prepare(_ sql: String, _ handle: OpaquePointer) throws(StorageError) -> SQLiteStatement {
        var statement: OpaquePointer?
        let code = sqlite3_prepare_v3(handle, sql, -1, UInt32(SQLITE_PREPARE_PERSISTENT), &statement, nil)
        guard code == SQLITE_OK else { throw error(code, handle, sql) }
        guard let statement else { throw .refused(code: "0", message: "empty statement", sql: sql) }
        return SQLiteStatement(statement)
    }

    private static func error(_ code: Int32, _ handle: OpaquePointer, _ sql: String) -> StorageError {
        if code == SQLiteLogBuffer.readOnlyCode { return .readOnly }
        let message = String(cString: sqlite3_errmsg(handle))
        switch code & 0xFF {
        case SQLITE_BUSY, SQLITE_LOCKED: return .busy
        case SQLITE_FULL: return .full
        case SQLITE_CONSTRAINT: return .constraint(message: message, sql: sql)
        // SQLite has no code for a full disk or quota where it grows the shared memory file.
        case SQLITE_IOERR where [ENOSPC, EDQUOT].contains(sqlite3_system_errno(handle)): return .full
        case SQLITE_IOERR where sqlite3_system_errno(handle) == EROFS: return .readOnly
        case SQLITE_CANTOPEN where lacksDescriptors(code, handle): return .busy
        default: return .refused(code: String(code), message: message, sql: sql)
        }
    }

    /// Whether a file could not be opened because this process, or the machine, has as many open as it may.
    private static func lacksDescriptors(_ code: Int32, _ handle: OpaquePointer) -> Bool {
        code & 0xFF == SQLITE_CANTOPEN && [EMFILE, ENFILE].contains(sqlite3_system_errno(handle))
    }

    private func failed(_ code: Int32, _ sql: String) -> StorageError {
        let error = Self.error(code, handle, sql)
        if failure == nil { failure = error }
        switch code & 0xFF {
        // What the connection knows of the file can't be trusted any more.
        case SQLITE_IOERR, SQLITE_CORRUPT, SQLITE_NOTADB, SQLITE_CANTOPEN: isUsable = false
        case SQLITE_READONLY where error == .readOnly: isUsable = false
        default: break
        }
        return error
    }

    // MARK: Statements

    func each(_ sql: SQL, _ body: (any Row) throws -> Bool) throws {
        let statement = try take(sql)
        defer { giveBack(statement, sql) }
        let row = SQLiteRow(statement: statement)
        while true {
            let code = sqlite3_step(statement.handle)
            if code == SQLITE_ROW {
                guard try body(row) else { return }
            } else if code == SQLITE_DONE {
                return
            } else {
                throw failed(code, sql.text)
            }
        }
    }

    func run(_ sql: SQL) throws -> Int {
        let statement = try take(sql)
        defer { giveBack(statement, sql) }
        let before = sqlite3_total_changes64(handle)
        while true {
            let code = sqlite3_step(statement.handle)
            if code == SQLITE_DONE { break }
            if code != SQLITE_ROW { throw failed(code, sql.text) }
        }
        // A statement that changes nothing leaves sqlite3_changes at what the one before it had changed.
        return sqlite3_total_changes64(handle) == before ? 0 : Int(sqlite3_changes64(handle))
    }

    func afterCommit(_ body: @escaping @Sendable () -> Void) { afterCommitBodies.append(body) }

    func announceChange() { announcesChange = true }

    func didCommit() {
        if announcesChange, let doorbell { Doorbell.ring(doorbell) }
    }

    /// The statement for `sql`, its arguments bound: they live as long as `sql`, which `giveBack` takes last.
    private func take(_ sql: SQL) throws(StorageError) -> SQLiteStatement {
        if let failure { throw failure }
        if beginsRead {
            beginsRead = false
            try step(fixed.beginRead, "BEGIN")
        }
        let key = StatementCache<SQLiteStatement>.Key(sql.text)
        let statement: SQLiteStatement
        if let found = statements.find(key), !found.isBusy {
            statement = found
        } else {
            do throws(StorageError) {
                statement = try Self.prepare(sql.text, handle)
            } catch {
                if failure == nil { failure = error }
                throw error
            }
            _ = statements.insert(statement, for: key)
        }
        statement.isBusy = true
        guard statement.parameterCount == sql.arguments.count else {
            statement.reset()
            let error = StorageError.refused(
                code: String(SQLITE_RANGE), message: "\(sql.arguments.count) arguments", sql: sql.text)
            if failure == nil { failure = error }
            throw error
        }
        for argument in sql.arguments {
            guard case .text(let text) = argument, !text.isStorableText else { continue }
            statement.reset()
            let error = StorageError.refused(code: unstorableTextCode, message: "not UTF-8 or NUL", sql: sql.text)
            if failure == nil { failure = error }
            throw error
        }
        let code = statement.bind(sql.arguments)
        guard code == SQLITE_OK else {
            let error = failed(code, sql.text)
            statement.reset()
            throw error
        }
        return statement
    }

    private func giveBack(_ statement: SQLiteStatement, _ sql: SQL) {
        statement.reset()
        withExtendedLifetime(sql) {}
    }

    // MARK: Transactions

    var isInTransaction: Bool { sqlite3_get_autocommit(handle) == 0 }

    private func step(_ statement: SQLiteStatement, _ name: String) throws(StorageError) {
        let code = sqlite3_step(statement.handle)
        guard code == SQLITE_DONE else {
            let error = failed(code, name)
            sqlite3_reset(statement.handle)
            throw error
        }
        sqlite3_reset(statement.handle)
    }

    func beginRead() throws(StorageError) { beginsRead = true }
    func beginSingle() throws(StorageError) {}

    /// Ends a read: there is nothing to keep or to lose.
    func endRead() {
        failure = nil
        beginsRead = false
        guard isInTransaction else { return }
        do throws(StorageError) { try step(fixed.commit, "COMMIT") } catch { rollback() }
    }

    func begin() throws(StorageError) {
        failure = nil
        announcesChange = false
        try step(fixed.beginWrite, "BEGIN IMMEDIATE")
    }

    func commit() throws(StorageError) {
        let code = sqlite3_step(fixed.commit.handle)
        guard code == SQLITE_DONE else {
            let error = failed(code, "COMMIT")
            sqlite3_reset(fixed.commit.handle)
            // The commit record was written and its sync failed: a crash now may keep it or lose it.
            if code == CSQLite_IOERR_FSYNC || code == CSQLite_IOERR_DIR_FSYNC { throw .unknownOutcome }
            throw error
        }
        sqlite3_reset(fixed.commit.handle)
    }

    func rollback() {
        guard isInTransaction else { return }
        do throws(StorageError) { try step(fixed.rollback, "ROLLBACK") } catch { isUsable = false }
    }

    func savepoint() throws(StorageError) { try step(fixed.savepoint, "SAVEPOINT") }
    func releaseSavepoint() throws(StorageError) { try step(fixed.release, "RELEASE") }
    func rollbackToSavepoint() throws(StorageError) { try step(fixed.rollbackTo, "ROLLBACK TO") }
}

/// What both engines answer for a text that PostgreSQL can't store: its SQLSTATE.
let unstorableTextCode = "22021"

extension Bytes {
    /// True for UTF-8 without NUL, the text that both engines store and give back as it is.
    var isStorableText: Bool {
        let isPlain = withUnsafeBytes { raw in raw.allSatisfy { $0 &- 1 < 0x7F } }
        return isPlain || (text != nil && position(of: 0) == nil)
    }
}

/// How long a connection has been waiting for a lock.
private struct BusyWait {
    let nanosecondsMax: UInt64
    var since: UInt64 = 0
}

/// SQLite's busy handler: waits a little, with jitter so that processes don't meet again. The steps stay short, because
/// a process that commits all the time leaves the lock free for moments only. Measured with 16 writing threads in each
/// of two processes: steps of 20 ms starve one of them for more than 5 s, steps of 2 ms make no write wait for 35 ms.
private func waitWhileBusy(_ context: UnsafeMutableRawPointer?, _ count: Int32) -> Int32 {
    guard let wait = context?.assumingMemoryBound(to: BusyWait.self) else { return 0 }
    let now = Clock.monotonicNanoseconds()
    if count == 0 { wait.pointee.since = now }
    if now &- wait.pointee.since > wait.pointee.nanosecondsMax { return 0 }
    let step = min(100 << UInt32(min(count, 4)), 1_000)
    usleep(UInt32.random(in: UInt32(step / 2)...UInt32(step)))
    return 1
}
