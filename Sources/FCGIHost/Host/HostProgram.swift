internal import Assembly
internal import Base
internal import FastCGI
internal import Glibc

/// `skystead-fcgi <responder>`: one responder in one process.
enum HostProgram {
    /// EX_USAGE of sysexits(3).
    private static let usage: Int32 = 64

    static func main(_ words: [String]) -> Int32 {
        switch words {
        case ["xrpc"]:
            return Processes.run { settings, log in
                let metrics = Metrics()
                let service = try XRPCService(settings, log: log, metrics: metrics)
                var configuration = FastCGIConfiguration(socketPath: Paths(settings).xrpcSocket)
                configuration.threads = settings[Settings.threads]
                configuration.drainDeadlineSeconds = settings[Settings.drainSeconds]
                let port = settings[Settings.metricsPort]
                configuration.metricsPort = port == 0 ? nil : port
                return FastCGIHost(
                    configuration: configuration, responder: service.responder, log: log, metrics: metrics
                ).run()
            }
        default:
            Log.standardError.error("usage", ["expected": "skystead-fcgi xrpc"])
            return usage
        }
    }
}
