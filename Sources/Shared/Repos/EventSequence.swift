public import Base
internal import Storage

/// Event numbers after a restore, a move, or a new installation under an old name.
///
/// Whoever follows the firehose keeps the last number it saw and comes back with it. A server that begins again below
/// that is told `FutureCursor` and is lost to its relays. The protocol lets a server leave numbers out, so the counter
/// jumps. https://atproto.com/specs/event-stream (sequence numbers)
public enum EventSequence {
    /// The largest number that the counter is sent to, and that a relay is believed to have seen. Numbers end below
    /// 2^53, which a double holds exactly; the other half is left to go on with.
    public static let believedMax = 1 << 52
    /// How far above a number that a relay has seen the counter jumps: it may have seen more than it says.
    public static let margin = 1_000_000

    /// A number above every one that this server has ever given out: the microseconds since 1970. A counter that began
    /// at 0, or at such a number earlier on, is below it as long as there were fewer than a million events a second
    /// in the mean. It stays below `believedMax` until the year 2112.
    public static func floor(now: Timestamp) -> Int { Int(clamping: max(0, now.microseconds)) }

    /// The number to jump to: above the clock's and above what each relay has seen.
    public static func target(now: Timestamp, seenByRelays seen: [Int]) -> Int {
        let highest = seen.filter { $0 <= believedMax }.max() ?? 0
        return max(floor(now: now), highest + margin)
    }
}

/// The counter can't go where it was sent.
public enum EventSequenceError: Error, Equatable, Sendable {
    case tooHigh(max: Int)
}

extension EventStore {
    /// Raises the counter to `number`, so that the next event's is greater; never lowers it. Returns where it stands.
    /// Throws `EventSequenceError.tooHigh`.
    public func raise(to number: Int) throws -> Int {
        guard number <= EventSequence.believedMax else {
            throw EventSequenceError.tooHigh(max: EventSequence.believedMax)
        }
        return try raiseCounter(to: number)
    }
}
