public import Base

/// A timestamp identifier: 13 characters of base32-sortable over 64 bits, microseconds then a 10-bit clock id.
/// https://atproto.com/specs/tid
public struct TID: Identifier, Comparable {
    public static let size = 13
    /// The clock id is below this.
    public static let clockIDCount = 1_024
    /// The last microsecond that a TID can name.
    static let microsecondsMax: UInt64 = 1 << 54 - 1

    /// The 64 bits. Their order is the order of the text.
    public let value: UInt64

    init(value: UInt64) { self.value = value }

    /// From `value`; nil when the first bit is set.
    public init?(bits: UInt64) {
        guard bits >> 63 == 0 else { return nil }
        value = bits
    }

    public init?(_ bytes: Bytes) {
        guard bytes.count == Self.size else { return nil }
        var value: UInt64 = 0
        for (index, byte) in bytes.enumerated() {
            let digit: UInt8
            switch byte {
            case 0x32...0x37: digit = byte - 0x32
            case 0x61...0x7A: digit = byte - 0x61 + 6
            default: return nil
            }
            // 13 characters are 65 bits: the first of them must be 0.
            if index == 0, digit > 15 { return nil }
            value = value << 5 | UInt64(digit)
        }
        self.value = value
    }

    /// The TID of a moment and a clock. A moment before 1970 counts as 1970; of the clock id the low 10 bits count.
    public init(timestamp: Timestamp, clockID: Int) {
        let microseconds = min(UInt64(max(0, timestamp.microseconds)), Self.microsecondsMax)
        value = microseconds << 10 | UInt64(truncatingIfNeeded: clockID) & 1_023
    }

    public var bytes: Bytes {
        var out = [UInt8](repeating: 0, count: Self.size)
        var rest = value
        for index in stride(from: Self.size - 1, through: 0, by: -1) {
            let digit = UInt8(truncatingIfNeeded: rest & 31)
            out[index] = digit < 6 ? 0x32 &+ digit : 0x5B &+ digit
            rest >>= 5
        }
        return Bytes(out)
    }

    public var timestamp: Timestamp { Timestamp(microseconds: Int64(value >> 10)) }
    public var clockID: Int { Int(value & 1_023) }

    public static func < (left: TID, right: TID) -> Bool { left.value < right.value }
}

/// Makes TIDs that only grow, for all threads of a process.
public final class TIDMaker: Sendable {
    public let clockID: Int
    /// The microsecond of the last TID that followed the clock.
    private let last = Guarded<UInt64>(0)

    /// `clockID`: 0 to 1,023, another one for each process that writes to the same repositories.
    public init(clockID: Int) { self.clockID = clockID & (TID.clockIDCount - 1) }

    /// A TID greater than each one that this maker gave for the clock's sake, and greater than `after`, a repository's
    /// last revision.
    ///
    /// An `after` in the future moves only the answer, never the maker: one repository with a forged revision must not
    /// drag the others ahead of time. The largest TID that there is has no successor and is given again.
    public func next(now: Timestamp, after: TID? = nil) -> TID {
        let clock = UInt64(max(0, now.microseconds))
        let fresh = last.withLock { last in
            last = min(max(clock, last &+ 1), TID.microsecondsMax)
            return last
        }
        let candidate = TID(value: fresh << 10 | UInt64(clockID))
        guard let after, candidate <= after else { return candidate }
        let next = min(after.value >> 10 + 1, TID.microsecondsMax)
        return max(TID(value: next << 10 | UInt64(clockID)), after)
    }
}
