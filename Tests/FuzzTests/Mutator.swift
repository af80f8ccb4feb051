/// Seeded changes of inputs: the same seed makes the same inputs on every machine.
struct Mutator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    /// SplitMix64 (Steele, Lea, Flood 2014).
    private mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var word = state
        word = (word ^ word >> 30) &* 0xBF58_476D_1CE4_E5B9
        word = (word ^ word >> 27) &* 0x94D0_49BB_1331_11EB
        return word ^ word >> 31
    }

    private mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(max(bound, 1))) }

    /// Bytes that decoders decide on: lengths at their limits, heads of CBOR, what JSON and HTTP are cut at.
    private static let telling: [UInt8] =
        [
            0x00, 0x01, 0x17, 0x18, 0x19, 0x1A, 0x1B, 0x1F, 0x3B, 0x5B, 0x5F, 0x7B, 0x7F, 0x80, 0x9B, 0x9F, 0xA1, 0xBB,
            0xBF,
        ]
        + [0xC2, 0xD8, 0x2A, 0xE0, 0xED, 0xF4, 0xF6, 0xF7, 0xF9, 0xFB, 0xFE, 0xFF]
        + Array("\"\\{}[]:,.%&=;/?#+- \r\n0e~u".utf8)

    private mutating func byte() -> UInt8 {
        next() & 1 == 0 ? Self.telling[below(Self.telling.count)] : UInt8(truncatingIfNeeded: next())
    }

    /// The next input: noise, or one of `corpus` with a few changes.
    mutating func input(from corpus: [[UInt8]]) -> [UInt8] {
        if corpus.isEmpty || below(10) == 0 { return (0..<below(64)).map { _ in byte() } }
        var input = corpus[below(corpus.count)]
        for _ in 0...below(4) { change(&input, corpus) }
        return input
    }

    private mutating func change(_ input: inout [UInt8], _ corpus: [[UInt8]]) {
        guard !input.isEmpty else {
            input = [byte()]
            return
        }
        let at = below(input.count)
        let end = at + below(min(input.count - at, 16) + 1)
        switch below(8) {
        case 0: input[at] ^= 1 << UInt8(below(8))
        case 1: input[at] = byte()
        case 2: input.insert(byte(), at: at)
        case 3: input.removeSubrange(at..<end)
        case 4: input.insert(contentsOf: input[at..<end], at: at)
        case 5: input.removeSubrange(at...)
        case 6: input[at] = input[at] &+ UInt8(truncatingIfNeeded: below(3)) &- 1
        default:
            let other = corpus[below(corpus.count)]
            input.replaceSubrange(at..<end, with: other.suffix(below(other.count + 1)))
        }
    }
}
