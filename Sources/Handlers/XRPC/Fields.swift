public import ATProto
public import Base
internal import Web

/// The fields of an input by name: the parameters of a query, or an object of a JSON body.
///
/// Getters say what is wrong in the words that the network's clients know: `Invalid <nsid> body: Input must have
/// the property "handle"`. Fields that nobody asks for are ignored, as lexicons are open to additions.
public struct Fields {
    enum Source {
        case parameters([(name: Bytes, value: Bytes)])
        case object(Value)
    }

    /// Text fields that a lexicon gives no length are cut off here, in bytes.
    public static let textSizeMax = 8_192
    /// Items of an array in a query or body, unless the getter says otherwise.
    public static let itemCountMax = 1_000

    let nsid: Bytes
    let path: String
    let source: Source

    init(nsid: Bytes, path: String, source: Source) {
        self.nsid = nsid
        self.path = path
        self.source = source
    }

    /// The fields of a JSON body, for tests and for server-side calls.
    public init(nsid: Bytes, body: Value) { self.init(nsid: nsid, path: "Input", source: .object(body)) }

    /// The fields of a query string as sent; throws when it is not well-formed.
    public init(nsid: Bytes, query: Bytes) throws(Failure) {
        do throws(ParametersError) {
            self.init(nsid: nsid, path: "Params", source: .parameters(try Query(parsing: query).parameters))
        } catch {
            throw error.failure
        }
    }

    // MARK: Getters

    /// A required field of a type that knows its own syntax.
    public func required<T: FieldType>(_ name: StaticString) throws(Failure) -> T {
        guard let raw = try raw(name) else { throw missing(name) }
        return try convert(raw, name)
    }

    /// A field that may be absent. JSON null is not absent: the lexicons have no nullable input but swaps.
    public func optional<T: FieldType>(_ name: StaticString) throws(Failure) -> T? {
        guard let raw = try raw(name) else { return nil }
        return try convert(raw, name)
    }

    /// A field that may be absent or null: absent is nil, null is `.some(nil)`.
    public func nullable<T: FieldType>(_ name: StaticString) throws(Failure) -> T?? {
        guard let raw = try raw(name) else { return nil }
        if raw.isNull { return .some(nil) }
        return .some(try convert(raw, name))
    }

    /// Required text of at most `sizeMax` bytes, without NUL: no database stores one in a text.
    public func text(_ name: StaticString, sizeMax: Int = textSizeMax) throws(Failure) -> Bytes {
        guard let text = try optionalText(name, sizeMax: sizeMax) else { throw missing(name) }
        return text
    }

    public func optionalText(_ name: StaticString, sizeMax: Int = textSizeMax) throws(Failure) -> Bytes? {
        guard let text = try optionalAnyText(name, sizeMax: sizeMax) else { return nil }
        guard !text.contains(0) else { throw wrong(name, "must not contain NUL") }
        return text
    }

    /// The same for what is judged elsewhere and never reaches a database as it came (a password, a handle): with NUL.
    func anyText(_ name: StaticString, sizeMax: Int = textSizeMax) throws(Failure) -> Bytes {
        guard let text = try optionalAnyText(name, sizeMax: sizeMax) else { throw missing(name) }
        return text
    }

    func optionalAnyText(_ name: StaticString, sizeMax: Int = textSizeMax) throws(Failure) -> Bytes? {
        guard let raw = try raw(name) else { return nil }
        guard let text = raw.text else { throw wrong(name, "must be a string") }
        guard text.count <= sizeMax else { throw wrong(name, "must not be longer than \(sizeMax) bytes") }
        return text
    }

    /// A required integer of `range`.
    public func integer(_ name: StaticString, in range: ClosedRange<Int>) throws(Failure) -> Int {
        guard let integer = try optionalInteger(name, in: range) else { throw missing(name) }
        return integer
    }

    /// An integer of `range`, or `value` when it is absent.
    public func integer(_ name: StaticString, in range: ClosedRange<Int>, default value: Int) throws(Failure) -> Int {
        try optionalInteger(name, in: range) ?? value
    }

    public func optionalInteger(_ name: StaticString, in range: ClosedRange<Int>) throws(Failure) -> Int? {
        guard let raw = try raw(name) else { return nil }
        let integer: Int
        if case .parameters = source {
            guard let text = raw.text, let number = Self.signedDecimal(text) else {
                throw wrong(name, "must be an integer")
            }
            integer = number
        } else {
            guard let number = raw.integer else { throw wrong(name, "must be an integer") }
            integer = Int(number)
        }
        if integer < range.lowerBound { throw wrong(name, "can not be less than \(range.lowerBound)") }
        if integer > range.upperBound { throw wrong(name, "can not be greater than \(range.upperBound)") }
        return integer
    }

    /// A boolean, or `value` when it is absent. In a query: `true` or `false`.
    public func bool(_ name: StaticString, default value: Bool) throws(Failure) -> Bool {
        try optionalBool(name) ?? value
    }

    public func optionalBool(_ name: StaticString) throws(Failure) -> Bool? {
        guard let raw = try raw(name) else { return nil }
        switch (source, raw) {
        case (.object, .bool(let bool)): return bool
        case (.parameters, .text("true")): return true
        case (.parameters, .text("false")): return false
        default: throw wrong(name, "must be a boolean")
        }
    }

    /// Any value: a record, a document. Required.
    public func value(_ name: StaticString) throws(Failure) -> Value {
        guard let raw = try raw(name) else { throw missing(name) }
        return raw
    }

    /// A required object of any kind: a record.
    public func record(_ name: StaticString) throws(Failure) -> Value {
        let raw = try value(name)
        guard case .map = raw else { throw wrong(name, "must be an object") }
        return raw
    }

    /// The objects of a required array, each of which says its `$type`.
    public func unions(_ name: StaticString, countMax: Int = itemCountMax) throws(Failure) -> [Value] {
        guard let raws = try items(name, countMax: countMax) else { throw missing(name) }
        for (index, raw) in raws.enumerated() {
            guard case .map = raw, raw["$type"]?.text != nil else {
                throw wrong(name, index: index, "must be an object which includes the \"$type\" property")
            }
        }
        return raws
    }

    public func optionalValue(_ name: StaticString) throws(Failure) -> Value? { try raw(name) }

    /// Every item of an array; of a query, every value that `name` was given. Empty when it is absent.
    public func list<T: FieldType>(
        _ name: StaticString, countMax: Int = itemCountMax
    ) throws(Failure) -> [T] {
        let raws = try items(name, countMax: countMax) ?? []
        var items: [T] = []
        items.reserveCapacity(raws.count)
        for (index, raw) in raws.enumerated() {
            guard let item = T(field: raw) else { throw wrong(name, index: index, T.expectation) }
            items.append(item)
        }
        return items
    }

    /// The objects of a required array in a body, each with its own getters.
    public func objects(_ name: StaticString, countMax: Int = itemCountMax) throws(Failure) -> [Fields] {
        guard let raws = try items(name, countMax: countMax) else { throw missing(name) }
        var objects: [Fields] = []
        objects.reserveCapacity(raws.count)
        for (index, raw) in raws.enumerated() {
            guard case .map = raw else { throw wrong(name, index: index, "must be an object") }
            objects.append(Fields(nsid: nsid, path: "\(path)/\(name)/\(index)", source: .object(raw)))
        }
        return objects
    }

    /// A required object, with its own getters.
    public func object(_ name: StaticString) throws(Failure) -> Fields {
        guard let object = try optionalObject(name) else { throw missing(name) }
        return object
    }

    public func optionalObject(_ name: StaticString) throws(Failure) -> Fields? {
        guard let raw = try raw(name) else { return nil }
        guard case .map = raw else { throw wrong(name, "must be an object") }
        return Fields(nsid: nsid, path: "\(path)/\(name)", source: .object(raw))
    }

    // MARK: Failures

    public func missing(_ name: StaticString) -> Failure {
        failure("\(path) must have the property \"\(name)\"")
    }

    /// A failure about the field `name`: `problem` continues the sentence, such as `must be a string`.
    public func wrong(_ name: StaticString, _ problem: String) -> Failure {
        failure("\(path)/\(name) \(problem)")
    }

    private func wrong(_ name: StaticString, index: Int, _ problem: StaticString) -> Failure {
        failure("\(path)/\(name)/\(index) \(problem)")
    }

    private func failure(_ sentence: String) -> Failure {
        let part = if case .parameters = source { "params" } else { "body" }
        return Failure(.invalid, "InvalidRequest", "Invalid \(nsid) \(part): \(sentence)")
    }

    // MARK: Reading

    private func convert<T: FieldType>(_ raw: Value, _ name: StaticString) throws(Failure) -> T {
        guard let value = T(field: raw) else { throw wrong(name, "\(T.expectation)") }
        return value
    }

    /// The field as it came: a parameter is text. A parameter that is there twice has no one value: refused, since
    /// two readers of the same query would each take another.
    private func raw(_ name: StaticString) throws(Failure) -> Value? {
        switch source {
        case .object(let value): return value[Bytes(stringLiteral: name)]
        case .parameters(let parameters):
            var found: Bytes?
            for parameter in parameters where parameter.name.isEqual(to: name) {
                if found != nil { throw wrong(name, "must not be repeated") }
                found = parameter.value
            }
            return found.map { .text($0) }
        }
    }

    private func items(_ name: StaticString, countMax: Int) throws(Failure) -> [Value]? {
        let items: [Value]
        switch source {
        case .object(let value):
            guard let raw = value[Bytes(stringLiteral: name)] else { return nil }
            guard let array = raw.array else { throw wrong(name, "must be an array") }
            items = array
        case .parameters(let parameters):
            items = parameters.filter { $0.name.isEqual(to: name) }.map { .text($0.value) }
            if items.isEmpty { return nil }
        }
        guard items.count <= countMax else { throw wrong(name, "must not have more than \(countMax) elements") }
        return items
    }

    /// `-?[0-9]{1,18}` without leading zeros.
    static func signedDecimal(_ text: Bytes) -> Int? {
        guard text.first == 0x2D else { return text.decimal }
        guard let magnitude = text.from(1).decimal, magnitude != 0 else { return nil }
        return -magnitude
    }
}

extension Bytes {
    /// Compares with a literal without making bytes of it.
    func isEqual(to literal: StaticString) -> Bool {
        guard count == literal.utf8CodeUnitCount else { return false }
        return literal.withUTF8Buffer { elementsEqual($0) }
    }
}

/// A type that a text field can be read as.
public protocol FieldType {
    /// What a value that is none must become: continues the sentence `Input/did …`.
    static var expectation: StaticString { get }
    init?(field: Value)
}

/// Identifiers are text of their grammar.
extension FieldType where Self: Identifier {
    public init?(field: Value) {
        guard let text = field.text else { return nil }
        self.init(text)
    }
}

extension DID: FieldType { public static var expectation: StaticString { "must be a valid did" } }
extension Handle: FieldType { public static var expectation: StaticString { "must be a valid handle" } }
extension NSID: FieldType { public static var expectation: StaticString { "must be a valid nsid" } }
extension RecordKey: FieldType { public static var expectation: StaticString { "must be a valid record key" } }
extension ATIdentifier: FieldType {
    public static var expectation: StaticString { "must be a valid did or a handle" }
}
extension ATURI: FieldType { public static var expectation: StaticString { "must be a valid at-uri" } }
extension Datetime: FieldType { public static var expectation: StaticString { "must be a valid datetime" } }
extension TID: FieldType { public static var expectation: StaticString { "must be a valid TID" } }

extension CID: FieldType {
    public static var expectation: StaticString { "must be a cid string" }
    public init?(field: Value) {
        guard let text = field.text, let cid = CID(text: text) else { return nil }
        self = cid
    }
}

/// Text of at most `Fields.textSizeMax` bytes.
extension Bytes: FieldType {
    public static var expectation: StaticString { "must be a string" }
    public init?(field: Value) {
        guard let text = field.text, text.count <= Fields.textSizeMax else { return nil }
        self = text
    }
}
