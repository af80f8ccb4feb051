public import Base
internal import Glibc
internal import Repos
internal import Storage
internal import Stream

/// `skystead-worker stream`: the firehose over the event table.
public enum StreamWorker {
    /// Serves until SIGTERM or SIGINT. Throws what keeps it from starting.
    public static func run(_ settings: Settings, log: Log) throws {
        let sockets = InheritedSockets()
        let paths = Paths(settings)
        let database = try Databases.openForService(settings, paths, log: log)
        let events = EventStore(database: database, clock: .system)
        let source = DatabaseEvents(events: events, signal: try database.changeSignal())
        let control = try StreamControl()
        control.stopOnTermination()
        let metrics = Metrics()
        Observability.register(metrics, process: "stream")
        metrics.register { control.counters.write(to: &$0) }
        try Observability.open(
            metrics, inherited: sockets.metrics, port: settings[Settings.streamMetricsPort], log: log)
        let server = try StreamServer(source: source, control: control, log: log)
        try server.run(listener: try sockets.requests ?? listener(settings, paths))
    }

    private static func listener(_ settings: Settings, _ paths: Paths) throws -> Int32 {
        let port = settings[Settings.streamPort]
        if port != 0 { return try StreamListener.tcp("127.0.0.1", port: port) }
        return try StreamListener.unix(paths.streamSocket)
    }
}

/// The event table as the stream server reads it.
private final class DatabaseEvents: EventSource {
    private let store: EventStore
    private let signal: any ChangeSignal

    init(events: EventStore, signal: any ChangeSignal) {
        store = events
        self.signal = signal
    }

    func events(after: Int, limit: Int, sizeMax: Int) throws -> [StreamEvent] {
        try store.events(after: after, limit: limit, sizeMax: sizeMax).map { StreamEvent(seq: $0.seq, frame: $0.frame) }
    }

    func bounds() throws -> StreamBounds { StreamBounds(oldest: try store.oldest(), newest: try store.newest()) }

    var wakeup: Int32? { signal.descriptor >= 0 ? signal.descriptor : nil }

    func acknowledgeWakeup() { signal.drain() }
}
