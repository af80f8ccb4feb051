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
