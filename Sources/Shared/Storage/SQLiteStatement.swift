internal import Base
internal import CSQLite

/// A prepared statement. It is finalized when nothing holds it any more.
final class SQLiteStatement {
    let handle: OpaquePointer
    let parameterCount: Int
    let columnCount: Int32
    /// In a step right now: the same text asked for inside its own rows needs a second statement.
    var isBusy = false

    init(_ handle: OpaquePointer) {
        self.handle = handle
        parameterCount = Int(sqlite3_bind_parameter_count(handle))
        columnCount = sqlite3_column_count(handle)
    }

    deinit { sqlite3_finalize(handle) }

    /// Binds `arguments` without copying them: they must be kept alive until `reset`.
    func bind(_ arguments: [SQL.Value]) -> Int32 {
        var index: Int32 = 0
        for argument in arguments {
            index &+= 1
            let code =
                switch argument {
                case .null: sqlite3_bind_null(handle, index)
                case .integer(let value): sqlite3_bind_int64(handle, index, value)
                // A nil pointer would bind NULL, and an empty array may have none.
                case .text(let text) where text.isEmpty: sqlite3_bind_text(handle, index, "", 0, nil)
                case .bytes(let bytes) where bytes.isEmpty: sqlite3_bind_zeroblob(handle, index, 0)
                case .text(let text):
                    text.withUnsafeBytes {
                        sqlite3_bind_text64(
                            handle, index, $0.baseAddress?.assumingMemoryBound(to: CChar.self), UInt64($0.count), nil,
                            UInt8(SQLITE_UTF8))
                    }
                case .bytes(let bytes):
                    bytes.withUnsafeBytes {
                        sqlite3_bind_blob64(handle, index, $0.baseAddress, UInt64($0.count), nil)
                    }
                }
            if code != SQLITE_OK { return code }
        }
        return SQLITE_OK
    }

    func reset() {
        sqlite3_reset(handle)
        // The arguments may be freed now.
        if parameterCount > 0 { sqlite3_clear_bindings(handle) }
        isBusy = false
    }
}

/// The prepared statements of one connection by their text, the least recently used leave first.
struct StatementCache<Statement> {
    /// A text, hashed once with a cheap function: texts come from this program, never from outside.
    struct Key: Hashable {
        let text: String
        let hash: UInt64

        init(_ text: String) {
            self.text = text
            hash = text.utf8.withContiguousStorageIfAvailable { Self.hash(UnsafeRawBufferPointer($0)) } ?? 0
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

/// The row that a statement stands on.
struct SQLiteRow: Row {
    // Held, so that the statement outlives the pointer in use.
    let statement: SQLiteStatement

    func optionalInteger(_ column: Int) throws(StorageError) -> Int? {
        switch try type(column) {
        case SQLITE_INTEGER: Int(sqlite3_column_int64(statement.handle, Int32(column)))
        case SQLITE_NULL: nil
        default: throw .unexpectedColumn(column)
        }
    }

    func optionalText(_ column: Int) throws(StorageError) -> Bytes? {
        switch try type(column) {
        case SQLITE_TEXT: Bytes(raw(column))
        case SQLITE_NULL: nil
        default: throw .unexpectedColumn(column)
        }
    }

    func optionalBytes(_ column: Int) throws(StorageError) -> Bytes? {
        switch try type(column) {
        case SQLITE_BLOB: Bytes(raw(column))
        case SQLITE_NULL: nil
        default: throw .unexpectedColumn(column)
        }
    }

    func integer(_ column: Int) throws(StorageError) -> Int {
        guard let value = try optionalInteger(column) else { throw .unexpectedColumn(column) }
        return value
    }

    func text(_ column: Int) throws(StorageError) -> Bytes {
        guard let value = try optionalText(column) else { throw .unexpectedColumn(column) }
        return value
    }

    func bytes(_ column: Int) throws(StorageError) -> Bytes {
        guard let value = try optionalBytes(column) else { throw .unexpectedColumn(column) }
        return value
    }

    func withBytes<Result>(_ column: Int, _ body: (UnsafeRawBufferPointer) throws -> Result) throws -> Result {
        switch try type(column) {
        case SQLITE_BLOB, SQLITE_TEXT: try body(raw(column))
        default: throw StorageError.unexpectedColumn(column)
        }
    }

    private func type(_ column: Int) throws(StorageError) -> Int32 {
        guard column >= 0, column < statement.columnCount else { throw .unexpectedColumn(column) }
        return sqlite3_column_type(statement.handle, Int32(column))
    }

    /// sqlite3_column_blob gives a text's bytes too, without converting or ending them.
    private func raw(_ column: Int) -> UnsafeRawBufferPointer {
        let start = sqlite3_column_blob(statement.handle, Int32(column))
        return UnsafeRawBufferPointer(start: start, count: Int(sqlite3_column_bytes(statement.handle, Int32(column))))
    }
}
