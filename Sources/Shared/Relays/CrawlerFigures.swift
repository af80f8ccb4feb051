internal import Base

/// What one process has asked of crawlers.
final class CrawlerFigures: Sendable {
    private struct Figures {
        var requests: [[Bytes]: Int] = [:]
        var count = 0
        var microseconds = 0
    }
    private let figures = Guarded(Figures())

    func record(_ answer: CrawlAnswer, of url: Bytes, microseconds: Int) {
        let outcome: Bytes
        switch answer {
        case .accepted: outcome = "accepted"
        case .refused: outcome = "refused"
        case .unreachable: outcome = "unreachable"
        }
        figures.withLock { figures in
            figures.requests[[url, outcome], default: 0] += 1
            figures.count += 1
            figures.microseconds &+= microseconds
        }
    }

    func write(to text: inout MetricsText) {
        let figures = figures.withLock { $0 }
        text.family("skystead_crawler_requests_total", .counter, help: "Requests to crawlers, by what became of them.")
        for (labels, count) in figures.requests.sorted(by: { $0.key.lexicographicallyPrecedes($1.key) }) {
            text.sample(
                "skystead_crawler_requests_total", ["crawler": labels[0], "outcome": labels[1]], value: count)
        }
        text.family("skystead_crawler_request_duration_seconds", .summary, help: "How long crawlers took to answer.")
        text.sample("skystead_crawler_request_duration_seconds", suffix: "_sum", microseconds: figures.microseconds)
        text.sample("skystead_crawler_request_duration_seconds", suffix: "_count", value: figures.count)
    }
}
