import TestSupport
import Testing

@testable import ATProto
@testable import Base
@testable import Crypto
@testable import Repos
@testable import Storage

/// E006 and R19: whatever the clock does, each commit's revision is later than the one before, and its event too.
@Suite struct ClockTests {
    struct Row: Sendable, CustomTestStringConvertible {
        let testDescription: String
        /// Seconds from the beginning, commit by commit.
        let moments: [Int64]

        init(_ name: String, _ moments: [Int64]) {
            testDescription = name
            self.moments = moments
        }
    }

    static let year: Int64 = 31_557_600

    static let rows: [Row] = [
        Row("a year back", [0, -year, -year, -year + 1]), Row("it stands still", [0, 0, 0, 0, 0]),
        Row("a second back, again and again", [0, -1, -2, -3, -4]),
        Row("a year ahead, and home again", [0, year, 1, 2]),
        Row("ten years ahead, then ten back", [0, 10 * year, -10 * year, 0]),
        Row("before 1970", [0, -2_000_000_000, -2_000_000_001]),
        Row("2038", [2_147_483_647 - 1_800_000_000, 2_147_483_648 - 1_800_000_000]),
    ]

    @Test(arguments: rows, Engine.all) func commits(_ row: Row, _ engine: Engine) throws {
        let home = try Home(engine)
        let moment = Guarded(Timestamp(seconds: 1_800_000_000))
        let start = moment.withLock { $0 }
        let clock = Clock { moment.withLock { $0 } }
        // Two processes, as each has a maker of revisions of its own.
        let stores = (1...2).map { number in
            RepoStore(
                database: home.database, events: EventStore(database: home.database, clock: clock), cache: NodeCache(),
                tids: TIDMaker(clockID: number), clock: clock, keys: { [key = home.key] _, _ in key })
        }
        _ = try home.database.write { try stores[0].create(Home.alice, key: home.key, in: $0) }
        let first = try home.events.newest()
        var last = try stores[0].state(of: Home.alice).rev
        for (index, seconds) in row.moments.enumerated() {
            moment.withLock { $0 = start.adding(seconds: seconds) }
            try stores[index % 2].apply([put("com.example.thing/\(index)", "x")], to: Home.alice)
            let rev = try stores[0].state(of: Home.alice).rev
            #expect(rev > last, "commit \(index)")
            last = rev
        }
        let events = try home.events.events(after: first, limit: 100, sizeMax: 1 << 20)
        #expect(events.count == row.moments.count)
        var revs: [TID] = []
        for event in events { revs.append(try #require(try Frame(event).payload["rev"]?.text.flatMap { TID($0) })) }
        #expect(revs == revs.sorted() && Set(revs).count == revs.count && revs.last == last)
        let report = try stores[0].verify(Home.alice, key: home.key.publicKey)
        #expect(report.problems == [] && report.records == row.moments.count)
    }
}
