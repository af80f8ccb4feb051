import ATProto
import Base
import Storage
import TestSupport
import Testing

@testable import Lexicons

/// A database, a clock and a network, and what checks records with them.
struct World {
    let test: TestDatabase
    let authority = Authority()
    let moment: Guarded<Timestamp>
    let store: LexiconStore
    let updates: LexiconUpdates
    let clock: Clock

    init(_ engine: Engine) throws {
        test = try engine.migrated()
        let moment = Guarded(Timestamp(seconds: 1_750_000_000))
        self.moment = moment
        clock = Clock { moment.withLock { $0 } }
        store = LexiconStore(database: test)
        updates = LexiconUpdates(
            store: store, resolver: LexiconResolver(network: authority.network), clock: clock)
    }

    func catalog(given: [Lexicon] = [], policy: [Bytes] = []) throws -> LexiconCatalog {
        LexiconCatalog(store: store, given: given, policy: try LexiconPolicy(policy), clock: clock)
    }

    func advance(_ seconds: Int64) { moment.withLock { $0 = $0.adding(seconds: seconds) } }

    func rows(_ condition: String = "1 = 1") throws -> Int {
        try test.read { reader in
            try reader.first(SQL(stringLiteral: "SELECT count(*) FROM lexicon WHERE \(condition)")) {
                try $0.integer(0)
            } ?? -1
        }
    }
}

func path(_ collection: String, _ key: String = "3lrlab2eoy22a") -> RepoPath {
    RepoPath(nsid(collection), RecordKey(key)!)
}

/// What the catalog says of records, as it learns.
@Suite struct CatalogTests {
    static let event = "com.example.cal.event"

    static func check(
        _ catalog: LexiconCatalog, _ json: String, _ path: RepoPath = path(event), asked: Bool? = nil
    ) throws -> LexiconCatalog.Outcome {
        try catalog.check(try JSON.parse(Bytes(json)), at: path, asked: asked)
    }

    @Test(arguments: Engine.all) func aWriteAsksNobodyAndNotes(_ engine: Engine) throws {
        let world = try World(engine)
        try world.authority.publish([Self.event: recordType(Self.event, #""n":{"type":"integer"}"#)])
        let catalog = try world.catalog()
        #expect(try Self.check(catalog, #"{"n":"x"}"#) == .unknown(Bytes(Self.event)))
        #expect(try Self.check(catalog, #"{"n":"x"}"#, asked: false) == .skipped)
        #expect(throws: UnknownLexicon(name: Bytes(Self.event))) { try Self.check(catalog, "{}", asked: true) }
        #expect(world.authority.asked == [])
        #expect(try world.store.due(now: world.clock.now(), limit: 10) == [nsid(Self.event)])
        // The worker comes.
        #expect(try world.updates.run() == .init(resolved: 1))
        #expect(try Self.check(catalog, #"{"n":1}"#) == .valid)
        #expect(try Self.check(catalog, #"{"n":1}"#, asked: true) == .valid)
        #expect(try Self.check(catalog, #"{"n":"x"}"#, asked: false) == .skipped)
        let wrong = RecordInvalid(collection: Bytes(Self.event), problem: "Record/n must be an integer")
        #expect(throws: wrong) { try Self.check(catalog, #"{"n":"x"}"#) }
        // Nothing is due, and nothing asked for, until a day has passed.
        #expect(try world.updates.run() == .init())
    }

    /// A process that has made a schema ready sees what another process has fetched.
    @Test(arguments: Engine.all) func aNewDocumentCounts(_ engine: Engine) throws {
        let world = try World(engine)
        try world.authority.publish([Self.event: recordType(Self.event, #""n":{"type":"integer"}"#)])
        let (one, other) = (try world.catalog(), try world.catalog())
        _ = try Self.check(one, "{}")
        _ = try world.updates.run()
        for catalog in [one, other] { #expect(try Self.check(catalog, #"{"n":5}"#) == .valid) }
        try world.authority.publish(
            [Self.event: recordType(Self.event, #""n":{"type":"integer","maximum":4}"#)], rev: 2)
        #expect(try Self.check(one, #"{"n":5}"#) == .valid)
        world.advance(LexiconStore.staleSeconds)
        #expect(try world.updates.run() == .init(resolved: 1))
        for catalog in [one, other] { #expect(throws: RecordInvalid.self) { try Self.check(catalog, #"{"n":5}"#) } }
    }

    @Test(arguments: Engine.all) func anOldDocumentOutlivesItsAuthorityForAWhile(_ engine: Engine) throws {
        let world = try World(engine)
        try world.authority.publish([Self.event: recordType(Self.event, #""n":{"type":"integer"}"#)])
        let catalog = try world.catalog()
        _ = try Self.check(catalog, "{}")
        _ = try world.updates.run()
        world.authority.set { $0.isDown = true }
        world.advance(LexiconStore.ageMaxSeconds - 1)
        #expect(try world.updates.run() == .init(failed: [.unreachable(nsid(Self.event))]))
        #expect(throws: RecordInvalid.self) { try Self.check(catalog, #"{"n":"x"}"#) }
        #expect(try world.updates.published(nsid(Self.event)).nsid == nsid(Self.event))
        world.advance(1)
        #expect(try Self.check(catalog, #"{"n":"x"}"#) == .unknown(Bytes(Self.event)))
        #expect(throws: LexiconError.unreachable(nsid(Self.event))) { try world.updates.published(nsid(Self.event)) }
        #expect(try world.store.trim(now: world.clock.now()) == 1)
    }

    @Test(arguments: Engine.all) func anEarlierRevisionIsRefused(_ engine: Engine) throws {
        let world = try World(engine)
        try world.authority.publish([Self.event: recordType(Self.event, #""n":{"type":"integer"}"#)], rev: 5)
        _ = try Self.check(try world.catalog(), "{}")
        _ = try world.updates.run()
        let first = try world.updates.published(nsid(Self.event))
        try world.authority.publish([Self.event: recordType(Self.event)], rev: 4)
        world.advance(LexiconStore.staleSeconds)
        #expect(try world.updates.run() == .init(failed: [.rolledBack(nsid(Self.event))]))
        #expect(try world.store.find(nsid(Self.event))?.published == first)
    }

    // MARK: References

    /// A record type brings along what it refers to, over several documents, and what is built in is not asked for.
    @Test(arguments: Engine.all) func referencesAreFollowed(_ engine: Engine) throws {
        let world = try World(engine)
        let place =
            #"{"lexicon":1,"id":"com.example.geo.defs","defs":{"place":{"type":"object","required":["at"],"properties":{"at":{"type":"ref","ref":"com.example.map.defs#point"}}}}}"#
        let point =
            #"{"lexicon":1,"id":"com.example.map.defs","defs":{"point":{"type":"object","properties":{"x":{"type":"integer"}}}}}"#
        try world.authority.publish([
            Self.event: recordType(
                Self.event,
                #""place":{"type":"ref","ref":"com.example.geo.defs#place"},"post":{"type":"ref","ref":"com.atproto.repo.strongRef"}"#
            ),
            "com.example.geo.defs": place, "com.example.map.defs": point,
        ])
        let catalog = try world.catalog()
        _ = try Self.check(catalog, "{}")
        #expect(try world.updates.run() == .init(resolved: 3))
        #expect(try Self.check(catalog, #"{"place":{"at":{"x":1}}}"#) == .valid)
        let wrong = RecordInvalid(collection: Bytes(Self.event), problem: "Record/place/at/x must be an integer")
        #expect(throws: wrong) { try Self.check(catalog, #"{"place":{"at":{"x":"1"}}}"#) }
        #expect(throws: RecordInvalid.self) { try Self.check(catalog, #"{"post":{"uri":"x"}}"#) }
        #expect(!world.authority.asked.contains { $0.contains("atproto.com") })
    }

    /// Until the reference is there a record that needs it is neither right nor wrong.
    @Test(arguments: Engine.all) func aMissingReferenceIsUnknown(_ engine: Engine) throws {
        let world = try World(engine)
        let given = try Lexicon(
            recordType(Self.event, ##""a":{"type":"ref","ref":"com.example.geo.defs#place"},"n":{"type":"integer"}"##))
        let catalog = try world.catalog(given: [given])
        #expect(try Self.check(catalog, #"{"n":1}"#, asked: true) == .valid)
        #expect(try Self.check(catalog, #"{"a":1}"#) == .unknown("com.example.geo.defs#place"))
        #expect(throws: UnknownLexicon(name: "com.example.geo.defs#place")) {
            try Self.check(catalog, #"{"a":1}"#, asked: true)
        }
        #expect(throws: RecordInvalid.self) { try Self.check(catalog, #"{"a":1,"n":"x"}"#) }
        // Only the reference is wanted: the type itself is the operator's.
        #expect(try world.store.due(now: world.clock.now(), limit: 9) == [nsid("com.example.geo.defs")])
    }

    /// Each document names two more, without end: what one record type may bring along is bounded.
    @Test(arguments: Engine.all) func aTreeWithoutEndEnds(_ engine: Engine) throws {
        let world = try World(engine)
        func name(_ number: Int) -> String { "com.example.deep\(number).thing" }
        var documents: [String: String] = [:]
        for number in 1...200 {
            documents[name(number)] = recordType(
                name(number),
                (2 * number...2 * number + 1).map { "\"p\($0)\":{\"type\":\"ref\",\"ref\":\"\(name($0))\"}" }
                    .joined(separator: ","))
        }
        try world.authority.publish(documents)
        let catalog = try world.catalog()
        _ = try Self.check(catalog, "{}", path(name(1)))
        let report = try world.updates.run()
        #expect(report.resolved == LexiconStore.companionsMax + 1)
        #expect(try world.rows() == LexiconStore.companionsMax + 1)
        #expect(try Self.check(catalog, "{}", path(name(1))) == .valid)
    }

    @Test(arguments: Engine.all) func aLexiconThatNamesItself(_ engine: Engine) throws {
        let world = try World(engine)
        try world.authority.publish([
            Self.event: recordType(
                Self.event, #""next":{"type":"ref","ref":"com.example.cal.event"},"n":{"type":"integer"}"#)
        ])
        let catalog = try world.catalog()
        _ = try Self.check(catalog, "{}")
        #expect(try world.updates.run() == .init(resolved: 1))
        #expect(try Self.check(catalog, #"{"next":{"next":{"n":1}}}"#) == .valid)
        #expect(throws: RecordInvalid.self) { try Self.check(catalog, #"{"next":{"next":{"n":"x"}}}"#) }
    }

    // MARK: What nobody has

    @Test(arguments: Engine.all) func whatNobodyHasIsAskedForLessAndLess(_ engine: Engine) throws {
        let world = try World(engine)
        let catalog = try world.catalog()
        _ = try Self.check(catalog, "{}")
        var times: [Int64] = []
        let start = world.clock.now()
        for _ in 0..<8 {
            #expect(try world.updates.run() == .init(failed: [.notFound(nsid(Self.event))]))
            while try world.store.due(now: world.clock.now(), limit: 1).isEmpty { world.advance(900) }
            times.append(world.clock.now().seconds - start.seconds)
        }
        #expect(times.prefix(4) == [900, 2_700, 6_300, 13_500])
        #expect(zip(times, times.dropFirst()).allSatisfy { $1 - $0 <= LexiconStore.staleSeconds })
        world.advance(LexiconStore.forgetSeconds)
        _ = try world.updates.run()
        #expect(try world.rows() == 0)
        // Who needs it again notes it again.
        _ = try Self.check(catalog, "{}")
        #expect(try world.rows() == 1)
    }

    @Test(arguments: Engine.all) func theTableIsBounded(_ engine: Engine) throws {
        let world = try World(engine)
        let now = world.clock.now()
        for number in 0..<LexiconStore.countMax / 64 {
            let wanted = (0..<64).map { nsid("com.example.flood\(number).n\($0)") }
            try world.store.note(wanted, for: nsid("com.example.flood\(number).n0"), now: now)
        }
        #expect(try world.rows() == LexiconStore.countMax)
        // Full of what was never asked for: one more has no place.
        try world.store.note([nsid(Self.event)], for: nsid(Self.event), now: now)
        #expect(try world.rows("nsid = '\(Self.event)'") == 0)
        // Once one was asked for in vain, it gives way.
        try world.store.saveFailure(nsid("com.example.flood3.n3"), now: now)
        try world.store.note([nsid(Self.event)], for: nsid(Self.event), now: now)
        #expect(try world.rows("nsid = '\(Self.event)'") == 1)
        #expect(try world.rows() == LexiconStore.countMax)
    }

    /// What strangers ask for is kept, up to a share of the table, and brings nothing along.
    @Test(arguments: Engine.all) func strangersHaveAShare(_ engine: Engine) throws {
        let world = try World(engine)
        try world.authority.publish([
            Self.event: recordType(Self.event, #""a":{"type":"ref","ref":"com.example.geo.defs#place"}"#)
        ])
        _ = try world.updates.published(nsid(Self.event))
        #expect(try world.rows() == 1)
        world.authority.set { $0.isDown = true }
        #expect(try world.updates.published(nsid(Self.event)).nsid == nsid(Self.event))
        world.authority.set { $0.isDown = false }
        world.advance(LexiconStore.staleSeconds)
        #expect(try world.updates.run() == .init(resolved: 1))
        #expect(try world.rows() == 1)
        for number in 0..<LexiconStore.strangersMax / 64 {
            let wanted = (0..<64).map { nsid("com.example.flood\(number).n\($0)") }
            try world.store.note(wanted, for: wanted[0], now: world.clock.now())
        }
        try world.authority.publish(["com.example.cal.other": recordType("com.example.cal.other")])
        #expect(try world.updates.published(nsid("com.example.cal.other")).nsid == nsid("com.example.cal.other"))
        #expect(try world.rows("nsid = 'com.example.cal.other'") == 0)
    }

    // MARK: Sources and policies

    @Test(arguments: Engine.all) func theOperatorsComeBeforeTheNetworks(_ engine: Engine) throws {
        let world = try World(engine)
        try world.authority.publish([Self.event: recordType(Self.event, #""n":{"type":"string"}"#)])
        let given = try Lexicon(recordType(Self.event, #""n":{"type":"integer"}"#))
        let post = try Lexicon(recordType("app.bsky.feed.post"))
        let catalog = try world.catalog(given: [given, post])
        #expect(try Self.check(catalog, #"{"n":1}"#) == .valid)
        #expect(try world.rows() == 0)
        // What is built in is not replaced.
        #expect(throws: RecordInvalid.self) { try Self.check(catalog, "{}", path("app.bsky.feed.post")) }
    }

    /// A lexicon that is there and is no record's makes its name no record type, and there is nothing to ask for.
    @Test(arguments: Engine.all) func aQueryIsNoRecordType(_ engine: Engine) throws {
        let world = try World(engine)
        let query = try Lexicon(#"{"lexicon":1,"id":"com.example.cal.event","defs":{"main":{"type":"query"}}}"#)
        #expect(try Self.check(try world.catalog(given: [query]), "{}") == .unknown(Bytes(Self.event)))
        #expect(try world.rows() == 0)
    }

    struct Key: Sendable, CustomTestStringConvertible {
        let rule: String
        let key: String
        let problem: String?
        var testDescription: String { "\(rule) \(key)" }
    }

    static let keys: [Key] = [
        Key(rule: "tid", key: "3lrlab2eoy22a", problem: nil),
        Key(rule: "tid", key: "self", problem: "Record key must be a valid TID"),
        Key(rule: "nsid", key: "a.b.c", problem: nil),
        Key(rule: "nsid", key: "abc", problem: "Record key must be a valid nsid"),
        Key(rule: "literal:self", key: "self", problem: nil),
        Key(rule: "literal:self", key: "Self", problem: "Record key must be \"self\""),
        Key(rule: "any", key: "~:._-", problem: nil),
    ]

    @Test(arguments: keys) func keyRules(_ row: Key) throws {
        let world = try World(.sqlite)
        let catalog = try world.catalog(given: [try Lexicon(recordType(Self.event, key: row.rule))])
        var problem: String?
        do { _ = try Self.check(catalog, "{}", path(Self.event, row.key)) } catch let error as RecordInvalid {
            problem = error.problem
        }
        #expect(problem == row.problem)
        #expect(try catalog.onlyKey(of: nsid(Self.event))?.bytes == (row.rule == "literal:self" ? "self" : nil))
        #expect(try Self.check(catalog, "{}", path(Self.event, row.key), asked: false) == .skipped)
    }

    enum Answer: Sendable, Equatable { case valid, unknown, skipped, invalid, refused }

    struct Policy: Sendable, CustomTestStringConvertible {
        let rules: [Bytes]
        /// For `validate` absent, true, false: a right record, a wrong one, one of an unknown type.
        let answers: [[Answer]]
        var testDescription: String { rules.map(\.description).joined(separator: ",") }
    }

    static let policies: [Policy] = [
        Policy(
            rules: [],
            answers: [
                [.valid, .invalid, .unknown], [.valid, .invalid, .refused], [.skipped, .skipped, .skipped],
            ]),
        Policy(
            rules: ["com.example=off"],
            answers: [
                [.unknown, .unknown, .unknown], [.refused, .refused, .refused], [.skipped, .skipped, .skipped],
            ]),
        Policy(
            rules: ["*=require"],
            answers: [
                [.valid, .invalid, .refused], [.valid, .invalid, .refused], [.valid, .invalid, .refused],
            ]),
        Policy(
            rules: ["*=require", "com.example=optimistic"],
            answers: [
                [.valid, .invalid, .unknown], [.valid, .invalid, .refused], [.skipped, .skipped, .skipped],
            ]),
    ]

    @Test(arguments: policies) func policy(_ row: Policy) throws {
        let world = try World(.sqlite)
        let given = try Lexicon(recordType(Self.event, #""n":{"type":"integer"}"#))
        let catalog = try world.catalog(given: [given], policy: row.rules)
        func answer(_ json: String, _ collection: String, _ asked: Bool?) throws -> Answer {
            do {
                switch try Self.check(catalog, json, path(collection), asked: asked) {
                case .valid: return .valid
                case .unknown: return .unknown
                case .skipped: return .skipped
                }
            } catch is RecordInvalid {
                return .invalid
            } catch is UnknownLexicon {
                return .refused
            }
        }
        for (asked, wanted) in zip([nil, true, false], row.answers) {
            #expect(try answer(#"{"n":1}"#, Self.event, asked) == wanted[0])
            #expect(try answer(#"{"n":"x"}"#, Self.event, asked) == wanted[1])
            #expect(try answer("{}", "com.example.never.heard", asked) == wanted[2])
        }
    }
}

@Suite struct PolicyTests {
    static let rules: [(rules: [Bytes], isValid: Bool)] = [
        ([], true), (["*=off"], true), (["com.example=require", "com.example.cal=off"], true), (["com=off"], true),
        (["com.example"], false), (["=off"], false), (["com.example=on"], false), (["com.example.*=off"], false),
        (["com.example=off", "com.example=off"], false), (["com..example=off"], false),
    ]

    @Test(arguments: 0..<rules.count) func parsed(_ index: Int) {
        let (rules, isValid) = Self.rules[index]
        #expect(((try? LexiconPolicy(rules)) != nil) == isValid, "\(rules)")
    }

    @Test func theLongestPrefixCounts() throws {
        let policy = try LexiconPolicy(["*=require", "com.example=off", "com.example.cal.event=optimistic"])
        let rows: [(String, LexiconPolicy.Demand)] = [
            ("com.example.cal.event", .optimistic), ("com.example.cal.events", .off), ("com.example.thing", .off),
            ("com.examples.thing", .require), ("org.com.example", .require),
        ]
        for (name, demand) in rows { #expect(policy.demand(for: nsid(name)) == demand, "\(name)") }
    }
}
