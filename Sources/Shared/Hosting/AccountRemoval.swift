public import ATProto
public import Accounts
public import Base
internal import Identity
internal import Mail
public import Moderation
public import Repos
public import Storage
internal import Web

/// The end of an account, completely: what it was, said, stored and was reported for.
///
/// With the first transaction it is gone for everyone, and the network is told. What is large (records, tree, events,
/// blobs) follows in transactions of bounded size, which hold up nobody; should a crash come between, `collect` goes
/// on. What stays is the `#account` event that says so, and the log of administration.
///
/// It needs no keys: a worker carries it out.
public struct AccountRemoval: Sendable {
    /// Accounts that one run of `collect` deletes.
    public static let dueMax = 1_000

    private let database: any Database
    private let accounts: AccountStore
    private let repos: RepoStore
    private let events: EventStore
    private let blobs: BlobStore

    public init(
        database: any Database, accounts: AccountStore, repos: RepoStore, events: EventStore, blobs: BlobStore
    ) {
        self.database = database
        self.accounts = accounts
        self.repos = repos
        self.events = events
        self.blobs = blobs
    }

    /// Deletes the account. Throws `AccountError.notFound`, also when it is wanted only if it is `due` at that moment
    /// and is not. `first` and `also` run at the beginning and at the end of the transaction with which it is gone.
    public func delete(
        _ did: DID, due moment: Timestamp? = nil, first: (any Writer) throws -> Void = { _ in },
        also: (any Writer) throws -> Void = { _ in }
    ) throws {
        try database.write { writer in
            try first(writer)
            guard try AccountStore.find(did, in: writer) != nil else { throw AccountError.notFound }
            if let moment { try AccountStore.checkDue(did, at: moment, in: writer) }
            try repos.markDeleted(did, in: writer)
            try AccountStore.delete(did, in: writer)
            try Resolver.forget(did, in: writer)
            try ReportStore.remove(of: did, in: writer)
            try LabelStore.remove(of: did, in: writer)
            try MailQueue.remove(of: did, in: writer)
            try BudgetStore.forget(key: did.bytes, in: writer)
            try events.appendAccount(did, .deleted, in: writer)
            try also(writer)
        }
        try finish(did)
    }

    /// Removes what the first transaction left: in any order, as often as it takes; the repository's row is the mark
    /// that there is something left, and goes last.
    private func finish(_ did: DID) throws {
        repos.archive?.remove(did)
        try events.removeAll(of: did)
        while try repos.removeRows(of: did) {}
        while try blobs.remove(of: did) {}
        // What is in a bucket takes a request each: `collect` removes it.
        while try blobs.sweep(.disk) > 0 {}
        try repos.finishRemoval(of: did)
    }

    /// Finishes what was interrupted, and deletes the accounts whose owners wanted them gone by `now`. Returns how many
    /// of each.
    public func collect(now: Timestamp, log: AdminLog) throws -> (finished: Int, deleted: Int) {
        let left = try repos.deleted(limit: Self.dueMax)
        for did in left { try finish(did) }
        var deleted = 0
        for did in try accounts.due(at: now, limit: Self.dueMax) {
            do {
                try delete(did, due: now) { writer in
                    try log.note(.delete, did.bytes, by: .worker, detail: "deleteAfter", in: writer)
                }
                deleted += 1
            } catch AccountError.notFound {
                // Activated again, or deleted by another hand, since it was listed.
                continue
            }
        }
        return (left.count, deleted)
    }
}
