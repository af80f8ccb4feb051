public import Base

/// The two engines' words for what a migration leaves open.
public enum Dialect: Sendable {
    case sqlite, postgres

    /// `statement` with `{integer}`, `{text}`, `{bytes}`, `{strict}`, `{clustered}` and `{unlogged}` replaced.
    public func render(_ statement: String) -> String {
        var rendered = ""
        var rest = Substring(statement)
        while let open = rest.firstIndex(of: "{"), let close = rest[open...].firstIndex(of: "}") {
            rendered += rest[..<open]
            let token = rest[open...close]
            rendered += word(String(token.dropFirst().dropLast())) ?? String(token)
            rest = rest[rest.index(after: close)...]
        }
        return rendered + rest
    }

    private func word(_ token: String) -> String? {
        switch (token, self) {
        case ("integer", .sqlite): "INTEGER"
        case ("integer", .postgres): "BIGINT"
        case ("text", .sqlite): "TEXT"
        // Byte order, as SQLite's BINARY collation has it and as cursors need it.
        case ("text", .postgres): "TEXT COLLATE \"C\""
        case ("bytes", .sqlite): "BLOB"
        case ("bytes", .postgres): "BYTEA"
        case ("strict", .sqlite): "STRICT"
        case ("clustered", .sqlite): "STRICT, WITHOUT ROWID"
        // Its writes need no sync; a crash of the server empties it as a whole, a restart does not.
        case ("unlogged", .postgres): "UNLOGGED"
        case ("unlogged", .sqlite): ""
        case ("strict", .postgres), ("clustered", .postgres): ""
        default: nil
        }
    }

    /// Counts the tables called schema_version: 0 or 1.
    fileprivate var versionTableCount: SQL {
        switch self {
        case .sqlite: "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'schema_version'"
        case .postgres:
            "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'schema_version'"
        }
    }
}

/// A database whose schema can be brought up to date.
public protocol MigratableDatabase: Database {
    var dialect: Dialect { get }
}

extension MigratableDatabase {
    /// How many steps have been applied: 0 for an empty database.
    public func schemaVersion() throws -> Int {
        try read { try version(in: $0) }
    }

    private func version(in reader: any Reader) throws -> Int {
        let tables = try reader.first(dialect.versionTableCount) { try $0.integer(0) }
        guard tables == 1 else { return 0 }
        return try reader.first("SELECT count(*) FROM schema_version") { try $0.integer(0) } ?? 0
    }

    /// Throws `StorageError.schemaVersion` unless exactly `migrations` have been applied: what a service does first.
    public func requireSchema(_ migrations: [Migration] = Migration.all) throws {
        let found = try schemaVersion()
        if found != migrations.count { throw StorageError.schemaVersion(found: found, wanted: migrations.count) }
    }

    /// Applies the steps that are missing, each in a transaction of its own; `progress` hears of each that was done.
    /// Throws `StorageError.schemaVersion` when the database is newer than this program.
    public func migrate(
        _ migrations: [Migration] = Migration.all, now: Timestamp = Clock.system.now(),
        progress: (_ version: Int, _ migration: Migration) -> Void = { _, _ in }
    ) throws {
        try write { writer in
            let table = """
                CREATE TABLE IF NOT EXISTS schema_version (
                    version {integer} PRIMARY KEY, name {text} NOT NULL, applied_at {integer} NOT NULL
                ) {strict}
                """
            try writer.run(SQL(stringLiteral: dialect.render(table)))
        }
        var found = try schemaVersion()
        while found < migrations.count {
            // Another process may migrate too: what counts is read again with the write lock held.
            let applied: Migration? = try write { writer in
                found = try version(in: writer)
                guard found < migrations.count else { return nil }
                let migration = migrations[found]
                for statement in migration.statements {
                    try writer.run(SQL(stringLiteral: dialect.render(statement)))
                }
                let record: SQL = """
                    INSERT INTO schema_version (version, name, applied_at)
                    VALUES (\(found + 1), \(migration.name), \(now))
                    """
                try writer.run(record)
                return migration
            }
            guard let applied else { break }
            found += 1
            progress(found, applied)
        }
        if found > migrations.count { throw StorageError.schemaVersion(found: found, wanted: migrations.count) }
    }
}
