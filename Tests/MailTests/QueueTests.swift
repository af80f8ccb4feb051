import ATProto
import Base
import Crypto
import Foundation
import Storage
import TestSupport
import Testing

@testable import Mail

/// The queue over a fresh database, with a clock that tests move.
struct World {
    static let start = Timestamp(seconds: 1_750_000_000)

    let test: TestDatabase
    let moment = Guarded(start)
    let queue: MailQueue
    let entropy = Entropy.seeded(1)

    init(_ engine: Engine) throws {
        test = try engine.migrated()
        queue = try Self.queue(test, entropy)
    }

    static func queue(_ database: any Database, _ entropy: Entropy) throws -> MailQueue {
        MailQueue(
            database: database, sealer: try Sealer(key: Secret([UInt8](repeating: 9, count: 32))), entropy: entropy)
    }

    var clock: Clock { Clock { [moment] in moment.withLock { $0 } } }
    var now: Timestamp { moment.withLock { $0 } }
    func advance(_ seconds: Int64) { moment.withLock { $0 = $0.adding(seconds: seconds) } }

    func add(_ text: Bytes, kind: Bytes = "reset_password", account: String? = nil) throws {
        let text = try #require(MailText(subject: "Code", text: text, html: "<p>" + text + "</p>"))
        let mail = try queue.prepare(
            text, kind: kind, account: account.flatMap { DID($0) }, to: try #require(MailAddress("bob@example.com")))
        try test.write { try MailQueue.add(mail, now: now, in: $0) }
    }

    func states() throws -> [String] { try queue.list(limit: 100).map { $0.state.rawValue } }
}

@Suite struct QueueTests {
    @Test(arguments: Engine.all) func aMailIsWrittenClaimedAndSent(_ engine: Engine) throws {
        let world = try World(engine)
        #expect(try world.queue.claim(now: world.now)?.id == nil)
        try world.add("first", account: "did:plc:one")
        world.advance(1)
        try world.add("second")
        let first = try #require(try world.queue.claim(now: world.now))
        #expect(first.text.text == "first" && first.text.html == "<p>first</p>" && first.text.subject.bytes == "Code")
        #expect(first.account == DID("did:plc:one") && first.recipient.bytes == "bob@example.com")
        #expect(first.createdAt == World.start && first.attempts == 1)
        let second = try #require(try world.queue.claim(now: world.now))
        #expect(second.text.text == "second" && second.account == nil)
        #expect(try world.queue.claim(now: world.now)?.id == nil, "both are leased")
        var told = 0
        try world.queue.sent(first, now: world.now) { _ in told += 1 }
        try world.queue.sent(first, now: world.now) { _ in told += 1 }
        #expect(told == 1)
        #expect(try world.states() == ["queued", "sent"])
        let left = try world.test.read { reader in
            try reader.all("SELECT content FROM mail ORDER BY created_at") { try $0.optionalBytes(0) == nil }
        }
        #expect(left == [true, false], "what was sent is forgotten")
    }

    @Test(arguments: Engine.all) func theDatabaseHasNoText(_ engine: Engine) throws {
        let world = try World(engine)
        try world.add("ABCDE-FGHIJ")
        let content = try #require(
            try world.test.read { try $0.first("SELECT content FROM mail") { try $0.bytes(0) } })
        #expect(!content.description.contains("ABCDE"))
        // A row's content opens in no other row.
        try world.add("other")
        try world.test.execute("UPDATE mail SET content = (SELECT content FROM mail ORDER BY id LIMIT 1)")
        #expect(throws: CryptoError.notAuthentic) {
            while try world.queue.claim(now: world.now) != nil {}
        }
    }

    @Test(arguments: Engine.all) func aMailAndWhatItTellsAreOneTransaction(_ engine: Engine) throws {
        struct Stop: Error {}
        let world = try World(engine)
        let text = try #require(MailText(subject: "Code", text: "x", html: "x"))
        let mail = try world.queue.prepare(
            text, kind: "k", account: nil, to: try #require(MailAddress("a@example.com")))
        #expect(throws: Stop.self) {
            try world.test.write { writer in
                try MailQueue.add(mail, now: world.now, in: writer)
                throw Stop()
            }
        }
        #expect(try world.states().isEmpty)
        // What happens with `sent` does so too, or neither.
        try world.add("x")
        let claimed = try #require(try world.queue.claim(now: world.now))
        #expect(throws: Stop.self) { try world.queue.sent(claimed, now: world.now) { _ in throw Stop() } }
        #expect(try world.states() == ["queued"])
    }

    @Test(arguments: Engine.all) func aLeaseEndsAndItsOwnerIsTooLate(_ engine: Engine) throws {
        let world = try World(engine)
        try world.add("x")
        let first = try #require(try world.queue.claim(now: world.now))
        world.advance(MailQueue.leaseSeconds - 1)
        #expect(try world.queue.claim(now: world.now)?.id == nil)
        world.advance(1)
        let second = try #require(try world.queue.claim(now: world.now))
        #expect(second.id == first.id && second.attempts == 2)
        try world.queue.failed(first, "late", now: world.now)
        try world.queue.postponed(first, "late", until: world.now)
        try world.queue.sent(first, now: world.now) { _ in Issue.record("told") }
        #expect(try world.states() == ["queued"])
        #expect(try world.queue.list(limit: 1).first?.lastError == nil)
        try world.queue.sent(second, now: world.now) { _ in }
        #expect(try world.states() == ["sent"])
    }

    @Test(arguments: Engine.all) func twoWorkersNeverHaveOneMail(_ engine: Engine) throws {
        let world = try World(engine)
        for index in 0..<40 { try world.add(Bytes("\(index)")) }
        let others = try (0..<4).map { try World.queue(world.test.reopened(), .seeded(UInt64($0) + 2)) }
        let seen = Guarded<[Bytes]>([])
        let now = world.now
        DispatchQueue.concurrentPerform(iterations: others.count) { index in
            while let mail = try? others[index].claim(now: now) { seen.withLock { $0.append(mail.id) } }
        }
        let ids = seen.withLock { $0 }
        #expect(ids.count == 40 && Set(ids).count == 40)
    }

    @Test(arguments: Engine.all) func aNewerMailOfItsKindTakesItsPlace(_ engine: Engine) throws {
        let world = try World(engine)
        try world.add("old", account: "did:plc:one")
        try world.add("other kind", kind: "confirm_email", account: "did:plc:one")
        try world.add("other account", account: "did:plc:two")
        world.advance(1)
        try world.add("new", account: "did:plc:one")
        #expect(try world.states().count == 3)
        var texts: [Bytes] = []
        while let mail = try world.queue.claim(now: world.now) { texts.append(mail.text.text) }
        #expect(Set(texts) == ["other kind", "other account", "new"])
    }

    @Test(arguments: Engine.all) func oneThatIsBeingSentIsNotSentAgainAfterANewerOne(_ engine: Engine) throws {
        let world = try World(engine)
        try world.add("old", account: "did:plc:one")
        let old = try #require(try world.queue.claim(now: world.now))
        world.advance(1)
        try world.add("new", account: "did:plc:one")
        #expect(try world.states().count == 2)
        try world.queue.postponed(old, "later", until: world.now)
        #expect(try world.queue.claim(now: world.now)?.text.text == "new")
        #expect(try world.queue.claim(now: world.now)?.id == nil)
    }

    @Test(arguments: Engine.all) func theOperatorTriesAgain(_ engine: Engine) throws {
        let world = try World(engine)
        try world.add("x", account: "did:plc:one")
        let mail = try #require(try world.queue.claim(now: world.now))
        #expect(try !world.queue.retry(mail.id, now: world.now), "it is being sent")
        try world.queue.failed(mail, "550 no such user", now: world.now)
        let row = try #require(try world.queue.list(limit: 10).first)
        #expect(row.state == .failed && row.lastError == "550 no such user" && row.attempts == 1)
        #expect(try world.queue.claim(now: world.now.adding(seconds: 3_600))?.id == nil)
        #expect(try world.queue.retry(mail.id, now: world.now))
        #expect(try !world.queue.retry("nothing", now: world.now))
        let again = try #require(try world.queue.claim(now: world.now))
        #expect(again.id == mail.id && again.createdAt == mail.createdAt && again.attempts == 1)
        try world.queue.sent(again, now: world.now) { _ in }
        #expect(try !world.queue.retry(mail.id, now: world.now), "it was sent")
    }

    @Test(arguments: Engine.all) func nothingIsAMailTooInTheEyesOfTheDisk(_ engine: Engine) throws {
        let world = try World(engine)
        let text = try #require(MailText(subject: "Code", text: "x", html: "x"))
        for _ in 0..<3 {
            let mail = try world.queue.prepare(
                text, kind: "k", account: DID("did:plc:one"), to: try #require(MailAddress("a@example.com")))
            try world.test.write { try MailQueue.addNothing(mail, now: world.now, in: $0) }
        }
        #expect(try world.states().isEmpty)
        #expect(try world.queue.claim(now: world.now)?.id == nil)
        let rows = try world.test.read { try $0.all("SELECT recipient FROM mail") { try $0.text(0) } }
        #expect(rows == [Bytes()], "one row, and no address of a stranger")
    }

    @Test(arguments: Engine.all) func rowsAreForgotten(_ engine: Engine) throws {
        let world = try World(engine)
        try world.add("x", account: "did:plc:one")
        try world.add("y", account: "did:plc:two")
        try world.test.write { try MailQueue.remove(of: DID("did:plc:two")!, in: $0) }
        #expect(try world.states().count == 1)
        #expect(try MailQueue.trim(now: world.now.adding(seconds: MailQueue.keepSeconds), in: world.test) == 0)
        #expect(try MailQueue.trim(now: world.now.adding(seconds: MailQueue.keepSeconds + 1), in: world.test) == 1)
    }
}
