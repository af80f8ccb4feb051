import Testing

@testable import Base
@testable import skystead

/// The command line against the tool's own table, and against a small one.
@Suite struct CommandLineTests {
    static let commands: [Command] = [
        Command(
            "thing make", arguments: ["NAME", "[PLACE]"],
            options: [
                Option(name: "size", value: "N", help: "how large"), Option(name: "wet", value: nil, help: "in water"),
                Option(name: "tag", value: "T", help: "a word", many: true),
            ],
            summary: "makes a thing"
        ) { _ in 7 },
        Command("thing list", summary: "lists things") { _ in 0 },
    ]
    static let output = Output(coloured: false) { _, _ in }

    static func parse(_ line: String) throws(ToolError) -> Request {
        try CommandLineParser.parse(line.split(separator: " ").map(String.init), commands: commands, output: output)
    }

    @Test func argumentsAndOptionsInAnyOrder() throws {
        guard case .run(let made) = try Self.parse("thing make --size=3 a --wet b --tag x --tag y") else {
            Issue.record("no invocation")
            return
        }
        #expect(made.arguments == ["a", "b"])
        #expect(made.value("size") == "3")
        #expect(made.has("wet") && !made.has("dry"))
        #expect(made.values("tag") == ["x", "y"])
        #expect(try made.command.run(made) == 7)
    }

    @Test(arguments: [
        ("nothing", "there is no command 'nothing'"), ("thing make", "'thing make' needs NAME"),
        ("thing make a b c", "'c' is one argument too many"), ("thing make a --size", "--size needs N"),
        ("thing make a --colour red", "'thing make' has no option --colour"),
        ("thing make a --wet=yes", "--wet takes no value"), ("thing make a --size 1 --size 2", "--size is there twice"),
        ("thing list a", "'a' is one argument too many"),
    ]) func isRefused(_ line: String, _ message: String) throws {
        let error = try #require(throws: ToolError.self) { try Self.parse(line) }
        #expect(error.message == message)
        #expect(error.exitCode == 2)
        #expect(error.remedy != nil)
    }

    @Test(arguments: ["", "--help", "help", "thing", "thing make --help", "thing make a -h"])
    func isHelp(_ line: String) throws {
        guard case .help(let text) = try Self.parse(line) else {
            Issue.record("no help for '\(line)'")
            return
        }
        #expect(text.hasPrefix("usage: skystead"))
        #expect(text.contains("thing make"))
    }

    @Test func everyCommandOfTheToolHasItsHelp() {
        let help = CommandLineParser.help(Tool.commands)
        for command in Tool.commands {
            #expect(help.contains("  \(command.name)"))
            #expect(!command.summary.isEmpty)
            let own = CommandLineParser.help(of: command)
            for option in command.options { #expect(own.contains("--\(option.name)")) }
        }
        #expect(Set(Tool.commands.map(\.name)).count == Tool.commands.count)
    }

    @Test func anErrorIsOneLineWithItsRemedy() {
        let lines = Guarded<[String]>([])
        let output = Output(coloured: false) { descriptor, bytes in
            lines.withLock { $0.append("\(descriptor) \(String(decoding: bytes, as: UTF8.self))") }
        }
        #expect(Tool.main(["frobnicate"], output: output) == 2)
        #expect(
            lines.withLock { $0 } == [
                "2 skystead: there is no command 'frobnicate'\n", "2   → skystead --help\n",
            ])
    }
}
