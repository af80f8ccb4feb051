import ATProto
import Base
import Crypto
import Storage
import TestSupport
import Testing

@testable import Authorization

@Suite struct GrantRequestTests {
    typealias World = GrantWorld

    // MARK: What a request may hold

    private static func long(_ count: Int) -> Bytes { Bytes([UInt8](repeating: 0x61, count: count)) }

    static let fields: [(name: String, code: AuthorizationError.Code?, make: @Sendable () throws -> GrantRequest)] = [
        ("right", nil, { try World.request(1) }),
        ("no DPoP key yet", nil, { try World.request(1, thumbprint: nil) }),
        ("longest client_id", nil, { try World.request(1, client: long(2_048)) }),
        ("longest scope", nil, { try World.request(1, scope: long(8_192)) }),
        ("no client_id", .invalidRequest, { try World.request(1, client: "") }),
        ("client_id too long", .invalidRequest, { try World.request(1, client: long(2_049)) }),
        ("NUL in client_id", .invalidRequest, { try World.request(1, client: Bytes([0x61, 0])) }),
        ("no redirect_uri", .invalidRequest, { try World.request(1, redirect: "") }),
        ("line break in redirect_uri", .invalidRequest, { try World.request(1, redirect: "https://a/\r\nX: y") }),
        ("redirect_uri too long", .invalidRequest, { try World.request(1, redirect: long(2_049)) }),
        ("no state", .invalidRequest, { try World.request(1, state: "") }),
        ("state not ASCII", .invalidRequest, { try World.request(1, state: "é") }),
        ("state not UTF-8", .invalidRequest, { try World.request(1, state: Bytes([0xFF, 0xFE])) }),
        ("state too long", .invalidRequest, { try World.request(1, state: long(2_049)) }),
        ("no scope", .invalidScope, { try World.request(1, scope: "") }),
        ("scope too long", .invalidScope, { try World.request(1, scope: long(8_193)) }),
        ("tab in scope", .invalidScope, { try World.request(1, scope: "atproto\trepo:*") }),
        ("short dpop_jkt", .invalidRequest, { try World.request(1, thumbprint: "abc") }),
        ("dpop_jkt in base64", .invalidRequest, { try World.request(1, thumbprint: long(42) + "+") }),
    ]

    @Test(arguments: fields.indices) func whatARequestMayHold(_ index: Int) {
        let row = Self.fields[index]
        var code: AuthorizationError.Code?
        do { _ = try row.make() } catch { code = (error as? AuthorizationError)?.code }
        #expect(code == row.code, "\(row.name)")
    }

    @Test func namesOfTheWire() {
        #expect(ResponseMode("form_post") == .formPost && ResponseMode("query") == .query)
        #expect(ResponseMode("FRAGMENT") == nil && ResponseMode("") == nil && ResponseMode("formPost") == nil)
        #expect(
            AuthorizationPrompt("select_account") == .selectAccount
                && AuthorizationPrompt("none") == AuthorizationPrompt.none)
        #expect(AuthorizationPrompt("login consent") == nil && AuthorizationPrompt("selectAccount") == nil)
    }

    // MARK: Pushing and opening

    @Test(arguments: Engine.all) func whatWasPushedIsOpened(_ engine: Engine) throws {
        let world = try World(engine)
        for (number, request) in [
            try World.request(1), try World.request(2, thumbprint: nil, key: World.pin),
            try GrantRequest(
                clientID: World.client, redirectURI: World.redirect, scope: "atproto", state: "s",
                challenge: PKCEChallenge(challenge: PKCETests.challenge, method: "S256"),
                metadataDigest: Bytes([1])),
        ].enumerated() {
            let uri = try world.push(request)
            #expect(uri.starts(with: "urn:ietf:params:oauth:request_uri:req-") && uri.count == 70)
            #expect(try world.open(uri) == .success(request), "\(number)")
            // Its own device as often as it likes.
            #expect(try world.open(uri) == .success(request), "\(number)")
        }
    }

    @Test(arguments: Engine.all) func aChallengeIsTakenOnceADay(_ engine: Engine) throws {
        let world = try World(engine)
        let day = GrantRequestStore.challengeSeconds
        _ = try world.push(try World.request(1))
        for (client, after) in [(World.client, Int64(0)), ("https://other.test/c", 1), (World.client, day - 1)] {
            let error = #expect(throws: AuthorizationError.self) {
                _ = try world.push(
                    try World.request(1, client: client), now: World.start.adding(seconds: after))
            }
            #expect(error?.code == .invalidRequest)
        }
        #expect(try world.count("oauth_request") == 1)
        _ = try world.push(try World.request(1), now: World.start.adding(seconds: day))
        // That began another day.
        #expect(throws: AuthorizationError.self) {
            _ = try world.push(try World.request(1), now: World.start.adding(seconds: day + 1))
        }
    }

    /// Who comes wrong: before anybody opened the request, unless it says otherwise.
    static let wrongOpenings:
        [(
            name: String, code: AuthorizationError.Code, isDeleted: Bool,
            open: @Sendable (World, Bytes) throws -> Result<GrantRequest, AuthorizationError>
        )] = [
            ("another uri", .invalidRequest, false, { world, uri in try world.open(uri.upTo(69) + "x") }),
            ("no uri", .invalidRequest, false, { world, _ in try world.open("") }),
            (
                "upper case", .invalidRequest, false,
                { world, uri in
                    try world.open(Bytes(uri.map { $0 >= 0x61 && $0 <= 0x66 ? $0 & 0xDF : $0 }))
                }
            ),
            ("https uri", .invalidRequest, false, { world, _ in try world.open("https://app.test/request") }),
            ("not UTF-8", .invalidRequest, false, { world, uri in try world.open(uri.upTo(69) + Bytes([0xFF])) }),
            (
                "another client", .invalidRequest, true,
                { world, uri in
                    try world.open(uri, client: "https://other.test/c")
                }
            ),
            ("no client", .invalidRequest, true, { world, uri in try world.open(uri, client: "") }),
            (
                "late", .invalidRequest, true,
                { world, uri in
                    try world.open(uri, now: World.start.adding(seconds: 300))
                }
            ),
            (
                "another device", .accessDenied, true,
                { world, uri in
                    _ = try world.open(uri)
                    return try world.open(uri, device: "dev-other")
                }
            ),
            (
                "too long after the last opening", .invalidRequest, true,
                { world, uri in
                    _ = try world.open(uri, now: World.start.adding(seconds: 299)).get()
                    _ = try world.open(uri, now: World.start.adding(seconds: 598)).get()
                    return try world.open(uri, now: World.start.adding(seconds: 898))
                }
            ),
            (
                "an hour after pushing", .invalidRequest, true,
                { world, uri in
                    for second in stride(from: Int64(0), to: 3_600, by: 200) {
                        _ = try world.open(uri, now: World.start.adding(seconds: second)).get()
                    }
                    return try world.open(uri, now: World.start.adding(seconds: 3_600))
                }
            ),
            (
                "authorized already", .accessDenied, true,
                { world, uri in
                    _ = try world.open(uri)
                    _ = try world.authorize(uri).get()
                    return try world.open(uri)
                }
            ),
            (
                "rejected already", .invalidRequest, true,
                { world, uri in
                    _ = try world.open(uri)
                    let rejected = try world.test.write {
                        try world.requests.reject(
                            uri, clientID: World.client, device: World.device, now: World.start, in: $0)
                    }
                    #expect(try rejected.get().state == "a state")
                    return try world.open(uri)
                }
            ),
        ]

    @Test(arguments: Engine.all, wrongOpenings.indices) func openingWrongly(_ engine: Engine, _ index: Int) throws {
        let row = Self.wrongOpenings[index]
        let world = try World(engine)
        let uri = try world.push(try World.request(1))
        guard case .failure(let error) = try row.open(world, uri) else {
            Issue.record("\(row.name): was opened")
            return
        }
        #expect(error.code == row.code, "\(row.name)")
        #expect(try world.count("oauth_request") == (row.isDeleted ? 0 : 1), "\(row.name)")
    }

    // MARK: Authorizing

    @Test(arguments: Engine.all) func authorizingIsForTheDeviceThatOpened(_ engine: Engine) throws {
        let world = try World(engine)
        func refused(
            _ code: AuthorizationError.Code, left: Int, _ result: Result<AuthorizedCode, AuthorizationError>
        ) throws {
            guard case .failure(let error) = result else {
                Issue.record("was authorized")
                return
            }
            #expect(error.code == code)
            #expect(try world.count("oauth_request") == left)
        }
        // Nobody has seen it.
        try refused(.accessDenied, left: 0, world.authorize(try world.push(try World.request(1))))
        let uri = try world.push(try World.request(2))
        _ = try world.open(uri).get()
        try refused(.invalidScope, left: 1, world.authorize(uri, scope: ""))
        try refused(.invalidScope, left: 1, world.authorize(uri, scope: Bytes([0x61, 0])))
        try refused(.accessDenied, left: 0, world.authorize(uri, device: "dev-other"))
        let other = try world.push(try World.request(3))
        _ = try world.open(other).get()
        try refused(.invalidRequest, left: 0, world.authorize(other, client: "https://other.test/c"))
        let late = try world.push(try World.request(4))
        _ = try world.open(late).get()
        try refused(.invalidRequest, left: 0, world.authorize(late, now: World.start.adding(seconds: 300)))
        let twice = try world.push(try World.request(5))
        _ = try world.open(twice).get()
        let code = try world.authorize(twice).get()
        #expect(code.code.starts(with: "cod-") && code.code.count == 68)
        #expect(try code.request == World.request(5))
        // The second time takes the first one's code back: somebody has the page who should not.
        try refused(.accessDenied, left: 0, world.authorize(twice))
        guard case .failure = try world.exchange(code.code, 5) else {
            Issue.record("the code of a request that was used twice is taken")
            return
        }
    }

    @Test(arguments: Engine.all) func codesAreNotStored(_ engine: Engine) throws {
        let world = try World(engine)
        let code = try world.code(1)
        let stored = try world.test.first("SELECT code_digest FROM oauth_request") { try $0.bytes(0) }
        #expect(stored == Bytes(SHA256.hash(code).bytes))
    }

    @Test(arguments: Engine.all) func trimming(_ engine: Engine) throws {
        let world = try World(engine)
        for number in 0..<3 { _ = try world.push(try World.request(number)) }
        let later = World.start.adding(seconds: 200)
        _ = try world.push(try World.request(3), now: later)
        #expect(try GrantRequestStore.trim(now: later, in: world.test) == 0)
        #expect(try GrantRequestStore.trim(now: World.start.adding(seconds: 300), in: world.test) == 3)
        #expect(try world.count("oauth_request") == 1)
        let day = World.start.adding(seconds: GrantRequestStore.challengeSeconds)
        #expect(try GrantRequestStore.trim(now: day, in: world.test) == 4)
        #expect(try world.count("oauth_challenge") == 1 && world.count("oauth_request") == 0)
    }
}
