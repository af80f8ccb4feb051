import Base
import ChildProcess
import Foundation
import Glibc
import Storage
import TestSupport
import Testing

/// What was acknowledged is there after SIGKILL, and no transaction is there by half.
@Suite struct CrashTests {
    /// The executable that was built next to this test bundle.
    private static let child: URL? = {
        let arguments = CommandLine.arguments
        let bundle = arguments.firstIndex(of: "--test-bundle-path").flatMap { position in
            position + 1 < arguments.count ? URL(fileURLWithPath: arguments[position + 1]) : nil
        }
        let beside = (bundle ?? URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath())
        return [beside.deletingLastPathComponent(), Bundle.main.bundleURL]
            .map { $0.appendingPathComponent("storage-crash-child") }
            .first { FileManager.default.isExecutableFile(atPath: $0.path) }
    }()

    private func table(_ engine: Engine) throws -> TestDatabase {
        let fresh = try engine.empty()
        let create = """
            CREATE TABLE crash (
                thread {integer}, number {integer}, half {integer}, PRIMARY KEY (thread, number, half)
            ) {clustered}
            """
        try fresh.execute(fresh.dialect.render(create))
        return fresh
    }

    /// Runs the child until it has acknowledged `count` writes, kills it and returns every line it had written.
    private func killed(_ fresh: TestDatabase, as engine: String? = nil, after count: Int) throws -> [String] {
        let child: URL = try #require(Self.child, "storage-crash-child was not built")
        let pipe = Pipe()
        let process = try ChildProcess(
            [child.path, engine ?? fresh.engine.rawValue, fresh.location, fresh.schema, "16"],
            environment: ProcessInfo.processInfo.environment, output: pipe.fileHandleForWriting.fileDescriptor)
        try pipe.fileHandleForWriting.close()
        var output = Data()
        while output.count(where: { $0 == 0x0A }) < count {
            let part = pipe.fileHandleForReading.availableData
            if part.isEmpty { break }
            output.append(part)
        }
        process.signal(SIGKILL)
        output.append(pipe.fileHandleForReading.readDataToEndOfFile())
        #expect(process.endingSignal == SIGKILL)
        // The last line may be cut.
        return String(decoding: output, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: true)
            .map(String.init)
    }

    @Test(arguments: Engine.all) func acknowledgedWritesSurviveSIGKILL(_ engine: Engine) throws {
        for round in 0..<5 {
            let fresh = try table(engine)
            let lines = try killed(fresh, after: 50 + round * 217)
            #expect(lines.count >= 50 + round * 217)
            // Opened anew, as after a crash of the whole service.
            try expectAll(lines, in: fresh.reopened())
        }
    }

    /// What is never synced outlives its process all the same.
    @Test func unsyncedWritesSurviveSIGKILL() throws {
        for round in 0..<5 {
            let fresh = try table(.sqlite)
            let lines = try killed(fresh, as: "sqlite-process", after: 500 + round * 2_170)
            #expect(lines.count >= 500 + round * 2_170)
            try expectAll(lines, in: SQLite(path: fresh.location, durability: .process))
        }
    }

    private func expectAll(_ lines: [String], in database: any Database) throws {
        let rows = try database.read { reader in
            try reader.all("SELECT thread, number, count(*), sum(half) FROM crash GROUP BY thread, number") {
                (name: "\(try $0.integer(0)) \(try $0.integer(1))", count: try $0.integer(2), sum: try $0.integer(3))
            }
        }
        #expect(rows.allSatisfy { $0.count == 2 && $0.sum == 3 }, "no half transaction")
        let stored = Set(rows.map(\.name))
        #expect(lines.filter { !stored.contains($0) } == [], "acknowledged, but not there")
        // At most the one write of each thread that was under way is there without having been acknowledged.
        #expect(stored.subtracting(lines).count <= 16)
    }
}
