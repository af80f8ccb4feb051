internal import Base

/// What is done to a file now and then, by a timer or by hand. None of it stops readers or other processes.
extension SQLite {
    /// Writes a whole, consistent copy of the database to `path`, where no file may be yet. Writers go on meanwhile.
    /// Never copy the file itself: it is half in its WAL.
    public func backup(to path: String) throws {
        let connection = try maintenanceConnection()
        _ = try connection.run("VACUUM INTO \(path)")
    }

    /// Brings the WAL into the database and makes its file small, when no reader or writer is in the way.
    /// Returns false when one was.
    public func checkpoint() throws -> Bool {
        let connection = try maintenanceConnection()
        return try connection.first("PRAGMA wal_checkpoint(TRUNCATE)") { try $0.integer(0) } == 0
    }

    /// What a quick look finds wrong with the file: pages and their order, not indexes against tables. Reads it all,
    /// once; empty when all is well.
    public func quickProblems() throws -> [String] { try problems("PRAGMA quick_check(10)") }

    /// What SQLite finds wrong with the file and with references between tables; empty when all is well. Reads it all.
    public func integrityProblems() throws -> [String] {
        let problems = try problems("PRAGMA integrity_check")
        if !problems.isEmpty { return problems }
        let orphans = try maintenanceConnection().all("PRAGMA foreign_key_check") { try $0.text(0).description }
        return orphans.map { "a row of \($0) refers to nothing" }
    }

    /// The answer of a check. A file may be so damaged that the check itself can't go on: then that is the problem.
    private func problems(_ check: SQL) throws -> [String] {
        do {
            return try maintenanceConnection().all(check) { try $0.text(0).description }.filter { $0 != "ok" }
        } catch StorageError.refused(_, let message, _) {
            return [message]
        }
    }
}
