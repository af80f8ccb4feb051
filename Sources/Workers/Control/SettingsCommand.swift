internal import Assembly
internal import Base

extension Command {
    static let settings = Command(
        "settings",
        options: [
            Option(name: "example", value: nil, help: "print conf/skystead.env.example"),
            Option(name: "manual", value: nil, help: "print docs/skystead-settings.md"),
            Option(name: "manual-page", value: nil, help: "print docs/skystead.env.5"),
        ],
        summary: "prints every setting that is in force and where it comes from; secrets as •••"
    ) { invocation in
        if invocation.has("example") {
            invocation.output.text(Settings.exampleFile)
        } else if invocation.has("manual") {
            invocation.output.text(Settings.manual)
        } else if invocation.has("manual-page") {
            invocation.output.text(Settings.manualPage)
        } else {
            invocation.output.text(try ToolSettings.load().dump)
        }
        return 0
    }

    static let version = Command("version", summary: "prints the version") { invocation in
        invocation.output.line("skystead \(Version.text)")
        return 0
    }
}
