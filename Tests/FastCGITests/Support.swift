internal import CSystem
internal import ChildProcess
internal import ExchangeSupport
internal import Foundation
internal import Glibc
internal import Testing

/// Lets other threads run.
func pauseThread() { sched_yield() }

/// A directory, a notification socket and the host-fixture program.
final class Fixture {
    let directory: String
    let socket: String
    private let notify: Int32
    private var running: [Running] = []

    init() throws {
        var template = Array("/tmp/skystead-host-XXXXXX".utf8CString)
        directory = String(cString: try #require(mkdtemp(&template)))
        socket = directory + "/socket"
        notify = csystem_bind_datagram(directory + "/notify")
        try #require(notify >= 0)
    }

    deinit {
        for process in running { process.kill() }
        close(notify)
        try? FileManager.default.removeItem(atPath: directory)
    }

    private static let program =
        Bundle(for: Fixture.self).bundleURL.appendingPathComponent("host-fixture")

    func start(
        _ arguments: [String], environment: [String: String] = [:], standardInput: FileHandle = .nullDevice
    ) throws -> Running {
        let log = directory + "/log-\(running.count)"
        try #require(FileManager.default.createFile(atPath: log, contents: nil))
        let errors = try #require(FileHandle(forWritingAtPath: log))
        let process = try ChildProcess(
            [Self.program.path] + arguments,
            environment: environment.merging(["NOTIFY_SOCKET": directory + "/notify"]) { $1 },
            input: standardInput.fileDescriptor, error: errors.fileDescriptor)
        let started = Running(process: process, log: log)
        running.append(started)
        return started
    }

    /// The next datagram to the service manager; nil when none comes within 20 s.
    func nextState() -> String? {
        guard csystem_wait_readable(notify, 20_000) == 1 else { return nil }
        var buffer = [UInt8](repeating: 0, count: 256)
        let count = buffer.withUnsafeMutableBytes { recv(notify, $0.baseAddress, $0.count, 0) }
        return count >= 0 ? String(decoding: buffer[..<count], as: UTF8.self) : nil
    }

    func ask(_ target: String) throws -> FCGIAnswer {
        let connection = try FCGIConnection(unix: socket)
        try connection.send(FastCGIDoor.bytes(FastCGIDoor.parameters("GET", target)))
        return connection.receive()
    }

    /// Sends `request` to a loopback port, says that this was all, and reads to the end.
    func http(port: UInt16, _ request: String) throws -> String {
        let connection = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(connection) }
        csystem_set_timeouts(connection, 20)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let connected = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(connection, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        try #require(connected == 0)
        let bytes = Array(request.utf8)
        try #require(bytes.withUnsafeBytes { send(connection, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) } > 0)
        shutdown(connection, Int32(SHUT_WR))
        var answer: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = buffer.withUnsafeMutableBytes { recv(connection, $0.baseAddress, $0.count, 0) }
            guard count > 0 else { return String(decoding: answer, as: UTF8.self) }
            answer += buffer[..<count]
        }
    }
}

/// A started host-fixture.
final class Running {
    private let process: ChildProcess
    private let log: String

    init(process: ChildProcess, log: String) {
        self.process = process
        self.log = log
    }

    /// Sends a signal and returns the exit status.
    func end(_ signal: Int32) -> Int32 {
        process.signal(signal)
        return wait()
    }

    func wait() -> Int32 { process.exitStatus ?? -1 }

    func kill() {
        process.signal(SIGKILL)
        process.wait()
    }

    var errorText: String { (try? String(contentsOfFile: log, encoding: .utf8)) ?? "" }
}
