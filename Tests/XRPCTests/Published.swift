import ATProto
import Base
import Foundation
import Lexicons

/// The lexicons that the network has published, beside the checkout or where `SKYSTEAD_SHARED_DIR` says. They must be
/// there: without them nothing says what a method is.
enum Published {
    static let folder: URL = {
        if let path = ProcessInfo.processInfo.environment["SKYSTEAD_SHARED_DIR"] {
            return URL(filePath: path).appending(path: "lexicons")
        }
        return URL(filePath: #filePath).deletingLastPathComponent()
            .appending(path: "../../../shared/lexicons").standardized
    }()

    struct Missing: Error { let name: String }

    static let lexicons: [Bytes: Lexicon] = {
        let names = FileManager.default.enumerator(atPath: folder.path)?.compactMap { $0 as? String } ?? []
        var lexicons: [Bytes: Lexicon] = [:]
        for name in names where name.hasSuffix(".json") {
            guard let data = try? Data(contentsOf: folder.appending(path: name)),
                let lexicon = try? Lexicon(json: Bytes([UInt8](data)))
            else { continue }
            lexicons[lexicon.id.bytes] = lexicon
        }
        return lexicons
    }()

    /// Methods and streams under `prefix`, by name.
    static func methods(under prefix: String) -> [String] {
        lexicons.values.filter { lexicon in
            switch lexicon.main {
            case .query, .procedure, .subscription: lexicon.id.description.hasPrefix(prefix)
            default: false
            }
        }.map(\.id.description).sorted()
    }

    struct Method {
        let isQuery: Bool
        let rule: MethodRule

        /// The parameters of a query, or the fields of a procedure's JSON.
        var input: ObjectRule {
            if isQuery { return rule.parameters ?? ObjectRule([]) }
            guard let schema = rule.input?.schema, case .object(let object) = Published.resolved(schema) else {
                return ObjectRule([])
            }
            return object
        }
    }

    static func method(_ nsid: String) throws -> Method {
        switch lexicons[Bytes(nsid)]?.main {
        case .query(let rule): Method(isQuery: true, rule: rule)
        case .procedure(let rule): Method(isQuery: false, rule: rule)
        default: throw Missing(name: nsid)
        }
    }

    static func definition(_ reference: Bytes) -> Schema? {
        let hash = reference.position(of: 0x23)
        let name = hash.map { reference.from($0 + 1) } ?? "main"
        return lexicons[reference.upTo(hash ?? reference.count)]?.definitions[name]?.schema
    }

    /// What a reference leads to; any other schema itself.
    static func resolved(_ schema: Schema) -> Schema {
        if case .reference(let name) = schema { return definition(name) ?? .unknown }
        return schema
    }

    static func closed(_ schema: Schema) -> ClosedSchema { ClosedSchema(schema, definition: definition) }
}
