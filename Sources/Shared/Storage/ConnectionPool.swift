internal import Base

/// A connection that reads.
protocol ReadConnection: Reader {
    func beginRead() throws(StorageError)
    /// The next statement is a read of its own, without a transaction around it. `endRead` ends it too.
    func beginSingle() throws(StorageError)
    /// Ends the read transaction: there is nothing to keep or to lose.
    func endRead()
    /// False when the connection must not be used again.
    var isUsable: Bool { get }
}

/// A bounded pool of reading connections, opened when they are first needed: one for each thread that reads.
final class ConnectionPool<Connection: ReadConnection>: Sendable {
    /// How long a reader waits for a connection before it throws `.busy`.
    static var waitMillisecondsMax: UInt64 { 5_000 }

    private let countMax: Int
    private let open: @Sendable () throws(StorageError) -> Connection
    private let state = Monitor(State())
    private let freed = Condition()

    private struct State {
        var idle: [Connection] = []
        var open = 0
        var waiting = 0
    }

    init(countMax: Int, open: @escaping @Sendable () throws(StorageError) -> Connection) {
        self.countMax = countMax
        self.open = open
    }

    func read<Result>(_ body: (any Reader) throws -> Result) throws -> Result {
        let connection = try take()
        defer { giveBack(connection) }
        try connection.beginRead()
        defer { connection.endRead() }
        return try body(connection)
    }

    /// One statement, which needs no transaction to see one moment.
    func each(_ sql: SQL, _ body: (any Row) throws -> Bool) throws {
        let connection = try take()
        defer {
            connection.endRead()
            giveBack(connection)
        }
        try connection.beginSingle()
        try connection.each(sql, body)
    }

    private enum Taken { case connection(Connection), permission }

    private func take() throws(StorageError) -> Connection {
        var taken = state.withLock { take(from: &$0) }
        if taken == nil {
            let deadline = Clock.monotonicNanoseconds() &+ Self.waitMillisecondsMax &* 1_000_000
            state.withLock { $0.waiting += 1 }
            taken = state.wait(on: freed, deadline: deadline) { take(from: &$0) }
            state.withLock { $0.waiting -= 1 }
        }
        switch taken {
        case .connection(let connection): return connection
        case nil: throw .busy
        case .permission:
            do throws(StorageError) {
                return try open()
            } catch {
                state.withLock { $0.open -= 1 }
                freed.signal()
                throw error
            }
        }
    }

    /// The connection given back last: its cache is warm.
    private func take(from state: inout State) -> Taken? {
        if let connection = state.idle.popLast() { return .connection(connection) }
        guard state.open < countMax else { return nil }
        state.open += 1
        return .permission
    }

    private func giveBack(_ connection: Connection) {
        let isUsable = connection.isUsable
        let isAwaited = state.withLock { state in
            if isUsable { state.idle.append(connection) } else { state.open -= 1 }
            return state.waiting > 0
        }
        if isAwaited { freed.signal() }
    }
}
