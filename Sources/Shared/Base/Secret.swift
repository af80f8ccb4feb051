/// Bytes that must never be printed: no `description`, no interpolation, no JSON. Reach them by `withBytes`.
public struct Secret: Sendable {
    private let bytes: [UInt8]

    public init(_ bytes: [UInt8]) { self.bytes = bytes }

    public var count: Int { bytes.count }

    public func withBytes<Result, E: Error>(_ body: ([UInt8]) throws(E) -> Result) throws(E) -> Result {
        try body(bytes)
    }
}
