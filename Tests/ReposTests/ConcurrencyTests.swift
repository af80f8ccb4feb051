import Dispatch
import TestSupport
import Testing

@testable import ATProto
@testable import Base
@testable import Crypto
@testable import Repos
@testable import Storage

/// Several writers at once, as in two processes with several threads each.
@Suite struct ConcurrencyTests {
    @Test(arguments: Engine.all) func writersOfOneRepository(_ engine: Engine) throws {
        let home = try Home(engine)
        try home.create(Home.alice)
        let stores = [home.repos, home.otherProcess()]
        let failures = Guarded<[String]>([])
        DispatchQueue.concurrentPerform(iterations: 6) { thread in
            for number in 0..<25 {
                do {
                    let name = "com.example.thing/\(thread)x\(number)"
                    try stores[thread % 2].apply([put(name, "text \(number)")], to: Home.alice)
                    // Every writer also fights for one record.
                    try stores[thread % 2].apply([put("com.example.thing/one", name)], to: Home.alice)
                } catch {
                    failures.withLock { $0.append("\(error)") }
                }
            }
        }
        #expect(failures.withLock { $0 } == [])
        let report = try home.repos.verify(Home.alice, key: home.key.publicKey)
        #expect(report.problems == [] && report.records == 6 * 25 + 1)
        try RepoStoreTests.checkEvents(home, count: 1 + 2 * 6 * 25)
    }

    /// Of those that expect the same commit exactly one gets it.
    @Test(arguments: Engine.all) func oneSwapWins(_ engine: Engine) throws {
        let home = try Home(engine)
        try home.create(Home.alice)
        let stores = [home.repos, home.otherProcess()]
        for round in 0..<10 {
            let commit = try home.repos.state(of: Home.alice).commit
            let outcomes = Guarded((won: 0, lost: 0, other: 0))
            DispatchQueue.concurrentPerform(iterations: 4) { thread in
                let error: (any Error)?
                do {
                    let write = try put("com.example.thing/\(round)", "thread \(thread)")
                    try stores[thread % 2].apply([write], to: Home.alice, expecting: commit)
                    error = nil
                } catch let failure { error = failure }
                outcomes.withLock { outcomes in
                    switch error {
                    case nil: outcomes.won += 1
                    case RepoError.commitSwap?: outcomes.lost += 1
                    default: outcomes.other += 1
                    }
                }
            }
            let found = outcomes.withLock { $0 }
            #expect(found.won == 1 && found.lost == 3 && found.other == 0, "round \(round): \(found)")
        }
        #expect(try home.repos.verify(Home.alice).problems == [])
    }
}
