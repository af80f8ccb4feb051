import Base
import Foundation
import TestSupport
import Testing

@testable import Storage

/// What only a server can do: go away.
@Suite struct PostgresTests {
    /// One argument where there is a server, none elsewhere.
    static let engines = Engine.all.filter { $0 == .postgres }

    private func table(_ engine: Engine) throws -> TestDatabase {
        let fresh = try engine.empty()
        try fresh.execute("CREATE TABLE t (a BIGINT PRIMARY KEY)")
        return fresh
    }

    private func ownProcess(_ reader: any Reader) throws -> Int {
        try #require(try reader.first("SELECT pg_backend_pid()") { try $0.integer(0) })
    }

    /// Ends the server's process of a connection and returns when it is gone.
    private func terminate(_ process: Int, _ database: any Database) throws {
        let isGone = try database.read {
            try $0.first("SELECT pg_terminate_backend(\(process)::int, 10000)") { try $0.bool(0) }
        }
        #expect(isGone == true)
    }

    @Test(arguments: engines) func aConnectionLostWhileIdleIsReplaced(_ engine: Engine) throws {
        let fresh = try table(engine)
        let other = try fresh.reopened()
        let reading = try fresh.read { try ownProcess($0) }
        let writing = try fresh.write { try ownProcess($0) }
        #expect(reading != writing)
        try terminate(reading, other)
        try terminate(writing, other)
        #expect(try fresh.read { try $0.first("SELECT count(*) FROM t") { try $0.integer(0) } } == 0)
        try fresh.write { _ = try $0.run("INSERT INTO t (a) VALUES (1)") }
        #expect(try fresh.read { try $0.first("SELECT count(*) FROM t") { try $0.integer(0) } } == 1)
    }

    @Test(arguments: engines) func aConnectionLostInATransactionFailsItAsAWhole(_ engine: Engine) throws {
        let fresh = try table(engine)
        let other = try fresh.reopened()
        #expect(throws: StorageError.busy, "the statement after") {
            try fresh.write { writer in
                try writer.run("INSERT INTO t (a) VALUES (1)")
                try terminate(try ownProcess(writer), other)
                try writer.run("INSERT INTO t (a) VALUES (2)")
            }
        }
        #expect(throws: StorageError.unknownOutcome, "the commit after") {
            try fresh.write { writer in
                try writer.run("INSERT INTO t (a) VALUES (3)")
                try terminate(try ownProcess(writer), other)
            }
        }
        #expect(try fresh.read { try $0.first("SELECT count(*) FROM t") { try $0.integer(0) } } == 0)
        try fresh.write { _ = try $0.run("INSERT INTO t (a) VALUES (4)") }
        #expect(try other.read { try $0.all("SELECT a FROM t") { try $0.integer(0) } } == [4])
    }

    @Test(arguments: engines) func aWriterWaitsForTheOthersAndNotForEver(_ engine: Engine) throws {
        let fresh = try table(engine)
        var location = PostgresLocation(url: fresh.location, schema: fresh.schema)
        location.lockMillisecondsMax = 20
        let impatient = try Postgres(location, log: .standardError)
        try fresh.write { writer in
            try writer.run("INSERT INTO t (a) VALUES (1)")
            #expect(throws: StorageError.busy) {
                try impatient.write { _ = try $0.run("INSERT INTO t (a) VALUES (2)") }
            }
        }
        try impatient.write { _ = try $0.run("INSERT INTO t (a) VALUES (3)") }
        #expect(try fresh.read { try $0.all("SELECT a FROM t ORDER BY a") { try $0.integer(0) } } == [1, 3])
    }

    @Test(arguments: engines) func aRuleCheckedAtTheCommitFailsIt(_ engine: Engine) throws {
        let fresh = try table(engine)
        try fresh.execute(
            "CREATE TABLE child (a BIGINT REFERENCES t (a) DEFERRABLE INITIALLY DEFERRED)")
        let error = #expect(throws: StorageError.self) {
            try fresh.write { _ = try $0.run("INSERT INTO child (a) VALUES (1)") }
        }
        guard case .constraint? = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(try fresh.read { try $0.first("SELECT count(*) FROM child") { try $0.integer(0) } } == 0)
    }

    @Test(arguments: engines) func aListenerThatWasCutOffListensAgain(_ engine: Engine) throws {
        let fresh = try table(engine)
        let signal = try fresh.changeSignal()
        let listener = try #require(signal as? PostgresSignal)
        try terminate(listener.serverProcess, fresh)
        signal.drain()
        signal.drain()
        #expect(signal.descriptor >= 0)
        try fresh.write { $0.announceChange() }
        var entry = pollfd(fd: signal.descriptor, events: Int16(POLLIN), revents: 0)
        #expect(poll(&entry, 1, 10_000) == 1)
    }

    @Test func aServerThatIsNotThereIsBusy() {
        let long = String(repeating: "a", count: 41)
        let rows: [(name: String, url: String, schema: String, error: StorageError)] = [
            ("nobody listens", "postgresql://127.0.0.1:1/x", "public", .busy),
            ("no socket", "postgresql:///x?host=/nonexistent", "public", .busy),
            ("no URL", "postgresql://[", "public", .busy),
            ("a schema that is no word", "postgresql://127.0.0.1:1/x", "a; DROP", .unsafeSetting("schema a; DROP")),
            ("a long schema", "postgresql://127.0.0.1:1/x", long, .unsafeSetting("schema \(long)")),
            ("an empty schema", "postgresql://127.0.0.1:1/x", "", .unsafeSetting("schema ")),
        ]
        for row in rows {
            #expect(throws: row.error, "\(row.name)") {
                _ = try Postgres(url: row.url, schema: row.schema, log: .silent)
            }
        }
    }

    @Test(arguments: engines) func settingsOfTheURLDoNotWin(_ engine: Engine) throws {
        let fresh = try table(engine)
        let url = fresh.location + "?options=-csynchronous_commit%3Doff"
        let database = try Postgres(url: url, schema: fresh.schema)
        let found = try database.read { reader in
            try reader.first("SELECT current_setting('synchronous_commit'), current_schema()") {
                [try $0.text(0), try $0.text(1)]
            }
        }
        #expect(found == ["on", Bytes(fresh.schema)])
    }

    @Test func numericsBecomeIntegers() {
        func numeric(_ words: [Int16]) -> [UInt8] {
            words.flatMap { [UInt8(truncatingIfNeeded: $0 >> 8), UInt8(truncatingIfNeeded: $0)] }
        }
        let rows: [(name: String, raw: [UInt8], value: Int?)] = [
            ("zero", numeric([0, 0, 0, 0]), 0), ("seven", numeric([1, 0, 0, 0, 7]), 7),
            ("minus 10002", numeric([2, 1, 0x4000, 0, 1, 2]), -10_002), ("50000", numeric([1, 1, 0, 0, 5]), 50_000),
            ("Int.max", numeric([5, 4, 0, 0, 922, 3_372, 368, 5_477, 5_807]), Int.max),
            ("Int.min", numeric([5, 4, 0x4000, 0, 922, 3_372, 368, 5_477, 5_808]), Int.min),
            ("Int.max + 1", numeric([5, 4, 0, 0, 922, 3_372, 368, 5_477, 5_808]), nil),
            ("far too large", numeric([1, 30, 0, 0, 1]), nil), ("a half", numeric([1, -1, 0, 1, 5_000]), nil),
            ("one and a half", numeric([2, 0, 0, 1, 1, 5_000]), nil),
            ("not a number", numeric([0, 0, -16_384, 0]), nil),
            ("cut short", numeric([2, 1, 0, 0, 1]), nil), ("empty", [], nil),
        ]
        for row in rows {
            #expect(row.raw.withUnsafeBytes { PostgresRow.integer(numeric: $0) } == row.value, "\(row.name)")
        }
    }
}
