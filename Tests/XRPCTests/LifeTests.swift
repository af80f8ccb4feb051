import ATProto
import Accounts
import Base
import Crypto
import Foundation
import Hosting
import Identity
import Net
import Repos
import Storage
import TestSupport
import Testing
import Web
import XRPCHandlers

/// What transcripts can't show: tokens that others sign, the event log, two at once, bodies that are too large.
@Suite struct LifeTests {
    private func json(_ text: String) throws -> [String: Any] {
        try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
    }

    private func kinds(_ world: World) throws -> [String] {
        try world.test.read { reader in
            try reader.all("SELECT kind FROM event ORDER BY seq") { try $0.text(0).description }
        }
    }

    private static let createAccount = "com.atproto.server.createAccount"

    private func body(_ name: String, did: String? = nil) -> String {
        let did = did.map { ",\"did\":\"\($0)\"" } ?? ""
        return """
            {"handle":"\(name).home.test","email":"\(name)@example.com","password":"correct horse"\(did)}
            """
    }

    @Test(arguments: Engine.all) func anAccountBeginsWithThreeEventsInOrder(_ engine: Engine) throws {
        let world = try World(engine)
        let made = try world.call(.post, Self.createAccount, json: body("alice"))
        #expect(made.status == 200)
        #expect(try kinds(world) == ["identity", "account", "commit"])
        let did = try #require(DID(try json(made.body)["did"] as? String ?? ""))
        try world.app.life.deactivate(did)
        try world.app.life.activate(did)
        #expect(
            try kinds(world) == ["identity", "account", "commit", "account", "account", "identity", "sync"])
        try world.app.life.delete(did)
        #expect(try kinds(world) == ["account"], "of a deleted account only the last word stays")
        #expect(throws: RepoError.repoNotFound(did)) { _ = try world.app.repos.state(of: did) }
        #expect(throws: KeyError.notFound(did)) { _ = try world.app.keys.key(of: did) }
    }

    /// An identity of elsewhere, its key, and a place where its document is.
    private struct Foreign {
        let did = DID("did:web:mover.example.com")!
        let key: SigningKey

        init(_ seed: UInt8) throws {
            key = try SigningKey(algorithm: .p256, secret: Secret([UInt8](repeating: seed, count: 32)))
        }

        func publish(_ world: World, pds: Bytes = "https://old.example.com", key: VerificationKey? = nil) {
            let document = DIDDocument.json(
                of: did, handle: Handle("mover.example.com"), signingKey: key ?? self.key.publicKey, pds: pds)
            world.network.set {
                $0.pages["https://mover.example.com/.well-known/did.json"] = .init(status: 200, body: document)
            }
        }

        func token(_ changes: (inout JOSEObject) -> Void = { _ in }) throws -> String {
            var claims: JOSEObject = [
                "iss": .text(did.bytes), "aud": "did:web:home.test", "lxm": "com.atproto.server.createAccount",
                "exp": .integer(World.start.seconds + 60), "jti": "1",
            ]
            changes(&claims)
            return try JWT.sign(header: ["typ": "JWT"], claims: claims, key: key).description
        }
    }

    @Test(arguments: Engine.all) func movingIn(_ engine: Engine) throws {
        let world = try World(engine)
        let foreign = try Foreign(3)
        foreign.publish(world)
        let reserved = try world.call(
            .post, "com.atproto.server.reserveSigningKey", json: "{\"did\":\"\(foreign.did)\"}")
        let newKey = try #require(try json(reserved.body)["signingKey"] as? String)
        let made = try world.call(
            .post, Self.createAccount, token: foreign.token(), json: body("mover", did: "\(foreign.did)"))
        #expect(made.status == 200)
        #expect(try kinds(world).isEmpty, "the network hears nothing of it yet")
        let account = try #require(try world.app.accounts.find(foreign.did))
        #expect(account.state == .deactivated)
        #expect(account.deleteAfter == World.start.adding(seconds: AccountLife.movedInSeconds))
        #expect(try world.app.keys.key(of: foreign.did).publicKey.didKey == Bytes(newKey))
        let token = try #require(try json(made.body)["accessJwt"] as? String)

        let credentials = try world.call(
            .get, "com.atproto.identity.getRecommendedDidCredentials", token: token)
        #expect(credentials.body.contains(newKey) && credentials.body.contains("https://home.test"))
        func activate() throws -> String {
            try world.call(.post, "com.atproto.server.activateAccount", token: token).body
        }
        #expect(try activate().contains("atproto_pds service endpoint does not match PDS public url"))
        foreign.publish(world, pds: "https://home.test")
        #expect(try activate().contains("verification method does not match expected signing key"))
        foreign.publish(world, pds: "https://home.test", key: try VerificationKey(didKey: Bytes(newKey)))
        #expect(try activate().isEmpty)
        #expect(try kinds(world) == ["account", "identity", "sync"])
        #expect(try world.app.accounts.find(foreign.did)?.deleteAfter == nil)
    }

    @Test(arguments: Engine.all) func tokensThatDoNotMoveAnyone(_ engine: Engine) throws {
        let world = try World(engine)
        let foreign = try Foreign(3)
        foreign.publish(world)
        let now = World.start.seconds
        let rows: [(name: String, token: String, error: String)] = [
            ("expired", try foreign.token { $0["exp"] = .integer(now) }, "JwtExpired"),
            ("no expiry", try foreign.token { $0["exp"] = nil }, "BadJwt"),
            ("another audience", try foreign.token { $0["aud"] = "did:web:other.test" }, "BadJwtAudience"),
            ("another service", try foreign.token { $0["aud"] = "did:web:home.test#chat" }, "BadJwtAudience"),
            ("no method", try foreign.token { $0["lxm"] = nil }, "BadJwtLexiconMethod"),
            ("another method", try foreign.token { $0["lxm"] = "com.example.do" }, "BadJwtLexiconMethod"),
            ("issuer is no DID", try foreign.token { $0["iss"] = "mover" }, "BadJwtIss"),
            ("issuer is a service", try foreign.token { $0["iss"] = "did:web:mover.example.com#x" }, "BadJwtIss"),
            ("issuer has no document", try foreign.token { $0["iss"] = "did:web:none.example.com" }, "BadJwtIss"),
            ("another key", try Foreign(4).token(), "BadJwtSignature"),
            ("no signature", String(try foreign.token().prefix { $0 != "." }) + "..", "BadJwt"),
        ]
        for row in rows {
            let answer = try world.call(
                .post, Self.createAccount, token: row.token, json: body("mover", did: "\(foreign.did)"))
            #expect(answer.status == 401 && answer.body.contains("\"\(row.error)\""), "\(row.name): \(answer.body)")
        }
        // The other form of the audience that Phase 2 will ask for, and an issuer with the key's name.
        let good = try foreign.token {
            $0["aud"] = "did:web:home.test#atproto_pds"
            $0["iss"] = "did:web:mover.example.com#atproto"
        }
        #expect(
            try world.call(.post, Self.createAccount, token: good, json: body("mover", did: "\(foreign.did)")).status
                == 200)
    }

    @Test func aKeyThatHasChangedIsFetchedAgain() throws {
        let world = try World(.sqlite)
        try Foreign(4).publish(world)
        _ = try world.app.resolver.document(of: DID("did:web:mover.example.com")!)
        let foreign = try Foreign(3)
        foreign.publish(world)
        let answer = try world.call(
            .post, Self.createAccount, token: foreign.token(), json: body("mover", did: "\(foreign.did)"))
        #expect(answer.status == 200)
    }

    @Test(arguments: Engine.all) func twoAtOnceForOneName(_ engine: Engine) throws {
        let world = try World(engine)
        let answers = Guarded<[Int]>([])
        DispatchQueue.concurrentPerform(iterations: 4) { index in
            let json = """
                {"handle":"alice.home.test","email":"a\(index)@example.com","password":"correct horse"}
                """
            let status = (try? world.call(.post, Self.createAccount, json: json))?.status ?? 0
            answers.withLock { $0.append(status) }
        }
        #expect(answers.withLock { $0.sorted() } == [200, 400, 400, 400])
        #expect(try kinds(world) == ["identity", "account", "commit"])
    }

    @Test func aKeyIsKeptWhenTheDirectoryDoesNotAnswer() throws {
        let world = try World(.sqlite)
        func reserved() throws -> Int? {
            try world.test.read { try $0.first("SELECT count(*) FROM reserved_key") { try $0.integer(0) } }
        }
        world.network.set { $0.refuses = true }
        #expect(try world.call(.post, Self.createAccount, json: body("alice")).status == 502)
        #expect(try reserved() == 0, "refused is refused")
        world.network.set { $0.isDown = true }
        #expect(try world.call(.post, Self.createAccount, json: body("alice")).status == 502)
        #expect(try reserved() == 1, "the directory may have taken it")
        world.network.set {
            $0.isDown = false
            $0.refuses = false
        }
        #expect(try world.call(.post, Self.createAccount, json: body("alice")).status == 200)
    }

    @Test(arguments: [BodyRule.jsonSizeMax, BodyRule.jsonSizeMax + 1], [true, false])
    func bodiesHaveALimit(_ size: Int, _ isDeclared: Bool) throws {
        let world = try World(.sqlite)
        let padding = String(repeating: " ", count: size - 2)
        var request = try world.request(
            .post, "/xrpc/com.atproto.server.createSession", headers: [("content-type", "application/json")],
            body: Array("{\(padding)}".utf8))
        if !isDeclared { request.contentLength = nil }
        let response = world.respond(request)
        guard case .bytes(let body) = response.body else { return }
        let text = String(decoding: body, as: UTF8.self)
        if size > BodyRule.jsonSizeMax {
            #expect(response.status == 413 && text.contains("\"PayloadTooLarge\""))
        } else {
            #expect(response.status == 400 && text.contains("must have the property"))
        }
    }

    @Test func faultsOfTheServerAreLoggedAndNotTold() throws {
        let world = try World(.sqlite)
        #expect(try world.call(.post, Self.createAccount, json: body("alice")).status == 200)
        try world.test.execute("DROP TABLE app_password")
        try world.test.execute("DROP TABLE refresh_token")
        let answer = try world.call(
            .post, "com.atproto.server.createSession",
            json: "{\"identifier\":\"alice.home.test\",\"password\":\"correct horse\"}")
        #expect(answer.status == 500)
        #expect(answer.body == "{\"error\":\"InternalServerError\",\"message\":\"Internal Server Error\"}")
        let line = world.log.withLock { $0.last ?? "" }
        #expect(line.contains("request=request-1") && line.contains("refresh_token"))
        #expect(line.contains("method=com.atproto.server.createSession") && !line.contains("correct horse"))
    }
}
