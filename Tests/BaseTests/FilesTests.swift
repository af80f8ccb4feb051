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

    @Test func aTemporaryFileHasNoName() throws {
        try Self.withDirectory { directory throws in
            let file = try Base.FileHandle.temporary(in: directory)
            let other = try Base.FileHandle.temporary(in: directory)
            #expect(try FileManager.default.contentsOfDirectory(atPath: directory) == ["a"])
            try Array("0123456789".utf8).withUnsafeBytes { try file.write($0) }
            func read(_ handle: Base.FileHandle, at offset: Int, _ count: Int) throws -> String {
                var buffer = [UInt8](repeating: 0x2E, count: count)
                let done = try buffer.withUnsafeMutableBytes { try handle.read(at: offset, into: $0) }
                return String(decoding: buffer[..<done], as: UTF8.self)
            }
            #expect(try read(file, at: 3, 4) == "3456")
            #expect(try read(file, at: 8, 4) == "89", "no more than there is")
            #expect(try read(file, at: 10, 4) == "" && read(file, at: 99, 4) == "" && read(file, at: 0, 0) == "")
            #expect(try read(other, at: 0, 4) == "")
            // Reading at a place moves nothing: what is written comes behind.
            try Array("ab".utf8).withUnsafeBytes { try file.write($0) }
            #expect(try read(file, at: 8, 9) == "89ab")
            #expect(throws: SystemError.self) { try read(file, at: -1, 4) }
            #expect(throws: SystemError.self) { try Base.FileHandle.temporary(in: directory + "/nowhere") }
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
