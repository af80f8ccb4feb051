import Base
import Storage
import TestSupport
import Testing

/// What `Database` promises, on both engines.
@Suite struct ContractTests {
    /// A database with a table of every column type.
    private func things(_ engine: Engine) throws -> TestDatabase {
        let fresh = try engine.empty()
        let create = """
            CREATE TABLE thing (
                id {integer} PRIMARY KEY, name {text} UNIQUE, body {bytes}, size {integer} CHECK (size >= 0)
            ) {strict}
            """
        try fresh.database.execute(fresh.database.dialect.render(create))
        return fresh
    }

    private func count(_ database: any Database) throws -> Int? {
        try database.read { try $0.first("SELECT count(*) FROM thing") { try $0.integer(0) } }
    }

    @Test(arguments: Engine.all) func valuesComeBackAsTheyWere(_ engine: Engine) throws {
        let fresh = try things(engine)
        let integers = [0, 1, -1, 1 << 31, 1 << 53, 1 << 62, Int.max, Int.min]
        for (id, integer) in integers.enumerated() {
            let found = try fresh.database.write { writer in
                try writer.run("INSERT INTO thing (id, size) VALUES (\(id), \(integer < 0 ? nil : integer))")
                return try writer.first("SELECT size, \(integer) + 0 FROM thing WHERE id = \(id)") { row in
                    [try row.optionalInteger(0), try row.integer(1)]
                }
            }
            #expect(found == [integer < 0 ? nil : integer, integer])
        }
        let byteStrings: [[UInt8]] = [[], [0], [0, 1, 0], [0xFF, 0xFE, 0x80], Array(repeating: 7, count: 100_000)]
        for (position, bytes) in byteStrings.enumerated() {
            let found = try fresh.database.write { writer in
                try writer.run("INSERT INTO thing (id, body) VALUES (\(100 + position), \(bytes))")
                return try writer.first("SELECT body, body IS NULL FROM thing WHERE body = \(bytes)") { row in
                    try row.withBytes(0) { #expect($0.elementsEqual(bytes)) }
                    return try row.bytes(0)
                }
            }
            #expect(found == Bytes(bytes))
        }
        for (position, text) in ["", "a", "e\u{301}", "\u{e9}", "a\r\nb", "\u{1F600}", "'; --"].enumerated() {
            let found = try fresh.database.write { writer in
                try writer.run("INSERT INTO thing (id, name) VALUES (\(200 + position), \(text))")
                return try writer.first("SELECT name FROM thing WHERE name = \(text)") { try $0.text(0) }
            }
            #expect(found == Bytes(text))
        }
    }

    @Test(arguments: Engine.all) func textThatIsNoTextIsRefused(_ engine: Engine) throws {
        let fresh = try things(engine)
        let rows: [(name: String, text: [UInt8], isStored: Bool)] = [
            ("plain", [0x61], true), ("two bytes", [0xC3, 0xA9], true), ("NUL", [0x61, 0, 0x62], false),
            ("lone continuation", [0x80], false), ("cut short", [0xC3], false),
            ("surrogate", [0xED, 0xA0, 0x80], false),
        ]
        for (id, row) in rows.enumerated() {
            let insert = { (writer: any Writer) in
                _ = try writer.run("INSERT INTO thing (id, name) VALUES (\(id), \(SQL.Value.text(Bytes(row.text))))")
            }
            if row.isStored {
                try fresh.database.write(insert)
            } else {
                let error = #expect(throws: StorageError.self, "\(row.name)") { try fresh.database.write(insert) }
                guard case .refused(code: "22021", _, _)? = error else {
                    Issue.record("\(row.name): \(String(describing: error))")
                    continue
                }
            }
        }
        #expect(try count(fresh.database) == 2)
    }

    @Test(arguments: Engine.all) func wrongColumnsAreRefused(_ engine: Engine) throws {
        let fresh = try things(engine)
        try fresh.database.write {
            _ = try $0.run("INSERT INTO thing (id, name, body) VALUES (1, 'a', \([1] as [UInt8]))")
        }
        let rows: [(name: String, column: Int, read: (any Row) throws -> Void)] = [
            ("text as integer", 1, { _ = try $0.integer(1) }), ("bytes as text", 2, { _ = try $0.text(2) }),
            ("text as bytes", 1, { _ = try $0.bytes(1) }), ("NULL as integer", 3, { _ = try $0.integer(3) }),
            ("integer as bytes in place", 0, { row in try row.withBytes(0) { _ in } }),
            ("NULL in place", 3, { row in try row.withBytes(3) { _ in } }),
            ("past the last", 4, { _ = try $0.integer(4) }), ("before the first", -1, { _ = try $0.optionalText(-1) }),
        ]
        for row in rows {
            #expect(throws: StorageError.unexpectedColumn(row.column), "\(row.name)") {
                try fresh.database.read { _ = try $0.first("SELECT id, name, body, size FROM thing", row.read) }
            }
        }
        let nothing = try fresh.database.read { reader in
            try reader.first("SELECT size, size, size FROM thing") { row in
                try row.optionalInteger(0) == nil && row.optionalText(1) == nil && row.optionalBytes(2) == nil
            }
        }
        #expect(nothing == true)
    }

    @Test(arguments: Engine.all) func brokenStatementsAreRefused(_ engine: Engine) throws {
        let fresh = try things(engine)
        try fresh.database.write { _ = try $0.run("INSERT INTO thing (id, name) VALUES (1, 'taken')") }
        enum Kind { case constraint, refused }
        let rows: [(name: String, kind: Kind, sql: SQL)] = [
            ("primary key", .constraint, "INSERT INTO thing (id) VALUES (1)"),
            ("unique", .constraint, "INSERT INTO thing (id, name) VALUES (2, 'taken')"),
            ("check", .constraint, "INSERT INTO thing (id, size) VALUES (2, -1)"),
            ("no such table", .refused, "INSERT INTO nothing (id) VALUES (2)"),
            ("syntax", .refused, "INSERT thing"), ("no argument", .refused, "INSERT INTO thing (id) VALUES ($1)"),
            ("text for an integer", .refused, "INSERT INTO thing (id, size) VALUES (2, \("x"))"),
        ]
        for row in rows {
            let error = #expect(throws: StorageError.self, "\(row.name)") {
                try fresh.database.write { _ = try $0.run(row.sql) }
            }
            switch (error, row.kind) {
            case (.constraint, .constraint), (.refused, .refused): break
            // STRICT's own check is a constraint to SQLite, a bad argument to PostgreSQL.
            case (.constraint, .refused) where row.name == "text for an integer": break
            default: Issue.record("\(row.name): \(String(describing: error))")
            }
        }
        #expect(try count(fresh.database) == 1)
        try fresh.database.write { _ = try $0.run("INSERT INTO thing (id) VALUES (2)") }
        #expect(try count(fresh.database) == 2)
    }

    @Test(arguments: Engine.all) func aCaughtFailureStillFailsTheBody(_ engine: Engine) throws {
        let fresh = try things(engine)
        #expect(throws: StorageError.self) {
            try fresh.database.write { writer in
                try writer.run("INSERT INTO thing (id) VALUES (1)")
                _ = try? writer.run("INSERT INTO thing (id) VALUES (1)")
            }
        }
        #expect(try count(fresh.database) == 0)
    }

    @Test(arguments: Engine.all) func readersCannotWrite(_ engine: Engine) throws {
        let fresh = try things(engine)
        #expect(throws: StorageError.self) {
            try fresh.database.read { try $0.each("INSERT INTO thing (id) VALUES (1) RETURNING id") { _ in true } }
        }
        #expect(try count(fresh.database) == 0)
    }

    @Test(arguments: Engine.all) func runCountsChangedRows(_ engine: Engine) throws {
        let fresh = try things(engine)
        let counts = try fresh.database.write { writer in
            [
                try writer.run("INSERT INTO thing (id, size) VALUES (1, 1), (2, 1), (3, 2)"),
                try writer.run("UPDATE thing SET size = 5 WHERE size = 1"),
                try writer.run("UPDATE thing SET size = 5 WHERE size = 77"),
                try writer.run("INSERT INTO thing (id) VALUES (1) ON CONFLICT (id) DO NOTHING"),
                try writer.run("DELETE FROM thing"),
            ]
        }
        #expect(counts == [3, 2, 0, 0, 3])
    }

    @Test(arguments: Engine.all) func aReaderSeesOneMoment(_ engine: Engine) throws {
        let fresh = try things(engine)
        let database = fresh.database
        try database.write { _ = try $0.run("INSERT INTO thing (id) VALUES (1)") }
        let seen = try database.read { reader in
            let before = try reader.first("SELECT count(*) FROM thing") { try $0.integer(0) }
            // On the same thread, in the middle of the read: a reader never stops a writer.
            try database.write { _ = try $0.run("INSERT INTO thing (id) VALUES (2)") }
            let after = try reader.first("SELECT count(*) FROM thing") { try $0.integer(0) }
            return [before, after]
        }
        #expect(seen == [1, 1])
        #expect(try count(database) == 2)
    }

    @Test(arguments: Engine.all) func statementsNest(_ engine: Engine) throws {
        let fresh = try things(engine)
        try fresh.database.write { _ = try $0.run("INSERT INTO thing (id, size) VALUES (1, 2), (2, 3), (3, 1)") }
        let path = try fresh.database.read { reader in
            func next(_ id: Int, _ depth: Int) throws -> [Int] {
                guard depth > 0 else { return [] }
                return try reader.first("SELECT size FROM thing WHERE id = \(id)") { row in
                    let size = try row.integer(0)
                    return [size] + (try next(size, depth - 1))
                } ?? []
            }
            return try next(1, 4)
        }
        #expect(path == [2, 3, 1, 2])
    }

    @Test(arguments: Engine.all) func moreStatementsThanTheCacheHolds(_ engine: Engine) throws {
        let fresh = try things(engine)
        for round in 0..<2 {
            try fresh.database.read { reader in
                for number in 0..<300 {
                    let statement = SQL(stringLiteral: "SELECT \(number) + \(round)")
                    let found = try reader.first(statement) { try $0.integer(0) }
                    #expect(found == number + round)
                }
            }
        }
    }

    @Test(arguments: Engine.all) func keysSortByBytes(_ engine: Engine) throws {
        let fresh = try engine.empty()
        let create = "CREATE TABLE sorted (name {text} PRIMARY KEY, key {bytes} NOT NULL UNIQUE) {clustered}"
        try fresh.database.execute(fresh.database.dialect.render(create))
        let names = ["_", "-", "1", "a", "B", "_-1aB", "a_", "a-", "aB", "ab", "a.b", "é", "z", "~", "a b", "A"]
        try fresh.database.write { writer in
            for name in names { try writer.run("INSERT INTO sorted (name, key) VALUES (\(name), \(Bytes(name)))") }
        }
        let wanted = names.map { Bytes($0) }.sorted()
        #expect(
            try fresh.database.read { try $0.all("SELECT name FROM sorted ORDER BY name") { try $0.text(0) } } == wanted
        )
        #expect(
            try fresh.database.read { try $0.all("SELECT key FROM sorted ORDER BY key") { try $0.bytes(0) } } == wanted)
        let after = try fresh.database.read { reader in
            try reader.all("SELECT name FROM sorted WHERE name > \("_-1aB") ORDER BY name") { try $0.text(0) }
        }
        #expect(after == wanted.filter { $0 > "_-1aB" })
    }

    @Test(arguments: Engine.all) func sumsAreIntegers(_ engine: Engine) throws {
        let fresh = try things(engine)
        try fresh.database.write {
            _ = try $0.run("INSERT INTO thing (id, size) VALUES (1, 1), (2, 10000), (3, \(1 << 40)), (4, 0)")
        }
        let sum = try fresh.database.read { reader in
            try reader.first("SELECT sum(size), max(size), count(*), sum(size) > 5 FROM thing") { row in
                [try row.integer(0), try row.integer(1), try row.integer(2), try row.bool(3) ? 1 : 0]
            }
        }
        #expect(sum == [10_001 + 1 << 40, 1 << 40, 4, 1])
    }
}
