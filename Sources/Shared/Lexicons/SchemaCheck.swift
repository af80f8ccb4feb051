public import ATProto
public import Base

/// A schema with every definition that it refers to, as far as they can be had.
public struct ClosedSchema: Sendable {
    /// Definitions that one schema may bring along. Those past it count as missing.
    public static let definitionsMax = 2_000

    public let root: Schema
    let definitions: [Bytes: Schema]
    /// References that nobody has a definition for.
    public let missing: Set<Bytes>

    /// A schema that refers to nothing.
    init(_ root: Schema) {
        self.root = root
        definitions = [:]
        missing = []
    }

    /// Looks each reference up once, cycles and all.
    public init(_ root: Schema, definition: (_ reference: Bytes) throws -> Schema?) rethrows {
        var found: [Bytes: Schema] = [:]
        var missing: Set<Bytes> = []
        var waiting: [Bytes] = []
        root.addReferences(to: &waiting)
        while let reference = waiting.popLast() {
            if found[reference] != nil || missing.contains(reference) { continue }
            guard found.count < Self.definitionsMax, let schema = try definition(reference) else {
                missing.insert(reference)
                continue
            }
            found[reference] = schema
            schema.addReferences(to: &waiting)
        }
        self.root = root
        definitions = found
        self.missing = missing
    }

    /// What a check found.
    public enum Outcome: Sendable, Equatable {
        case valid
        case invalid(SchemaProblem)
        /// Nothing is wrong as far as it is known; the value has a part of a definition that isn't.
        case unknown(Bytes)
    }

    /// Checks `value`. The work is bounded by the value's size and the schema's.
    public func check(_ value: Value) -> Outcome {
        var check = SchemaCheck(definitions: definitions)
        if let problem = check.problem(value, root, depth: 0) { return .invalid(problem) }
        return check.missing.map { .unknown($0) } ?? .valid
    }

    /// The same without the last word: nil for a value in which nothing is wrong.
    public func problem(_ value: Value) -> SchemaProblem? {
        if case .invalid(let problem) = check(value) { problem } else { nil }
    }
}

extension Schema {
    /// Adds the references in this schema, which is as deep as its document was.
    func addReferences(to list: inout [Bytes]) {
        switch self {
        case .boolean, .integer, .string, .bytes, .link, .blob, .unknown, .token: break
        case .array(let rule): rule.items.addReferences(to: &list)
        case .object(let rule): for property in rule.properties { property.schema.addReferences(to: &list) }
        case .reference(let reference): list.append(reference)
        case .union(let rule): for variant in rule.variants { variant.schema.addReferences(to: &list) }
        }
    }
}

/// One check of a value. It goes down with the value; a reference leads to a definition, which is no reference.
private struct SchemaCheck {
    /// Containers inside each other. The decoders' own limit is smaller (`DataLimits`); definitions that name each
    /// other in a ring without a value between them end here.
    static let depthMax = 256
    /// Values that a message lists.
    static let listedMax = 16

    let definitions: [Bytes: Schema]
    var missing: Bytes?

    init(definitions: [Bytes: Schema]) { self.definitions = definitions }

    /// The first way in which `value` is not of `schema`; nil when it is.
    mutating func problem(_ value: Value, _ schema: Schema, depth: Int) -> SchemaProblem? {
        guard depth <= Self.depthMax else { return SchemaProblem("must not be nested so deep") }
        switch schema {
        case .string(let rule):
            guard case .text(let text) = value else { return SchemaProblem("must be a string") }
            return Self.problem(text, rule)
        case .object(let rule): return problem(value, rule, depth: depth)
        case .reference(let reference):
            guard let target = definitions[reference] else {
                missing = missing ?? reference
                return nil
            }
            return problem(value, target, depth: depth + 1)
        case .union(let rule): return problem(value, rule, depth: depth)
        case .array(let rule): return problem(value, rule, depth: depth)
        case .integer(let rule):
            guard case .integer(let integer) = value else { return SchemaProblem("must be an integer") }
            return Self.problem(integer, rule)
        case .boolean(let rule):
            guard case .bool(let bool) = value else { return SchemaProblem("must be a boolean") }
            if let constant = rule.constant, bool != constant { return SchemaProblem("must be \(constant)") }
            return nil
        case .bytes(let rule):
            guard case .bytes(let bytes) = value else { return SchemaProblem("must be a byte array") }
            if bytes.count > rule.max { return SchemaProblem("must not be larger than \(rule.max) bytes") }
            return bytes.count < rule.min ? SchemaProblem("must not be smaller than \(rule.min) bytes") : nil
        case .link:
            guard case .link = value else { return SchemaProblem("must be a CID") }
            return nil
        case .blob(let rule): return Self.problem(value, rule)
        case .unknown:
            guard case .map = value, value["$type"]?.text != "blob" else { return SchemaProblem("must be an object") }
            return nil
        case .token: return SchemaProblem("must not be there: a token is no value")
        }
    }

    private mutating func problem(_ value: Value, _ rule: ObjectRule, depth: Int) -> SchemaProblem? {
        guard case .map(let entries) = value else { return SchemaProblem("must be an object") }
        // Both lists are in the order of map keys: one walk over each.
        var position = 0
        for property in rule.properties {
            while position < entries.count, drislPrecedes(entries[position].key, property.name) { position += 1 }
            guard position < entries.count, entries[position].key == property.name else {
                if property.isRequired { return SchemaProblem("must have the property \"\(property.name)\"") }
                continue
            }
            if property.isNullable, entries[position].value.isNull { continue }
            if let problem = problem(entries[position].value, property.schema, depth: depth + 1) {
                return problem.inside(property.name)
            }
        }
        return nil
    }

    private mutating func problem(_ value: Value, _ rule: ArrayRule, depth: Int) -> SchemaProblem? {
        guard case .array(let items) = value else { return SchemaProblem("must be an array") }
        if items.count > rule.count.max {
            return SchemaProblem("must not have more than \(rule.count.max) elements")
        }
        if items.count < rule.count.min {
            return SchemaProblem("must not have fewer than \(rule.count.min) elements")
        }
        for (index, item) in items.enumerated() {
            if let problem = problem(item, rule.items, depth: depth + 1) { return problem.inside(index) }
        }
        return nil
    }

    private mutating func problem(_ value: Value, _ rule: UnionRule, depth: Int) -> SchemaProblem? {
        guard case .map = value, let type = value["$type"]?.text else {
            return SchemaProblem("must be an object which includes the \"$type\" property")
        }
        for variant in rule.variants where variant.type == type {
            return problem(value, variant.schema, depth: depth + 1)
        }
        guard rule.isClosed else { return nil }
        let types = Self.listed(rule.variants.map(\.type.description), separator: ", ")
        return SchemaProblem("$type must be one of \(types)")
    }

    private static func problem(_ integer: Int64, _ rule: IntegerRule) -> SchemaProblem? {
        if let constant = rule.constant, integer != constant { return SchemaProblem("must be \(constant)") }
        if let values = rule.values, !values.contains(integer) {
            return SchemaProblem("must be one of (\(listed(values.map { "\($0)" }, separator: "|")))")
        }
        if integer > rule.max { return SchemaProblem("can not be greater than \(rule.max)") }
        return integer < rule.min ? SchemaProblem("can not be less than \(rule.min)") : nil
    }

    private static func problem(_ text: Bytes, _ rule: StringRule) -> SchemaProblem? {
        if let constant = rule.constant, text != constant { return SchemaProblem("must be \(constant)") }
        if let values = rule.values, !values.contains(text) {
            return SchemaProblem("must be one of (\(listed(values.map(\.description), separator: "|")))")
        }
        if text.count > rule.size.max { return SchemaProblem("must not be longer than \(rule.size.max) bytes") }
        if text.count < rule.size.min { return SchemaProblem("must not be shorter than \(rule.size.min) bytes") }
        if let problem = problem(text, graphemes: rule.graphemes) { return problem }
        if let format = rule.format, !format.accepts(text) { return SchemaProblem(format.expectation) }
        return nil
    }

    private static func problem(_ text: Bytes, graphemes rule: SizeRule) -> SchemaProblem? {
        // No text has more graphemes than bytes: most need no count.
        guard text.count > rule.max || rule.min > 0 else { return nil }
        var count = 0
        for _ in text.description {
            count += 1
            if count > rule.max { return SchemaProblem("must not be longer than \(rule.max) graphemes") }
        }
        return count < rule.min ? SchemaProblem("must not be shorter than \(rule.min) graphemes") : nil
    }

    /// A blob's form only: whether it may be stored is decided where records are (`Value.blobReferences`).
    private static func problem(_ value: Value, _ rule: BlobRule) -> SchemaProblem? {
        guard case .map = value, value["$type"]?.text == "blob", value["ref"]?.link != nil,
            let mimeType = value["mimeType"]?.text, BlobReference.isMimeType(mimeType),
            let size = value["size"]?.integer, size >= 0
        else { return SchemaProblem("should be a blob ref") }
        if size > rule.sizeMax { return SchemaProblem("must not be larger than \(rule.sizeMax) bytes") }
        return rule.accepts(mimeType) ? nil : SchemaProblem("must not have the media type \(mimeType)")
    }

    private static func listed(_ words: [String], separator: String) -> String {
        let shown = words.prefix(listedMax).joined(separator: separator)
        return words.count > listedMax ? shown + separator + "…" : shown
    }
}
