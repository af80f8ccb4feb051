internal import Assembly
internal import Base
internal import Glibc

/// `skystead-worker <name>`.
enum WorkerProgram {
    /// EX_USAGE of sysexits(3).
    private static let usage: Int32 = 64

    private static let workers: [(name: String, run: @Sendable (Settings, Log) throws -> Void)] = [
        ("stream", { try StreamWorker.run($0, log: $1) }), ("collect", { try CollectWorker.run($0, log: $1) }),
        ("notify-crawlers", { try CrawlerWorker.run($0, log: $1) }), ("mail", { try MailWorker.run($0, log: $1) }),
        ("lexicons", { try LexiconWorker.run($0, log: $1) }),
    ]

    static func main(_ words: [String]) -> Int32 {
        guard words.count == 1, let worker = workers.first(where: { $0.name == words[0] }) else {
            let names = workers.map(\.name).joined(separator: " | ")
            Log.standardError.error("usage", ["expected": .text("skystead-worker \(names)")])
            return usage
        }
        return Processes.run { settings, log in
            try worker.run(settings, log)
            return 0
        }
    }
}
