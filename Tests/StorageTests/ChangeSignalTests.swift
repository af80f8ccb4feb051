import Foundation
import Storage
import TestSupport
import Testing

@Suite struct ChangeSignalTests {
    /// Whether the signal rings within `milliseconds`.
    private func rings(_ signal: any ChangeSignal, within milliseconds: Int32) -> Bool {
        var entry = pollfd(fd: signal.descriptor, events: Int16(POLLIN), revents: 0)
        return poll(&entry, 1, milliseconds) == 1
    }

    @Test(arguments: Engine.all) func anAnnouncedChangeRings(_ engine: Engine) throws {
        let fresh = try engine.empty()
        try fresh.execute(fresh.dialect.render("CREATE TABLE t (a {integer} PRIMARY KEY) {strict}"))
        let signal = try fresh.changeSignal()
        #expect(!rings(signal, within: 0))
        let other = try fresh.reopened()
        for number in 0..<3 {
            try other.write { writer in
                try writer.run("INSERT INTO t (a) VALUES (\(number))")
                writer.announceChange()
            }
            #expect(rings(signal, within: 10_000))
            signal.drain()
            #expect(!rings(signal, within: 0))
        }
        // Not announced, or not committed: silence. SQLite rings before `write` returns; PostgreSQL's second
        // notification would come before that of the third write, which is waited for.
        try other.write { _ = try $0.run("INSERT INTO t (a) VALUES (10)") }
        #expect(throws: CancellationError.self) {
            try other.write { writer in
                writer.announceChange()
                throw CancellationError()
            }
        }
        #expect(!rings(signal, within: 0))
        #expect(signal.descriptor >= 0)
    }

    @Test func aDoorbellThatCannotBeMadeIsAnError() throws {
        let directory = try TestDirectory()
        let rows: [(name: String, doorbell: String?)] = [
            ("none", nil), ("no directory", directory.path + "/missing/bell"),
            ("too long", directory.path + "/" + String(repeating: "a", count: 120)),
        ]
        for row in rows {
            let database = try SQLite(path: directory.path + "/a.db", doorbell: row.doorbell)
            #expect(throws: (any Error).self, "\(row.name)") { _ = try database.changeSignal() }
            // A bell that nobody hears stops no write.
            try database.write { $0.announceChange() }
        }
    }
}
