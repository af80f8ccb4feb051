import Foundation

@testable import ATProto
@testable import Base

/// The test oracles beside the checkout.
enum Shared {
    static let directory: URL = {
        if let path = ProcessInfo.processInfo.environment["SKYSTEAD_SHARED_DIR"] { return URL(filePath: path) }
        return URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../../shared").standardized
    }()

    static var isThere: Bool { FileManager.default.fileExists(atPath: directory.path) }

    static func data(_ path: String) throws -> Data { try Data(contentsOf: directory.appending(path: path)) }

    static func json<Fixture: Decodable>(_ path: String, as type: Fixture.Type) throws -> Fixture {
        try JSONDecoder().decode(type, from: try data(path))
    }
}

/// SplitMix64: the same numbers on every run.
struct Numbers: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

/// Blocks in memory, as a tree's source; it says when something is asked for that is not there.
final class Blocks {
    var blocks: [CID: Bytes] = [:]

    func load(_ cid: CID) throws -> MSTNode {
        guard let block = blocks[cid] else { throw MSTError(.missingBlock, in: cid) }
        return try MSTNode.decode(block, cid: cid)
    }

    func apply(_ sealed: MST.Sealed) {
        for (node, block) in sealed.new {
            if let cid = node.cid { blocks[cid] = Bytes(block) }
        }
        for cid in sealed.obsolete { blocks[cid] = nil }
    }

    /// The tree of `records`, by the builder.
    static func built(_ records: [Bytes: CID]) throws -> (root: CID, blocks: Blocks) {
        let store = Blocks()
        let builder = MSTBuilder { cid, block in store.blocks[cid] = Bytes(block) }
        for (key, value) in records.sorted(by: { $0.key < $1.key }) { try builder.append(key, value) }
        return (try builder.finish(), store)
    }
}

func cid(_ number: some BinaryInteger) -> CID { CID(hashing: Array("value \(number)".utf8)) }

func cid(_ text: String) throws -> CID {
    struct NotACID: Error {}
    guard let cid = CID(text: Bytes(text)) else { throw NotACID() }
    return cid
}
