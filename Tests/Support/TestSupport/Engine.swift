internal import Base
import Foundation
public import Storage

/// A database engine that contract tests run on. Each `TestDatabase` is a fresh one.
public enum Engine: String, CaseIterable, Sendable, CustomStringConvertible {
    case sqlite, postgres

    /// SQLite, and PostgreSQL when `SKYSTEAD_TEST_POSTGRES_URL` says where (`scripts/postgres url`).
    /// Without it PostgreSQL is left out with a word on standard error, unless `CI` is set: then its tests fail.
    public static let all: [Engine] = {
        if postgresURL != nil || environment("CI") != nil { return [.sqlite, .postgres] }
        FileHandle.standardError.write(
            Data("SKIPPED: PostgreSQL tests. Set SKYSTEAD_TEST_POSTGRES_URL=$(scripts/postgres start)\n".utf8))
        return [.sqlite]
    }()

    static let postgresURL = environment("SKYSTEAD_TEST_POSTGRES_URL")

    static func environment(_ name: String) -> String? {
        ProcessInfo.processInfo.environment[name].flatMap { $0.isEmpty ? nil : $0 }
    }

    public var description: String { rawValue }

    /// A fresh database with the schema of this program.
    public func migrated() throws -> TestDatabase {
        let fresh = try TestDatabase(self)
        try fresh.database.migrate(Migration.all, now: Timestamp(seconds: 0)) { _, _ in }
        return fresh
    }

    /// A fresh, empty database.
    public func empty() throws -> TestDatabase { try TestDatabase(self) }
}

/// A database of one test, removed with it. It is itself the `Database` to hand to stores, so that it lives as long.
public final class TestDatabase: MigratableDatabase {
    public let engine: Engine
    /// The directory that SQLite's file `test.db` is in; empty for PostgreSQL.
    public let directory: TestDirectory
    /// The schema of PostgreSQL that is this database's own.
    public let schema = "test_" + UUID().uuidString.lowercased().filter { $0 != "-" }
    private let base: any MigratableDatabase
    private let writes = Guarded(0)

    /// How often `write` was called.
    public var writeCount: Int { writes.withLock { $0 } }

    init(_ engine: Engine) throws {
        self.engine = engine
        directory = try TestDirectory()
        switch engine {
        case .sqlite: base = try SQLite(path: directory.path + "/test.db", doorbell: directory.path + "/bell")
        case .postgres:
            guard let url = Engine.postgresURL else { throw MissingPostgres() }
            try Postgres(url: url).execute("CREATE SCHEMA \(schema)")
            base = try Postgres(url: url, schema: schema)
        }
    }

    deinit {
        guard engine == .postgres, let url = Engine.postgresURL else { return }
        try? Postgres(url: url).execute("DROP SCHEMA \(schema) CASCADE")
    }

    public var database: any MigratableDatabase { self }

    /// The path or URL of this database, for another process.
    public var location: String {
        switch engine {
        case .sqlite: directory.path + "/test.db"
        case .postgres: Engine.postgresURL ?? ""
        }
    }

    /// A second, independent opening of the same database, as another process would have it. Keep this one alive.
    public func reopened() throws -> any MigratableDatabase {
        switch engine {
        case .sqlite: try SQLite(path: location, doorbell: directory.path + "/bell")
        case .postgres: try Postgres(url: location, schema: schema)
        }
    }

    public var dialect: Dialect { base.dialect }

    public func read<Result>(_ body: (any Reader) throws -> Result) throws -> Result { try base.read(body) }
    public func write<Result>(queued: () -> Void, _ body: (any Writer) throws -> Result) throws -> Result {
        writes.withLock { $0 += 1 }
        return try base.write(queued: queued, body)
    }
    public func each(_ sql: SQL, _ body: (any Row) throws -> Bool) throws { try base.each(sql, body) }
    public func changeSignal() throws -> any ChangeSignal { try base.changeSignal() }
}

/// `CI` is set and `SKYSTEAD_TEST_POSTGRES_URL` is not.
public struct MissingPostgres: Error {}

/// A new directory under the system's temporary directory, removed with the value.
public final class TestDirectory: Sendable {
    public let path: String

    public init() throws {
        let url = FileManager.default.temporaryDirectory.appendingPathComponent("skystead-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        path = url.path
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }
}

extension Database {
    /// `write` with a statement whose text is not a literal: for a test's own tables.
    public func execute(_ statement: String) throws {
        _ = try write { try $0.run(SQL(stringLiteral: statement)) }
    }
}
