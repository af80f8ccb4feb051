import Base
import Foundation
import Storage
import TestSupport
import Testing
import Web

@Suite struct BudgetTests {
    private static let short = RateLimit("test-5min", points: 3, seconds: 300)
    private static let long = RateLimit("test-day", points: 5, seconds: 86_400)

    private func at(_ seconds: Int64) -> Timestamp { Timestamp(seconds: 1_000_000 + seconds) }

    @Test(arguments: Engine.all) func pointsRunOutAndComeBack(_ engine: Engine) throws {
        let store = BudgetStore(try engine.migrated())
        let rows: [(name: String, second: Int64, cost: Int, remaining: Int, retryAfter: Int?)] = [
            ("first", 0, 1, 2, nil), ("second", 10, 1, 1, nil), ("too dear", 20, 2, 1, 280), ("third", 20, 1, 0, nil),
            ("one too many", 20, 1, 0, 280), ("again", 299, 1, 0, 1), ("nothing costs nothing", 299, 0, 0, nil),
            ("the window has ended", 300, 2, 1, nil), ("and began anew", 599, 1, 0, nil), ("full again", 599, 1, 0, 1),
            ("clock set back", -1_000, 1, 2, nil), ("dearer than the whole", 9_000, 4, 3, 300),
        ]
        for row in rows {
            let limit = Self.short.costing(row.cost)
            if let retryAfter = row.retryAfter {
                let error = #expect(throws: BudgetExceeded.self, "\(row.name)") {
                    try store.charge([limit], key: "did:example:a", now: at(row.second))
                }
                #expect(error?.retryAfterSeconds == retryAfter, "\(row.name)")
                #expect(error?.state.remaining == row.remaining, "\(row.name)")
                #expect(error?.failure.kind == .limited)
            } else {
                let state = try store.charge([limit], key: "did:example:a", now: at(row.second))
                #expect(state?.remaining == row.remaining, "\(row.name)")
                #expect(state?.limit == 3 && state?.seconds == 300, "\(row.name)")
            }
        }
        #expect(try store.charge([], key: "did:example:a", now: at(0)) == nil)
    }

    @Test(arguments: Engine.all) func aRefusedCallTakesFromNone(_ engine: Engine) throws {
        let store = BudgetStore(try engine.migrated())
        let both = [Self.long, Self.short]
        for second in 0..<3 {
            let state = try store.charge(both, key: "a", now: at(Int64(second)))
            #expect(state?.limit == 3 && state?.remaining == 2 - second)
            #expect(state?.reset == at(300))
        }
        for _ in 0..<10 { #expect(throws: BudgetExceeded.self) { try store.charge(both, key: "a", now: at(3)) } }
        #expect(try store.charge(both, key: "b", now: at(3))?.remaining == 2)
        // Only three of the day's five are gone.
        #expect(try store.charge([Self.long], key: "a", now: at(400))?.remaining == 1)
    }

    @Test(arguments: Engine.all) func aChargeGoesWithItsTransaction(_ engine: Engine) throws {
        let database = try engine.migrated()
        let store = BudgetStore(database)
        #expect(throws: CancellationError.self) {
            try database.write { writer in
                _ = try store.charge(Self.short, key: "a", now: at(0), in: writer)
                throw CancellationError()
            }
        }
        let state = try database.write { try store.charge(Self.short, key: "a", now: at(0), in: $0) }
        #expect(state.remaining == 2)
    }

    @Test(arguments: Engine.all) func keysOfAnyBytesAreKeptApart(_ engine: Engine) throws {
        let store = BudgetStore(try engine.migrated())
        let keys: [Bytes] = ["", "a", "A", " 61", "61", Bytes([0]), Bytes([0xFF, 0]), "é", "e\u{301}", "a b"]
        for key in keys { #expect(try store.charge([Self.short], key: key, now: at(0))?.remaining == 2) }
    }

    @Test(arguments: Engine.all) func manyThreadsSpendEachPointOnce(_ engine: Engine) throws {
        let store = BudgetStore(try engine.migrated())
        let limit = RateLimit("test-many", points: 40, seconds: 60)
        let paid = Guarded(0)
        DispatchQueue.concurrentPerform(iterations: 100) { _ in
            if (try? store.charge([limit], key: "a", now: at(0))) != nil { paid.withLock { $0 += 1 } }
        }
        #expect(paid.withLock { $0 } == 40)
    }

    @Test(arguments: Engine.all) func trimDropsWhatHasEnded(_ engine: Engine) throws {
        let database = try engine.migrated()
        let store = BudgetStore(database)
        for key in 0..<20 { _ = try store.charge([Self.long], key: Bytes("k\(key)"), now: at(Int64(key))) }
        #expect(try store.trim(now: at(86_400)) == 0)
        #expect(try store.trim(now: at(86_410)) == 10)
        #expect(try database.read { try $0.first("SELECT count(*) FROM budget") { try $0.integer(0) } } == 10)
        #expect(try store.trim(now: at(1_000_000)) == 10)
    }
}
