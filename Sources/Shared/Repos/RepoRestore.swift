internal import ATProto
internal import Base
internal import Storage

extension RepoStore {
    /// What one step of `announceRestored` did.
    public struct RestoreStep: Sendable, Equatable {
        /// Repositories that were announced, and how many of them are active: these got a `#sync`.
        public let count: Int
        public let activeCount: Int
        /// Where the next step begins; nil when there is none.
        public let next: Int?
    }

    /// Repositories of one transaction: writers wait for a few milliseconds at most.
    public static let restoreBatch = 100

    /// Tells the world where the next repositories stand after a restore, whatever it knew before: `#account` for each,
    /// and for an active one a new commit over its records with a `#sync`. The new commit is needed because relays drop
    /// what has no greater revision than the last that they saw, and that one may be lost here.
    ///
    /// Call it with 0, then with `next` until that is nil. One call is one transaction; repeating it does no harm.
    public func announceRestored(after cursor: Int, limit: Int = RepoStore.restoreBatch) throws -> RestoreStep {
        try database.write { writer in
            let states = try writer.all(
                """
                SELECT id, did, rev, commit_cid, data_cid, status FROM repo WHERE id > \(cursor)
                ORDER BY id LIMIT \(limit)
                """, RepoState.init)
            var activeCount = 0
            for state in states {
                try events.appendAccount(state.did, state.status, in: writer)
                guard state.status == .active else { continue }
                activeCount += 1
                let commit = try SignedCommit(
                    state.did, try nextRev(after: state.rev), state.data, try keys(state.did, writer))
                try move(state, to: commit, data: state.data, in: writer)
                try events.appendSync(state.did, commit: commit.info, block: Bytes(commit.block), in: writer)
            }
            return RestoreStep(
                count: states.count, activeCount: activeCount, next: states.count == limit ? states.last?.id : nil)
        }
    }
}
