internal import Glibc

/// What the tool says: plain lines, coloured only on a terminal.
struct Output: Sendable {
    private let write: @Sendable (Int32, [UInt8]) -> Void
    private let coloured: Bool

    init(coloured: Bool, write: @escaping @Sendable (Int32, [UInt8]) -> Void) {
        self.coloured = coloured
        self.write = write
    }

    /// Standard output and error. NO_COLOR is not asked: the colours are few, and only on a terminal.
    static let terminal = Output(coloured: isatty(1) == 1) { descriptor, bytes in
        bytes.withUnsafeBytes { raw in
            var rest = raw
            while let base = rest.baseAddress, !rest.isEmpty {
                let count = Glibc.write(descriptor, base, rest.count)
                guard count > 0 else { return }
                rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(count))
            }
        }
    }

    func line(_ text: String = "") { write(1, Array("\(text)\n".utf8)) }
    func text(_ text: String) { write(1, Array(text.utf8)) }

    /// One line on standard error, and what to do about it.
    func problem(_ text: String, remedy: String? = nil) {
        write(2, Array("skystead: \(text)\n".utf8))
        if let remedy { write(2, Array("  → \(remedy)\n".utf8)) }
    }

    enum Colour: String {
        case green = "32"
        case yellow = "33"
        case red = "31"
        case bold = "1"
    }

    func painted(_ text: String, _ colour: Colour) -> String {
        coloured ? "\u{1B}[\(colour.rawValue)m\(text)\u{1B}[0m" : text
    }
}

/// Why the tool could not do what it was asked: one sentence, and the remedy where there is one.
struct ToolError: Error, Equatable {
    let message: String
    let remedy: String?
    let exitCode: Int32

    init(_ message: String, remedy: String? = nil, exitCode: Int32 = 1) {
        self.message = message
        self.remedy = remedy
        self.exitCode = exitCode
    }

    /// The command line itself was wrong: exit code 2.
    static func usage(_ message: String, command: String) -> ToolError {
        ToolError(message, remedy: "skystead \(command) --help", exitCode: 2)
    }
}
