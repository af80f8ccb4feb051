public import Base

/// Why bytes are not JSON that this server takes, and where.
public struct JSONError: Error, Equatable, Sendable {
    public enum Reason: Sendable, Equatable {
        /// Not RFC 8259: trailing commas, comments, a byte order mark, `NaN`, `01`, a raw control character …
        case syntax
        /// `1.0`, `1e2`, `-0`: the data model has no floats.
        case floatNotAllowed
        /// Beyond 64 bits with sign.
        case integerOutOfRange
        /// A lone surrogate escape or bytes that are not UTF-8.
        case notUnicode
        case duplicateKey(Bytes)
        case emptyKey
        case tooDeep, tooManyElements, keyTooLong, tooLarge
        /// `$link` that is no string with a CID, or not alone in its object.
        case invalidLink
        /// `$bytes` that is no string of base 64, or not alone in its object.
        case invalidBytes
        /// `$type` that is no string, or an empty one.
        case invalidType
    }

    public let reason: Reason
    /// The offset of the byte that is wrong, or of the start of the item that is.
    public let offset: Int
    /// The limit that was reached, where the reason is a limit; else 0.
    public let limit: Int
    /// For the data model's errors: the place in the value, such as `embed/images/0`. Empty at the top.
    public internal(set) var path: Bytes

    init(_ reason: Reason, at offset: Int, limit: Int = 0) {
        self.reason = reason
        self.offset = offset
        self.limit = limit
        path = Bytes()
    }

    /// Whether the text is JSON but breaks a rule of the data model: the record is invalid, not the request.
    public var isOfDataModel: Bool {
        switch reason {
        case .invalidLink, .invalidBytes, .invalidType: true
        default: false
        }
    }

    /// The same error, one container further out.
    func inside(_ key: Bytes) -> JSONError {
        guard isOfDataModel else { return self }
        var error = self
        error.path = path.isEmpty ? key : key + "/" + path
        return error
    }
}

extension JSONError: CustomStringConvertible {
    /// For the client: `invalid JSON at byte 7`, `floats are not allowed (byte 7)` …
    public var description: String {
        let place = path.isEmpty ? "byte \(offset)" : "\(path), byte \(offset)"
        return switch reason {
        case .syntax: "invalid JSON at byte \(offset)"
        case .floatNotAllowed: "floats are not allowed (byte \(offset))"
        case .integerOutOfRange: "integer out of range (byte \(offset))"
        case .notUnicode: "not valid Unicode (byte \(offset))"
        case .duplicateKey(let key): "duplicate key \(key) (byte \(offset))"
        case .emptyKey: "empty key (byte \(offset))"
        case .tooDeep: "nesting deeper than \(limit) (byte \(offset))"
        case .tooManyElements: "more than \(limit) elements (byte \(offset))"
        case .keyTooLong: "key longer than \(limit) bytes (byte \(offset))"
        case .tooLarge: "larger than \(limit) bytes"
        case .invalidLink: "invalid $link (\(place))"
        case .invalidBytes: "invalid $bytes (\(place))"
        case .invalidType: "invalid $type (\(place))"
        }
    }
}

/// JSON (RFC 8259), strictly, without floats: objects with the same key twice are refused, integers are exact.
public enum JSON {
    /// The largest text that is parsed at all, whatever the caller lets in. Bytes.
    public static let sizeMax = 64 << 20

    /// The value of the data model that `bytes` hold: `{"$link": …}` and `{"$bytes": …}` are folded to links and bytes
    /// and checked, as is `$type`. Plain strings are slices of `bytes`.
    ///
    /// `depthMax` counts containers as the data model does, so that a folded link costs none.
    /// `integralFloats` takes `1.0` as 1 (the reference does, its JSON library can't tell); every other float is
    /// refused always. Throws `JSONError`.
    public static func parse(
        _ bytes: Bytes, depthMax: Int = 32, integralFloats: Bool = false
    ) throws(JSONError) -> Value {
        try parse(bytes, folds: true, limits: DataLimits(depthMax: depthMax), integralFloats: integralFloats)
    }

    /// The same without the data model: `$link`, `$bytes` and `$type` are keys like any other. For DID documents,
    /// claims, metadata.
    public static func parsePlain(_ bytes: Bytes, depthMax: Int = 32) throws(JSONError) -> Value {
        try parse(bytes, folds: false, limits: DataLimits(depthMax: depthMax), integralFloats: false)
    }

    private static func parse(
        _ bytes: Bytes, folds: Bool, limits: DataLimits, integralFloats: Bool
    ) throws(JSONError) -> Value {
        guard bytes.count <= sizeMax else { throw JSONError(.tooLarge, at: 0, limit: sizeMax) }
        return try bytes.withUnsafeBytes { (raw) throws(JSONError) in
            var parser = JSONParser(raw, of: bytes, folds: folds, limits: limits, integralFloats: integralFloats)
            return try parser.document()
        }
    }

    /// The data model's JSON of `value`, without blanks, keys in DRISL order.
    public static func encode(_ value: Value) -> [UInt8] {
        var writer = JSONWriter()
        writer.value(value)
        return writer.finish()
    }
}
