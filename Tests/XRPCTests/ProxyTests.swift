import ATProto
import Base
import Foundation
import Hosting
import Net
import TestSupport
import Testing
import Web
import XRPCHandlers

/// Calls that are passed on: who may, whom they reach, what goes out and what comes back (specs/pds.md §2.3).
@Suite struct ProxyTests {
    // MARK: What never goes out

    struct Refusal: CustomTestStringConvertible, Sendable {
        let name: String
        let target: String
        var method = HTTPMethod.get
        var proxy: String?
        var who = Who.full
        var hasAppView = true
        let status: Int
        let error: String
        var message: String?
        var testDescription: String { name }

        enum Who: Sendable { case nobody, full, app, privileged, takenDown }

        init(
            _ name: String, _ target: String, by method: HTTPMethod = .get, proxy: String? = nil, who: Who = .full,
            hasAppView: Bool = true, _ status: Int, _ error: String, _ message: String? = nil
        ) {
            self.name = name
            self.target = target
            self.method = method
            self.proxy = proxy
            self.who = who
            self.hasAppView = hasAppView
            self.status = status
            self.error = error
            self.message = message
        }
    }

    static let timeline = "app.bsky.feed.getTimeline"
    static let chat = "chat.bsky.convo.listConvos"
    static let service = ProxyWorld.service

    static func header(_ name: String, _ proxy: String, _ message: String) -> Refusal {
        Refusal(name, timeline, proxy: proxy, 400, "InvalidRequest", message)
    }

    static let refusals: [Refusal] = [
        Refusal("nobody", timeline, who: .nobody, 401, "AuthMissing", "Authentication Required"),
        Refusal("nobody, another's method", "com.example.nothing", who: .nobody, 401, "AuthMissing"),
        Refusal("nobody names a service", timeline, proxy: "\(service)#chat", who: .nobody, 401, "AuthMissing"),
        Refusal("no NSID", "not_an_nsid", 400, "InvalidRequest", "invalid xrpc path"),
        Refusal(
            "no AppView", timeline, hasAppView: false, 400, "MethodNotImplemented",
            "No service configured for app.bsky.feed.getTimeline"),
        Refusal(
            "no AppView, another's method", "com.example.nothing", hasAppView: false, 400, "MethodNotImplemented",
            "No service configured for com.example.nothing"),
        Refusal(
            "a chat that names no service", chat, 400, "MethodNotImplemented", "No service configured for \(chat)"),
        Refusal("ozone without a service", "tools.ozone.team.listMembers", 400, "MethodNotImplemented"),
        header("no #", "foo", "no service id specified in proxy header"),
        header("a DID alone", "did:web:x", "no service id specified in proxy header"),
        header("nothing after #", "did:web:x#", "no service id specified in proxy header"),
        header("nothing before #", "#chat", "no did specified in proxy header"),
        header("two #", "\(service)#a#b", "invalid proxy header format"),
        header("4 KB", "\(service)#" + String(repeating: "a", count: 4_096), "invalid proxy header format"),
        header("a space", "\(service) #chat", "proxy header cannot contain spaces"),
        header("no DID", "service#chat", "could not resolve proxy did"),
        header("a method that nobody has", "did:example:a#chat", "could not resolve proxy did"),
        header("a DID that is not there", "did:web:nobody.example.com#chat", "could not resolve proxy did"),
        header("a service that is not there", "\(service)#other", "could not resolve proxy did service url"),
        header("an endpoint with a path", "\(service)#path", "could not resolve proxy did service url"),
        header("an endpoint with a user", "\(service)#user", "could not resolve proxy did service url"),
        header("an address as endpoint", "\(service)#six", "could not resolve proxy did service url"),
        Refusal(
            "protected, in letters of its own", "com.atproto.admin.sendemail", by: .post, proxy: "\(service)#chat", 400,
            "InvalidToken", "Bad token method"),
        Refusal(
            "protected, in other letters", "com.atproto.server.requestaccountdelete", by: .post,
            proxy: "\(service)#chat", 400, "InvalidToken", "Bad token method"),
        Refusal(
            "protected, before it is asked who", "com.atproto.admin.SENDEMAIL", by: .post,
            proxy: "\(service)#chat", who: .nobody, 400, "InvalidToken"),
        Refusal(
            "chat by a plain app password", chat, proxy: "\(service)#chat", who: .app, 400, "InvalidToken",
            "Bad token method"),
        Refusal(
            "a chat method that is newer than this", "chat.bsky.group.createGroup", by: .post, proxy: "\(service)#chat",
            who: .app, 400, "InvalidToken", "Bad token method"),
        Refusal(
            "chat in other letters", "Chat.bsky.convo.listConvos", proxy: "\(service)#chat", who: .app, 400,
            "InvalidToken", "Bad token method"),
        Refusal("a home's own method", "com.atproto.server.futureMethod", by: .post, 501, "MethodNotImplemented"),
        Refusal(
            "a home's own method, letters", "com.Atproto.Server.futureMethod", by: .post, 501, "MethodNotImplemented"),
        Refusal("an administrator's method", "com.atproto.admin.futureMethod", 501, "MethodNotImplemented"),
        Refusal("a session of a taken-down account", timeline, who: .takenDown, 400, "InvalidToken", "Bad token scope"),
    ]

    @Test(arguments: refusals) func isRefused(_ row: Refusal) throws {
        let home = try ProxyWorld(.sqlite, appView: row.hasAppView ? ProxyWorld.appView : nil)
        let token: String? =
            switch row.who {
            case .nobody: nil
            case .full: home.token
            case .app: try home.appToken(privileged: false)
            case .privileged: try home.appToken(privileged: true)
            case .takenDown: try Self.takenDown(home)
            }
        let result = try home.call(
            row.method, row.target, row.proxy.map { [("atproto-proxy", $0)] } ?? [],
            body: row.method == .post ? "{}" : nil, token: token, isAnonymous: token == nil)
        #expect(result.status == row.status)
        #expect(result.error == row.error)
        if let message = row.message { #expect(result.message == message) }
        #expect(home.world.upstream.requests.isEmpty)
    }

    static func takenDown(_ home: ProxyWorld) throws -> String {
        try home.world.app.life.setTakedown(true, of: DID(home.did)!)
        return try home.login(
            #"{"identifier":"\#(home.did)","password":"correct horse","allowTakendown":true}"#)
    }

    @Test func aMethodOfThisServerIsAnsweredHereWhateverTheHeaderSays() throws {
        let home = try ProxyWorld(.sqlite)
        for name in ["com.atproto.server.getSession", "app.bsky.actor.getPreferences"] {
            #expect(try home.call(.get, name, [("atproto-proxy", "\(Self.service)#chat")]).status == 200)
        }
        #expect(home.world.upstream.requests.isEmpty)
    }

    @Test func aBodyThatIsTooLargeStaysHere() throws {
        let home = try ProxyWorld(.sqlite)
        let result = try home.call(
            .post, "app.bsky.graph.muteActor", body: String(repeating: "x", count: 1_048_577))
        #expect(result.status == 413)
        #expect(result.error == "PayloadTooLarge")
        #expect(home.world.upstream.requests.isEmpty)
    }

    // MARK: What goes out

    @Test(arguments: Engine.all) func theRequestAsItGoesOut(_ engine: Engine) throws {
        let home = try ProxyWorld(engine)
        var answer = FakeUpstream.Answer(body: #"{"posts":[]}"#)
        answer.headers += [
            ("atproto-repo-rev", "3jzfcijpj2z2a"), ("atproto-content-labelers", "did:web:l"), ("set-cookie", "a=b"),
            ("content-language", "de"), ("access-control-allow-origin", "evil"), ("content-length", "12"),
            ("x-accel-redirect", "/_blobs/x"), ("server", "x"), ("vary", "*"),
        ]
        home.world.upstream.answer("https://appview.test/xrpc/app.bsky.feed.getPosts", answer)
        let result = try home.call(
            .get, "app.bsky.feed.getPosts?uris=at%3A%2F%2Fa&uris=b+c",
            [
                ("accept-language", "de,en"), ("atproto-accept-labelers", "did:web:l;redact"), ("x-bsky-topics", "t"),
                ("accept-encoding", "gzip, br"), ("cookie", "a=b"), ("user-agent", "app"), ("origin", "https://x"),
                ("dpop", "a.b.c"), ("x-forwarded-for", "192.0.2.1"), ("content-type", "text/plain"),
            ])
        #expect(result.status == 200)
        #expect(result.body == #"{"posts":[]}"#)
        #expect(result.headers["atproto-repo-rev"] == "3jzfcijpj2z2a")
        #expect(result.headers["atproto-content-labelers"] == "did:web:l")
        #expect(result.headers["content-type"] == "application/json")
        #expect(result.headers["content-language"] == "de")
        #expect(result.headers["access-control-allow-origin"] == "*")
        #expect(result.headers["cache-control"] == "private")
        #expect(result.headers["vary"] == "Authorization")
        #expect(result.headers["x-content-type-options"] == "nosniff")
        #expect(result.headers["content-security-policy"] == "default-src 'none'; sandbox")
        for name in ["set-cookie", "x-accel-redirect", "server"] { #expect(result.headers[name] == nil) }

        let request = try home.lastRequest()
        #expect(request.url == "https://appview.test/xrpc/app.bsky.feed.getPosts?uris=at%3A%2F%2Fa&uris=b+c")
        #expect(
            request.headers.filter { $0.key != "authorization" } == [
                "accept-language": "de,en", "atproto-accept-labelers": "did:web:l;redact", "x-bsky-topics": "t",
                "accept-encoding": "gzip, br",
            ])
        #expect(request.body == nil)
        #expect(request.claims["iss"] == home.did)
        #expect(request.claims["aud"] == "did:web:appview.test")
        #expect(request.claims["lxm"] == "app.bsky.feed.getPosts")
        #expect(request.claims["seconds"] == "60")
        #expect(request.claims["jti"]?.count == 32)
        let sent = try #require(home.world.upstream.requests.last)
        #expect(sent.redirects == .refused)
        #expect(sent.headMilliseconds == 10_000)
        #expect(sent.deadlineMilliseconds == 40_000)
        #expect(sent.sizeMax == 10_485_760)
    }

    struct Way: CustomTestStringConvertible, Sendable {
        let testDescription: String
        let target: String
        var method = HTTPMethod.get
        var proxy: String?
        var who = Refusal.Who.full
        let url: String
        let audience: String
    }

    static let ways: [Way] = [
        Way(
            testDescription: "a chat with a full session", target: chat, proxy: "\(service)#chat",
            url: "https://chat.service.example.com/xrpc/\(chat)", audience: service),
        Way(
            testDescription: "a chat with a privileged app password", target: chat, proxy: "\(service)#chat",
            who: .privileged, url: "https://chat.service.example.com/xrpc/\(chat)", audience: service),
        Way(
            testDescription: "a plain app password", target: "app.bsky.feed.getPosts", who: .app,
            url: "https://appview.test/xrpc/app.bsky.feed.getPosts", audience: "did:web:appview.test"),
        Way(
            testDescription: "the AppView by its name", target: "app.bsky.feed.getPosts",
            proxy: "did:web:appview.test#bsky_appview", url: "https://appview.test/xrpc/app.bsky.feed.getPosts",
            audience: "did:web:appview.test"),
        Way(
            testDescription: "another AppView", target: timeline, proxy: "\(service)#chat",
            url: "https://chat.service.example.com/xrpc/\(timeline)", audience: service),
        Way(
            testDescription: "ozone", target: "tools.ozone.team.listMembers", proxy: "\(service)#chat",
            url: "https://chat.service.example.com/xrpc/tools.ozone.team.listMembers", audience: service),
        Way(
            testDescription: "age assurance", target: "app.bsky.ageassurance.getState",
            url: "https://appview.test/xrpc/app.bsky.ageassurance.getState", audience: "did:web:appview.test"),
        Way(
            testDescription: "preferences of notifications", target: "app.bsky.notification.putPreferencesV2",
            method: .post, url: "https://appview.test/xrpc/app.bsky.notification.putPreferencesV2",
            audience: "did:web:appview.test"),
        Way(
            testDescription: "another's labels", target: "com.atproto.label.queryLabels?uriPatterns=*",
            proxy: "\(service)#chat",
            url: "https://chat.service.example.com/xrpc/com.atproto.label.queryLabels?uriPatterns=*",
            audience: service),
        Way(
            testDescription: "another's method", target: "com.example.nothing",
            url: "https://appview.test/xrpc/com.example.nothing", audience: "did:web:appview.test"),
    ]

    @Test(arguments: ways) func goesTo(_ way: Way) throws {
        let home = try ProxyWorld(.sqlite)
        let token =
            switch way.who {
            case .privileged: try home.appToken(privileged: true)
            case .app: try home.appToken(privileged: false)
            case .takenDown: try Self.takenDown(home)
            case .full, .nobody: home.token
            }
        home.world.upstream.answer(String(way.url.split(separator: "?")[0]), .init(body: "{\"a\":1}"))
        let result = try home.call(
            way.method, way.target, way.proxy.map { [("atproto-proxy", $0)] } ?? [],
            body: way.method == .post ? #"{"reason":"ä"}"# : nil, token: token)
        #expect(result.status == 200)
        #expect(result.body == "{\"a\":1}")
        let request = try home.lastRequest()
        #expect(request.url == way.url)
        #expect(request.claims["aud"] == way.audience)
        #expect(request.claims["lxm"] == String(way.target.split(separator: "?")[0]))
        #expect(request.body == (way.method == .post ? #"{"reason":"ä"}"# : nil))
        #expect(request.headers["content-type"] == (way.method == .post ? "application/json" : nil))
    }

    @Test func aDeactivatedAccountMayLookAround() throws {
        let home = try ProxyWorld(.sqlite)
        try home.world.app.life.deactivate(DID(home.did)!)
        home.world.upstream.answer("https://appview.test/xrpc/app.bsky.feed.getPosts", .init())
        #expect(try home.call(.get, "app.bsky.feed.getPosts").status == 200)
    }

    @Test func headIsPassedOnWithTheLength() throws {
        let home = try ProxyWorld(.sqlite)
        var answer = FakeUpstream.Answer(body: Bytes())
        answer.headers.append(("content-length", "77"))
        home.world.upstream.answer("https://appview.test/xrpc/\(Self.timeline)", answer)
        let response = try home.respond(.head, Self.timeline, token: home.token)
        #expect(response.status == 200)
        #expect(response.streamLength == 77)
        #expect(home.world.upstream.requests.last?.method == .head)
    }

    // MARK: What comes back

    struct Ending: CustomTestStringConvertible, Sendable {
        let testDescription: String
        let answer: FakeUpstream.Answer
        var isNamed = false
        let status: Int
        let error: String
        let outcome: String

        init(
            _ name: String, _ answer: FakeUpstream.Answer, isNamed: Bool = false, _ status: Int, _ error: String,
            _ outcome: String
        ) {
            testDescription = name
            self.answer = answer
            self.isNamed = isNamed
            self.status = status
            self.error = error
            self.outcome = outcome
        }
    }

    static func json(_ status: Int, _ body: Bytes) -> FakeUpstream.Answer { .init(status: status, body: body) }
    static func fails(_ error: HTTPClientError) -> FakeUpstream.Answer { .init(error: error) }
    static let html: [(name: Bytes, value: Bytes)] = [("content-type", "text/html")]

    static let endings: [Ending] = [
        Ending("400 with a name", json(400, #"{"error":"X","message":"m"}"#), 400, "X", "refused"),
        Ending("401", json(401, #"{"error":"BadJwt"}"#), 401, "BadJwt", "refused"),
        Ending("404", json(404, #"{"error":"XRPCNotSupported"}"#), 404, "XRPCNotSupported", "refused"),
        Ending(
            "429", .init(status: 429, headers: html + [("retry-after", "7")], body: "<p>"), 429, "InvalidRequest",
            "refused"),
        Ending("400 in HTML", .init(status: 400, headers: html, body: "<p>"), 400, "InvalidRequest", "refused"),
        Ending(
            "400 of 65,537 bytes", json(400, Bytes("{\"error\":\"X" + String(repeating: "x", count: 65_524) + "\"}")),
            400, "InvalidRequest", "refused"),
        Ending(
            "400 that breaks off", .init(status: 400, body: "{\"error", bodyError: .malformedResponse), 400,
            "InvalidRequest", "refused"),
        Ending("500", json(500, #"{"error":"InternalServerError"}"#), 502, "UpstreamFailure", "failed"),
        Ending("503", json(503, #"{"error":"Down"}"#), 503, "Down", "failed"),
        Ending("503 in HTML", .init(status: 503, headers: html, body: "<p>"), 503, "UpstreamFailure", "failed"),
        Ending("304", json(304, ""), 502, "UpstreamFailure", "failed"),
        Ending("600", json(600, "{}"), 502, "UpstreamFailure", "failed"),
        Ending("nobody there", fails(.unreachable), 502, "UpstreamFailure", "unreachable"),
        Ending("no TLS", fails(.tls), 502, "UpstreamFailure", "unreachable"),
        Ending("no HTTP", fails(.malformedResponse), 502, "UpstreamFailure", "unreachable"),
        Ending("too large", fails(.tooLarge), 502, "UpstreamFailure", "unreachable"),
        Ending("a redirect", fails(.redirectNotAllowed), 502, "UpstreamFailure", "not_allowed"),
        Ending("a private AppView", fails(.addressNotAllowed), 502, "UpstreamFailure", "not_allowed"),
        Ending(
            "a private service", fails(.addressNotAllowed), isNamed: true, 400, "InvalidRequest", "not_allowed"),
        Ending(
            "a service by http", fails(.invalidURL(.httpsRequired)), isNamed: true, 400, "InvalidRequest",
            "not_allowed"),
        Ending("silence", fails(.timeout), 504, "UpstreamTimeout", "timeout"),
    ]

    @Test(arguments: endings) func endsAs(_ row: Ending) throws {
        let home = try ProxyWorld(.sqlite)
        let host = row.isNamed ? "refused.example.com" : "appview.test"
        home.world.upstream.answer("https://\(host)/xrpc/app.bsky.feed.getPosts", row.answer)
        let result = try home.call(
            .get, "app.bsky.feed.getPosts", row.isNamed ? [("atproto-proxy", "\(Self.service)#refused")] : [])
        #expect(result.status == row.status)
        #expect(result.error == row.error)
        #expect(result.headers["content-type"]?.hasPrefix("application/json") == true)
        #expect(result.headers["cache-control"] == "private")
        if row.status == 429 { #expect(result.headers["retry-after"] == "7") }
        #expect(home.world.upstream.requests.count == 1, "no second try")
        var text = MetricsText()
        home.world.app.upstream.metrics.write(to: &text)
        let lines = String(decoding: text.bytes, as: UTF8.self).split(separator: "\n")
        #expect(lines.contains(#"skystead_upstream_calls_total{outcome="\#(row.outcome)"} 1"#), "\(lines)")
        #expect(lines.contains("skystead_upstream_duration_seconds_count 1"))
    }

    @Test func aBodyThatBreaksOffIsNoWholeBody() throws {
        let home = try ProxyWorld(.sqlite)
        home.world.upstream.answer(
            "https://appview.test/xrpc/app.bsky.feed.getPosts", .init(body: "{\"a\":", bodyError: .malformedResponse))
        let result = try home.call(.get, "app.bsky.feed.getPosts")
        #expect(result.status == 200)
        #expect(result.broken as? HTTPClientError == .malformedResponse)
        var text = MetricsText()
        home.world.app.upstream.metrics.write(to: &text)
        #expect(String(decoding: text.bytes, as: UTF8.self).contains(#"{outcome="broken"} 1"#))
    }

    @Test func compressedBytesPassAsTheyAre() throws {
        let home = try ProxyWorld(.sqlite)
        let answer = FakeUpstream.Answer(
            headers: [("content-type", "application/json"), ("content-encoding", "gzip")], body: "\u{1F}\u{8B}x")
        home.world.upstream.answer("https://appview.test/xrpc/app.bsky.feed.getPosts", answer)
        let result = try home.call(.get, "app.bsky.feed.getPosts", [("accept-encoding", "gzip")])
        #expect(result.headers["content-encoding"] == "gzip")
        #expect(result.body == "\u{1F}\u{8B}x")
    }

    @Test func tooManyAtOnce() throws {
        let home = try ProxyWorld(.sqlite, lanes: 1)
        home.world.upstream.answer("https://appview.test/xrpc/app.bsky.feed.getPosts", .init())
        var held: Response? = try home.respond(.get, "app.bsky.feed.getPosts", token: home.token)
        #expect(held?.status == 200)
        let second = try home.call(.get, "app.bsky.feed.getPosts")
        #expect(second.status == 503)
        #expect(second.error == "NotEnoughResources")
        #expect(second.headers["retry-after"] == "1")
        #expect(try home.call(.get, "com.atproto.server.getSession").status == 200)
        held = nil
        #expect(try home.call(.get, "app.bsky.feed.getPosts").status == 200)
    }

    // MARK: Methods with a way of their own

    @Test func aFeedsTokenIsForTheServiceThatMakesIt() throws {
        let home = try ProxyWorld(.sqlite)
        let upstream = home.world.upstream
        let feed = "app.bsky.feed.getFeed?feed=at://did:web:maker.example.com/app.bsky.feed.generator/hot&limit=3"
        // The record at the AppView.
        upstream.answer(
            "https://appview.test/xrpc/com.atproto.repo.getRecord",
            .init(body: #"{"value":{"did":"did:web:feeds.example.com"}}"#))
        upstream.answer("https://appview.test/xrpc/app.bsky.feed.getFeed", .init(body: #"{"feed":[]}"#))
        #expect(try home.call(.get, feed).body == #"{"feed":[]}"#)
        let request = try home.lastRequest()
        #expect(request.url == "https://appview.test/xrpc/" + feed)
        #expect(request.claims["aud"] == "did:web:feeds.example.com")
        #expect(request.claims["lxm"] == "app.bsky.feed.getFeedSkeleton")
        let asked = try #require(upstream.requests.first)
        #expect(
            asked.url == """
                https://appview.test/xrpc/com.atproto.repo.getRecord?repo=did%3Aweb%3Amaker.example.com\
                &collection=app.bsky.feed.generator&rkey=hot
                """)
        #expect(!asked.headers.contains { $0.name == "authorization" })
        #expect(asked.deadlineMilliseconds == 5_000)
        // A feed that is kept here.
        let made = try home.write(
            "app.bsky.feed.generator",
            #"{"$type":"app.bsky.feed.generator","did":"did:web:own.example.com","displayName":"Own","#
                + #""createdAt":"2025-06-15T12:00:00.000Z"}"#)
        _ = try home.call(.get, "app.bsky.feed.getFeed?feed=at://alice.home.test/app.bsky.feed.generator/\(made.rkey)")
        #expect(try home.lastRequest().claims["aud"] == "did:web:own.example.com")
    }

    @Test(arguments: [
        ("no such record", FakeUpstream.Answer(status: 400, body: #"{"error":"RecordNotFound"}"#)),
        ("no DID in it", FakeUpstream.Answer(body: #"{"value":{"did":7}}"#)),
        ("no JSON", FakeUpstream.Answer(body: "[")),
    ]) func aFeedThatNobodyMakes(_ row: (String, FakeUpstream.Answer)) throws {
        let home = try ProxyWorld(.sqlite)
        home.world.upstream.answer("https://appview.test/xrpc/com.atproto.repo.getRecord", row.1)
        let result = try home.call(
            .get, "app.bsky.feed.getFeed?feed=at://did:web:maker.example.com/app.bsky.feed.generator/hot")
        #expect(result.status == 400)
        #expect(result.error == "UnknownFeed")
        #expect(try home.call(.get, "app.bsky.feed.getFeed?feed=x").status == 400)
        #expect(try home.call(.get, "app.bsky.feed.getFeed").status == 400)
        #expect(home.world.upstream.requests.count == 1)
    }

    @Test func pushTokensGoToTheServiceThatTheBodyNames() throws {
        let home = try ProxyWorld(.sqlite)
        let upstream = home.world.upstream
        func body(_ did: String) -> String {
            #"{"serviceDid":"\#(did)","token":"t","platform":"ios","appId":"a"}"#
        }
        for name in ["app.bsky.notification.registerPush", "app.bsky.notification.unregisterPush"] {
            for (did, origin) in [
                ("did:web:appview.test", "https://appview.test"), (Self.service, "https://push.service.example.com"),
            ] {
                upstream.answer("\(origin)/xrpc/\(name)", .init(headers: [], body: Bytes()))
                let result = try home.call(.post, name, body: body(did))
                #expect(result.status == 200)
                #expect(result.body == "")
                let request = try home.lastRequest()
                #expect(request.url == "\(origin)/xrpc/\(name)")
                #expect(request.body == body(did))
                #expect(request.claims["aud"] == did)
                #expect(request.claims["lxm"] == name)
            }
        }
        let name = "app.bsky.notification.registerPush"
        let count = upstream.requests.count
        let unknown = try home.call(.post, name, body: body("did:web:nobody.example.com"))
        #expect(unknown.status == 400)
        #expect(
            unknown.message
                == "invalid notification service details in did document: did:web:nobody.example.com")
        #expect(try home.call(.post, name, body: "{}").message?.contains("serviceDid") == true)
        #expect(try home.call(.post, name, body: "{").status == 400)
        #expect(try home.call(.get, name).status == 400)
        #expect(try home.call(.post, name, [("content-encoding", "gzip")], body: body(Self.service)).status == 415)
        #expect(upstream.requests.count == count)
    }

    @Test(arguments: Engine.all) func recordsOfOthers(_ engine: Engine) throws {
        let home = try ProxyWorld(engine)
        let path = "collection=app.bsky.feed.post&rkey=3jzfcijpj2z2a"
        let name = "com.atproto.repo.getRecord"
        home.world.upstream.answer("https://appview.test/xrpc/\(name)", .init(body: "{\"uri\":\"at://x\"}"))
        func get(_ repo: String) throws -> ProxyWorld.Result {
            try home.call(.get, "\(name)?repo=\(repo)&\(path)", [("atproto-proxy", "\(Self.service)#chat")])
        }
        let result = try get("did:web:other.example.com")
        #expect(result.body == "{\"uri\":\"at://x\"}")
        let request = try home.lastRequest()
        #expect(request.url == "https://appview.test/xrpc/\(name)?repo=did:web:other.example.com&\(path)")
        #expect(request.headers["authorization"] == nil)
        #expect(try get("other.example.com").status == 200)
        #expect(home.world.upstream.requests.count == 2)
        // What is not here of those who live here is nowhere.
        for repo in [home.did, "alice.home.test", "nobody.home.test"] {
            let absent = try get(repo)
            #expect(absent.status == 400)
            #expect(absent.error == "RecordNotFound")
        }
        #expect(home.world.upstream.requests.count == 2)
        try home.world.app.life.deactivate(DID(home.did)!)
        #expect(try get(home.did).status == 200)
        let alone = try ProxyWorld(engine, appView: nil)
        let absent = try alone.call(.get, "\(name)?repo=did:web:other.example.com&\(path)")
        #expect(absent.error == "RecordNotFound")
    }
}
