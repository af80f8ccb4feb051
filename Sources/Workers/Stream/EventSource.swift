public import Base

/// One event of the firehose as it is stored: its number and its whole frame (header and payload, DAG-CBOR).
public struct StreamEvent: Sendable {
    public let seq: Int
    public let frame: Bytes

    public init(seq: Int, frame: Bytes) {
        self.seq = seq
        self.frame = frame
    }
}

/// What is kept: the oldest event's number (nil when none is kept) and the newest number that was ever given out
/// (0 when none was).
public struct StreamBounds: Sendable, Equatable {
    public let oldest: Int?
    public let newest: Int

    public init(oldest: Int?, newest: Int) {
        self.oldest = oldest
        self.newest = newest
    }
}

/// Where the events come from: the one table that commits write to. The stream server calls it from its own thread
/// only. A throw means "not now": it is logged and tried again within a second.
public protocol EventSource: AnyObject {
    /// Events with a number above `after`, ascending, without a gap in what is committed: at most `limit` of them,
    /// and no more once their frames reach `sizeMax` bytes (at least one, if there is one).
    func events(after: Int, limit: Int, sizeMax: Int) throws -> [StreamEvent]

    func bounds() throws -> StreamBounds

    /// A descriptor that becomes readable when there may be new events, or nil: then they are found within a second.
    var wakeup: Int32? { get }

    /// Makes `wakeup` unreadable until the next event.
    func acknowledgeWakeup()
}
