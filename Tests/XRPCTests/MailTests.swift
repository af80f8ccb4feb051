import ATProto
import Accounts
import Base
import Foundation
import Hosting
import Mail
import Storage
import TestSupport
import Testing
import Web
import XRPCHandlers

/// What transcripts can't show of codes by mail: budgets, events, transactions, and mail that goes out late.
@Suite struct CodeTests {
    private func account(_ world: World, _ name: String = "alice") throws -> (did: DID, token: String) {
        let made = try world.call(
            .post, "com.atproto.server.createAccount",
            json: """
                {"handle":"\(name).home.test","email":"\(name)@example.com","password":"correct horse"}
                """)
        let json = try #require(try JSONSerialization.jsonObject(with: Data(made.body.utf8)) as? [String: Any])
        return (try #require(DID(json["did"] as? String ?? "")), try #require(json["accessJwt"] as? String))
    }

    private func kinds(_ world: World) throws -> [String] {
        try world.test.read { reader in
            try reader.all("SELECT kind FROM event ORDER BY seq") { try $0.text(0).description }
        }
    }

    private func count(_ world: World, _ table: String) throws -> Int? {
        try world.test.read { reader in
            try reader.first(SQL(stringLiteral: "SELECT count(*) FROM \(table)")) { try $0.integer(0) }
        }
    }

    static let requests: [(nsid: String, json: String?, limit: Int)] = [
        ("com.atproto.server.requestEmailConfirmation", nil, 5),
        ("com.atproto.server.requestEmailUpdate", nil, 5),
        ("com.atproto.server.requestAccountDelete", nil, 5),
        ("com.atproto.identity.requestPlcOperationSignature", nil, 5),
        ("com.atproto.server.requestPasswordReset", #"{"email":"alice@example.com"}"#, 15),
        ("com.atproto.server.requestPasswordReset", #"{"email":"nobody@example.com"}"#, 15),
    ]

    @Test(arguments: requests.indices) func mailHasABudget(_ index: Int) throws {
        let row = Self.requests[index]
        let world = try World(.sqlite, limits: true)
        let (_, token) = try account(world)
        func ask() throws -> Int {
            try world.call(.post, row.nsid, token: row.json == nil ? token : nil, json: row.json).status
        }
        for _ in 0..<row.limit { #expect(try ask() == 200) }
        #expect(try ask() == 429)
        world.advance(3_600)
        #expect(try ask() == 200)
    }

    @Test func codesToSignInHaveABudgetToo() throws {
        let world = try World(.sqlite, limits: true)
        let (did, _) = try account(world)
        try world.test.write { try AccountStore.setEmailAuthFactor(true, of: did, in: $0) }
        func signIn(_ more: String = "") throws -> Int {
            try world.call(
                .post, "com.atproto.server.createSession",
                json: "{\"identifier\":\"alice.home.test\",\"password\":\"correct horse\"\(more)}"
            ).status
        }
        for _ in 0..<10 { #expect(try signIn() == 401) }
        #expect(try signIn() == 429)
        let code = try world.mailedCode("sign_in", did)
        #expect(try signIn(",\"authFactorToken\":\"\(code)\"") == 200, "the code that was mailed still works")
    }

    @Test(arguments: Engine.all) func aCodeAndItsMailAreOneTransaction(_ engine: Engine) throws {
        let world = try World(engine)
        let (_, token) = try account(world)
        try world.test.execute("ALTER TABLE mail RENAME TO elsewhere")
        #expect(try world.call(.post, "com.atproto.server.requestAccountDelete", token: token).status == 500)
        #expect(try count(world, "account_token") == 0)
    }

    @Test(arguments: Engine.all) func nobodyLearnsWhoHasAnAccount(_ engine: Engine) throws {
        let world = try World(engine)
        _ = try account(world)
        let rows = try count(world, "mail")
        for email in ["alice@example.com", "nobody@example.com", "no address", "ALICE@EXAMPLE.COM"] {
            let response = world.respond(
                try world.request(
                    .post, "/xrpc/com.atproto.server.requestPasswordReset",
                    headers: [("content-type", "application/json")], body: Array("{\"email\":\"\(email)\"}".utf8)))
            #expect(response.status == 200)
            let names = response.headers.map { "\($0.name)" }.sorted()
            #expect(names == ["Access-Control-Allow-Origin", "Access-Control-Expose-Headers"])
        }
        #expect(rows == 0)
        #expect(try count(world, "mail") == 2, "one that waits for alice, and one that is nothing")
        #expect(try world.app.mail.queue.list(limit: 10).count == 1)
    }

    @Test(arguments: Engine.all) func aMailThatGoesOutLateStillHasItsFifteenMinutes(_ engine: Engine) throws {
        let world = try World(engine)
        let (did, token) = try account(world)
        #expect(try world.call(.post, "com.atproto.server.requestEmailConfirmation", token: token).status == 200)
        // The mail server was down for an hour.
        world.advance(3_600)
        let code = try world.mailedCode("confirm_email", did)
        world.advance(899)
        let confirmed = try world.call(
            .post, "com.atproto.server.confirmEmail", token: token,
            json: "{\"email\":\"alice@example.com\",\"token\":\"\(code)\"}")
        #expect(confirmed.status == 200, "\(confirmed.body)")
        #expect(try world.app.accounts.find(did)?.emailConfirmedAt != nil)
    }

    @Test(arguments: Engine.all) func theNetworkHearsOfASubmittedOperation(_ engine: Engine) throws {
        let world = try World(engine)
        let (did, token) = try account(world)
        #expect(try world.call(.post, "com.atproto.identity.requestPlcOperationSignature", token: token).status == 200)
        let code = try world.mailedCode("plc_operation", did)
        let sign = "com.atproto.identity.signPlcOperation"
        let signed = try world.call(.post, sign, token: token, json: "{\"token\":\"\(code)\"}")
        let before = try kinds(world)
        let requests = world.network.state.withLock { $0.requests.count }
        func submit() throws -> Int {
            try world.call(.post, "com.atproto.identity.submitPlcOperation", token: token, json: signed.body).status
        }
        // Refused by the directory, or not at all there: nothing is told.
        for (down, status) in [(false, 400), (true, 502)] {
            world.network.set {
                $0.refuses = !down
                $0.isDown = down
            }
            #expect(try submit() == status)
        }
        #expect(try kinds(world) == before)
        world.network.set { $0.isDown = false }
        #expect(try submit() == 200)
        #expect(try kinds(world) == before + ["identity"])
        #expect(world.network.state.withLock { $0.requests.count } > requests)
        // Who saw no answer sends it again: the directory takes nothing twice, and has what is wanted.
        world.network.set { $0.refuses = true }
        #expect(try submit() == 200)
        #expect(try kinds(world) == before + ["identity", "identity"])
    }

    @Test(arguments: Engine.all) func aDirectoryThatIsDownCostsNoCode(_ engine: Engine) throws {
        let world = try World(engine)
        let (did, token) = try account(world)
        #expect(try world.call(.post, "com.atproto.identity.requestPlcOperationSignature", token: token).status == 200)
        let code = try world.mailedCode("plc_operation", did)
        func sign() throws -> Int {
            try world.call(
                .post, "com.atproto.identity.signPlcOperation", token: token, json: "{\"token\":\"\(code)\"}"
            ).status
        }
        world.network.set { $0.isDown = true }
        #expect(try sign() == 502)
        world.network.set { $0.isDown = false }
        #expect(try sign() == 200)
        #expect(try sign() == 400)
    }

    @Test(arguments: Engine.all) func aChangeOfAddressEndsWhatWasMailed(_ engine: Engine) throws {
        let world = try World(engine)
        let (did, token) = try account(world)
        #expect(try world.call(.post, "com.atproto.server.requestAccountDelete", token: token).status == 200)
        let code = try world.mailedCode("delete_account", did)
        let update = "com.atproto.server.updateEmail"
        #expect(try world.call(.post, update, token: token, json: "{\"email\":\"new@example.com\"}").status == 200)
        let answer = try world.call(
            .post, "com.atproto.server.deleteAccount",
            json: "{\"did\":\"\(did)\",\"password\":\"correct horse\",\"token\":\"\(code)\"}")
        #expect(answer.status == 400 && answer.body.contains("InvalidToken"))
        #expect(try world.app.accounts.find(did) != nil)
    }

    @Test(arguments: Engine.all) func nothingOfAMailOutlivesItsAccount(_ engine: Engine) throws {
        let world = try World(engine)
        let (did, token) = try account(world)
        #expect(try world.call(.post, "com.atproto.server.requestEmailConfirmation", token: token).status == 200)
        try world.app.life.delete(did)
        #expect(try count(world, "mail") == 0 && count(world, "account_token") == 0)
    }
}
