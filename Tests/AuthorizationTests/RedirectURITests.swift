import Base
import Testing

@testable import Authorization

/// Where answers may go (reliability D8): what may be registered at all, by whom, and what a request may name.
@Suite struct RedirectURITests {
    struct Row: Sendable, CustomTestStringConvertible {
        let uri: String
        let kind: RedirectURI.Kind?
        let reason: String
        var testDescription: String { String(uri.prefix(80)) }

        init(_ uri: String, _ kind: RedirectURI.Kind) { (self.uri, self.kind, reason) = (uri, kind, "") }
        init(_ uri: String, _ reason: String) { (self.uri, kind, self.reason) = (uri, nil, reason) }
    }

    static let rows: [Row] = [
        Row("https://app.example.com/cb", .web), Row("https://app.example.com", .web),
        Row("https://app.example.com/", .web), Row("https://app.example.com:8443/cb", .web),
        Row("https://app.example.com/cb?a=b&c=d", .web), Row("https://app.example.com/cb?", .web),
        Row("https://app.example.com?a=https://b.example.com/", .web), Row("https://app.example.com/a%20b", .web),
        Row("https://app.example.com/a/b/", .web), Row("https://xn--bcher-kva.example.com/cb", .web),
        Row("https://app.example.com/cb?a=b/c?d", .web), Row("http://127.0.0.1", .loopback),
        Row("http://127.0.0.1/", .loopback), Row("http://127.0.0.1:3000/cb", .loopback),
        Row("http://127.0.0.1/cb?a=b", .loopback), Row("http://[::1]", .loopback), Row("http://[::1]/", .loopback),
        Row("http://[::1]:65535/cb", .loopback), Row("com.example.app:/", .privateUse),
        Row("com.example.app:/cb", .privateUse), Row("com.example.app:/a/b?c=d", .privateUse),
        Row("com.example:/cb", .privateUse), Row("com.xn--bcher-kva:/cb", .privateUse),
        Row("com.example.app:/cb?u=https://x", .privateUse),

        Row("", "invalid URL"), Row("cb", "invalid URL"), Row("/cb", "invalid URL"), Row(":/cb", "invalid URL"),
        Row("//app.example.com/cb", "invalid URL"), Row("https:app.example.com/cb", "invalid URL"),
        Row("https:/app.example.com/cb", "invalid URL"), Row("https:///cb", "invalid URL"),
        Row("https://", "invalid URL"), Row("HTTPS://app.example.com/cb", "must be https"),
        Row("https://App.example.com/cb", "canonical"), Row("https://app.example.com:443/cb", "port"),
        Row("https://app.example.com:/cb", "invalid URL"), Row("https://app.example.com:70000/cb", "invalid URL"),
        Row("https://app.example.com:8443x/cb", "invalid URL"), Row("http://app.example.com/cb", "https required"),
        Row("http://x", "https required"), Row("http://8.8.8.8/cb", "https required"),
        Row("http://127.0.0.2/cb", "https required"), Row("http://127.1/cb", "https required"),
        Row("http://0x7f.0.0.1/cb", "https required"), Row("http://[::]/cb", "https required"),
        Row("http://[0:0:0:0:0:0:0:1]/cb", "https required"), Row("http://[::ffff:127.0.0.1]/cb", "https required"),
        Row("http://127.0.0.1./cb", "https required"), Row("http://127.0.0.1.example.com/cb", "https required"),
        Row("http://localhost/cb", "localhost"), Row("http://localhost:3000/cb", "localhost"),
        Row("https://localhost/cb", "localhost"), Row("https://app.localhost/cb", "localhost"),
        Row("https://127.0.0.1/cb", "http"), Row("https://[::1]/cb", "http"),
        Row("https://192.168.0.1/cb", "public DNS name"), Row("https://8.8.8.8/cb", "public DNS name"),
        Row("https://2130706433/cb", "public DNS name"), Row("https://app/cb", "public DNS name"),
        Row("https://app.local/cb", "public DNS name"), Row("https://app.test/cb", "public DNS name"),
        Row("https://app.example.com./cb", "public DNS name"), Row("https://user@app.example.com/cb", "credentials"),
        Row("https://user:pw@app.example.com/cb", "credentials"), Row("http://user@127.0.0.1/cb", "credentials"),
        Row("https://app.example.com@evil.example.org/cb", "credentials"),
        Row("https://app.example.com/cb#", "fragment"), Row("https://app.example.com/cb#a", "fragment"),
        Row("http://127.0.0.1/#a", "fragment"), Row("com.example.app:/cb#a", "fragment"),
        Row(#"https://app.example.com\@evil.example.org/cb"#, "invalid URL"),
        Row(#"https://app.example.com/\evil"#, "invalid URL"), Row("https://app.example.com/../cb", "canonical"),
        Row("https://app.example.com/a/%2e%2e/cb", "canonical"), Row("https://app.example.com/a b", "printable"),
        Row("https://app.example.com/cb\r\nSet-Cookie:a=b", "printable"),
        Row("https://app.example.com/cb\n", "printable"), Row("https://app.example.com/\u{0}", "printable"),
        Row("\thttps://app.example.com/cb", "printable"), Row("https://b\u{fc}cher.example.com/cb", "printable"),
        Row("https://app.example.com/cb?a=\u{e4}", "printable"), Row("https://app.example.com/\u{202e}cb", "printable"),
        Row("https://app.example.com/cb%0d%0aSet-Cookie:a", "invalid URL"),
        Row("https://app.example.com/cb?a=%00", "invalid URL"), Row("https://app.example.com/%", "invalid URL"),
        Row("https://app.example.com/\"", "invalid URL"), Row("https://app.example.com/<script>", "invalid URL"),
        Row("https://app.example.com%2f@evil.example.org/", "credentials"),
        Row("https://app.example.com%00/cb", "invalid URL"), Row("https://[::1/cb", "invalid URL"),
        Row("https://*.example.com/cb", "invalid URL"), Row("https://app.example.com/" + long("a", 2_025), "longer"),
        Row("javascript:alert(1)", "private-use scheme"),
        Row("javascript://app.example.com/%0aalert(1)", "private-use"),
        Row("JavaScript:alert(1)", "private-use"), Row("data:text/html,x", "private-use"),
        Row("data:text/html;base64,PHNjcmlwdD4=", "private-use"), Row("vbscript:x", "private-use"),
        Row("file:///etc/passwd", "private-use"), Row("about:blank", "private-use"), Row("blob:x", "private-use"),
        Row("intent://x#Intent;end", "private-use"), Row("myapp:/cb", "private-use"), Row("myapp://cb", "private-use"),
        Row("urn:ietf:wg:oauth:2.0:oob", "private-use"), Row("mailto:a@example.com", "private-use"),
        Row("com.example.app://cb", "one slash"), Row("com.example.app:cb", "one slash"),
        Row("com.example.app:", "one slash"), Row("com.example.app:///cb", "one slash"),
        Row("com.Example.app:/cb", "domain in reverse"), Row("com..app:/cb", "domain in reverse"),
        Row(".com.example:/cb", "domain in reverse"), Row("1com.example:/cb", "domain in reverse"),
        Row("com.example+app:/cb", "domain in reverse"), Row("com.example app:/cb", "printable"),
        Row("java.script:alert(1)", "one slash"), Row("com.example.app:/a%0ab", "invalid URL"),
    ]

    @Test(arguments: rows) func registered(_ row: Row) {
        var uri: RedirectURI?
        let error = refusal { uri = try RedirectURI(Bytes(row.uri)) }
        #expect(uri?.kind == row.kind)
        guard row.kind == nil else {
            #expect(uri?.bytes == Bytes(row.uri))
            return
        }
        #expect(error?.code == .invalidRedirectURI)
        #expect(error?.description.description.contains(row.reason) == true, "\(String(describing: error))")
        #expect(isDescription(error?.description ?? ""))
    }

    @Test func halfOfThemAreWrong() {
        #expect(Self.rows.count >= 80)
        #expect(Self.rows.filter { $0.kind == nil }.count * 2 >= Self.rows.count)
    }

    // MARK: By whom

    struct Owner: Sendable, CustomTestStringConvertible {
        let uri: String
        let web: Bool
        let native: Bool
        var testDescription: String { uri }

        init(_ uri: String, web: Bool, native: Bool) { (self.uri, self.web, self.native) = (uri, web, native) }
    }

    static let owners: [Owner] = [
        Owner("https://app.example.com/cb", web: true, native: true),
        Owner("https://other.example.org/cb", web: true, native: false),
        Owner("https://example.com/cb", web: true, native: false),
        Owner("https://app.example.com:8443/cb", web: true, native: false),
        Owner("https://a.app.example.com/cb", web: true, native: false),
        Owner("http://127.0.0.1/cb", web: false, native: true), Owner("http://[::1]:80/cb", web: false, native: false),
        Owner("http://[::1]:81/cb", web: false, native: true), Owner("com.example.app:/cb", web: false, native: true),
        Owner("com.example:/cb", web: false, native: false), Owner("com.example.app.a:/cb", web: false, native: false),
        Owner("app.example.com:/cb", web: false, native: false), Owner("com.evil:/cb", web: false, native: false),
        Owner("com.example.other:/cb", web: false, native: false),
    ]

    @Test(arguments: owners) func byWhom(_ row: Owner) {
        for (document, isTaken) in [(Document.web, row.web), (Document.native, row.native)] {
            let error = refusal { _ = try document.with("redirect_uris", "[\"\(row.uri)\"]").metadata() }
            #expect(error?.code == (isTaken ? nil : .invalidRedirectURI))
        }
    }

    // MARK: In requests

    struct Match: Sendable, CustomTestStringConvertible {
        let registered: String
        let requested: String
        let isMatch: Bool
        /// The same for a development client, of whose addresses the port is never compared.
        let isMatchForDevelopment: Bool
        var testDescription: String { "\(registered) \(requested)" }

        init(_ registered: String, _ requested: String, _ isMatch: Bool, development: Bool? = nil) {
            (self.registered, self.requested, self.isMatch) = (registered, requested, isMatch)
            isMatchForDevelopment = development ?? isMatch
        }
    }

    static let matches: [Match] = [
        Match("https://a.example.com/cb", "https://a.example.com/cb", true),
        Match("https://a.example.com/cb?a=b", "https://a.example.com/cb?a=b", true),
        Match("com.example.a:/cb", "com.example.a:/cb", true),
        Match("http://127.0.0.1/cb", "http://127.0.0.1/cb", true),
        Match("http://127.0.0.1/cb", "http://127.0.0.1:49152/cb", true),
        Match("http://[::1]/cb", "http://[::1]:1/cb", true),
        Match("http://127.0.0.1:3000/cb", "http://127.0.0.1:3000/cb", true),
        Match("http://127.0.0.1", "http://127.0.0.1:3000/", true),
        Match("http://127.0.0.1/", "http://127.0.0.1:3000", true),
        Match("http://127.0.0.1/cb?a=b", "http://127.0.0.1:9/cb?a=b", true),
        Match("http://127.0.0.1:3000/cb", "http://127.0.0.1:3001/cb", false, development: true),
        Match("http://127.0.0.1:3000/cb", "http://127.0.0.1/cb", false, development: true),

        Match("https://a.example.com/cb", "https://a.example.com/cb/", false),
        Match("https://a.example.com/cb", "https://a.example.com/CB", false),
        Match("https://a.example.com/cb", "https://a.example.com/cb?", false),
        Match("https://a.example.com/cb", "https://a.example.com/cb?a=b", false),
        Match("https://a.example.com/cb?a=b", "https://a.example.com/cb", false),
        Match("https://a.example.com/cb", "https://a.example.com/", false),
        Match("https://a.example.com", "https://a.example.com/", false),
        Match("https://a.example.com/cb", "https://a.example.com/c%62", false),
        Match("https://a.example.com/cb", "https://b.example.com/cb", false),
        Match("https://a.example.com/cb", "https://a.example.com.evil.org/cb", false),
        Match("https://a.example.com/cb", "https://a.example.com:8443/cb", false),
        Match("https://a.example.com:8443/cb", "https://a.example.com:8444/cb", false),
        Match("https://a.example.com/cb", "http://127.0.0.1/cb", false),
        Match("http://127.0.0.1/cb", "http://[::1]/cb", false),
        Match("http://127.0.0.1/cb", "http://127.0.0.1/", false),
        Match("http://127.0.0.1/cb", "http://127.0.0.1/cb/", false),
        Match("http://127.0.0.1/", "http://127.0.0.1:3000/callback", false),
        Match("http://127.0.0.1/cb", "http://127.0.0.1:3000/cb?a=b", false),
        Match("http://127.0.0.1/cb", "http://127.0.0.1:3000/cb?", false),
        Match("com.example.a:/cb", "com.example.a:/cb2", false), Match("com.example.a:/cb", "com.example.b:/cb", false),
        Match("com.example.a:/", "com.example.a:/cb", false),
    ]

    @Test(arguments: matches) func inRequests(_ row: Match) throws {
        let registered = try RedirectURI(Bytes(row.registered))
        let requested = try RedirectURI(Bytes(row.requested))
        #expect(registered.matches(requested) == row.isMatch)
        #expect(registered.matches(requested, anyPort: true) == row.isMatchForDevelopment)
    }

    @Test(arguments: rows.filter { $0.kind == nil }) func aRequestThatNamesNone(_ row: Row) throws {
        let client = try Document.web.client()
        let error = refusal { _ = try client.redirectURI(Bytes(row.uri)) }
        #expect(error?.code == .invalidRequest)
        #expect(isDescription(error?.description ?? ""))
    }

    @Test func aRequestOfAClient() throws {
        let web = try Document.web.client()
        #expect(try web.redirectURI("https://app.example.com/callback").bytes == "https://app.example.com/callback")
        #expect(refusal { _ = try web.redirectURI("https://app.example.com/other") }?.code == .invalidRequest)
        let native = try Document.native.client()
        #expect(try native.redirectURI("http://127.0.0.1:5555/cb").bytes == "http://127.0.0.1:5555/cb")
        #expect(refusal { _ = try native.redirectURI("http://[::1]:5555/cb") }?.code == .invalidRequest)
        let id = try ClientID("http://localhost?redirect_uri=http%3A%2F%2F127.0.0.1%3A3000%2Fcb")
        let development = Client(try #require(ClientMetadata(development: id)))
        #expect(try development.redirectURI("http://127.0.0.1:4000/cb").bytes == "http://127.0.0.1:4000/cb")
        #expect(refusal { _ = try development.redirectURI("http://127.0.0.1:3000/") }?.code == .invalidRequest)
        #expect(refusal { _ = try development.redirectURI("http://localhost:3000/cb") }?.code == .invalidRequest)
    }

    @Test func aRequestToAHostThatTheOperatorNamed() throws {
        let document = Document.web.with("redirect_uris", #"["https://app.test/cb"]"#)
        let metadata = try ClientMetadata(
            json: document.json, of: try ClientID(Bytes(Document.webID)), rules: ClientRules(privateHosts: ["app.test"])
        )
        #expect(try Client(metadata).redirectURI("https://app.test/cb").kind == .web)
        #expect(refusal { _ = try Client(metadata).redirectURI("https://app.test/other") }?.code == .invalidRequest)
    }

    @Test func hostsThatTheOperatorNamed() throws {
        let rules = ClientRules(privateHosts: ["app.test"])
        #expect(try RedirectURI("https://app.test:8443/cb", rules: rules).kind == .web)
        #expect(refusal { _ = try RedirectURI("https://b.test/cb", rules: rules) }?.code == .invalidRedirectURI)
        #expect(refusal { _ = try RedirectURI("http://app.test/cb", rules: rules) }?.code == .invalidRedirectURI)
    }
}
