import ATProto
import Accounts
import Base
import Foundation
import Hosting
import Identity
import Moderation
import Repos
import Storage
import TestSupport
import Testing
import Web
import XRPCHandlers

/// Deletion is complete (reliability R34): the whole database is searched for what an account left.
@Suite struct DeletionTests {
    /// Where each text and byte column of each table holds `needle`: `table.column`, with how many rows.
    private func places(_ needle: String, _ world: World) throws -> [String: Int] {
        let columns = try world.test.read { reader -> [(table: String, column: String)] in
            switch world.test.engine {
            case .sqlite:
                let tables = try reader.all(
                    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!'"
                ) { try $0.text(0).description }
                return try tables.flatMap { table in
                    try reader.all(SQL(stringLiteral: "SELECT name, type FROM pragma_table_info('\(table)')")) {
                        (try $0.text(0).description, try $0.text(1).description)
                    }.filter { ["TEXT", "BLOB"].contains($0.1) }.map { (table, $0.0) }
                }
            case .postgres:
                return try reader.all(
                    """
                    SELECT table_name::text, column_name::text FROM information_schema.columns
                    WHERE table_schema = current_schema() AND data_type IN ('text', 'bytea')
                    """
                ) { (try $0.text(0).description, try $0.text(1).description) }
            }
        }
        #expect(columns.count > 40, "the tables are not read")
        var found: [String: Int] = [:]
        let bytes = Bytes(needle)
        try world.test.read { reader in
            for (table, column) in columns {
                let values = try reader.all(SQL(stringLiteral: "SELECT \(column) FROM \(table)")) { row in
                    if let bytes = try? row.optionalBytes(0) { return Data(bytes.array) }
                    return Data((try row.optionalText(0) ?? Bytes()).array)
                }
                let count = values.count { $0.range(of: Data(bytes.array)) != nil }
                if count > 0 { found["\(table).\(column)"] = count }
            }
        }
        return found
    }

    /// An account that has left something everywhere.
    private func busy(_ engine: Engine) throws -> (world: World, alice: Resident, bob: Resident) {
        let world = try World(engine, limits: true)
        let bob = try Resident(engine, world: world, name: "bob", picture: "shared")
        let alice = try Resident(engine, world: world)
        let (app, did, now) = (world.app, alice.did, world.app.clock.now())
        // The same bytes as another account's, beside some of her own.
        let shared = world.respond(
            try world.request(
                .post, "/xrpc/com.atproto.repo.uploadBlob",
                headers: [("authorization", "Bearer \(alice.token)"), ("content-type", "text/plain")],
                body: Array("shared".utf8)))
        #expect(shared.status == 200)
        func post(_ nsid: String, _ json: String, token: String) throws {
            let answer = try world.call(.post, nsid, token: token, json: json)
            #expect(answer.status == 200, "\(nsid): \(answer.body)")
        }
        try post("com.atproto.server.createAppPassword", "{\"name\":\"canary-alice\"}", token: alice.token)
        try post(
            "app.bsky.actor.putPreferences",
            "{\"preferences\":[{\"$type\":\"app.bsky.actor.defs#x\",\"said\":\"canary-alice\"}]}", token: alice.token)
        try post(
            "com.atproto.repo.createRecord",
            """
            {"repo":"\(did)","collection":"app.bsky.graph.follow",\
            "record":{"subject":"did:web:canary-alice.example.com","createdAt":"2025-01-01T00:00:00Z"}}
            """, token: alice.token)
        let subject = "\"subject\":{\"$type\":\"com.atproto.admin.defs#repoRef\",\"did\":"
        try post(
            "com.atproto.moderation.createReport",
            "{\"reasonType\":\"x\",\"reason\":\"canary-alice\",\(subject)\"\(bob.did)\"}}", token: alice.token)
        try post(
            "com.atproto.moderation.createReport", "{\"reasonType\":\"x\",\(subject)\"\(did)\"}}", token: bob.token)
        let codes = try app.invites.create(
            count: 1, usesMax: 2, for: [bob.did.bytes, did.bytes], by: "admin", now: now)
        try world.test.write { writer in
            try InviteStore.use(codes[0].codes[0], by: did, now: now, in: writer)
        }
        _ = try app.keys.reserve(for: did, now: now)
        try app.administration.setInvites(disabled: true, note: "operators-word", of: did, by: .tool)
        let path = RepoPath(NSID("com.example.thing")!, RecordKey("a")!)
        try app.administration.setTakedown(true, of: .record(did, path, nil), by: .tool)
        try app.administration.setTakedown(true, of: .blob(did, CID(text: Bytes(alice.blob))!), by: .tool)
        try app.administration.setTakedown(true, of: .account(did), reference: "operators-word", by: .tool)
        _ = try app.resolver.document(of: did, fresh: true)
        return (world, alice, bob)
    }

    @Test(arguments: Engine.all) func nothingIsLeft(_ engine: Engine) throws {
        let (world, alice, bob) = try busy(engine)
        let did = "\(alice.did)"
        let before = try places(did, world)
        // The search finds what there is: else it would prove nothing.
        for place in [
            "account.did", "signing_key.did", "app_password.did", "preference.did", "blob.did", "blob_takedown.did",
            "did_document.document", "event.payload", "invite_code.for_account", "invite_code_use.used_by", "label.uri",
            "repo.did", "report.reported_by", "report.subject_did", "reserved_key.did", "budget.key",
            "admin_action.subject",
        ] { #expect(before[place] != nil, "\(place) before") }
        #expect(try places("canary-alice", world).keys.contains("record.value"))
        #expect(world.blobFiles.count == 2)

        try world.app.administration.delete(alice.did, by: .admin)
        // The event that says so, and the log of what the operator did.
        #expect(try places(did, world) == ["event.did": 1, "event.payload": 1, "admin_action.subject": 5])
        #expect(try places("canary-alice", world) == [:])
        #expect(try places("alice", world) == [:], "neither her name nor her address")
        #expect(world.blobFiles.count == 1, "bob has the other")
        #expect(try world.call(.get, "com.atproto.sync.getBlob?did=\(bob.did)&cid=\(bob.blob)").status == 200)
        let left = try #require(try world.app.reports.reports.list(.all, limit: 10).first)
        #expect(left.subject == .account(bob.did) && left.reportedBy == nil)
        // Only what was hers is gone, and her names are free.
        #expect(try world.app.repos.verify(bob.did).problems == [])
        #expect(try world.app.accounts.find(bob.did) != nil)
        #expect(try world.app.invites.list(of: bob.did).count == 1)
        _ = try Resident(engine, world: world, name: "alice")
        let log = world.log.withLock { $0.joined() }
        #expect(!log.contains("canary-alice") && !log.contains("alice@"))
    }

    /// The bytes are gone from the file as well: freed pages are overwritten.
    @Test func nothingIsLeftInTheFile() throws {
        let (world, alice, _) = try busy(.sqlite)
        try world.app.administration.delete(alice.did, by: .admin)
        let again = try #require(try world.test.reopened() as? SQLite)
        #expect(try again.checkpoint())
        for name in ["", "-wal"] {
            let data = FileManager.default.contents(atPath: world.test.location + name) ?? Data()
            #expect(name == "-wal" || data.count > 100_000, "the file is not read")
            #expect(data.range(of: Data("canary-alice".utf8)) == nil, "\(name)")
            #expect(data.range(of: Data("alice@example.com".utf8)) == nil, "\(name)")
        }
    }

    @Test(arguments: Engine.all) func theWorkerCarriesOutWhatWasAskedFor(_ engine: Engine) throws {
        let world = try World(engine)
        let names = ["alice", "bob", "carol", "dan"]
        let residents = try names.map { try Resident(engine, world: world, name: $0, picture: $0) }
        let now = World.start
        let log = AdminLog(database: world.test, clock: world.app.clock)
        // Alice is due, bob not yet, carol came back, dan asks for nothing.
        try world.app.life.deactivate(residents[0].did, deleteAfter: now.adding(seconds: 100))
        try world.app.life.deactivate(residents[1].did, deleteAfter: now.adding(seconds: 101))
        try world.app.life.deactivate(residents[2].did, deleteAfter: now.adding(seconds: 100))
        try world.app.life.activate(residents[2].did)
        world.advance(99)
        #expect(try world.app.life.removal.collect(now: world.app.clock.now(), log: log) == (0, 0))
        world.advance(1)
        #expect(try world.app.life.removal.collect(now: world.app.clock.now(), log: log) == (0, 1))
        #expect(try residents.map { try world.app.accounts.find($0.did) != nil } == [false, true, true, true])
        #expect(
            try log.list(limit: 10).map { "\($0.actor) \($0.action) \($0.subject)" } == [
                "worker delete \(residents[0].did)"
            ])
        #expect(world.blobFiles.count == 3)
        let last = try residents[0].events(after: 0).filter { $0 == "account deleted" }
        #expect(last.count == 1)
        #expect(try world.app.life.removal.collect(now: world.app.clock.now(), log: log) == (0, 0))
    }

    /// Activated between the listing and the deletion: it stays.
    @Test func whoComesBackInTimeStays() throws {
        let world = try World(.sqlite)
        let alice = try Resident(.sqlite, world: world)
        let now = World.start
        try world.app.life.deactivate(alice.did, deleteAfter: now)
        try world.app.life.activate(alice.did)
        #expect(throws: AccountError.notFound) { try world.app.life.removal.delete(alice.did, due: now) }
        #expect(try world.app.repos.state(of: alice.did).status == .active)
    }

    /// A crash after the first transaction: the account is gone for everyone, and the next run removes the rest.
    @Test(arguments: Engine.all) func whatACrashLeavesIsRemovedLater(_ engine: Engine) throws {
        let world = try World(engine)
        let alice = try Resident(engine, world: world)
        // Without the table of blobs it gets as far as those.
        try world.test.execute("ALTER TABLE blob RENAME TO blob_away")
        #expect(throws: StorageError.self) { try world.app.life.delete(alice.did) }
        try world.test.execute("ALTER TABLE blob_away RENAME TO blob")
        #expect(try world.app.accounts.find(alice.did) == nil)
        #expect(throws: RepoError.repoNotFound(alice.did)) { try world.app.repos.state(of: alice.did) }
        #expect(try !places("\(alice.did)", world).isEmpty)
        #expect(world.blobFiles.count == 1)
        let log = AdminLog(database: world.test, clock: world.app.clock)
        #expect(try world.app.life.removal.collect(now: world.app.clock.now(), log: log) == (1, 0))
        #expect(try places("\(alice.did)", world) == ["event.did": 1, "event.payload": 1])
        #expect(world.blobFiles.isEmpty)
    }
}
