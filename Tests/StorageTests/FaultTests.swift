import Base
import CFaultVFS
import Foundation
import TestSupport
import Testing

@testable import Storage

/// A disk that fails at every one of the first calls (reliability E001 to E004): nothing acknowledged is lost, nothing
/// refused is there, readers go on reading, and it heals without a restart.
@Suite(.serialized) struct FaultTests {
    enum Fault: CaseIterable {
        case full, write, sync, quota, readOnly
        var kind: Int32 {
            switch self {
            case .full: Int32(CFaultVFS_full)
            case .write: Int32(CFaultVFS_write)
            case .sync: Int32(CFaultVFS_sync)
            case .quota: Int32(CFaultVFS_quota)
            case .readOnly: Int32(CFaultVFS_readOnly)
            }
        }
    }

    enum Outcome { case done, full, readOnly, refused, unknown }

    private static func numbers(_ database: any Database) throws -> Set<Int> {
        Set(try database.read { try $0.all("SELECT a FROM t") { try $0.integer(0) } })
    }

    private static func insert(_ number: Int, _ database: any Database) -> Outcome {
        let bytes = [UInt8](repeating: 1, count: 10_000)
        do {
            try database.write { _ = try $0.run("INSERT INTO t (a, b) VALUES (\(number), \(bytes))") }
            return .done
        } catch StorageError.full {
            return .full
        } catch StorageError.readOnly {
            return .readOnly
        } catch StorageError.unknownOutcome {
            return .unknown
        } catch {
            return .refused
        }
    }

    @Test(arguments: Fault.allCases) func everyFailingCallIsHonest(_ fault: Fault) throws {
        #expect(CFaultVFS_register() == 0)
        var failed = 0
        for after in 0..<24 {
            let directory = try TestDirectory()
            let path = directory.path + "/a.db"
            CFaultVFS_arm(Int32(CFaultVFS_none), 0)
            let database = try SQLite(path: path, vfs: "fault")
            try database.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b BLOB NOT NULL) STRICT")
            #expect(Self.insert(-1, database) == .done)
            #expect(try Self.numbers(database) == [-1])

            CFaultVFS_arm(fault.kind, Int32(after))
            // Alone, then in batches.
            let outcomes = Guarded<[Int: Outcome]>([:])
            for number in 0..<3 {
                let outcome = Self.insert(number, database)
                outcomes.withLock { $0[number] = outcome }
                #expect(try Self.numbers(database).contains(-1), "readers go on")
            }
            onThreads(6) { number in
                let outcome = Self.insert(10 + number, database)
                outcomes.withLock { $0[10 + number] = outcome }
            }
            failed += Int(CFaultVFS_failures())

            CFaultVFS_arm(Int32(CFaultVFS_none), 0)
            #expect(Self.insert(100, database) == .done, "\(fault) after \(after) heals")
            let reopened = try SQLite(path: path)
            for stored in [try Self.numbers(database), try Self.numbers(reopened)] {
                #expect(stored.isSuperset(of: [-1, 100]))
                for (number, outcome) in outcomes.withLock({ $0 }) {
                    switch outcome {
                    case .done: #expect(stored.contains(number), "\(fault) after \(after): \(number) was lost")
                    case .full, .readOnly, .refused:
                        #expect(!stored.contains(number), "\(fault) after \(after): \(number) is there")
                    case .unknown: #expect(fault == .sync)
                    }
                }
            }
            let called = Set(outcomes.withLock { $0.values })
            switch fault {
            case .full, .quota: #expect(called.isSubset(of: [.done, .full]), "full is called full")
            case .readOnly: #expect(called.isSubset(of: [.done, .readOnly]), "read-only is called read-only")
            case .write, .sync: break
            }
            let check = try reopened.read { try $0.first("PRAGMA integrity_check") { try $0.text(0) } }
            #expect(check == "ok")
        }
        // Each of the three lone writes syncs and writes at least once, so that the first rounds alone make six.
        #expect(failed >= 6, "the faults did happen")
    }
}
