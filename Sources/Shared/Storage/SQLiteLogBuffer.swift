internal import Base
internal import CSQLite
internal import Glibc

/// A VFS of SQLite's that gathers what a transaction writes to the WAL and writes it at once.
///
/// SQLite writes each page of a transaction with two calls of pwrite(2), 24 bytes and 4,096: at ten pages for each of a
/// dozen requests that was an eighth of all CPU of createRecord. Nobody reads those bytes before the transaction is
/// committed: other connections go by the index in shared memory, which is changed after the sync, and what this
/// connection reads is written first. Before the sync the kernel may keep them from the disk as well.
///
/// It rests on two settings of the writer. `synchronous = FULL`: every commit syncs, so that nothing is held after it.
/// `cache_spill = OFF`: nothing is written before the commit, so that nothing is held of a transaction that is taken
/// back (no call tells a VFS of that, and its bytes would later go over another process's commit).
///
/// Every other file is the VFS's below, and so is its own after `xOpen`.
enum SQLiteLogBuffer {
    /// Bytes that are gathered: a transaction of more writes in several pieces.
    static let capacity = 512 * 1_024
    /// What a write answers when the file system takes none: a code of ours beside SQLite's SQLITE_READONLY_….
    static let readOnlyCode = SQLITE_READONLY | 255 << 8

    private static let names = Guarded<[String: UnsafeMutablePointer<sqlite3_vfs>]>([:])

    /// Registers the VFS over the one of name `below` (nil: the default) and returns its name.
    static func register(over below: String?) throws(StorageError) -> String {
        let name = "skystead-\(below ?? "default")"
        let isThere = names.withLock { names in
            if names[name] != nil { return true }
            guard let base = sqlite3_vfs_find(below), let text = strdup(name) else { return false }
            let vfs = UnsafeMutablePointer<sqlite3_vfs>.allocate(capacity: 1)
            vfs.initialize(to: base.pointee)
            vfs.pointee.pNext = nil
            vfs.pointee.zName = UnsafePointer(text)
            vfs.pointee.pAppData = UnsafeMutableRawPointer(base)
            vfs.pointee.szOsFile = Int32(BufferedLog.size) + base.pointee.szOsFile
            vfs.pointee.xOpen = { BufferedLog.open($0, $1, $2, $3, $4) }
            guard sqlite3_vfs_register(vfs, 0) == SQLITE_OK else { return false }
            names[name] = vfs
            return true
        }
        guard isThere else { throw .refused(code: "vfs", message: "can't be registered", sql: "") }
        return name
    }
}

/// What SQLite holds as an open file: its methods first, the file of the VFS below after it.
private struct BufferedLog {
    var methods: UnsafePointer<sqlite3_io_methods>?
    var real: UnsafeMutablePointer<sqlite3_file>
    var buffer: UnsafeMutableRawPointer
    /// The place in the file of the buffer's first byte.
    var start: Int64 = 0
    var count = 0

    typealias File = UnsafeMutablePointer<sqlite3_file>

    static let size = (MemoryLayout<BufferedLog>.size + 15) / 16 * 16

    static func open(
        _ vfs: UnsafeMutablePointer<sqlite3_vfs>?, _ name: UnsafePointer<CChar>?, _ file: File?, _ flags: Int32,
        _ found: UnsafeMutablePointer<Int32>?
    ) -> Int32 {
        guard let file, let base = vfs?.pointee.pAppData?.assumingMemoryBound(to: sqlite3_vfs.self),
            let openBelow = base.pointee.xOpen
        else { return SQLITE_CANTOPEN }
        guard flags & SQLITE_OPEN_WAL != 0 else { return openBelow(base, name, file, flags, found) }
        // SQLite calls xClose whenever the methods are set.
        file.pointee.pMethods = nil
        let real = (UnsafeMutableRawPointer(file) + size).assumingMemoryBound(to: sqlite3_file.self)
        let code = openBelow(base, name, real, flags, found)
        guard code == SQLITE_OK else { return code }
        guard let buffer = malloc(SQLiteLogBuffer.capacity) else {
            _ = real.pointee.pMethods?.pointee.xClose(real)
            return SQLITE_NOMEM
        }
        UnsafeMutableRawPointer(file).bindMemory(to: BufferedLog.self, capacity: 1)
            .initialize(to: BufferedLog(methods: table.pointer, real: real, buffer: buffer))
        return SQLITE_OK
    }

    // Written once, before anything reads it.
    private struct Table: @unchecked Sendable { let pointer: UnsafePointer<sqlite3_io_methods> }

    private static let table: Table = {
        let methods = UnsafeMutablePointer<sqlite3_io_methods>.allocate(capacity: 1)
        methods.initialize(to: sqlite3_io_methods())
        // A WAL is neither locked nor shared nor mapped: all that is done with the database's own file.
        methods.pointee.iVersion = 1
        methods.pointee.xClose = { BufferedLog.close($0) }
        methods.pointee.xRead = { BufferedLog.read($0, $1, $2, $3) }
        methods.pointee.xWrite = { BufferedLog.write($0, $1, $2, $3) }
        methods.pointee.xTruncate = { file, size in BufferedLog.flushed(file) { $1.xTruncate($0, size) } }
        methods.pointee.xSync = { file, flags in BufferedLog.flushed(file) { $1.xSync($0, flags) } }
        methods.pointee.xFileSize = { file, size in BufferedLog.flushed(file) { $1.xFileSize($0, size) } }
        methods.pointee.xLock = { file, level in BufferedLog.flushed(file) { $1.xLock($0, level) } }
        methods.pointee.xUnlock = { file, level in BufferedLog.flushed(file) { $1.xUnlock($0, level) } }
        methods.pointee.xCheckReservedLock = { file, out in
            BufferedLog.flushed(file) { $1.xCheckReservedLock($0, out) }
        }
        methods.pointee.xFileControl = { file, operation, argument in
            BufferedLog.flushed(file) { $1.xFileControl($0, operation, argument) }
        }
        methods.pointee.xSectorSize = { BufferedLog.below($0) { $1.xSectorSize($0) } }
        methods.pointee.xDeviceCharacteristics = { BufferedLog.below($0) { $1.xDeviceCharacteristics($0) } }
        return Table(pointer: UnsafePointer(methods))
    }()

    private static func log(_ file: File?) -> UnsafeMutablePointer<BufferedLog>? {
        file.map { UnsafeMutableRawPointer($0).assumingMemoryBound(to: BufferedLog.self) }
    }

    private static func below(_ file: File?, _ body: (File, sqlite3_io_methods) -> Int32) -> Int32 {
        guard let log = log(file), let methods = log.pointee.real.pointee.pMethods else { return SQLITE_MISUSE }
        return body(log.pointee.real, methods.pointee)
    }

    /// Writes what is held; whatever comes of it, it is held no longer: SQLite takes the transaction back on an error.
    private static func flush(_ file: File?) -> Int32 {
        guard let log = log(file), log.pointee.count > 0 else { return SQLITE_OK }
        let held = log.pointee
        log.pointee.count = 0
        var done = 0
        while done < held.count {
            let count = min(held.count - done, pieceSizeMax)
            let code = write(file, held.buffer + done, count, at: held.start + Int64(done))
            if code != SQLITE_OK { return code }
            done += count
        }
        return SQLITE_OK
    }

    /// Writes to the file itself. SQLite's own VFS has a code for ENOSPC alone, and `errno` is another one by the time
    /// that the error is asked about: a full quota and a file system that takes no writes get theirs here.
    private static func write(
        _ file: File?, _ bytes: UnsafeRawPointer, _ count: Int, at offset: Int64
    ) -> Int32 {
        let code = below(file) { $1.xWrite($0, bytes, Int32(count), offset) }
        switch code == SQLITE_OK ? 0 : errno {
        case EDQUOT: return SQLITE_FULL
        case EROFS: return SQLiteLogBuffer.readOnlyCode
        default: return code
        }
    }

    /// SQLite's own VFS takes the length of a write for a number of 17 bits (seekAndWriteFd of os_unix.c).
    private static let pieceSizeMax = 128 * 1_024 - 4_096

    private static func flushed(_ file: File?, _ body: (File, sqlite3_io_methods) -> Int32) -> Int32 {
        let code = flush(file)
        return code == SQLITE_OK ? below(file, body) : code
    }

    private static func close(_ file: File?) -> Int32 {
        let code = flush(file)
        if let log = log(file) { free(log.pointee.buffer) }
        let closed = below(file) { $1.xClose($0) }
        return code == SQLITE_OK ? closed : code
    }

    private static func read(
        _ file: File?, _ bytes: UnsafeMutableRawPointer?, _ count: Int32, _ offset: Int64
    ) -> Int32 {
        if let log = log(file), log.pointee.count > 0,
            offset < log.pointee.start + Int64(log.pointee.count), offset + Int64(count) > log.pointee.start
        {
            let code = flush(file)
            if code != SQLITE_OK { return code }
        }
        return below(file) { $1.xRead($0, bytes, count, offset) }
    }

    private static func write(_ file: File?, _ bytes: UnsafeRawPointer?, _ count: Int32, _ offset: Int64) -> Int32 {
        guard let log = log(file), let bytes else { return SQLITE_MISUSE }
        if log.pointee.count == 0 { log.pointee.start = offset }
        let place = Int(offset - log.pointee.start)
        // The next bytes, or some that are held already and are written again: both have their place in the buffer.
        if place < 0 || place > log.pointee.count || place + Int(count) > SQLiteLogBuffer.capacity {
            let code = flush(file)
            if code != SQLITE_OK { return code }
            // Longer than any page.
            if Int(count) > SQLiteLogBuffer.capacity { return write(file, bytes, Int(count), at: offset) }
            log.pointee.start = offset
            log.pointee.buffer.copyMemory(from: bytes, byteCount: Int(count))
            log.pointee.count = Int(count)
            return SQLITE_OK
        }
        (log.pointee.buffer + place).copyMemory(from: bytes, byteCount: Int(count))
        log.pointee.count = max(log.pointee.count, place + Int(count))
        return SQLITE_OK
    }
}
