internal import Base
internal import ExchangeSupport
internal import FastCGI
internal import Testing

/// Requests that differ from a good one in one way, sent straight to the FastCGI socket.
@Suite struct RefusalTests {
    struct Case: CustomTestStringConvertible, Sendable {
        let name: String
        var method = "GET"
        var target = "/show"
        var host = "pds.test"
        var headers: [(String, String)] = []
        var length: String?
        var body: [UInt8] = []
        /// Parameters added as they are.
        var extra: [(String, [UInt8])] = []
        /// Parameters left out.
        var without: [String] = []
        let status: Int
        /// What the body holds.
        var says = ""

        var testDescription: String { name }

        var parameters: [(String, [UInt8])] {
            FastCGIDoor.parameters(method, target, host: host, headers: headers, contentLength: length)
                .filter { !without.contains($0.0) } + extra
        }
    }

    static func text(_ string: String) -> [UInt8] { Array(string.utf8) }

    static let duplicates: [Case] = [
        Case(name: "H004 two DPoP", headers: [("DPoP", "a"), ("DPoP", "b")], status: 400, says: "invalid_dpop_proof"),
        Case(name: "H005 joined DPoP", headers: [("DPoP", "a, b")], status: 400, says: "exactly one DPoP header"),
        Case(name: "one DPoP", headers: [("DPoP", "a.b.c")], status: 200, says: "header dpop: a.b.c"),
        Case(
            name: "H006 two Authorization", headers: [("Authorization", "Bearer a"), ("Authorization", "Bearer b")],
            status: 400, says: "duplicate Authorization"),
        Case(
            name: "H006 joined Authorization", headers: [("Authorization", "Bearer a, Bearer b")], status: 400,
            says: "duplicate Authorization"),
        Case(
            name: "one Authorization", headers: [("Authorization", "Bearer a")], status: 200,
            says: "header authorization: Bearer a"),
        Case(
            name: "H007 two Content-Type", headers: [("Content-Type", "text/plain"), ("Content-Type", "text/html")],
            status: 400),
        Case(
            name: "H007 joined Content-Type", headers: [("Content-Type", "text/plain, text/html")], status: 400,
            says: "duplicate Content-Type"),
        Case(
            name: "H007 Content-Type that differs from its parameter",
            extra: [("CONTENT_TYPE", text("text/plain")), ("HTTP_CONTENT_TYPE", text("text/html"))], status: 400,
            says: "duplicate Content-Type"),
        Case(
            name: "Content-Type in both its forms", headers: [("Content-Type", "text/plain")], status: 200,
            says: "header content-type: text/plain"),
        Case(
            name: "H008 two Cookie", headers: [("Cookie", "a=1"), ("Cookie", "a=2")], status: 400,
            says: "duplicate cookie"),
        Case(name: "A2 two of any header", headers: [("X-Foo", "1"), ("X-Foo", "1")], status: 400, says: "duplicate"),
        Case(
            name: "A2 the web server's parameter twice", extra: [("SKYSTEAD_PEER", text("127.0.0.1"))], status: 400,
            says: "duplicate"),
        Case(name: "A2 underscore alias", headers: [("X_Foo", "1"), ("X-Foo", "2")], status: 400, says: "duplicate"),
    ]

    static let trust: [Case] = [
        Case(name: "A1 Proxy", headers: [("Proxy", "http://127.0.0.1:9")], status: 400, says: "Proxy"),
        Case(name: "A1 Proxy taken away by the web server", headers: [("Proxy", "")], status: 200, says: "path /show"),
        Case(
            name: "H003 X-Forwarded-For changes nothing", headers: [("X-Forwarded-For", "127.0.0.1")], status: 200,
            says: "peer 192.0.2.7\n"),
        Case(
            name: "client's Skystead-Peer is only a header", headers: [("Skystead-Peer", "127.0.0.1")], status: 200,
            says: "peer 192.0.2.7\n"),
        Case(name: "no peer", without: ["SKYSTEAD_PEER"], status: 500, says: "InternalServerError"),
        Case(
            name: "peer with a space", extra: [("SKYSTEAD_PEER", text("1 2"))], without: ["SKYSTEAD_PEER"], status: 500),
        Case(
            name: "IPv6 peer", extra: [("SKYSTEAD_PEER", text("2001:db8::1"))], without: ["SKYSTEAD_PEER"], status: 200,
            says: "peer 2001:db8::1\n"),
        Case(name: "no method", without: ["REQUEST_METHOD"], status: 500),
        Case(name: "no target", without: ["REQUEST_URI"], status: 500),
        Case(name: "http scheme", extra: [], without: ["SKYSTEAD_SCHEME"], status: 200, says: "secure false"),
        Case(
            name: "PATH_INFO is never looked at", extra: [("PATH_INFO", text("/hello"))], status: 200,
            says: "path /show"),
    ]

    static let lengths: [Case] = [
        Case(name: "H010 +5", method: "POST", target: "/echo", length: "+5", body: text("12345"), status: 400),
        Case(name: "H010 0x5", method: "POST", target: "/echo", length: "0x5", body: text("12345"), status: 400),
        Case(name: "H010 5, 5", method: "POST", target: "/echo", length: "5, 5", body: text("12345"), status: 400),
        Case(name: "H010 -5", method: "POST", target: "/echo", length: "-5", body: text("12345"), status: 400),
        Case(
            name: "H010 2^64", method: "POST", target: "/echo", length: "18446744073709551616", body: text("1"),
            status: 400),
        Case(
            name: "H010 header and parameter differ", method: "POST", target: "/echo",
            headers: [("Content-Length", "6")], length: "5", body: text("12345"), status: 400, says: "ambiguous"),
        Case(
            name: "right length", method: "POST", target: "/echo", length: "5", body: text("12345"), status: 200,
            says: "12345"),
        Case(
            name: "H011 -1, unknown length", method: "POST", target: "/echo", length: "-1", body: text("12345"),
            status: 200, says: "12345"),
        Case(
            name: "H011 -1 and more than the cap", method: "POST", target: "/echo", length: "-1",
            body: [UInt8](repeating: 0x61, count: (1 << 20) + 1), status: 413),
        Case(name: "no length", method: "POST", target: "/echo", body: text("12345"), status: 200, says: "12345"),
        Case(
            name: "A9 body longer than declared", method: "POST", target: "/echo", length: "4", body: text("12345"),
            status: 400, says: "longer"),
        Case(
            name: "A9 body shorter than declared", method: "POST", target: "/echo", length: "6", body: text("12345"),
            status: 400, says: "shorter"),
        Case(
            name: "declared more than the cap", method: "POST", target: "/echo", length: "1048577", status: 413),
    ]

    static let methods: [Case] = ["TRACE", "CONNECT", "PUT", "get", "DELETE", String(repeating: "M", count: 40)].map {
        Case(name: "H024 \($0)", method: $0, status: 405, says: "method not allowed")
    }

    static let targets: [Case] = [
        Case(name: "H015 %00", target: "/a%00b", status: 400),
        Case(name: "H016 %0a", target: "/a%0ab", status: 400),
        Case(name: "H016 %0d%0a", target: "/a%0d%0aSet-Cookie:x", status: 400),
        Case(name: "H017 encoded dots", target: "/%2e%2e/%2e%2e/etc/passwd", status: 400, says: "dot segment"),
        Case(name: "H017 encoded slashes", target: "/..%2f..%2f", status: 400),
        Case(name: "H017 path parameter", target: "/..;/", status: 400, says: "dot segment"),
        Case(name: "H017 encoded backslash", target: "/.%5c../", status: 400),
        Case(name: "H018 empty segments", target: "//xrpc//com.atproto.server.describeServer", status: 404),
        Case(name: "H019 not UTF-8", target: "/%ff%fe", status: 400, says: "UTF-8"),
        Case(name: "H019 overlong", target: "/%c0%af", status: 400, says: "UTF-8"),
        Case(name: "space", target: "/a b", status: 400),
        Case(name: "raw LF in the query", target: "/show?a\nb", status: 400),
        Case(name: "asterisk form", method: "OPTIONS", target: "*", status: 400),
        Case(name: "no slash", target: "show", status: 400),
        Case(name: "too long", target: "/" + String(repeating: "a", count: 16_384), status: 414),
        Case(name: "query is not the path", target: "/show?x=/../y", status: 200, says: "query x=/../y"),
        Case(name: "H020 absolute form, other host", target: "https://victim.test/show", status: 421),
        Case(
            name: "H020 absolute form, same host", target: "https://PDS.test:443/show?q", status: 200,
            says: "path /show"),
        Case(name: "absolute form without a path", target: "http://pds.test?q", status: 404),
        Case(name: "absolute form, user information", target: "http://a@pds.test/show", status: 400),
        Case(name: "other scheme", target: "ftp://pds.test/show", status: 400),
    ]

    static let hosts: [Case] =
        [
            "a@evil", "tenant:99999", "[::1]", String(repeating: "a", count: 300), "tenant..example", ".", "-a.test",
            "tenant.example%00.evil", "tenant_example", "exämple.test", "xn--exämple.test", "xn--.test", "xn--a-.test",
            "a b", ".test", "pds.test..", "a/b",
        ].map { Case(name: "H021 \($0.prefix(30))", host: $0, status: 400, says: "Host") } + [
            Case(name: "H021 empty", host: "", status: 400, says: "no Host"),
            Case(name: "H022 spelling", host: "TENANT.Example.", status: 200, says: "host tenant.example\n"),
            Case(name: "port", host: "tenant.example:8443", status: 200, says: "host tenant.example\n"),
            Case(name: "dot and port", host: "tenant.example.:80", status: 200, says: "host tenant.example\n"),
        ]

    static let sizes: [Case] = [
        Case(
            name: "H014 300 parameters", headers: (0..<300).map { ("X-\($0)", "1") }, status: 431, says: "Too Large"),
        Case(name: "H014 70 KB", headers: [("X-Big", String(repeating: "a", count: 70_000))], status: 431),
        Case(
            name: "60 KB in one header", headers: [("X-Big", String(repeating: "a", count: 60_000))], status: 200,
            says: "path /show"),
        Case(name: "control in a header", headers: [("X-Foo", "a\u{1}b")], status: 400, says: "control"),
        Case(name: "space in a header name", extra: [("HTTP_X FOO", text("1"))], status: 400),
        Case(
            name: "H025 upgrade", headers: [("Upgrade", "h2c"), ("Connection", "Upgrade")], status: 200, says: "path"),
    ]

    @Test(arguments: duplicates + trust + lengths + methods + targets + hosts + sizes)
    func answer(_ item: Case) throws {
        let demo = DemoResponder()
        let door = try FastCGIDoor(responder: demo.respond)
        let answer = try door.exchange(item.parameters, body: item.body)
        #expect(answer.status == item.status)
        #expect(answer.text.contains(item.says), "\(answer.text)")
        #expect(answer.isEnded)
        if item.status == 405 { #expect(answer["Allow"] == "GET, HEAD, POST, OPTIONS") }
        if item.status == 400 || item.status > 413 {
            // What is refused by the host never reaches a responder; what the body shows does.
            #expect(demo.served.value == (item.target == "/echo" && item.says.hasSuffix("er") ? 1 : 0))
        }
        #expect(door.stop() == 0)
    }

    @Test func headersThatSayWhoAsksReachNobody() throws {
        let door = try FastCGIDoor(responder: DemoResponder().respond)
        let hidden = [
            "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Forwarded", "X-Original-URL",
            "X-Rewrite-URL", "Transfer-Encoding", "Upgrade", "Host",
        ]
        let answer = try door.exchange(
            FastCGIDoor.parameters("GET", "/show", headers: hidden.map { ($0, "evil") } + [("Accept", "text/html")]))
        #expect(!answer.text.contains("evil"))
        #expect(answer.text.contains("header accept: text/html"))
        #expect(door.stop() == 0)
    }

    @Test(arguments: [1, 7, 100, 65_535]) func recordSizesMakeNoDifference(size: Int) throws {
        let door = try FastCGIDoor(responder: DemoResponder().respond)
        let body = (0..<5_000).map { UInt8(truncatingIfNeeded: $0) }
        let answer = try door.exchange(
            FastCGIDoor.parameters(
                "POST", "/echo", headers: [("X-Long", String(repeating: "v", count: 300))], contentLength: "5000"),
            body: body, recordSize: size)
        #expect(answer.status == 200)
        #expect(answer.body == body)
        #expect(door.stop() == 0)
    }

    struct ID: CustomTestStringConvertible, Sendable {
        let given: String
        let isKept: Bool
        var testDescription: String { given }
    }

    @Test(arguments: [
        ID(given: "00112233445566778899aabbccddeeff", isKept: true),
        ID(given: "00112233445566778899AABBCCDDEEFF", isKept: false),
        ID(given: "00112233-4455-6677-8899-aabbccddeeff", isKept: false),
        ID(given: "short", isKept: false), ID(given: "", isKept: false),
        ID(given: "00112233445566778899aabbccddeef\n", isKept: false),
    ])
    func requestIDs(_ item: ID) throws {
        let door = try FastCGIDoor(responder: DemoResponder().respond)
        let parameters =
            FastCGIDoor.parameters("GET", "/show").filter { $0.0 != "SKYSTEAD_REQ_ID" }
            + [("SKYSTEAD_REQ_ID", Array(item.given.utf8))]
        let answer = try door.exchange(parameters)
        let id = try #require(answer["X-Request-Id"])
        #expect((id == item.given) == item.isKept)
        #expect(id.utf8.count == 32)
        #expect(id.utf8.allSatisfy { ($0 >= 0x30 && $0 <= 0x39) || ($0 >= 0x61 && $0 <= 0x66) })
        #expect(answer.text.contains("id \(id)\n"))
        #expect(door.stop() == 0)
    }
}
