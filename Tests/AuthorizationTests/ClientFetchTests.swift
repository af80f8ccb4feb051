import Base
import Net
import Storage
import TestSupport
import Testing

@testable import Authorization

/// The product's own HTTP client against a server that counts who comes (specs/pds.md §7.5 row 109).
@Suite struct ClientFetchTests {
    /// A resolver for which the hosts in `rules` and those in `network` are no private ones.
    static func resolver(
        _ database: any Database, rules: [Bytes] = [], network: [Bytes] = [], overrides: [Bytes: Bytes] = [:]
    ) -> ClientResolver {
        var configuration = HTTPClient.Configuration()
        configuration.privateHostsAllowed = Set(network)
        configuration.hostOverrides = overrides
        return ClientResolver(
            store: ClientStore(database: database), network: ClientNetwork(http: HTTPClient(configuration)),
            rules: ClientRules(privateHosts: rules), clock: .system)
    }

    static func document(_ server: ClientServer, _ path: String = "/c.json", keys: Bytes? = nil) -> Document {
        let document = (keys == nil ? Document.web : Document.remote)
            .with("client_id", "\"\(server.url(path))\"").without("client_uri")
        return keys.map { document.with("jwks_uri", "\"\($0)\"") } ?? document
    }

    @Test func oneThatIsAllowed() throws {
        let test = try Engine.sqlite.migrated()
        let (server, keyServer) = (try ClientServer(), try ClientServer())
        server.answer("/c.json", Self.document(server, keys: keyServer.url("/k")).json)
        keyServer.answer("/k", Bytes(#"{"keys":[\#(Document.key)]}"#))
        let hosts = [server.host, keyServer.host]
        let client = try Self.resolver(test, rules: hosts, network: hosts).client(server.url("/c.json"))
        #expect(client.keys.map(\.id) == ["one"])
        #expect(server.acceptedCount == 1)
        #expect(keyServer.acceptedCount == 1)
    }

    @Test func privateAddressesAreNotAsked() throws {
        let test = try Engine.sqlite.migrated()
        let (server, inner) = (try ClientServer(), try ClientServer())
        server.answer("/c.json", Self.document(server, keys: inner.url("/k")).json)
        server.answer("/away", status: 302, headers: ["Location: \(inner.url("/c.json"))"], "")
        inner.answer("/c.json", Self.document(inner).json)
        inner.answer("/k", Bytes(#"{"keys":[\#(Document.key)]}"#))
        // Not as a client's id, with or without the rule of ids: the client that asks has a guard of its own.
        for rules in [[], [inner.host]] {
            let error = refusal { _ = try Self.resolver(test, rules: rules).client(inner.url("/c.json")) }
            #expect(error?.code == .invalidClientMetadata)
        }
        // Not for the sake of keys, nor where a redirect leads.
        for allowed in [[], [inner.host]] {
            for path in ["/c.json", "/away"] {
                let resolver = Self.resolver(test, rules: [server.host] + allowed, network: [server.host])
                let error = refusal { _ = try resolver.client(server.url(path)) }
                #expect(error?.code == .invalidClientMetadata)
                try test.execute("DELETE FROM oauth_client_document")
            }
        }
        #expect(inner.acceptedCount == 0)
        #expect(server.acceptedCount == 4)
    }

    static let addresses: [Bytes] = [
        "127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "198.18.0.1",
        "224.0.0.1", "255.255.255.255", "::1", "::ffff:127.0.0.1", "fc00::1", "fe80::1", "64:ff9b::7f00:1",
        "2002:7f00:1::",
    ]

    @Test(arguments: addresses) func aNameThatLeadsInside(_ address: Bytes) throws {
        let test = try Engine.sqlite.migrated()
        let resolver = Self.resolver(test, overrides: ["app.example.com": address])
        let error = refusal { _ = try resolver.client(Bytes(Document.webID)) }
        #expect(error == AuthorizationError(.invalidClientMetadata, "client metadata: address not allowed"))
    }

    struct Row: Sendable, CustomTestStringConvertible {
        let name: String
        let reason: String
        let answer: @Sendable (ClientServer) -> Void
        var testDescription: String { name }

        init(_ name: String, _ reason: String, _ answer: @escaping @Sendable (ClientServer) -> Void) {
            (self.name, self.reason, self.answer) = (name, reason, answer)
        }
    }

    static let rows: [Row] = [
        Row("a redirect to itself", "redirect not allowed") {
            $0.answer("/c.json", status: 302, headers: ["Location: /c.json"], "")
        },
        Row("a redirect with the document", "redirect not allowed") {
            $0.answer(
                "/c.json", status: 307, headers: ["Content-Type: application/json", "Location: /d"], document($0).json)
        },
        Row("nothing there", "status 404") { _ in },
        Row("created", "status 201") { $0.answer("/c.json", status: 201, document($0).json) },
        Row("text", "content type text/plain") {
            $0.answer("/c.json", headers: ["Content-Type: text/plain"], document($0).json)
        },
        Row("no type", "content type missing") { $0.answer("/c.json", headers: [], document($0).json) },
        Row("two types", "content type") {
            $0.answer(
                "/c.json", headers: ["Content-Type: application/json", "content-type: text/html"], document($0).json)
        },
        Row("512 KB and a byte", "larger than 524288 bytes") {
            let text = document($0).text
            $0.answer("/c.json", Bytes(text + String(repeating: " ", count: 524_289 - text.utf8.count)))
        },
        Row("not UTF-8", "not valid Unicode") {
            let document = document($0).with("client_name", #""~""#)
            $0.answer("/c.json", Bytes(document.json.map { $0 == 0x7E ? 0xE4 : $0 }))
        },
        Row("packed", "invalid JSON") {
            $0.answer(
                "/c.json", headers: ["Content-Type: application/json", "Content-Encoding: gzip"],
                Bytes([0x1F, 0x8B, 8, 0, 0, 0, 0, 0]))
        },
    ]

    @Test(arguments: rows) func faults(_ row: Row) throws {
        let test = try Engine.sqlite.migrated()
        let server = try ClientServer()
        row.answer(server)
        let resolver = Self.resolver(test, rules: [server.host], network: [server.host])
        let error = refusal { _ = try resolver.client(server.url("/c.json")) }
        #expect(error?.code == .invalidClientMetadata)
        #expect(error?.description.description.contains(row.reason) == true, "\(String(describing: error))")
        #expect(server.acceptedCount == 1)
    }

    @Test func exactly512KB() throws {
        let test = try Engine.sqlite.migrated()
        let server = try ClientServer()
        let text = Self.document(server).text
        server.answer("/c.json", Bytes(text + String(repeating: " ", count: 524_288 - text.utf8.count)))
        let resolver = Self.resolver(test, rules: [server.host], network: [server.host])
        #expect(try resolver.client(server.url("/c.json")).isPublic)
    }
}
