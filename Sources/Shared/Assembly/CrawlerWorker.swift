public import Base
internal import CSystem
internal import Glibc
internal import Net
public import Relays
internal import Repos
public import Storage

/// `skystead-worker notify-crawlers`: tells the relays of SKYSTEAD_CRAWLERS that there is something new.
///
/// It looks once a second. The doorbell of new events has room for one listener, which is the stream; what a look costs
/// is one small read, and who may be told once in 20 minutes loses nothing by a second.
public enum CrawlerWorker {
    /// How often it looks whether somebody is to be told.
    private static let lookMilliseconds: Int32 = 1_000

    /// Works until SIGTERM or SIGINT. Needs no keys. Throws what keeps it from starting; later errors of the database
    /// are logged and tried again, because a database that restarts must not end it.
    public static func run(_ settings: Settings, log: Log) throws {
        blockEndingSignals()
        let database = try Databases.openForService(settings, Paths(settings), log: log)
        let notifier = notifier(settings, database, log: log)
        try notifier.store.adopt(settings[Settings.crawlers])
        let metrics = Metrics()
        Observability.register(metrics, process: "notify-crawlers", database)
        metrics.register { notifier.writeFigures(to: &$0) }
        try Observability.open(metrics, port: settings[Settings.crawlersMetricsPort], log: log)
        log.info("crawlers.started", ["crawlers": .integer(settings[Settings.crawlers].count)])
        var isWell = true
        repeat {
            do {
                try notifier.tellDue()
                isWell = true
            } catch {
                // Once, not once a second.
                if isWell { log.error("crawlers.database", ["cause": .text("\(error)")]) }
                isWell = false
            }
        } while csystem_wait_for_end(lookMilliseconds) <= 0
        log.info("crawlers.stopped")
    }

    /// What tells the crawlers of these settings; the operator's tool has one of its own.
    public static func notifier(_ settings: Settings, _ database: any Database, log: Log) -> CrawlerNotifier {
        let client = Outbound.client(settings)
        let hostname = Names(settings).host
        let events = EventStore(database: database, clock: .system)
        return CrawlerNotifier(
            store: CrawlerStore(database: database), clock: .system, log: log, newest: { try events.newest() },
            ask: { Relay(url: $0, client: client).requestCrawl(hostname: hostname) })
    }

    private static func blockEndingSignals() {
        var set = sigset_t()
        sigemptyset(&set)
        for signal in [SIGTERM, SIGINT] { sigaddset(&set, signal) }
        pthread_sigmask(SIG_BLOCK, &set, nil)
    }
}
