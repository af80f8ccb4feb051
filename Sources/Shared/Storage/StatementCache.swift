/// The prepared statements of one connection by their text, the least recently used leave first.
struct StatementCache<Statement> {
    /// A text, hashed once with a cheap function: texts come from this program, never from outside.
    struct Key: Hashable {
        let text: String
        /// Tells statements of the same text apart that were prepared for other types.
        let variant: UInt64
        let hash: UInt64

        init(_ text: String, variant: UInt64 = 0) {
            self.text = text
            self.variant = variant
            hash = variant ^ (text.utf8.withContiguousStorageIfAvailable { Self.hash(UnsafeRawBufferPointer($0)) } ?? 0)
        }

        func hash(into hasher: inout Hasher) { hasher.combine(hash) }

        /// FNV-1a over words of eight bytes.
        private static func hash(_ raw: UnsafeRawBufferPointer) -> UInt64 {
            var hash: UInt64 = 0xCBF2_9CE4_8422_2325
            var position = 0
            while position &+ 8 <= raw.count {
                hash = (hash ^ raw.loadUnaligned(fromByteOffset: position, as: UInt64.self)) &* 0x100_0000_01B3
                hash ^= hash >> 29
                position &+= 8
            }
            while position < raw.count {
                hash = (hash ^ UInt64(raw[position])) &* 0x100_0000_01B3
                position &+= 1
            }
            return hash
        }
    }

    private struct Entry {
        let statement: Statement
        var lastUse: UInt64
    }

    /// The most statements kept.
    let countMax: Int
    private var entries: [Key: Entry] = [:]
    private var uses: UInt64 = 0

    init(countMax: Int) { self.countMax = countMax }

    var count: Int { entries.count }

    mutating func find(_ key: Key) -> Statement? {
        guard let index = entries.index(forKey: key) else { return nil }
        uses &+= 1
        entries.values[index].lastUse = uses
        return entries.values[index].statement
    }

    /// Keeps `statement` and returns the one that had to leave for it.
    mutating func insert(_ statement: Statement, for key: Key) -> Statement? {
        var evicted = entries.removeValue(forKey: key)?.statement
        if entries.count >= countMax, let oldest = entries.min(by: { $0.value.lastUse < $1.value.lastUse })?.key {
            evicted = entries.removeValue(forKey: oldest)?.statement
        }
        uses &+= 1
        entries[key] = Entry(statement: statement, lastUse: uses)
        return evicted
    }

    mutating func removeAll() { entries.removeAll() }
}
