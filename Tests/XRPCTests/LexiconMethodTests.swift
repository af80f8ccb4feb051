import ATProto
import Base
import Foundation
import Identity
import Lexicons
import TestSupport
import Testing
import Web
import XRPCHandlers

/// Lexicons between two servers: what one publishes the other resolves, by its own proof.
@Suite struct LexiconMethodTests {
    static let name = "com.example.cal.event"
    static let document = """
        {"lexicon":1,"id":"com.example.cal.event","defs":{"main":{"type":"record","key":"tid","record":{"type":"object",
        "required":["n"],"properties":{"n":{"type":"integer"}}}}}}
        """

    /// A server where alice publishes, and the pages by which others see it.
    static func published(_ engine: Engine, to network: FakeNetwork, document: String = document) throws
        -> RepoBodyTests.Home
    {
        let home = try RepoBodyTests.Home(engine)
        let (status, body) = try home.world.call(
            .post, "com.atproto.repo.createRecord", token: home.token,
            json: """
                {"repo":"\(home.did)","collection":"com.atproto.lexicon.schema","rkey":"\(name)","validate":true,
                "record":\(document)}
                """)
        #expect(status == 200 && body.contains("\"validationStatus\":\"valid\""), "\(body)")
        let query = "did=\(home.did)&collection=com.atproto.lexicon.schema&rkey=\(name)"
        let proof = try home.get("com.atproto.sync.getRecord", query)
        let response = home.world.respond(
            try home.world.request(.get, "/.well-known/did.json", host: "alice.home.test"))
        guard case .bytes(let identity) = response.body else { throw Transcript.Malformed(description: "no document") }
        network.set { state in
            state.texts["_lexicon.cal.example.com"] = ["did=\(home.did)"].map { Bytes($0) }
            state.pages["https://alice.home.test/.well-known/did.json"] = .init(status: 200, body: Bytes(identity))
            state.pages[Bytes("https://home.test/xrpc/com.atproto.sync.getRecord?\(query)")] = .init(
                status: proof.status, body: Bytes(proof.body))
        }
        return home
    }

    @Test(arguments: Engine.all) func resolvedAndChecked(_ engine: Engine) throws {
        let away = try World(engine)
        let home = try Self.published(engine, to: away.network)
        _ = home
        let (made, account) = try away.call(
            .post, "com.atproto.server.createAccount",
            json: #"{"handle":"bob.home.test","email":"b@example.com","password":"correct horse"}"#)
        #expect(made == 200)
        let token = try #require(JSON.parsePlain(Bytes(account))["accessJwt"]?.text).description
        let requestsBefore = away.network.state.withLock { $0.requests.count }
        func write(_ record: String, _ rest: String = "") throws -> (status: Int, body: String) {
            try away.call(
                .post, "com.atproto.repo.createRecord", token: token,
                json: "{\"repo\":\"bob.home.test\",\"collection\":\"\(Self.name)\",\"record\":\(record)\(rest)}")
        }
        // Nobody here knows it yet, and a write doesn't ask.
        let unknown = try write(#"{"n":"x"}"#)
        #expect(unknown.status == 200 && unknown.body.contains("\"validationStatus\":\"unknown\""))
        let refused = try write(#"{"n":1}"#, ",\"validate\":true")
        #expect(refused.status == 400)
        #expect(refused.body == "{\"error\":\"InvalidRequest\",\"message\":\"Unknown lexicon type: \(Self.name)\"}")
        #expect(away.network.state.withLock { $0.requests.count } == requestsBefore)
        // The worker does.
        #expect(try away.app.lexiconUpdates.run().resolved == 1)
        #expect(try write(#"{"n":1}"#, ",\"validate\":true").body.contains("\"validationStatus\":\"valid\""))
        let wrong = try write(#"{"n":"x"}"#)
        #expect(wrong.status == 400)
        #expect(wrong.body.contains("Invalid \(Self.name) record: Record/n must be an integer"))
        let unchecked = try write(#"{"n":"x"}"#, ",\"validate\":false")
        #expect(unchecked.status == 200 && !unchecked.body.contains("validationStatus"))
        let key = try write(#"{"n":1}"#, ",\"rkey\":\"self\"")
        #expect(key.status == 400 && key.body.contains("Record key must be a valid TID"))
        // And the method gives what was proved, also once nobody answers any more.
        for isDown in [false, true] {
            away.network.set { $0.isDown = isDown }
            let (status, body) = try away.call(.get, "com.atproto.lexicon.resolveLexicon?nsid=\(Self.name)")
            #expect(status == 200)
            let answer = try JSON.parsePlain(Bytes(body))
            #expect(
                answer["uri"]?.text == "at://did:web:alice.home.test/com.atproto.lexicon.schema/com.example.cal.event")
            let schema = try #require(answer["schema"])
            #expect(try Lexicon(schema) == Lexicon(json: Bytes(Self.document)))
            #expect(answer["cid"]?.text == Bytes(CID(hashing: DAGCBOR.encode(schema)).text))
        }
    }

    /// Without a worker: the method asks by itself.
    @Test(arguments: Engine.all) func resolvedOnDemand(_ engine: Engine) throws {
        let away = try World(engine)
        _ = try Self.published(engine, to: away.network)
        #expect(try away.call(.get, "com.atproto.lexicon.resolveLexicon?nsid=\(Self.name)").status == 200)
        away.network.set { $0.isDown = true }
        #expect(try away.call(.get, "com.atproto.lexicon.resolveLexicon?nsid=\(Self.name)").status == 200)
        away.advance(LexiconStore.ageMaxSeconds)
        let (status, body) = try away.call(.get, "com.atproto.lexicon.resolveLexicon?nsid=\(Self.name)")
        #expect(status == 502 && body.contains("UpstreamFailure"))
    }

    @Test func aRecordThatIsNoLexiconIsNotFound() throws {
        let away = try World(.sqlite)
        _ = try Self.published(.sqlite, to: away.network, document: #"{"lexicon":2}"#)
        let (status, body) = try away.call(.get, "com.atproto.lexicon.resolveLexicon?nsid=\(Self.name)")
        #expect(status == 400 && body.contains("LexiconNotFound") && body.contains("Lexicon/lexicon must be 1"))
    }

    /// A type with one key gets it when the caller names none.
    @Test func aTypeWithOneKeyGetsIt() throws {
        let home = try RepoBodyTests.Home(.sqlite)
        let (status, body) = try home.world.call(
            .post, "com.atproto.repo.createRecord", token: home.token,
            json: "{\"repo\":\"\(home.did)\",\"collection\":\"app.bsky.actor.profile\",\"record\":{}}")
        #expect(status == 200 && body.contains("/app.bsky.actor.profile/self\""), "\(body)")
    }
}
