import Testing

@testable import Assembly
@testable import Base

/// Reports of unexpected errors. That nobody waits for them is shown in Tests/EndToEnd/test_metrics.py.
@Suite struct ErrorReportsTests {
    @Test(
        arguments: [
            ("https://key@o0.ingest.example/1", "https://o0.ingest.example/api/1/envelope/"),
            ("https://key:secret@host/1", "https://host/api/1/envelope/"),
            ("http://key@localhost:9000/prefix/more/abc", "http://localhost:9000/prefix/more/api/abc/envelope/"),
            ("https://host/1", nil), ("https://key@host", nil), ("https://key@host/", nil), ("https://@host/1", nil),
            ("https://key@/1", nil), ("ftp://key@host/1", nil), ("key@host/1", nil), ("", nil),
            ("https://k\r\ny@host/1", nil), ("https://key@host/1?x", nil),
        ] as [(String, String?)]) func destination(_ dsn: String, _ url: String?)
    {
        let found = ErrorReports.Destination(Bytes(dsn))
        #expect(found?.url == url.map { Bytes($0) })
        if let found { #expect(found.key == "key") }
    }

    private static func reports(
        _ clock: Clock, send: @escaping @Sendable () throws -> Int = { 200 }
    ) throws -> ErrorReports {
        let destination = try #require(ErrorReports.Destination("https://key@host/1"))
        return try ErrorReports(destination, host: "home.test", process: "skystead-fcgi xrpc", clock: clock) { _ in
            try send()
        }
    }

    @Test func anEnvelopeIsThreeLinesWhateverTheErrorHolds() throws {
        let reports = try Self.reports(Clock { Timestamp(seconds: 1_800_000_000) })
        let error = Log.ErrorEvent(
            event: "xrpc", fields: [("cause", "a \"quote\"\n{\"x\":1}\u{1}"), ("path", Bytes([0x2F, 0xFF, 0xFE]))])
        let envelope = reports.envelope(
            ErrorReports.Report(error: error, at: Timestamp(seconds: 1_800_000_000)), id: "0123")
        let lines = envelope.split(on: 0x0A)
        #expect(lines.count == 4)
        #expect(lines[3].isEmpty)
        #expect(envelope.text != nil, "an envelope is UTF-8")
        #expect(
            lines[1].description == #"{"type":"event","content_type":"application/json","length":\#(lines[2].count)}"#)
        #expect(lines[2].description.contains(#""value":"a \"quote\"\n{\"x\":1}\u0001""#))
        #expect(lines[2].description.contains(#""timestamp":"2027-01-15T08:00:00.000Z""#))
    }

    @Test func whatIsTooMuchIsCountedAndNotKept() throws {
        let now = Guarded(Timestamp(seconds: 1_800_000_000))
        let sent = Counter()
        let reports = try Self.reports(Clock { now.withLock { $0 } }) {
            sent.add()
            return 200
        }
        let error = Log.ErrorEvent(event: "x", fields: [])
        for _ in 0..<(ErrorReports.perMinuteMax + 5) { reports.add(error) }
        reports.flush(milliseconds: 10_000)
        #expect(sent.value == ErrorReports.perMinuteMax)
        #expect(reports.lost.value == 5)
        now.withLock { $0 = $0.adding(seconds: 60) }
        reports.add(error)
        reports.flush(milliseconds: 10_000)
        #expect(sent.value == ErrorReports.perMinuteMax + 1)
    }

    struct Away: Error {}

    @Test func whatIsNotTakenIsLostAndNothingMore() throws {
        let reports = try Self.reports(Clock { Timestamp(seconds: 1_800_000_000) }) { throw Away() }
        for _ in 0..<3 { reports.add(Log.ErrorEvent(event: "x", fields: [])) }
        reports.flush(milliseconds: 10_000)
        #expect(reports.lost.value == 3)
    }

    @Test func silenceIsKeptWhenItIsAskedFor() throws {
        let now = Guarded(Timestamp(seconds: 1_800_000_000))
        let sent = Counter()
        let reports = try Self.reports(Clock { now.withLock { $0 } }) {
            sent.add()
            return 429
        }
        let error = Log.ErrorEvent(event: "x", fields: [])
        reports.add(error)
        reports.flush(milliseconds: 10_000)
        reports.add(error)
        reports.flush(milliseconds: 10_000)
        #expect(sent.value == 1)
        now.withLock { $0 = $0.adding(seconds: ErrorReports.silenceSeconds) }
        reports.add(error)
        reports.flush(milliseconds: 10_000)
        #expect(sent.value == 2)
    }

    @Test func errorsAreCountedByTheirWord() {
        let counts = ErrorCounts()
        var text = MetricsText()
        counts.write(to: &text)
        #expect(String(decoding: text.bytes, as: UTF8.self).contains("\nskystead_errors_total{event=\"none\"} 0\n"))
        for event in ["xrpc", "xrpc", "start"] as [Bytes] { counts.count(event) }
        text = MetricsText()
        counts.write(to: &text)
        #expect(
            String(decoding: text.bytes, as: UTF8.self).contains(
                "\nskystead_errors_total{event=\"start\"} 1\nskystead_errors_total{event=\"xrpc\"} 2\n"))
    }
}
