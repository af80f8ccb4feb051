import ATProto
import Base
import Testing

@Suite struct CIDTests {
    @Test("binary and text, there and back, against the general encoder")
    func roundTrip() throws {
        var random = SeededRandom(seed: 1)
        for round in 0..<500 {
            let bytes = (0..<8).map { _ in UInt8.random(in: 0...255, using: &random) }
            let cid = CID(hashing: bytes, codec: round % 2 == 0 ? .raw : .dagCBOR)
            #expect(cid.text == [0x62] + RadixEncoding.base32.encode(cid.bytes))
            #expect(CID(text: Bytes(cid.text)) == cid)
            #expect(CID(Bytes(cid.bytes)) == cid)
        }
    }

    static let text = "bafkreiccldh766hwcnuxnf2wh6jgzepf2nlu2lvcllt63eww5p6chi4ity"

    static let refusals: [(String, Bytes)] = [
        ("nothing", ""), ("58 characters", Bytes(String(text.dropLast()))), ("60 characters", Bytes(text + "a")),
        ("upper case", Bytes(text.uppercased())), ("a 1", Bytes("b1" + text.dropFirst(2))),
        ("an 8", Bytes(text.dropLast() + "8")), ("the other prefix", Bytes("B" + text.dropFirst())),
        ("a pad bit", Bytes(text.dropLast() + "z")),
        ("dag-pb", "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi"),
        ("version 0", "QmbWqxBEKC3P8tqsKc98xmWNzrzDtRLMiMPL8wBuTGsMnR"), ("a blank", Bytes(text.dropLast() + " ")),
    ]

    @Test("texts that are refused", arguments: refusals)
    func refused(_ name: String, _ text: Bytes) { #expect(CID(text: text) == nil) }

    @Test("binary forms that are refused")
    func refusedBinary() throws {
        let good = try #require(CID(text: Bytes(Self.text))).bytes
        for index in 0..<4 {
            var bad = good
            bad[index] ^= 0x20
            #expect(CID(Bytes(bad)) == nil, "byte \(index)")
        }
        #expect(CID(Bytes(Array(good.dropLast()))) == nil)
        #expect(CID(Bytes(good + [0])) == nil)
        #expect(CID(Bytes()) == nil)
    }
}

/// splitmix64: the same numbers for the same seed on every machine.
struct SeededRandom: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ mixed >> 30) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
        return mixed ^ mixed >> 31
    }
}
