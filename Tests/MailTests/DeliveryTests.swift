import ATProto
import Base
import Net
import Storage
import TestSupport
import Testing

@testable import Mail

/// Somebody's mail server as a value: what it answers now, and the Message-IDs that it took.
final class FakeMailServer: Sendable {
    let answer = Guarded<SMTPError?>(nil)
    let taken = Guarded<[String]>([])
    let asked = Guarded(0)

    func set(_ error: SMTPError?) { answer.withLock { $0 = error } }

    func send(_ message: MailMessage) throws(SMTPError) {
        asked.withLock { $0 += 1 }
        if let error = answer.withLock({ $0 }) { throw error }
        let lines = message.rfc5322.split(on: 0x0A).map { $0.trimming("\r") }
        let id = lines.first { $0.starts(with: "Message-ID:") } ?? Bytes()
        taken.withLock { $0.append("\(id)") }
    }
}

@Suite struct DeliveryTests {
    private func delivery(
        _ world: World, _ server: FakeMailServer, _ log: Guarded<[String]> = Guarded([]),
        whenSent: @escaping @Sendable (ClaimedMail, Timestamp, any Writer) throws -> Void = { _, _, _ in }
    ) throws -> MailDelivery {
        MailDelivery(
            queue: world.queue, sender: try #require(MailSender("home@example.com")), host: "home.test",
            clock: world.clock, entropy: world.entropy,
            log: Log { line in log.withLock { $0.append(String(decoding: line, as: UTF8.self)) } },
            send: { message throws(SMTPError) in try server.send(message) }, whenSent: whenSent)
    }

    /// Runs as the worker does, in simulated time.
    private func run(_ delivery: MailDelivery, _ world: World, seconds: Int64) throws {
        let end = world.now.adding(seconds: seconds)
        while world.now < end {
            let milliseconds = try delivery.run()
            world.advance(max(1, Int64(milliseconds / 1_000)))
        }
    }

    @Test(arguments: Engine.all, [SMTPError.unreachable, .temporary(SMTPReply(code: 451, text: "later")), .tls])
    func downForAnHourThenEachMailOnce(_ engine: Engine, _ trouble: SMTPError) throws {
        let world = try World(engine)
        let server = FakeMailServer()
        server.set(trouble)
        let delivery = try delivery(world, server)
        for index in 0..<5 { try world.add(Bytes("\(index)"), account: "did:plc:\(index)") }
        try run(delivery, world, seconds: 3_600)
        #expect(server.taken.withLock { $0.isEmpty })
        #expect(try world.states() == ["queued", "queued", "queued", "queued", "queued"])
        let asked = server.asked.withLock { $0 }
        #expect(asked >= 5 * 6 && asked <= 5 * 10, "\(asked) tries of 5 mails in an hour")
        server.set(nil)
        try run(delivery, world, seconds: 2 * 1_800)
        let taken = server.taken.withLock { $0 }
        #expect(taken.count == 5 && Set(taken).count == 5, "each once")
        #expect(try world.states() == ["sent", "sent", "sent", "sent", "sent"])
        try run(delivery, world, seconds: 100)
        #expect(server.taken.withLock { $0.count } == 5)
    }

    @Test(arguments: Engine.all) func aCrashAfterTheHandOverSendsTheSameMessageAgain(_ engine: Engine) throws {
        struct Crash: Error {}
        let world = try World(engine)
        let server = FakeMailServer()
        try world.add("x")
        let crashing = try delivery(world, server) { _, _, _ in throw Crash() }
        #expect(throws: Crash.self) { _ = try crashing.run() }
        let delivery = try delivery(world, server)
        _ = try delivery.run()
        #expect(server.taken.withLock { $0.count } == 1, "the lease holds")
        world.advance(MailQueue.leaseSeconds)
        _ = try delivery.run()
        let taken = server.taken.withLock { $0 }
        #expect(taken.count == 2 && Set(taken).count == 1, "the receiver can tell that it is the same")
        #expect(try world.states() == ["sent"])
    }

    @Test(arguments: Engine.all) func refusedIsRefused(_ engine: Engine) throws {
        let world = try World(engine)
        let server = FakeMailServer()
        let log = Guarded<[String]>([])
        server.set(.refused(SMTPReply(code: 550, text: "5.1.1 <bob@example.com>: no such user")))
        let delivery = try delivery(world, server, log)
        try world.add("x")
        try world.add("y")
        #expect(try delivery.run() == MailDelivery.pauseMilliseconds)
        #expect(try world.states() == ["failed", "failed"], "one refusal does not keep the next mail")
        let row = try #require(try world.queue.list(limit: 1).first)
        #expect(row.lastError?.description.contains("550 5.1.1 <bob@example.com>: no such user") == true)
        try run(delivery, world, seconds: 7_200)
        #expect(server.asked.withLock { $0 } == 2)
        // Who the mail is to is in the database, not in the log.
        #expect(log.withLock { $0.count == 2 && !$0.joined().contains("bob") && $0[0].contains("code=550") })
    }

    @Test(arguments: [
        (SMTPError.authentication(nil), MailDelivery.loginPauseMilliseconds),
        (.authentication(SMTPReply(code: 535, text: "no")), MailDelivery.loginPauseMilliseconds),
        (.unreachable, MailDelivery.serverPauseMilliseconds), (.tls, MailDelivery.serverPauseMilliseconds),
        (.timeout, MailDelivery.serverPauseMilliseconds), (.malformedReply, MailDelivery.serverPauseMilliseconds),
        (.addressNotAllowed, MailDelivery.serverPauseMilliseconds),
    ]) func troubleOfTheServersEndsTheRound(_ error: SMTPError, _ pause: Int) throws {
        let world = try World(.sqlite)
        let server = FakeMailServer()
        server.set(error)
        let delivery = try delivery(world, server)
        try world.add("x")
        try world.add("y")
        #expect(try delivery.run() == pause)
        #expect(server.asked.withLock { $0 } == 1)
        #expect(try world.states() == ["queued", "queued"])
    }

    @Test(arguments: Engine.all) func afterADayNobodyTries(_ engine: Engine) throws {
        let world = try World(engine)
        let server = FakeMailServer()
        server.set(.temporary(SMTPReply(code: 451, text: "later")))
        let delivery = try delivery(world, server)
        try world.add("x")
        try run(delivery, world, seconds: MailQueue.giveUpSeconds + 2_400)
        #expect(try world.states() == ["failed"])
        #expect(try world.queue.list(limit: 1).first?.lastError?.description.contains("451 later") == true)
        server.set(nil)
        try run(delivery, world, seconds: 100)
        #expect(server.taken.withLock { $0.isEmpty })
        #expect(try world.queue.retry(try world.queue.list(limit: 1)[0].id, now: world.now))
        try run(delivery, world, seconds: 2)
        #expect(try world.states() == ["sent"])
    }

    @Test func stopsBetweenTwoMails() throws {
        let world = try World(.sqlite)
        let server = FakeMailServer()
        let delivery = try delivery(world, server)
        try world.add("x")
        try world.add("y")
        var asked = 0
        _ = try delivery.run {
            asked += 1
            return asked > 1
        }
        #expect(server.taken.withLock { $0.count } == 1)
        #expect(try world.states().sorted() == ["queued", "sent"])
    }

    @Test func theWaitsGrowAndSpread() throws {
        for (index, wait) in MailQueue.retrySeconds.enumerated() {
            let random = try MailDelivery.wait(attempts: index + 1, .system)
            #expect(random >= wait && random <= wait + wait / 5)
        }
        #expect(try MailDelivery.wait(attempts: 0, .system) < 20)
        #expect(try MailDelivery.wait(attempts: .max, .system) >= 1_800)
        let handOver = SMTPClient.deadlineMilliseconds + SMTPClient.replyMilliseconds
        #expect(Int(MailQueue.leaseSeconds) * 1_000 > handOver, "a lease outlives a hand-over")
    }
}

@Suite struct TemplateTests {
    @Test func aMailSaysWhatItIsFor() throws {
        let all: [MailTemplate] = [
            .confirmEmail, .updateEmail, .resetPassword, .deleteAccount, .plcOperation, .signIn,
        ]
        var subjects: Set<Bytes> = []
        for template in all {
            let mail = try #require(
                template.mail(code: "ABCDE-FGHIJ", account: "bob.home.test", host: "home.test", minutes: 15))
            subjects.insert(mail.subject.bytes)
            for part in [mail.text, mail.html] {
                #expect(part.description.contains("ABCDE-FGHIJ") && part.description.contains("bob.home.test"))
                #expect(part.description.contains("15 minutes"))
            }
            #expect(
                !mail.subject.bytes.description.contains("ABCDE"), "subjects are shown on locked screens and in lists")
        }
        #expect(subjects.count == all.count)
    }

    @Test func namesAreTextInTheMarkup() throws {
        let mail = try #require(
            MailTemplate.signIn.mail(code: "<b>", account: "<script>", host: "home.test", minutes: 15))
        #expect(!mail.html.description.contains("<script>") && mail.html.description.contains("&lt;script&gt;"))
        #expect(MailTemplate.signIn.mail(code: "x", account: "a", host: "home\r\nBcc: x", minutes: 15) == nil)
    }
}
