internal import Base
internal import CPostgres

/// The arguments of one statement in the form that libpq wants; reused from statement to statement.
struct PostgresArguments {
    /// Their types, two bits each under a leading one: a statement is prepared for one list of types.
    private(set) var signature: UInt64 = 1
    private var types: [Oid] = []
    private var values: [SQL.Value] = []
    private var lengths: [Int32] = []
    private var formats: [Int32] = []
    private var integers: [Int64] = []

    mutating func fill(_ arguments: [SQL.Value]) {
        signature = 1
        types.removeAll(keepingCapacity: true)
        lengths.removeAll(keepingCapacity: true)
        integers.removeAll(keepingCapacity: true)
        values = arguments
        for argument in arguments {
            let (code, type, length): (UInt64, Oid, Int) =
                switch argument {
                // The server finds the type of a NULL from where it stands.
                case .null: (0, 0, 0)
                case .integer: (1, 20, 8)
                case .text(let text): (2, 25, text.count)
                case .bytes(let bytes): (3, 17, bytes.count)
                }
            signature = signature << 2 | code
            types.append(type)
            lengths.append(Int32(clamping: length))
            if case .integer(let integer) = argument { integers.append(integer.bigEndian) }
        }
        // Binary, all of them.
        while formats.count < arguments.count { formats.append(1) }
    }

    /// Hands the argument pointers to `body`; they are valid inside it only. libpq copies what they point to.
    private func withPointers(_ body: (UnsafePointer<UnsafePointer<CChar>?>?) -> Void) {
        let values = values
        integers.withUnsafeBufferPointer { integers in
            withUnsafeTemporaryAllocation(of: UnsafePointer<CChar>?.self, capacity: max(1, values.count)) { pointers in
                var position = 0
                func fill(from index: Int) {
                    guard index < values.count else {
                        body(UnsafePointer(pointers.baseAddress))
                        return
                    }
                    switch values[index] {
                    case .null:
                        pointers.initializeElement(at: index, to: nil)
                        fill(from: index + 1)
                    case .integer:
                        let start = UnsafeRawPointer(integers.baseAddress.unsafelyUnwrapped + position)
                        position += 1
                        pointers.initializeElement(at: index, to: start.assumingMemoryBound(to: CChar.self))
                        fill(from: index + 1)
                    case .text(let bytes), .bytes(let bytes):
                        bytes.withUnsafeBytes { raw in
                            // An empty string may have no address, and a nil pointer is NULL.
                            let start = raw.baseAddress ?? UnsafeRawPointer(pointers.baseAddress.unsafelyUnwrapped)
                            pointers.initializeElement(at: index, to: start.assumingMemoryBound(to: CChar.self))
                            fill(from: index + 1)
                        }
                    }
                }
                fill(from: 0)
            }
        }
    }

    func prepare(_ name: String, _ text: String, on handle: OpaquePointer) {
        PQsendPrepare(handle, name, text, Int32(types.count), types)
    }

    func send(_ name: String, to handle: OpaquePointer) {
        withPointers { PQsendQueryPrepared(handle, name, Int32(types.count), $0, lengths, formats, 1) }
    }

    /// Without a prepared statement.
    func sendOnce(_ text: String, to handle: OpaquePointer) {
        withPointers { PQsendQueryParams(handle, text, Int32(types.count), types, $0, lengths, formats, 1) }
    }
}
