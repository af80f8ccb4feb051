public import Base

/// A `datetime` of the Lexicon specification that also names a real moment.
///
/// Syntax: the intersection of RFC 3339 and ISO 8601 with capital `T` and `Z`, a zone, whole seconds, no `-00:00`,
/// at most 64 bytes. https://atproto.com/specs/lexicon (datetime)
public struct Datetime: Identifier {
    public static let sizeMax = 64

    public let bytes: Bytes
    /// The moment, cut to microseconds.
    public let timestamp: Timestamp

    /// nil for wrong syntax, a date that the calendar doesn't have, a leap second, year 0 or a moment before year 1.
    public init?(_ bytes: Bytes) {
        guard let fields = Fields(bytes), fields.year >= 1, let timestamp = fields.timestamp,
            timestamp.microseconds >= Self.year1
        else { return nil }
        self.bytes = bytes
        self.timestamp = timestamp
    }

    /// Whether `bytes` has the form, real moment or not: what a record's `datetime` must have to be stored.
    public static func isSyntax(_ bytes: Bytes) -> Bool { Fields(bytes) != nil }

    /// 0001-01-01T00:00:00Z.
    private static let year1: Int64 = -62_135_596_800_000_000

    private struct Fields {
        var year: Int64 = 0
        var month: Int64 = 0
        var day: Int64 = 0
        var hour: Int64 = 0
        var minute: Int64 = 0
        var second: Int64 = 0
        var microseconds: Int64 = 0
        /// Minutes east of Greenwich; -1,440 or less never occurs.
        var zone: Int64 = 0
        var zoneIsValid = true

        init?(_ bytes: Bytes) {
            guard bytes.count >= 20, bytes.count <= Datetime.sizeMax else { return nil }
            func number(_ range: Range<Int>) -> Int64? {
                var value: Int64 = 0
                for position in range {
                    guard ByteClass.isDigit(bytes[position]) else { return nil }
                    value = value * 10 + Int64(bytes[position] - 0x30)
                }
                return value
            }
            guard bytes[4] == 0x2D, bytes[7] == 0x2D, bytes[10] == 0x54, bytes[13] == 0x3A, bytes[16] == 0x3A,
                let year = number(0..<4), let month = number(5..<7), let day = number(8..<10),
                let hour = number(11..<13), let minute = number(14..<16), let second = number(17..<19)
            else { return nil }
            (self.year, self.month, self.day) = (year, month, day)
            (self.hour, self.minute, self.second) = (hour, minute, second)
            var position = 19
            if bytes[position] == 0x2E {
                position += 1
                let from = position
                var unit: Int64 = 100_000
                while position < bytes.count, ByteClass.isDigit(bytes[position]) {
                    microseconds += Int64(bytes[position] - 0x30) * unit
                    unit /= 10
                    position += 1
                }
                guard position > from, position < bytes.count else { return nil }
            }
            if bytes[position] == 0x5A {
                guard position + 1 == bytes.count else { return nil }
                return
            }
            guard bytes[position] == 0x2B || bytes[position] == 0x2D, bytes.count == position + 6,
                bytes[position + 3] == 0x3A, let hours = number(position + 1..<position + 3),
                let minutes = number(position + 4..<position + 6)
            else { return nil }
            let isWest = bytes[position] == 0x2D
            if isWest, hours == 0, minutes == 0 { return nil }
            zoneIsValid = hours < 24 && minutes < 60
            zone = (hours * 60 + minutes) * (isWest ? -1 : 1)
        }

        var timestamp: Timestamp? {
            guard month >= 1, month <= 12, day >= 1, day <= daysInMonth, hour < 24, minute < 60, second < 60,
                zoneIsValid
            else { return nil }
            // Days since 1970-01-01 of the proleptic Gregorian calendar, counted in years that begin in March.
            let shifted = month <= 2 ? year - 1 : year
            let era = (shifted >= 0 ? shifted : shifted - 399) / 400
            let ofEra = shifted - era * 400
            let ofYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
            let days = era * 146_097 + ofEra * 365 + ofEra / 4 - ofEra / 100 + ofYear - 719_468
            let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second - zone * 60
            return Timestamp(microseconds: seconds * 1_000_000 + microseconds)
        }

        private var daysInMonth: Int64 {
            switch month {
            case 4, 6, 9, 11: 30
            case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
            default: 31
            }
        }
    }
}
