public import Base
internal import CSystem
internal import Glibc
public import Web

/// A process that answers FastCGI requests with one responder, from its first signal to its last.
public struct FastCGIHost: Sendable {
    private let configuration: FastCGIConfiguration
    private let responder: Responder
    private let log: Log
    private let metrics: Metrics

    public init(
        configuration: FastCGIConfiguration, responder: @escaping Responder, log: Log, metrics: Metrics = Metrics()
    ) {
        self.configuration = configuration
        self.responder = responder
        self.log = log
        self.metrics = metrics
    }

    /// The process is stopped by these; a drain then ends it.
    private static let endingSignals = [SIGTERM, SIGINT]

    /// Serves until SIGTERM or SIGINT, then lets the requests in flight end. Call it on the main thread, before any
    /// other thread exists: the signals must be blocked in all of them.
    ///
    /// Returns the exit status: 0 after a complete drain, 75 (EX_TEMPFAIL) when requests were still running at the
    /// drain deadline, 71 (EX_OSERR) when it could not start.
    public func run() -> Int32 {
        blockEndingSignals()
        let manager = ServiceManager()
        let server: Server
        do throws(FastCGIStartError) {
            server = try start()
        } catch {
            log.error("fcgi.start-failed", ["error": .text(error.description)])
            return EX_OSERR
        }
        log.info("fcgi.ready", ["threads": .integer(configuration.threads)])
        manager.send("READY=1")
        let signal = waitForEnd(server, manager)
        manager.send("STOPPING=1")
        log.info("fcgi.draining", ["signal": .integer(Int(signal))])
        let left = server.drain(deadlineSeconds: configuration.drainDeadlineSeconds)
        if left > 0 {
            log.error("fcgi.drain-incomplete", ["requests": .integer(left)])
            return EX_TEMPFAIL
        }
        log.info("fcgi.stopped")
        return 0
    }

    private func blockEndingSignals() {
        var set = sigset_t()
        sigemptyset(&set)
        for signal in Self.endingSignals { sigaddset(&set, signal) }
        pthread_sigmask(SIG_BLOCK, &set, nil)
    }

    private func start() throws(FastCGIStartError) -> Server {
        let socket = try ListeningSocket.open(path: configuration.socketPath, backlog: configuration.backlog)
        Server.prepareProcess()
        _ = ProcessMetrics.startedAt
        metrics.register { ProcessMetrics.write(to: &$0) }
        let server = Server(
            descriptor: socket.descriptor, configuration: configuration, responder: responder, log: log,
            metrics: metrics)
        do throws(SystemError) {
            if let port = configuration.metricsPort {
                let door = try MetricsDoor(port: port, metrics: metrics)
                try door.start()
                log.info("fcgi.metrics", ["port": .integer(door.port)])
            }
            try server.start()
        } catch {
            throw .system(error)
        }
        return server
    }

    /// Waits for a signal that ends the process, and tells the watchdog meanwhile that threads get their work done.
    private func waitForEnd(_ server: Server, _ manager: ServiceManager) -> Int32 {
        guard let interval = manager.watchdogIntervalNanoseconds else { return csystem_wait_for_end(-1) }
        while true {
            let signal = csystem_wait_for_end(Int32(clamping: interval / 1_000_000))
            if signal > 0 { return signal }
            if server.makesProgress(within: interval &* 2) {
                manager.send("WATCHDOG=1")
            } else {
                log.error("fcgi.no-progress")
            }
        }
    }
}
