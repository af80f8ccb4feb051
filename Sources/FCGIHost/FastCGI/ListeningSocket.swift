internal import Base
internal import CSystem

/// The socket that a process accepts on, and whether it owns the file behind it.
struct ListeningSocket: Sendable {
    let descriptor: Int32

    /// The inherited socket, else a new unix socket at `path`.
    static func open(path: String?, backlog: Int) throws(FastCGIStartError) -> ListeningSocket {
        if let inherited = InheritedSockets().requests { return ListeningSocket(descriptor: inherited) }
        guard let path else { throw .noSocket }
        let descriptor = csystem_listen_unix(path, Int32(clamping: backlog), 0o660)
        guard descriptor >= 0 else { throw .system(SystemError("listen on \(path)")) }
        return ListeningSocket(descriptor: descriptor)
    }
}
