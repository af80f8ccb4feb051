public import Base

/// How a FastCGI process listens, how many threads it has and how long it waits. All limits have safe defaults.
public struct FastCGIConfiguration: Sendable {
    /// The unix socket to make when none was inherited (`LISTEN_FDS` or descriptor 0); mode 0660.
    public var socketPath: String?
    /// Waiting connections that the kernel holds for a socket that is made here.
    public var backlog = 511
    /// Requests served at the same time. Without kept connections a thread is busy only while a request runs, so
    /// this is the concurrency that the databases can use.
    public var threads = 24
    /// Users that may connect (SO_PEERCRED); empty means whoever the socket's mode lets in.
    public var allowedUIDs: [UInt32] = []
    /// Keeps a connection open when the web server asks for it. Off: an idle kept connection owns a thread, and
    /// connections that end with their request can't be used to smuggle a second one.
    public var keepsConnections = false
    /// How long a kept connection may wait for its next request.
    public var idleSeconds = 5
    /// The longest wait for the web server to send or take one piece of a request or response.
    public var peerTimeoutSeconds = 15
    /// The longest time for a whole request body to arrive.
    public var bodyDeadlineSeconds = 120
    /// How long requests in flight may go on after SIGTERM. Less than systemd's `TimeoutStopSec`.
    public var drainDeadlineSeconds = 25
    /// One line in the log for every request.
    public var logsRequests = true
    /// The loopback port that serves `/metrics`; nil for none.
    public var metricsPort: Int?

    public init(socketPath: String? = nil) { self.socketPath = socketPath }
}

/// Why a host could not start.
public enum FastCGIStartError: Error, Sendable, CustomStringConvertible {
    case noSocket
    case system(SystemError)

    public var description: String {
        switch self {
        case .noSocket: "no listening socket: none inherited (LISTEN_FDS, descriptor 0) and no path configured"
        case .system(let error): error.description
        }
    }
}
