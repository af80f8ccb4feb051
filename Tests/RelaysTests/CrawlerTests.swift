import TestSupport
import Testing

@testable import Base
@testable import Relays
@testable import Storage

/// Crawlers that answer what the test says, a clock that it moves, and a count of events.
private final class World: Sendable {
    static let relay: Bytes = "https://relay.test"
    static let other: Bytes = "https://other.test"
    static let start: Int64 = 1_800_000_000

    let database: TestDatabase
    let now = Guarded(Timestamp(seconds: World.start))
    let newest = Guarded(0)
    let answers = Guarded<[Bytes: CrawlAnswer]>([:])
    let asked = Guarded<[String]>([])

    init(_ engine: Engine, urls: [Bytes] = [World.relay]) throws {
        database = try engine.migrated()
        try CrawlerStore(database: database).adopt(urls)
    }

    /// As each process has one of its own.
    var notifier: CrawlerNotifier {
        CrawlerNotifier(
            store: CrawlerStore(database: database), clock: Clock { [now] in now.withLock { $0 } }, log: .silent,
            newest: { [newest] in newest.withLock { $0 } },
            ask: { [self] url in
                let second = now.withLock { $0.seconds } - Self.start
                asked.withLock { $0.append("\(url) at \(second)") }
                return answers.withLock { $0[url] } ?? .accepted(status: 200)
            })
    }

    func pass(seconds: Int64) { now.withLock { $0 = $0.adding(seconds: seconds) } }
    func happen(_ count: Int = 1) { newest.withLock { $0 += count } }
    /// What was asked since the last call, as seconds since the start.
    func taken() -> [String] {
        asked.withLock { asked in
            defer { asked = [] }
            return asked
        }
    }
    func row(_ url: Bytes = World.relay) throws -> Crawler {
        try #require(try CrawlerStore(database: database).list().first { $0.url == url })
    }
}

@Suite struct CrawlerTests {
    @Test(arguments: Engine.all) func nothingIsToldWhenNothingHappened(_ engine: Engine) throws {
        let world = try World(engine)
        try world.notifier.tellDue()
        world.pass(seconds: 100_000)
        try world.notifier.tellDue()
        #expect(world.taken() == [])
        #expect(try world.row().askedAt == nil)
    }

    @Test(arguments: Engine.all) func aBurstIsToldAtItsBeginningAndOnceMoreAfterTheInterval(_ engine: Engine) throws {
        let world = try World(engine)
        world.happen()
        try world.notifier.tellDue()
        #expect(world.taken() == ["https://relay.test at 0"])
        // Second by second, as the worker looks: nothing more until the interval is over.
        for _ in 1..<CrawlTiming.intervalSeconds {
            world.pass(seconds: 1)
            world.happen()
            try world.notifier.tellDue()
        }
        #expect(world.taken() == [])
        #expect(try world.notifier.overview().map(\.isPending) == [true])
        // The trailing call, though nothing happens in this second.
        world.pass(seconds: 1)
        try world.notifier.tellDue()
        #expect(world.taken() == ["https://relay.test at 1200"])
        #expect(try world.notifier.overview().map(\.isPending) == [false])
        world.pass(seconds: 100_000)
        try world.notifier.tellDue()
        #expect(world.taken() == [])
        let row = try world.row()
        #expect(row.toldSeq == 1_200 && row.status == 200 && row.error == nil)
        #expect(row.acceptedAt == Timestamp(seconds: World.start + 1_200))
    }

    @Test(arguments: Engine.all) func whatHappensDuringTheRequestIsToldByTheNext(_ engine: Engine) throws {
        let world = try World(engine)
        world.happen()
        let notifier = CrawlerNotifier(
            store: CrawlerStore(database: world.database), clock: Clock { world.now.withLock { $0 } }, log: .silent,
            newest: { world.newest.withLock { $0 } },
            ask: { _ in
                world.happen()
                return .accepted(status: 200)
            })
        try notifier.tellDue()
        #expect(try world.row().toldSeq == 1)
        #expect(try notifier.overview().map(\.isPending) == [true])
    }

    struct Failing: Sendable, CustomTestStringConvertible {
        let name: String
        let answer: CrawlAnswer
        /// When it is asked again and again, in seconds from the first time.
        let times: [Int64]
        var testDescription: String { name }
    }

    static let failing = [
        Failing(
            name: "nobody answers", answer: .unreachable(error: "timeout"), times: [0, 60, 180, 420, 900, 1_860, 3_780]),
        Failing(
            name: "banned", answer: .refused(status: 400, error: "HostBanned"), times: [0, 1_200, 3_600, 8_400, 15_600]),
        Failing(
            name: "out of order", answer: .refused(status: 502, error: "HTTP 502"),
            times: [0, 1_200, 3_600, 8_400, 15_600]),
    ]

    @Test(arguments: Engine.all, failing) func failuresAreTriedAgainLaterAndLater(
        _ engine: Engine, _ row: Failing
    ) throws {
        let world = try World(engine)
        world.answers.withLock { $0[World.relay] = row.answer }
        world.happen()
        var passed: Int64 = 0
        let end = try #require(row.times.last)
        while passed <= end {
            try world.notifier.tellDue()
            world.pass(seconds: 20)
            passed += 20
        }
        #expect(world.taken() == row.times.map { "https://relay.test at \($0)" })
        #expect(try world.row().failures == row.times.count)
        #expect(try world.row().error != nil)
        // One that is accepted begins anew.
        world.answers.withLock { $0 = [:] }
        world.pass(seconds: CrawlTiming.backOffSecondsMax)
        try world.notifier.tellDue()
        #expect(world.taken().count == 1)
        let after = try world.row()
        #expect(after.failures == 0 && after.error == nil && after.status == 200)
    }

    @Test(arguments: Engine.all) func oneDeadCrawlerHoldsUpNoOther(_ engine: Engine) throws {
        let world = try World(engine, urls: [World.other, World.relay])
        world.answers.withLock { $0[World.other] = .unreachable(error: "timeout") }
        world.happen()
        let answers = try world.notifier.tellDue()
        #expect(answers.map(\.answer) == [.unreachable(error: "timeout"), .accepted(status: 200)])
        #expect(try world.notifier.overview().map(\.isPending) == [true, false])
    }

    @Test(arguments: Engine.all) func twoProcessesAskOnce(_ engine: Engine) throws {
        let world = try World(engine)
        world.happen()
        let second = world.notifier
        let first = CrawlerNotifier(
            store: CrawlerStore(database: world.database), clock: Clock { world.now.withLock { $0 } }, log: .silent,
            newest: { 1 },
            ask: { url in
                // While this one waits for its answer, the other looks.
                _ = try? second.tellDue()
                world.asked.withLock { $0.append("first") }
                return .accepted(status: 200)
            })
        try first.tellDue()
        #expect(world.taken() == ["first"])
    }

    @Test(arguments: Engine.all) func theOperatorMayAskWithoutNews(_ engine: Engine) throws {
        let world = try World(engine)
        try world.notifier.store.request(World.relay)
        try world.notifier.tellDue()
        #expect(world.taken() == ["https://relay.test at 0"])
        #expect(try world.row().isRequested == false)
        world.pass(seconds: 5)
        #expect(try world.notifier.tell(World.relay, regardlessOfInterval: false) == nil)
        #expect(try world.notifier.tell(World.relay, regardlessOfInterval: true) == .accepted(status: 200))
        #expect(world.taken() == ["https://relay.test at 5"])
        // Asked for within the interval: it comes when that is over.
        try world.notifier.store.request(World.relay)
        try world.notifier.tellDue()
        #expect(world.taken() == [])
        world.pass(seconds: CrawlTiming.intervalSeconds)
        try world.notifier.tellDue()
        #expect(world.taken() == ["https://relay.test at 1205"])
    }

    @Test(arguments: Engine.all) func aClockThatWasAheadSilencesNobody(_ engine: Engine) throws {
        let world = try World(engine)
        world.pass(seconds: 1_000_000)
        world.happen()
        try world.notifier.tellDue()
        world.pass(seconds: -1_000_000)
        world.happen()
        try world.notifier.tellDue()
        #expect(world.taken() == ["https://relay.test at 1000000", "https://relay.test at 0"])
    }

    @Test(arguments: Engine.all) func theRowsFollowTheSettings(_ engine: Engine) throws {
        let world = try World(engine)
        world.happen()
        try world.notifier.tellDue()
        let store = CrawlerStore(database: world.database)
        try store.adopt([World.other, World.relay])
        #expect(try store.list().map(\.url) == [World.other, World.relay])
        #expect(try world.row().toldSeq == 1, "what is known of the other stays")
        try store.adopt([World.other])
        #expect(try store.list().map(\.url) == [World.other])
        #expect(try world.notifier.tell(World.relay, regardlessOfInterval: true) == nil, "no such crawler any more")
    }
}
