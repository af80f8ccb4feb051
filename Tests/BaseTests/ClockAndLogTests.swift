import Testing

@testable import Base

@Suite struct ClockTests {
    @Test(
        arguments: [
            (0, "1970-01-01T00:00:00.000Z"), (1_714_567_890_123_456, "2024-05-01T12:51:30.123Z"),
            (951_782_399_999_999, "2000-02-28T23:59:59.999Z"), (951_782_400_000_000, "2000-02-29T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"), (253_402_300_799_000_000, "9999-12-31T23:59:59.000Z"),
        ] as [(Int64, String)]) func iso8601(_ microseconds: Int64, _ text: String)
    {
        #expect(Timestamp(microseconds: microseconds).iso8601 == text)
    }

    @Test func secondsRoundTowardsThePast() {
        #expect(Timestamp(microseconds: -1).seconds == -1)
        #expect(Timestamp(microseconds: 1_999_999).seconds == 1)
    }
}

@Suite struct LogTests {
    @Test func nothingFromOutsideBeginsALineOrAField() {
        let lines = Guarded<[String]>([])
        let log = Log { line in lines.withLock { $0.append(String(decoding: line, as: UTF8.self)) } }
        log.info("request", ["path": .bytes("/a\nerror fake"), "plain": "a", "n": 7, "quote": "a\"b=c d"])
        #expect(lines.withLock { $0 } == ["info request path=\"/a\\x0aerror fake\" plain=a n=7 quote=\"a\\\"b=c d\"\n"])
    }

    @Test func whatIsLessImportantIsDropped() {
        let lines = Guarded<[String]>([])
        let log = Log { line in lines.withLock { $0.append(String(decoding: line, as: UTF8.self)) } }.atLeast(.warning)
        log.info("a")
        log.warning("b")
        log.error("c")
        log.line(.debug, "d", [:])
        #expect(lines.withLock { $0 } == ["warning b\n", "error c\n"])
    }

    @Test func aLongValueIsCut() {
        let length = Guarded(0)
        let log = Log { line in length.withLock { $0 = line.count } }
        log.info("long", ["v": .bytes(Bytes([UInt8](repeating: 0x61, count: 100_000)))])
        #expect(length.withLock { $0 } < Log.valueSizeMax + 40)
    }
}
