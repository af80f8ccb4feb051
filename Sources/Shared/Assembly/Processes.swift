public import Base
internal import Glibc

/// What every process of the product does first: settings, log, memory protection; and how it says why it cannot start.
public enum Processes {
    /// Exit statuses of sysexits(3): the configuration is wrong; something that is needed cannot be had now.
    private static let badConfiguration: Int32 = 78
    private static let notNow: Int32 = 75

    /// Runs `body` with the settings and the log; its errors become one line and an exit status.
    public static func run(_ body: (Settings, Log) throws -> Int32) -> Int32 {
        ProcessHardening.returnLargeMemory()
        var log = Log.standardError
        var reports: ErrorReports?
        // What ends the process is reported too, and is worth a moment.
        defer { reports?.flush(milliseconds: ErrorReports.flushMilliseconds) }
        do {
            let settings = try Settings.ofProcess()
            try ProcessHardening.protectMemory()
            reports = try ErrorReports(settings)
            log = log.atLeast(Log.Level(settings: settings)).observed { [reports] error in
                Observability.errors.count(error.event)
                reports?.add(error)
            }
            return try body(settings, log)
        } catch let error as Settings.Invalid {
            for problem in error.problems { log.error("settings", ["problem": .text(problem)]) }
            return badConfiguration
        } catch let error as Keys.Missing {
            log.error("keys", ["problem": .text(error.description), "remedy": "skystead migrate, or restore them"])
            return badConfiguration
        } catch {
            log.error("start", ["cause": .text("\(error)"), "remedy": "skystead check"])
            return notNow
        }
    }
}

extension Log.Level {
    /// The level of SKYSTEAD_LOG_LEVEL.
    init(settings: Settings) {
        self = Log.Level(rawValue: settings[Settings.logLevel].description) ?? .info
    }
}
