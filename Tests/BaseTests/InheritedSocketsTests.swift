import Testing

@testable import Base

@Suite struct InheritedSocketsTests {
    struct Row: CustomTestStringConvertible, Sendable {
        let name: String
        let count: Int
        let names: Bytes
        var requests: Int?
        var metrics: Int?
        var testDescription: String { name }
    }

    @Test(
        arguments: [
            Row(name: "none", count: 0, names: ""),
            Row(name: "one", count: 1, names: "skystead-xrpc.socket", requests: 0),
            Row(name: "one without a name", count: 1, names: "", requests: 0),
            Row(name: "both", count: 2, names: "skystead-stream.socket:metrics", requests: 0, metrics: 1),
            Row(
                name: "the other way round", count: 2, names: "metrics:skystead-stream.socket", requests: 1, metrics: 0),
            Row(name: "figures alone", count: 1, names: "metrics", metrics: 0),
            Row(name: "two for requests", count: 2, names: "a:b", requests: 0),
            Row(name: "fewer names than sockets", count: 2, names: "metrics", requests: 1, metrics: 0),
            Row(name: "more names than sockets", count: 1, names: "a:metrics", requests: 0),
            Row(name: "nearly the name", count: 1, names: "metrics2", requests: 0),
            Row(name: "a negative count", count: -1, names: "a:metrics"),
            Row(name: "a count of somebody's dreams", count: .max, names: "a:metrics", requests: 0, metrics: 1),
        ]) func whichIsWhich(_ row: Row)
    {
        let found = InheritedSockets.places(count: row.count, names: row.names)
        #expect(found.requests == row.requests && found.metrics == row.metrics, "\(found)")
    }
}
