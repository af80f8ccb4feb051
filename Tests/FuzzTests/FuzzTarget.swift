import Base

/// A decoder of input from outside, and what must hold for every input.
///
/// The ordinary test run tries each with seeded noise; `scripts/fuzz` builds the same bodies under libFuzzer.
struct FuzzTarget: Sendable {
    let name: String
    /// Inputs that the decoder takes, to start from.
    let corpus: [[UInt8]]
    /// What is wrong with the decoder, or nil. A trap, a hang or a read outside of the input shows itself.
    let fault: @Sendable ([UInt8]) -> String?

    init(_ name: String, corpus: [[UInt8]], fault: @escaping @Sendable ([UInt8]) -> String?) {
        self.name = name
        self.corpus = corpus
        self.fault = fault
    }

    init(_ name: String, texts: [String], fault: @escaping @Sendable ([UInt8]) -> String?) {
        self.init(name, corpus: texts.map { Array($0.utf8) }, fault: fault)
    }

    static let all: [FuzzTarget] =
        data + repository + identity + lexicons + clients + tokens + scopes + wire + requests

    static func named(_ name: String) -> FuzzTarget? { all.first { $0.name == name } }
}

/// The bytes of hexadecimal `text`; nothing for any other.
func bytes(hex text: String) -> [UInt8] { Hex.decode(Array(text.utf8)) ?? [] }
