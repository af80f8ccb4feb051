internal import Base
internal import CPostgres
internal import CSystem
internal import Glibc

/// Tells a process that waits in poll(2) or epoll(7) that some process has written something that was announced
/// (`Writer.announceChange`). It says nothing about what, may ring without need, and may miss a ring when either side
/// was down: ask the database after each, and now and then without one.
public protocol ChangeSignal: AnyObject, Sendable {
    /// Readable when something was announced; −1 while there is no connection. Ask again after each `drain`.
    var descriptor: Int32 { get }
    /// Takes what rang off the descriptor. Call it before looking into the database.
    func drain()
}

/// A datagram socket in the file system that writers of the same machine ring.
final class Doorbell: ChangeSignal {
    let descriptor: Int32

    /// Throws `SystemError` when the socket can't be made. An old one at `path` is replaced.
    init(path: String) throws(SystemError) {
        descriptor = csystem_bind_datagram(path)
        if descriptor < 0 { throw SystemError("bind \(path)") }
    }

    deinit { close(descriptor) }

    func drain() {
        var byte: UInt8 = 0
        while recv(descriptor, &byte, 1, 0) >= 0 {}
    }

    /// Nobody there, or so many rings waiting that there is no room for one more, is as good as rung.
    static func ring(_ path: String) {
        var byte: UInt8 = 1
        _ = csystem_send_datagram(path, &byte, 1)
    }
}

/// A connection that listens to what other connections notify.
final class PostgresSignal: ChangeSignal {
    private let connection: Guarded<OpaquePointer>
    private let channel: String
    private let log: Log

    /// Throws `StorageError.busy` when the server can't be reached.
    init(_ location: PostgresLocation, log: Log) throws(StorageError) {
        guard let opened = location.connect() else { throw .busy }
        connection = Guarded(opened)
        channel = location.channel
        self.log = log
        if !Self.listen(opened, channel) {
            PQfinish(opened)
            throw .busy
        }
    }

    deinit { connection.withLock { PQfinish($0) } }

    private static func listen(_ handle: OpaquePointer, _ channel: String) -> Bool {
        guard PQstatus(handle) == CONNECTION_OK, let result = PQexec(handle, "LISTEN \(channel)")
        else { return false }
        defer { PQclear(result) }
        return PQresultStatus(result) == PGRES_COMMAND_OK
    }

    var descriptor: Int32 { connection.withLock { PQstatus($0) == CONNECTION_OK ? PQsocket($0) : -1 } }

    /// The server's process for this connection.
    var serverProcess: Int { connection.withLock { Int(PQbackendPID($0)) } }

    /// Also connects again when the connection broke, for at most `PostgresConnection.connectSecondsMax`.
    func drain() {
        connection.withLock { handle in
            if PQstatus(handle) != CONNECTION_OK || PQconsumeInput(handle) != 1 {
                PQreset(handle)
                if !Self.listen(handle, channel) { log.warning("postgres_connection", ["message": "not listening"]) }
            }
            while let notice = PQnotifies(handle) { PQfreemem(notice) }
        }
    }
}
