internal import Base
internal import Net

/// One event as the bytes that go to every subscriber: the WebSocket header and the frame, written once.
final class PreparedFrame {
    let seq: Int
    let count: Int
    private let memory: UnsafeMutableRawBufferPointer

    /// `count` bytes, valid as long as this object.
    var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: memory[..<count]) }

    init(_ event: StreamEvent) {
        seq = event.seq
        let room = UnsafeMutableRawBufferPointer.allocate(
            byteCount: WebSocketFrame.headerSizeMax + event.frame.count, alignment: 16)
        let headerCount = WebSocketFrame.writeHeader(.binary, payloadCount: event.frame.count, to: room)
        event.frame.withUnsafeBytes {
            UnsafeMutableRawBufferPointer(rebasing: room[headerCount...]).copyMemory(from: $0)
        }
        count = headerCount + event.frame.count
        memory = room
    }

    deinit { memory.deallocate() }
}

/// A frame in a row of frames: what writing needs, beside the object, so that a write touches no reference count.
struct FrameSlot {
    let bytes: UnsafeRawBufferPointer
    let seq: Int
    /// The bytes of all frames of the ring before this one, ever.
    let startOffset: UInt64
    let frame: PreparedFrame

    init(_ frame: PreparedFrame, startOffset: UInt64) {
        bytes = frame.bytes
        seq = frame.seq
        self.startOffset = startOffset
        self.frame = frame
    }
}

/// The newest events, shared by everyone who is not far behind. Bounded in frames and in bytes.
struct FrameRing {
    private var slots: ContiguousArray<FrameSlot?>
    private let mask: Int
    private let sizeMax: UInt64
    /// Absolute index of the oldest slot held, and of the one after the newest.
    private(set) var start = 0
    private(set) var end = 0
    /// Every event above this number, up to `newestSeq`, is in the ring.
    private(set) var floorSeq: Int
    private(set) var newestSeq: Int
    private(set) var endOffset: UInt64 = 0

    /// - Parameter countMax: Rounded up to a power of two.
    init(countMax: Int, sizeMax: Int, after seq: Int) {
        var capacity = 64
        while capacity < countMax { capacity *= 2 }
        slots = ContiguousArray(repeating: nil, count: capacity)
        mask = capacity - 1
        self.sizeMax = UInt64(sizeMax)
        floorSeq = seq
        newestSeq = seq
    }

    var isEmpty: Bool { start == end }

    /// Appends an event with a number above `newestSeq`, and lets go of the oldest ones as the bounds ask.
    mutating func append(_ frame: PreparedFrame) {
        if end - start == slots.count { dropOldest() }
        slots[end & mask] = FrameSlot(frame, startOffset: endOffset)
        end += 1
        endOffset += UInt64(frame.count)
        newestSeq = frame.seq
        // The newest stays, however large it is.
        while end - start > 1, let oldest = slots[start & mask], endOffset - oldest.startOffset > sizeMax {
            dropOldest()
        }
    }

    private mutating func dropOldest() {
        if let oldest = slots[start & mask] { floorSeq = oldest.seq }
        slots[start & mask] = nil
        start += 1
    }

    /// The bytes from slot `index` to the end.
    func backlogSize(from index: Int) -> UInt64 {
        guard index < end, index >= start, let slot = slots[index & mask] else { return 0 }
        return endOffset - slot.startOffset
    }

    /// The index of the first slot with a number above `seq`.
    func index(after seq: Int) -> Int {
        var low = start
        var high = end
        while low < high {
            let middle = low + (high - low) / 2
            if let slot = slots[middle & mask], slot.seq <= seq { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// Lets `body` see up to `limit` slots from `index` on that lie side by side; at least one when there is one.
    @inline(__always)
    func withSlots<Result>(from index: Int, limit: Int, _ body: (UnsafeBufferPointer<FrameSlot?>) -> Result) -> Result {
        let first = index & mask
        let count = max(0, min(limit, end - index, slots.count - first))
        return slots.withUnsafeBufferPointer { body(UnsafeBufferPointer(rebasing: $0[first..<(first + count)])) }
    }
}

/// A run of older events, read once for everyone who replays through it.
final class HistoryPage {
    /// The page holds every event above `after` up to the last one in it.
    let after: Int
    let slots: ContiguousArray<FrameSlot?>
    let lastSeq: Int
    let size: Int

    init(after: Int, events: [StreamEvent]) {
        self.after = after
        slots = ContiguousArray(events.map { FrameSlot(PreparedFrame($0), startOffset: 0) })
        lastSeq = events.last?.seq ?? after
        size = events.reduce(0) { $0 + $1.frame.count }
    }

    func covers(_ seq: Int) -> Bool { after <= seq && seq < lastSeq }

    func index(after seq: Int) -> Int {
        var low = 0
        var high = slots.count
        while low < high {
            let middle = (low + high) / 2
            if let slot = slots[middle], slot.seq <= seq { low = middle + 1 } else { high = middle }
        }
        return low
    }
}

/// The pages in memory, the most recently used last. Bounded in pages and in bytes; a page is bounded by `eventsMax`
/// and `pageSizeMax` (and one frame).
struct HistoryPages {
    static let pagesMax = 32
    static let sizeMax = 33_554_432
    static let eventsMax = 256
    static let pageSizeMax = 1_048_576

    private var pages: [HistoryPage] = []

    /// The page that holds what comes after `seq`, from memory.
    mutating func page(after seq: Int) -> HistoryPage? {
        guard let place = pages.lastIndex(where: { $0.covers(seq) }) else { return nil }
        let page = pages.remove(at: place)
        pages.append(page)
        return page
    }

    mutating func insert(_ page: HistoryPage) {
        pages.append(page)
        while pages.count > Self.pagesMax || (pages.count > 1 && pages.reduce(0) { $0 + $1.size } > Self.sizeMax) {
            pages.removeFirst()
        }
    }
}
