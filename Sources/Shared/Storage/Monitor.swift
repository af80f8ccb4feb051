internal import Glibc

/// A value that one thread at a time may use, and conditions to wait for while it is given up.
///
/// `Base.Guarded` with waiting. Sound for the same reason: `value` is only ever reached with the lock held.
final class Monitor<Value>: @unchecked Sendable {
    private var value: Value
    private let lock: UnsafeMutablePointer<pthread_mutex_t>

    init(_ value: Value) {
        self.value = value
        lock = .allocate(capacity: 1)
        lock.initialize(to: pthread_mutex_t())
        pthread_mutex_init(lock, nil)
    }

    deinit {
        pthread_mutex_destroy(lock)
        lock.deallocate()
    }

    /// Runs `body` while no other thread is inside. Not reentrant.
    func withLock<Result>(_ body: (inout Value) -> Result) -> Result {
        pthread_mutex_lock(lock)
        defer { pthread_mutex_unlock(lock) }
        return body(&value)
    }

    /// Waits on `condition` until `body` answers something; nil when `deadline` (monotonic nanoseconds) passes first.
    func wait<Result>(
        on condition: Condition, deadline: UInt64? = nil, until body: (inout Value) -> Result?
    ) -> Result? {
        pthread_mutex_lock(lock)
        defer { pthread_mutex_unlock(lock) }
        while true {
            if let result = body(&value) { return result }
            guard let deadline else {
                pthread_cond_wait(condition.pointer, lock)
                continue
            }
            var time = timespec(
                tv_sec: Int(deadline / 1_000_000_000), tv_nsec: Int(deadline % 1_000_000_000))
            if pthread_cond_timedwait(condition.pointer, lock, &time) == ETIMEDOUT { return body(&value) }
        }
    }
}

/// What a thread waits on inside a `Monitor`. Its clock is the monotonic one.
final class Condition: Sendable {
    // Written by init and deinit only; pthread_cond_* may be called on it by every thread.
    nonisolated(unsafe) fileprivate let pointer: UnsafeMutablePointer<pthread_cond_t>

    init() {
        pointer = .allocate(capacity: 1)
        pointer.initialize(to: pthread_cond_t())
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(pointer, &attributes)
        pthread_condattr_destroy(&attributes)
    }

    deinit {
        pthread_cond_destroy(pointer)
        pointer.deallocate()
    }

    func signal() { pthread_cond_signal(pointer) }
}

/// What one thread waits for and another posts: whatever was written before the post is seen after the wait.
final class Semaphore: Sendable {
    // Written by init and deinit only; sem_* may be called on it by every thread.
    nonisolated(unsafe) private let pointer: UnsafeMutablePointer<sem_t>

    init() {
        pointer = .allocate(capacity: 1)
        sem_init(pointer, 0, 0)
    }

    deinit {
        sem_destroy(pointer)
        pointer.deallocate()
    }

    func post() { sem_post(pointer) }

    /// Signals that interrupt are waited out.
    func wait() { while sem_wait(pointer) != 0 {} }
}
