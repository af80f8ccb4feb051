import Base
import Storage
import TestSupport
import Testing

@testable import Web

@Suite struct PrepaidBudgetTests {
    private static let limits = [RateLimit("test-5min", points: 100, seconds: 300)]

    private func at(_ seconds: Int64) -> Timestamp { Timestamp(seconds: 1_000_000 + seconds) }

    @Test(arguments: Engine.all) func toThePoint(_ engine: Engine) throws {
        let budget = PrepaidBudget(Limiter(BudgetStore(try engine.migrated())), Self.limits)
        for call in 1...100 {
            let state = try budget.charge("192.0.2.1", now: at(Int64(call)))
            #expect(state?.remaining == 100 - call && state?.limit == 100, "call \(call)")
        }
        let error = #expect(throws: BudgetExceeded.self) { try budget.charge("192.0.2.1", now: at(101)) }
        #expect(error?.retryAfterSeconds == 200 && error?.state.remaining == 0)
        #expect(try budget.charge("192.0.2.2", now: at(101))?.remaining == 99, "somebody else has their own")
        // A new window, and what was taken in the old one is not used in it.
        #expect(try budget.charge("192.0.2.1", now: at(301))?.remaining == 99)
        #expect(try budget.charge("192.0.2.2", now: at(402))?.remaining == 99)
    }

    @Test(arguments: Engine.all) func severalProcessesShareOne(_ engine: Engine) throws {
        let database = try engine.migrated()
        let processes = (0..<3).map { _ in PrepaidBudget(Limiter(BudgetStore(database)), Self.limits) }
        var passed = 0
        for call in 0..<400 where (try? processes[call % 3].charge("192.0.2.1", now: at(0))) != nil { passed += 1 }
        #expect(passed == 100)
        // One that is started anew has lost its lot and nothing more.
        let database2 = try engine.migrated()
        let first = PrepaidBudget(Limiter(BudgetStore(database2)), Self.limits)
        _ = try first.charge("192.0.2.1", now: at(0))
        let second = PrepaidBudget(Limiter(BudgetStore(database2)), Self.limits)
        #expect(try second.charge("192.0.2.1", now: at(0))?.remaining == 100 - PrepaidBudget.lot - 1)
    }

    @Test func whoIsNotCounted() throws {
        let store = BudgetStore(try Engine.sqlite.migrated())
        let budget = PrepaidBudget(Limiter(store), Self.limits, exempt: ["192.0.2.1"])
        for _ in 0..<200 { #expect(try budget.charge("192.0.2.1", now: at(0)) == nil) }
        #expect(try budget.charge("192.0.2.10", now: at(0)) != nil)
        #expect(try PrepaidBudget(.unlimited, Self.limits).charge("192.0.2.1", now: at(0)) == nil)
    }

    @Test func moreCallersThanAreRemembered() throws {
        let budget = PrepaidBudget(Limiter(BudgetStore(try Engine.sqlite.migrated())), Self.limits)
        for caller in 0...PrepaidBudget.callersMax {
            #expect(try budget.charge(Bytes("caller \(caller)"), now: at(0))?.remaining == 99)
        }
        // Its lot was given up with those of all others: it pays for a new one.
        #expect(try budget.charge("caller 0", now: at(1))?.remaining == 100 - PrepaidBudget.lot - 1)
    }
}
