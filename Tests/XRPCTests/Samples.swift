import ATProto
import Base
import Lexicons

/// Values made from a schema: the least that it takes, the fullest, and ones that it refuses.
struct Samples {
    /// Which variant every union takes, counted round.
    var variant = 0
    /// A query can't say that a list is there and empty.
    var inQuery = false
    /// Values for properties whose schema says less than the method needs, by the property's name.
    var known: [Bytes: Value] = [:]

    static let did: Bytes = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
    static let cid: Bytes = "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm"

    /// Objects inside each other that still get what they need not have.
    private static let fullDepthMax = 6

    func least(_ object: ObjectRule) -> [Value.Entry] {
        object.properties.filter(\.isRequired).map {
            Value.Entry(key: $0.name, value: known[$0.name] ?? value($0.schema, isFull: false, depth: 0))
        }
    }

    func fullest(_ object: ObjectRule) -> [Value.Entry] {
        object.properties.map {
            Value.Entry(key: $0.name, value: known[$0.name] ?? value($0.schema, isFull: true, depth: 0))
        }
    }

    func value(_ schema: Schema, isFull: Bool, depth: Int) -> Value {
        switch Published.resolved(schema) {
        case .boolean(let rule): return .bool(rule.constant ?? true)
        case .integer(let rule):
            if let only = rule.constant ?? rule.values?.first ?? rule.fallback { return .integer(only) }
            return .integer(isFull && rule.max < .max ? rule.max : max(rule.min, min(rule.max, 1)))
        case .string(let rule): return .text(text(rule, isFull: isFull))
        case .bytes(let rule): return .bytes(Bytes([UInt8](repeating: 7, count: max(rule.min, min(rule.max, 3)))))
        case .link: return .link(CID(text: Self.cid)!)
        case .blob(let rule):
            let pattern = rule.accept.first ?? "*/*"
            let type: Bytes =
                pattern == "*/*"
                ? "text/plain" : pattern.ends(with: "*") ? pattern.upTo(pattern.count - 1) + "png" : pattern
            let cid = CID(hashing: Bytes("blob"), codec: .raw)
            return BlobReference(cid: cid, mimeType: type, size: min(rule.sizeMax, 10)).value
        case .array(let rule):
            let count = max(rule.count.min, isFull ? min(2, rule.count.max) : inQuery ? 1 : 0)
            return .array((0..<count).map { _ in value(rule.items, isFull: isFull, depth: depth + 1) })
        case .object(let rule):
            let properties = rule.properties.filter { $0.isRequired || isFull && depth < Self.fullDepthMax }
            return .object(
                properties.map {
                    Value.Entry(
                        key: $0.name, value: known[$0.name] ?? value($0.schema, isFull: isFull, depth: depth + 1))
                })
        case .union(let rule):
            guard !rule.variants.isEmpty else {
                return .object([Value.Entry(key: "$type", value: .text("com.example.other"))])
            }
            let chosen = rule.variants[variant % rule.variants.count]
            let entries = value(chosen.schema, isFull: isFull, depth: depth + 1).entries ?? []
            return .object(entries + [Value.Entry(key: "$type", value: .text(chosen.type))])
        case .unknown:
            return .object([
                Value.Entry(key: "$type", value: .text("com.example.record")),
                Value.Entry(key: "a", value: .integer(1)),
            ])
        case .reference, .token: return .null
        }
    }

    private func text(_ rule: StringRule, isFull: Bool) -> Bytes {
        if let only = rule.constant ?? rule.values?.first ?? rule.known.first ?? rule.fallback { return only }
        switch rule.format {
        case .did: return Self.did
        case .handle, .atIdentifier: return "alice.example.com"
        case .nsid: return "com.example.record"
        case .cid: return Self.cid
        case .tid, .recordKey: return "3jzfcijpj2z2a"
        case .datetime: return "2024-05-01T12:34:56.789Z"
        case .atURI: return "at://" + Self.did + "/com.example.record/3jzfcijpj2z2a"
        case .uri: return "https://example.com/a"
        case .language: return "pt-BR"
        case nil:
            let count = max(rule.size.min, rule.graphemes.min, isFull ? min(rule.size.max, rule.graphemes.max, 20) : 1)
            return Bytes([UInt8](repeating: 0x78, count: count))
        }
    }

    // MARK: Wrong ones

    /// Values that the schema refuses, each with why. In a query everything is text.
    func wrong(_ schema: Schema) -> [(why: String, value: Value)] {
        let schema = Published.resolved(schema)
        var rows: [(why: String, value: Value)] = []
        switch schema {
        case .boolean: rows = [("no boolean", .text("maybe"))]
        case .integer(let rule):
            rows = [("no integer", .text("many"))]
            if rule.min > .min { rows.append(("below the minimum", .integer(rule.min - 1))) }
            if rule.max < .max { rows.append(("above the maximum", .integer(rule.max + 1))) }
        case .string(let rule):
            if !inQuery { rows = [("no text", .integer(1)), ("null", .null)] }
            if rule.format != nil { rows.append(("not of the format", .text("no such\nformat"))) }
            if rule.size.max < 100_000 {
                rows.append(("too long", .text(Bytes([UInt8](repeating: 0x61, count: rule.size.max + 1)))))
            }
            if rule.size.min > 0 { rows.append(("too short", .text(""))) }
            if rule.values != nil { rows.append(("not in the enum", .text("none of them"))) }
        case .array(let rule):
            if !inQuery { rows = [("no array", .object([Value.Entry(key: "no", value: .text("array"))]))] }
            if !inQuery || !isPlainText(rule.items) {
                rows += wrong(rule.items).map { ("an item that is " + $0.why, .array([$0.value])) }
            }
            if rule.count.max < 1_000 {
                let item = value(rule.items, isFull: false, depth: 0)
                rows.append(("too many", .array(Array(repeating: item, count: rule.count.max + 1))))
            }
        case .object: rows = [("no object", .text("x")), ("an array", .array([]))]
        case .union: rows = [("no object", .text("x")), ("no $type", .object([]))]
        case .unknown: rows = [("no object", .text("x")), ("an array", .array([]))]
        case .bytes, .link, .blob: rows = [("of another type", .integer(1))]
        case .reference, .token: break
        }
        return rows.filter { Published.closed(schema).problem($0.value) != nil || inQuery }
    }

    private func isPlainText(_ schema: Schema) -> Bool {
        if case .string(let rule) = Published.resolved(schema) { rule.format == nil } else { false }
    }

    /// How many variants the largest union of a schema has.
    static func variantCount(_ schema: Schema, depth: Int = 0) -> Int {
        guard depth < 4 else { return 1 }
        switch Published.resolved(schema) {
        case .array(let rule): return variantCount(rule.items, depth: depth + 1)
        case .object(let rule):
            return rule.properties.map { variantCount($0.schema, depth: depth + 1) }.max() ?? 1
        case .union(let rule): return max(1, rule.variants.count)
        default: return 1
        }
    }
}
