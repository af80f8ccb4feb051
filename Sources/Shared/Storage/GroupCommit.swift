internal import Base
internal import Glibc

/// One connection that writes, as the group commit needs it.
protocol BatchConnection: Writer {
    /// Begins the write transaction, or throws `.busy` when another process keeps the lock too long.
    func begin() throws(StorageError)
    /// Makes the transaction durable. When it throws, none of it happened, but for `.unknownOutcome`.
    func commit() throws(StorageError)
    /// Ends the transaction, if there is one, with nothing of it left.
    func rollback()
    func savepoint() throws(StorageError)
    func releaseSavepoint() throws(StorageError)
    func rollbackToSavepoint() throws(StorageError)

    /// False once the engine has ended the transaction of its own accord (full disk, I/O error, lost connection).
    var isInTransaction: Bool { get }
    /// False when the connection must be closed and opened again.
    var isUsable: Bool { get }
    /// The first statement of the present body that failed, whether or not the body caught the error.
    var failure: StorageError? { get set }
    /// What the present body wants to be run after the commit.
    var afterCommitBodies: [@Sendable () -> Void] { get set }
    /// Called once after a commit, when the bodies' own wishes have been met.
    func didCommit()
}

/// Lets the write transactions of several threads share one durable commit, without a thread of its own.
///
/// "Flat combining": a thread that wants to write puts its body into the queue. If no thread leads, it becomes the
/// leader: it begins a transaction, runs all queued bodies in order, each in a savepoint, commits once and wakes the
/// others. Bodies that arrive meanwhile are the next batch, and the first of their threads its leader. A lone writer
/// pays for two uncontended locks and no savepoint.
///
/// The bodies are non-escaping closures that may run on another thread. This is sound because the thread that
/// submitted one does nothing until its ticket is done, a ticket's body is dropped before that, and the lock of
/// `state` orders what both threads see.
final class GroupCommit<Connection: BatchConnection>: Sendable {
    /// The most bodies in one transaction.
    let batchCountMax: Int
    let figures = StoreFigures()
    /// After this long no further body begins in a transaction, so that a batch of slow ones delays nobody for long.
    static var batchNanosecondsMax: UInt64 { 20_000_000 }

    private let open: @Sendable () throws -> Connection
    private let connection: Guarded<Connection?>
    private let state = Monitor(State())

    private struct State {
        var queue: [Ticket] = []
        /// True from the moment a thread leads until nobody is left to hand the lead to.
        var isLed = false
        /// The leader while it runs a batch; nil while the lead is handed on.
        var leader: pthread_t?
    }

    private final class Ticket {
        enum Phase { case waiting, leading, done }
        var phase = Phase.waiting
        var body: ((any Writer) throws -> Void)?
        var error: (any Error)?
        var afterCommit: [@Sendable () -> Void] = []
        /// Made when its thread has to wait: posted once, after `phase` was set.
        var woken: Semaphore?

        init(_ body: @escaping (any Writer) throws -> Void) { self.body = body }
    }

    /// `open` is called for the first connection and again after one became unusable.
    init(connection: Connection?, batchCountMax: Int = 128, open: @escaping @Sendable () throws -> Connection) {
        self.connection = Guarded(connection)
        self.batchCountMax = batchCountMax
        self.open = open
    }

    func write<Result>(queued: () -> Void = {}, _ body: (any Writer) throws -> Result) throws -> Result {
        var result: Result?
        try withoutActuallyEscaping(body) { body in
            let ticket = Ticket { result = try body($0) }
            submit(ticket, queued)
            if let error = ticket.error { throw error }
        }
        // A ticket without an error is one whose body returned.
        guard let result else { throw StorageError.unknownOutcome }
        return result
    }

    /// Bodies that wait for their turn now.
    var waitingCount: Int { state.withLock { $0.queue.count } }

    /// Returns when `ticket` is done.
    private func submit(_ ticket: Ticket, _ queued: () -> Void) {
        let leads = state.withLock { state in
            if state.isLed {
                // A write inside a write would wait for itself for ever.
                if let leader = state.leader {
                    precondition(pthread_equal(leader, pthread_self()) == 0, "write called inside a write")
                }
                ticket.woken = Semaphore()
                state.queue.append(ticket)
                return false
            }
            state.isLed = true
            state.leader = pthread_self()
            return true
        }
        queued()
        if leads { return lead([ticket]) }
        // A semaphore and not a condition: its thread needs no lock to go on, and twenty that wake at once would all
        // want the same one.
        ticket.woken?.wait()
        guard case .leading = ticket.phase else { return }
        let batch = state.withLock { state in
            state.leader = pthread_self()
            let count = min(state.queue.count, batchCountMax)
            let batch = Array(state.queue[..<count])
            state.queue.removeFirst(count)
            return batch
        }
        lead(batch)
    }

    /// Runs `batch`, whose first ticket is this thread's, and hands the lead on.
    private func lead(_ batch: [Ticket]) {
        let count = connection.withLock { run(batch, on: &$0) }
        let next: Ticket? = state.withLock { state in
            for ticket in batch[..<count] { ticket.phase = .done }
            if count < batch.count { state.queue.insert(contentsOf: batch[count...], at: 0) }
            state.leader = nil
            guard let next = state.queue.first else {
                state.isLed = false
                return nil
            }
            next.phase = .leading
            return next
        }
        // The next leader first: its commit is what the others will wait for.
        next?.woken?.post()
        for ticket in batch[..<count].dropFirst() { ticket.woken?.post() }
    }

    /// Runs the bodies of `batch` in one transaction, sets what became of each and returns how many it came to.
    private func run(_ batch: [Ticket], on slot: inout Connection?) -> Int {
        // A batch that can't begin fails as a whole; one whose transaction is lost, up to there.
        var ran = batch.count
        do {
            let connection = try slot ?? open()
            slot = connection
            let started = Clock.monotonicNanoseconds()
            try connection.begin()
            ran = 0
            try runBodies(batch, on: connection, ran: &ran)
            let kept = batch[..<ran].filter { $0.error == nil }
            if kept.isEmpty {
                connection.rollback()
            } else {
                try connection.commit()
                figures.recordCommit(bodies: kept.count, nanoseconds: Clock.monotonicNanoseconds() &- started)
                for ticket in kept { for body in ticket.afterCommit { body() } }
                connection.didCommit()
            }
        } catch {
            // Nothing was committed (or nobody knows): everyone who hoped for it is told.
            for ticket in batch[..<ran] where ticket.error == nil { ticket.error = error }
            figures.failures.add()
            slot?.rollback()
        }
        if slot?.isUsable == false { slot = nil }
        for ticket in batch[..<ran] {
            ticket.body = nil
            ticket.afterCommit = []
        }
        return ran
    }

    /// Runs the bodies, each in a savepoint unless it is alone. Throws when the transaction as a whole is lost.
    private func runBodies(_ batch: [Ticket], on connection: Connection, ran: inout Int) throws {
        let alone = batch.count == 1
        let started = alone ? 0 : Clock.monotonicNanoseconds()
        for ticket in batch {
            if ran > 0, Clock.monotonicNanoseconds() &- started > Self.batchNanosecondsMax { return }
            ran += 1
            connection.failure = nil
            connection.afterCommitBodies = []
            do {
                if !alone { try connection.savepoint() }
                try ticket.body?(connection)
                // A statement that failed fails its body, caught or not: PostgreSQL does so, hence SQLite too.
                if let failure = connection.failure { throw failure }
                if !alone { try connection.releaseSavepoint() }
                ticket.afterCommit = connection.afterCommitBodies
            } catch {
                ticket.error = error
                guard connection.isInTransaction else { throw connection.failure ?? .unknownOutcome }
                if !alone {
                    try connection.rollbackToSavepoint()
                    try connection.releaseSavepoint()
                }
            }
        }
    }
}
