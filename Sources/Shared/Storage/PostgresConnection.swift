internal import Base
internal import CPostgres
internal import Glibc

/// One connection to PostgreSQL, used by one thread at a time and always in libpq's pipeline mode: what begins, saves
/// or releases waits in `pending` and travels with the next statement, so that it costs no round trip of its own.
final class PostgresConnection: BatchConnection, ReadConnection {
    /// The most prepared statements kept on a connection.
    static let statementCountMax = 128
    /// The server ends a statement after this long.
    static let statementMillisecondsMax = 30_000
    /// A statement, and the wait for the write lock, gives up after this long without the lock.
    static let lockMillisecondsMax = 5_000
    static let connectSecondsMax = 5
    /// The most arguments of a statement that is kept prepared: their types are a part of its key.
    static let keptArgumentCountMax = 31

    private let handle: OpaquePointer
    private let writeLock: String
    private let notify: String
    private let isReader: Bool
    private let log: Log
    private var statements = StatementCache<Prepared>(countMax: statementCountMax)
    private var preparedCount = 0
    /// Commands without arguments that go out before the next statement.
    private var pending: [String] = []
    /// Answers to a COMMIT of a read that were not waited for.
    private var isCommitOutstanding = false
    /// The next statement is the first and only one of a read.
    private var isSingle = false
    private var arguments = PostgresArguments()

    var failure: StorageError?
    var afterCommitBodies: [@Sendable () -> Void] = []
    private var announcesChange = false

    private final class Prepared {
        let name: String
        init(name: String) { self.name = name }
    }

    init(_ location: PostgresLocation, isReader: Bool = false, log: Log) throws(StorageError) {
        self.isReader = isReader
        let opened = location.connect()
        guard let opened, PQstatus(opened) == CONNECTION_OK, PQenterPipelineMode(opened) == 1 else {
            let message = opened.flatMap { PQerrorMessage($0) }.map { String(cString: $0) } ?? "no memory"
            log.warning("postgres_connection", ["message": .text(message)])
            PQfinish(opened)
            throw .busy
        }
        // libpq would print the server's notices to standard error.
        PQsetNoticeProcessor(opened, { _, _ in }, nil)
        handle = opened
        self.log = log
        notify = "NOTIFY \(location.channel)"
        writeLock = "SELECT pg_advisory_xact_lock(\(location.lockNumber))"
        try requireSafeSettings()
    }

    deinit { PQfinish(handle) }

    /// What durability and byte order rest on, as the server says it is.
    private func requireSafeSettings() throws(StorageError) {
        let wanted: [(name: String, values: [String])] = [
            ("fsync", ["on"]), ("full_page_writes", ["on"]), ("server_encoding", ["UTF8"]),
            ("synchronous_commit", ["on", "remote_apply"]), ("standard_conforming_strings", ["on"]),
        ]
        for setting in wanted {
            let result = try exchange("SELECT current_setting('\(setting.name)')")
            let row = PostgresRow(result: result, row: 0)
            guard result.rowCount == 1 else { throw .unsafeSetting(setting.name) }
            let found = try row.text(0).description
            if !setting.values.contains(found) { throw .unsafeSetting("\(setting.name) is \(found)") }
        }
        // A statement by itself has no BEGIN to say so.
        if isReader { _ = try exchange("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY") }
    }

    var isUsable: Bool { PQstatus(handle) == CONNECTION_OK }

    // MARK: The conversation

    /// Sends what is pending and `last`, waits for the answers and returns the last.
    private func exchange(_ last: String) throws(StorageError) -> PostgresResult {
        pending.append(last)
        return try exchange(statement: nil)
    }

    private func exchange(statement sql: SQL?) throws(StorageError) -> PostgresResult {
        try awaitOutstandingCommit()
        var sent = pending.count
        for command in pending {
            // A false answer leaves the connection broken, which `collect` finds out.
            PQsendQueryParams(handle, command, 0, nil, nil, nil, nil, 1)
        }
        pending.removeAll(keepingCapacity: true)
        var fresh: (key: StatementCache<Prepared>.Key, prepared: Prepared, position: Int)?
        if let sql {
            arguments.fill(sql.arguments)
            let key = StatementCache<Prepared>.Key(sql.text, variant: arguments.signature)
            if sql.arguments.count > Self.keptArgumentCountMax {
                arguments.sendOnce(sql.text, to: handle)
            } else if let prepared = statements.find(key) {
                arguments.send(prepared.name, to: handle)
            } else {
                preparedCount &+= 1
                let prepared = Prepared(name: "s\(preparedCount)")
                arguments.prepare(prepared.name, sql.text, on: handle)
                arguments.send(prepared.name, to: handle)
                fresh = (key, prepared, sent)
                sent += 1
            }
            sent += 1
        }
        PQpipelineSync(handle)
        let results = collect()
        withExtendedLifetime(sql) {}
        if let fresh, fresh.position < results.count, !results[fresh.position].isError,
            let evicted = statements.insert(fresh.prepared, for: fresh.key)
        {
            pending.append("DEALLOCATE \(evicted.name)")
        }
        if let broken = results.first(where: { $0.isError }) { throw failed(broken, sql?.text ?? "") }
        guard let last = results.last, results.count == sent else { throw lost("the connection broke") }
        return last
    }

    /// The answers up to the next synchronisation point, or up to where the connection broke.
    private func collect() -> [PostgresResult] {
        var results: [PostgresResult] = []
        var empty = 0
        while true {
            guard let next = PQgetResult(handle) else {
                // One nil ends each command's answers; more of them mean that nothing comes any more.
                empty += 1
                if empty > 2 || PQstatus(handle) != CONNECTION_OK { return results }
                continue
            }
            empty = 0
            let result = PostgresResult(next)
            if result.status == PGRES_PIPELINE_SYNC { return results }
            results.append(result)
        }
    }

    private func awaitOutstandingCommit() throws(StorageError) {
        guard isCommitOutstanding else { return }
        isCommitOutstanding = false
        _ = collect()
        guard isUsable, PQtransactionStatus(handle) == PQTRANS_IDLE else { throw lost("the connection broke") }
    }

    private func lost(_ message: String) -> StorageError {
        let detail = PQerrorMessage(handle).map { String(cString: $0) } ?? ""
        log.warning("postgres_connection", ["message": .text(detail.isEmpty ? message : detail)])
        if failure == nil { failure = .busy }
        return .busy
    }

    private func failed(_ result: PostgresResult, _ sql: String) -> StorageError {
        let state = result.sqlState
        let error: StorageError
        switch state {
        // The wrong number of arguments: the program's fault, not the connection's.
        case "08P01": error = .refused(code: state, message: result.message, sql: sql)
        case _ where state.hasPrefix("23"): error = .constraint(message: result.message, sql: sql)
        // Serialization, deadlock, lock time-out, statement time-out, too many connections, out of memory.
        case "40001", "40P01", "55P03", "57014", "53200", "53300": error = .busy
        case "53100": error = .full
        case _ where state.isEmpty || state.hasPrefix("57P") || state.hasPrefix("08"): return lost(result.message)
        default: error = .refused(code: state, message: result.message, sql: sql)
        }
        if failure == nil { failure = error }
        return error
    }

    // MARK: Statements

    func each(_ sql: SQL, _ body: (any Row) throws -> Bool) throws {
        let result = try execute(sql)
        for row in 0..<result.rowCount {
            guard try body(PostgresRow(result: result, row: row)) else { return }
        }
    }

    func run(_ sql: SQL) throws -> Int { try execute(sql).changedCount }

    func afterCommit(_ body: @escaping @Sendable () -> Void) { afterCommitBodies.append(body) }

    func announceChange() { announcesChange = true }

    /// NOTIFY was part of the transaction: the server rings.
    func didCommit() {}

    private func execute(_ sql: SQL) throws(StorageError) -> PostgresResult {
        if let failure { throw failure }
        for argument in sql.arguments {
            guard case .text(let text) = argument, !text.isStorableText else { continue }
            let error = StorageError.refused(code: unstorableTextCode, message: "not UTF-8 or NUL", sql: sql.text)
            failure = error
            throw error
        }
        let begins = pending.first == Self.beginReadCommand
        let isFirst = begins || isSingle
        isSingle = false
        do throws(StorageError) {
            return try exchange(statement: sql)
        } catch {
            // The server was restarted since the last use, and nothing was answered yet: once more on a new connection.
            guard isFirst, !isUsable else { throw error }
            try reconnect()
            if begins { pending = [Self.beginReadCommand] }
            return try exchange(statement: sql)
        }
    }

    private func reconnect() throws(StorageError) {
        PQreset(handle)
        guard PQstatus(handle) == CONNECTION_OK, PQenterPipelineMode(handle) == 1 else { throw lost("no connection") }
        statements.removeAll()
        pending.removeAll()
        isCommitOutstanding = false
        failure = nil
        try requireSafeSettings()
    }

    // MARK: Transactions

    var isInTransaction: Bool {
        let status = PQtransactionStatus(handle)
        return status == PQTRANS_INTRANS || status == PQTRANS_INERROR
    }

    func beginSingle() throws(StorageError) {
        do throws(StorageError) {
            try awaitOutstandingCommit()
        } catch {
            try reconnect()
        }
        isSingle = true
    }

    /// The snapshot is that of the first statement, which BEGIN travels with.
    func beginRead() throws(StorageError) {
        do throws(StorageError) {
            try awaitOutstandingCommit()
        } catch {
            try reconnect()
        }
        // Before anything that waits already: BEGIN sets the isolation level, so it must come first.
        pending.insert(Self.beginReadCommand, at: 0)
    }

    private static let beginReadCommand = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

    /// Sends COMMIT and leaves its answer to the next use: a read of one statement waits for one round trip.
    func endRead() {
        failure = nil
        isSingle = false
        pending.removeAll { $0 == Self.beginReadCommand }
        guard isUsable, isInTransaction else { return }
        PQsendQueryParams(handle, "COMMIT", 0, nil, nil, nil, nil, 1)
        PQpipelineSync(handle)
        isCommitOutstanding = true
    }

    /// Every write takes one advisory lock: writers of all processes are one after the other as with SQLite, so that
    /// numbers given out in a transaction become visible in their order (without: 14 to 17 % of events were skipped).
    func begin() throws(StorageError) {
        failure = nil
        announcesChange = false
        let commands = ["BEGIN ISOLATION LEVEL READ COMMITTED", writeLock]
        pending.insert(contentsOf: commands, at: 0)
        do throws(StorageError) {
            _ = try exchange(statement: nil)
        } catch {
            guard !isUsable else { throw error }
            try reconnect()
            pending.append(contentsOf: commands)
            _ = try exchange(statement: nil)
        }
    }

    func commit() throws(StorageError) {
        if announcesChange { pending.append(notify) }
        pending.append("COMMIT")
        do throws(StorageError) {
            let result = try exchange(statement: nil)
            // A failed transaction answers ROLLBACK to COMMIT.
            guard result.tag == "COMMIT" else { throw failure ?? .refused(code: "25P02", message: "", sql: "COMMIT") }
        } catch {
            throw isUsable ? error : .unknownOutcome
        }
    }

    func rollback() {
        pending.removeAll { !$0.hasPrefix("DEALLOCATE") }
        guard isUsable, isInTransaction else { return }
        pending.insert("ROLLBACK", at: 0)
        _ = try? exchange(statement: nil)
        failure = nil
    }

    func savepoint() throws(StorageError) { pending.append("SAVEPOINT one") }

    func releaseSavepoint() throws(StorageError) {
        // A body that asked nothing has not even sent its savepoint.
        if pending.last == "SAVEPOINT one" { pending.removeLast() } else { pending.append("RELEASE SAVEPOINT one") }
    }

    func rollbackToSavepoint() throws(StorageError) {
        if pending.contains("SAVEPOINT one") { return }
        pending.insert("ROLLBACK TO SAVEPOINT one", at: 0)
        _ = try exchange(statement: nil)
    }
}
