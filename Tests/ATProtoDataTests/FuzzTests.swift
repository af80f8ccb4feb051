import ATProto
import Base
import Foundation
import Testing

/// Mutated good inputs and noise, the same on every run. The pass mark is: no trap, and what is accepted is kept.
@Suite struct FuzzTests {
    static let records: [Bytes] = [
        #"{"$type":"app.bsky.feed.post","text":"Hello é 😀 \"x\"\n","langs":["en","fr"],"createdAt":"2024-01-01T00:00:00Z"}"#,
        #"{"a":{"$link":"bafkreiccldh766hwcnuxnf2wh6jgzepf2nlu2lvcllt63eww5p6chi4ity"},"b":{"$bytes":"AAECAwQ"},"n":[-1,0,23,24,255,256,65535,65536,4294967296,9223372036854775807,-9223372036854775808,null,true,false]}"#,
        #"{"img":{"$type":"blob","ref":{"$link":"bafkreiccldh766hwcnuxnf2wh6jgzepf2nlu2lvcllt63eww5p6chi4ity"},"mimeType":"image/png","size":12},"deep":[[[[[[{"a":{"b":{"c":[]}}}]]]]]]}"#,
    ]

    /// Reads a block; what is read is written back as it was, and as the same JSON in both ways of writing.
    /// Whether it was taken comes back.
    @discardableResult static func fuzzCBOR(_ bytes: [UInt8]) -> Bool {
        var writer = JSONWriter(capacity: 64)
        guard let value = try? DAGCBOR.decode(bytes) else {
            // A block that isn't strict may still be transcoded (what is stored is not checked again): no trap is all.
            try? writer.cbor(Bytes(bytes))
            return false
        }
        #expect(DAGCBOR.encode(value) == bytes)
        _ = try? value.blobReferences
        let json = JSON.encode(value)
        #expect(throws: Never.self) { try writer.cbor(Bytes(bytes)) }
        #expect(writer.finish() == json)
        if let plain = try? JSON.parsePlain(Bytes(json), depthMax: 64) {
            #expect(JSON.encode(plain) == json)
        } else {
            Issue.record("what was written doesn't read: \(Hex.encode(bytes))")
        }
        return true
    }

    /// Reads a text; what is read is the same value after a way through CBOR and through JSON.
    /// Whether it was taken comes back.
    @discardableResult static func fuzzJSON(_ bytes: [UInt8]) -> Bool {
        let value = try? JSON.parse(Bytes(bytes))
        if let value {
            let block = DAGCBOR.encode(value)
            #expect((try? DAGCBOR.decode(block)) == value)
            #expect((try? JSON.parse(Bytes(JSON.encode(value)))) == value)
            // Whatever is taken here, a lenient reader must take too.
            #expect(throws: Never.self) {
                try JSONSerialization.jsonObject(with: Data(bytes), options: .fragmentsAllowed)
            }
            _ = try? value.blobReferences
        }
        if let value = try? JSON.parsePlain(Bytes(bytes)) {
            #expect((try? JSON.parsePlain(Bytes(JSON.encode(value)))) == value)
        }
        return value != nil
    }

    /// Every grammar sees the same bytes: an accepted identifier has the bytes that it was made of.
    static func fuzzIdentifiers(_ bytes: [UInt8]) {
        let bytes = Bytes(bytes)
        if let did = DID(bytes) { #expect(did.bytes == bytes) }
        if let handle = Handle(bytes) { #expect(handle.bytes == bytes.lowercasedASCII) }
        if let nsid = NSID(bytes) { #expect(nsid.authority + "." + nsid.name == bytes) }
        if let key = RecordKey(bytes) { #expect(key.bytes == bytes) }
        if let tid = TID(bytes) { #expect(tid.bytes == bytes) }
        if let uri = ATURI(bytes) { #expect(ATURI(uri.authority, uri.collection, uri.rkey).bytes.count == bytes.count) }
        if let path = RepoPath(bytes) { #expect(RepoPath(path.collection, path.rkey).bytes == bytes) }
        if let cid = CID(text: bytes) { #expect(Bytes(cid.text) == bytes) }
        if let moment = Datetime(bytes) { #expect(Datetime.isSyntax(moment.bytes)) }
        _ = StringFormat.isLanguage(bytes)
        _ = StringFormat.isURI(bytes)
        _ = StringFormat.isCID(bytes)
    }

    static func mutated(_ seed: [UInt8], _ tokens: [[UInt8]], _ random: inout SeededRandom) -> [UInt8] {
        var bytes = seed
        for _ in 0..<Int.random(in: 1...4, using: &random) {
            let place = Int.random(in: 0...bytes.count, using: &random)
            switch Int.random(in: 0..<6, using: &random) {
            case 0 where place < bytes.count: bytes[place] = UInt8.random(in: 0...255, using: &random)
            case 1 where place < bytes.count: bytes[place] ^= 1 << UInt8.random(in: 0...7, using: &random)
            case 2 where place < bytes.count: bytes.remove(at: place)
            case 3: bytes.insert(contentsOf: tokens.randomElement(using: &random) ?? [], at: place)
            case 4: bytes.removeSubrange(place...)
            default:
                let end = min(bytes.count, place + Int.random(in: 0...16, using: &random))
                bytes.insert(contentsOf: bytes[place..<end], at: place)
            }
        }
        return bytes
    }

    static func noise(_ random: inout SeededRandom) -> [UInt8] {
        (0..<Int.random(in: 0...48, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
    }

    @Test("CBOR", arguments: [1, 2])
    func cbor(_ seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let seeds = try Self.records.map { DAGCBOR.encode(try JSON.parse($0)) }
        let tokens: [[UInt8]] = [
            [0x9F], [0xFF], [0xBF], [0x1B] + [UInt8](repeating: 0xFF, count: 8), [0xF9, 0x3C, 0], [0xD8, 0x2A], [0x80],
            [0xA0], [0x60], [0x40], [UInt8](repeating: 0x81, count: 40),
            [0x5B, 0x7F] + [UInt8](repeating: 0xFF, count: 7),
            [0xED, 0xA0, 0x80], [0xF6], [0x61, 0x61],
        ]
        for seed in seeds { #expect(Self.fuzzCBOR(seed)) }
        var taken = 0
        for _ in 0..<1_500 {
            let mutated = Self.mutated(seeds.randomElement(using: &random) ?? [], tokens, &random)
            if Self.fuzzCBOR(mutated) { taken += 1 }
            Self.fuzzCBOR(Self.noise(&random))
        }
        #expect(taken > 100 && taken < 1_400, "\(taken) taken: the mutations miss one of the two sides")
    }

    @Test("JSON", arguments: [3, 4])
    func json(_ seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let tokens = [
            "{", "}", "[", "]", ",", ":", "\"", "\\", "\\u", "\\ud800", "null", "-0", "1e9", ".5", "{\"$link\":\"x\"}",
            "01",
            "{\"$bytes\":\"AA\"}", "\u{FEFF}", "9223372036854775808", "\"\":", String(repeating: "[", count: 40), "\n",
            "\u{0}",
        ].map { Array($0.utf8) }
        for record in Self.records { #expect(Self.fuzzJSON(record.array)) }
        var taken = 0
        for _ in 0..<1_000 {
            let record = Self.records.randomElement(using: &random)?.array ?? []
            if Self.fuzzJSON(Self.mutated(record, tokens, &random)) { taken += 1 }
            Self.fuzzJSON(Self.noise(&random))
        }
        #expect(taken > 50 && taken < 900, "\(taken) taken: the mutations miss one of the two sides")
    }

    @Test("identifiers", arguments: [5])
    func identifiers(_ seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let seeds = [
            "did:plc:7iza6de2dwap2sbkpav7c6c6", "alice.example.com", "app.bsky.feed.post", "3jzfcijpj2z2a", "en-GB-x-a",
            "at://did:plc:asdf123/com.example.foo/self", "com.example.foo/self", "2024-01-01T00:00:00.123+01:00",
            CIDTests.text,
        ].map { Array($0.utf8) }
        let tokens = [":", ".", "..", "/", "-", "%", "#", "?", " ", "\n", "é", "e\u{301}", "\u{0}"].map {
            Array($0.utf8)
        }
        for seed in seeds { Self.fuzzIdentifiers(seed) }
        for _ in 0..<2_000 {
            Self.fuzzIdentifiers(Self.mutated(seeds.randomElement(using: &random) ?? [], tokens, &random))
            Self.fuzzIdentifiers(Self.noise(&random))
        }
    }
}
