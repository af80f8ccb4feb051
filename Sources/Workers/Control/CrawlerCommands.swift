internal import Assembly
internal import Base
internal import Relays
internal import Storage

extension Command {
    static let crawlers = Command(
        "crawlers", summary: "prints the relays of SKYSTEAD_CRAWLERS: what each was told, and what it answered"
    ) { invocation in
        let overview = try CrawlerTool.notifier().overview()
        for (crawler, isPending) in overview {
            for line in CrawlerTool.lines(crawler, isPending: isPending, now: Clock.system.now()) {
                invocation.output.line(line)
            }
        }
        return 0
    }

    static let crawlersNotify = Command(
        "crawlers notify",
        options: [
            Option(name: "now", value: nil, help: "ask at once, even if the last time is less than 20 minutes ago")
        ],
        summary: "asks every relay of SKYSTEAD_CRAWLERS to crawl this server, or has it asked when it may be"
    ) { invocation in
        let notifier = try CrawlerTool.notifier()
        var code: Int32 = 0
        for crawler in try notifier.store.list() {
            try notifier.store.request(crawler.url)
            let output = invocation.output
            switch try notifier.tell(crawler.url, regardlessOfInterval: invocation.has("now")) {
            case .accepted(let status): output.line("\(crawler.url)  accepted (\(status))")
            case .refused(let status, let error):
                output.line("\(crawler.url)  refused (\(status)): \(error)")
                code = 1
            case .unreachable(let error):
                output.line("\(crawler.url)  did not answer: \(error)")
                code = 1
            case nil:
                output.line(
                    "\(crawler.url)  was asked not long ago; skystead-worker notify-crawlers asks again from "
                        + "\(crawler.notBefore.iso8601) (--now does not wait)")
            }
        }
        return code
    }
}

/// What the commands about crawlers share.
enum CrawlerTool {
    /// Throws `ToolError` when there are no crawlers, or no database of this schema.
    static func notifier() throws -> CrawlerNotifier {
        let settings = try ToolSettings.load()
        let urls = settings[Settings.crawlers]
        guard !urls.isEmpty else {
            throw ToolError("no crawlers are configured", remedy: "set SKYSTEAD_CRAWLERS, such as https://bsky.network")
        }
        let notifier = CrawlerWorker.notifier(settings, try database(settings), log: .silent)
        try notifier.store.adopt(urls)
        return notifier
    }

    static func database(_ settings: Settings) throws -> any MigratableDatabase {
        do {
            return try Databases.openForService(settings, Paths(settings), log: .silent)
        } catch StorageError.schemaVersion(let found, let wanted) {
            throw ToolError(
                "the database's schema is version \(found), this program wants \(wanted)", remedy: "skystead migrate")
        }
    }

    static func lines(_ crawler: Crawler, isPending: Bool, now: Timestamp) -> [String] {
        var lines = ["\(crawler.url)"]
        lines.append("  asked      \(crawler.askedAt?.iso8601 ?? "never")")
        lines.append("  accepted   \(crawler.acceptedAt?.iso8601 ?? "never")\(crawler.status.map { " (\($0))" } ?? "")")
        if let error = crawler.error { lines.append("  error      \(error) (\(crawler.failures) in a row)") }
        let when = crawler.notBefore > now ? "not before \(crawler.notBefore.iso8601)" : "now"
        lines.append("  pending    \(isPending ? "yes, \(when)" : "no")")
        return lines
    }
}
