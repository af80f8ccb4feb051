internal import Base
internal import ExchangeSupport
internal import FastCGI
internal import Testing
internal import Web

@Suite struct DrainTests {
    @Test func requestInFlightIsAnswered() throws {
        let entered = Gate()
        let release = Gate()
        let door = try FastCGIDoor(responder: { _ in
            entered.open()
            release.wait()
            return .init(status: 200, body: .bytes(Array("late".utf8)))
        })
        let connection = try FCGIConnection(unix: door.path)
        try connection.send(FastCGIDoor.bytes(FastCGIDoor.parameters("GET", "/")))
        entered.wait()
        // Nobody lets it go on yet: the deadline passes with one thread busy.
        #expect(door.stop(deadlineSeconds: 0) >= 1)
        release.open()
        #expect(connection.receive().text == "late")
        #expect(door.stop() == 0)
    }

    @Test func idleThreadsEnd() throws {
        var configuration = FastCGIConfiguration()
        configuration.threads = 32
        let door = try FastCGIDoor(configuration: configuration, responder: DemoResponder().respond)
        #expect(door.stop() == 0)
    }

    /// A kept connection without a request must not hold up the drain.
    @Test func idleKeptConnectionIsClosed() throws {
        var configuration = FastCGIConfiguration()
        configuration.keepsConnections = true
        configuration.idleSeconds = 3_600
        configuration.peerTimeoutSeconds = 3_600
        let door = try FastCGIDoor(configuration: configuration, responder: DemoResponder().respond)
        let connection = try FCGIConnection(unix: door.path)
        try connection.send(FastCGIDoor.bytes(FastCGIDoor.parameters("GET", "/hello"), keep: true))
        #expect(connection.receive().text == "hello")
        #expect(door.stop() == 0)
        #expect(!connection.receive().isEnded)
    }
}

/// A door that opens once.
final class Gate: Sendable {
    private let isOpen = Guarded(false)

    func open() { isOpen.withLock { $0 = true } }

    func wait() {
        while !isOpen.withLock({ $0 }) { pauseThread() }
    }
}
