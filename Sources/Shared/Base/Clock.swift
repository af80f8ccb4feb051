internal import Glibc

/// A moment: microseconds since 1970-01-01T00:00:00Z. The one representation of time in memory and in the database.
public struct Timestamp: Sendable, Hashable, Comparable {
    public var microseconds: Int64

    public init(microseconds: Int64) { self.microseconds = microseconds }
    public init(seconds: Int64) { microseconds = seconds &* 1_000_000 }

    /// Whole seconds, rounded towards the past: a JWT's NumericDate (RFC 7519 §2).
    public var seconds: Int64 {
        let quotient = microseconds / 1_000_000
        return microseconds % 1_000_000 < 0 ? quotient - 1 : quotient
    }

    public func adding(seconds: Int64) -> Timestamp {
        Timestamp(microseconds: microseconds &+ seconds &* 1_000_000)
    }

    public static func < (left: Timestamp, right: Timestamp) -> Bool { left.microseconds < right.microseconds }

    /// The protocol's preferred datetime form, `2024-05-01T12:34:56.789Z` (Lexicon specification, `datetime`).
    public var iso8601: String { String(decoding: iso8601Bytes, as: UTF8.self) }

    /// `iso8601` as bytes.
    public var iso8601Bytes: [UInt8] {
        let dayLength: Int64 = 86_400
        let second = seconds
        let days = second >= 0 ? second / dayLength : (second - dayLength + 1) / dayLength
        let ofDay = second - days * dayLength
        let (year, month, day) = Self.civil(days: days)
        let milliseconds = (microseconds - second * 1_000_000) / 1_000
        var out: [UInt8] = []
        out.reserveCapacity(24)
        func digits(_ value: Int64, _ width: Int) {
            var divisor: Int64 = 1
            for _ in 1..<width { divisor *= 10 }
            for _ in 0..<width {
                out.append(UInt8(0x30 + value / divisor % 10))
                divisor = Swift.max(1, divisor / 10)
            }
        }
        digits(year, 4)
        out.append(0x2D)
        digits(month, 2)
        out.append(0x2D)
        digits(day, 2)
        out.append(0x54)
        digits(ofDay / 3600, 2)
        out.append(0x3A)
        digits(ofDay / 60 % 60, 2)
        out.append(0x3A)
        digits(ofDay % 60, 2)
        out.append(0x2E)
        // The last group needs the divisor to stop at 1, which `digits` sees to.
        digits(milliseconds, 3)
        out.append(0x5A)
        return out
    }

    /// Year, month, day of a count of days since 1970-01-01 (proleptic Gregorian calendar, years 0–9999).
    static func civil(days: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let shifted = days + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthIndex = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * monthIndex + 2) / 5 + 1
        let month = monthIndex < 10 ? monthIndex + 3 : monthIndex - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day)
    }
}

/// Where the time comes from: a value, so that tests choose it.
public struct Clock: Sendable {
    public let now: @Sendable () -> Timestamp

    public init(now: @escaping @Sendable () -> Timestamp) { self.now = now }

    /// The machine's clock.
    public static let system = Clock {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Timestamp(microseconds: Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1_000)
    }

    /// Nanoseconds of the monotonic clock, for durations and deadlines; its zero means nothing.
    public static func monotonicNanoseconds() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec)
    }
}
