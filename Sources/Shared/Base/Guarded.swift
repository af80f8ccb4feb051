internal import Glibc

/// A value that one thread at a time may use.
///
/// `Synchronization.Mutex` asks that what goes in and out be `sending`, which a transaction closure can't promise.
/// Beside `Storage.Monitor`, which can wait, this is the one `@unchecked Sendable` of its kind; its soundness is that
/// `value` is only ever reached inside `withLock`.
public final class Guarded<Value>: @unchecked Sendable {
    private var value: Value
    private let lock: UnsafeMutablePointer<pthread_mutex_t>

    public init(_ value: Value) {
        self.value = value
        lock = .allocate(capacity: 1)
        lock.initialize(to: pthread_mutex_t())
        pthread_mutex_init(lock, nil)
    }

    deinit {
        pthread_mutex_destroy(lock)
        lock.deallocate()
    }

    /// Runs `body` while no other thread is inside `withLock` of this value. Not reentrant.
    public func withLock<Result, E: Error>(_ body: (inout Value) throws(E) -> Result) throws(E) -> Result {
        pthread_mutex_lock(lock)
        defer { pthread_mutex_unlock(lock) }
        return try body(&value)
    }
}
