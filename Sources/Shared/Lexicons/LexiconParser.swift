public import ATProto
public import Base

extension Lexicon {
    /// The document in `json`. Throws `SchemaProblem` for what is no lexicon of version 1, and at a limit.
    public init(json: Bytes) throws(SchemaProblem) {
        guard json.count <= Self.sizeMax else { throw SchemaProblem("must not be longer than \(Self.sizeMax) bytes") }
        let value: Value
        do throws(JSONError) { value = try JSON.parsePlain(json) } catch { throw SchemaProblem("\(error)") }
        try self.init(value)
    }

    /// The document that `value` is: a file's JSON or a record. Members that the language doesn't have are let be.
    /// Throws `SchemaProblem`.
    public init(_ value: Value) throws(SchemaProblem) {
        guard case .map = value else { throw SchemaProblem("must be an object") }
        guard value["lexicon"]?.integer == 1 else { throw SchemaProblem("must be 1").inside("lexicon") }
        guard let id = value["id"]?.text.flatMap({ NSID($0) }) else {
            throw SchemaProblem("must be a valid nsid").inside("id")
        }
        guard let entries = value["defs"]?.entries, !entries.isEmpty else {
            throw SchemaProblem("must be an object with at least one definition").inside("defs")
        }
        guard entries.count <= Self.definitionsMax else {
            throw SchemaProblem("must not have more than \(Self.definitionsMax) elements").inside("defs")
        }
        var parser = LexiconParser(id: id)
        var definitions: [Bytes: Definition] = [:]
        for entry in entries {
            do throws(SchemaProblem) {
                definitions[entry.key] = try parser.definition(entry.value, named: entry.key)
            } catch {
                throw error.inside(entry.key).inside("defs")
            }
        }
        self.id = id
        self.definitions = definitions
    }
}

/// Reads the definitions of one document. It recurses as deep as the value is, which its own decoder bounds.
private struct LexiconParser {
    let id: NSID
    private var schemas = 0

    init(id: NSID) { self.id = id }

    // MARK: Definitions

    mutating func definition(_ value: Value, named name: Bytes) throws(SchemaProblem) -> Definition {
        guard Self.isName(name) else { throw SchemaProblem("must have a name of letters and digits") }
        let type = try self.type(of: value)
        switch type {
        case "record", "query", "procedure", "subscription", "permission-set":
            guard name == "main" else { throw SchemaProblem("must be called main, to be of type \(type)") }
        case "ref", "union", "unknown":
            throw SchemaProblem("must not be of type \(type), which can't have a name")
        default: return .schema(try schema(value))
        }
        switch type {
        case "record": return .record(try record(value))
        case "query": return .query(try method(value, takesInput: false))
        case "procedure": return .procedure(try method(value, takesInput: true))
        case "subscription": return .subscription(try subscription(value))
        default: return .permissionSet(try permissionSet(value))
        }
    }

    /// A letter, then letters, digits, hyphens and underscores.
    private static func isName(_ name: Bytes) -> Bool {
        guard let first = name.first, name.count <= Lexicon.nameSizeMax else { return false }
        func isLetter(_ byte: UInt8) -> Bool { byte | 0x20 >= 0x61 && byte | 0x20 <= 0x7A }
        return isLetter(first)
            && name.allSatisfy { isLetter($0) || ($0 >= 0x30 && $0 <= 0x39) || $0 == 0x2D || $0 == 0x5F }
    }

    private func type(of value: Value) throws(SchemaProblem) -> Bytes {
        guard case .map = value else { throw SchemaProblem("must be an object") }
        guard let type = value["type"]?.text else { throw SchemaProblem("must have the property \"type\"") }
        return type
    }

    private mutating func record(_ value: Value) throws(SchemaProblem) -> RecordRule {
        let key = try keyRule(value["key"])
        guard let object = value["record"] else { throw SchemaProblem("must have the property \"record\"") }
        return try inside("record") { (parser) throws(SchemaProblem) in
            guard object["type"]?.text == "object" else { throw SchemaProblem("must be of type object") }
            return RecordRule(key: key, object: try parser.object(object, isParameters: false))
        }
    }

    private func keyRule(_ value: Value?) throws(SchemaProblem) -> KeyRule {
        guard let text = value?.text else { throw SchemaProblem("must have the property \"key\"") }
        switch text {
        case "tid": return .tid
        case "nsid": return .nsid
        case "any": return .any
        default:
            guard text.starts(with: "literal:"), RecordKey(text.from(8)) != nil else {
                throw SchemaProblem("must be tid, nsid, any or literal: with a record key").inside("key")
            }
            return .literal(text.from(8))
        }
    }

    private mutating func method(_ value: Value, takesInput: Bool) throws(SchemaProblem) -> MethodRule {
        if !takesInput, value["input"] != nil { throw SchemaProblem("must not have the property \"input\"") }
        return MethodRule(
            parameters: try parameters(value), input: try body(value, "input"), output: try body(value, "output"),
            errors: try errors(value))
    }

    private mutating func subscription(_ value: Value) throws(SchemaProblem) -> MethodRule {
        let parameters = try parameters(value)
        guard let message = value["message"] else { throw SchemaProblem("must have the property \"message\"") }
        let schema = try inside("message/schema") { (parser) throws(SchemaProblem) in
            guard let schema = message["schema"], schema["type"]?.text == "union" else {
                throw SchemaProblem("must be of type union")
            }
            return try parser.schema(schema)
        }
        return MethodRule(
            parameters: parameters, input: nil, output: MethodRule.Body(encoding: Bytes(), schema: schema),
            errors: try errors(value))
    }

    private mutating func parameters(_ value: Value) throws(SchemaProblem) -> ObjectRule? {
        guard let parameters = value["parameters"] else { return nil }
        return try inside("parameters") { (parser) throws(SchemaProblem) in
            guard parameters["type"]?.text == "params" else { throw SchemaProblem("must be of type params") }
            return try parser.object(parameters, isParameters: true)
        }
    }

    private mutating func body(_ value: Value, _ name: Bytes) throws(SchemaProblem) -> MethodRule.Body? {
        guard let body = value[name] else { return nil }
        return try inside(name) { (parser) throws(SchemaProblem) in
            guard let encoding = body["encoding"]?.text, !encoding.isEmpty else {
                throw SchemaProblem("must have the property \"encoding\"")
            }
            guard let schema = body["schema"] else { return MethodRule.Body(encoding: encoding, schema: nil) }
            return MethodRule.Body(
                encoding: encoding,
                schema: try parser.inside("schema") { (parser) throws(SchemaProblem) in
                    let types: [Bytes] = ["object", "ref", "union"]
                    guard types.contains(try parser.type(of: schema)) else {
                        throw SchemaProblem("must be of type object, ref or union")
                    }
                    return try parser.schema(schema)
                })
        }
    }

    private mutating func errors(_ value: Value) throws(SchemaProblem) -> [Bytes] {
        guard let errors = value["errors"] else { return [] }
        return try inside("errors") { (_) throws(SchemaProblem) in
            try Self.items(errors) { (item) throws(SchemaProblem) in
                guard let name = item["name"]?.text, !name.isEmpty, name.allSatisfy({ $0 > 0x20 && $0 != 0x7F }) else {
                    throw SchemaProblem("must have a name without blanks")
                }
                return name
            }
        }
    }

    // MARK: Schemas

    mutating func schema(_ value: Value) throws(SchemaProblem) -> Schema {
        let type = try type(of: value)
        schemas += 1
        guard schemas <= Lexicon.schemasMax else {
            throw SchemaProblem("must not be in a document of more than \(Lexicon.schemasMax) schemas")
        }
        switch type {
        case "boolean": return .boolean(try boolean(value))
        case "integer": return .integer(try integer(value))
        case "string": return .string(try string(value))
        case "bytes": return .bytes(try size(value, "minLength", "maxLength"))
        case "cid-link": return .link
        case "blob": return .blob(try blob(value))
        case "array": return .array(try array(value))
        case "object": return .object(try object(value, isParameters: false))
        case "ref": return .reference(try reference(value["ref"], "ref"))
        case "union": return .union(try union(value))
        case "unknown": return .unknown
        case "token": return .token
        default: throw SchemaProblem("must be of a type that lexicons have, not \(type.upTo(64))")
        }
    }

    /// A schema where a token, which is no value, would make no sense.
    private mutating func field(_ value: Value) throws(SchemaProblem) -> Schema {
        let schema = try schema(value)
        if schema == .token { throw SchemaProblem("must not be of type token, which is no value") }
        return schema
    }

    private func boolean(_ value: Value) throws(SchemaProblem) -> BooleanRule {
        let rule = BooleanRule(
            constant: try Self.optional(value, "const", "a boolean", \.bool),
            fallback: try Self.optional(value, "default", "a boolean", \.bool))
        try Self.checkExclusive(rule.constant != nil, rule.fallback != nil)
        return rule
    }

    private func integer(_ value: Value) throws(SchemaProblem) -> IntegerRule {
        var rule = IntegerRule(
            min: try Self.optional(value, "minimum", "an integer", \.integer) ?? .min,
            max: try Self.optional(value, "maximum", "an integer", \.integer) ?? .max)
        guard rule.min <= rule.max else { throw SchemaProblem("must not have a minimum above its maximum") }
        rule.values = try Self.list(value, "enum", "an integer", \.integer)
        rule.constant = try Self.optional(value, "const", "an integer", \.integer)
        rule.fallback = try Self.optional(value, "default", "an integer", \.integer)
        try Self.checkExclusive(rule.constant != nil, rule.fallback != nil)
        return rule
    }

    private func string(_ value: Value) throws(SchemaProblem) -> StringRule {
        var rule = StringRule(
            size: try size(value, "minLength", "maxLength"),
            graphemes: try size(value, "minGraphemes", "maxGraphemes"))
        if let name = try Self.optional(value, "format", "a string", \.text) {
            guard let format = TextFormat(rawValue: name.description) else {
                throw SchemaProblem("must be a string format that lexicons have").inside("format")
            }
            rule.format = format
        }
        rule.values = try Self.list(value, "enum", "a string", \.text)
        rule.known = try Self.list(value, "knownValues", "a string", \.text, mayBeEmpty: true) ?? []
        rule.constant = try Self.optional(value, "const", "a string", \.text)
        rule.fallback = try Self.optional(value, "default", "a string", \.text)
        try Self.checkExclusive(rule.constant != nil, rule.fallback != nil)
        return rule
    }

    private func size(_ value: Value, _ min: Bytes, _ max: Bytes) throws(SchemaProblem) -> SizeRule {
        let least = try Self.optional(value, min, "an integer", \.integer) ?? 0
        let most = try Self.optional(value, max, "an integer", \.integer) ?? .max
        guard least >= 0 else { throw SchemaProblem("can not be less than 0").inside(min) }
        guard least <= most else { throw SchemaProblem("must not have a \(min) above its \(max)") }
        return SizeRule(min: Int(least), max: Int(most))
    }

    private func blob(_ value: Value) throws(SchemaProblem) -> BlobRule {
        let accept = try Self.list(value, "accept", "a string", \.text, mayBeEmpty: true) ?? []
        for (index, pattern) in accept.enumerated() {
            let halves = pattern.split(on: 0x2F)
            let isPattern =
                halves.count == 2 && halves.allSatisfy { !$0.isEmpty }
                && (pattern == "*/*" || !halves[0].contains(0x2A) && (halves[1] == "*" || !halves[1].contains(0x2A)))
            guard isPattern else {
                throw SchemaProblem("must be a media type, type/* or */*").inside(index).inside("accept")
            }
        }
        let sizeMax = try Self.optional(value, "maxSize", "an integer", \.integer) ?? .max
        guard sizeMax >= 0 else { throw SchemaProblem("can not be less than 0").inside("maxSize") }
        return BlobRule(accept: accept, sizeMax: sizeMax)
    }

    private mutating func array(_ value: Value) throws(SchemaProblem) -> ArrayRule {
        guard let items = value["items"] else { throw SchemaProblem("must have the property \"items\"") }
        return ArrayRule(
            try inside("items") { (parser) throws(SchemaProblem) in try parser.field(items) },
            count: try size(value, "minLength", "maxLength"))
    }

    mutating func object(_ value: Value, isParameters: Bool) throws(SchemaProblem) -> ObjectRule {
        let entries: [Value.Entry]
        switch value["properties"] {
        case nil: entries = []
        case .map(let map): entries = map
        default: throw SchemaProblem("must be an object").inside("properties")
        }
        let required = try names(value, "required", among: entries)
        let nullable = isParameters ? [] : try names(value, "nullable", among: entries)
        var properties: [ObjectRule.Property] = []
        properties.reserveCapacity(entries.count)
        for entry in entries {
            guard !entry.key.isEmpty, entry.key.count <= Lexicon.nameSizeMax else {
                throw SchemaProblem("must not have a name longer than \(Lexicon.nameSizeMax) bytes")
                    .inside("properties")
            }
            let schema: Schema
            do throws(SchemaProblem) {
                schema = try field(entry.value)
                if isParameters, !Self.isParameter(schema) {
                    throw SchemaProblem("must be a boolean, an integer, a string or an array of one of these")
                }
            } catch {
                throw error.inside(entry.key).inside("properties")
            }
            properties.append(
                ObjectRule.Property(
                    name: entry.key, schema: schema, isRequired: required.contains(entry.key),
                    isNullable: nullable.contains(entry.key)))
        }
        return ObjectRule(properties)
    }

    private static func isParameter(_ schema: Schema) -> Bool {
        switch schema {
        case .boolean, .integer, .string: true
        case .array(let rule): if case .array = rule.items { false } else { isParameter(rule.items) }
        default: false
        }
    }

    private func names(
        _ value: Value, _ name: Bytes, among entries: [Value.Entry]
    ) throws(SchemaProblem) -> Set<Bytes> {
        let names = try Self.list(value, name, "a string", \.text, mayBeEmpty: true) ?? []
        let known = Set(entries.map(\.key))
        for (index, item) in names.enumerated() where !known.contains(item) {
            throw SchemaProblem("must be the name of a property").inside(index).inside(name)
        }
        return Set(names)
    }

    private func union(_ value: Value) throws(SchemaProblem) -> UnionRule {
        guard let refs = value["refs"] else { throw SchemaProblem("must have the property \"refs\"") }
        var variants: [UnionRule.Variant] = []
        do throws(SchemaProblem) {
            for reference in try Self.items(refs, { (item) throws(SchemaProblem) in try reference(item, nil) }) {
                variants.append(UnionRule.Variant(type: reference, schema: .reference(reference)))
            }
        } catch {
            throw error.inside("refs")
        }
        let isClosed = try Self.optional(value, "closed", "a boolean", \.bool) ?? false
        guard !isClosed || !variants.isEmpty else { throw SchemaProblem("must not be closed and without refs") }
        return UnionRule(variants, isClosed: isClosed)
    }

    /// `#name`, `nsid` or `nsid#name`, with the NSID and without `#main`.
    private func reference(_ value: Value?, _ name: Bytes?) throws(SchemaProblem) -> Bytes {
        let problem = SchemaProblem("must be a reference to a definition")
        let thrown = name.map { problem.inside($0) } ?? problem
        guard let text = value?.text, text.count <= NSID.sizeMax + 1 + Lexicon.nameSizeMax else { throw thrown }
        let hash = text.position(of: 0x23)
        let document = text.upTo(hash ?? text.count)
        guard let id = document.isEmpty ? self.id : NSID(document) else { throw thrown }
        guard let hash else { return id.bytes }
        let definition = text.from(hash + 1)
        guard Self.isName(definition) else { throw thrown }
        return Lexicon.reference(id, definition)
    }

    // MARK: Permission sets

    private func permissionSet(_ value: Value) throws(SchemaProblem) -> PermissionSet {
        guard let list = value["permissions"] else { throw SchemaProblem("must have the property \"permissions\"") }
        let permissions: [PermissionSet.Permission]
        do throws(SchemaProblem) {
            permissions = try Self.items(list, countMax: Lexicon.permissionsMax) { (item) throws(SchemaProblem) in
                try Self.permission(item)
            }
        } catch {
            throw error.inside("permissions")
        }
        return PermissionSet(
            title: try Self.text(value, "title", "title:lang"), detail: try Self.text(value, "detail", "detail:lang"),
            permissions: permissions)
    }

    private static func text(_ value: Value, _ name: Bytes, _ translated: Bytes) throws(SchemaProblem)
        -> PermissionSet
        .Text
    {
        let plain = try optional(value, name, "a string", \.text)
        var translations: [Bytes: Bytes] = [:]
        if let map = value[translated] {
            guard let entries = map.entries, entries.count <= Lexicon.listCountMax else {
                throw SchemaProblem("must be an object of at most \(Lexicon.listCountMax) texts").inside(translated)
            }
            for entry in entries {
                guard StringFormat.isLanguage(entry.key), let text = entry.value.text else {
                    throw SchemaProblem("must be a text under a language").inside(translated)
                }
                translations[entry.key] = text
            }
        }
        return PermissionSet.Text(plain: plain, translations: translations)
    }

    /// What a program doesn't understand of a permission could narrow it: such a permission grants nothing.
    private static func permission(_ value: Value) throws(SchemaProblem) -> PermissionSet.Permission {
        guard let entries = value.entries, value["type"]?.text == "permission",
            let resource = value["resource"]?.text
        else { throw SchemaProblem("must be of type permission, with a resource") }
        func hasOnly(_ names: [Bytes]) -> Bool {
            entries.allSatisfy { ["type", "resource", "description"].contains($0.key) || names.contains($0.key) }
        }
        switch resource {
        case "repo" where hasOnly(["collection", "action"]):
            let collections = try list(value, "collection", "a string", \.text) ?? []
            let actions = try list(value, "action", "a string", \.text)
            let all: [Bytes] = ["create", "update", "delete"]
            let named = collections.compactMap { NSID($0) }
            guard !named.isEmpty, named.count == collections.count, (actions ?? []).allSatisfy(all.contains) else {
                return .notUnderstood
            }
            return .repo(collections: named, actions: actions ?? all)
        case "rpc" where hasOnly(["lxm", "aud", "inheritAud"]):
            let methods = try list(value, "lxm", "a string", \.text) ?? []
            let audience = try optional(value, "aud", "a string", \.text)
            let inherits = try optional(value, "inheritAud", "a boolean", \.bool) ?? false
            guard !methods.isEmpty, methods.allSatisfy({ $0 == "*" || NSID($0) != nil }),
                inherits ? audience == nil : audience == "*" && !methods.contains("*")
            else { return .notUnderstood }
            return .rpc(methods: methods, audience: audience)
        default: return .notUnderstood
        }
    }

    // MARK: Members

    private mutating func inside<Result>(
        _ name: Bytes, _ body: (inout LexiconParser) throws(SchemaProblem) -> Result
    ) throws(SchemaProblem) -> Result {
        do throws(SchemaProblem) { return try body(&self) } catch { throw error.inside(name) }
    }

    private static func checkExclusive(_ hasConstant: Bool, _ hasDefault: Bool) throws(SchemaProblem) {
        if hasConstant, hasDefault { throw SchemaProblem("must not have both const and default") }
    }

    private static func optional<Result>(
        _ value: Value, _ name: Bytes, _ kind: String, _ read: (Value) -> Result?
    ) throws(SchemaProblem) -> Result? {
        guard let found = value[name] else { return nil }
        guard let result = read(found) else { throw SchemaProblem("must be \(kind)").inside(name) }
        return result
    }

    private static func list<Result>(
        _ value: Value, _ name: Bytes, _ kind: String, _ read: (Value) -> Result?, mayBeEmpty: Bool = false
    ) throws(SchemaProblem) -> [Result]? {
        guard let found = value[name] else { return nil }
        do throws(SchemaProblem) {
            let items = try items(found) { (item) throws(SchemaProblem) in
                guard let result = read(item) else { throw SchemaProblem("must be \(kind)") }
                return result
            }
            guard mayBeEmpty || !items.isEmpty else { throw SchemaProblem("must not be empty") }
            return items
        } catch {
            throw error.inside(name)
        }
    }

    private static func items<Result>(
        _ value: Value, countMax: Int = Lexicon.listCountMax, _ read: (Value) throws(SchemaProblem) -> Result
    ) throws(SchemaProblem) -> [Result] {
        guard let array = value.array else { throw SchemaProblem("must be an array") }
        guard array.count <= countMax else { throw SchemaProblem("must not have more than \(countMax) elements") }
        var items: [Result] = []
        items.reserveCapacity(array.count)
        for (index, item) in array.enumerated() {
            do throws(SchemaProblem) { items.append(try read(item)) } catch { throw error.inside(index) }
        }
        return items
    }
}
