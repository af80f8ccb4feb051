import Base
import Dispatch
import Storage
import TestSupport
import Testing

@testable import Authorization

/// Many at once, over two openings of one database as two processes have them.
@Suite struct GrantConcurrencyTests {
    typealias World = GrantWorld

    /// A second process: its own connections, the same key.
    private static func stores(_ world: World, _ second: any Database) -> [(database: any Database, store: GrantStore)]
    {
        [
            (world.test, world.store),
            (second, GrantStore(database: second, tokens: world.tokens, entropy: .seeded(99))),
        ]
    }

    @Test(arguments: Engine.all) func oneCodeThirtyTwoTimes(_ engine: Engine) throws {
        let world = try World(engine)
        let second = try world.test.reopened()
        let stores = Self.stores(world, second)
        for round in 0..<4 {
            let code = try world.code(round)
            let outcomes = Guarded<[Result<GrantedTokens, GrantRefusal>]>([])
            let failures = Guarded<[String]>([])
            DispatchQueue.concurrentPerform(iterations: 32) { thread in
                let (database, store) = stores[thread % 2]
                do {
                    let outcome = try database.write {
                        try store.exchange(
                            code: code, redirectURI: World.redirect, verifier: World.verifier(round),
                            by: World.holder(), now: World.start, in: $0)
                    }
                    outcomes.withLock { $0.append(outcome) }
                } catch { failures.withLock { $0.append("\(error)") } }
            }
            #expect(failures.withLock { $0 } == [])
            let found = outcomes.withLock { $0 }
            let granted = found.compactMap { try? $0.get() }
            let refusals = found.compactMap { outcome -> GrantRefusal? in
                if case .failure(let refusal) = outcome { refusal } else { nil }
            }
            #expect(granted.count == 1 && refusals.count == 31, "round \(round)")
            #expect(refusals.allSatisfy { $0.error.code == .invalidGrant })
            // The second one ended the session of the first; the rest found nothing.
            #expect(refusals.compactMap(\.end).map(\.cause) == [.codeReplayed], "round \(round)")
            #expect(try world.count("oauth_session") == 0)
            for tokens in granted { #expect(try !world.isAlive(tokens)) }
        }
    }

    @Test(arguments: Engine.all) func oneRefreshTokenThirtyTwoTimes(_ engine: Engine) throws {
        let world = try World(engine)
        let second = try world.test.reopened()
        let stores = Self.stores(world, second)
        var token = try world.signIn(1).refreshToken
        for round in 0..<4 {
            let now = World.start.adding(seconds: Int64(round) * 60)
            let outcomes = Guarded<[GrantedTokens]>([])
            let failures = Guarded<[String]>([])
            let given = token
            DispatchQueue.concurrentPerform(iterations: 32) { thread in
                let (database, store) = stores[thread % 2]
                do {
                    let outcome = try database.write {
                        try store.refresh(
                            given, by: World.holder(), now: now.adding(seconds: Int64(thread % 10)), in: $0)
                    }.get()
                    outcomes.withLock { $0.append(outcome) }
                } catch { failures.withLock { $0.append("\(error)") } }
            }
            #expect(failures.withLock { $0 } == [])
            let found = outcomes.withLock { $0 }
            #expect(found.count == 32)
            let first = try #require(found.first)
            #expect(found.allSatisfy { $0 == first }, "round \(round)")
            token = first.refreshToken
        }
        #expect(try world.count("oauth_session") == 1)
        // The family has one living end.
        _ = try world.refresh(token, now: World.start.adding(seconds: 300)).get()
    }

    /// A thief with a key of his own among requests by the rightful one: whenever he comes, nothing is left.
    @Test(arguments: Engine.all) func aThiefAmongThirtyTwo(_ engine: Engine) throws {
        let world = try World(engine)
        let token = try world.signIn(1).refreshToken
        let granted = Guarded<[GrantedTokens]>([])
        let failures = Guarded<[String]>([])
        DispatchQueue.concurrentPerform(iterations: 32) { thread in
            do {
                let holder = World.holder(World.client, World.thumbprint(thread == 16 ? 2 : 1))
                let outcome = try world.refresh(token, by: holder)
                switch outcome {
                case .success(let tokens): granted.withLock { $0.append(tokens) }
                case .failure(let refusal):
                    if refusal.error.code != .invalidGrant { failures.withLock { $0.append("\(refusal)") } }
                }
            } catch { failures.withLock { $0.append("\(error)") } }
        }
        #expect(failures.withLock { $0 } == [])
        for tokens in granted.withLock({ $0 }) { #expect(try !world.isAlive(tokens)) }
        #expect(try world.count("oauth_session") == 0)
    }

    /// Every 20th answer is lost: 5 %.
    private static let lostStep = 20

    @Test(arguments: Engine.all) func refreshesWithLostAnswers(_ engine: Engine) throws {
        try Self.refresh(engine, count: 2_000, sessionCount: 100)
    }

    /// `count` refreshes over so many sessions by eight threads of two processes. A client keeps what it has received;
    /// whoever lost an answer tries again with what it has.
    private static func refresh(_ engine: Engine, count: Int, sessionCount: Int) throws {
        let world = try World(engine)
        let second = try world.test.reopened()
        let stores = stores(world, second)
        let (steps, threads) = (count / sessionCount, 8)
        let kept = Guarded<[GrantedTokens]>(
            try (0..<sessionCount).map { try world.signIn($0, thumbprint: World.thumbprint(UInt8($0))) })
        let ids = kept.withLock { $0.map(\.session.id) }
        let failures = Guarded<[String]>([])
        let counts = Guarded((sent: 0, lost: 0, repeated: 0))
        for step in 0..<steps {
            let now = World.start.adding(seconds: Int64(step) * 600)
            DispatchQueue.concurrentPerform(iterations: threads) { thread in
                for session in stride(from: thread, to: sessionCount, by: threads) {
                    let number = step * sessionCount + session
                    let isLost = number % lostStep == step % lostStep
                    let holder = World.holder(World.client, World.thumbprint(UInt8(session)))
                    let token = kept.withLock { $0[session].refreshToken }
                    func ask(_ index: Int, _ seconds: Int64) throws -> GrantedTokens {
                        try stores[index].database.write {
                            try stores[index].store.refresh(
                                token, by: holder, now: now.adding(seconds: seconds), in: $0)
                        }.get()
                    }
                    do {
                        var answer = try ask(number % 2, 0)
                        counts.withLock { $0.sent += 1 }
                        if isLost {
                            // Nobody saw it; the other process is asked.
                            let lost = answer
                            answer = try ask((number + 1) % 2, GrantStore.graceSeconds - 1)
                            counts.withLock {
                                $0.lost += 1
                                if answer == lost { $0.repeated += 1 }
                            }
                        }
                        kept.withLock { $0[session] = answer }
                    } catch { failures.withLock { $0.append("\(step) \(session): \(error)") } }
                }
            }
        }
        #expect(failures.withLock { $0 } == [])
        let found = counts.withLock { $0 }
        #expect(found.sent == count && found.lost == count / lostStep && found.repeated == found.lost)
        // No session lost, none forked: each is at the number of its refreshes, and what its client has is its one end.
        #expect(try world.count("oauth_session") == sessionCount)
        let end = World.start.adding(seconds: Int64(steps) * 600)
        for (session, tokens) in kept.withLock({ $0 }).enumerated() {
            #expect(tokens.session.id == ids[session])
            let row = try #require(try GrantSessionRow.find(id: tokens.session.id, in: world.test))
            #expect(row.generation == steps + 1)
            #expect(world.tokens.refresh(row) == tokens.refreshToken)
            let holder = World.holder(World.client, World.thumbprint(UInt8(session)))
            _ = try world.refresh(tokens.refreshToken, by: holder, now: end).get()
        }
    }
}
