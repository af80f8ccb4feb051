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
        ("com.atproto.server.requestPasswordReset", #"{"email":"alice@example.com"}"#, 5),
        ("com.atproto.server.requestPasswordReset", #"{"email":"nobody@example.com"}"#, 5),
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

    private static let reset = "/xrpc/com.atproto.server.requestPasswordReset"

    /// Status, header fields and body of a request to reset the password of `email`'s account.
    private func ask(_ world: World, _ email: String, from peer: String) throws -> String {
        let response = world.respond(
            try world.request(
                .post, Self.reset, headers: [("content-type", "application/json")],
                body: Array("{\"email\":\"\(email)\"}".utf8), peer: peer))
        guard case .bytes(let body) = response.body else { return "no body" }
        let headers = response.headers.map { "\($0.name): \($0.value.bytes)" }
        return ([String(response.status)] + headers + [String(decoding: body, as: UTF8.self)]).joined(separator: "\n")
    }

    @Test func onePeerHasABudgetOfPasswordResets() throws {
        let world = try World(.sqlite, limits: true)
        for number in 0..<15 { #expect(try ask(world, "a\(number)@example.com", from: "192.0.2.1").hasPrefix("200")) }
        #expect(try ask(world, "b@example.com", from: "192.0.2.1").hasPrefix("429"))
        #expect(try ask(world, "b@example.com", from: "192.0.2.2").hasPrefix("200"))
    }

    /// Who asks from everywhere is refused in the same words, at the same time, whether anybody has the address.
    @Test(arguments: Engine.all) func aMailboxHasABudgetFromEverywhere(_ engine: Engine) throws {
        var answers: [[String]] = []
        let long = String(repeating: "x", count: 8_000)
        for emails in [
            ["alice@example.com", "Alice@Example.com", "ALICE@EXAMPLE.COM"],
            ["nobody@example.com", "NOBODY@example.com"],
            ["no address"], [long], ["\u{FC}@example.com"],
        ] {
            let world = try World(engine, limits: true)
            _ = try account(world)
            var given: [String] = []
            var rows: [Int?] = []
            for number in 0..<8 {
                given.append(try ask(world, emails[number % emails.count], from: "192.0.2.\(number)"))
                rows.append(try count(world, "mail"))
            }
            #expect(given.map { $0.prefix(3) } == ["200", "200", "200", "200", "200", "429", "429", "429"])
            #expect(rows.last == rows[4], "what is refused writes no mail")
            // It says nothing of what is left of the address' budget before it is spent, and nothing twice.
            #expect(given.filter { $0.contains("RateLimit-Policy: 15;w=3600") }.count == 5)
            #expect(given.filter { $0.contains("RateLimit-Policy: 5;w=3600") }.count == 3)
            #expect(given.allSatisfy { $0.components(separatedBy: "RateLimit-Limit: ").count == 2 })
            answers.append(given)
            // Another mailbox is not meant.
            #expect(try ask(world, "other@example.com", from: "192.0.2.7").hasPrefix("200"))
            world.advance(3_601)
            #expect(try ask(world, emails[0], from: "192.0.2.8").hasPrefix("200"))
            // What is kept of the addresses for the count is none of them.
            let keys = try world.test.read { reader in
                try reader.all("SELECT key FROM budget") { try $0.text(0).description }
            }
            #expect(keys.allSatisfy { $0.count <= 64 && !$0.contains("@") }, "\(keys)")
        }
        #expect(Set(answers).count == 1)
    }

    /// Accounts are free, mailboxes are other people's: all mail to an address that nobody has confirmed counts.
    @Test(arguments: Engine.all) func anUnconfirmedMailboxHasABudget(_ engine: Engine) throws {
        let world = try World(engine, limits: true)
        let (alice, token) = try account(world)
        let (_, second) = try account(world, "bob")
        func ask(_ name: String, _ token: String, _ json: String? = nil) throws -> Int {
            try world.call(.post, "com.atproto.\(name)", token: token, json: json).status
        }
        for _ in 0..<5 {
            #expect(try ask("server.requestEmailConfirmation", token) == 200)
            #expect(try ask("server.requestAccountDelete", token) == 200)
        }
        let code = try world.mailedCode("confirm_email", alice)
        #expect(try ask("identity.requestPlcOperationSignature", token) == 429)
        // The next account with the same address.
        func move(_ token: String, to email: String) throws {
            #expect(try ask("server.updateEmail", token, "{\"email\":\"\(email)\"}") == 200)
        }
        try move(token, to: "elsewhere@example.com")
        try move(second, to: "alice@example.com")
        #expect(try ask("server.requestEmailConfirmation", second) == 429)
        // Back with her, who proves that it is hers: the budgets of her account are all that count.
        try move(second, to: "bob@example.com")
        #expect(try ask("server.requestEmailConfirmation", second) == 200)
        try move(token, to: "alice@example.com")
        #expect(
            try ask("server.confirmEmail", token, "{\"email\":\"alice@example.com\",\"token\":\"\(code)\"}") == 400)
        try world.test.write { try AccountStore.confirmEmail("alice@example.com", of: alice, at: World.start, in: $0) }
        #expect(try ask("identity.requestPlcOperationSignature", token) == 200)
        #expect(try ask("server.requestEmailConfirmation", token) == 429, "of her own budget")
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
