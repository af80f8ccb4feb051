public import Base

/// Tells the crawlers that there is something new: at once after activity, and again when the interval has ended and
/// there has been more meanwhile, so that the last event of a burst is never left waiting for the next one.
public struct CrawlerNotifier: Sendable {
    public let store: CrawlerStore
    private let newest: @Sendable () throws -> Int
    private let ask: @Sendable (Bytes) -> CrawlAnswer
    private let clock: Clock
    private let log: Log
    private let figures = CrawlerFigures()

    /// `newest` gives the number of the newest event, `ask` sends one request to the crawler at an address.
    public init(
        store: CrawlerStore, clock: Clock, log: Log, newest: @escaping @Sendable () throws -> Int,
        ask: @escaping @Sendable (Bytes) -> CrawlAnswer
    ) {
        self.store = store
        self.newest = newest
        self.ask = ask
        self.clock = clock
        self.log = log
    }

    /// Asks every crawler for whom something is pending and whose interval is over. Returns what they answered.
    /// Throws what the database throws; a crawler that does not answer is no error.
    @discardableResult
    public func tellDue() throws -> [(url: Bytes, answer: CrawlAnswer)] {
        let newest = try newest()
        return try store.list().filter { $0.isPending(newest: newest) }.compactMap { crawler in
            try tell(crawler.url, regardlessOfInterval: false).map { (crawler.url, $0) }
        }
    }

    /// Asks `url` whether there is something new or not; nil when its interval is not over, unless that does not
    /// count.
    public func tell(_ url: Bytes, regardlessOfInterval: Bool) throws -> CrawlAnswer? {
        let now = clock.now()
        // Read before the request: what comes while it is under way is told by the next.
        let newest = try newest()
        guard try store.claim(url, now: now, regardlessOfInterval: regardlessOfInterval) else { return nil }
        let started = Clock.monotonicNanoseconds()
        let answer = ask(url)
        figures.record(answer, of: url, microseconds: Int(clamping: (Clock.monotonicNanoseconds() &- started) / 1_000))
        try store.record(answer, of: url, newest: newest, now: now)
        switch answer {
        case .accepted(let status):
            log.info("crawler.told", ["crawler": .bytes(url), "status": .integer(status), "seq": .integer(newest)])
        case .refused(let status, let error):
            log.warning(
                "crawler.refused", ["crawler": .bytes(url), "status": .integer(status), "error": .bytes(error)])
        case .unreachable(let error):
            log.warning("crawler.unreachable", ["crawler": .bytes(url), "error": .bytes(error)])
        }
        return answer
    }

    /// Writes what this process has asked, and where the crawlers stand in the database.
    public func writeFigures(to text: inout MetricsText) {
        figures.write(to: &text)
        text.family("skystead_crawler_pending", .gauge, help: "1 when there is something that a crawler was not told.")
        // A database that is away has its own alarms; a scrape says what can be said.
        for (crawler, isPending) in (try? overview()) ?? [] {
            text.sample("skystead_crawler_pending", ["crawler": crawler.url], value: isPending ? 1 : 0)
        }
    }

    /// The crawlers with whether something is pending for each.
    public func overview() throws -> [(crawler: Crawler, isPending: Bool)] {
        let newest = try newest()
        return try store.list().map { ($0, $0.isPending(newest: newest)) }
    }
}
