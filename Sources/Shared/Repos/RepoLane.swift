internal import ATProto
internal import Base
internal import Glibc

/// The writes of this process to one repository, in the order in which they will run, and the state that the next of
/// them can be prepared on.
///
/// That state may be of a commit that is not durable yet, or never will be: it is a guess that makes work outside of
/// the transaction worth while. What decides is the row that the transaction finds (`RepoStore.store`).
final class RepoLane: Sendable {
    private struct State {
        /// What the next commit is prepared on; nil when that must be asked of the database.
        var head: RepoHead?
        /// How many of the next writes are made inside of the transaction, after a guess was wrong.
        var inside = 0
        /// `inside` after the next wrong guess: twice as many each time, so that a repository that several processes
        /// write costs little more than without any guess.
        var backOff = 1
    }

    /// What to do with the next write.
    enum Turn {
        /// Prepare it on this state, or on what the database says.
        case prepare(RepoHead?)
        /// Make it inside of the transaction.
        case inside
        /// The same, and let nobody pass before it is done: nothing is in flight then, and guesses can begin again.
        case alone
    }

    private static let insideMax = 64

    private let state = Guarded(State())
    // Written by init and deinit only; pthread_mutex_* may be called on it by every thread.
    nonisolated(unsafe) private let mutex: UnsafeMutablePointer<pthread_mutex_t>

    init() {
        mutex = .allocate(capacity: 1)
        mutex.initialize(to: pthread_mutex_t())
        pthread_mutex_init(mutex, nil)
    }

    deinit {
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
    }

    /// Takes the lane: who is in it prepares a write, gives it its place in the order of writes and leaves. What runs
    /// inside of a transaction never enters a lane.
    func enter() { pthread_mutex_lock(mutex) }
    func leave() { pthread_mutex_unlock(mutex) }

    /// For the thread that is in the lane.
    func next() -> Turn {
        state.withLock { state in
            if state.inside == 0 { return .prepare(state.head) }
            state.inside -= 1
            return state.inside == 0 ? .alone : .inside
        }
    }

    /// A commit was prepared on `base`.
    func prepared(_ head: RepoHead, on base: RepoState) {
        state.withLock { state in
            // Meanwhile a guess may have turned out wrong.
            guard state.inside == 0, state.head == nil || state.head?.state.commit == base.commit else { return }
            state.head = head
        }
    }

    /// A guess was right.
    func confirm() { state.withLock { $0.backOff = 1 } }

    /// A guess was wrong, or the repository went where no guess was made: so are those that were built on it.
    func lost() {
        state.withLock { state in
            state.head = nil
            guard state.inside == 0 else { return }
            state.inside = state.backOff
            state.backOff = min(state.backOff * 2, Self.insideMax)
        }
    }
}

/// The lanes of the repositories that this process wrote to last.
final class RepoLanes: Sendable {
    /// With a pack of 4 KB each, 8 MB.
    private static let countMax = 2_048

    private let lanes = Guarded<[DID: RepoLane]>([:])

    /// A lane that is let go while it is in use only loses its guesses.
    func lane(of did: DID) -> RepoLane {
        lanes.withLock { lanes in
            if let lane = lanes[did] { return lane }
            if lanes.count >= Self.countMax { lanes.removeAll(keepingCapacity: true) }
            let lane = RepoLane()
            lanes[did] = lane
            return lane
        }
    }
}
