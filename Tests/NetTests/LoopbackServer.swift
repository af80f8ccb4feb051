import Foundation
import Glibc

/// A TCP server on a free loopback port that runs a script with every connection, each on its own thread.
final class LoopbackServer: Sendable {
    let port: Int
    private let listener: Int32
    private let accepted = LockedCounter()

    init(_ script: @escaping @Sendable (Connection) -> Void) throws {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, size) == 0 && listen(listener, 64) == 0 && getsockname(listener, $0, &size) == 0
            }
        }
        guard isBound else { throw ServerFault() }
        self.listener = listener
        port = Int(UInt16(bigEndian: address.sin_port))
        let counter = accepted
        Thread.detachNewThread {
            while true {
                let fd = accept(listener, nil, nil)
                guard fd >= 0 else { break }
                counter.add()
                Thread.detachNewThread {
                    script(Connection(fd: fd))
                    close(fd)
                }
            }
            close(listener)
        }
    }

    /// Connections taken so far.
    var acceptedCount: Int { accepted.value }

    deinit { shutdown(listener, Int32(SHUT_RDWR)) }
}

struct ServerFault: Error {}

final class LockedCounter: @unchecked Sendable {
    private let lock = NSLock()
    private var count = 0
    func add() { lock.withLock { count += 1 } }
    var value: Int { lock.withLock { count } }
}

/// One accepted connection.
struct Connection {
    let fd: Int32

    /// Everything up to and with the empty line, or what came before the peer closed.
    func readHead() -> String {
        var bytes: [UInt8] = []
        var byte: UInt8 = 0
        while bytes.suffix(4) != [13, 10, 13, 10], read(fd, &byte, 1) == 1 { bytes.append(byte) }
        return String(decoding: bytes, as: UTF8.self)
    }

    func readBody(_ count: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        var byte: UInt8 = 0
        while bytes.count < count, read(fd, &byte, 1) == 1 { bytes.append(byte) }
        return bytes
    }

    /// False when the peer has gone.
    @discardableResult
    func send(_ bytes: [UInt8]) -> Bool {
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes {
                Glibc.send(fd, $0.baseAddress.map { $0 + sent }, bytes.count - sent, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { return false }
            sent += count
        }
        return true
    }

    @discardableResult
    func send(_ text: String) -> Bool { send(Array(text.utf8)) }

    /// Until the peer closes.
    func waitForClose() {
        var byte: UInt8 = 0
        while read(fd, &byte, 1) == 1 {}
    }
}
