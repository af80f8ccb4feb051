import ATProto
import Base
import Foundation
import Testing
import Web

@testable import XRPCHandlers

/// The lexicons of the network, as far as this test reads them. They lie beside the checkout, or where
/// `SKYSTEAD_SHARED_DIR` says.
enum Lexicons {
    static let folder: URL = {
        if let path = ProcessInfo.processInfo.environment["SKYSTEAD_SHARED_DIR"] {
            return URL(filePath: path).appending(path: "lexicons")
        }
        return URL(filePath: #filePath).deletingLastPathComponent()
            .appending(path: "../../../shared/lexicons").standardized
    }()

    struct Missing: Error { let nsid: String }

    static func main(_ nsid: String) throws -> [String: Any] {
        let path = nsid.split(separator: ".").joined(separator: "/") + ".json"
        guard let data = try? Data(contentsOf: folder.appending(path: path)),
            let json = try JSONSerialization.jsonObject(with: data) as? [String: Any],
            let definitions = json["defs"] as? [String: Any], let main = definitions["main"] as? [String: Any]
        else { throw Missing(nsid: nsid) }
        return main
    }

    /// The properties of a query's parameters or of a procedure's input, and which of them must be there.
    static func input(_ main: [String: Any]) -> (properties: [String: [String: Any]], required: Set<String>) {
        let input = main["input"] as? [String: Any]
        let schema = main["parameters"] as? [String: Any] ?? input?["schema"] as? [String: Any] ?? [:]
        return (
            schema["properties"] as? [String: [String: Any]] ?? [:], Set(schema["required"] as? [String] ?? [])
        )
    }
}

/// Each method's type is held against its lexicon: kind, body, the names of its fields, which are required, and their
/// types – by what it takes and what it refuses.
@Suite struct LexiconTests {
    static let routes = XRPCResponder.routes.map { $0.nsid.description }

    /// Fields that a method leaves unread, and why.
    static let unread: [String: Set<String>] = [
        // Objects whose content is somebody else's: any value will do, so that none is wrong.
        "com.atproto.server.createAccount": ["plcOp"]
    ]
    /// Required in the lexicon, with a default there as well: the default wins.
    static let defaulted: [String: Set<String>] = ["com.atproto.server.createInviteCodes": ["codeCount"]]

    static func route(_ nsid: String) -> XRPCRoute { XRPCResponder.table[Bytes(nsid)]! }

    @Test func namesAreDistinct() {
        #expect(Set(Self.routes).count == Self.routes.count)
        #expect(Self.routes.allSatisfy { NSID($0) != nil })
        #expect(XRPCResponder.table.count == Self.routes.count)
    }

    @Test(arguments: routes) func kindAndBody(_ nsid: String) throws {
        let main = try Lexicons.main(nsid)
        let route = Self.route(nsid)
        #expect(main["type"] as? String == (route.kind == .query ? "query" : "procedure"))
        let encoding = (main["input"] as? [String: Any])?["encoding"] as? String
        switch route.body {
        case .none: #expect(encoding == nil)
        case .json: #expect(encoding == "application/json")
        case .stream: #expect(encoding != nil && encoding != "application/json")
        }
    }

    @Test(arguments: routes) func fields(_ nsid: String) throws {
        let (properties, required) = Lexicons.input(try Lexicons.main(nsid))
        let route = Self.route(nsid)
        let needed = required.subtracting(Self.defaulted[nsid] ?? [])
        let sample = properties.filter { !(Self.unread[nsid] ?? []).contains($0.key) }.mapValues(Self.sample)
        func takes(_ fields: [String: Value]) -> Bool { (try? route.decode(Self.made(fields, route))) != nil }
        #expect(takes(sample), "the fullest input")
        #expect(takes(sample.filter { required.contains($0.key) }), "the least input")
        for name in needed where sample[name] != nil {
            #expect(!takes(sample.filter { $0.key != name }), "\(name) is required")
        }
        for (name, value) in sample {
            var changed = sample
            if let wrong = Self.wrong(properties[name] ?? [:], inQuery: route.kind == .query) {
                changed[name] = wrong
                #expect(!takes(changed), "\(name) of a wrong type instead of \(value)")
            }
        }
    }

    /// A query has texts only; a body has values.
    private static func made(_ fields: [String: Value], _ route: XRPCRoute) throws -> Fields {
        guard route.kind == .query else {
            return Fields(
                nsid: route.nsid, body: .object(fields.map { Value.Entry(key: Bytes($0.key), value: $0.value) }))
        }
        var query: [String] = []
        for (name, value) in fields {
            for item in value.array ?? [value] {
                let text =
                    switch item {
                    case .bool(let bool): "\(bool)"
                    case .integer(let integer): "\(integer)"
                    default: item.text?.description ?? "?"
                    }
                query.append(name + "=" + PercentCoding.encode(Bytes(text)).description)
            }
        }
        return try Fields(nsid: route.nsid, query: Bytes(query.joined(separator: "&")))
    }

    /// A value that the schema takes.
    private static func sample(_ schema: [String: Any]) -> Value {
        switch schema["type"] as? String {
        case "boolean": return .bool(true)
        case "integer":
            return .integer(Int64(schema["default"] as? Int ?? schema["minimum"] as? Int ?? 1))
        case "array":
            return .array([sample(schema["items"] as? [String: Any] ?? [:])])
        case "string":
            if let known = (schema["knownValues"] as? [String])?.first { return .text(Bytes(known)) }
            switch schema["format"] as? String {
            case "did": return .text("did:plc:ewvi7nxzyoun6zhxrhs64oiz")
            case "handle", "at-identifier": return .text("alice.example.com")
            case "nsid": return .text("com.example.record")
            case "cid": return .text("bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm")
            case "tid", "record-key": return .text("3jzfcijpj2z2a")
            case "datetime": return .text("2024-05-01T12:34:56.789Z")
            case "at-uri": return .text("at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/com.example.record/3jzfcijpj2z2a")
            default: return .text(named(schema))
            }
        case "ref" where (schema["ref"] as? String)?.hasSuffix("#reasonType") == true:
            return .text("com.atproto.moderation.defs#reasonSpam")
        case "ref", "union", "unknown", "object": return object(schema)
        default: return .text("x")
        }
    }

    private static func named(_ schema: [String: Any]) -> Bytes {
        let about = (schema["description"] as? String ?? "").lowercased()
        if about.contains("did") && about.contains("key") {
            return "did:key:zQ3shmHbSYMDjbn39JXWvhLUGf9ggNztXFAm4iVnDLyd7rGSi"
        }
        if about.contains("service") { return "did:web:other.example.com" }
        return "text"
    }

    /// An object that is good enough for every method so far: a record, one write, or an account as a subject.
    private static func object(_ schema: [String: Any]) -> Value {
        let record = Value.object([
            Value.Entry(key: "$type", value: .text("com.example.record")), Value.Entry(key: "a", value: .integer(1)),
        ])
        guard schema["type"] as? String == "union" else {
            if (schema["ref"] as? String)?.hasSuffix("#statusAttr") == true {
                return .object([Value.Entry(key: "applied", value: .bool(true))])
            }
            // `app.bsky.actor.defs#preferences` is an array of unions behind a reference.
            return (schema["ref"] as? String)?.hasSuffix("#preferences") == true ? .array([record]) : record
        }
        let first = (schema["refs"] as? [String])?.first ?? ""
        if first == "com.atproto.admin.defs#repoRef" {
            return .object([
                Value.Entry(key: "$type", value: .text(Bytes(first))),
                Value.Entry(key: "did", value: .text("did:plc:ewvi7nxzyoun6zhxrhs64oiz")),
            ])
        }
        return .object([
            Value.Entry(key: "$type", value: .text(Bytes("com.atproto.repo.applyWrites" + first))),
            Value.Entry(key: "collection", value: .text("com.example.record")),
            Value.Entry(key: "value", value: record),
        ])
    }

    /// A value that the schema refuses, as far as a query can say it; nil where anything goes.
    private static func wrong(_ schema: [String: Any], inQuery: Bool) -> Value? {
        switch schema["type"] as? String {
        // In a query every value is a text, and an array may have one item.
        case "array" where inQuery && (schema["items"] as? [String: Any])?["format"] == nil: nil
        case "boolean": .text("maybe")
        case "integer": .text("many")
        case "array": .object([Value.Entry(key: "no", value: .text("array"))])
        case "string": schema["format"] == nil ? nil : .text("no such\nformat")
        default: nil
        }
    }
}
