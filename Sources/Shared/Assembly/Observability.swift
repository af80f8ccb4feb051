public import Base
internal import Hosting
internal import Mail
internal import Moderation
internal import Repos
public import Storage

/// Figures that several processes have in common.
public enum Observability {
    /// Counts what the log calls errors, by event. There is one log in a process, and one of these.
    static let errors = ErrorCounts()

    /// The version, the errors and, with a database, its writes.
    public static func register(_ metrics: Metrics, process: Bytes, _ database: (any Database)? = nil) {
        metrics.register { text in
            text.family("skystead_build_info", .gauge, help: "1, with the program's version and the process's name.")
            text.sample("skystead_build_info", ["version": Bytes(Version.text), "process": process], value: 1)
            errors.write(to: &text)
        }
        if let database = database as? any MeteredDatabase {
            metrics.register { database.writeFigures(to: &$0) }
        }
    }

    static func register(_ metrics: Metrics, _ blobs: BlobStore) {
        metrics.register { text in
            text.family("skystead_blob_received_bytes_total", .counter, help: "Bytes of blobs that were uploaded.")
            text.sample("skystead_blob_received_bytes_total", value: blobs.bytesReceived.value)
            text.family("skystead_blob_sent_bytes_total", .counter, help: "Bytes of blobs that were asked for.")
            text.sample("skystead_blob_sent_bytes_total", value: blobs.bytesSent.value)
        }
    }

    /// What waits in the database to be done, asked for at each scrape. While the database does not answer there are no
    /// samples.
    static func registerQueues(_ metrics: Metrics, _ service: Service) {
        let (database, reports, blobs) = (service.database, service.reports.reports, service.blobs)
        metrics.register { text in
            text.family("skystead_queue_depth", .gauge, help: "What waits in the database to be done, by queue.")
            let queues: [(name: Bytes, depth: () throws -> Int)] = [
                ("mail", { try MailQueue.depth(in: database) }), ("reports", { try reports.openCount() }),
                ("blob_leftovers", { try blobs.leftoverCount() }),
            ]
            for queue in queues {
                guard let depth = try? queue.depth() else { continue }
                text.sample("skystead_queue_depth", ["queue": queue.name], value: depth)
            }
        }
    }

    /// Opens the door for scrapes: on the socket that was inherited for it, else on `port` of 127.0.0.1, unless that is
    /// 0. Throws `SystemError`.
    static func open(_ metrics: Metrics, inherited: Int32? = nil, port: Int, log: Log) throws(SystemError) {
        guard inherited != nil || port != 0 else { return }
        _ = ProcessMetrics.startedAt
        metrics.register { ProcessMetrics.write(to: &$0) }
        let door: MetricsDoor
        if let inherited {
            door = MetricsDoor(inherited: inherited, metrics: metrics)
        } else {
            door = try MetricsDoor(port: port, metrics: metrics)
        }
        try door.start()
        log.info("metrics", ["port": .integer(door.port)])
    }
}

/// Errors since the start, by the log's word for them.
final class ErrorCounts: Sendable {
    private let counts = Guarded<[Bytes: Int]>([:])
    /// Reports of `ErrorReports` that were not sent.
    let lostReports = Counter()

    func count(_ event: Bytes) { counts.withLock { $0[event, default: 0] &+= 1 } }

    func write(to text: inout MetricsText) {
        text.family("skystead_errors_total", .counter, help: "Errors that the log holds, by its word for them.")
        let sorted = counts.withLock { $0 }.sorted { $0.key < $1.key }
        // One series from the start, so that the first error is an increase.
        if sorted.isEmpty { text.sample("skystead_errors_total", ["event": "none"], value: 0) }
        for (event, count) in sorted { text.sample("skystead_errors_total", ["event": event], value: count) }
        text.family(
            "skystead_error_reports_lost_total", .counter, help: "Reports of errors that could not be sent.")
        text.sample("skystead_error_reports_lost_total", value: lostReports.value)
    }
}
