import Accounts
import Base
import Mail
import Moderation
import Relays
import Storage
import TestSupport
import Testing
import Web

@Suite struct AdminTests {
    // MARK: Who gets in

    @Test(arguments: Engine.all) func signingInGivesACookieThatOpensThePages(_ engine: Engine) throws {
        let world = try World(engine)
        let answer = try world.ask(.post, "/admin/sign-in", World.formHeaders, body: "password=the+operator's")
        #expect(answer.status == 303 && answer.headers["location"] == "/admin")
        let cookie = try #require(answer.headers["set-cookie"])
        #expect(cookie.hasPrefix("__Host-skystead-admin="))
        for part in ["; Secure", "; HttpOnly", "; SameSite=Strict", "; Path=/"] { #expect(cookie.contains(part)) }
        #expect(!cookie.contains("Domain"))
        let pair = String(cookie.split(separator: ";")[0])
        let page = try world.ask(.get, "/admin", [("cookie", pair)])
        #expect(page.status == 200 && page.body.contains("Accounts"))
        #expect(page.headers["cache-control"] == "no-store")
        #expect(page.headers["content-security-policy"]?.contains("default-src 'none'") == true)
        // The row opens nothing: the cookie's value is not in it.
        let value = Bytes(String(pair.drop { $0 != "=" }.dropFirst()))
        let rows = try world.test.read { try $0.all("SELECT digest FROM admin_session") { try $0.bytes(0) } }
        #expect(rows.count == 1 && rows[0] != value)
    }

    /// Requests that must not get in, each with the status and what the page says.
    static let refused: [(String, HTTPMethod, String, [(String, String)], String, Int, String)] = [
        ("no cookie", .get, "/admin", [], "", 303, ""),
        ("an unknown cookie", .get, "/admin/accounts", [("cookie", "__Host-skystead-admin=abc")], "", 303, ""),
        ("a cookie without the prefix", .get, "/admin", [("cookie", "skystead-admin=abc")], "", 303, ""),
        (
            "two cookies", .get, "/admin", [("cookie", "__Host-skystead-admin=a; __Host-skystead-admin=b")], "", 400,
            "duplicate"
        ),
        ("a wrong password", .post, "/admin/sign-in", World.formHeaders, "password=wrong", 401, "not the password"),
        ("no password", .post, "/admin/sign-in", World.formHeaders, "a=b", 401, "not the password"),
        (
            "the password twice", .post, "/admin/sign-in", World.formHeaders, "password=a&password=the+operator's", 400,
            ""
        ),
        (
            "a form of another site", .post, "/admin/sign-in",
            [World.formHeaders[0], ("origin", "https://evil.test"), ("sec-fetch-site", "cross-site")],
            "password=the+operator's", 403, "not sent from a page"
        ),
        (
            "a form of a handle's host", .post, "/admin/sign-in",
            [World.formHeaders[0], ("origin", "https://alice.home.test"), ("sec-fetch-site", "same-site")],
            "password=the+operator's", 403, "not sent from a page"
        ),
        (
            "an old browser's form of another site", .post, "/admin/sign-in",
            [World.formHeaders[0], ("origin", "https://evil.test")], "password=the+operator's", 403,
            "not sent from a page"
        ),
        ("a form from nowhere", .post, "/admin/sign-in", [World.formHeaders[0]], "password=the+operator's", 403, ""),
        (
            "JSON", .post, "/admin/sign-in", [("content-type", "application/json")] + World.formHeaders.dropFirst(),
            "{}", 415, ""
        ),
        ("a page that is not there", .get, "/admin/nothing", [], "", 404, "nothing here"),
        ("GET of an action", .get, "/admin/sign-out", [], "", 405, ""),
    ]

    @Test(arguments: Engine.all) func whoIsRefused(_ engine: Engine) throws {
        let world = try World(engine)
        for (name, method, path, headers, body, status, words) in Self.refused {
            let answer = try world.ask(method, path, headers, body: body)
            #expect(answer.status == status, "\(name): \(answer.body)")
            #expect(words.isEmpty || answer.body.contains(words), "\(name): \(answer.body)")
            if status == 303 { #expect(answer.headers["location"] == "/admin/sign-in", "\(name)") }
            #expect(answer.headers["set-cookie"] == nil, "\(name)")
        }
        let rows = try world.test.read { try $0.all("SELECT 1 FROM admin_session") { _ in 1 } }
        #expect(rows.isEmpty)
    }

    @Test func anOldBrowsersFormOfThisHostIsTaken() throws {
        let world = try World(.sqlite)
        let headers = [World.formHeaders[0], ("origin", "https://home.test:8443")]
        #expect(try world.ask(.post, "/admin/sign-in", headers, body: "password=the+operator's").status == 303)
    }

    @Test func noPasswordIsNoDoor() throws {
        let world = try World(.sqlite, password: nil)
        let page = try world.ask(.get, "/admin/sign-in")
        #expect(page.body.contains("SKYSTEAD_ADMIN_PASSWORD") && !page.body.contains("<form"))
        #expect(try world.ask(.post, "/admin/sign-in", World.formHeaders, body: "password=").status == 401)
    }

    @Test(arguments: Engine.all) func attemptsAreCounted(_ engine: Engine) throws {
        let world = try World(engine, limits: true)
        for _ in 0..<10 {
            #expect(try world.ask(.post, "/admin/sign-in", World.formHeaders, body: "password=x").status == 401)
        }
        let eleventh = try world.ask(.post, "/admin/sign-in", World.formHeaders, body: "password=the+operator's")
        #expect(eleventh.status == 429 && eleventh.body.contains("Try again in 5 min"))
        world.advance(301)
        #expect(
            try world.ask(.post, "/admin/sign-in", World.formHeaders, body: "password=the+operator's").status == 303)
    }

    @Test func thePagesAreNotOnAHandlesHost() throws {
        let world = try World(.sqlite)
        let cookie = try world.signIn()
        let answer = try world.ask(.get, "/admin", [("cookie", cookie)], host: "alice.home.test")
        #expect(answer.status == 404 && !answer.body.contains("Sign out"))
    }

    // MARK: How long

    @Test(arguments: Engine.all) func aSessionEndsByIdlenessByAgeAndByAnotherPassword(_ engine: Engine) throws {
        let world = try World(engine)
        let token = try #require(try world.sessions.begin(password: Bytes(World.password))).token
        world.advance(AdminSessionStore.idleSecondsMax - 1)
        #expect(try world.sessions.find(token) != nil)
        world.advance(AdminSessionStore.idleSecondsMax - 1)
        #expect(try world.sessions.find(token) != nil, "being seen keeps it")
        world.advance(AdminSessionStore.idleSecondsMax)
        #expect(try world.sessions.find(token) == nil, "idle")

        let other = try #require(try world.sessions.begin(password: Bytes(World.password))).token
        for _ in 0..<13 {
            world.advance(AdminSessionStore.idleSecondsMax - 100)
            _ = try world.sessions.find(other)
        }
        #expect(try world.sessions.find(other) == nil, "older than a session may be")

        let third = try #require(try world.sessions.begin(password: Bytes(World.password))).token
        let changed = AdminSessionStore(
            database: world.test, password: Secret(Array("another".utf8)),
            clock: Clock { world.moment.withLock { $0 } },
            entropy: .seeded(2))
        #expect(try changed.find(third) == nil, "of another password")
        #expect(try world.sessions.find(third) != nil)
        #expect(try world.sessions.find(third + "A") == nil)
        #expect(try world.sessions.find(Bytes()) == nil)
    }

    @Test func sessionsAreBoundedInNumber() throws {
        let world = try World(.sqlite)
        let first = try #require(try world.sessions.begin(password: Bytes(World.password))).token
        for _ in 0..<AdminSessionStore.countMax {
            world.advance(1)
            _ = try world.sessions.begin(password: Bytes(World.password))
        }
        #expect(try world.sessions.find(first) == nil)
        let rows = try world.test.read { try $0.all("SELECT 1 FROM admin_session") { _ in 1 } }
        #expect(rows.count == AdminSessionStore.countMax)
    }

    @Test func signingOutEndsTheSession() throws {
        let world = try World(.sqlite)
        let cookie = ("cookie", try world.signIn())
        let token = world.formToken(try world.ask(.get, "/admin", [cookie]).body)
        let stranger = try world.ask(.post, "/admin/sign-out", World.formHeaders + [cookie], body: "form_token=wrong")
        #expect(stranger.status == 403)
        #expect(try world.ask(.get, "/admin", [cookie]).status == 200)
        let out = try world.ask(.post, "/admin/sign-out", World.formHeaders + [cookie], body: "form_token=\(token)")
        #expect(out.status == 303 && out.headers["set-cookie"]?.contains("Max-Age=0") == true)
        #expect(try world.ask(.get, "/admin", [cookie]).status == 303)
    }

    // MARK: Pages

    @Test(arguments: Engine.all) func accountsAreListedFilteredAndTakenDown(_ engine: Engine) throws {
        let world = try World(engine)
        let cookie = ("cookie", try world.signIn())
        let alice = try world.makeAccount("alice")
        try world.makeAccount("albert")
        try world.makeAccount("bob")
        func handles(_ query: String) throws -> [String] {
            try world.ask(.get, "/admin/accounts\(query)", [cookie]).body.matches(of: #/>([a-z]+)\.home\.test</#).map {
                String($0.1)
            }
        }
        #expect(try handles("") == ["albert", "alice", "bob"])
        #expect(try handles("?q=al") == ["albert", "alice"])
        #expect(try handles("?q=%40AL") == ["albert", "alice"], "as people type it")
        #expect(try handles("?q=bob%40example") == ["bob"])
        #expect(try handles("?q=did:web:b") == ["bob"])
        #expect(try handles("?q=%25") == [], "no pattern")
        try world.test.execute("UPDATE repo SET record_bytes = 2000, blob_bytes = 48 WHERE did LIKE '%alice%'")
        let sizes = try world.ask(.get, "/admin/accounts", [cookie]).body.matches(
            of: #/<td class="number">([^<]*)</#
        ).map { String($0.1) }
        #expect(sizes == ["0 B", "2.0 KiB", "0 B"])
        #expect(try handles("?state=takendown") == [])
        #expect(try handles("?after=did:web:alice.home.test") == ["bob"])

        let path = "/admin/accounts/did%3Aweb%3Aalice.home.test"
        let page = try world.ask(.get, path, [cookie])
        #expect(page.status == 200 && page.body.contains("alice@example.com, not confirmed"))
        let token = world.formToken(page.body)
        #expect(
            try world.ask(.post, "\(path)/takedown", World.formHeaders + [cookie], body: "form_token=x").status == 403)
        #expect(try world.accounts.find(alice)?.state == .active)
        let done = try world.ask(.post, "\(path)/takedown", World.formHeaders + [cookie], body: "form_token=\(token)")
        #expect(done.status == 303 && done.headers["location"] == path)
        #expect(try world.accounts.find(alice)?.state == .takenDown)
        #expect(try handles("?state=takendown") == ["alice"])
        #expect(try handles("?state=active") == ["albert", "bob"])
        let counts = try world.accounts.counts()
        #expect(counts.all == 3 && counts.active == 2 && counts.takenDown == 1 && counts.deactivated == 0)
        _ = try world.ask(.post, "\(path)/takedown", World.formHeaders + [cookie], body: "form_token=\(token)&lift=yes")
        #expect(try world.accounts.find(alice)?.state == .active)
        let acts = try world.log(of: alice)
        #expect(acts == ["admin lift-takedown", "admin takedown"])
        for absent in ["did%3Aweb%3Anobody.home.test", "no-did", "did%3Aweb%3A", "%C3%A9"] {
            #expect(try world.ask(.get, "/admin/accounts/\(absent)", [cookie]).status == 404, "\(absent)")
        }
    }

    @Test(arguments: Engine.all) func invitesAreMadeAndDisabled(_ engine: Engine) throws {
        let world = try World(engine)
        let cookie = ("cookie", try world.signIn())
        let token = world.formToken(try world.ask(.get, "/admin/invites", [cookie]).body)
        func post(_ path: String, _ body: String) throws -> Int {
            try world.ask(.post, path, World.formHeaders + [cookie], body: "form_token=\(token)&\(body)").status
        }
        for wrong in ["uses=0", "uses=-1", "uses=many", "uses=100001", "uses="] {
            #expect(try post("/admin/invites", wrong) == 400, "\(wrong)")
        }
        #expect(try world.invites.list(.recent, after: nil, limit: 10).isEmpty)
        #expect(try post("/admin/invites", "uses=3") == 303)
        let code = try #require(try world.invites.list(.recent, after: nil, limit: 10).first)
        #expect(code.usesMax == 3 && !code.isDisabled)
        let page = try world.ask(.get, "/admin/invites", [cookie]).body
        #expect(page.contains(code.code.description) && page.contains("0 of 3"))
        #expect(try post("/admin/invites/disable", "code=none") == 404)
        #expect(try post("/admin/invites/disable", "code=\(code.code)") == 303)
        #expect(throws: InviteError.notAvailable) { try world.invites.check(code.code) }
        #expect(try world.ask(.get, "/admin/invites", [cookie]).body.contains("disabled"))
    }

    @Test(arguments: Engine.all) func accountsAreSuspendedForATime(_ engine: Engine) throws {
        let world = try World(engine)
        let cookie = ("cookie", try world.signIn())
        let alice = try world.makeAccount("alice")
        let path = "/admin/accounts/did%3Aweb%3Aalice.home.test"
        let page = try world.ask(.get, path, [cookie]).body
        #expect(page.contains("0 B: records 0 B, blobs 0 B"))
        let form = "form_token=\(world.formToken(page))"
        #expect(
            try world.ask(.post, "\(path)/suspension", World.formHeaders + [cookie], body: "form_token=x").status == 403
        )
        #expect(try world.ask(.post, "\(path)/suspension", World.formHeaders + [cookie], body: form).status == 303)
        #expect(try world.accounts.find(alice)?.state == .suspended)
        #expect(try world.ask(.get, path, [cookie]).body.contains("Lift the suspension"))
        _ = try world.ask(.post, "\(path)/suspension", World.formHeaders + [cookie], body: form + "&lift=yes")
        #expect(try world.accounts.find(alice)?.state == .active)
        #expect(try world.log(of: alice) == ["admin unsuspend", "admin suspend"])
        let log = try world.ask(.get, "/admin/log", [cookie]).body
        #expect(log.contains("unsuspend") && log.contains("did:web:alice.home.test"))
    }

    @Test(arguments: Engine.all) func reportsAreReadAndClosed(_ engine: Engine) throws {
        let world = try World(engine)
        let cookie = ("cookie", try world.signIn())
        let (alice, bob) = (try world.makeAccount("alice"), try world.makeAccount("bob"))
        #expect(try world.ask(.get, "/admin/reports", [cookie]).body.contains("No report is open."))
        for text in ["<b>spam</b>", "again"] {
            _ = try world.reports.create(
                NewReport(
                    subject: .account(alice), reasonType: "com.atproto.moderation.defs#reasonSpam", reason: Bytes(text),
                    reportedBy: bob))
        }
        let page = try world.ask(.get, "/admin/reports", [cookie]).body
        #expect(page.contains("&lt;b&gt;spam&lt;/b&gt;") && page.contains("reasonSpam") && page.contains("again"))
        #expect(try world.ask(.get, "/admin", [cookie]).body.contains("href=\"/admin/reports\">2<"))
        let form = "form_token=\(world.formToken(page))"
        func close(_ more: String) throws -> Int {
            try world.ask(.post, "/admin/reports/close", World.formHeaders + [cookie], body: form + more).status
        }
        let long = String(repeating: "x", count: ReportStore.noteSizeMax + 1)
        for (more, status) in [("", 404), ("&id=x", 404), ("&id=99", 404), ("&id=1&note=\(long)", 400)] {
            #expect(try close(more) == status, "\(more.prefix(20))")
        }
        #expect(try world.reports.openCount() == 2)
        #expect(try close("&id=1&note=warned") == 303)
        #expect(try world.reports.openCount() == 1)
        let closed = try world.ask(.get, "/admin/reports?show=closed", [cookie]).body
        #expect(closed.contains("warned") && !closed.contains("again"))
    }

    @Test(arguments: Engine.all) func mailIsSeenAndSentAgain(_ engine: Engine) throws {
        let world = try World(engine)
        let cookie = ("cookie", try world.signIn())
        let empty = try world.ask(.get, "/admin/mail", [cookie]).body
        #expect(empty.contains("SKYSTEAD_SMTP_URL") && empty.contains("There is no mail."))
        let address = try #require(MailAddress("alice@example.com"))
        let text = try #require(MailTemplate.test(host: "home.test"))
        let now = world.moment.withLock { $0 }
        let prepared = try world.mail.prepare(text, kind: "test", account: nil, to: address)
        try world.test.write { try MailQueue.add(prepared, now: now, in: $0) }
        let claimed = try #require(try world.mail.claim(now: now))
        try world.mail.failed(claimed, "550 no such <user>", now: now)
        let page = try world.ask(.get, "/admin/mail", [cookie]).body
        #expect(page.contains("failed") && page.contains("550 no such &lt;user&gt;"))
        let form = "form_token=\(world.formToken(page))"
        func retry(_ id: String) throws -> Int {
            try world.ask(.post, "/admin/mail/retry", World.formHeaders + [cookie], body: form + id).status
        }
        for wrong in ["", "&id=none", "&id=\(String(repeating: "a", count: 65))"] { #expect(try retry(wrong) == 404) }
        #expect(try retry("&id=\(claimed.id)") == 303)
        #expect(try world.ask(.get, "/admin/mail", [cookie]).body.contains("queued"))
    }

    @Test(arguments: Engine.all) func relaysAreSeenAndAskedAgain(_ engine: Engine) throws {
        let world = try World(engine)
        let cookie = ("cookie", try world.signIn())
        let empty = try world.ask(.get, "/admin/network", [cookie]).body
        #expect(empty.contains("SKYSTEAD_CRAWLERS") && empty.contains("Newest event"))
        try world.crawlers.adopt(["https://relay.example.com"])
        let page = try world.ask(.get, "/admin/network", [cookie]).body
        #expect(page.contains("https://relay.example.com"))
        let form = "form_token=\(world.formToken(page))"
        func request(_ url: String) throws -> Int {
            try world.ask(.post, "/admin/network/request", World.formHeaders + [cookie], body: form + url).status
        }
        for wrong in ["", "&url=https://other.example.com"] { #expect(try request(wrong) == 404) }
        #expect(try request("&url=https://relay.example.com") == 303)
        #expect(try world.crawlers.list().first?.isRequested == true)
    }

    /// J018: overrides of direction, what can't be seen, and marks by the thousand: kept as they came, and shut in.
    @Test(arguments: Engine.all) func whatPeopleWroteStaysInItsBox(_ engine: Engine) throws {
        let world = try World(engine)
        let cookie = ("cookie", try world.signIn())
        let (alice, bob) = (try world.makeAccount("alice"), try world.makeAccount("bob"))
        let rows: [(name: String, text: String)] = [
            ("right to left", "\u{202E}exe.gpj"), ("an isolate that is never closed", "\u{2067}abc"),
            ("zero width", "pay\u{200B}pal\u{FEFF}"),
            ("10,000 marks", "a" + String(repeating: "\u{301}", count: 9_900)),
            ("20,000 letters", String(repeating: "w", count: ReportStore.reasonSizeMax)),
        ]
        for row in rows {
            _ = try world.reports.create(
                NewReport(
                    subject: .account(alice), reasonType: "com.atproto.moderation.defs#reasonSpam",
                    reason: Bytes(row.text), reportedBy: bob))
        }
        let page = try world.ask(.get, "/admin/reports", [cookie]).body
        let kept = try world.reports.list(.open, before: nil, limit: 10).reversed().map(\.reason)
        for (row, reason) in zip(rows, kept) {
            #expect(reason == Bytes(row.text), "\(row.name)")
            let box = "<div class=\"said\" tabindex=\"0\"><bdi>\(row.text)</bdi></div>"
            // By bytes: what looks the same is not the same.
            #expect(Array(page.utf8).contains(Array(box.utf8)), "\(row.name)")
        }
        let style = try world.ask(.get, "/admin/style.css").body
        #expect(style.contains(".said { max-height: 12rem; max-width: 40rem; overflow: auto;"))
    }

    @Test func whatPeopleWroteIsText() throws {
        let world = try World(.sqlite)
        let cookie = ("cookie", try world.signIn())
        let page = try world.ask(.get, "/admin/accounts?q=%22%3E%3Cscript%3E", [cookie]).body
        #expect(!page.contains("<script>") && page.contains("&quot;&gt;&lt;script&gt;"))
    }
}
