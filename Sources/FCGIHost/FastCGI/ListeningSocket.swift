internal import Base
internal import CSystem
internal import Glibc

/// The socket that a process accepts on, and whether it owns the file behind it.
struct ListeningSocket: Sendable {
    let descriptor: Int32

    /// systemd's first socket (sd_listen_fds(3)), else descriptor 0 when it listens (spawn-fcgi's convention), else a
    /// new unix socket at `path`.
    ///
    /// An inherited socket is shared with the manager and with other processes: it is never unlinked, shut down or
    /// made nonblocking here, so that a restart loses no connection.
    static func open(path: String?, backlog: Int) throws(FastCGIStartError) -> ListeningSocket {
        if let inherited = inheritedDescriptor() {
            _ = fcntl(inherited, F_SETFD, FD_CLOEXEC)
            return ListeningSocket(descriptor: inherited)
        }
        guard let path else { throw .noSocket }
        let descriptor = csystem_listen_unix(path, Int32(clamping: backlog), 0o660)
        guard descriptor >= 0 else { throw .system(SystemError("listen on \(path)")) }
        return ListeningSocket(descriptor: descriptor)
    }

    private static let firstPassedDescriptor: Int32 = 3

    private static func inheritedDescriptor() -> Int32? {
        let isForUs = environmentNumber("LISTEN_PID") == Int(getpid())
        let count = environmentNumber("LISTEN_FDS") ?? 0
        // A child of this process must not take them for its own.
        for name in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] { unsetenv(name) }
        if isForUs, count >= 1, csystem_is_listening(firstPassedDescriptor) == 1 { return firstPassedDescriptor }
        return csystem_is_listening(0) == 1 ? 0 : nil
    }

    private static func environmentNumber(_ name: String) -> Int? {
        getenv(name).flatMap { Bytes(String(cString: $0)).decimal }
    }
}
