import Base
import Foundation
import Synchronization
import TestSupport
import Testing

@testable import Storage

/// Writes of many threads in one durable commit, on both engines.
@Suite struct GroupCommitTests {
    private struct Unrelated: Error, Equatable { let number: Int }

    private func table(_ engine: Engine) throws -> TestDatabase {
        let fresh = try engine.empty()
        let create = "CREATE TABLE note (thread {integer}, number {integer}, PRIMARY KEY (thread, number)) {clustered}"
        try fresh.database.execute(fresh.database.dialect.render(create))
        return fresh
    }

    private func notes(_ database: any Database) throws -> [[Int]] {
        try database.read { reader in
            try reader.all("SELECT thread, number FROM note ORDER BY thread, number") {
                [try $0.integer(0), try $0.integer(1)]
            }
        }
    }

    @Test(arguments: Engine.all) func everyWriteOfEveryThreadIsThere(_ engine: Engine) throws {
        let database = try table(engine)
        let failures = Atomic(0)
        onThreads(64) { thread in
            for number in 0..<10 {
                do {
                    let answer = try database.database.write { writer in
                        try writer.run("INSERT INTO note (thread, number) VALUES (\(thread), \(number))")
                        return thread * 100 + number
                    }
                    let seen = try database.database.read { reader in
                        try reader.first("SELECT 1 FROM note WHERE thread = \(thread) AND number = \(number)") { _ in
                            true
                        }
                    }
                    if answer != thread * 100 + number || seen != true { failures.add(1, ordering: .relaxed) }
                } catch {
                    failures.add(1, ordering: .relaxed)
                }
            }
        }
        #expect(failures.load(ordering: .relaxed) == 0)
        #expect(try notes(database.database) == (0..<64).flatMap { thread in (0..<10).map { [thread, $0] } })
    }

    /// Every third body throws after its first insert, by itself or by a broken rule; the others are not touched.
    @Test(arguments: Engine.all) func aThrowingBodyHarmsNobodyElse(_ engine: Engine) throws {
        let database = try table(engine)
        let wrong = Atomic(0)
        onThreads(16) { thread in
            for number in 0..<12 {
                do {
                    try database.database.write { writer in
                        try writer.run("INSERT INTO note (thread, number) VALUES (\(thread), \(number))")
                        if number % 3 == 1 { throw Unrelated(number: number) }
                        if number % 3 == 2 {
                            try writer.run("INSERT INTO note (thread, number) VALUES (\(thread), \(number))")
                        }
                    }
                    if number % 3 != 0 { wrong.add(1, ordering: .relaxed) }
                } catch let error as Unrelated {
                    if error != Unrelated(number: number) || number % 3 != 1 { wrong.add(1, ordering: .relaxed) }
                } catch StorageError.constraint {
                    if number % 3 != 2 { wrong.add(1, ordering: .relaxed) }
                } catch {
                    wrong.add(1, ordering: .relaxed)
                }
            }
        }
        #expect(wrong.load(ordering: .relaxed) == 0)
        #expect(try notes(database.database) == (0..<16).flatMap { thread in [0, 3, 6, 9].map { [thread, $0] } })
    }

    @Test(arguments: Engine.all) func afterCommitFollowsTheCommitInItsOrder(_ engine: Engine) throws {
        let database = try table(engine)
        let heard = Guarded<[Int]>([])
        try database.database.write { writer in
            writer.afterCommit { heard.withLock { $0.append(1) } }
            try writer.run("INSERT INTO note (thread, number) VALUES (0, 0)")
            writer.afterCommit { heard.withLock { $0.append(2) } }
            #expect(heard.withLock { $0 } == [])
        }
        #expect(heard.withLock { $0 } == [1, 2])
        #expect(throws: Unrelated.self) {
            try database.database.write { writer in
                writer.afterCommit { heard.withLock { $0.append(3) } }
                throw Unrelated(number: 0)
            }
        }
        #expect(heard.withLock { $0 } == [1, 2])
        // Across threads: each sees its own row as durable, and the order is that of the commits.
        let order = Guarded<[Int]>([])
        onThreads(16) { thread in
            try? database.database.write { writer in
                let next = try writer.first("SELECT count(*) FROM note") { try $0.integer(0) } ?? -1
                try writer.run("INSERT INTO note (thread, number) VALUES (1, \(next))")
                writer.afterCommit { order.withLock { $0.append(next) } }
            }
        }
        #expect(order.withLock { $0 } == Array(1...16))
    }

    /// Bodies are held in the transaction until the others queue, so that one batch has all of them.
    @Test(arguments: Engine.all) func waitingBodiesShareATransaction(_ engine: Engine) throws {
        let database = try table(engine)
        let moments = Guarded<Set<Int>>([])
        let entered = DispatchSemaphore(value: 0)
        let go = DispatchSemaphore(value: 0)
        onThreads(2) { thread in
            if thread == 0 {
                try? database.database.write { writer in
                    try writer.run("INSERT INTO note (thread, number) VALUES (0, 0)")
                    entered.signal()
                    go.wait()
                }
            } else {
                entered.wait()
                onThreads(9) { inner in
                    if inner == 8 {
                        go.signal()
                        return
                    }
                    try? database.database.write { writer in
                        try writer.run("INSERT INTO note (thread, number) VALUES (\(inner + 1), 0)")
                        let sql: SQL = "SELECT count(*) FROM note"
                        let rows = try writer.first(sql) { try $0.integer(0) } ?? -1
                        moments.withLock { _ = $0.insert(rows) }
                    }
                }
            }
        }
        #expect(try notes(database.database).count == 9)
        // Whatever the batches were, each body saw exactly the rows of those before it.
        #expect(moments.withLock { $0 } == Set(2...9))
    }
}
