internal import Assembly
internal import Base

extension Command {
    static let check = Command(
        "check",
        options: [
            Option(name: "front", value: "URL", help: "ask the web server there, not at SKYSTEAD_PUBLIC_URL"),
            Option(name: "quiet", value: nil, help: "say only what is not well"),
        ],
        summary: "looks whether everything is well, and says how to mend what is not"
    ) { invocation in
        let settings = try ToolSettings.load(asOwner: false)
        let front = invocation.value("front").map { Bytes($0) } ?? UpLock.front(Paths(settings), settings)
        let checks = Checks(settings: settings, front: front)
        return report(checks.all.map { ($0.name, $0.look()) }, quiet: invocation.has("quiet"), to: invocation.output)
    }

    /// Prints the findings; the exit code is 1 when something is wrong. Warnings are no failure.
    static func report(_ findings: [(name: String, finding: Finding)], quiet: Bool, to output: Output) -> Int32 {
        for (name, finding) in findings where !quiet || finding.verdict != .fine {
            let mark =
                switch finding.verdict {
                case .fine: output.painted("ok  ", .green)
                case .warning: output.painted("warn", .yellow)
                case .wrong: output.painted("FAIL", .red)
                }
            output.line("\(mark)  \(name): \(finding.text)")
            if let remedy = finding.remedy { output.line("      → \(remedy)") }
        }
        let wrong = findings.count { $0.finding.verdict == .wrong }
        if wrong > 0 {
            output.line(output.painted("\(wrong) of \(findings.count) are wrong", .red))
        } else if !quiet {
            output.line(output.painted("green", .green))
        }
        return wrong > 0 ? 1 : 0
    }
}
