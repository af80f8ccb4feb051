internal import Base
internal import Net

/// One connection: from its first byte to its last.
final class Subscriber {
    enum State {
        /// Its request is being read.
        case handshake
        /// It replays events that are no longer in the ring.
        case history
        /// Its place is in the ring.
        case live
        /// Its last bytes are on their way.
        case closing
    }

    let fd: Int32
    var state = State.handshake
    /// Where it stands in the server's row of subscribers.
    var place: Int

    var request: [UInt8] = []
    var incoming: WebSocketFrames?
    /// When the handshake must be done, or the goodbye over (monotonic nanoseconds).
    var deadline: UInt64

    /// Bytes for it alone: answers, pings, pongs, information, goodbyes. They go between two events.
    var control: [UInt8] = []
    var controlSent = 0

    /// The event that was sent in part, kept alive until it is sent whole.
    var partial: PreparedFrame?
    var partialSent = 0
    /// The number of the last event that was sent whole, or the cursor.
    var after = 0
    /// The next slot of the ring; means something when `live`.
    var index = 0
    /// It was once at the end of the ring: from then on it must keep up.
    var isCaughtUp = false

    /// The kernel tells when it can be written to.
    var isArmed = false
    /// It waits for the event source to work again.
    var isWaiting = false
    var bytesSent: UInt64 = 0
    /// The window in which it must make progress while it is armed.
    var stallAt: UInt64 = 0
    var bytesAtStall: UInt64 = 0

    /// When its subscription began.
    var subscribedAt: UInt64 = 0
    var pingAt: UInt64 = 0
    /// 0 when no pong is awaited.
    var pongBy: UInt64 = 0
    /// Bytes that it sent since the last tick.
    var received = 0

    init(fd: Int32, place: Int, deadline: UInt64) {
        self.fd = fd
        self.place = place
        self.deadline = deadline
    }

    var hasPrivateBytes: Bool { partial != nil || !control.isEmpty }
    var isSubscribed: Bool { state == .live || state == .history }
}
