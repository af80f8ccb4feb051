import Base
import Testing

@testable import Authorization

/// A client that changes its document between a request, the consent and the tokens (reliability D7, O023).
@Suite struct ClientChangeTests {
    struct Row: Sendable, CustomTestStringConvertible {
        let name: String
        let old: Document
        let new: Document
        var uris: [Bytes] = []
        var scopes: [Bytes] = []
        var keys: [Bytes] = []
        var isReplaced = false
        var losesRefresh = false
        var testDescription: String { name }
    }

    static let web = Document.web
    static let both = Document.confidential.with("jwks", #"{"keys":[\#(Document.key),\#(Document.otherKey)]}"#)
    static let second = Document.confidential.with("jwks", #"{"keys":[\#(Document.otherKey)]}"#)

    static let rows: [Row] = [
        Row(name: "nothing", old: web, new: web), Row(name: "a name", old: web, new: web.with("client_name", #""B""#)),
        Row(name: "more scope", old: web, new: web.with("scope", #""atproto transition:generic a b""#)),
        Row(
            name: "one more address", old: web,
            new: web.with("redirect_uris", #"["https://evil.example.org/","https://app.example.com/callback"]"#)),
        Row(name: "one more key", old: second, new: both),
        Row(
            name: "notes on a key", old: Document.confidential,
            new: Document.confidential.with(
                "jwks", #"{"keys":[\#(Document.key.dropLast()),"use":"sig","alg":"ES256"}]}"#)),
        Row(name: "refresh", old: web.with("grant_types", #"["authorization_code"]"#), new: web),

        Row(
            name: "another address", old: web, new: web.with("redirect_uris", #"["https://evil.example.org/"]"#),
            uris: ["https://app.example.com/callback"]),
        Row(
            name: "another port", old: Document.native.with("redirect_uris", #"["http://127.0.0.1:1/"]"#),
            new: Document.native.with("redirect_uris", #"["http://127.0.0.1:2/"]"#), uris: ["http://127.0.0.1:1/"]),
        Row(name: "less scope", old: web, new: web.with("scope", #""atproto""#), scopes: ["transition:generic"]),
        Row(
            name: "other scope", old: web, new: web.with("scope", #""atproto transition:email""#),
            scopes: ["transition:generic"]),
        Row(name: "a key gone", old: both, new: second, keys: ["one"]),
        Row(name: "all keys gone", old: Document.confidential, new: second, keys: ["one"]),
        Row(
            name: "another key of the same name", old: Document.confidential,
            new: Document.confidential.with(
                "jwks", #"{"keys":[\#(Document.otherKey.replacing("two", with: "one"))]}"#), keys: ["one"]),
        Row(
            name: "the same key by another name", old: Document.confidential,
            new: Document.confidential.with("jwks", #"{"keys":[\#(Document.key.replacing("one", with: "two"))]}"#),
            keys: ["one"]),
        Row(name: "public now", old: Document.confidential, new: web, keys: ["one"], isReplaced: true),
        Row(name: "confidential now", old: web, new: Document.confidential, isReplaced: true),
        Row(
            name: "another algorithm", old: Document.confidential,
            new: Document.confidential.with("token_endpoint_auth_signing_alg", #""ES256K""#), isReplaced: true),
        Row(name: "native now", old: web, new: web.with("application_type", #""native""#), isReplaced: true),
        Row(
            name: "no refresh", old: web, new: web.with("grant_types", #"["authorization_code"]"#), losesRefresh: true),
    ]

    @Test(arguments: rows) func narrowing(_ row: Row) throws {
        let old = try row.old.client()
        let change = old.narrowing(to: try row.new.client())
        #expect(change.redirectURIs.map(\.bytes) == row.uris)
        #expect(change.scopes == row.scopes)
        #expect(change.keys.map { $0.id ?? "" } == row.keys)
        #expect(change.isReplaced == row.isReplaced)
        #expect(change.losesRefresh == row.losesRefresh)
        let isSame = row.uris.isEmpty && row.scopes.isEmpty && row.keys.isEmpty && !row.isReplaced && !row.losesRefresh
        #expect(change.isEmpty == isSame)
        for uri in old.metadata.redirectURIs {
            #expect(change.allows(uri) == (!row.isReplaced && !row.uris.contains(uri.bytes)))
        }
        for key in old.keys {
            #expect(change.allows(key) == (!row.isReplaced && !row.keys.contains(key.id ?? "")))
        }
    }

    @Test func anAddressThatWasRequestedWithAPort() throws {
        let old = try Document.native.client()
        let uri = try old.redirectURI("http://127.0.0.1:5555/cb")
        #expect(old.narrowing(to: old).allows(uri))
        let new = try Document.native.with("redirect_uris", #"["com.example.app:/callback"]"#).client()
        #expect(!old.narrowing(to: new).allows(uri))
        #expect(old.narrowing(to: new).allows(try old.redirectURI("com.example.app:/callback")))
    }

    static let snapshots: [Document] = [.web, .native, .confidential, both]

    @Test(arguments: snapshots) func aSnapshotIsTheClient(_ document: Document) throws {
        let client = try document.client()
        #expect(try Client(snapshot: client.snapshot) == client)
    }

    @Test func aSnapshotHasTheFetchedKeys() throws {
        let keys = try ClientKeySet(json: Bytes(#"{"keys":[\#(Document.key),\#(Document.otherKey)]}"#))
        let client = Client(try Document.remote.metadata(), fetched: keys)
        #expect(client.keys.count == 2)
        #expect(try Client(snapshot: client.snapshot) == client)
        let development = Client(
            try #require(ClientMetadata(development: try ClientID("http://localhost?scope=atproto+a"))))
        #expect(try Client(snapshot: development.snapshot) == development)
    }

    /// A request keeps its client: what a stranger can make us keep is bounded.
    @Test func theLargestSnapshot() throws {
        let uris = (0..<ClientMetadata.redirectURIsMax).map {
            "\"https://app.example.com/\($0)/" + long("a", RedirectURI.sizeMax - 27) + "\""
        }
        let keys = (0..<ClientKeySet.countMax).map {
            #"{"kty":"RSA","kid":"\#($0)","e":"AQAB","n":"\#(long("A", 1_980))","x5c":["\#(long("A", 9_000))"]}"#
        }
        let client = try Document.confidential.with("redirect_uris", "[\(uris.joined(separator: ","))]")
            .with("jwks", "{\"keys\":[\(keys.joined(separator: ","))]}")
            .with("scope", "\"atproto \(long("a", ClientMetadata.scopeSizeMax - 8))\"").client()
        #expect(client.snapshot.count > 130_000)
        #expect(client.snapshot.count < 150_000)
        #expect(try Client(snapshot: client.snapshot) == client)
    }

    static let damaged: [Bytes] = [
        "", "{}", "[]", #"{"client_id":1}"#, #"{"client_id":"https://app.example.com/a"}"#,
        #"{"client_id":"http://127.0.0.1/a","metadata":{}}"#,
        #"{"client_id":"https://app.example.com/a","metadata":{}}"#,
    ]

    @Test(arguments: damaged) func aDamagedSnapshot(_ snapshot: Bytes) {
        #expect(refusal { _ = try Client(snapshot: snapshot) }?.code == .invalidClientMetadata)
    }
}
