internal import Assembly
internal import Base
internal import CSystem
internal import Glibc
internal import Net

extension Command {
    static let up = Command(
        "up",
        options: [
            Option(name: "caddy", value: nil, help: "serve through Caddy, not nginx"),
            Option(name: "no-web-server", value: nil, help: "only the sockets and what is behind them"),
            Option(
                name: "conf", value: "DIR", help: "where the shipped configuration is (default: beside the program)"),
            Option(
                name: "also", value: "COMMAND", help: "keep this shell command running beside the service", many: true),
        ],
        summary: "starts everything from one directory, for development and small tests; Ctrl-C stops it"
    ) { invocation in
        try Up(invocation).run()
    }
}

/// `skystead up`: directories, keys, schema, sockets, processes, web server, and then it keeps them running.
///
/// The listening sockets are made here, once, and inherited by every process: a responder can be replaced without
/// a connection being refused. `kill -HUP` replaces the responders one by one.
struct Up {
    private let settings: Settings
    private let paths: Paths
    private let names: Names
    private let output: Output
    private let webServer: WebServer?
    private let conf: String
    private let also: [String]

    /// How long the first start may take until everything answers.
    static let greenDeadlineSeconds: UInt64 = 30
    /// How much longer than what it may finish a process has to end.
    static let stopMarginSeconds = 5
    /// Connections that wait while a responder restarts.
    static let backlog: Int32 = 1_024

    init(_ invocation: Invocation) throws {
        settings = try ToolSettings.load(asOwner: false)
        paths = Paths(settings)
        names = Names(settings)
        output = invocation.output
        webServer = invocation.has("no-web-server") ? nil : invocation.has("caddy") ? .caddy : .nginx
        also = invocation.values("also")
        conf = try Self.findConfiguration(invocation.value("conf"))
    }

    func run() throws -> Int32 {
        try paths.makeDirectories()
        try Files.makeDirectory(paths.run, mode: 0o755)
        try Files.makeDirectory(paths.logs, mode: 0o750)
        try UpLock.take(paths)
        try Files.write(settings.fileContents, to: ToolSettings.file(paths), mode: 0o600)
        try MigrateCommand.migrate(settings, paths, output, quiet: true)
        if case .off(let reason, let remedy?) = mail {
            output.problem("NO MAIL IS SENT: \(reason)", remedy: remedy)
        }
        let supervisor = try Supervisor(
            plans: try plans(), timetable: try timetable(), environment: environment(),
            notifyPath: "\(paths.run)/notify.sock",
            stopDeadlineSeconds: settings[Settings.drainSeconds] + Self.stopMarginSeconds, output: output)
        defer { supervisor.stopAll() }
        guard try becomeGreen(supervisor) else { return 0 }
        welcome()
        return try keepRunning(supervisor)
    }

    private func keepRunning(_ supervisor: Supervisor) throws -> Int32 {
        while true {
            switch try supervisor.step(milliseconds: 1_000) {
            case .nothing: continue
            case .reload:
                output.line("replacing the responders")
                try supervisor.rollOver()
                output.line("done")
            case .stop:
                output.line("\nstopping")
                return 0
            }
        }
    }

    /// Runs the checks until all are well. Returns false when the operator stops it meanwhile.
    private func becomeGreen(_ supervisor: Supervisor) throws -> Bool {
        let deadline = Clock.monotonicNanoseconds() &+ Self.greenDeadlineSeconds &* 1_000_000_000
        var findings: [(name: String, finding: Finding)] = []
        while Clock.monotonicNanoseconds() < deadline {
            if try supervisor.step(milliseconds: 20) == .stop { return false }
            guard supervisor.allAreReady else { continue }
            let checks = Checks(settings: settings, front: front)
            findings = checks.all.filter { !$0.isOptional && (webServer != nil || !$0.needsWebServer) }.map {
                ($0.name, $0.look())
            }
            if findings.allSatisfy({ $0.finding.verdict != .wrong }) { return true }
        }
        _ = Command.report(findings, quiet: false, to: output)
        throw ToolError(
            "not everything is well after \(Self.greenDeadlineSeconds) s", remedy: "the logs: \(paths.logs)")
    }

    // MARK: What runs

    private var front: Bytes { Bytes("http://127.0.0.1:\(settings[Settings.port])") }

    private func plans() throws -> [ChildPlan] {
        let programs = try Self.programDirectory()
        var plans = also.enumerated().map { index, command in
            ChildPlan(
                name: "'\(command)'", command: ["/bin/sh", "-c", "exec \(command)"],
                logPath: "\(paths.logs)/also-\(index + 1).log", notifies: false)
        }
        plans.append(
            ChildPlan(
                name: "skystead-fcgi xrpc", command: ["\(programs)/skystead-fcgi", "xrpc"],
                socket: try listen(paths.xrpcSocket), logPath: "\(paths.logs)/xrpc.log", notifies: true,
                rollsOver: true))
        plans.append(
            ChildPlan(
                name: "skystead-fcgi admin", command: ["\(programs)/skystead-fcgi", "admin"],
                socket: try listen(paths.adminSocket), logPath: "\(paths.logs)/admin.log", notifies: true,
                rollsOver: true))
        plans.append(
            ChildPlan(
                name: "skystead-worker stream", command: ["\(programs)/skystead-worker", "stream"],
                socket: try listen(paths.streamSocket), logPath: "\(paths.logs)/stream.log", notifies: true))
        if let webServer { plans.append(try plan(webServer)) }
        if case .on = mail {
            plans.append(
                ChildPlan(
                    name: "skystead-worker mail", command: ["\(programs)/skystead-worker", "mail"],
                    logPath: "\(paths.logs)/mail.log", notifies: true,
                    stopDeadlineSeconds: SMTPClient.deadlineMilliseconds / 1_000 + Self.stopMarginSeconds,
                    isNeeded: false))
        }
        if !settings[Settings.crawlers].isEmpty {
            plans.append(
                ChildPlan(
                    name: "skystead-worker notify-crawlers",
                    command: ["\(programs)/skystead-worker", "notify-crawlers"],
                    logPath: "\(paths.logs)/notify-crawlers.log", notifies: false, isNeeded: false))
        }
        return plans
    }

    private func timetable() throws -> Timetable {
        try Timetable(
            TimedPlan.all.filter { webServer != nil || !$0.needsWebServer }, programs: try Self.programDirectory(),
            logs: paths.logs, stamps: paths.run, output: output)
    }

    /// Whether mail goes out. Accounts, posts and the firehose do without, so that nothing about it ends the service.
    private enum Mail {
        case on
        /// With a remedy when that is not what the settings ask for.
        case off(reason: String, remedy: String?)
    }

    private var mail: Mail {
        do throws(SMTPError) {
            guard try Outbound.mail(settings) != nil else {
                return .off(reason: "\(Settings.smtpURL.key) is not set", remedy: nil)
            }
            return .on
        } catch {
            return .off(reason: "\(Settings.smtpURL.key): \(error)", remedy: MailTool.remedy(error))
        }
    }

    private func listen(_ path: String) throws -> Int32 {
        let descriptor = csystem_listen_unix(path, Self.backlog, 0o660)
        guard descriptor < 0 else { return descriptor }
        let error = SystemError("listen on \(path)")
        guard error.errno != ENAMETOOLONG else {
            throw ToolError(
                "\(path) is too long for a socket (107 bytes)", remedy: "set SKYSTEAD_RUN_DIR to a short path")
        }
        throw error
    }

    private func plan(_ webServer: WebServer) throws -> ChildPlan {
        guard Files.exists(webServer.program) else {
            throw ToolError("\(webServer.program) is not there", remedy: "apt-get install \(webServer.rawValue)")
        }
        let directory = "\(paths.run)/\(webServer.rawValue).conf"
        let values = WebServerValues(
            names: names, paths: paths, port: settings[Settings.port], workerUser: geteuid() == 0 ? "root" : nil)
        try webServer.writeConfiguration(from: conf, to: directory, values)
        return ChildPlan(
            name: webServer.rawValue, command: webServer.command(directory),
            // Caddy keeps certificates and its last configuration under these.
            environment: ["XDG_DATA_HOME": "\(paths.data)/caddy", "XDG_CONFIG_HOME": "\(paths.data)/caddy"],
            logPath: "\(paths.logs)/\(webServer.rawValue).log", notifies: false,
            stopSignal: webServer == .nginx ? SIGQUIT : SIGTERM)
    }

    /// The environment of the children: ours, with the paths made absolute. The responders ask no PATH.
    private func environment() -> [String: String] {
        var variables = Environment.ofProcess
        variables["SKYSTEAD_DATA_DIR"] = paths.data
        variables["SKYSTEAD_RUN_DIR"] = paths.run
        return variables
    }

    private func welcome() {
        let url = webServer == nil ? "(no web server)" : names.publicURL.description
        let database = settings[Settings.databaseURL] == nil ? "SQLite" : "PostgreSQL"
        output.line(output.painted("Skystead \(Version.text) is up.", .green))
        output.line("  service     \(url)")
        output.line("  firehose    \(url)\(Firehose.path)")
        if settings[Settings.adminPassword] != nil { output.line("  admin       \(url)/admin") }
        output.line("  state       \(paths.data) (\(database)); logs in \(paths.logs)")
        output.line("  identities  \(settings[Settings.plcURL])")
        if case .off(let reason, _) = mail {
            output.line("  mail        " + output.painted("none is sent", .yellow) + ": \(reason)")
            output.line("              codes are in `\(Self.ownCommand) mail queue --codes`")
        }
        output.line("The first account, in another terminal:")
        output.line("  \(Self.ownCommand) account create NAME.\(names.handleDomains[0]) --email YOU@EXAMPLE.COM")
        output.line("or with any client, and the code from `\(Self.ownCommand) invite`. Ctrl-C stops everything.")
    }

    // MARK: Where things are

    private static var ownCommand: String { CommandLine.arguments.first ?? "skystead" }

    /// The directory of this program, where its siblings are.
    private static func programDirectory() throws -> String {
        var buffer = [CChar](repeating: 0, count: 4_096)
        let count = readlink("/proc/self/exe", &buffer, buffer.count)
        guard count > 0, count < buffer.count else { throw SystemError("read /proc/self/exe") }
        let path = Bytes(buffer[..<count].map { UInt8(bitPattern: $0) })
        let slash = path.lastIndex(of: 0x2F) ?? 0
        return path.upTo(slash).description
    }

    private static func findConfiguration(_ given: String?) throws -> String {
        let programs = try programDirectory()
        let candidates = given.map { [$0] } ?? ["conf", "\(programs)/conf", "/usr/share/skystead/conf"]
        guard let found = candidates.first(where: { Files.exists("\($0)/nginx/skystead.conf") }) else {
            throw ToolError(
                "the shipped configuration is not in \(candidates.joined(separator: ", "))",
                remedy: "give it with --conf")
        }
        return Files.absolute(found)
    }
}
