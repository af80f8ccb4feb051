internal import Base
internal import ExchangeSupport
internal import FastCGI
internal import Foundation
internal import Testing

/// Recorded exchanges, each in this process and over FastCGI in records of 7 bytes: the same answer through both doors.
@Suite struct ExchangeTests {
    static let directory = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("Fixtures/http/host").path

    @Test func exchanges() throws {
        let exchanges = try GoldenExchange.all(under: Self.directory)
        #expect(exchanges.count >= 6)
        let demo = DemoResponder()
        let door = try FastCGIDoor(responder: demo.respond)
        for exchange in exchanges {
            let inProcess = try exchange.inProcess(demo.respond)
            let difference = try exchange.difference(from: inProcess)
            #expect(difference == nil, "\(exchange.path): \(difference ?? "")")
            #expect(try exchange.overFastCGI(door) == inProcess, "\(exchange.path)")
        }
        #expect(door.stop() == 0)
    }

    /// The comparison itself: an answer that differs is told.
    @Test func differenceIsSeen() throws {
        let exchange = try #require(try GoldenExchange.all(under: Self.directory).first)
        if ProcessInfo.processInfo.environment["UPDATE_GOLDEN"] == nil {
            #expect(try exchange.difference(from: exchange.expected + "x") != nil)
            #expect(try exchange.difference(from: exchange.expected) == nil)
        }
    }
}
