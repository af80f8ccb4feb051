internal import ATProto
internal import Base
internal import Crypto
internal import Glibc

/// Where the blocks of a CAR are in its file, by digest, in bounded memory however many there are.
///
/// Entries are gathered, sorted and written out in runs, which `seal` merges into one sorted file; of that only the
/// first word of every page stays in memory (8 bytes for each 4,000 of the file, which is 2 MB for a CAR of 1 GiB that
/// holds nothing but the smallest blocks). Looking one up reads one page. A small CAR never needs the files.
final class BlockIndex {
    /// A block's place: the byte that it begins at and its length.
    struct Place: Equatable {
        let offset: Int
        let count: Int

        /// Bits of the length. Lengths stay below 4 MiB, offsets below 4 TiB.
        private static let countBits = 22
        static let countMax = 1 << countBits - 1
        static let offsetMax = 1 << 42 - 1

        init(offset: Int, count: Int) {
            self.offset = offset
            self.count = count
        }

        fileprivate init(packed: UInt64) {
            offset = Int(packed >> UInt64(Self.countBits))
            count = Int(packed & UInt64(Self.countMax))
        }

        fileprivate var packed: UInt64 { UInt64(offset) << UInt64(Self.countBits) | UInt64(count) }
    }

    /// 40 bytes. Their order is that of the digest's words, which is as good as any.
    fileprivate struct Entry {
        let words: (UInt64, UInt64, UInt64, UInt64)
        let place: UInt64

        static func precedes(_ left: Entry, _ right: Entry) -> Bool {
            if left.words.0 != right.words.0 { return left.words.0 < right.words.0 }
            if left.words.1 != right.words.1 { return left.words.1 < right.words.1 }
            if left.words.2 != right.words.2 { return left.words.2 < right.words.2 }
            return left.words.3 < right.words.3
        }

        static func isSame(_ left: Entry, _ right: Entry) -> Bool {
            left.words.0 == right.words.0 && left.words.1 == right.words.1 && left.words.2 == right.words.2
                && left.words.3 == right.words.3
        }
    }

    /// Entries that are held before they are written out: 10 MiB.
    static let heldMax = 262_144
    private static let entrySize = MemoryLayout<Entry>.stride
    private static let pageCount = 100

    /// The file has less than was written to it.
    private static var short: SystemError { SystemError("read the index of an import", errno: EIO) }

    private let directory: String
    private let heldMax: Int
    private var held: [Entry] = []
    private var runs: FileHandle?
    /// How many entries each run has.
    private var runCounts: [Int] = []

    private var sorted: FileHandle?
    private var sortedCount = 0
    /// The first word of each page of `sorted`.
    private var pages: [UInt64] = []

    /// `directory` is for the files, which have no names.
    init(directory: String, heldMax: Int = heldMax) {
        self.directory = directory
        self.heldMax = heldMax
    }

    func add(_ cid: CID, _ place: Place) throws {
        if held.count == heldMax { try spill() }
        held.append(Entry(words: cid.digest.words, place: place.packed))
    }

    /// Ends the adding; afterwards `find` works.
    func seal() throws {
        if runCounts.isEmpty {
            held.sort(by: Entry.precedes)
            return
        }
        try spill()
        held = []
        try merge()
        runs = nil
        runCounts = []
    }

    func find(_ cid: CID) throws -> Place? {
        let wanted = Entry(words: cid.digest.words, place: 0)
        guard let sorted else { return held.withUnsafeBufferPointer { Self.find(wanted, in: $0) } }
        // The last page that begins at or before the wanted word. The same first word on two pages takes a collision of
        // 64 bits, but an equal one may begin a page and end the one before: that page is looked at as well.
        var page = Self.lowerBound(pages.count) { pages[$0] <= wanted.words.0 } - 1
        while page >= 0 {
            let first = page * Self.pageCount
            let count = min(Self.pageCount, sortedCount - first)
            let found = try withUnsafeTemporaryAllocation(of: Entry.self, capacity: count) { buffer in
                let read = try sorted.read(at: first * Self.entrySize, into: UnsafeMutableRawBufferPointer(buffer))
                guard read == count * Self.entrySize else { throw Self.short }
                return Self.find(wanted, in: UnsafeBufferPointer(buffer))
            }
            if let found { return found }
            guard pages[page] == wanted.words.0 else { return nil }
            page -= 1
        }
        return nil
    }

    private static func find(_ wanted: Entry, in entries: UnsafeBufferPointer<Entry>) -> Place? {
        let position = lowerBound(entries.count) { Entry.precedes(entries[$0], wanted) }
        guard position < entries.count, Entry.isSame(entries[position], wanted) else { return nil }
        return Place(packed: entries[position].place)
    }

    /// The first position for which `isBefore` no longer holds.
    private static func lowerBound(_ count: Int, _ isBefore: (Int) -> Bool) -> Int {
        var low = 0
        var high = count
        while low < high {
            let middle = (low + high) >> 1
            if isBefore(middle) { low = middle + 1 } else { high = middle }
        }
        return low
    }

    // MARK: Files

    private func spill() throws {
        guard !held.isEmpty else { return }
        let file = try runs ?? FileHandle.temporary(in: directory)
        runs = file
        held.sort(by: Entry.precedes)
        try held.withUnsafeBytes { try file.write($0) }
        runCounts.append(held.count)
        held.removeAll(keepingCapacity: true)
    }

    /// Merges the runs into `sorted`, equal digests once.
    private func merge() throws {
        guard let runs else { return }
        var first = 0
        var heads: [Run] = []
        for count in runCounts {
            var run = Run(file: runs, next: first, end: first + count)
            first += count
            if try run.fill() { heads.append(run) }
        }
        let out = try FileHandle.temporary(in: directory)
        var page: [Entry] = []
        page.reserveCapacity(Self.pageCount)
        var last: Entry?
        func flush() throws {
            guard let first = page.first else { return }
            pages.append(first.words.0)
            try page.withUnsafeBytes { try out.write($0) }
            sortedCount += page.count
            page.removeAll(keepingCapacity: true)
        }
        while var least = heads.indices.first {
            // Runs are few (a hundred for a CAR of 1 GiB that is made to hurt): going through them beats a heap.
            for index in heads.indices.dropFirst() where Entry.precedes(heads[index].head, heads[least].head) {
                least = index
            }
            let entry = heads[least].head
            if last.map({ Entry.isSame($0, entry) }) != true {
                page.append(entry)
                last = entry
                if page.count == Self.pageCount { try flush() }
            }
            if try !heads[least].advance() { heads.remove(at: least) }
        }
        try flush()
        sorted = out
    }

    /// One sorted run that is being read. The file that holds all runs is written in order, each behind the one before.
    private struct Run {
        let file: FileHandle
        /// The position in the file of the next entry that is not in `buffer`, and where the run ends.
        var next: Int
        let end: Int
        var buffer: [Entry] = []
        var position = 0

        static let bufferCount = 1_024

        var head: Entry { buffer[position] }

        /// Goes to the next entry; false at the end.
        mutating func advance() throws -> Bool {
            position += 1
            return try position < buffer.count || fill()
        }

        mutating func fill() throws -> Bool {
            let count = min(Self.bufferCount, end - next)
            position = 0
            let (file, offset) = (file, next * BlockIndex.entrySize)
            buffer = try [Entry](unsafeUninitializedCapacity: count) { buffer, filled in
                let read = try file.read(at: offset, into: UnsafeMutableRawBufferPointer(buffer))
                guard read == count * BlockIndex.entrySize else { throw BlockIndex.short }
                filled = count
            }
            next += count
            return count > 0
        }
    }
}
