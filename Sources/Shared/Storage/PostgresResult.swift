internal import Base
internal import CPostgres

/// What the server answered to one command; freed with the value.
final class PostgresResult {
    let handle: OpaquePointer

    init(_ handle: OpaquePointer) { self.handle = handle }
    deinit { PQclear(handle) }

    var status: ExecStatusType { PQresultStatus(handle) }
    var isError: Bool { status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK }
    var rowCount: Int32 { PQntuples(handle) }
    /// The command tag, such as `COMMIT` or `INSERT 0 1`.
    var tag: String { PQcmdStatus(handle).map { String(cString: $0) } ?? "" }

    /// The rows that an INSERT, UPDATE or DELETE changed; 0 for everything else.
    var changedCount: Int {
        guard let start = PQcmdTuples(handle), !tag.hasPrefix("SELECT") else { return 0 }
        return Int(String(cString: start)) ?? 0
    }

    func field(_ code: Int32) -> String { PQresultErrorField(handle, code).map { String(cString: $0) } ?? "" }
    /// Empty when the error is libpq's own: the connection broke.
    var sqlState: String { field(CPostgres_DIAG_SQLSTATE) }
    var message: String {
        let primary = field(CPostgres_DIAG_MESSAGE_PRIMARY)
        return primary.isEmpty ? PQresultErrorMessage(handle).map { String(cString: $0) } ?? "" : primary
    }
}

/// A row of an answer in hand. Columns are in the server's binary format.
struct PostgresRow: Row {
    // Held, so that the answer outlives the pointers in use.
    let result: PostgresResult
    let row: Int32

    /// The types that are read, by their numbers in pg_type.
    private enum TypeID {
        static let bool: Oid = 16
        static let bytea: Oid = 17
        static let name: Oid = 19
        static let int8: Oid = 20
        static let int2: Oid = 21
        static let int4: Oid = 23
        static let text: Oid = 25
        static let varchar: Oid = 1_043
        static let numeric: Oid = 1_700
    }

    func optionalInteger(_ column: Int) throws(StorageError) -> Int? {
        guard let raw = try value(column) else { return nil }
        func bigEndian<Number: FixedWidthInteger>(_ type: Number.Type) -> Int? {
            raw.count == Number.bitWidth / 8 ? Int(Number(bigEndian: raw.loadUnaligned(as: type))) : nil
        }
        let value: Int? =
            switch PQftype(result.handle, Int32(column)) {
            case TypeID.int8: bigEndian(Int64.self)
            case TypeID.int4: bigEndian(Int32.self)
            case TypeID.int2: bigEndian(Int16.self)
            case TypeID.bool: bigEndian(UInt8.self)
            case TypeID.numeric: Self.integer(numeric: raw)
            default: nil
            }
        guard let value else { throw .unexpectedColumn(column) }
        return value
    }

    func optionalText(_ column: Int) throws(StorageError) -> Bytes? {
        guard let raw = try value(column) else { return nil }
        guard isText(column) else { throw .unexpectedColumn(column) }
        return Bytes(raw)
    }

    func optionalBytes(_ column: Int) throws(StorageError) -> Bytes? {
        guard let raw = try value(column) else { return nil }
        guard PQftype(result.handle, Int32(column)) == TypeID.bytea else { throw .unexpectedColumn(column) }
        return Bytes(raw)
    }

    func withBytes<Result>(_ column: Int, _ body: (UnsafeRawBufferPointer) throws -> Result) throws -> Result {
        guard let raw = try value(column), isText(column) || PQftype(result.handle, Int32(column)) == TypeID.bytea
        else { throw StorageError.unexpectedColumn(column) }
        return try withExtendedLifetime(result) { try body(raw) }
    }

    private func isText(_ column: Int) -> Bool {
        [TypeID.text, TypeID.varchar, TypeID.name].contains(PQftype(result.handle, Int32(column)))
    }

    /// The column's bytes, which live as long as the answer; nil for NULL.
    private func value(_ column: Int) throws(StorageError) -> UnsafeRawBufferPointer? {
        guard column >= 0, column < Int(PQnfields(result.handle)) else { throw .unexpectedColumn(column) }
        if PQgetisnull(result.handle, row, Int32(column)) == 1 { return nil }
        return UnsafeRawBufferPointer(
            start: PQgetvalue(result.handle, row, Int32(column)),
            count: Int(PQgetlength(result.handle, row, Int32(column))))
    }

    /// A whole number out of NUMERIC, the type of `sum` over BIGINT; nil when it has a fraction or is too large.
    /// Four 16-bit numbers (digit groups, weight of the first, sign, scale), then groups of four decimal digits.
    static func integer(numeric raw: UnsafeRawBufferPointer) -> Int? {
        func word(_ position: Int) -> Int? {
            guard position * 2 + 2 <= raw.count else { return nil }
            return Int(Int16(bigEndian: raw.loadUnaligned(fromByteOffset: position * 2, as: Int16.self)))
        }
        guard let groups = word(0), let weight = word(1), let sign = word(2), groups >= 0,
            sign == 0 || sign == 0x4000, groups <= weight + 1 || groups == 0
        else { return nil }
        guard groups > 0 else { return 0 }
        var total = 0
        for position in 0...weight {
            guard let group = position < groups ? word(4 + position) : 0 else { return nil }
            // Summed on the negative side, where the range is larger by one.
            let (product, isLarge) = total.multipliedReportingOverflow(by: 10_000)
            let (difference, isLarger) = product.subtractingReportingOverflow(group)
            if isLarge || isLarger { return nil }
            total = difference
        }
        if sign == 0x4000 { return total }
        return total == Int.min ? nil : -total
    }
}
