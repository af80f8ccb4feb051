public import Base

/// A database of either engine. Stores hold one of these and plain SQL.
public protocol Database: Sendable {
    /// Runs `body` in a read transaction: it sees one moment of the database. Never takes the write lock.
    func read<Result>(_ body: (any Reader) throws -> Result) throws -> Result

    /// Runs `body` in the write transaction: when this returns, all of it is durable; when it throws, none happened.
    ///
    /// Bodies of several threads share one durable commit (group commit): each runs in its own savepoint, one after
    /// the other, and may run on another waiting thread. A body must do no network and no waiting of its own, and
    /// must not call `write`. Once a statement of it has failed, no other runs and the body fails with that error,
    /// even if it caught it: PostgreSQL knows no other way, so SQLite does the same.
    ///
    /// `queued` is called once on the calling thread, when the body has its place in the order of this process's
    /// writes and before it is waited for: whoever calls `write` after that comes later.
    func write<Result>(queued: () -> Void, _ body: (any Writer) throws -> Result) throws -> Result

    /// Runs one statement by itself, as `Reader.each` does: it sees one moment without a transaction around it.
    func each(_ sql: SQL, _ body: (any Row) throws -> Bool) throws

    /// What rings when some process has announced a change. For one listening process; throws when it can't be made.
    func changeSignal() throws -> any ChangeSignal
}

extension Database {
    /// `write` for those who need not know when they have their place.
    public func write<Result>(_ body: (any Writer) throws -> Result) throws -> Result {
        try write(queued: {}, body)
    }

    /// The first row of one statement, made into a value, or nil when there is none.
    public func first<Result>(_ sql: SQL, _ body: (any Row) throws -> Result) throws -> Result? {
        var result: Result?
        try each(sql) { row in
            result = try body(row)
            return false
        }
        return result
    }
}

/// A connection in a read transaction, on one thread. Do not keep it.
public protocol Reader: AnyObject {
    /// Runs `sql` and hands each row to `body`, which returns false to stop. A row is valid inside `body` only.
    /// PostgreSQL holds the whole answer in memory: bound it in the statement.
    func each(_ sql: SQL, _ body: (any Row) throws -> Bool) throws
}

/// A connection in a write transaction, on one thread. Do not keep it.
public protocol Writer: Reader {
    /// Runs a statement that answers nothing, and returns the count of rows that it changed.
    @discardableResult func run(_ sql: SQL) throws -> Int

    /// Runs `body` once the transaction is durable, before `write` returns: to ring a doorbell, to fill a cache.
    /// It is dropped when the transaction does not happen. `body` must not block, use this writer or call `write`.
    func afterCommit(_ body: @escaping @Sendable () -> Void)

    /// Rings the `ChangeSignal`s of other processes once the transaction is durable, once for all that share it.
    func announceChange()
}

/// One row. Columns are numbered from 0 in the order of the SELECT. Asking for a column that is not there, or with
/// the wrong type, throws `StorageError.unexpectedColumn`: a programming error that the store's test finds.
public protocol Row {
    func optionalInteger(_ column: Int) throws(StorageError) -> Int?
    func optionalText(_ column: Int) throws(StorageError) -> Bytes?
    func optionalBytes(_ column: Int) throws(StorageError) -> Bytes?
    /// Lets `body` see a text or byte column in place, without a copy.
    func withBytes<Result>(_ column: Int, _ body: (UnsafeRawBufferPointer) throws -> Result) throws -> Result
}

extension Row {
    public func integer(_ column: Int) throws(StorageError) -> Int {
        guard let value = try optionalInteger(column) else { throw .unexpectedColumn(column) }
        return value
    }

    public func text(_ column: Int) throws(StorageError) -> Bytes {
        guard let value = try optionalText(column) else { throw .unexpectedColumn(column) }
        return value
    }

    public func bytes(_ column: Int) throws(StorageError) -> Bytes {
        guard let value = try optionalBytes(column) else { throw .unexpectedColumn(column) }
        return value
    }

    public func bool(_ column: Int) throws(StorageError) -> Bool { try integer(column) != 0 }
    public func timestamp(_ column: Int) throws(StorageError) -> Timestamp {
        Timestamp(microseconds: Int64(try integer(column)))
    }
    public func optionalTimestamp(_ column: Int) throws(StorageError) -> Timestamp? {
        try optionalInteger(column).map { Timestamp(microseconds: Int64($0)) }
    }
}

extension Reader {
    /// The first row, made into a value, or nil when there is none.
    public func first<Result>(_ sql: SQL, _ body: (any Row) throws -> Result) throws -> Result? {
        var result: Result?
        try each(sql) { row in
            result = try body(row)
            return false
        }
        return result
    }

    /// Every row, made into values. Only for answers whose size the statement bounds.
    public func all<Result>(_ sql: SQL, _ body: (any Row) throws -> Result) throws -> [Result] {
        var results: [Result] = []
        try each(sql) { row in
            results.append(try body(row))
            return true
        }
        return results
    }
}

/// Why a statement or a transaction did not work.
public enum StorageError: Error, Equatable, Sendable {
    /// The engine refused. `code` is SQLite's extended code or PostgreSQL's SQLSTATE.
    case refused(code: String, message: String, sql: String)
    /// A unique, foreign-key or check rule was broken.
    case constraint(message: String, sql: String)
    /// Another writer held the lock for longer than the busy time-out, or no connection was free in time, or no
    /// descriptor for one (EMFILE).
    case busy
    /// The disk is full (SQLITE_FULL, SQLSTATE 53100).
    case full
    /// The file system takes no writes: mounted, or mounted anew, for reading only (EROFS).
    case readOnly
    /// The connection broke while the commit was under way: whether it happened is not known.
    case unknownOutcome
    case unexpectedColumn(Int)
    /// The database's schema is not the one that this program was built for.
    case schemaVersion(found: Int, wanted: Int)
    /// A setting that durability rests on is not in force.
    case unsafeSetting(String)
}

/// A storage error never says more than this to a caller: the rest goes to the log.
extension StorageError: Reportable {
    public var failure: Failure {
        switch self {
        case .busy: Failure(.unavailable, "ServiceUnavailable", "The server is busy. Try again.")
        case .full: Failure(.storageFull, "InsufficientStorage", "The server has no room left for this.")
        case .readOnly: Failure(.storageFull, "InsufficientStorage", "The server can't store anything now.")
        case .refused, .constraint, .unexpectedColumn, .unknownOutcome, .schemaVersion, .unsafeSetting:
            .internalError
        }
    }
}
