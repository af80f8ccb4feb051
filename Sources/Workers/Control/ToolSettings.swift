internal import Assembly
internal import Base
internal import Glibc

/// The settings of this run of the tool.
enum ToolSettings {
    /// Throws `ToolError` with every problem in one message. While `up` runs for the same data, its settings count
    /// where nothing else is said: a command in another terminal means that service.
    ///
    /// Root goes on as the owner of the data unless `asOwner` is false: a file that root makes there would be one that
    /// the service cannot write.
    static func load(asOwner: Bool = true) throws(ToolError) -> Settings {
        let settings = try loadAsIs()
        if asOwner { try becomeOwner(of: Paths(settings).data) }
        return settings
    }

    private static func becomeOwner(of path: String) throws(ToolError) {
        var status = stat()
        guard geteuid() == 0, stat(path, &status) == 0, status.st_uid != 0 else { return }
        guard let entry = getpwuid(status.st_uid), initgroups(entry.pointee.pw_name, entry.pointee.pw_gid) == 0,
            setgid(entry.pointee.pw_gid) == 0, setuid(status.st_uid) == 0
        else {
            throw ToolError(
                "cannot go on as user \(status.st_uid), who owns \(path): \(SystemError("setuid"))",
                remedy: "run this command as that user")
        }
    }

    private static func loadAsIs() throws(ToolError) -> Settings {
        do throws(Settings.Invalid) {
            let settings = try Settings.ofProcess()
            let paths = Paths(settings)
            guard UpLock.front(paths, settings) != nil, Files.exists(file(paths)) else { return settings }
            return try Settings.ofProcess(file: file(paths))
        } catch {
            throw ToolError(
                error.problems.joined(separator: "\nskystead: "), remedy: "docs/skystead-settings.md has every key")
        }
    }
}

extension ToolSettings {
    /// Where `up` leaves the settings that it was given: for its owner only.
    static func file(_ paths: Paths) -> String { "\(paths.run)/up.env" }
}

/// The lock that `up` holds while it runs, so that there is one, and so that other commands find its web server.
enum UpLock {
    static func path(_ paths: Paths) -> String { "\(paths.run)/up.lock" }

    /// Takes the lock for as long as the process lives. Throws `ToolError` when another `up` has it.
    static func take(_ paths: Paths) throws {
        let file = open(path(paths), O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
        guard file >= 0 else { throw SystemError("open \(path(paths))") }
        guard flock(file, LOCK_EX | LOCK_NB) == 0 else {
            throw ToolError("`skystead up` runs already for \(paths.data)", remedy: "stop it, or set SKYSTEAD_DATA_DIR")
        }
        // The descriptor is kept: the lock goes with the process, however it ends.
    }

    /// Where the web server of a running `up` is, or nil when none runs.
    static func front(_ paths: Paths, _ settings: Settings) -> Bytes? {
        let file = open(path(paths), O_RDWR | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        guard flock(file, LOCK_SH | LOCK_NB) != 0 else { return nil }
        return Bytes("http://127.0.0.1:\(settings[Settings.port])")
    }
}
