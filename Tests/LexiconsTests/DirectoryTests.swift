import ATProto
import Base
import Foundation
import TestSupport
import Testing

@testable import Lexicons

/// The operator's directory, right and wrong.
@Suite struct DirectoryTests {
    static func load(_ files: [String: String]) throws -> [Lexicon] {
        let directory = try TestDirectory()
        for (name, text) in files {
            let url = URL(filePath: directory.path).appending(path: name)
            try FileManager.default.createDirectory(
                at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
            try text.write(to: url, atomically: true, encoding: .utf8)
        }
        return try LexiconDirectory.load(directory.path)
    }

    static let one = recordType("com.example.one")
    static let two = recordType("com.example.two")

    @Test func filesAnywhere() throws {
        let lexicons = try Self.load([
            "com/example/one.json": Self.one, "com.example.two.json": Self.two, "README.md": "not one",
            ".hidden.json": "not one", "com/.git/x.json": "not one",
        ])
        #expect(lexicons.map(\.id.description) == ["com.example.two", "com.example.one"])
        #expect(try Self.load([:]) == [])
    }

    @Test func wrongFilesAreNamed() throws {
        func problem(_ files: [String: String]) throws -> String? {
            do { _ = try Self.load(files) } catch let error as LexiconDirectory.Invalid {
                return "\(error.path.split(separator: "/").last ?? ""): \(error.problem.prefix(40))"
            }
            return nil
        }
        #expect(try problem(["a.json": "{"]) == "a.json: Lexicon invalid JSON at byte 1")
        #expect(try problem(["a.json": "{}"]) == "a.json: Lexicon/lexicon must be 1")
        #expect(try problem(["a.json": Self.one, "b.json": Self.one])?.hasPrefix("b.json: Lexicon/id is in") == true)
        #expect(throws: SystemError.self) {
            try Self.load(["a.json": String(repeating: " ", count: Lexicon.sizeMax + 1)])
        }
        #expect(throws: SystemError.self) { try LexiconDirectory.load("/nowhere/at/all") }
        let deep = (0..<LexiconDirectory.depthMax).map { "d\($0)" }.joined(separator: "/")
        #expect(throws: SystemError.self) { try Self.load(["\(deep)/x/a.json": Self.one]) }
    }
}
