import Testing

@testable import Base

@Suite struct ObservedLogTests {
    @Test func onlyErrorsAreTold() {
        let told = Guarded<[String]>([])
        let log = Log { _ in }.observed { error in
            let fields = error.fields.map { "\($0.name)=\($0.value)" }
            told.withLock { $0.append(([error.event.description] + fields).joined(separator: " ")) }
        }
        log.info("a")
        log.warning("b", ["x": 1])
        log.error("c", ["number": 2, "text": "d", "bytes": .bytes("e")])
        log.atLeast(.error).error("f")
        #expect(told.withLock { $0 } == ["c number=2 text=d bytes=e", "f"])
    }

    @Test func aLongValueIsCut() {
        let size = Guarded(0)
        let log = Log { _ in }.observed { error in size.withLock { $0 = error.fields[0].value.count } }
        log.error("a", ["x": .text(String(repeating: "y", count: 100_000))])
        #expect(size.withLock { $0 } == Log.valueSizeMax)
    }
}

@Suite struct DurationHistogramTests {
    @Test func bucketsAreCumulative() {
        let histogram = DurationHistogram()
        for microseconds in [0, 100, 101, 1_000_000, 9_000_000] { histogram.add(microseconds: microseconds) }
        var text = MetricsText()
        histogram.write("a_seconds", help: "A.", to: &text)
        let lines = String(decoding: text.bytes, as: UTF8.self).split(separator: "\n")
        #expect(lines[0] == "# HELP a_seconds A.")
        #expect(lines[1] == "# TYPE a_seconds histogram")
        #expect(lines[2] == "a_seconds_bucket{le=\"0.0001\"} 2")
        #expect(lines[3] == "a_seconds_bucket{le=\"0.00025\"} 3")
        #expect(lines[13] == "a_seconds_bucket{le=\"1\"} 4")
        #expect(lines[14] == "a_seconds_bucket{le=\"5\"} 4")
        #expect(lines[15] == "a_seconds_bucket{le=\"+Inf\"} 5")
        #expect(lines[16] == "a_seconds_sum 10.000201")
        #expect(lines[17] == "a_seconds_count 5")
    }
}
