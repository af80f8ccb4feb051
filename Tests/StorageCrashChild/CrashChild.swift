internal import Base
internal import Glibc
internal import Storage

enum CrashChild {
    static func open(_ engine: String, _ location: String, _ schema: String) throws -> any Database {
        if engine == "sqlite" { return try SQLite(path: location) }
        if engine == "sqlite-process" { return try SQLite(path: location, durability: .process) }
        return try Postgres(url: location, schema: schema)
    }

    /// Starts the threads and waits for the last of them. Not in main.swift, whose closures belong to the main actor.
    static func run(_ database: any Database, threads: Int) {
        var last = pthread_t()
        for thread in 0..<threads {
            let start = Unmanaged.passRetained(Start(database: database, thread: thread))
            pthread_create(&last, nil, { CrashChild.body($0) }, start.toOpaque())
        }
        pthread_join(last, nil)
    }

    private static func body(_ pointer: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
        guard let pointer else { return nil }
        let start = Unmanaged<Start>.fromOpaque(pointer).takeRetainedValue()
        writeForEver(start.database, thread: start.thread)
        return nil
    }

    private final class Start: Sendable {
        let database: any Database
        let thread: Int
        init(database: any Database, thread: Int) {
            self.database = database
            self.thread = thread
        }
    }

    /// One thread's endless work: two rows a transaction, which must both be there or neither.
    private static func writeForEver(_ database: any Database, thread: Int) {
        var number = 0
        while true {
            number += 1
            do {
                try database.write { writer in
                    try writer.run("INSERT INTO crash (thread, number, half) VALUES (\(thread), \(number), 1)")
                    try writer.run("INSERT INTO crash (thread, number, half) VALUES (\(thread), \(number), 2)")
                }
            } catch {
                exit(3)
            }
            // One write(2) of less than PIPE_BUF: lines of several threads do not mix.
            let line = [UInt8]("\(thread) \(number)\n".utf8)
            if line.withUnsafeBytes({ write(1, $0.baseAddress, $0.count) }) != line.count { exit(4) }
        }
    }
}
