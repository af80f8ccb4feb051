import Testing

@testable import ATProto
@testable import Base

@Suite struct CARTests {
    static func header(_ body: (inout CBORWriter) -> Void) -> [UInt8] {
        var out = CBORWriter()
        body(&out)
        return [UInt8(out.out.count)] + out.out
    }

    static func header(roots: [CID], version: Int64 = 1) -> [UInt8] {
        header { out in
            out.map(2)
            out.key("roots")
            out.array(roots.count)
            for root in roots { out.link(root) }
            out.key("version")
            out.integer(version)
        }
    }

    static func section(_ cid: [UInt8], _ block: [UInt8]) -> [UInt8] { varint(cid.count + block.count) + cid + block }

    static func varint(_ value: Int) -> [UInt8] {
        value < 0x80 ? [UInt8(value)] : [UInt8(value & 0x7F) | 0x80] + varint(value >> 7)
    }

    static func read(_ bytes: [UInt8]) throws -> [CID: Bytes] {
        let reader = try CARReader(Bytes(bytes))
        var blocks: [CID: Bytes] = [:]
        try reader.each { cid, block in blocks[cid] = Bytes(block) }
        return blocks
    }

    @Test func roundTripInPiecesOfAnySize() throws {
        var numbers = Numbers(state: 5)
        var blocks: [(CID, [UInt8])] = []
        for size in [0, 1, 2, 90, 127, 128, 300, 70_000, 2 * 1_024 * 1_024] {
            let block = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ size) }
            blocks.append((CID(hashing: block, codec: size % 2 == 0 ? .raw : .dagCBOR), block))
        }
        var written: [UInt8] = []
        var writer = CARWriter(root: blocks[0].0) { written.append(contentsOf: $0) }
        for (cid, block) in blocks { try writer.block(cid, Bytes(block)) }
        try writer.finish()
        var appended: [UInt8] = []
        CARWriter.appendHeader(blocks[0].0, to: &appended)
        for (cid, block) in blocks { CARWriter.append(cid, block, to: &appended) }
        #expect(written == appended)
        #expect(try Self.read(written) == Dictionary(uniqueKeysWithValues: blocks.map { ($0.0, Bytes($0.1)) }))

        for limit in [1, 7, 4_096, 1_000_000] {
            // One byte at a time only for the small blocks: the large ones would say nothing more.
            let whole = limit == 1 ? Array(written.prefix(1_000)) : written
            var at = 0
            let reader = try CARReader { buffer in
                let count = min(buffer.count, whole.count - at, Int.random(in: 1...limit, using: &numbers))
                whole.withUnsafeBytes { buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[at..<at + count])) }
                at += count
                return count
            }
            #expect(reader.root == blocks[0].0)
            var seen = 0
            do {
                try reader.each { cid, block in
                    #expect(cid == blocks[seen].0 && Bytes(block) == Bytes(blocks[seen].1))
                    seen += 1
                }
                #expect(limit != 1 && seen == blocks.count)
            } catch let error as CARError {
                #expect(limit == 1 && error.reason == .truncated && seen == 7)
            }
        }
    }

    @Test func refusals() throws {
        let block: [UInt8] = [0xA0]
        let root = CID(hashing: block)
        let good = Self.header(roots: [root])
        let other: [UInt8] = [0xA1, 0x61, 0x61, 1]
        let first = Self.section(root.bytes, block)
        #expect(try Self.read(good + first) == [root: Bytes(block)])
        #expect(try Self.read(good) == [:])
        var sha512 = root.bytes
        sha512[2] = 0x13
        var cidV2 = root.bytes
        cidV2[0] = 2
        var codec = root.bytes
        codec[1] = 0x70
        let identity: [UInt8] = [1, 0x71, 0, 40] + [UInt8](repeating: 7, count: 40)
        let rows: [(String, [UInt8], CARError)] = [
            ("empty", [], CARError(.header, at: 0)),
            ("header of length 0", [0], CARError(.header, at: 0)),
            ("header of 2^30 bytes", [0x80, 0x80, 0x80, 0x80, 0x04], CARError(.header, at: 0)),
            ("header cut off", Array(good.dropLast()), CARError(.truncated, at: 0)),
            ("version 2", Self.header(roots: [root], version: 2), CARError(.header, at: 0)),
            ("no roots", Self.header(roots: []), CARError(.expectedOneRoot, at: 0)),
            ("two roots", Self.header(roots: [root, root]), CARError(.expectedOneRoot, at: 0)),
            (
                "root is text",
                Self.header { out in
                    out.map(2)
                    out.key("roots")
                    out.array(1)
                    out.key("x")
                    out.key("version")
                    out.integer(1)
                }, CARError(.header, at: 8)
            ),
            (
                "keys in the wrong order",
                Self.header { out in
                    out.map(2)
                    out.key("version")
                    out.integer(1)
                    out.key("roots")
                    out.array(1)
                    out.link(root)
                }, CARError(.header, at: 0)
            ),
            ("varint of 10 bytes", good + [UInt8](repeating: 0x80, count: 10), CARError(.varintTooLong, at: 59)),
            ("varint of 11 bytes", good + [UInt8](repeating: 0x80, count: 11), CARError(.varintTooLong, at: 59)),
            (
                "varint of a million bytes", good + [UInt8](repeating: 0x80, count: 1_000_000),
                CARError(.varintTooLong, at: 59)
            ),
            ("varint that is not minimal", good + [0x81, 0x00], CARError(.varintNotMinimal, at: 59)),
            ("varint cut off", good + [0x81], CARError(.truncated, at: 59)),
            ("section of length 0", good + [0], CARError(.truncated, at: 59)),
            ("section shorter than a CID", good + [35] + root.bytes, CARError(.truncated, at: 59)),
            ("section longer than the rest", good + [60] + root.bytes + block, CARError(.truncated, at: 59)),
            ("section of 2 GiB", good + [0x80, 0x80, 0x80, 0x80, 0x08], CARError(.sectionTooLarge, at: 59)),
            ("block of another CID", good + Self.section(root.bytes, other), CARError(.blockDoesNotMatch, at: 59)),
            (
                "the same CID again with other bytes", good + first + Self.section(root.bytes, other),
                CARError(.blockDoesNotMatch, at: 97)
            ),
            ("identity CID", good + Self.section(identity, []), CARError(.unsupportedCID, at: 59)),
            ("SHA-512", good + Self.section(sha512, block), CARError(.unsupportedCID, at: 59)),
            ("CID of version 2", good + Self.section(cidV2, block), CARError(.unsupportedCID, at: 59)),
            ("DAG-PB", good + Self.section(codec, block), CARError(.unsupportedCID, at: 59)),
        ]
        for (name, bytes, wanted) in rows {
            do {
                _ = try Self.read(bytes)
                Issue.record("\(name): taken")
            } catch let error as CARError {
                #expect(error.reason == wanted.reason, "\(name)")
                if wanted.offset > 0 { #expect(error.offset == wanted.offset, "\(name)") }
            }
        }
    }

    /// No prefix and no single changed bit of a CAR is taken for something it is not, and none traps.
    @Test func everyPrefixAndEveryFlippedBit() throws {
        let blocks: [[UInt8]] = [[0xA0], [0x80], [0x61, 0x61]]
        var car: [UInt8] = []
        CARWriter.appendHeader(CID(hashing: blocks[0]), to: &car)
        var ends = [car.count]
        for block in blocks {
            CARWriter.append(CID(hashing: block), block, to: &car)
            ends.append(car.count)
        }
        for count in 0..<car.count {
            let isWhole = ends.contains(count)
            let found = try? Self.read(Array(car[..<count]))
            #expect((found != nil) == isWhole, "prefix of \(count)")
        }
        for bit in 0..<(car.count * 8) {
            var changed = car
            changed[bit / 8] ^= 1 << UInt8(bit % 8)
            // Only the root's own digest can change without breaking the file.
            let inRoot = (bit / 8) >= 13 && (bit / 8) < 13 + 46 - 9
            #expect((try? Self.read(changed)) == nil || inRoot, "bit \(bit)")
        }
    }
}
