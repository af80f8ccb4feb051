import ATProto
import Base
import Foundation
import Hosting
import Lexicons
import Repos
import Storage
import TestSupport
import Testing
import Web
import XRPCHandlers

/// A repository write and what it costs: one transaction for both.
@Suite struct ChargeTests {
    private static let create = "com.atproto.repo.createRecord"

    private struct Owner {
        let world: World
        let did: DID
        let token: String

        init(_ engine: Engine) throws {
            // That a lexicon is wanted is a row of its own, now and then.
            world = try World(engine, limits: true, policy: try LexiconPolicy(["com.example=off"]))
            let made = try world.call(
                .post, "com.atproto.server.createAccount",
                json: #"{"handle":"alice.home.test","email":"alice@example.com","password":"correct horse"}"#)
            let fields = try #require(
                try JSONSerialization.jsonObject(with: Data(made.body.utf8)) as? [String: Any])
            did = try #require(DID(Bytes(fields["did"] as? String ?? "")))
            token = try #require(fields["accessJwt"] as? String)
        }

        /// Status, body, what is left of the budget, and how many write transactions it took.
        func write(_ name: String, _ value: String = #"{"text":"x"}"#, repo: String? = nil) throws
            -> (status: Int, body: String, remaining: String?, writes: Int)
        {
            let repo = repo ?? did.bytes.description
            let json = #"{"repo":"\#(repo)","collection":"com.example.thing","rkey":"\#(name)","record":\#(value)}"#
            let before = world.test.writeCount
            let response = world.respond(
                try world.request(
                    .post, "/xrpc/\(ChargeTests.create)",
                    headers: [("authorization", "Bearer \(token)"), ("content-type", "application/json")],
                    body: Array(json.utf8)))
            guard case .bytes(let bytes) = response.body else { return (response.status, "", nil, -1) }
            let remaining = response.headers.first { $0.name.description == "RateLimit-Remaining" }
            return (
                response.status, String(decoding: bytes, as: UTF8.self),
                remaining.map { String(decoding: $0.value.withUnsafeBytes { Array($0) }, as: UTF8.self) },
                world.test.writeCount - before
            )
        }

        /// Points spent of the hour's budget.
        func spend(_ points: Int) throws {
            try world.test.write { writer in
                _ = try writer.run(
                    "UPDATE budget SET points = \(points) WHERE name = 'repoWrites-hour' AND key = \(key)")
            }
        }

        func spent() throws -> Int? {
            try world.test.first(
                "SELECT points FROM budget WHERE name = 'repoWrites-hour' AND key = \(key)"
            ) { try $0.integer(0) }
        }

        var key: SQL.Value { .text(did.bytes) }
    }

    @Test(arguments: Engine.all) func oneTransaction(_ engine: Engine) throws {
        let owner = try Owner(engine)
        let first = try owner.write("one")
        #expect(first.status == 200 && first.remaining == "4997" && first.writes == 1, "\(first)")
        // By the handle, which has to be looked up.
        let second = try owner.write("two", repo: "alice.home.test")
        #expect(second.status == 200 && second.remaining == "4994" && second.writes == 1, "\(second)")
    }

    @Test(arguments: Engine.all) func refusalsCostTheSame(_ engine: Engine) throws {
        let owner = try Owner(engine)
        _ = try owner.write("one")
        let rows: [(name: String, status: Int, value: String, repo: String?)] = [
            ("there already", 400, #"{"text":"y"}"#, nil),
            ("no record", 400, #"{"$type":"com.example.other"}"#, nil),
            ("another's repository", 401, #"{"text":"y"}"#, "did:web:bob.home.test"),
        ]
        for (index, row) in rows.enumerated() {
            let answer = try owner.write("one", row.value, repo: row.repo)
            #expect(answer.status == row.status, "\(row.name): \(answer)")
            #expect(answer.remaining == String(4_997 - 3 * (index + 1)), "\(row.name)")
        }
        #expect(try owner.spent() == 3 * 4)
    }

    @Test(arguments: Engine.all) func overTheLimitNothingHappens(_ engine: Engine) throws {
        let owner = try Owner(engine)
        _ = try owner.write("one")
        try owner.spend(4_998)
        let commit = try owner.world.app.repos.state(of: owner.did).commit
        let first = try owner.write("two")
        #expect(first.status == 429 && first.remaining == "2" && first.writes == 1, "\(first)")
        // From then on it is told so without the write lock.
        for _ in 0..<3 {
            let again = try owner.write("two")
            #expect(again.status == 429 && again.remaining == "2" && again.writes == 0, "\(again)")
        }
        #expect(try owner.world.app.repos.state(of: owner.did).commit == commit)
        #expect(try owner.spent() == 4_998)
        // What another process has given back counts.
        try owner.spend(0)
        #expect(try owner.write("two").status == 200)
        try owner.spend(4_998)
        owner.world.advance(3_601)
        let later = try owner.write("three")
        #expect(later.status == 200 && later.remaining == "4997" && later.writes == 1, "\(later)")
    }

    /// Whether the account is active is said by the transaction; whatever else is wrong comes after that.
    @Test(arguments: Engine.all) func anInactiveAccountIsToldSoAndPaysNothing(_ engine: Engine) throws {
        let owner = try Owner(engine)
        _ = try owner.write("one")
        let life = owner.world.app.life
        let rows: [(name: String, word: String, () throws -> Void, () throws -> Void)] = [
            (
                "deactivated", "AccountDeactivated", { try life.deactivate(owner.did) },
                { try life.activate(owner.did) }
            ),
            (
                "taken down", "AccountTakedown", { try life.setTakedown(true, of: owner.did) },
                { try life.setTakedown(false, of: owner.did) }
            ),
        ]
        for (name, word, begin, end) in rows {
            try begin()
            for value in [#"{"text":"x"}"#, #"{"$type":"com.example.other"}"#, "7"] {
                let answer = try owner.write("two", value)
                #expect(answer.body.contains(word) && answer.status != 200, "\(name), \(value): \(answer)")
            }
            try end()
        }
        #expect(try owner.spent() == 3)
        #expect(try owner.write("two").status == 200)
        try life.delete(owner.did)
        let gone = try owner.write("three")
        #expect(gone.body.contains("AccountNotFound") || gone.body.contains("Could not find account"), "\(gone)")
    }

    /// One address may call so often, whatever it calls; who fetches repositories has a budget of their own for that.
    @Test(arguments: Engine.all) func callsOfAnyKind(_ engine: Engine) throws {
        let owner = try Owner(engine)
        var app = owner.world.app
        app.calls = CallBudgets(Limiter(BudgetStore(owner.world.test)), exempt: ["192.0.2.99"])
        let home = HomeResponder(app: app)
        func ask(_ target: String, peer: String = "192.0.2.7") throws -> (status: Int, fields: [String: String]) {
            let answer = home.respond(to: try owner.world.request(.get, target, peer: peer))
            let fields = answer.headers.map { field in
                (field.name.description, String(decoding: field.value.withUnsafeBytes { Array($0) }, as: UTF8.self))
            }
            return (answer.status, Dictionary(fields) { first, _ in first })
        }
        let describe = "/xrpc/com.atproto.server.describeServer"
        let writes = owner.world.test.writeCount
        let first = try ask(describe)
        #expect(first.status == 200 && first.fields["RateLimit-Limit"] == "3000")
        #expect(first.fields["RateLimit-Remaining"] == "2999" && first.fields["RateLimit-Policy"] == "3000;w=300")
        for _ in 1..<2_998 { _ = try ask(describe) }
        let lots = (3_000 + PrepaidBudget.lot - 1) / PrepaidBudget.lot
        #expect(owner.world.test.writeCount - writes == lots, "not a write for each call")
        let unknown = try ask("/xrpc/com.example.unknown").status
        #expect(unknown == 401, "what is not answered here counts as well")
        #expect(try ask(describe).fields["RateLimit-Remaining"] == "0")
        let refused = try ask(describe)
        #expect(refused.status == 429 && refused.fields["Retry-After"] == "300")
        #expect(refused.fields["RateLimit-Remaining"] == "0" && refused.fields["RateLimit-Reset"] != nil)
        #expect(try ask("/xrpc/com.example.unknown").status == 429)
        let repo = try ask("/xrpc/com.atproto.sync.getRepo?did=\(owner.did)")
        #expect(repo.status == 200 && repo.fields["RateLimit-Limit"] == "6000")
        #expect(try ask("/xrpc/_health").status == 200, "whoever watches the server is not counted")
        #expect(try ask(describe, peer: "192.0.2.8").status == 200)
        for _ in 0..<3_100 where try ask(describe, peer: "192.0.2.99").status != 200 {
            Issue.record("refused although exempt")
            break
        }
    }
}
