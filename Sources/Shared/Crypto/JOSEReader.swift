internal import Base

/// Reads one strict JSON object whose values are mostly flat. (The data model's own JSON is a layer above this one.)
struct JOSEReader {
    private let bytes: Bytes
    private var at = 0

    /// Tokens have a handful of members; a loop over them looks for repetitions.
    static let memberCountMax = 64
    /// How deep a nested value may go; it is only skipped here.
    static let depthMax = 8

    init(_ bytes: Bytes) { self.bytes = bytes }

    mutating func document() throws(JWTError) -> JOSEObject {
        skipSpace()
        let object = try object()
        skipSpace()
        guard at == bytes.count else { throw .malformed }
        return object
    }

    /// A list of objects and nothing after it.
    mutating func list(countMax: Int) throws(JWTError) -> [JOSEObject] {
        var objects: [JOSEObject] = []
        skipSpace()
        try expect(0x5B)
        skipSpace()
        if peek == 0x5D {
            at += 1
        } else {
            repeat {
                guard objects.count < countMax else { throw .malformed }
                skipSpace()
                objects.append(try object())
                skipSpace()
            } while try next(orEnd: 0x5D)
        }
        skipSpace()
        guard at == bytes.count else { throw .malformed }
        return objects
    }

    private mutating func object() throws(JWTError) -> JOSEObject {
        var members: [JOSEObject.Member] = []
        try expect(0x7B)
        skipSpace()
        if peek == 0x7D {
            at += 1
        } else {
            repeat {
                skipSpace()
                let name = try string()
                guard members.count < Self.memberCountMax, !members.contains(where: { $0.name == name })
                else { throw .malformed }
                skipSpace()
                try expect(0x3A)
                members.append(JOSEObject.Member(name: name, value: try value()))
                skipSpace()
            } while try next(orEnd: 0x7D)
        }
        return JOSEObject(distinct: members)
    }

    private var peek: UInt8? { at < bytes.count ? bytes[at] : nil }

    private mutating func skipSpace() {
        while let byte = peek, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { at += 1 }
    }

    private mutating func expect(_ byte: UInt8) throws(JWTError) {
        guard peek == byte else { throw .malformed }
        at += 1
    }

    /// True past a comma, false past `end`.
    private mutating func next(orEnd end: UInt8) throws(JWTError) -> Bool {
        guard let byte = peek, byte == 0x2C || byte == end else { throw .malformed }
        at += 1
        return byte == 0x2C
    }

    private mutating func value() throws(JWTError) -> JOSEValue {
        skipSpace()
        switch peek {
        case 0x22: return .text(try string())
        case 0x74: return try word("true", .bool(true))
        case 0x66: return try word("false", .bool(false))
        case 0x6E: return try word("null", .null)
        case 0x5B: return try list()
        case 0x7B:
            let start = at
            try skipNested(depth: 1)
            return .json(bytes.slice(start..<at))
        default: return try number()
        }
    }

    private mutating func word(_ word: Bytes, _ value: JOSEValue) throws(JWTError) -> JOSEValue {
        guard bytes.from(at).starts(with: word) else { throw .malformed }
        at += word.count
        return value
    }

    private mutating func list() throws(JWTError) -> JOSEValue {
        let start = at
        try skipNested(depth: 1)
        let end = at
        at = start + 1
        var texts: [Bytes] = []
        skipSpace()
        if peek == 0x5D {
            at = end
            return .texts([])
        }
        repeat {
            skipSpace()
            guard peek == 0x22 else {
                at = end
                return .json(bytes.slice(start..<end))
            }
            texts.append(try string())
            skipSpace()
        } while try next(orEnd: 0x5D)
        return .texts(texts)
    }

    /// Passes over an object or a list, checking that it is JSON. (Names may repeat in it: the caller who parses it
    /// has the say.)
    private mutating func skipNested(depth: Int) throws(JWTError) {
        guard depth <= Self.depthMax else { throw .malformed }
        let isObject = peek == 0x7B
        let end: UInt8 = isObject ? 0x7D : 0x5D
        at += 1
        skipSpace()
        if peek == end {
            at += 1
            return
        }
        repeat {
            skipSpace()
            if isObject {
                _ = try string()
                skipSpace()
                try expect(0x3A)
                skipSpace()
            }
            if peek == 0x7B || peek == 0x5B { try skipNested(depth: depth + 1) } else { _ = try value() }
            skipSpace()
        } while try next(orEnd: end)
    }

    /// A number in JSON's grammar; an integer when it is one of 64 bits without fraction and exponent.
    private mutating func number() throws(JWTError) -> JOSEValue {
        let start = at
        if peek == 0x2D { at += 1 }
        let first = at
        try digits()
        if bytes[first] == 0x30, at > first + 1 { throw .malformed }
        var isInteger = true
        if peek == 0x2E {
            isInteger = false
            at += 1
            try digits()
        }
        if peek == 0x65 || peek == 0x45 {
            isInteger = false
            at += 1
            if peek == 0x2B || peek == 0x2D { at += 1 }
            try digits()
        }
        let text = bytes.slice(start..<at)
        // Minus zero is no integer: it would come back as another text.
        if isInteger, text != "-0", let integer = Int64(text.description) { return .integer(integer) }
        return .json(text)
    }

    /// One digit or more.
    private mutating func digits() throws(JWTError) {
        let start = at
        while let byte = peek, byte >= 0x30, byte <= 0x39 { at += 1 }
        guard at > start else { throw .malformed }
    }

    /// A string with its escapes resolved; what comes out is valid UTF-8.
    private mutating func string() throws(JWTError) -> Bytes {
        try expect(0x22)
        let start = at
        while let byte = peek, byte != 0x22, byte != 0x5C, byte >= 0x20 { at += 1 }
        let plain = bytes.slice(start..<at)
        if peek == 0x22 {
            at += 1
            return try Self.checked(plain)
        }
        var out = plain.array
        while let byte = peek {
            at += 1
            switch byte {
            case 0x22: return try Self.checked(Bytes(out))
            case 0x5C: try escape(to: &out)
            case 0..<0x20: throw .malformed
            default: out.append(byte)
            }
        }
        throw .malformed
    }

    private static func checked(_ text: Bytes) throws(JWTError) -> Bytes {
        guard text.text != nil else { throw .malformed }
        return text
    }

    private mutating func escape(to out: inout [UInt8]) throws(JWTError) {
        guard let kind = peek else { throw .malformed }
        at += 1
        switch kind {
        case 0x22, 0x5C, 0x2F: out.append(kind)
        case 0x62: out.append(0x08)
        case 0x66: out.append(0x0C)
        case 0x6E: out.append(0x0A)
        case 0x72: out.append(0x0D)
        case 0x74: out.append(0x09)
        case 0x75: out.append(contentsOf: try scalar().utf8)
        default: throw .malformed
        }
    }

    /// What follows `\u`: a scalar, or the halves of a surrogate pair. A lone half is refused.
    private mutating func scalar() throws(JWTError) -> String {
        let high = try hexUnit()
        if let scalar = Unicode.Scalar(high) { return String(Character(scalar)) }
        guard high < 0xDC00, peek == 0x5C else { throw .malformed }
        at += 1
        try expect(0x75)
        let low = try hexUnit()
        guard low >= 0xDC00, low <= 0xDFFF,
            let scalar = Unicode.Scalar(0x1_0000 + (high - 0xD800) << 10 + (low - 0xDC00))
        else { throw .malformed }
        return String(Character(scalar))
    }

    private mutating func hexUnit() throws(JWTError) -> UInt32 {
        guard bytes.count - at >= 4, let pair = Hex.decode(bytes.slice(at..<at + 4)) else { throw .malformed }
        at += 4
        return UInt32(pair[0]) << 8 | UInt32(pair[1])
    }
}
