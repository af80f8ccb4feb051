public import Base

/// A posted form: `application/x-www-form-urlencoded`, every name at most once (RFC 6749 §3.1 and §3.2 demand it of
/// OAuth requests; no form here needs a repeated one).
public struct Form: Sendable {
    public static let sizeMax = 65_536
    public static let countMax = 100

    public let parameters: [(name: Bytes, value: Bytes)]

    /// Throws `ParametersError.duplicate` for a name that occurs twice, and what `Query` throws.
    public init(parsing bytes: Bytes) throws(ParametersError) {
        let query = try Query(parsing: bytes, countMax: Self.countMax, sizeMax: Self.sizeMax)
        var seen: Set<Bytes> = []
        for parameter in query.parameters where !seen.insert(parameter.name).inserted {
            throw .duplicate(name: parameter.name)
        }
        parameters = query.parameters
    }

    /// Reads the form in a request's body. Throws a `Failure` when the content type is another one, the body is too
    /// long or broken, and `ParametersError` for what stands in it.
    public init(body request: Request) throws {
        guard let type = request.headers["content-type"], MediaType.isForm(type) else {
            throw Failure(
                .unsupportedMedia, "InvalidRequest", "the body must be application/x-www-form-urlencoded")
        }
        try self.init(parsing: Bytes(try request.collectBody(sizeMax: Self.sizeMax)))
    }

    public subscript(_ name: Bytes) -> Bytes? {
        for parameter in parameters where parameter.name == name { return parameter.value }
        return nil
    }
}

/// Media types as they are compared: type and subtype in lower case, without parameters (RFC 9110 §8.3.1).
public enum MediaType {
    /// The essence of a Content-Type value, or nil when it has none.
    public static func essence(_ value: Bytes) -> Bytes? {
        let end = value.position(of: 0x3B) ?? value.count
        var essence = value.upTo(end)
        while let last = essence.last, last == 0x20 || last == 0x09 { essence = essence.upTo(essence.count - 1) }
        while let first = essence.first, first == 0x20 || first == 0x09 { essence = essence.from(1) }
        guard let slash = essence.position(of: 0x2F), slash > 0, slash + 1 < essence.count else { return nil }
        for (index, byte) in essence.enumerated() where index != slash && !HTTPToken.isCharacter(byte) { return nil }
        return essence.lowercasedASCII
    }

    static func isForm(_ value: Bytes) -> Bool { essence(value) == "application/x-www-form-urlencoded" }
}

/// RFC 9110 §5.6.2.
public enum HTTPToken {
    public static func isCharacter(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
        case 0x21, 0x23, 0x24, 0x25, 0x26, 0x27, 0x2A, 0x2B, 0x2D, 0x2E, 0x5E, 0x5F, 0x60, 0x7C, 0x7E: true
        default: false
        }
    }
}
