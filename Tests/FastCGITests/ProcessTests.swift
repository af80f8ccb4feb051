internal import Base
internal import CSystem
internal import ExchangeSupport
internal import Foundation
internal import Glibc
internal import Testing

/// The host as a process: signals, inherited sockets, the service manager's protocol, the metrics door.
@Suite struct ProcessTests {
    @Test func socketAtAPath() throws {
        let fixture = try Fixture()
        let process = try fixture.start(["--socket", fixture.socket])
        #expect(fixture.nextState() == "READY=1")
        #expect(try fixture.ask("/hello").text == "hello")
        var status = stat()
        #expect(stat(fixture.socket, &status) == 0)
        #expect(status.st_mode & 0o777 == 0o660)
        #expect(process.end(SIGTERM) == 0)
        #expect(fixture.nextState() == "STOPPING=1")
    }

    /// A request in flight when the signal comes is answered, whatever the signal.
    @Test(arguments: [SIGTERM, SIGINT]) func drains(signal: Int32) throws {
        let fixture = try Fixture()
        let process = try fixture.start(["--socket", fixture.socket])
        #expect(fixture.nextState() == "READY=1")
        let connection = try FCGIConnection(unix: fixture.socket)
        try connection.send(FastCGIDoor.bytes(FastCGIDoor.parameters("GET", "/slow?n=300")))
        // Another one's answer shows that the host has begun to serve; the first was accepted before it.
        #expect(try fixture.ask("/hello").text == "hello")
        #expect(process.end(signal) == 0)
        #expect(connection.receive().text == "slow")
        #expect(fixture.nextState() == "STOPPING=1")
    }

    @Test func drainHasADeadline() throws {
        let fixture = try Fixture()
        let process = try fixture.start(["--socket", fixture.socket, "--drain", "0"])
        #expect(fixture.nextState() == "READY=1")
        let connection = try FCGIConnection(unix: fixture.socket)
        try connection.send(FastCGIDoor.bytes(FastCGIDoor.parameters("GET", "/slow?n=60000")))
        #expect(try fixture.ask("/hello").text == "hello")
        #expect(process.end(SIGTERM) == EX_TEMPFAIL)
    }

    @Test func socketFromDescriptorZero() throws {
        let fixture = try Fixture()
        let listener = csystem_listen_unix(fixture.socket, 16, 0o600)
        #expect(listener >= 0)
        let process = try fixture.start([], standardInput: FileHandle(fileDescriptor: listener, closeOnDealloc: true))
        #expect(fixture.nextState() == "READY=1")
        #expect(try fixture.ask("/hello").text == "hello")
        #expect(process.end(SIGTERM) == 0)
    }

    @Test func noSocket() throws {
        let fixture = try Fixture()
        let process = try fixture.start([])
        #expect(process.wait() == EX_OSERR)
    }

    @Test func aFileThatIsNoSocketIsNotReplaced() throws {
        let fixture = try Fixture()
        try Data("precious".utf8).write(to: URL(fileURLWithPath: fixture.socket))
        let process = try fixture.start(["--socket", fixture.socket])
        #expect(process.wait() == EX_OSERR)
        #expect(try Data(contentsOf: URL(fileURLWithPath: fixture.socket)) == Data("precious".utf8))
    }

    /// H030: another user's connection is closed before a byte of it is read.
    @Test func peerUserIsChecked() throws {
        let fixture = try Fixture()
        let other = String(getuid() &+ 1)
        let process = try fixture.start(["--socket", fixture.socket, "--uid", other])
        #expect(fixture.nextState() == "READY=1")
        let connection = try FCGIConnection(unix: fixture.socket)
        try? connection.send(FastCGIDoor.bytes(FastCGIDoor.parameters("GET", "/hello")))
        #expect(connection.receive().output.isEmpty)
        #expect(process.end(SIGTERM) == 0)
        #expect(process.errorText.contains("warning fcgi.peer-refused uid=\(getuid())"))
    }

    @Test func peerUserIsLetIn() throws {
        let fixture = try Fixture()
        let process = try fixture.start(["--socket", fixture.socket, "--uid", String(getuid())])
        #expect(fixture.nextState() == "READY=1")
        #expect(try fixture.ask("/hello").text == "hello")
        #expect(process.end(SIGTERM) == 0)
    }

    @Test func watchdogIsFed() throws {
        let fixture = try Fixture()
        let process = try fixture.start(["--socket", fixture.socket], environment: ["WATCHDOG_USEC": "20000"])
        #expect(fixture.nextState() == "READY=1")
        #expect(fixture.nextState() == "WATCHDOG=1")
        #expect(fixture.nextState() == "WATCHDOG=1")
        #expect(process.end(SIGTERM) == 0)
    }

    /// With every thread stuck the watchdog starves; it is fed again when one is free.
    @Test func watchdogStarvesWhenAllThreadsAreStuck() throws {
        let fixture = try Fixture()
        let process = try fixture.start(
            ["--socket", fixture.socket, "--threads", "1"], environment: ["WATCHDOG_USEC": "20000"])
        #expect(fixture.nextState() == "READY=1")
        let connection = try FCGIConnection(unix: fixture.socket)
        try connection.send(FastCGIDoor.bytes(FastCGIDoor.parameters("GET", "/slow?n=400")))
        #expect(connection.receive().text == "slow")
        #expect(process.end(SIGTERM) == 0)
        #expect(process.errorText.contains("error fcgi.no-progress"))
    }

    struct Asked: CustomTestStringConvertible, Sendable {
        let request: String
        let status: String
        var testDescription: String { String(request.prefix(40)).debugDescription }
    }

    @Test(arguments: [
        Asked(request: "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", status: "HTTP/1.1 200 OK\r\n"),
        Asked(request: "GET /metrics HTTP/1.0\r\n\r\n", status: "HTTP/1.1 200 OK\r\n"),
        Asked(request: "POST /metrics HTTP/1.1\r\n\r\n", status: "HTTP/1.1 405 "),
        Asked(request: "GET /other HTTP/1.1\r\n\r\n", status: "HTTP/1.1 404 "),
        Asked(request: "GET /metrics?x HTTP/1.1\r\n\r\n", status: "HTTP/1.1 404 "),
        Asked(request: "nonsense\r\n\r\n", status: "HTTP/1.1 400 "),
        Asked(request: "GET  /metrics HTTP/1.1\r\n\r\n", status: "HTTP/1.1 400 "),
        Asked(request: "GET /metrics HTTP/1.1\r\nX: " + String(repeating: "a", count: 5_000) + "\r\n\r\n", status: ""),
        Asked(request: "GET /metrics HTTP/1.1\r\n", status: ""),
    ])
    func metricsDoor(_ item: Asked) throws {
        let fixture = try Fixture()
        let process = try fixture.start(["--socket", fixture.socket, "--metrics", "0"])
        #expect(fixture.nextState() == "READY=1")
        #expect(try fixture.ask("/hello").text == "hello")
        let port = try #require(process.errorText.firstMatch(of: /fcgi\.metrics port=(\d+)/).flatMap { UInt16($0.1) })
        let answer = try fixture.http(port: port, item.request)
        #expect(answer.hasPrefix(item.status))
        if item.status.isEmpty { #expect(answer.isEmpty) }
        if item.status.hasPrefix("HTTP/1.1 200") {
            for name in [
                "skystead_requests_total{route=\"demo\",status=\"2xx\"} 1\n", "process_resident_memory_bytes ",
                "process_cpu_seconds_total ", "process_open_fds ", "skystead_threads 4\n",
            ] {
                #expect(answer.contains("\n" + name), "\(name)")
            }
        }
        #expect(process.end(SIGTERM) == 0)
    }

    /// LISTEN_FDS: see Tests/EndToEnd/test_restart.py for restarts; here that a foreign LISTEN_PID is not ours.
    @Test func foreignListenPIDIsIgnored() throws {
        let fixture = try Fixture()
        let process = try fixture.start(
            ["--socket", fixture.socket], environment: ["LISTEN_PID": "1", "LISTEN_FDS": "1"])
        #expect(fixture.nextState() == "READY=1")
        #expect(try fixture.ask("/hello").text == "hello")
        #expect(process.end(SIGTERM) == 0)
    }
}
