internal import Base
internal import CSystem
internal import Glibc

extension SQLite {
    /// The file `name` in `directory`, unsynced (`SQLiteDurability.process`) and new after every restart of the
    /// machine; nil where that can't be had.
    ///
    /// It is one by its path: with the kernel's boot identifier in the name, or in a tmpfs where a hardened unit does
    /// not see that (`ProcSubset=pid`). What earlier boots left is removed. Throws what `init` throws. Every process
    /// that is to share the file must give the same directory and see the same of /proc.
    public static func untilRestart(_ name: String, in directory: String) throws(StorageError) -> SQLite? {
        try untilRestart(name, in: directory, boot: bootIdentifier(), isInMemory: isInMemory(directory))
    }

    static func untilRestart(
        _ name: String, in directory: String, boot: String?, isInMemory: Bool
    ) throws(StorageError) -> SQLite? {
        guard boot != nil || isInMemory else { return nil }
        let current = "\(name)-\(boot ?? "memory").sqlite"
        for old in entries(of: directory) where old.hasPrefix("\(name)-") && !old.hasPrefix(current) {
            unlink("\(directory)/\(old)")
        }
        // One after the other: two that both make it a WAL file find each other in the way, and SQLite asks no busy
        // handler about that.
        let lock = open("\(directory)/\(name).lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard lock >= 0, flock(lock, LOCK_EX) == 0 else {
            let cause = SystemError("lock \(name)")
            if lock >= 0 { close(lock) }
            throw .refused(code: String(cause.errno), message: "\(cause)", sql: "")
        }
        defer { close(lock) }
        return try SQLite(path: "\(directory)/\(current)", durability: .process)
    }

    /// Names in `directory`; none when it can't be read, which opening the file finds out.
    private static func entries(of directory: String) -> [String] {
        guard let stream = opendir(directory) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let capacity = MemoryLayout.size(ofValue: entry.pointee.d_name)
            names.append(
                withUnsafePointer(to: &entry.pointee.d_name) {
                    $0.withMemoryRebound(to: CChar.self, capacity: capacity) { String(cString: $0) }
                })
        }
        return names
    }

    /// random(4): another one for each boot of the kernel. Nil where /proc does not show it.
    static func bootIdentifier() -> String? {
        guard let read = try? Files.read("/proc/sys/kernel/random/boot_id", sizeMax: 64) else { return nil }
        let text = Bytes(read).trimming("\n")
        let isPlain = text.allSatisfy { $0 == 0x2D || $0 >= 0x30 && $0 <= 0x39 || $0 >= 0x61 && $0 <= 0x66 }
        return isPlain && text.count == 36 ? text.description : nil
    }

    static func isInMemory(_ directory: String) -> Bool { csystem_is_tmpfs(directory) == 1 }
}
