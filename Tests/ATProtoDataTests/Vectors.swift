import ATProto
import Base
import Foundation
import Testing

/// The protocol's shared vectors, read where they lie.
enum Vectors {
    /// `SKYSTEAD_SHARED_DIR`, or `shared` beside the checkout.
    static let directory: URL =
        if let set = ProcessInfo.processInfo.environment["SKYSTEAD_SHARED_DIR"] {
            URL(fileURLWithPath: set)
        } else {
            URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
                .deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent("shared")
        }

    /// Whether the vectors can be read. In CI they must be: there a missing directory fails instead of skipping.
    static let areThere =
        FileManager.default.fileExists(atPath: directory.appendingPathComponent("vectors").path)
        || ProcessInfo.processInfo.environment["CI"] != nil

    static func bytes(_ path: String) throws -> Bytes {
        let data = try Data(contentsOf: directory.appendingPathComponent("vectors").appendingPathComponent(path))
        return Bytes([UInt8](data))
    }

    /// The lines of a syntax file, without comments and empty lines; blanks are kept.
    static func lines(_ name: String) throws -> [Bytes] {
        let lines = try bytes("syntax/\(name)").split(on: 0x0A)
        return lines.filter { !$0.isEmpty && $0.first != UInt8(ascii: "#") }
    }

    /// An array of rows, parsed without folding.
    static func rows(_ name: String) throws -> [Value] {
        let value = try JSON.parsePlain(bytes("data-model/\(name)"))
        return try #require(value.array)
    }
}

extension Bytes {
    init(hex: String) throws {
        self.init(try #require(Hex.decode(hex.utf8.filter { $0 != 0x20 })))
    }
}
