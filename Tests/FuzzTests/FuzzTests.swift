import Testing

extension FuzzTarget: CustomTestStringConvertible {
    var testDescription: String { name }

    /// The first fault that `count` inputs of `seed` show, with the input.
    func firstFault(seed: UInt64, count: Int) -> (fault: String, input: [UInt8])? {
        var mutator = Mutator(seed: seed)
        for _ in 0..<count {
            let input = mutator.input(from: corpus)
            if let fault = fault(input) { return (fault, input) }
        }
        return nil
    }
}

/// A moment of fuzzing in every run of the tests. The long runs are those of `scripts/fuzz`.
@Suite struct FuzzTests {
    /// Well under half a second for each decoder in a debug build.
    static let inputCount = 1_500

    @Test(arguments: FuzzTarget.all) func theCorpusIsFaultless(target: FuzzTarget) {
        #expect(!target.corpus.isEmpty)
        for input in target.corpus {
            #expect(!input.isEmpty || target.name == "encodings", "an input of the corpus could not be made")
            #expect(target.fault(input) == nil, "\(input)")
        }
    }

    @Test(arguments: FuzzTarget.all) func changedInputsAreHandled(target: FuzzTarget) {
        let found = target.firstFault(seed: 2024, count: Self.inputCount)
        #expect(found == nil, "\(found?.fault ?? ""): \(found?.input ?? [])")
    }

    @Test func namesAreDistinct() {
        #expect(Set(FuzzTarget.all.map(\.name)).count == FuzzTarget.all.count)
    }

    @Test func theDriverFindsPlantedFaults() {
        let planted: [FuzzTarget] = [
            FuzzTarget("a length of FF", texts: ["\u{18}abc"]) {
                $0.first == 0x18 && $0.dropFirst().first == 0xFF ? "!" : nil
            },
            FuzzTarget("cut behind the head", texts: ["headbody"]) {
                $0.count == 4 && $0 == Array("head".utf8) ? "!" : nil
            },
            FuzzTarget("empty", texts: ["x"]) { $0.isEmpty ? "!" : nil },
            FuzzTarget("a part twice", texts: ["abcdef"]) { $0.starts(with: Array("abcabc".utf8)) ? "!" : nil },
            FuzzTarget("two of the corpus in one", texts: ["ab", "cd"]) { $0 == Array("acd".utf8) ? "!" : nil },
        ]
        for target in planted {
            #expect(target.firstFault(seed: 1, count: 20_000) != nil, "\(target.name)")
        }
    }

    @Test func aSeedMakesTheSameInputs() {
        var one = Mutator(seed: 7)
        var other = Mutator(seed: 7)
        var different = Mutator(seed: 8)
        let corpus: [[UInt8]] = [[1, 2, 3], [4, 5]]
        let first = (0..<100).map { _ in one.input(from: corpus) }
        #expect(first == (0..<100).map { _ in other.input(from: corpus) })
        #expect(first != (0..<100).map { _ in different.input(from: corpus) })
    }
}
