internal import Base

/// One option of a command. `value` names what follows it; nil for a flag.
struct Option: Sendable {
    let name: String
    let value: String?
    let help: String
    var many = false
}

/// One command of the tool: a row of the table from which `--help` and the parser come.
struct Command: Sendable {
    /// The words that select it, such as `account create`.
    let name: String
    /// The names of its positional arguments; one in brackets may be left out.
    let arguments: [String]
    let options: [Option]
    let summary: String
    let run: @Sendable (Invocation) throws -> Int32

    init(
        _ name: String, arguments: [String] = [], options: [Option] = [], summary: String,
        run: @escaping @Sendable (Invocation) throws -> Int32
    ) {
        self.name = name
        self.arguments = arguments
        self.options = options
        self.summary = summary
        self.run = run
    }

    var words: [String] { name.split(separator: " ").map(String.init) }
    var usage: String {
        let given = options.map { option in
            let value = option.value.map { " \($0)" } ?? ""
            return "[--\(option.name)\(value)]\(option.many ? "…" : "")"
        }
        return (["skystead", name] + arguments + given).joined(separator: " ")
    }
}

/// A command with what was given to it.
struct Invocation: Sendable {
    let command: Command
    let arguments: [String]
    let options: [String: [String]]
    let output: Output

    func value(_ option: String) -> String? { options[option]?.last }
    func values(_ option: String) -> [String] { options[option] ?? [] }
    func has(_ option: String) -> Bool { options[option] != nil }
}

/// What a command line asks for.
enum Request {
    case run(Invocation)
    case help(String)
}

/// The command line, parsed against a table of commands.
enum CommandLineParser {
    static func parse(_ words: [String], commands: [Command], output: Output) throws(ToolError) -> Request {
        guard let first = words.first, !["--help", "-h", "help"].contains(first) else { return .help(help(commands)) }
        guard let command = commands.first(where: { words.starts(with: $0.words) }) else {
            let group = commands.filter { $0.words.first == first }
            if !group.isEmpty { return .help(help(group)) }
            throw ToolError("there is no command '\(first)'", remedy: "skystead --help", exitCode: 2)
        }
        let rest = Array(words.dropFirst(command.words.count))
        if rest.contains("--help") || rest.contains("-h") { return .help(help(of: command)) }
        return .run(try invocation(of: command, rest, output))
    }

    private static func invocation(
        of command: Command, _ words: [String], _ output: Output
    ) throws(ToolError) -> Invocation {
        var arguments: [String] = []
        var options: [String: [String]] = [:]
        var index = 0
        while index < words.count {
            let word = words[index]
            index += 1
            guard word.hasPrefix("--") else {
                arguments.append(word)
                continue
            }
            // Both `--name value` and `--name=value`.
            let parts = word.dropFirst(2).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let name = parts.first.map(String.init) ?? ""
            guard let option = command.options.first(where: { $0.name == name }) else {
                throw .usage("'\(command.name)' has no option --\(name)", command: command.name)
            }
            var value = ""
            if let meaning = option.value {
                if parts.count == 2 {
                    value = String(parts[1])
                } else if index < words.count {
                    value = words[index]
                    index += 1
                } else {
                    throw .usage("--\(name) needs \(meaning)", command: command.name)
                }
            } else if parts.count == 2 {
                throw .usage("--\(name) takes no value", command: command.name)
            }
            guard option.many || options[name] == nil else {
                throw .usage("--\(name) is there twice", command: command.name)
            }
            options[name, default: []].append(value)
        }
        let needed = command.arguments.count { !$0.hasPrefix("[") }
        guard arguments.count >= needed else {
            throw .usage("'\(command.name)' needs \(command.arguments[arguments.count])", command: command.name)
        }
        guard arguments.count <= command.arguments.count else {
            throw .usage("'\(arguments[command.arguments.count])' is one argument too many", command: command.name)
        }
        return Invocation(command: command, arguments: arguments, options: options, output: output)
    }

    static func help(_ commands: [Command]) -> String {
        let width = commands.map { $0.name.count + $0.arguments.joined(separator: " ").count }.max() ?? 0
        var out = "usage: skystead COMMAND [ARGUMENTS]\n\n"
        for command in commands {
            let left = ([command.name] + command.arguments).joined(separator: " ")
            out += "  \(left)\(String(repeating: " ", count: max(2, width + 3 - left.count)))\(command.summary)\n"
        }
        return out
            + "\n`skystead COMMAND --help` tells more. Settings: `skystead settings`, docs/skystead-settings.md.\n"
    }

    static func help(of command: Command) -> String {
        var out = "usage: \(command.usage)\n\n\(command.summary)\n"
        guard !command.options.isEmpty else { return out }
        out += "\n"
        let lefts = command.options.map { "--\($0.name)\($0.value.map { " \($0)" } ?? "")" }
        let width = lefts.map(\.count).max() ?? 0
        for (left, option) in zip(lefts, command.options) {
            out += "  \(left)\(String(repeating: " ", count: width + 2 - left.count))\(option.help)\n"
        }
        return out
    }
}
