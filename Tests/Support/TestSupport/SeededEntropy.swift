public import Base

extension Entropy {
    /// Reproducible bytes (SplitMix64): what a test makes of them is the same in every run. Each value is one stream.
    public static func seeded(_ seed: UInt64) -> Entropy {
        let state = Guarded(seed)
        return Entropy { raw throws(EntropyError) in
            state.withLock { state in
                var at = 0
                while at < raw.count {
                    state &+= 0x9E37_79B9_7F4A_7C15
                    var word = state
                    word = (word ^ word >> 30) &* 0xBF58_476D_1CE4_E5B9
                    word = (word ^ word >> 27) &* 0x94D0_49BB_1331_11EB
                    word ^= word >> 31
                    for shift in stride(from: 0, to: 64, by: 8) where at < raw.count {
                        raw[at] = UInt8(truncatingIfNeeded: word >> UInt64(shift))
                        at += 1
                    }
                }
            }
        }
    }
}
