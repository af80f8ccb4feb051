import Base
import Crypto
import Storage
import TestSupport
import Testing

@testable import Authorization

@Suite struct DPoPReplayTests {
    /// Where used proofs may be kept: in the service's database of either engine, or in a file of their own.
    enum Place: String, CaseIterable, CustomStringConvertible {
        case sqlite, postgres, ownFile
        var description: String { rawValue }

        static let all = allCases.filter { $0 != .postgres || Engine.all.contains(.postgres) }

        func make() throws -> Opened {
            switch self {
            case .sqlite: return Opened(try Engine.sqlite.migrated())
            case .postgres: return Opened(try Engine.postgres.migrated())
            case .ownFile:
                let directory = try TestDirectory()
                let opened = try Opened(directory)
                try opened.database.migrate(Migration.usedProofs)
                return opened
            }
        }
    }

    /// One database, which can be opened again as another process would.
    final class Opened {
        let database: any MigratableDatabase
        private let reopen: () throws -> any MigratableDatabase

        init(_ fresh: TestDatabase) {
            database = fresh
            reopen = { try fresh.reopened() }
        }

        init(_ directory: TestDirectory) throws {
            let open = { try SQLite(path: directory.path + "/proofs.sqlite", durability: .process) }
            database = try open()
            reopen = open
        }

        func again() throws -> any MigratableDatabase { try reopen() }
    }

    private let now = Fixture.now

    private func proof(
        _ identifier: Bytes, key: Bytes = "key", until seconds: Int64 = 90, epoch: Bytes
    ) -> DPoPProof {
        DPoPProof(
            thumbprint: key, identifier: identifier, usableUntil: now.adding(seconds: seconds), epoch: epoch)
    }

    private func code(_ body: () throws -> Void) throws -> AuthorizationError.Code? {
        do {
            try body()
            return nil
        } catch let error as AuthorizationError {
            return error.code
        }
    }

    private func count(_ database: any Database) throws -> Int? {
        try database.first("SELECT count(*) FROM dpop_replay") { try $0.integer(0) }
    }

    @Test(arguments: Place.all) func aProofCountsOnce(_ place: Place) throws {
        let opened = try place.make()
        let store = ReplayStore(opened.database)
        let epoch = try store.epoch(entropy: .system)
        let rows: [(name: String, proof: DPoPProof, space: ReplayStore.Space, code: AuthorizationError.Code?)] = [
            ("first", proof("a", epoch: epoch), .resourceServer, nil),
            ("again", proof("a", epoch: epoch), .resourceServer, .invalidDPoPProof),
            ("again, with another end", proof("a", until: 30, epoch: epoch), .resourceServer, .invalidDPoPProof),
            ("elsewhere", proof("a", epoch: epoch), .authorizationServer, nil),
            ("elsewhere again", proof("a", epoch: epoch), .authorizationServer, .invalidDPoPProof),
            ("another key", proof("a", key: "kez", epoch: epoch), .resourceServer, nil),
            ("another identifier", proof("b", epoch: epoch), .resourceServer, nil),
            ("an identifier in another case", proof("A", epoch: epoch), .resourceServer, nil),
            ("another epoch", proof("c", epoch: "other"), .resourceServer, .useDPoPNonce),
            ("no epoch", proof("c", epoch: ""), .resourceServer, .useDPoPNonce),
            ("a used one in another epoch", proof("a", epoch: "other"), .resourceServer, .invalidDPoPProof),
        ]
        for row in rows {
            #expect(try code { try store.use(row.proof, in: row.space, now: now) } == row.code, "\(row.name)")
        }
        let other = ReplayStore(try opened.again())
        #expect(
            try code { try other.use(proof("a", epoch: epoch), in: .resourceServer, now: now) } == .invalidDPoPProof)
        #expect(try count(opened.database) == 5)
    }

    /// O012: several openings are several processes.
    @Test(arguments: Place.all) func oneOfManyWins(_ place: Place) throws {
        let opened = try place.make()
        let stores = try (0..<4).map { _ in ReplayStore(try opened.again()) }
        let epoch = try stores[0].epoch(entropy: .system)
        for round in 0..<10 {
            let successes = Guarded(0)
            let refusals = Guarded(0)
            let proof = proof(Bytes("round \(round)"), epoch: epoch)
            onThreads(64) { number in
                do {
                    try stores[number % stores.count].use(proof, in: .resourceServer, now: Fixture.now)
                    successes.withLock { $0 += 1 }
                } catch {
                    guard (error as? AuthorizationError)?.code == .invalidDPoPProof else { return }
                    refusals.withLock { $0 += 1 }
                }
            }
            #expect(successes.withLock { $0 } == 1)
            #expect(refusals.withLock { $0 } == 63)
        }
        let later = ReplayStore(try opened.again())
        #expect(try code { try later.use(proof("round 0", epoch: epoch), in: .resourceServer, now: now) } != nil)
    }

    @Test(arguments: Place.all) func theEpochIsOneForAll(_ place: Place) throws {
        let opened = try place.make()
        let stores = try (0..<4).map { _ in ReplayStore(try opened.again()) }
        let found = Guarded<Set<Bytes>>([])
        onThreads(16) { number in
            guard let epoch = try? stores[number % stores.count].epoch(entropy: .system) else { return }
            found.withLock { _ = $0.insert(epoch) }
        }
        #expect(found.withLock { $0.count } == 1)
        #expect(found.withLock { $0.first?.count } == 16)
    }

    @Test(arguments: Place.all) func aFullStoreRefusesAndForgetsNothing(_ place: Place) throws {
        let opened = try place.make()
        let store = ReplayStore(opened.database, proofCountMax: 4)
        let epoch = try store.epoch(entropy: .system)
        for number in 0..<4 {
            try store.use(proof(Bytes("\(number)"), epoch: epoch), in: .resourceServer, now: now)
        }
        for _ in 0..<2 {
            #expect(
                try code { try store.use(proof("4", epoch: epoch), in: .resourceServer, now: now) }
                    == .temporarilyUnavailable)
        }
        // A full space is no reason to take one twice, and none to refuse in another space.
        #expect(
            try code { try store.use(proof("0", epoch: epoch), in: .resourceServer, now: now) } == .invalidDPoPProof)
        try store.use(proof("4", epoch: epoch), in: .authorizationServer, now: now)
        // When they are over there is room again.
        let later = now.adding(seconds: 90 + ReplayStore.skewSeconds)
        let new = DPoPProof(thumbprint: "key", identifier: "5", usableUntil: later.adding(seconds: 60), epoch: epoch)
        #expect(try code { try store.use(new, in: .resourceServer, now: later) } == .temporarilyUnavailable)
        try store.use(new, in: .resourceServer, now: later)
    }

    @Test(arguments: Place.all) func onlyWhatIsOverIsRemoved(_ place: Place) throws {
        let opened = try place.make()
        let store = ReplayStore(opened.database)
        let epoch = try store.epoch(entropy: .system)
        for number in 0..<20 {
            let proof = proof(Bytes("\(number)"), until: number % 2 == 0 ? 10 : 100, epoch: epoch)
            try store.use(proof, in: number < 10 ? .resourceServer : .authorizationServer, now: now)
        }
        #expect(try store.trim(now: now.adding(seconds: 10 + ReplayStore.skewSeconds - 1)) == 0)
        #expect(try store.trim(now: now.adding(seconds: 10 + ReplayStore.skewSeconds)) == 10)
        #expect(try count(opened.database) == 10)
        #expect(
            try code { try store.use(proof("1", epoch: epoch), in: .resourceServer, now: now) } == .invalidDPoPProof)
        #expect(try store.trim(now: now.adding(seconds: 100 + ReplayStore.skewSeconds)) == 10)
        #expect(try store.trim(now: now.adding(seconds: 1_000)) == 0)
    }

    /// Nobody needs to run `trim` for the table to stay small.
    @Test(arguments: Place.all) func usingRemovesWhatIsOver(_ place: Place) throws {
        let opened = try place.make()
        let store = ReplayStore(opened.database)
        let epoch = try store.epoch(entropy: .system)
        for number in 0..<(3 * ReplayStore.trimEvery) {
            let moment = now.adding(seconds: Int64(number) * 10)
            let proof = DPoPProof(
                thumbprint: "key", identifier: Bytes("\(number)"), usableUntil: moment.adding(seconds: 60), epoch: epoch
            )
            try store.use(proof, in: .resourceServer, now: moment)
        }
        // 12 of them count still.
        #expect(try #require(try count(opened.database)) <= 12 + ReplayStore.trimEvery)
    }

    // MARK: Verifying and using together

    private func check(_ database: any Database) -> DPoPCheck {
        DPoPCheck(secret: Fixture.secret, database: database, clock: Clock { Fixture.now }, entropy: .system)
    }

    private func token(_ key: SigningKey, _ identifier: Bytes, _ nonce: Bytes) throws -> Bytes {
        var draft = Fixture.proof(key, identifier: identifier)
        draft.claims["nonce"] = .text(nonce)
        return try draft.token()
    }

    @Test(arguments: Place.all) func processesAgreeOnNoncesAndProofs(_ place: Place) throws {
        let opened = try place.make()
        let (one, other) = (check(opened.database), check(try opened.again()))
        let target = try #require(Fixture.target())
        let key = try SigningKey.generate(.p256, entropy: .system)
        #expect(try one.nonce() == other.nonce())
        let first = try token(key, "1", one.nonce())
        let proof = try other.verify(first, method: "POST", target: target)
        try other.use(proof, in: .authorizationServer)
        let again = try one.verify(first, method: "POST", target: target)
        #expect(try code { try one.use(again, in: .authorizationServer) } == .invalidDPoPProof)
    }

    /// A crash that empties the table takes the epoch along. No process takes then what it may have taken before, and
    /// all of them come to the new epoch, also those that were never told.
    @Test(arguments: Place.all) func whatIsForgottenCannotBeUsedAgain(_ place: Place) throws {
        let opened = try place.make()
        let (one, other) = (check(opened.database), check(try opened.again()))
        let target = try #require(Fixture.target())
        let key = try SigningKey.generate(.p256, entropy: .system)
        let old = try token(key, "1", one.nonce())
        try one.use(one.verify(old, method: "POST", target: target), in: .resourceServer)
        _ = try other.nonce()

        try opened.database.execute("DELETE FROM dpop_replay")
        try opened.database.execute("DELETE FROM dpop_epoch")

        for process in [one, other] {
            #expect(
                try code {
                    try process.use(process.verify(old, method: "POST", target: target), in: .resourceServer)
                } == .useDPoPNonce)
        }
        #expect(try one.nonce() == other.nonce())
        let new = try token(key, "1", one.nonce())
        try other.use(other.verify(new, method: "POST", target: target), in: .resourceServer)

        // Who still has the old epoch in memory takes a proof of the new one.
        let third = check(try opened.again())
        _ = try third.nonce()
        try opened.database.write { try ReplayStore.endEpoch(in: $0) }
        let newest = try token(key, "2", try check(try opened.again()).nonce())
        try third.use(third.verify(newest, method: "POST", target: target), in: .resourceServer)

        // After a restore: what was given out and not used is void as well.
        let void = try token(key, "3", third.nonce())
        try opened.database.write { try ReplayStore.endEpoch(in: $0) }
        #expect(
            try code { try third.use(third.verify(void, method: "POST", target: target), in: .resourceServer) }
                == .useDPoPNonce)
    }
}
