import Base
import Foundation
import TestSupport
import Testing

@testable import Storage

/// A SQLite file that a restart of the machine makes new.
@Suite struct UntilRestartTests {
    private func count(_ database: SQLite) throws -> Int? {
        try database.first("SELECT count(*) FROM dpop_epoch") { try $0.integer(0) }
    }

    private func open(_ directory: TestDirectory, boot: String?, isInMemory: Bool = false) throws -> SQLite? {
        let database = try SQLite.untilRestart("proofs", in: directory.path, boot: boot, isInMemory: isInMemory)
        try database?.migrate(Migration.usedProofs)
        return database
    }

    @Test func itLastsAsLongAsTheBoot() throws {
        let directory = try TestDirectory()
        do {
            let first = try #require(try open(directory, boot: "one"))
            try first.execute("INSERT INTO dpop_epoch (one, epoch) VALUES (1, x'00')")
        }
        #expect(try count(#require(try open(directory, boot: "one"))) == 1)
        #expect(try count(#require(try open(directory, boot: "two"))) == 0)
        let names = try FileManager.default.contentsOfDirectory(atPath: directory.path)
        #expect(names.allSatisfy { $0.hasPrefix("proofs-two.sqlite") || $0 == "proofs.lock" }, "\(names)")
    }

    @Test func whatIsNotItsOwnStays() throws {
        let directory = try TestDirectory()
        for name in ["proofs.sqlite", "xrpc.sock", "other-one.sqlite"] {
            try Data("x".utf8).write(to: URL(fileURLWithPath: directory.path + "/" + name))
        }
        _ = try open(directory, boot: "one")
        let names = try FileManager.default.contentsOfDirectory(atPath: directory.path)
        #expect(Set(names).isSuperset(of: ["proofs.sqlite", "xrpc.sock", "other-one.sqlite"]))
    }

    @Test func withoutABootOrMemoryThereIsNone() throws {
        let directory = try TestDirectory()
        #expect(try open(directory, boot: nil) == nil)
        #expect(try open(directory, boot: nil, isInMemory: true) != nil)
        #expect(throws: StorageError.self) {
            try SQLite.untilRestart("proofs", in: directory.path + "/missing", boot: "one", isInMemory: false)
        }
    }

    @Test func theMachineIsRead() throws {
        #expect(SQLite.bootIdentifier()?.count == 36)
        #expect(SQLite.bootIdentifier() == SQLite.bootIdentifier())
        #expect(!SQLite.isInMemory("/proc"))
        #expect(!SQLite.isInMemory("/missing"))
    }

    /// Several processes start at once, and none of them is the first.
    @Test func manyOpenItAtOnce() throws {
        let directory = try TestDirectory()
        for round in 0..<10 {
            let failures = Guarded<[String]>([])
            onThreads(8) { number in
                do {
                    guard let database = try open(directory, boot: "\(round)") else { return }
                    try database.execute(
                        "INSERT INTO dpop_replay (space, id, digest, expires_at) VALUES (1, \(number), x'0\(number)', 0)"
                    )
                } catch {
                    failures.withLock { $0.append("\(error)") }
                }
            }
            #expect(failures.withLock { $0 } == [])
            let database = try #require(try open(directory, boot: "\(round)"))
            #expect(try database.first("SELECT count(*) FROM dpop_replay") { try $0.integer(0) } == 8)
        }
    }

    /// The settings of a file that is synced are still demanded of it, and only of it.
    @Test func eachDurabilityHasItsSettings() throws {
        let directory = try TestDirectory()
        let path = directory.path + "/a.db"
        #expect(throws: StorageError.unsafeSetting("PRAGMA synchronous is 0")) {
            try SQLite(path: path, settings: SQLiteConnection.settings(.process))
        }
        #expect(throws: StorageError.unsafeSetting("PRAGMA synchronous is 2")) {
            try SQLite(path: path, durability: .process, settings: SQLiteConnection.settings(.power))
        }
        _ = try SQLite(path: path, durability: .process)
    }
}
