import ATProto
import Base
import Foundation

@testable import Lexicons

/// The network's lexicons and the protocol's vectors, where they lie: beside the checkout, or where
/// `SKYSTEAD_SHARED_DIR` says.
enum Oracle {
    static let directory: URL =
        if let path = ProcessInfo.processInfo.environment["SKYSTEAD_SHARED_DIR"] {
            URL(filePath: path)
        } else {
            URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../../shared").standardized
        }

    /// In CI they must be there: a missing directory fails then, instead of skipping.
    static let isThere =
        FileManager.default.fileExists(atPath: directory.path) || ProcessInfo.processInfo.environment["CI"] != nil

    static func bytes(_ path: String) throws -> Bytes {
        Bytes([UInt8](try Data(contentsOf: directory.appending(path: path))))
    }

    /// Every published lexicon, by the path of its file.
    static let files: [String] = {
        let root = directory.appending(path: "lexicons")
        let names = FileManager.default.enumerator(atPath: root.path)?.compactMap { $0 as? String } ?? []
        return names.filter { $0.hasSuffix(".json") }.sorted()
    }()

    static let all: [Bytes: Lexicon] = {
        var lexicons: [Bytes: Lexicon] = [:]
        for file in files {
            guard let bytes = try? bytes("lexicons/\(file)"), let lexicon = try? Lexicon(json: bytes) else { continue }
            lexicons[lexicon.id.bytes] = lexicon
        }
        return lexicons
    }()

    static func definition(_ reference: Bytes, in lexicons: [Bytes: Lexicon] = all) -> Definition? {
        let hash = reference.position(of: 0x23)
        let name = hash.map { reference.from($0 + 1) } ?? "main"
        return lexicons[reference.upTo(hash ?? reference.count)]?.definitions[name]
    }

    static func closed(_ schema: Schema, in lexicons: [Bytes: Lexicon] = all) -> ClosedSchema {
        ClosedSchema(schema) { definition($0, in: lexicons)?.schema }
    }
}

extension Lexicon {
    /// From a test's text.
    init(_ json: String) throws { try self.init(json: Bytes(json)) }
}

func nsid(_ text: String) -> NSID { NSID(text)! }
