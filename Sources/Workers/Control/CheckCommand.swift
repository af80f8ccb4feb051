internal import Assembly
internal import Base

extension Command {
    /// Of the commands that look whether everything is well.
    static let lookOptions = [
        Option(name: "front", value: "URL", help: "ask the web server there, not at SKYSTEAD_PUBLIC_URL"),
        Option(name: "quiet", value: nil, help: "say only what is not well"),
    ]

    static let check = Command(
        "check", options: lookOptions,
        summary: "looks whether everything is well, and says how to mend what is not"
    ) { invocation in
        let settings = try ToolSettings.load(asOwner: false)
        let front = invocation.value("front").map { Bytes($0) } ?? UpLock.front(Paths(settings), settings)
        let checks = Checks(settings: settings, front: front)
        return report(checks.all.map { ($0.name, $0.look()) }, quiet: invocation.has("quiet"), to: invocation.output)
    }

    /// Prints the findings; the exit code is 1 when something is wrong. Warnings are no failure.
    ///
    /// - Parameter server: The web server whose lines are shown; nil for both.
    static func report(
        _ findings: [(name: String, finding: Finding)], quiet: Bool, server: WebServer? = nil, to output: Output
    ) -> Int32 {
        for (name, finding) in findings {
            let mark: String
            switch finding.verdict {
            case .fine: mark = output.painted("ok  ", .green)
            case .warning: mark = output.painted("warn", .yellow)
            case .wrong: mark = output.painted("FAIL", .red)
            case .skipped: mark = output.painted("skip", .yellow)
            }
            if quiet, finding.verdict == .fine || finding.verdict == .skipped { continue }
            output.line("\(mark)  \(name): \(finding.text)")
            if let remedy = finding.remedy { output.line("      → \(remedy)") }
            for kind in WebServer.allCases where server == nil || server == kind {
                guard let lines = finding.lines?[kind] else { continue }
                output.line("        in \(kind.rawValue)'s configuration:")
                for line in lines { output.line("          \(line)") }
            }
        }
        let wrong = findings.count { $0.finding.verdict == .wrong }
        if wrong > 0 {
            output.line(output.painted("\(wrong) of \(findings.count) are wrong", .red))
        } else if !quiet {
            let skipped = findings.count { $0.finding.verdict == .skipped }
            let rest = skipped > 0 ? "; \(skipped) of \(findings.count) could not be looked at here" : ""
            output.line(output.painted("green", .green) + rest)
        }
        return wrong > 0 ? 1 : 0
    }
}
