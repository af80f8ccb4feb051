internal import ATProto
internal import Accounts
public import Base
internal import Hosting
internal import Mail
internal import Moderation
internal import Repos
internal import Storage
internal import Web

/// `skystead-worker collect`: removes what is kept for a time only, once, and ends. A timer runs it.
///
/// Two at once do no harm: each step is a transaction that removes what it finds.
public enum CollectWorker {
    /// Reports that one run passes on: some stay for the next.
    private static let reportsMax = 500

    /// Accounts whose owners wanted them gone by now, events older than the window, blobs that no record has named for
    /// longer than the grace, what imports have left behind, budgets that are over, mail of last week, kept
    /// repositories that nobody asked for. Names the accounts that are above the soft quota. Then passes on the reports
    /// that are due, for which alone it needs keys. Throws what the database and the files throw; what was removed
    /// before stays removed.
    public static func run(_ settings: Settings, log: Log) throws {
        let paths = Paths(settings)
        let clock = Clock.system
        let archive = Service.archive(paths, clock)
        let database = try Databases.openForService(settings, paths, log: log)
        let window = Int64(settings[Settings.eventWindowHours]) * 3_600

        let events = EventStore(database: database, clock: clock)
        let eventCount = try all { try events.trim(before: clock.now().adding(seconds: -window)) }
        let blobs = try BlobParts.store(settings, paths, database, clock)
        let accounts = AccountRemoval(
            database: database, accounts: AccountStore(database: database),
            repos: repos(database, events, archive, clock), events: events, blobs: blobs)
        let removed = try accounts.collect(now: clock.now(), log: AdminLog(database: database, clock: clock))
        let blobCount = try all { try blobs.purge() }
        let trashCount = try all { try blobs.emptyTrash() }
        while try blobs.sweep(.disk) > 0 {}
        let importCount = try all { try RepoImporter.collect(in: database, now: clock.now()) }
        let budgets = BudgetStore(database)
        let budgetCount = try all { try budgets.trim(now: clock.now()) }
        let mailCount = try all { try MailQueue.trim(now: clock.now(), in: database) }
        _ = archive?.trim()
        if let soft = Service.quota(settings).soft {
            for (did, bytes) in try StorageUse.accounts(above: soft, limit: Self.warningsMax, in: database) {
                log.warning("quota.soft", ["did": .bytes(did.bytes), "bytes": .integer(bytes)])
            }
        }
        log.info(
            "collect.done",
            [
                "events": .integer(eventCount), "blobs": .integer(blobCount), "trash": .integer(trashCount),
                "imports": .integer(importCount), "budgets": .integer(budgetCount), "mails": .integer(mailCount),
                "accounts": .integer(removed.deleted), "finished": .integer(removed.finished),
            ])
        // After all that needs nobody else.
        let objectCount = try all { try blobs.sweep() }
        if objectCount > 0 { log.info("collect.objects", ["removed": .integer(objectCount)]) }
        let reports = ReportStore(database: database, clock: clock)
        guard try !reports.due(limit: 1).isEmpty else { return }
        let count = try Service(settings, log: log).reports.forwardDue(limit: reportsMax)
        log.info("collect.reports", ["forwarded": .integer(count)])
    }

    /// Repositories to remove, not to write to: nothing here signs a commit.
    private static func repos(
        _ database: any Database, _ events: EventStore, _ archive: RepoArchive?, _ clock: Clock
    ) -> RepoStore {
        RepoStore(
            database: database, events: events, tids: TIDMaker(clockID: 0), clock: clock, archive: archive,
            keys: { did, _ in throw KeyError.notFound(did) })
    }

    /// Accounts above the soft quota that one run names, the largest first.
    private static let warningsMax = 100

    /// Repeats a step of bounded size until it finds nothing more; returns how many there were.
    private static func all(_ step: () throws -> Int) throws -> Int {
        var count = 0
        while true {
            let removed = try step()
            if removed == 0 { return count }
            count += removed
        }
    }
}
