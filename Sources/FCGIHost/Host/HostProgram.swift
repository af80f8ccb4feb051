internal import Assembly
internal import Base
internal import FastCGI
internal import Glibc
internal import Web

/// `skystead-fcgi <responder>`: one responder in one process.
enum HostProgram {
    /// EX_USAGE of sysexits(3).
    private static let usage: Int32 = 64

    static func main(_ words: [String]) -> Int32 {
        switch words {
        case ["xrpc"]:
            return serve { settings, log, metrics in
                (
                    try XRPCService(settings, log: log, metrics: metrics).responder, Paths(settings).xrpcSocket,
                    settings[Settings.metricsPort]
                )
            }
        case ["admin"]:
            return serve { settings, log, _ in
                (try AdminService(settings, log: log).responder, Paths(settings).adminSocket, 0)
            }
        default:
            Log.standardError.error("usage", ["expected": "skystead-fcgi xrpc | admin"])
            return usage
        }
    }

    /// Runs the host with the responder that `open` makes, on its socket, with figures on a port unless that is 0:
    /// those of the host, and what the responder adds.
    private static func serve(
        _ open: (Settings, Log, Metrics) throws -> (responder: Responder, socketPath: String, metricsPort: Int)
    ) -> Int32 {
        Processes.run { settings, log in
            let metrics = Metrics()
            let (responder, socketPath, metricsPort) = try open(settings, log, metrics)
            var configuration = FastCGIConfiguration(socketPath: socketPath)
            configuration.threads = settings[Settings.threads]
            configuration.drainDeadlineSeconds = settings[Settings.drainSeconds]
            configuration.metricsPort = metricsPort == 0 ? nil : metricsPort
            return FastCGIHost(configuration: configuration, responder: responder, log: log, metrics: metrics).run()
        }
    }
}
