public import Base

/// A value in a JOSE header or a claims set.
///
/// Tokens are small and flat, so this is all that they need; a nested object (a DPoP header's `jwk`) is kept as
/// its JSON text, for the caller to parse.
public enum JOSEValue: Sendable, Equatable {
    case text(Bytes)
    case integer(Int64)
    case bool(Bool)
    case null
    /// A list of texts only, such as `aud` with several audiences.
    case texts([Bytes])
    /// Anything else, as JSON: an object, another list, or a number that is no 64-bit integer. Read values are checked
    /// to be JSON; what is written is taken as it is given.
    case json(Bytes)
}

/// The members of a JOSE header or claims set, in their order, each name once.
public struct JOSEObject: Sendable, Equatable, ExpressibleByDictionaryLiteral {
    public struct Member: Sendable, Equatable {
        public let name: Bytes
        public let value: JOSEValue
    }

    public private(set) var members: [Member] = []

    public init() {}

    /// A later member with the same name takes the place of the earlier one.
    public init(dictionaryLiteral elements: (Bytes, JOSEValue)...) {
        for (name, value) in elements { self[name] = value }
    }

    /// From JSON text. Throws `malformed` for anything but one object in strict JSON (RFC 8259) with distinct names.
    public init(json: Bytes) throws(JWTError) {
        var reader = JOSEReader(json)
        self = try reader.document()
    }

    /// The objects of a JSON list of objects. Throws `malformed` for anything else, and for more than `countMax`.
    public static func list(json: Bytes, countMax: Int) throws(JWTError) -> [JOSEObject] {
        var reader = JOSEReader(json)
        return try reader.list(countMax: countMax)
    }

    /// The members that `reader` found, which are distinct.
    init(distinct members: [Member]) { self.members = members }

    /// The value under `name`; setting nil takes the member out.
    public subscript(name: Bytes) -> JOSEValue? {
        get { members.first { $0.name == name }?.value }
        set {
            let at = members.firstIndex { $0.name == name }
            switch (at, newValue) {
            case (let at?, let value?): members[at] = Member(name: name, value: value)
            case (let at?, nil): members.remove(at: at)
            case (nil, let value?): members.append(Member(name: name, value: value))
            case (nil, nil): break
            }
        }
    }

    /// The text under `name`; nil when there is none or it is no text.
    public func text(_ name: Bytes) -> Bytes? { if case .text(let text) = self[name] { text } else { nil } }

    /// The integer under `name`; nil when there is none or it is no integer (`1e3` and `1.0` are not).
    public func integer(_ name: Bytes) -> Int64? {
        if case .integer(let integer) = self[name] { integer } else { nil }
    }

    /// The moment under `name`, in whole seconds since 1970 (a NumericDate, RFC 7519 §2, which may have a fraction:
    /// it is cut off); nil when there is none, it is no such number, negative, or after the year 9999.
    public func numericDate(_ name: Bytes) -> Int64? {
        let seconds: Int64?
        switch self[name] {
        case .integer(let integer): seconds = integer
        case .json(let number):
            guard let point = number.position(of: 0x2E),
                number.from(point + 1).allSatisfy({ $0 >= 0x30 && $0 <= 0x39 })
            else { return nil }
            seconds = number.upTo(point).decimal.map { Int64($0) }
        default: seconds = nil
        }
        guard let seconds, seconds >= 0, seconds < 253_402_300_800 else { return nil }
        return seconds
    }

    /// As JSON, without spaces, in the order of the members.
    public var json: [UInt8] {
        var out: [UInt8] = [0x7B]
        for (index, member) in members.enumerated() {
            if index > 0 { out.append(0x2C) }
            Self.append(text: member.name, to: &out)
            out.append(0x3A)
            Self.append(member.value, to: &out)
        }
        out.append(0x7D)
        return out
    }

    private static func append(_ value: JOSEValue, to out: inout [UInt8]) {
        switch value {
        case .text(let text): append(text: text, to: &out)
        case .integer(let integer): out.append(contentsOf: String(integer).utf8)
        case .bool(let bool): out.append(contentsOf: (bool ? "true" : "false").utf8)
        case .null: out.append(contentsOf: "null".utf8)
        case .json(let json): out.append(contentsOf: json)
        case .texts(let texts):
            out.append(0x5B)
            for (index, text) in texts.enumerated() {
                if index > 0 { out.append(0x2C) }
                append(text: text, to: &out)
            }
            out.append(0x5D)
        }
    }

    /// A JSON string. Bytes that are not UTF-8 are replaced, so that the output is always JSON.
    private static func append(text: Bytes, to out: inout [UInt8]) {
        out.append(0x22)
        // Valid text, which is nearly all, is written from its own bytes; only the other kind is copied.
        let valid = text.text == nil ? Bytes(text.description) : text
        for byte in valid {
            switch byte {
            case 0x22, 0x5C: out.append(contentsOf: [0x5C, byte])
            case 0..<0x20: out.append(contentsOf: Array("\\u00".utf8) + Hex.encode(CollectionOfOne(byte)))
            default: out.append(byte)
            }
        }
        out.append(0x22)
    }
}
