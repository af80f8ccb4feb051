import Base
import Storage
import TestSupport
import Testing

@testable import ATProto
@testable import Moderation

/// Reports, labels and the log of administration over a fresh database, with a clock that tests move.
private struct Desk {
    let test: TestDatabase
    let moment = Guarded(Timestamp(seconds: 1_750_000_000))
    let reports: ReportStore
    let labels: LabelStore
    let log: AdminLog

    static let alice = DID("did:plc:ewvi7nxzyoun6zhxrhs64oiz")!
    static let bob = DID("did:web:bob.example.com")!
    static let path = RepoPath(NSID("com.example.thing")!, RecordKey("a")!)
    static let cid = CID(hashing: [1])

    init(_ engine: Engine) throws {
        test = try engine.migrated()
        let moment = moment
        let clock = Clock { moment.withLock { $0 } }
        reports = ReportStore(database: test, clock: clock)
        labels = LabelStore(database: test)
        log = AdminLog(database: test, clock: clock)
    }

    func advance(_ seconds: Int64) { moment.withLock { $0 = $0.adding(seconds: seconds) } }

    func report(_ subject: Subject, by reporter: DID = bob, reason: Bytes? = "rude", to labeler: Bytes? = nil) throws
        -> Report
    {
        try reports.create(
            NewReport(
                subject: subject, reasonType: "com.example.reason#spam", reason: reason, reportedBy: reporter,
                forwardTo: labeler))
    }

    func close(_ id: Int, note: Bytes? = nil) throws {
        try test.write { writer in
            try ReportStore.close(id, by: .tool, note: note, now: moment.withLock { $0 }, in: writer)
        }
    }
}

@Suite struct ReportTests {
    @Test(arguments: Engine.all) func areKeptAsTheyCame(_ engine: Engine) throws {
        let desk = try Desk(engine)
        let subjects: [Subject] = [
            .account(Desk.alice), .record(Desk.alice, Desk.path, Desk.cid), .record(Desk.bob, Desk.path, nil),
        ]
        for (index, subject) in subjects.enumerated() {
            let made = try desk.report(subject, to: index == 1 ? "did:web:labels.example.com#atproto_labeler" : nil)
            #expect(made.id == index + 1)
            #expect(try desk.reports.find(made.id) == made)
        }
        #expect(try desk.reports.list(.all, limit: 10).map(\.id) == [3, 2, 1])
        #expect(try desk.reports.list(.all, before: 3, limit: 1).map(\.id) == [2])
        #expect(throws: ModerationError.reportNotFound(4)) { try desk.reports.find(4) }
    }

    @Test(arguments: Engine.all) func areClosedOnceTheyAreThere(_ engine: Engine) throws {
        let desk = try Desk(engine)
        let first = try desk.report(.account(Desk.alice))
        _ = try desk.report(.account(Desk.alice))
        try desk.close(first.id, note: "warned")
        let closed = try desk.reports.find(first.id)
        #expect(closed.note == "warned" && closed.closedBy == "tool" && closed.closedAt != nil)
        #expect(try desk.reports.list(.open, limit: 10).map(\.id) == [2])
        #expect(try desk.reports.list(.closed, limit: 10).map(\.id) == [1])
        #expect(try desk.reports.openCount() == 1)
        #expect(throws: ModerationError.reportNotFound(9)) { try desk.close(9) }
    }

    @Test(arguments: Engine.all) func anAttemptIsOnesOwnAndTheNextIsPutOff(_ engine: Engine) throws {
        let desk = try Desk(engine)
        let quiet = try desk.report(.account(Desk.alice))
        let report = try desk.report(.account(Desk.alice), to: "did:web:labels.example.com")
        #expect(try desk.reports.due(limit: 10).map(\.id) == [report.id])
        #expect(try !desk.reports.claim(quiet), "nobody is to hear of it")
        #expect(try desk.reports.claim(report))
        #expect(try !desk.reports.claim(report), "another process has it")
        #expect(try desk.reports.due(limit: 10).isEmpty)
        desk.advance(599)
        #expect(try desk.reports.due(limit: 10).isEmpty)
        desk.advance(1)
        let again = try #require(try desk.reports.due(limit: 10).first)
        #expect(again.forwardAttempts == 1)
        #expect(try desk.reports.claim(again))
        try desk.reports.markForwarded(report.id)
        desk.advance(1_000_000)
        #expect(try desk.reports.due(limit: 10).isEmpty)
        #expect(try desk.reports.find(report.id).forwardedAt != nil)
    }

    @Test(arguments: Engine.all) func attemptsEnd(_ engine: Engine) throws {
        let desk = try Desk(engine)
        _ = try desk.report(.account(Desk.alice), to: "did:web:labels.example.com")
        var attempts = 0
        while let report = try desk.reports.due(limit: 1).first {
            #expect(try desk.reports.claim(report))
            attempts += 1
            desk.advance(3_600)
        }
        #expect(attempts == ReportStore.forwardAttemptsMax)
        let refused = try desk.report(.account(Desk.alice), to: "did:web:labels.example.com")
        try desk.reports.giveUp(refused.id)
        #expect(try desk.reports.due(limit: 1).isEmpty)
    }

    @Test(arguments: Engine.all) func goWithTheAccount(_ engine: Engine) throws {
        let desk = try Desk(engine)
        _ = try desk.report(.record(Desk.alice, Desk.path, Desk.cid))
        let made = try desk.report(.account(Desk.bob), by: Desk.alice, to: "did:web:labels.example.com")
        let other = try desk.report(.account(Desk.bob))
        try desk.test.write { try ReportStore.remove(of: Desk.alice, in: $0) }
        #expect(try desk.reports.list(.all, limit: 10).map(\.id) == [other.id, made.id])
        let left = try desk.reports.find(made.id)
        #expect(left.reportedBy == nil && left.reason == nil && left.subject == .account(Desk.bob))
        #expect(try desk.reports.due(limit: 10).isEmpty, "nobody is left to sign for it")
    }
}

@Suite struct LabelTests {
    private func set(_ isApplied: Bool, _ subject: Subject, _ desk: Desk) throws {
        try desk.test.write { writer in
            try LabelStore.set(isApplied, on: subject, now: desk.moment.withLock { $0 }, in: writer)
        }
    }

    @Test(arguments: Engine.all) func holdUntilTheyAreNegated(_ engine: Engine) throws {
        let desk = try Desk(engine)
        try set(true, .account(Desk.alice), desk)
        try set(true, .blob(Desk.alice, Desk.cid), desk)
        desk.advance(10)
        try set(true, .record(Desk.alice, Desk.path, Desk.cid), desk)
        let labels = try desk.labels.list(limit: 10)
        #expect(
            labels.map(\.uri) == [
                "at://did:plc:ewvi7nxzyoun6zhxrhs64oiz", "at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/com.example.thing/a",
            ])
        #expect(labels.map(\.cid) == [nil, Desk.cid])
        #expect(try desk.labels.list(after: labels[0].id, limit: 10) == [labels[1]])
        #expect(try desk.labels.list(since: Timestamp(seconds: 1_750_000_005), limit: 10) == [labels[1]])
        try set(false, .account(Desk.alice), desk)
        #expect(try desk.labels.list(limit: 10) == [labels[1]])
        try set(true, .account(Desk.alice), desk)
        #expect(try desk.labels.list(limit: 10).count == 2)
        try desk.test.write { try LabelStore.remove(of: Desk.alice, in: $0) }
        #expect(try desk.labels.list(limit: 10).isEmpty)
    }
}

@Suite struct AdminLogTests {
    @Test(arguments: Engine.all) func isReadFromTheNewestBack(_ engine: Engine) throws {
        let desk = try Desk(engine)
        try desk.test.write { writer in
            try desk.log.note(.takedown, "did:web:a.example.com", by: .admin, detail: "spam", in: writer)
            try desk.log.note(.delete, "did:web:b.example.com", by: .service("did:web:mod.example.com"), in: writer)
            try desk.log.note(.suspend, "did:web:a.example.com", by: .tool, in: writer)
        }
        let all = try desk.log.list(limit: 10)
        #expect(all.map(\.action) == ["suspend", "delete", "takedown"])
        #expect(all.map(\.actor) == ["tool", "did:web:mod.example.com", "admin"])
        #expect(all.map(\.detail) == [nil, nil, "spam"])
        #expect(try desk.log.list(before: all[1].id, limit: 10) == [all[2]])
        #expect(try desk.log.list(subject: "did:web:a.example.com", limit: 10) == [all[0], all[2]])
        #expect(try desk.log.list(limit: 1) == [all[0]])
    }

    @Test(arguments: Engine.all) func anActThatDoesNotHappenLeavesNoLine(_ engine: Engine) throws {
        let desk = try Desk(engine)
        struct Stop: Error {}
        #expect(throws: Stop.self) {
            try desk.test.write { writer in
                try desk.log.note(.takedown, "did:web:a.example.com", by: .admin, in: writer)
                throw Stop()
            }
        }
        #expect(try desk.log.list(limit: 10).isEmpty)
    }

    @Test(arguments: [
        ("short", "abc" as Bytes, 5, "abc" as Bytes), ("at the limit", "abcde", 5, "abcde"),
        ("longer", "abcdef", 5, "abcde"),
        ("inside of a character", "abcdé", 5, "abcd"), ("nothing but one", "é", 1, ""),
    ]) func wordsAreCutBetweenCharacters(_ name: String, _ text: Bytes, _ size: Int, _ cut: Bytes) {
        #expect(text.cutToText(size) == cut, "\(name)")
    }

    @Test func theWordsOfTheLogAreDistinct() {
        #expect(Set(AdminAct.allCases.map(\.rawValue)).count == AdminAct.allCases.count)
    }
}
