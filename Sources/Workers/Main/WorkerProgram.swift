internal import Assembly
internal import Base
internal import Glibc

/// `skystead-worker <name>`.
enum WorkerProgram {
    /// EX_USAGE of sysexits(3).
    private static let usage: Int32 = 64

    static func main(_ words: [String]) -> Int32 {
        switch words {
        case ["stream"]:
            return Processes.run { settings, log in
                try StreamWorker.run(settings, log: log)
                return 0
            }
        case ["collect"]:
            return Processes.run { settings, log in
                try CollectWorker.run(settings, log: log)
                return 0
            }
        case ["notify-crawlers"]:
            return Processes.run { settings, log in
                try CrawlerWorker.run(settings, log: log)
                return 0
            }
        case ["mail"]:
            return Processes.run { settings, log in
                try MailWorker.run(settings, log: log)
                return 0
            }
        case ["lexicons"]:
            return Processes.run { settings, log in
                try LexiconWorker.run(settings, log: log)
                return 0
            }
        default:
            Log.standardError.error(
                "usage", ["expected": "skystead-worker stream | collect | notify-crawlers | mail | lexicons"])
            return usage
        }
    }
}
