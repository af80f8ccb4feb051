import ATProto
import Base
import Foundation
import Lexicons
import Storage
import TestSupport
import Testing
import Web

@testable import XRPCHandlers

/// J017 and S045: cursors that are none, or another list's, and what people look for, on every list that there is. Never
/// a fault of the server's, and nothing of somebody else's.
@Suite struct CursorTests {
    static let lists: [String] = XRPCResponder.routes.filter { route in
        route.kind == .query && (try? Published.method(route.nsid.description))?.input["cursor"] != nil
    }.map(\.nsid.description)

    static let cursors: [String] = [
        "", "x", "-1", "0", "1", "00", "1.5", "1e9", "9223372036854775807", "9223372036854775808",
        "-9223372036854775809", "99999999999999999999999999", "did:web:bob.home.test", "did:web:", "at://x", "..",
        "a/b",
        "3jzfcijpj2z2a", "zzzzzzzzzzzzz", "bafy", FieldsTests.cidText, "'", "' OR 1=1 --", "%", "_", "*", "\\",
        "2024-01-01T00:00:00Z", "2024-01-01T00:00:00Z::bafy", "::", "1::2", "\u{0}", "a\u{0}b", "\u{301}", "\u{10FFFF}",
        "\n", String(repeating: "a", count: 10_000),
    ]

    @Test func thereAreLists() { #expect(Self.lists.count >= 8, "\(Self.lists)") }

    @Test(arguments: lists, Engine.all) func garbage(_ nsid: String, _ engine: Engine) throws {
        let world = try World(engine)
        let bob = try Resident(engine, world: world, name: "bob", picture: "bob")
        let alice = try Resident(engine, world: world)
        for home in [alice, bob] {
            let made = try world.call(
                .post, "com.atproto.repo.createRecord", token: home.token,
                json: #"{"repo":"\#(home.did)","collection":"com.example.thing","record":{"said":"by \#(home.did)"}}"#)
            #expect(made.status == 200)
        }
        let input = try Published.method(nsid).input
        let known: [Bytes: String] = [
            "repo": "\(alice.did)", "did": "\(alice.did)", "collection": "com.example.thing",
        ]
        let isForAll = ["com.atproto.admin.", "com.atproto.sync.listRepos", "com.atproto.label."].contains {
            nsid.hasPrefix($0)
        }
        var refused = 0
        for cursor in Self.cursors {
            var query = "cursor=" + PercentCoding.encode(Bytes(cursor)).description
            for property in input.properties where property.isRequired || known[property.name] != nil {
                query += "&\(property.name)=" + (known[property.name] ?? "*")
            }
            let admin = "Basic " + Data("admin:admin password".utf8).base64EncodedString()
            let authorization = nsid.hasPrefix("com.atproto.admin.") ? admin : "Bearer \(alice.token)"
            let response = world.respond(
                try world.request(.get, "/xrpc/\(nsid)?\(query)", headers: [("authorization", authorization)]))
            guard case .bytes(let body) = response.body else { continue }
            let text = String(decoding: body, as: UTF8.self)
            #expect([200, 400].contains(response.status), "\(cursor.prefix(40)): \(text.prefix(200))")
            if response.status == 400 {
                refused += 1
                #expect(text.contains("\"error\":\"InvalidRequest\""), "\(cursor.prefix(40)): \(text.prefix(200))")
            }
            if !isForAll { #expect(!text.contains("\(bob.did)"), "\(cursor.prefix(40)) shows another's") }
        }
        // A NUL and 10,000 letters are no cursor of any list.
        #expect(refused >= 3)
        #expect(world.log.withLock { $0.filter { $0.hasPrefix("error") } } == [])
    }

    @Test(arguments: Engine.all) func whatPeopleLookFor(_ engine: Engine) throws {
        let world = try World(engine)
        let alice = try Resident(engine, world: world)
        let texts = [
            "\"", "'", "*", "%", "_", "NEAR(", "col:", "OR 1=1 --", "' OR '1'='1", "\\", "[a-z]", "a%", "a_ice",
            String(repeating: "a", count: 254),
        ]
        let admin = "Basic " + Data("admin:admin password".utf8).base64EncodedString()
        func search(_ text: String) throws -> (status: Int, body: String) {
            let response = world.respond(
                try world.request(
                    .get, "/xrpc/com.atproto.admin.searchAccounts?email=\(PercentCoding.encode(Bytes(text)))",
                    headers: [("authorization", admin)]))
            guard case .bytes(let body) = response.body else { return (response.status, "") }
            return (response.status, String(decoding: body, as: UTF8.self))
        }
        #expect(try search("lice@ex").body.contains("\(alice.did)"))
        for text in texts {
            let found = try search(text)
            #expect(found.status == 200 && found.body == #"{"accounts":[]}"#, "\(text.prefix(20)): \(found)")
        }
        for (text, status) in [(String(repeating: "a", count: 10_240), 400), ("a\u{0}b", 400)] {
            #expect(try search(text).status == status, "\(text.prefix(5))")
        }
        #expect(world.log.withLock { $0.filter { $0.hasPrefix("error") } } == [])
    }
}
