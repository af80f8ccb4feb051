internal import CSystem
internal import Glibc

/// The listening sockets that whoever started this process handed over: systemd by `LISTEN_FDS` (sd_listen_fds(3)), a
/// parent as descriptor 0 (spawn-fcgi's convention). They are shared with the manager and with other processes: never
/// unlinked, shut down or made nonblocking, so that a restart loses no connection.
///
/// Make one before any other thread runs: it takes the variables out of the environment, because a child of this
/// process must not take the sockets for its own.
public struct InheritedSockets: Sendable {
    /// The `FileDescriptorName=` of a socket that is for figures (`MetricsDoor`).
    static let metricsName: Bytes = "metrics"
    private static let first: Int32 = 3
    /// Sockets that are looked at: there are two.
    private static let countMax = 16

    /// Where requests come in, or nil.
    public let requests: Int32?
    /// Where figures are asked for, or nil.
    public let metrics: Int32?

    public init() {
        func text(_ name: String) -> Bytes? { getenv(name).map { Bytes(String(cString: $0)) } }
        let (pid, count, names) = (text("LISTEN_PID"), text("LISTEN_FDS"), text("LISTEN_FDNAMES"))
        for name in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] { unsetenv(name) }
        let own = pid?.decimal == Int(getpid()) ? count?.decimal ?? 0 : 0
        let (requests, metrics) = Self.places(count: own, names: names ?? "")
        self.requests = requests.flatMap(Self.listening) ?? (csystem_is_listening(0) == 1 ? 0 : nil)
        self.metrics = metrics.flatMap(Self.listening)
    }

    /// Which of `count` descriptors is which, by the names that stand between colons.
    static func places(count: Int, names: Bytes) -> (requests: Int?, metrics: Int?) {
        let names = names.split(on: 0x3A)
        var found: (requests: Int?, metrics: Int?)
        for place in 0..<max(0, min(count, countMax)) {
            let isForMetrics = place < names.count && names[place] == metricsName
            if isForMetrics {
                found.metrics = found.metrics ?? place
            } else {
                found.requests = found.requests ?? place
            }
        }
        return found
    }

    private static func listening(_ place: Int) -> Int32? {
        let descriptor = first + Int32(clamping: place)
        guard csystem_is_listening(descriptor) == 1 else { return nil }
        _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
        return descriptor
    }
}
