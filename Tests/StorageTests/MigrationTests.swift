import Base
import TestSupport
import Testing

@testable import Storage

@Suite struct MigrationTests {
    private static let one = Migration(
        name: "one", statements: ["CREATE TABLE first (id {integer} PRIMARY KEY) {strict}"])
    private static let two = Migration(
        name: "two",
        statements: ["CREATE TABLE second (key {bytes} PRIMARY KEY) {clustered}", "INSERT INTO first (id) VALUES (1)"])
    private static let broken = Migration(
        name: "broken",
        statements: ["CREATE TABLE third (id {integer} PRIMARY KEY) {strict}", "CREATE TABLE first (id {integer})"])

    @Test(arguments: Engine.all) func stepsAreAppliedOnceAndInOrder(_ engine: Engine) throws {
        let database = try engine.empty().database
        #expect(try database.schemaVersion() == 0)
        var heard: [String] = []
        try database.migrate([Self.one]) { heard.append("\($0) \($1.name)") }
        #expect(try database.schemaVersion() == 1)
        try database.migrate([Self.one, Self.two]) { heard.append("\($0) \($1.name)") }
        try database.migrate([Self.one, Self.two]) { heard.append("\($0) \($1.name)") }
        #expect(heard == ["1 one", "2 two"])
        #expect(try database.schemaVersion() == 2)
        try database.requireSchema([Self.one, Self.two])
    }

    @Test(arguments: Engine.all) func aBrokenStepLeavesNothing(_ engine: Engine) throws {
        let database = try engine.empty().database
        #expect(throws: StorageError.self) { try database.migrate([Self.one, Self.broken]) }
        #expect(try database.schemaVersion() == 1)
        #expect(throws: StorageError.self) { try database.read { _ = try $0.first("SELECT id FROM third") { _ in 0 } } }
        try database.migrate([Self.one, Self.two])
        #expect(try database.schemaVersion() == 2)
    }

    @Test(arguments: Engine.all) func theWrongVersionIsRefused(_ engine: Engine) throws {
        let database = try engine.empty().database
        #expect(throws: StorageError.schemaVersion(found: 0, wanted: 1)) { try database.requireSchema([Self.one]) }
        try database.migrate([Self.one, Self.two])
        #expect(throws: StorageError.schemaVersion(found: 2, wanted: 1)) { try database.requireSchema([Self.one]) }
        #expect(throws: StorageError.schemaVersion(found: 2, wanted: 1)) { try database.migrate([Self.one]) }
        #expect(throws: StorageError.schemaVersion(found: 2, wanted: 3)) {
            try database.requireSchema([Self.one, Self.two, Self.broken])
        }
    }

    @Test(arguments: Engine.all) func theWholeSchemaIsAppliedAndKeepsItsRules(_ engine: Engine) throws {
        let database = try engine.migrated().database
        try database.requireSchema()
        let counters = try database.read {
            try $0.all("SELECT name, value FROM counter ORDER BY name") { try $0.text(0) }
        }
        #expect(Set(counters).isSuperset(of: ["admin_action", "event", "label", "lexicon", "repo", "report"]))
        #expect(throws: StorageError.self, "a key without its account") {
            try database.write {
                _ = try $0.run("INSERT INTO signing_key (did, did_key, sealed) VALUES ('a', 'b', \(Bytes()))")
            }
        }
    }

    @Test(arguments: Engine.all) func whatWasStoredBeforeIsCounted(_ engine: Engine) throws {
        let database = try engine.empty().database
        let before = Migration.all.prefix { $0.name != Migration.storageUse.name }
        try database.migrate(Array(before))
        try database.write { writer in
            for (id, did) in [(1, "did:a"), (2, "did:b")] {
                try writer.run(
                    """
                    INSERT INTO repo (id, did, rev, commit_cid, data_cid, commit_block)
                    VALUES (\(id), \(did), 'r', \(Bytes()), \(Bytes()), \(Bytes()))
                    """)
            }
            for (repo, key, value) in [(1, "x/1" as Bytes, "12345" as Bytes), (1, "x/2", "ÿ"), (7, "x/1", "of nobody")]
            {
                try writer.run(
                    """
                    INSERT INTO record (repo, key, cid, rev, value)
                    VALUES (\(repo), \(key), \(Bytes()), 'r', \(value))
                    """)
            }
            for (did, cid, size) in [("did:a", "1" as Bytes, 3_000_000_000), ("did:a", "2", 1), ("did:c", "1", 5)] {
                try writer.run(
                    """
                    INSERT INTO blob (did, cid, mime_type, size, created_at, temporary)
                    VALUES (\(did), \(cid), 'a/b', \(size), 0, 1)
                    """)
            }
        }
        try database.migrate()
        let use = try database.read {
            try $0.all("SELECT record_bytes, blob_bytes FROM repo ORDER BY id") {
                [try $0.integer(0), try $0.integer(1)]
            }
        }
        #expect(use == [[7, 3_000_000_001], [0, 0]])
    }

    @Test func everyTokenHasAWord() {
        for migration in Migration.all {
            for statement in migration.statements {
                for dialect in [Dialect.sqlite, .postgres] { #expect(!dialect.render(statement).contains("{")) }
            }
        }
        #expect(Dialect.sqlite.render("a {clustered}{text} {unknown} {") == "a STRICT, WITHOUT ROWIDTEXT {unknown} {")
        #expect(Dialect.postgres.render("{text}") == "TEXT COLLATE \"C\"")
    }
}
