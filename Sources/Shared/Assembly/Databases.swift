public import Base
public import Storage

/// The database that the settings name.
public enum Databases {
    /// Opens it, whatever its schema is.
    public static func open(_ settings: Settings, _ paths: Paths) throws -> any MigratableDatabase {
        guard settings[Settings.databaseURL] != nil else { return try SQLite(path: paths.database) }
        throw StorageError.unsafeSetting("PostgreSQL is not linked yet")
    }
}
