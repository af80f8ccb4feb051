internal import Base

/// What one worker thread counts about its requests. The lock is the thread's own but for a scrape.
final class RequestMetrics: Sendable {
    /// Upper bounds of the duration histogram, in microseconds.
    static let bounds = DurationHistogram.bounds
    /// Routes beyond this many share the label `other`: a mistake in a responder must not fill the memory.
    static let routeCountMax = 512

    struct Figures: Sendable {
        /// Requests whose duration is in each bound's bucket (not cumulative), and one more for the rest.
        var buckets = [Int](repeating: 0, count: RequestMetrics.bounds.count + 1)
        var microseconds = 0
        /// By the first digit of the status, 2 to 5.
        var byClass = [Int](repeating: 0, count: 4)
        var incomplete = 0

        mutating func add(_ other: Figures) {
            for index in buckets.indices { buckets[index] &+= other.buckets[index] }
            for index in byClass.indices { byClass[index] &+= other.byClass[index] }
            microseconds &+= other.microseconds
            incomplete &+= other.incomplete
        }
    }

    private let figures = Guarded<[Bytes: Figures]>([:])

    func record(route: Bytes, status: Int, microseconds: Int, isComplete: Bool) {
        let bucket = Self.bounds.firstIndex { microseconds <= $0 } ?? Self.bounds.count
        let statusClass = min(max(status / 100, 2), 5) - 2
        figures.withLock { figures in
            var key = route
            if figures[key] == nil, figures.count >= Self.routeCountMax { key = "other" }
            figures[key, default: Figures()].update(bucket, statusClass, microseconds, isComplete)
        }
    }

    var snapshot: [Bytes: Figures] { figures.withLock { $0 } }

    /// The sum over all workers, as Prometheus families.
    static func write(_ workers: [RequestMetrics], to text: inout MetricsText) {
        var sum: [Bytes: Figures] = [:]
        for worker in workers {
            for (route, figures) in worker.snapshot { sum[route, default: Figures()].add(figures) }
        }
        let routes = sum.sorted { $0.key < $1.key }
        let classes: [Bytes] = ["2xx", "3xx", "4xx", "5xx"]
        text.family("skystead_requests_total", .counter, help: "Requests answered, by route and class of status.")
        for (route, figures) in routes {
            for index in classes.indices where figures.byClass[index] > 0 {
                text.sample(
                    "skystead_requests_total", ["route": route, "status": classes[index]], value: figures.byClass[index]
                )
            }
        }
        text.family(
            "skystead_responses_incomplete_total", .counter,
            help: "Responses that the client left or that broke off, by route.")
        for (route, figures) in routes where figures.incomplete > 0 {
            text.sample("skystead_responses_incomplete_total", ["route": route], value: figures.incomplete)
        }
        writeDurations(routes, to: &text)
    }

    private static func writeDurations(_ routes: [(key: Bytes, value: Figures)], to text: inout MetricsText) {
        text.family(
            "skystead_request_duration_seconds", .histogram, help: "Time from the parameters to the end of the answer.")
        for (route, figures) in routes {
            var total = 0
            for (index, bound) in bounds.enumerated() {
                total &+= figures.buckets[index]
                text.sample(
                    "skystead_request_duration_seconds", suffix: "_bucket",
                    ["route": route, "le": Bytes(MetricsText.seconds(bound))], value: total)
            }
            total &+= figures.buckets[bounds.count]
            text.sample(
                "skystead_request_duration_seconds", suffix: "_bucket", ["route": route, "le": "+Inf"], value: total)
            text.sample(
                "skystead_request_duration_seconds", suffix: "_sum", ["route": route],
                microseconds: figures.microseconds)
            text.sample("skystead_request_duration_seconds", suffix: "_count", ["route": route], value: total)
        }
    }
}

extension RequestMetrics.Figures {
    fileprivate mutating func update(_ bucket: Int, _ statusClass: Int, _ microseconds: Int, _ isComplete: Bool) {
        buckets[bucket] &+= 1
        byClass[statusClass] &+= 1
        self.microseconds &+= microseconds
        if !isComplete { incomplete &+= 1 }
    }
}
