internal import Assembly
internal import Base
internal import Relays
internal import Repos

extension Command {
    static let sequence = Command(
        "sequence",
        summary: "prints the number of the newest event, and what each relay of SKYSTEAD_CRAWLERS has seen"
    ) { invocation in
        let settings = try ToolSettings.load()
        let events = EventStore(database: try CrawlerTool.database(settings), clock: .system)
        let newest = try events.newest()
        let output = invocation.output
        output.line("newest  \(newest)")
        output.line("oldest  \(try events.oldest().map(String.init) ?? "none is kept")")
        var code: Int32 = 0
        for (url, seen) in SequenceTool.relays(settings) {
            switch seen {
            case .success(let seq) where seq > newest:
                output.line("\(url)  has seen \(seq): it would be told FutureCursor")
                output.line("  → skystead restore-finish")
                code = 1
            case .success(let seq): output.line("\(url)  has seen \(seq)")
            case .failure(let silence): output.line("\(url)  \(silence)")
            }
        }
        return code
    }

    static let sequenceRaise = Command(
        "sequence raise",
        options: [Option(name: "to", value: "N", help: "not by the clock and the relays, but to this number")],
        summary: "lets the next event's number jump above all that relays can have seen; restore-finish does it too"
    ) { invocation in
        var wanted: Int?
        if let text = invocation.value("to") {
            guard let number = Bytes(text).decimal else {
                throw ToolError.usage("--to needs a whole number", command: "sequence raise")
            }
            wanted = number
        }
        let settings = try ToolSettings.load()
        let events = EventStore(database: try CrawlerTool.database(settings), clock: .system)
        try SequenceTool.raise(events, to: wanted, settings, invocation.output)
        return 0
    }

    static let restoreFinish = Command(
        "restore-finish",
        summary: "after a restored backup: lets event numbers jump, and tells relays where every account stands"
    ) { invocation in
        let service = try AccountTool.service()
        let output = invocation.output
        try SequenceTool.raise(service.events, to: nil, service.settings, output)
        var done = 0
        var active = 0
        var cursor: Int? = 0
        while let from = cursor {
            let step = try service.repos.announceRestored(after: from)
            done += step.count
            active += step.activeCount
            cursor = step.next
            output.line("\(done) accounts announced, \(active) of them with #sync")
        }
        let store = CrawlerStore(database: service.database)
        let urls = service.settings[Settings.crawlers]
        try store.adopt(urls)
        for url in urls { try store.request(url) }
        output.line(
            urls.isEmpty
                ? "no crawlers are configured: nobody is told to come"
                : "skystead-worker notify-crawlers tells the relays")
        return 0
    }
}

/// What the commands about event numbers share.
enum SequenceTool {
    /// Why it is not known what a relay has seen.
    struct Silence: Error, CustomStringConvertible {
        let description: String
    }

    /// The last event that each relay has taken.
    static func relays(_ settings: Settings) -> [(url: Bytes, seen: Result<Int, Silence>)] {
        let client = Outbound.client(settings)
        let host = Names(settings).host
        return settings[Settings.crawlers].map { url in
            do throws(Relay.StatusError) {
                guard let seq = try Relay(url: url, client: client).status(of: host).seq else {
                    return (url, .failure(Silence(description: "does not say what it has seen")))
                }
                return (url, .success(seq))
            } catch {
                return (url, .failure(Silence(description: words(error))))
            }
        }
    }

    static func words(_ error: Relay.StatusError) -> String {
        switch error {
        case .unknownHost: "does not know this server yet"
        case .refused(let status): "does not say what it has seen (\(status))"
        case .unreachable(let cause): "did not answer: \(cause)"
        case .malformed: "answers nonsense"
        }
    }

    /// Raises the counter to `wanted`, or above the clock and the relays.
    static func raise(_ events: EventStore, to wanted: Int?, _ settings: Settings, _ output: Output) throws {
        var seen: [Int] = []
        for (url, answer) in relays(settings) {
            switch answer {
            case .success(let seq) where seq > EventSequence.believedMax:
                output.line("\(url)  says that it has seen \(seq), which is not believed")
            case .success(let seq):
                output.line("\(url)  has seen \(seq)")
                seen.append(seq)
            case .failure(let silence): output.line("\(url)  \(silence)")
            }
        }
        let before = try events.newest()
        let target = wanted ?? EventSequence.target(now: Clock.system.now(), seenByRelays: seen)
        do {
            let after = try events.raise(to: target)
            output.line(
                after == before
                    ? "the newest number is \(before) already" : "event numbers jump from \(before) to \(after)")
        } catch EventSequenceError.tooHigh(let max) {
            throw ToolError(
                "\(target) is too high: event numbers end at 2^53 and must have room left", remedy: "at most \(max)")
        }
    }
}
