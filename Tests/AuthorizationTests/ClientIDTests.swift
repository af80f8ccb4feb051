import Base
import Testing

@testable import Authorization

/// Names of clients: one spelling, and the reason for every other.
@Suite struct ClientIDTests {
    struct Row: Sendable, CustomTestStringConvertible {
        let id: String
        /// What the reason says; nil for an id that is taken.
        let reason: String?
        var testDescription: String { String(id.prefix(80)) }

        init(_ id: String, _ reason: String? = nil) { (self.id, self.reason) = (id, reason) }
    }

    static let privateName = "host must be a public DNS name"

    static let documents: [Row] = [
        Row("https://app.example.com/oauth-client-metadata.json"), Row("https://example.com/a"),
        Row("https://app.example.com/a/b/c.json"), Row("https://app.example.com/a?b=c"),
        Row("https://xn--bcher-kva.example.com/a"), Row("https://app.example.com/~a/@b;c=d,e!$&'()*+:f"),
        Row("https://app.example.com/a%20b"), Row("https://app.example.com/a//b"), Row("https://app.example.com/..a"),
        Row("https://app.example.com/" + long("a", 2_024)),

        Row("", "invalid URL"), Row("app", "invalid URL"), Row("app.example.com/a", "invalid URL"),
        Row("//app.example.com/a", "invalid URL"), Row("https:app.example.com/a", "invalid URL"),
        Row("https:/app.example.com/a", "invalid URL"), Row("https:///a", "invalid URL"),
        Row("HTTPS://app.example.com/a", "canonical"), Row("Https://app.example.com/a", "canonical"),
        Row("http://app.example.com/a", "https required"), Row("ftp://app.example.com/a", "https required"),
        Row("file:///etc/passwd", "https required"), Row("gopher://app.example.com/a", "https required"),
        Row("javascript:alert(1)", "https required"), Row("did:plc:yk4dd2qkboz2yv6tpubpc6co", "https required"),
        Row("https://app.example.com", "must contain a path"), Row("https://app.example.com/", "must contain a path"),
        Row("https://app.example.com?a", "must contain a path"), Row("https://app.example.com/?a", "contain a path"),
        Row("https://app.example.com/a/", "end with a slash"), Row("https://app.example.com/a/?b", "end with a slash"),
        Row("https://app.example.com/a?", "canonical"), Row("https://app.example.com/a#", "fragment"),
        Row("https://app.example.com/a#b", "fragment"), Row("https://good.example.com#@evil.example.com/a", "fragment"),
        Row("https://user@app.example.com/a", "credentials"), Row("https://user:p@app.example.com/a", "credentials"),
        Row("https://@app.example.com/a", "credentials"), Row("https://app.example.com:443/a", "port"),
        Row("https://app.example.com:8443/a", "port"), Row("https://app.example.com:99999/a", "invalid URL"),
        Row("https://app.example.com:/a", "invalid URL"), Row("https://app.example.com:0/a", "invalid URL"),
        Row("https://app.example.com:0443/a", "invalid URL"), Row("https://app.example.com:+443/a", "invalid URL"),
        Row("https://App.example.com/a", "canonical"), Row("https://app.example.com/./a", "canonical"),
        Row("https://app.example.com/../a", "canonical"), Row("https://app.example.com/a/..", "canonical"),
        Row("https://app.example.com/%2e%2E/a", "canonical"), Row("https://app.example.com/.%2e/a", "canonical"),
        Row("https://app.example.com/%2e", "canonical"), Row("https://127.0.0.1/a", privateName),
        Row("https://8.8.8.8/a", privateName), Row("https://[::1]/a", privateName),
        Row("https://[2606:4700::1]/a", privateName), Row("https://2130706433/a", privateName),
        Row("https://0x7f000001/a", privateName), Row("https://0177.0.0.1/a", privateName),
        Row("https://127.1/a", privateName), Row("https://127。0。0。1/a", privateName),
        Row("https://ⓛocalhost/a", privateName), Row("https://localhost/a", privateName),
        Row("https://localhost./a", privateName), Row("https://app.example.com./a", privateName),
        Row("https://app.localhost/a", privateName), Row("https://app.local/a", privateName),
        Row("https://app.test/a", privateName), Row("https://app.internal/a", privateName),
        Row("https://app/a", privateName), Row("https://a_b.example.com/a", privateName),
        Row("https://-a.example.com/a", privateName), Row("https://a..example.com/a", privateName),
        Row("https://good.example.com%00.evil.example.com/a", "invalid URL"),
        Row(#"https://good.example.com\@evil.example.com/a"#, "invalid URL"),
        Row("https://app.example.com/a b", "invalid URL"), Row("https://app.example.com/a\r\nb", "invalid URL"),
        Row("https://app.example.com/a\t", "invalid URL"), Row(" https://app.example.com/a", "invalid URL"),
        Row("https://app.example.com/\u{e4}", "invalid URL"), Row("https://app.example.com/a%", "invalid URL"),
        Row("https://app.example.com/a%2", "invalid URL"), Row("https://app.example.com/a%zz", "invalid URL"),
        Row("https://app.example.com/a%00", "invalid URL"), Row("https://app.example.com/a%0d%0a", "invalid URL"),
        Row("https://app.example.com/a\"b", "invalid URL"), Row("https://app.example.com/<a>", "invalid URL"),
        Row("https://[::1/a", "invalid URL"), Row("https://::1/a", "invalid URL"), Row("https://[]/a", "invalid URL"),
        Row("https://app.example.com/" + long("a", 2_025), "longer than 2048"),
        Row("https://" + long("a.", 254) + "com/a", "invalid URL"),
    ]

    @Test(arguments: documents) func document(_ row: Row) {
        var id: ClientID?
        let error = refusal { id = try ClientID(Bytes(row.id)) }
        guard let reason = row.reason else {
            #expect(error == nil)
            #expect(id?.bytes == Bytes(row.id))
            #expect(id?.isLoopback == false)
            return
        }
        #expect(id == nil)
        #expect(error?.code == .invalidClientMetadata)
        #expect(error?.description.description.contains(reason) == true, "\(String(describing: error))")
        #expect(isDescription(error?.description ?? ""))
    }

    static let developments: [Row] = [
        Row("http://localhost"), Row("http://localhost/"), Row("http://localhost?"), Row("http://localhost/?"),
        Row("http://localhost?scope=atproto"), Row("http://localhost?scope=atproto+transition%3Ageneric"),
        Row("http://localhost/?redirect_uri=http%3A%2F%2F127.0.0.1%3A3000%2Fcb"),
        Row("http://localhost?redirect_uri=http://127.0.0.1/cb&redirect_uri=http://[::1]/cb&scope=atproto"),
        Row("http://localhost?&&scope=atproto&"),

        Row("http://localhost:80", "default port"), Row("http://localhost:3000", "https required"),
        Row("http://localhost:3000/a", "https required"), Row("http://localhost.", "https required"),
        Row("http://localhost.example.com/a", "https required"), Row("http://localhosts/a", "https required"),
        Row("http://127.0.0.1", "https required"), Row("http://[::1]/", "https required"),
        Row("HTTP://localhost", "canonical"), Row("http://LOCALHOST", "canonical"),
        Row("https://localhost", privateName), Row("http://localhost/a", "path"), Row("http://localhost//", "path"),
        Row("http://localhost/a?scope=atproto", "path"), Row("http://localhost#", "fragment"),
        Row("http://localhost?scope=atproto#a", "fragment"), Row("http://user@localhost", "credentials"),
        Row("http://localhost@evil.example.com/", "credentials"), Row("http://localhost?a=b", "unknown parameter a"),
        Row("http://localhost?client_name=Bank", "unknown parameter client_name"),
        Row("http://localhost?\"=b", "unknown parameter ?"), Row("http://localhost?%00=b", "unknown parameter ?"),
        Row("http://localhost?Scope=atproto", "unknown parameter Scope"),
        Row("http://localhost?scope=atproto&scope=atproto", "twice"), Row("http://localhost?scope=", "scope"),
        Row("http://localhost?scope", "scope"), Row("http://localhost?scope=transition:generic", "scope must have"),
        Row("http://localhost?scope=atproto++x", "one space"), Row("http://localhost?scope=atproto+atproto", "twice"),
        Row("http://localhost?scope=atproto%0A", "one space"), Row("http://localhost?scope=%", "invalid URL"),
        Row("http://localhost?scope=%a", "invalid URL"), Row("http://localhost?scope=atproto x", "invalid URL"),
        Row("http://localhost?scope=\u{e4}", "invalid URL"),
        Row("http://localhost?scope=atproto&x" + long("a", 2_048), "longer than 2048"),
    ]

    @Test(arguments: developments) func development(_ row: Row) {
        var id: ClientID?
        let error = refusal { id = try ClientID(Bytes(row.id)) }
        guard let reason = row.reason else {
            #expect(error == nil)
            #expect(id?.isLoopback == true)
            #expect(id?.host == "localhost")
            return
        }
        #expect(id == nil)
        #expect(error?.code == .invalidClientMetadata)
        #expect(error?.description.description.contains(reason) == true, "\(String(describing: error))")
        #expect(isDescription(error?.description ?? ""))
    }

    static let redirects: [String] = [
        "http://localhost/", "https://127.0.0.1/", "https://app.example.com/cb", "com.example.app:/cb",
        "javascript:alert(1)", "http://app.example.com/", "http://127.0.0.2/", "http://user@127.0.0.1/",
        "http://127.0.0.1/#", "",
    ]

    @Test(arguments: redirects) func aDevelopmentClientStaysOnItsMachine(_ uri: String) {
        let encoded = uri.replacingEach([":": "%3A", "#": "%23", "/": "%2F"])
        let error = refusal { _ = try ClientID(Bytes("http://localhost?redirect_uri=\(encoded)")) }
        #expect(error?.code == .invalidRedirectURI)
    }

    @Test func aDevelopmentClientsDefaults() throws {
        let metadata = try #require(ClientMetadata(development: try ClientID("http://localhost")))
        #expect(metadata.redirectURIs.map(\.bytes) == ["http://127.0.0.1/", "http://[::1]/"])
        #expect(metadata.scope == "atproto")
        #expect(metadata.isPublic && metadata.mayRefresh && metadata.applicationType == .native)
        let given = try #require(
            ClientMetadata(
                development: try ClientID("http://localhost?redirect_uri=http%3A%2F%2F127.0.0.1%2Fa&scope=atproto+b")))
        #expect(given.redirectURIs.map(\.bytes) == ["http://127.0.0.1/a"])
        #expect(given.scopes == ["atproto", "b"])
        #expect(ClientMetadata(development: try ClientID(Bytes(Document.webID))) == nil)
    }

    @Test func manyRedirectsOfADevelopmentClient() throws {
        func id(_ count: Int) -> Bytes {
            Bytes(
                "http://localhost?" + (0..<count).map { "redirect_uri=http://127.0.0.1/\($0)" }.joined(separator: "&"))
        }
        #expect(try ClientID(id(32)).development?.redirectURIs.count == 32)
        #expect(refusal { _ = try ClientID(id(33)) }?.code == .invalidClientMetadata)
    }

    @Test func hostsThatTheOperatorNamed() throws {
        let rules = ClientRules(privateHosts: ["App.test", "127.0.0.1:8080", "localhost:3000"])
        for id in [
            "https://app.test/a", "http://app.test/a", "http://app.test:81/a", "http://127.0.0.1:8080/a",
            "http://localhost:3000/a", "https://app.example.com/a",
        ] as [Bytes] {
            #expect(try ClientID(id, rules: rules).bytes == id)
        }
        #expect(try ClientID("http://app.test:81/a", rules: rules).host == "app.test:81")
        for id in [
            "http://127.0.0.1:8081/a", "http://127.0.0.1/a", "http://localhost:3001/a", "https://b.test/a",
            "http://app.example.com/a", "http://app.test:81/", "http://app.test:81/a#", "http://u@app.test/a",
        ] as [Bytes] {
            #expect(refusal { _ = try ClientID(id, rules: rules) }?.code == .invalidClientMetadata)
        }
        // With a host of that name allowed, the development client is still what it is.
        #expect(try ClientID("http://localhost", rules: ClientRules(privateHosts: ["localhost"])).isLoopback)
    }
}

extension String {
    func replacingEach(_ replacements: [Character: String]) -> String {
        map { replacements[$0] ?? String($0) }.joined()
    }
}
