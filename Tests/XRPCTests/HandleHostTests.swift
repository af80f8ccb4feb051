import ATProto
import Base
import TestSupport
import Testing
import Web
import XRPCHandlers

/// Hosts of handles under several domains: whose they are is all that is said there.
@Suite struct HandleHostTests {
    struct Row: Sendable {
        let name: String
        let host: String
        var by = HTTPMethod.get
        let path: String
        let status: Int
        /// What the body has; `DID` stands for the account's.
        let words: String
    }

    static let rows = [
        Row(name: "hers", host: "alice.home.test", path: "/.well-known/atproto-did", status: 200, words: "DID"),
        Row(
            name: "under the other domain", host: "bob.people.test", path: "/.well-known/atproto-did", status: 200,
            words: "DID"),
        Row(
            name: "nobody's", host: "carol.people.test", path: "/.well-known/atproto-did", status: 404,
            words: "not found"),
        Row(
            name: "her name under the other domain", host: "alice.people.test", path: "/.well-known/atproto-did",
            status: 404, words: "not found"),
        Row(name: "the domain", host: "people.test", path: "/.well-known/atproto-did", status: 404, words: "not found"),
        Row(
            name: "a third domain", host: "alice.other.test", path: "/.well-known/atproto-did", status: 404,
            words: "not found"),
        Row(
            name: "a domain that ends alike", host: "bob.morepeople.test", path: "/.well-known/atproto-did",
            status: 404,
            words: "not found"),
        Row(name: "words", host: "bob.people.test", path: "/", status: 200, words: "AT Protocol"),
        Row(name: "robots", host: "bob.people.test", path: "/robots.txt", status: 200, words: "User-agent"),
        Row(
            name: "the server's document", host: "bob.people.test", path: "/.well-known/did.json", status: 404,
            words: ""),
        // What is the service's.
        Row(
            name: "a query", host: "bob.people.test", path: "/xrpc/com.atproto.server.describeServer", status: 421,
            words: "The service is at https://home.test"),
        Row(name: "health", host: "alice.home.test", path: "/xrpc/_health", status: 421, words: "MisdirectedRequest"),
        Row(
            name: "signing in", host: "alice.home.test", by: .post, path: "/xrpc/com.atproto.server.createSession",
            status: 421, words: "MisdirectedRequest"),
        Row(
            name: "a method of elsewhere", host: "bob.people.test", path: "/xrpc/app.bsky.feed.getTimeline",
            status: 421,
            words: "MisdirectedRequest"),
        Row(name: "an unwritten name", host: "x.y.people.test", path: "/xrpc/_health", status: 421, words: ""),
        Row(
            name: "certificates", host: "bob.people.test", path: "/tls-check?domain=bob.people.test", status: 404,
            words: "Not found"),
        // And where it is.
        Row(name: "the service's host", host: "home.test", path: "/xrpc/_health", status: 200, words: "version"),
        Row(name: "an address", host: "127.0.0.1", path: "/xrpc/_health", status: 200, words: "version"),
        Row(name: "the other domain itself", host: "people.test", path: "/xrpc/_health", status: 200, words: "version"),
        Row(
            name: "a certificate for hers", host: "home.test", path: "/tls-check?domain=alice.home.test", status: 200,
            words: "ok"),
        Row(name: "for his", host: "home.test", path: "/tls-check?domain=bob.people.test", status: 200, words: "ok"),
        Row(
            name: "for nobody's", host: "home.test", path: "/tls-check?domain=carol.people.test", status: 404, words: ""
        ),
        Row(
            name: "for a third domain", host: "home.test", path: "/tls-check?domain=bob.other.test", status: 404,
            words: ""),
        Row(
            name: "for the other domain", host: "home.test", path: "/tls-check?domain=people.test", status: 404,
            words: ""),
        Row(name: "for no name", host: "home.test", path: "/tls-check?domain=people", status: 400, words: ""),
    ]

    @Test(arguments: Engine.all) func answers(_ engine: Engine) throws {
        let world = try World(engine, domains: ["home.test", "people.test"])
        var dids: [String: String] = [:]
        for handle in ["alice.home.test", "bob.people.test"] {
            let made = try world.call(
                .post, "com.atproto.server.createAccount",
                json: "{\"handle\":\"\(handle)\",\"email\":\"\(handle)@example.com\",\"password\":\"correct horse\"}")
            #expect(made.status == 200, "\(made.body)")
            dids[handle] = try JSON.parsePlain(Bytes(made.body))["did"]?.text?.description
        }
        for row in Self.rows {
            let response = world.respond(try world.request(row.by, row.path, host: row.host))
            #expect(response.status == row.status, "\(row.name)")
            guard case .bytes(let bytes) = response.body else {
                Issue.record("\(row.name): no body")
                continue
            }
            let body = String(decoding: bytes, as: UTF8.self)
            let words = row.words == "DID" ? try #require(dids[row.host]) : row.words
            #expect(words.isEmpty || body.contains(words), "\(row.name): \(body)")
        }
    }

    @Test func theServiceMayBeUnderADomainOfHandles() throws {
        let world = try World(.sqlite, domains: ["test"])
        for (host, status) in [("home.test", 200), ("alice.test", 421), ("alice.home.test", 421)] {
            #expect(world.respond(try world.request(.get, "/xrpc/_health", host: host)).status == status, "\(host)")
        }
    }

    static let refused: [(handle: String, error: String)] = [
        ("carol.other.test", "UnsupportedDomain"), ("carol.morepeople.test", "UnsupportedDomain"),
        ("people.test", "UnsupportedDomain"), ("carol.home.test.people.test", "InvalidHandle"),
        ("c.people.test", "InvalidHandle"), ("admin.people.test", "HandleNotAvailable"),
        ("people.test.", "InvalidHandle"), (".people.test", "InvalidHandle"),
    ]

    @Test(arguments: refused.indices) func handlesThatAreNotGivenOut(_ index: Int) throws {
        let (handle, error) = Self.refused[index]
        let world = try World(.sqlite, domains: ["home.test", "people.test"])
        let made = try world.call(
            .post, "com.atproto.server.createAccount",
            json: "{\"handle\":\"\(handle)\",\"email\":\"c@example.com\",\"password\":\"correct horse\"}")
        #expect(made.status == 400 && made.body.contains("\"\(error)\""), "\(handle): \(made)")
    }
}
