internal import Assembly
internal import Base
internal import Storage

extension Command {
    static let migrate = Command(
        "migrate",
        summary: "makes directories and keys that are missing, and brings the database to this version's schema"
    ) { invocation in
        let settings = try ToolSettings.load()
        try MigrateCommand.migrate(settings, Paths(settings), invocation.output, quiet: false)
        return 0
    }
}

enum MigrateCommand {
    /// Safe to run again and by several at once.
    static func migrate(_ settings: Settings, _ paths: Paths, _ output: Output, quiet: Bool) throws {
        try paths.makeDirectories()
        _ = try Keys.load(settings, paths, create: true)
        let database = try Databases.open(settings, paths, creates: true)
        try database.migrate { version, migration in output.line("schema version \(version): \(migration.name)") }
        if !quiet { output.line("the schema is version \(try database.schemaVersion())") }
    }
}
