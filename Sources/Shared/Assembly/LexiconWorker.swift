public import Base
internal import Identity
internal import Lexicons

/// `skystead-worker lexicons`: asks the network for the lexicons that records want, once, and ends. A timer runs it.
///
/// Two at once do no harm: each asks for what is due, and keeps what it can prove.
public enum LexiconWorker {
    /// Needs no keys. Throws what the database throws; a lexicon that can't be had is a line in the log.
    public static func run(_ settings: Settings, log: Log) throws {
        let clock = Clock.system
        let database = try Databases.openForService(settings, Paths(settings), log: log)
        let network = Service.network(settings)
        let resolver = Resolver(
            database: database, directory: PLCDirectory(url: settings[Settings.plcURL], network: network),
            network: network, clock: clock)
        let report = try LexiconParts.updates(settings, database, resolver, clock).run()
        for failure in report.failed { log.warning("lexicons.failed", ["cause": .text("\(failure)")]) }
        log.info(
            "lexicons.done", ["resolved": .integer(report.resolved), "failed": .integer(report.failed.count)])
    }
}
