import Base
import Foundation
import Glibc

/// An HTTP/1.1 server on a free loopback port that answers paths with whole responses, and counts connections.
final class ClientServer: Sendable {
    struct Fault: Error {}

    let port: Int
    private let listener: Int32
    private let answers: Guarded<[String: [UInt8]]>
    private let accepted = Guarded(0)

    init() throws {
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
        guard isBound else { throw Fault() }
        self.listener = listener
        port = Int(UInt16(bigEndian: address.sin_port))
        let answers = Guarded<[String: [UInt8]]>([:])
        self.answers = answers
        let accepted = accepted
        Thread.detachNewThread {
            while true {
                let fd = accept(listener, nil, nil)
                guard fd >= 0 else { break }
                accepted.withLock { $0 += 1 }
                Thread.detachNewThread {
                    Self.serve(fd, answers)
                    close(fd)
                }
            }
            close(listener)
        }
    }

    deinit { shutdown(listener, Int32(SHUT_RDWR)) }

    var host: Bytes { Bytes("127.0.0.1:\(port)") }
    func url(_ path: String) -> Bytes { "http://" + host + Bytes(path) }

    /// Connections taken so far.
    var acceptedCount: Int { accepted.withLock { $0 } }

    func answer(
        _ path: String, status: Int = 200, headers: [String] = ["Content-Type: application/json"], _ body: Bytes
    ) {
        let head =
            ["HTTP/1.1 \(status) Status"] + headers + ["Content-Length: \(body.count)", "Connection: close", "", ""]
        answers.withLock { $0[path] = Array(head.joined(separator: "\r\n").utf8) + body.array }
    }

    private static func serve(_ fd: Int32, _ answers: Guarded<[String: [UInt8]]>) {
        var head: [UInt8] = []
        var byte: UInt8 = 0
        while head.suffix(4) != [13, 10, 13, 10], read(fd, &byte, 1) == 1 { head.append(byte) }
        let path = String(decoding: head, as: UTF8.self).split(separator: " ").dropFirst().first.map(String.init) ?? ""
        let missing = Array("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".utf8)
        let answer = answers.withLock { $0[path] } ?? missing
        var sent = 0
        while sent < answer.count {
            let count = answer.withUnsafeBytes {
                send(fd, $0.baseAddress.map { $0 + sent }, answer.count - sent, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { return }
            sent += count
        }
    }
}
