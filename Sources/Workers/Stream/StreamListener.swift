internal import Base
internal import CSystem
internal import Glibc

/// Where the server listens.
public enum StreamListener {
    /// Listens on a unix socket; mode 0660, so that the web server's group reaches it.
    public static func unix(_ path: String) throws -> Int32 {
        let fd = csystem_listen_unix(path, backlog, 0o660)
        if fd < 0 { throw SystemError("listen \(path)") }
        return fd
    }

    /// Listens on a TCP port of a numeric address, such as 127.0.0.1.
    public static func tcp(_ host: String, port: Int) throws -> Int32 {
        let fd = csystem_listen_tcp(host, Int32(clamping: port), backlog)
        if fd < 0 { throw SystemError("listen \(host):\(port)") }
        return fd
    }

    private static let backlog: Int32 = 511
}
