import Base
import Repos
import Storage
import TestSupport
import Testing
import Web
import XRPCHandlers

/// A disk that is full, or takes nothing, as a client sees it (reliability R15, E001, E002, E004, E005).
@Suite struct FaultyDiskTests {
    struct Row: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let error: any Reportable & Error
        let status: Int
        let code: String

        init(_ name: String, _ error: any Reportable & Error, _ status: Int, _ code: String) {
            testDescription = name
            self.error = error
            self.status = status
            self.code = code
        }
    }

    static let rows: [Row] = [
        Row("E001 no room", SystemError("write", errno: 28), 507, "InsufficientStorage"),
        Row("E002 no quota", SystemError("write", errno: 122), 507, "InsufficientStorage"),
        Row("E003 input or output", SystemError("fsync", errno: 5), 500, "InternalServerError"),
        Row("E004 read-only", SystemError("create", errno: 30), 507, "InsufficientStorage"),
        Row("E005 no descriptor", SystemError("open", errno: 24), 503, "ServiceUnavailable"),
        Row("E005 nor has the machine", SystemError("open", errno: 23), 503, "ServiceUnavailable"),
        Row("E001 database: no room", StorageError.full, 507, "InsufficientStorage"),
        Row("E004 database: read-only", StorageError.readOnly, 507, "InsufficientStorage"),
        Row("E009 database: busy", StorageError.busy, 503, "ServiceUnavailable"),
        Row("E003 database: not known", StorageError.unknownOutcome, 500, "InternalServerError"),
        Row(
            "E010 database: damaged", StorageError.refused(code: "11", message: "malformed", sql: "SELECT 1"), 500,
            "InternalServerError"),
    ]

    @Test(arguments: rows) func isCalled(_ row: Row) {
        let failure = row.error.failure
        #expect(failure.xrpcStatus == row.status && failure.code == row.code)
        for word in ["fsync", "malformed", "SELECT", "/"] { #expect(!failure.message.contains(word)) }
    }

    /// Nothing is changed, reading goes on, and it heals by itself.
    @Test func aFullDatabase() throws {
        let home = try Resident(.sqlite)
        let world = home.world
        func limitPages(_ count: Int) throws -> Int {
            try world.test.write { writer in
                try writer.first(SQL(stringLiteral: "PRAGMA max_page_count = \(count)")) { try $0.integer(0) } ?? 0
            }
        }
        func create(_ text: String) throws -> (status: Int, body: String) {
            try world.call(
                .post, "com.atproto.repo.createRecord", token: home.token,
                json: "{\"repo\":\"\(home.did)\",\"collection\":\"com.example.thing\",\"record\":{\"t\":\"\(text)\"}}")
        }
        func head() throws -> String {
            try world.call(.get, "com.atproto.sync.getLatestCommit?did=\(home.did)").body
        }
        #expect(try create("before").status == 200)
        let before = try head()
        let newest = try EventStore(database: world.test, clock: world.clock).newest()
        _ = try limitPages(try limitPages(1) + 2)
        let large = String(repeating: "x", count: 120_000)
        for _ in 0..<3 {
            let answer = try create(large)
            #expect(answer.status == 507)
            #expect(
                answer.body
                    == #"{"error":"InsufficientStorage","message":"The server has no room left for this."}"#)
        }
        #expect(try head() == before && EventStore(database: world.test, clock: world.clock).newest() == newest)
        let list = "com.atproto.repo.listRecords?repo=\(home.did)&collection=com.example.thing&limit=100"
        let records = try world.call(.get, list)
        #expect(records.status == 200 && records.body.contains("before") && !records.body.contains("xxx"))
        #expect(world.log.withLock { $0.contains { $0.hasPrefix("error xrpc") && $0.contains("full") } })
        _ = try limitPages(1_000_000)
        #expect(try create(large).status == 200)
    }
}
