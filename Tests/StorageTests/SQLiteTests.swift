import Base
import Foundation
import TestSupport
import Testing

@testable import Storage

@Suite struct SQLiteTests {
    private func changed(_ pragma: String, to statement: String) -> [SQLiteConnection.Setting] {
        SQLiteConnection.settings.map {
            $0.query == "PRAGMA \(pragma)"
                ? SQLiteConnection.Setting(statement: statement, query: $0.query, wanted: $0.wanted) : $0
        }
    }

    @Test(arguments: [
        ("synchronous", "PRAGMA synchronous = NORMAL", "1"), ("synchronous", "PRAGMA synchronous = OFF", "0"),
        ("journal_mode", "PRAGMA journal_mode = DELETE", "delete"), ("foreign_keys", "PRAGMA foreign_keys = OFF", "0"),
        ("trusted_schema", "PRAGMA trusted_schema = ON", "1"), ("mmap_size", "PRAGMA mmap_size = 1048576", "1048576"),
        ("cell_size_check", "PRAGMA cell_size_check = OFF", "0"),
    ])
    func anUnsafeSettingIsRefused(_ pragma: String, _ statement: String, _ found: String) throws {
        let directory = try TestDirectory()
        #expect(throws: StorageError.unsafeSetting("PRAGMA \(pragma) is \(found)")) {
            _ = try SQLite(path: directory.path + "/a.db", settings: changed(pragma, to: statement))
        }
        _ = try SQLite(path: directory.path + "/b.db")
    }

    @Test func whatIsNoDatabaseIsRefused() throws {
        let directory = try TestDirectory()
        try Data(repeating: 0x41, count: 8_192).write(to: URL(fileURLWithPath: directory.path + "/text"))
        for name in ["text", "missing/a.db", ""] {
            #expect(throws: StorageError.self, "\(name)") { _ = try SQLite(path: directory.path + "/" + name) }
        }
    }

    @Test func aFullDiskIsHonestAndHeals() throws {
        let directory = try TestDirectory()
        let database = try SQLite(path: directory.path + "/a.db")
        try database.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b BLOB) STRICT")
        try database.write { _ = try $0.run("INSERT INTO t (b) VALUES (\([1] as [UInt8]))") }
        func limitPages(_ count: Int) throws -> Int? {
            try database.write { writer in
                try writer.first(SQL(stringLiteral: "PRAGMA max_page_count = \(count)")) { try $0.integer(0) }
            }
        }
        let used = try #require(try limitPages(1))
        _ = try limitPages(used + 4)
        let big = [UInt8](repeating: 1, count: 100_000)
        #expect(throws: StorageError.full) {
            try database.write { _ = try $0.run("INSERT INTO t (b) VALUES (\(big))") }
        }
        // A body that hides it does not get through either.
        #expect(throws: StorageError.full) {
            try database.write { _ = try? $0.run("INSERT INTO t (b) VALUES (\(big))") }
        }
        let count = { try database.read { try $0.first("SELECT count(*) FROM t") { try $0.integer(0) } } }
        #expect(try count() == 1)
        // In a batch, those who shared the transaction are told too, and nothing is half there.
        let outcomes = Guarded<[Bool]>([])
        onThreads(8) { thread in
            let bytes = thread == 3 ? big : [1]
            let isDone = (try? database.write { try $0.run("INSERT INTO t (b) VALUES (\(bytes))") }) != nil
            outcomes.withLock { $0.append(isDone) }
        }
        #expect(try count() == 1 + outcomes.withLock { $0.filter { $0 }.count })
        #expect(outcomes.withLock { $0.filter { !$0 }.count } >= 1)
        _ = try limitPages(1_000_000)
        try database.write { _ = try $0.run("INSERT INTO t (b) VALUES (\(big))") }
        #expect(try database.read { try $0.first("PRAGMA integrity_check") { try $0.text(0) } } == "ok")
    }

    @Test func anotherProcessMayWriteToo() throws {
        let directory = try TestDirectory()
        let one = try SQLite(path: directory.path + "/a.db")
        let other = try SQLite(path: directory.path + "/a.db")
        try one.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b INTEGER NOT NULL) STRICT")
        let failures = Guarded(0)
        onThreads(8) { thread in
            let database = thread % 2 == 0 ? one : other
            for number in 0..<20 {
                do {
                    try database.write { _ = try $0.run("INSERT INTO t (a, b) VALUES (\(thread * 100 + number), 0)") }
                } catch {
                    failures.withLock { $0 += 1 }
                }
            }
        }
        #expect(failures.withLock { $0 } == 0)
        for database in [one, other] {
            #expect(try database.read { try $0.first("SELECT count(*) FROM t") { try $0.integer(0) } } == 160)
        }
    }

    /// What a transaction that is taken back had gathered for the WAL must not be written over another process's
    /// commit. It is longer than the cache, which would otherwise be emptied into the WAL on the way.
    @Test func whatIsTakenBackIsNotWritten() throws {
        struct Undone: Error {}
        let directory = try TestDirectory()
        let one = try SQLite(path: directory.path + "/a.db")
        let other = try SQLite(path: directory.path + "/a.db")
        let third = try SQLite(path: directory.path + "/a.db")
        try one.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b BLOB NOT NULL) STRICT")
        func insert(_ byte: UInt8, _ count: Int, _ writer: any Writer) throws {
            let big = [UInt8](repeating: byte, count: 1 << 20)
            for _ in 0..<count { try writer.run("INSERT INTO t (b) VALUES (\(big))") }
        }
        // Somebody reads all the while: nothing is copied out of the WAL.
        try third.read { reader in
            _ = try reader.first("SELECT count(*) FROM t") { try $0.integer(0) }
            #expect(throws: Undone.self) {
                try one.write { writer in
                    try insert(1, 24, writer)
                    throw Undone()
                }
            }
            try other.write { try insert(2, 32, $0) }
            try one.write { try insert(3, 1, $0) }
        }
        for database in [one, other, third] {
            let sizes = try database.read { reader in
                try reader.all("SELECT hex(substr(b, 1, 1)) || count(*) FROM t GROUP BY substr(b, 1, 1) ORDER BY 1") {
                    try $0.text(0).description
                }
            }
            #expect(sizes == ["0232", "031"])
            #expect(try database.integrityProblems() == [])
        }
    }

    @Test func aBackupIsWholeAndOverwritesNothing() throws {
        let directory = try TestDirectory()
        let database = try SQLite(path: directory.path + "/a.db")
        try database.execute("CREATE TABLE t (a INTEGER PRIMARY KEY) STRICT")
        try database.write { for number in 0..<100 { try $0.run("INSERT INTO t (a) VALUES (\(number))") } }
        let copy = directory.path + "/it's a copy.db"
        try database.backup(to: copy)
        try database.write { _ = try $0.run("DELETE FROM t") }
        #expect(throws: StorageError.self, "the copy is there already") { try database.backup(to: copy) }
        #expect(throws: StorageError.self, "no directory") { try database.backup(to: directory.path + "/none/a.db") }
        let restored = try SQLite(path: copy)
        #expect(try restored.read { try $0.first("SELECT count(*) FROM t") { try $0.integer(0) } } == 100)
        #expect(try restored.integrityProblems() == [])
    }

    @Test func aCheckpointEmptiesTheWAL() throws {
        let directory = try TestDirectory()
        let path = directory.path + "/a.db"
        let database = try SQLite(path: path)
        try database.execute("CREATE TABLE t (a INTEGER PRIMARY KEY) STRICT")
        func size() throws -> Int? {
            try FileManager.default.attributesOfItem(atPath: path + "-wal")[.size] as? Int
        }
        #expect(try size() ?? 0 > 0)
        #expect(try database.checkpoint())
        #expect(try size() == 0)
    }

    @Test func damageAndOrphansAreFound() throws {
        let directory = try TestDirectory()
        let path = directory.path + "/a.db"
        try {
            let database = try SQLite(path: path)
            try database.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b BLOB NOT NULL) STRICT")
            try database.execute("CREATE INDEX t_by_b ON t (b)")
            try database.write { writer in
                for number in 0..<500 {
                    try writer.run("INSERT INTO t (a, b) VALUES (\(number), \(Bytes("row \(number)")))")
                }
            }
            #expect(try database.integrityProblems() == [])
            #expect(try database.checkpoint())
        }()
        // One letter of a row is changed on the disk: table and index disagree from then on.
        var file = try Data(contentsOf: URL(fileURLWithPath: path))
        let place = try #require(file.range(of: Data("row 123".utf8)))
        file[place.lowerBound] = 0x52
        try file.write(to: URL(fileURLWithPath: path))
        let damaged = try SQLite(path: path)
        #expect(try damaged.integrityProblems() != [])
    }

    /// E010: a page that was changed on the disk takes down what is on it, and nothing else.
    @Test func whatIsNotDamagedIsStillServed() throws {
        let directory = try TestDirectory()
        let path = directory.path + "/a.db"
        try {
            let database = try SQLite(path: path)
            for name in ["bad", "good"] {
                func hex(_ number: Int) -> String {
                    String(decoding: Hex.encode(Array("row \(number) of \(name)".utf8)), as: UTF8.self)
                }
                try database.execute("CREATE TABLE \(name) (a INTEGER PRIMARY KEY, b BLOB NOT NULL) STRICT")
                try database.write { writer in
                    for number in 0..<400 {
                        try writer.run(SQL(stringLiteral: "INSERT INTO \(name) VALUES (\(number), x'\(hex(number))')"))
                    }
                }
            }
            #expect(try database.checkpoint())
        }()
        var file = try Data(contentsOf: URL(fileURLWithPath: path))
        let page = try #require(file.range(of: Data("row 200 of bad".utf8))).lowerBound / 4_096 * 4_096
        file.replaceSubrange(page..<(page + 100), with: Data(repeating: 0xFF, count: 100))
        try file.write(to: URL(fileURLWithPath: path))
        let database = try SQLite(path: path)
        func all(_ table: String) throws -> Int {
            try database.read { try $0.all(SQL(stringLiteral: "SELECT b FROM \(table)")) { try $0.bytes(0) } }.count
        }
        for _ in 0..<3 {
            let error = #expect(throws: StorageError.self) { _ = try all("bad") }
            guard case .refused(let code, let message, _) = error else {
                Issue.record("\(error as Any)")
                return
            }
            // SQLITE_CORRUPT, in words that the log has.
            #expect((Int32(code) ?? 0) & 0xFF == 11 && message.contains("malformed"))
            #expect(try all("good") == 400)
            try database.write { _ = try $0.run("INSERT INTO good (b) VALUES (\([1] as [UInt8]))") }
            try database.write { _ = try $0.run("DELETE FROM good WHERE b = \([1] as [UInt8])") }
        }
        #expect(try database.integrityProblems() != [])
    }

    /// E005: without a descriptor for another connection the answer is to try again, and it helps.
    @Test func outOfDescriptors() async {
        await #expect(processExitsWith: .success) {
            let directory = try TestDirectory()
            let path = directory.path + "/a.db"
            let database = try SQLite(path: path)
            try database.execute("CREATE TABLE t (a INTEGER PRIMARY KEY) STRICT")
            func count() throws -> Int? {
                try database.read { try $0.first("SELECT count(*) FROM t") { try $0.integer(0) } }
            }
            var limit = rlimit(rlim_cur: 256, rlim_max: 256)
            setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
            var taken: [Int32] = []
            while true {
                let descriptor = open("/dev/null", O_RDONLY)
                guard descriptor >= 0 else { break }
                taken.append(descriptor)
            }
            // The first reader's connection is opened when it is needed.
            #expect(throws: StorageError.busy) { _ = try count() }
            #expect(throws: StorageError.busy) { _ = try SQLite(path: path) }
            // What is open goes on.
            try database.execute("INSERT INTO t (a) VALUES (1)")
            for descriptor in taken { close(descriptor) }
            #expect(try count() == 1)
        }
    }

    @Test func aWriteInsideAWriteStops() async {
        await #expect(processExitsWith: .failure) {
            let directory = try TestDirectory()
            let database = try SQLite(path: directory.path + "/a.db")
            try database.write { _ in try database.write { _ in } }
        }
    }

    @Test func aWriterWaitsForTheOthersAndNotForEver() throws {
        let directory = try TestDirectory()
        let one = try SQLite(path: directory.path + "/a.db")
        let impatient = try SQLite(path: directory.path + "/a.db", busyMillisecondsMax: 20)
        try one.execute("CREATE TABLE t (a INTEGER PRIMARY KEY) STRICT")
        try one.write { writer in
            try writer.run("INSERT INTO t (a) VALUES (1)")
            #expect(throws: StorageError.busy) {
                try impatient.write { _ = try $0.run("INSERT INTO t (a) VALUES (2)") }
            }
        }
        try impatient.write { _ = try $0.run("INSERT INTO t (a) VALUES (3)") }
        #expect(try one.read { try $0.all("SELECT a FROM t ORDER BY 1") { try $0.integer(0) } } == [1, 3])
    }

    @Test func theCacheForgetsTheOldest() {
        typealias Key = StatementCache<Int>.Key
        var cache = StatementCache<Int>(countMax: 2)
        #expect(cache.insert(1, for: Key("a")) == nil)
        #expect(cache.insert(2, for: Key("b")) == nil)
        #expect(cache.find(Key("a")) == 1)
        #expect(cache.insert(3, for: Key("c")) == 2)
        #expect(cache.find(Key("b")) == nil)
        #expect(cache.find(Key("a")) == 1)
        #expect(cache.find(Key("c")) == 3)
        #expect(cache.insert(4, for: Key("c")) == 3)
        #expect(cache.find(Key("c")) == 4)
        #expect(cache.count == 2)
    }

    @Test func tooManyReadersWaitForEachOther() throws {
        let directory = try TestDirectory()
        let database = try SQLite(path: directory.path + "/a.db")
        try database.execute("CREATE TABLE t (a INTEGER PRIMARY KEY) STRICT")
        let answers = Guarded(0)
        onThreads(SQLite.readerCountMax * 3) { _ in
            for _ in 0..<20 {
                let found = try? database.read { try $0.first("SELECT count(*) FROM t") { try $0.integer(0) } }
                if found == 0 { answers.withLock { $0 += 1 } }
            }
        }
        #expect(answers.withLock { $0 } == SQLite.readerCountMax * 3 * 20)
    }
}
