public import Base
public import Storage

/// The database that the settings name.
public enum Databases {
    /// Opens it, whatever its schema is. Throws `StorageError`. Only who migrates `creates` a file that is not there: a
    /// look at a server that does not exist yet must not leave an empty database, perhaps of another user's.
    public static func open(
        _ settings: Settings, _ paths: Paths, creates: Bool = false, log: Log = .silent
    ) throws -> any MigratableDatabase {
        guard let url = settings[Settings.databaseURL] else {
            return try SQLite(path: paths.database, doorbell: paths.doorbell, creates: creates)
        }
        return try Postgres(url: String(decoding: url.withBytes { $0 }, as: UTF8.self), log: log)
    }

    /// Opens it for a service: throws `StorageError.schemaVersion` unless the schema is this program's.
    public static func openForService(_ settings: Settings, _ paths: Paths, log: Log) throws -> any MigratableDatabase {
        let database = try open(settings, paths, log: log)
        try database.requireSchema()
        return database
    }
}
