import Foundation
import Testing

@testable import Base

@Suite struct FilesTests {
    static func withDirectory(_ body: (String) throws -> Void) throws {
        let directory = FileManager.default.temporaryDirectory.appending(path: "skystead-files-\(UUID().uuidString)")
            .path
        try Files.makeDirectory("\(directory)/a/b", mode: 0o700)
        defer { try? FileManager.default.removeItem(atPath: directory) }
        try body(directory)
    }

    @Test func aWrittenFileIsThereWithItsMode() throws {
        try Self.withDirectory { directory throws in
            let path = "\(directory)/a/b/key"
            try Files.write(Array("one".utf8), to: path, mode: 0o600)
            #expect(try Files.read(path, sizeMax: 3) == Array("one".utf8))
            let attributes = try FileManager.default.attributesOfItem(atPath: path)
            #expect(attributes[.posixPermissions] as? Int == 0o600)
            try Files.write(Array("two".utf8), to: path, mode: 0o600)
            #expect(try Files.read(path, sizeMax: 3) == Array("two".utf8))
            #expect(try FileManager.default.contentsOfDirectory(atPath: "\(directory)/a/b") == ["key"])
        }
    }

    @Test func theFirstOfTwoWritersWins() throws {
        try Self.withDirectory { directory throws in
            #expect(try Files.writeIfAbsent([1], to: "\(directory)/key", mode: 0o600))
            #expect(try !Files.writeIfAbsent([2], to: "\(directory)/key", mode: 0o600))
            #expect(try Files.read("\(directory)/key", sizeMax: 1) == [1])
        }
    }

    @Test func whatIsTooLongOrNotThereIsAnError() throws {
        try Self.withDirectory { directory throws in
            try Files.write([1, 2, 3], to: "\(directory)/f", mode: 0o600)
            #expect(throws: SystemError.self) { try Files.read("\(directory)/f", sizeMax: 2) }
            #expect(throws: SystemError.self) { try Files.read("\(directory)/none", sizeMax: 2) }
            #expect(throws: SystemError.self) { try Files.write([1], to: "\(directory)/f/g", mode: 0o600) }
            #expect(throws: SystemError.self) { try Files.makeDirectory("\(directory)/f/g/h", mode: 0o700) }
        }
    }
}
