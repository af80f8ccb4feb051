public import Base
public import Storage

/// One relay that is told of news, and where it stands. One row.
public struct Crawler: Sendable, Equatable {
    /// Its address without a slash at the end.
    public let url: Bytes
    /// The newest event when it last accepted a notice; 0 before.
    public let toldSeq: Int
    /// The operator wants it told whether there are events or not.
    public let isRequested: Bool
    public let askedAt: Timestamp?
    public let acceptedAt: Timestamp?
    /// The HTTP status of its last answer, if it gave one to the last attempt.
    public let status: Int?
    /// What was wrong with the last attempt; nil after one that was accepted.
    public let error: Bytes?
    /// Attempts in a row that were not accepted.
    public let failures: Int
    /// When it may be asked again.
    public let notBefore: Timestamp

    /// Whether there is something to tell it, now or once it may be asked again.
    public func isPending(newest: Int) -> Bool { isRequested || newest > toldSeq }
}

/// What became of one request to a crawler.
public enum CrawlAnswer: Sendable, Equatable {
    case accepted(status: Int)
    /// It answered something else; `error` is fit for the operator's eyes.
    case refused(status: Int, error: Bytes)
    /// It did not answer.
    case unreachable(error: Bytes)
}

/// How often a crawler is asked. Rule: specs of the reference implementation (at most once in 20 minutes).
public enum CrawlTiming {
    /// After any answer, for that long nothing more is asked.
    public static let intervalSeconds: Int64 = 20 * 60
    /// After the first attempt without any answer; it doubles with each further failure.
    public static let unreachableSeconds: Int64 = 60
    /// The longest back-off.
    public static let backOffSecondsMax: Int64 = 2 * 3_600

    /// How long to wait after `failures` failed attempts in a row, the last of which was `answer`.
    static func pauseSeconds(after answer: CrawlAnswer, failures: Int) -> Int64 {
        let base: Int64
        switch answer {
        case .accepted: return intervalSeconds
        case .refused: base = intervalSeconds
        case .unreachable: base = unreachableSeconds
        }
        let doublings = min(max(0, failures - 1), 16)
        return min(base << Int64(doublings), backOffSecondsMax)
    }
}

/// The rows of the crawlers: all that is known of them is here, so that a restart forgets nothing and the operator's
/// tool and the worker never ask twice.
public struct CrawlerStore: Sendable {
    private let database: any Database

    public init(database: any Database) { self.database = database }

    /// Makes the rows those of `urls`: missing ones are added, others removed with what was known of them.
    public func adopt(_ urls: [Bytes]) throws {
        let known = Set(try list().map(\.url))
        guard known != Set(urls) else { return }
        try database.write { writer in
            for url in known.subtracting(urls) { try writer.run("DELETE FROM crawler WHERE url = \(url.asText)") }
            for url in urls {
                try writer.run("INSERT INTO crawler (url) VALUES (\(url.asText)) ON CONFLICT (url) DO NOTHING")
            }
        }
    }

    /// Every crawler, by address.
    public func list() throws -> [Crawler] {
        try database.read { reader in
            try reader.all(
                """
                SELECT url, told_seq, requested, asked_at, accepted_at, status, error, failures, not_before
                FROM crawler ORDER BY url
                """
            ) { row in
                Crawler(
                    url: try row.text(0), toldSeq: try row.integer(1), isRequested: try row.bool(2),
                    askedAt: try row.optionalTimestamp(3), acceptedAt: try row.optionalTimestamp(4),
                    status: try row.optionalInteger(5), error: try row.optionalText(6),
                    failures: try row.integer(7), notBefore: try row.timestamp(8))
            }
        }
    }

    /// Notes that the operator wants `url` told at the next moment that its interval allows.
    public func request(_ url: Bytes) throws {
        try database.write { writer in
            _ = try writer.run("UPDATE crawler SET requested = 1 WHERE url = \(url.asText)")
        }
    }

    /// Takes the right to ask `url` now: false when it may not be asked yet, or another process was faster. Whoever
    /// has it must `record`; should it die before, the crawler is asked again after the interval.
    func claim(_ url: Bytes, now: Timestamp, regardlessOfInterval: Bool) throws -> Bool {
        // A time further away than any back-off comes from a clock that was wrong.
        let latest = now.adding(seconds: CrawlTiming.backOffSecondsMax)
        let next = now.adding(seconds: CrawlTiming.intervalSeconds)
        return try database.write { writer in
            try writer.run(
                """
                UPDATE crawler SET asked_at = \(now), not_before = \(next) WHERE url = \(url.asText)
                AND (not_before <= \(now) OR not_before > \(latest) OR \(regardlessOfInterval) = 1)
                """)
        } == 1
    }

    /// Notes what became of the attempt that was claimed at `now`, when `newest` was the newest event.
    func record(_ answer: CrawlAnswer, of url: Bytes, newest: Int, now: Timestamp) throws {
        try database.write { writer in
            switch answer {
            case .accepted(let status):
                let next = now.adding(seconds: CrawlTiming.pauseSeconds(after: answer, failures: 0))
                try writer.run(
                    """
                    UPDATE crawler SET told_seq = \(newest), requested = 0, accepted_at = \(now), status = \(status),
                        error = NULL, failures = 0, not_before = \(next)
                    WHERE url = \(url.asText)
                    """)
            case .refused(let status, let error): try fail(status, error)
            case .unreachable(let error): try fail(nil, error)
            }
            func fail(_ status: Int?, _ error: Bytes) throws {
                let failures =
                    try writer.first("SELECT failures FROM crawler WHERE url = \(url.asText)") { try $0.integer(0) }
                    ?? 0
                let next = now.adding(
                    seconds: CrawlTiming.pauseSeconds(after: answer, failures: failures + 1))
                try writer.run(
                    """
                    UPDATE crawler SET status = \(status), error = \(error.asText), failures = failures + 1,
                        not_before = \(next)
                    WHERE url = \(url.asText)
                    """)
            }
        }
    }
}

extension Bytes {
    /// These bytes as a text argument.
    fileprivate var asText: SQL.Value { .text(self) }
}
