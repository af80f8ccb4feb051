import ATProto
import Base
import Crypto
import Storage
import TestSupport
import Testing

@testable import Authorization

@Suite struct GrantStoreTests {
    typealias World = GrantWorld

    /// Fails the test unless `result` is a refusal; returns it.
    private static func refusal(
        _ result: Result<GrantedTokens, GrantRefusal>, _ name: String = "",
        sourceLocation: SourceLocation = #_sourceLocation
    ) -> GrantRefusal? {
        guard case .failure(let refusal) = result else {
            Issue.record("\(name): was granted", sourceLocation: sourceLocation)
            return nil
        }
        return refusal
    }

    // MARK: Codes

    @Test(arguments: Engine.all) func aCodeBecomesASession(_ engine: Engine) throws {
        let world = try World(engine)
        let code = try world.code(1, scope: "atproto blob:*/*")
        let later = World.start.adding(seconds: 59)
        let tokens = try world.exchange(code, 1, now: later).get()
        let session = tokens.session
        #expect(session.account == World.alice && session.clientID == World.client && session.key == nil)
        #expect(session.scope == "atproto blob:*/*" && session.device == World.device)
        #expect(session.thumbprint == World.thumbprint && session.createdAt == later)
        #expect(session.metadataDigest.count == 32 && session.id.count == 36 && session.id.starts(with: "ses-"))
        #expect(tokens.expiresIn(now: later) == 900 && tokens.expiresIn(now: later.adding(seconds: 901)) == 0)
        #expect(tokens.refreshToken.count == 79 && tokens.refreshToken.starts(with: "ref-"))
        #expect(try world.store.access(tokens.accessToken, thumbprint: World.thumbprint, now: later) == session)
        #expect(try world.store.sessions(of: World.alice) == [session])
        #expect(try world.store.sessions(of: World.bob) == [])
        #expect(try world.count("oauth_request") == 0)
        // RFC 9068 §2, RFC 9449 §6.1.
        let jwt = try JWT(parsing: tokens.accessToken)
        #expect(jwt.header.text("typ") == "at+jwt" && jwt.header.text("alg") == "HS256")
        #expect(jwt.claims.text("iss") == "https://home.test" && jwt.claims.text("aud") == "did:web:home.test")
        #expect(jwt.claims.text("sub") == World.alice.bytes && jwt.claims.text("client_id") == World.client)
        #expect(jwt.claims.text("scope") == "atproto blob:*/*" && jwt.claims.integer("iat") == later.seconds)
        #expect(jwt.claims.integer("exp") == later.seconds + 900)
        #expect(jwt.claims["cnf"] == .json("{\"jkt\":\"" + World.thumbprint + "\"}"))
    }

    @Test(arguments: Engine.all) func aLongScopeIsInTheRowAlone(_ engine: Engine) throws {
        let world = try World(engine)
        let scope = "atproto " + Bytes([UInt8](repeating: 0x61, count: 8_184))
        let code = try world.code(1, scope: scope)
        let tokens = try world.exchange(code, 1).get()
        #expect(tokens.session.scope == scope && tokens.accessToken.count < 1_024)
        #expect(
            try world.store.access(tokens.accessToken, thumbprint: World.thumbprint, now: World.start).scope == scope)
    }

    /// What is wrong at the exchange. Each burns the code.
    static let wrongExchanges:
        [(name: String, exchange: @Sendable (World, Bytes) throws -> Result<GrantedTokens, GrantRefusal>)] = [
            ("another verifier", { world, code in try world.exchange(code, 2) }),
            ("late", { world, code in try world.exchange(code, 1, now: World.start.adding(seconds: 60)) }),
            ("another redirect_uri", { world, code in try world.exchange(code, 1, redirect: World.redirect + "/") }),
            ("no redirect_uri", { world, code in try world.exchange(code, 1, redirect: "") }),
            (
                "another client",
                { world, code in
                    try world.exchange(code, 1, by: World.holder("https://other.test/c"))
                }
            ),
            (
                "another DPoP key",
                { world, code in
                    try world.exchange(code, 1, by: World.holder(World.client, World.thumbprint(2)))
                }
            ),
            (
                "a client key that was not there",
                { world, code in
                    try world.exchange(code, 1, by: World.holder(key: World.pin))
                }
            ),
        ]

    @Test(arguments: Engine.all, wrongExchanges.indices) func exchangingWrongly(_ engine: Engine, _ index: Int) throws {
        let row = Self.wrongExchanges[index]
        let world = try World(engine)
        let code = try world.code(1)
        for result in [try row.exchange(world, code), try world.exchange(code, 1)] {
            let refusal = Self.refusal(result, row.name)
            #expect(refusal?.error.code == .invalidGrant && refusal?.end == nil, "\(row.name)")
        }
        #expect(try world.count("oauth_session") == 0 && world.count("oauth_request") == 0, "\(row.name)")
    }

    static let noCodes: [Bytes] = [
        "", "cod-", "cod-" + Bytes([UInt8](repeating: 0x30, count: 64)),
        "cod-" + Bytes([UInt8](repeating: 0x30, count: 65)), "ref-" + Bytes([UInt8](repeating: 0x30, count: 64)),
        "cod-" + Bytes([UInt8](repeating: 0, count: 64)), "cod-" + Bytes([UInt8](repeating: 0xFF, count: 64)),
        Bytes([UInt8](repeating: 0x61, count: 100_000)),
    ]

    @Test(arguments: Engine.all) func whatIsNoCode(_ engine: Engine) throws {
        let world = try World(engine)
        let code = try world.code(1)
        for wrong in Self.noCodes + [code.upTo(67) + "x", code + "0", code.upTo(67)] {
            #expect(Self.refusal(try world.exchange(wrong, 1))?.error.code == .invalidGrant, "\(wrong)")
        }
        // None of these touched it.
        _ = try world.exchange(code, 1).get()
    }

    @Test(arguments: Engine.all) func theKeyOfAConfidentialClientStays(_ engine: Engine) throws {
        let others: [ClientKeyPin?] = [
            nil, ClientKeyPin(id: "key 2", algorithm: "ES256", thumbprint: World.pin.thumbprint),
            ClientKeyPin(id: "key 1", algorithm: "ES256K", thumbprint: World.pin.thumbprint),
            ClientKeyPin(id: "key 1", algorithm: "ES256", thumbprint: World.thumbprint(8)),
        ]
        let world = try World(engine)
        for (number, other) in others.enumerated() {
            let code = try world.code(number, key: World.pin)
            #expect(
                Self.refusal(try world.exchange(code, number, by: World.holder(key: other)))?.error.code
                    == .invalidGrant)
            let tokens = try world.signIn(number + 100, key: World.pin)
            let refusal = Self.refusal(try world.refresh(tokens.refreshToken, by: World.holder(key: other)))
            #expect(refusal?.error.code == .invalidGrant && refusal?.end?.cause == .otherHolder)
        }
        #expect(try world.count("oauth_session") == 0)
        // A key id is whatever its client called it.
        let odd = ClientKeyPin(id: Bytes([0, 0xFF, 0x27]), algorithm: "ES256", thumbprint: World.thumbprint(8))
        let tokens = try world.signIn(200, key: odd)
        #expect(try world.refresh(tokens.refreshToken, by: World.holder(key: odd)).get().session.key == odd)
    }

    @Test(arguments: Engine.all) func aKeyNamedLaterIsTakenAtTheExchange(_ engine: Engine) throws {
        let world = try World(engine)
        let code = try world.code(1, thumbprint: nil)
        let tokens = try world.exchange(code, 1, by: World.holder(World.client, World.thumbprint(4))).get()
        #expect(tokens.session.thumbprint == World.thumbprint(4))
    }

    @Test(arguments: Engine.all) func aReplayedCodeEndsItsSession(_ engine: Engine) throws {
        let world = try World(engine)
        let code = try world.code(1)
        let tokens = try world.exchange(code, 1).get()
        let other = try world.signIn(2)
        // After a refresh, days later, by whomever.
        let refreshed = try world.refresh(tokens.refreshToken).get()
        let refusal = Self.refusal(
            try world.exchange(
                code, 9, redirect: "https://evil.test/", by: World.holder("x", World.thumbprint(6)),
                now: World.start.adding(seconds: 200_000)))
        #expect(refusal?.error.code == .invalidGrant && refusal?.end?.cause == .codeReplayed)
        #expect(refusal?.end?.session.device == World.device && refusal?.end?.session.id == tokens.session.id)
        #expect(try !world.isAlive(tokens) && !world.isAlive(refreshed) && world.isAlive(other))
        #expect(Self.refusal(try world.refresh(refreshed.refreshToken))?.error.code == .invalidGrant)
        // And then there is nothing more to end.
        let again = Self.refusal(try world.exchange(code, 1))
        #expect(again?.error.code == .invalidGrant && again?.end == nil)
    }

    @Test(arguments: Engine.all) func scopesAreNarrowed(_ engine: Engine) throws {
        let world = try World(engine)
        let code = try world.code(1, scope: "atproto repo:*")
        let tokens = try world.test.write {
            try world.store.exchange(
                code: code, redirectURI: World.redirect, verifier: World.verifier(1), by: World.holder(),
                now: World.start, in: $0
            ) { (scope) throws(AuthorizationError) in
                #expect(scope == "atproto repo:*")
                return "atproto"
            }
        }.get()
        #expect(tokens.session.scope == "atproto")
        func refresh(
            _ token: Bytes, _ narrowing: (Bytes) throws(AuthorizationError) -> Bytes
        ) throws -> Result<GrantedTokens, GrantRefusal> {
            try world.test.write {
                try world.store.refresh(
                    token, by: World.holder(), now: World.start, in: $0, narrowing: narrowing)
            }
        }
        let gone = AuthorizationError(.invalidClient, "gone")
        let refusal = Self.refusal(
            try refresh(tokens.refreshToken) { (_) throws(AuthorizationError) in throw gone })
        #expect(refusal == GrantRefusal(error: gone, end: nil))
        // That changed nothing.
        let next = try refresh(tokens.refreshToken) { _ in "less" }.get()
        #expect(next.session.scope == "less")
        #expect(try world.store.sessions(of: World.alice).map(\.scope) == ["less"])
        // At once, for the token that was made before it, too.
        let access = try world.store.access(tokens.accessToken, thumbprint: World.thumbprint, now: World.start)
        #expect(access.scope == "less")
        // A refused exchange burns the code as any other.
        let second = try world.code(2)
        let refused = try world.test.write {
            try world.store.exchange(
                code: second, redirectURI: World.redirect, verifier: World.verifier(2), by: World.holder(),
                now: World.start, in: $0
            ) { (_) throws(AuthorizationError) in throw gone }
        }
        #expect(Self.refusal(refused)?.error == gone)
        #expect(Self.refusal(try world.exchange(second, 2))?.error.code == .invalidGrant)
    }

    // MARK: Refresh tokens

    @Test(arguments: Engine.all) func rotation(_ engine: Engine) throws {
        let world = try World(engine)
        var tokens = [try world.signIn(1)]
        var now = World.start
        for _ in 0..<5 {
            now = now.adding(seconds: 300)
            let next = try world.refresh(try #require(tokens.last).refreshToken, now: now).get()
            #expect(next.session.id == tokens[0].session.id && next.session.refreshedAt == now)
            #expect(next.session.createdAt == World.start)
            tokens.append(next)
        }
        #expect(Set(tokens.map(\.refreshToken)).count == 6 && Set(tokens.map(\.accessToken)).count == 6)
        #expect(try world.isAlive(tokens[5], now: now) && world.isAlive(tokens[4], now: now))
        // It is 600 seconds old: not time has ended it.
        #expect(try !world.isAlive(tokens[3], now: now))
        #expect(try world.count("oauth_session") == 1)
    }

    @Test(arguments: Engine.all) func aLostAnswerIsGivenAgain(_ engine: Engine) throws {
        let world = try World(engine)
        let first = try world.signIn(1)
        let now = World.start.adding(seconds: 500)
        let second = try world.refresh(first.refreshToken, now: now).get()
        for seconds in [Int64(0), 1, 9] {
            #expect(try world.refresh(first.refreshToken, now: now.adding(seconds: seconds)).get() == second)
        }
        // A clock that was set back is no replay.
        #expect(try world.refresh(first.refreshToken, now: now.adding(seconds: -60)).get() == second)
        let third = try world.refresh(second.refreshToken, now: now.adding(seconds: 9)).get()
        // Its grace is its own.
        #expect(try world.refresh(second.refreshToken, now: now.adding(seconds: 18)).get() == third)
    }

    /// Whoever comes with the token that was used already, `seconds` after it was.
    static let replays: [(name: String, seconds: Int64, holder: GrantHolder, cause: GrantRefusal.Cause)] = [
        ("after the grace", 10, World.holder(), .refreshTokenReplayed),
        ("much later", 86_400, World.holder(), .refreshTokenReplayed),
        ("another DPoP key within the grace", 1, World.holder(World.client, World.thumbprint(2)), .otherHolder),
        ("another DPoP key later", 60, World.holder(World.client, World.thumbprint(2)), .otherHolder),
        ("another client", 1, World.holder("https://other.test/c"), .otherHolder),
        ("as a confidential client", 1, World.holder(key: World.pin), .otherHolder),
    ]

    @Test(arguments: Engine.all, replays.indices) func replaying(_ engine: Engine, _ index: Int) throws {
        let row = Self.replays[index]
        let world = try World(engine)
        let other = try world.signIn(2)
        let first = try world.signIn(1)
        let second = try world.refresh(first.refreshToken).get()
        let now = World.start.adding(seconds: row.seconds)
        let refusal = Self.refusal(try world.refresh(first.refreshToken, by: row.holder, now: now), row.name)
        #expect(refusal?.error.code == .invalidGrant && refusal?.end?.cause == row.cause, "\(row.name)")
        #expect(refusal?.end?.session.id == first.session.id, "\(row.name)")
        #expect(try !world.isAlive(first) && !world.isAlive(second) && world.isAlive(other), "\(row.name)")
        let rightful = Self.refusal(try world.refresh(second.refreshToken, now: now), row.name)
        #expect(rightful?.error.code == .invalidGrant && rightful?.end == nil, "\(row.name)")
    }

    @Test(arguments: Engine.all) func aTokenTwoStepsBackEndsTheSessionAtOnce(_ engine: Engine) throws {
        let world = try World(engine)
        let first = try world.signIn(1)
        let second = try world.refresh(first.refreshToken).get()
        let third = try world.refresh(second.refreshToken).get()
        #expect(Self.refusal(try world.refresh(first.refreshToken))?.end?.cause == .refreshTokenReplayed)
        #expect(try !world.isAlive(third))
    }

    /// The thief has token and DPoP key and is first: the rightful one ends the family; and the other way round.
    @Test(arguments: Engine.all) func thievesWithTheKey(_ engine: Engine) throws {
        let world = try World(engine)
        let first = try world.signIn(1)
        let stolen = try world.refresh(first.refreshToken).get()
        let later = World.start.adding(seconds: 600)
        #expect(Self.refusal(try world.refresh(first.refreshToken, now: later))?.end != nil)
        #expect(try !world.isAlive(stolen))
        #expect(try world.count("oauth_session") == 0)
    }

    @Test(arguments: Engine.all) func whatIsNoRefreshToken(_ engine: Engine) throws {
        let world = try World(engine)
        let tokens = try world.signIn(1)
        let right = tokens.refreshToken
        func made(_ byte: UInt8, _ count: Int) -> Bytes {
            "ref-" + Bytes(RadixEncoding.base64URL.encode([UInt8](repeating: byte, count: count)))
        }
        let wrong: [(name: String, token: Bytes)] = [
            ("empty", ""), ("prefix alone", "ref-"), ("a code", try world.code(2)),
            ("a request_uri", try world.push(try World.request(3))), ("its session", tokens.session.id),
            ("longer", right + "A"), ("shorter", right.upTo(78)), ("another prefix", "rex-" + right.from(4)),
            ("huge", Bytes([UInt8](repeating: 0x61, count: 1 << 20))), ("not UTF-8", right.upTo(78) + Bytes([0xFF])),
            ("NUL", right.upTo(78) + Bytes([0])), ("all ones", made(0xFF, 56)), ("all zeros", made(0, 56)),
            ("55 bytes", made(0, 55)), ("57 bytes", made(0, 57)),
        ]
        for (name, token) in wrong {
            let refusal = Self.refusal(try world.refresh(token), name)
            #expect(refusal?.error.code == .invalidGrant && refusal?.end == nil, "\(name)")
            let revoked = try world.test.write { try world.store.revoke(token, clientID: World.client, in: $0) }
            #expect(revoked == nil, "\(name)")
        }
        #expect(Self.refusal(try world.refresh(tokens.accessToken))?.end == nil)
        _ = try world.refresh(right).get()
    }

    /// A wrong token must end nobody's session; only a genuine one may.
    @Test(arguments: Engine.all) func forgedTokensChangeNothing(_ engine: Engine) throws {
        let world = try World(engine)
        let tokens = try world.signIn(1)
        let raw = try #require(RadixEncoding.base64URL.decode(tokens.refreshToken.from(4)))
        for position in raw.indices {
            var changed = raw
            changed[position] ^= 1
            let forged = "ref-" + Bytes(RadixEncoding.base64URL.encode(changed))
            let refusal = Self.refusal(try world.refresh(forged))
            #expect(refusal?.error.code == .invalidGrant && refusal?.end == nil, "\(position)")
            let revoked = try world.test.write { try world.store.revoke(forged, clientID: World.client, in: $0) }
            #expect(revoked == nil)
        }
        let row = try #require(try GrantSessionRow.find(id: tokens.session.id, in: world.test))
        let guessed = GrantSessionRow(
            session: row.session, seed: Bytes([UInt8](repeating: 0, count: 16)), generation: 1)
        for forged in [World.makeTokens(Secret([1])).refresh(row), world.tokens.refresh(guessed)] {
            #expect(Self.refusal(try world.refresh(forged))?.end == nil)
        }
        _ = try world.refresh(tokens.refreshToken).get()
    }

    @Test(arguments: Engine.all) func aDatabaseThatWasSetBack(_ engine: Engine) throws {
        let world = try World(engine)
        let first = try world.signIn(1)
        let second = try world.refresh(first.refreshToken).get()
        let third = try world.refresh(second.refreshToken).get()
        try world.test.execute("UPDATE oauth_session SET generation = 1")
        #expect(try world.isAlive(third))
        let fourth = try world.refresh(third.refreshToken).get()
        #expect(try world.isAlive(fourth))
        #expect(try world.refresh(third.refreshToken).get() == fourth)
        #expect(Self.refusal(try world.refresh(first.refreshToken))?.end?.cause == .refreshTokenReplayed)
    }

    // MARK: Lifetimes

    @Test(arguments: Engine.all) func publicSessionsEndAfterTwoWeeks(_ engine: Engine) throws {
        let world = try World(engine)
        let end = World.start.adding(seconds: AuthorizedSession.publicSecondsMax)
        var tokens = try world.signIn(1)
        for day in 1...13 {
            tokens = try world.refresh(
                tokens.refreshToken, now: World.start.adding(seconds: Int64(day) * 86_400)
            ).get()
        }
        tokens = try world.refresh(tokens.refreshToken, now: end.adding(seconds: -60)).get()
        // Its access token does not outlive it.
        #expect(tokens.session.expiresAt == end && tokens.expiresIn(now: end.adding(seconds: -60)) == 60)
        #expect(try world.isAlive(tokens, now: end.adding(seconds: -1)) && !world.isAlive(tokens, now: end))
        let refusal = Self.refusal(try world.refresh(tokens.refreshToken, now: end))
        #expect(refusal?.error.code == .invalidGrant && refusal?.end?.cause == .expired)
        #expect(try world.count("oauth_session") == 0)
    }

    @Test(arguments: Engine.all) func confidentialSessionsEndAfterTwoYears(_ engine: Engine) throws {
        let world = try World(engine)
        let holder = World.holder(key: World.pin)
        let step = AuthorizedSession.confidentialRefreshSeconds
        #expect(step <= 180 * 86_400)
        let idle = try world.signIn(1, key: World.pin)
        #expect(
            Self.refusal(
                try world.refresh(idle.refreshToken, by: holder, now: World.start.adding(seconds: step)))?.end?.cause
                == .expired)
        var tokens = try world.signIn(2, key: World.pin)
        var now = World.start
        let end = World.start.adding(seconds: AuthorizedSession.confidentialSecondsMax)
        while now.adding(seconds: step - 1) < end {
            now = now.adding(seconds: step - 1)
            tokens = try world.refresh(tokens.refreshToken, by: holder, now: now).get()
        }
        #expect(tokens.session.expiresAt == end)
        #expect(Self.refusal(try world.refresh(tokens.refreshToken, by: holder, now: end))?.end?.cause == .expired)
    }

    // MARK: Access tokens

    /// What comes instead of a right access token, and with which key's proof.
    static let wrongAccess: [(name: String, make: @Sendable (World, GrantedTokens) throws -> (Bytes, Bytes, Int64))] = [
        ("late", { _, tokens in (tokens.accessToken, World.thumbprint, 900) }),
        ("another DPoP key", { _, tokens in (tokens.accessToken, World.thumbprint(2), 0) }),
        ("no DPoP key", { _, tokens in (tokens.accessToken, "", 0) }),
        ("empty", { _, _ in ("", World.thumbprint, 0) }),
        ("the refresh token", { _, tokens in (tokens.refreshToken, World.thumbprint, 0) }),
        (
            "signature cut",
            { _, tokens in
                (tokens.accessToken.upTo(tokens.accessToken.count - 1), World.thumbprint, 0)
            }
        ),
        (
            "no signature",
            { _, tokens in
                let parts = tokens.accessToken.split(on: 0x2E)
                return (parts[0] + "." + parts[1] + ".", World.thumbprint, 0)
            }
        ),
        (
            "alg none",
            { _, tokens in
                let parts = tokens.accessToken.split(on: 0x2E)
                let header = Bytes(RadixEncoding.base64URL.encode(Bytes("{\"typ\":\"at+jwt\",\"alg\":\"none\"}")))
                return (header + "." + parts[1] + ".", World.thumbprint, 0)
            }
        ),
        (
            "another key",
            { world, tokens in
                let row = try #require(try GrantSessionRow.find(id: tokens.session.id, in: world.test))
                return (World.makeTokens(Secret([1])).access(row), World.thumbprint, 0)
            }
        ),
        (
            "another issuer",
            { world, tokens in
                let row = try #require(try GrantSessionRow.find(id: tokens.session.id, in: world.test))
                return (World.makeTokens(World.key, issuer: "https://evil.test").access(row), World.thumbprint, 0)
            }
        ),
        (
            "another audience",
            { world, tokens in
                let row = try #require(try GrantSessionRow.find(id: tokens.session.id, in: world.test))
                let other = World.makeTokens(World.key, service: DID("did:web:evil.test")!)
                return (other.access(row), World.thumbprint, 0)
            }
        ),
        (
            "a session that is not there",
            { world, tokens in
                try world.test.execute("DELETE FROM oauth_session")
                return (tokens.accessToken, World.thumbprint, 0)
            }
        ),
        (
            "account deleted",
            { world, tokens in
                try world.test.execute("DELETE FROM account WHERE did = '\(World.alice.bytes)'")
                return (tokens.accessToken, World.thumbprint, 0)
            }
        ),
    ]

    @Test(arguments: Engine.all, wrongAccess.indices) func accessWithAWrongToken(_ engine: Engine, _ index: Int) throws
    {
        let row = Self.wrongAccess[index]
        let world = try World(engine)
        let tokens = try world.signIn(1)
        let (token, thumbprint, seconds) = try row.make(world, tokens)
        let error = #expect(throws: AuthorizationError.self, "\(row.name)") {
            _ = try world.store.access(token, thumbprint: thumbprint, now: World.start.adding(seconds: seconds))
        }
        #expect(error?.code == .invalidToken, "\(row.name)")
    }

    @Test(arguments: Engine.all) func usingAnAccessTokenWritesNothing(_ engine: Engine) throws {
        let world = try World(engine)
        let tokens = try world.signIn(1)
        let before = world.test.writeCount
        for second in 0..<900 {
            _ = try world.store.access(
                tokens.accessToken, thumbprint: World.thumbprint, now: World.start.adding(seconds: Int64(second)))
        }
        #expect(world.test.writeCount == before)
    }

    // MARK: Ending and listing

    /// A way to end Alice's first session of four: hers, another of the same client, one of another client, Bob's.
    struct Ending: Sendable {
        let name: String
        let ended: Int
        let left: [Bool]
        let end: @Sendable (World, GrantedTokens, any Writer) throws -> Int
    }

    private static func revoked(
        _ token: Bytes, client: Bytes = World.client, _ world: World, _ writer: any Writer
    ) throws -> Int {
        try world.store.revoke(token, clientID: client, in: writer) == nil ? 0 : 1
    }

    static let endings: [Ending] = [
        Ending(name: "refresh token", ended: 1, left: [false, true, true, true]) { world, tokens, writer in
            try revoked(tokens.refreshToken, world, writer)
        },
        Ending(name: "access token", ended: 1, left: [false, true, true, true]) { world, tokens, writer in
            try revoked(tokens.accessToken, world, writer)
        },
        Ending(name: "both", ended: 1, left: [false, true, true, true]) { world, tokens, writer in
            try revoked(tokens.accessToken, world, writer) + revoked(tokens.refreshToken, world, writer)
        },
        Ending(name: "by another client", ended: 0, left: [true, true, true, true]) { world, tokens, writer in
            try revoked(tokens.refreshToken, client: "https://other.test/c", world, writer)
                + revoked(tokens.accessToken, client: "https://other.test/c", world, writer)
                + revoked(tokens.accessToken, client: "", world, writer)
        },
        Ending(name: "no token", ended: 0, left: [true, true, true, true]) { world, _, writer in
            let tokens: [Bytes] = ["", "x", "ref-", "a.b.c", Bytes([0xFF]), Bytes([0])]
            return try tokens.reduce(0) { try $0 + revoked($1, world, writer) }
        },
        Ending(name: "id, twice", ended: 1, left: [false, true, true, true]) { _, tokens, writer in
            let first = try GrantStore.end(tokens.session.id, of: World.alice, in: writer)
            let second = try GrantStore.end(tokens.session.id, of: World.alice, in: writer)
            return (first ? 1 : 0) + (second ? 10 : 0)
        },
        Ending(name: "another's id", ended: 0, left: [true, true, true, true]) { _, tokens, writer in
            try GrantStore.end(tokens.session.id, of: World.bob, in: writer) ? 1 : 0
        },
        Ending(name: "no id", ended: 0, left: [true, true, true, true]) { _, _, writer in
            let ids: [Bytes] = ["", "ses-", "%", Bytes([0]), Bytes([0xFF])]
            return try ids.filter { try GrantStore.end($0, of: World.alice, in: writer) }.count
        },
        Ending(name: "account", ended: 3, left: [false, false, false, true]) { _, _, writer in
            try GrantStore.endAll(of: World.alice, in: writer)
        },
        Ending(name: "client of the account", ended: 2, left: [false, false, true, true]) { _, _, writer in
            try GrantStore.endAll(of: World.alice, clientID: World.client, in: writer)
        },
        Ending(name: "no client of the account", ended: 0, left: [true, true, true, true]) { _, _, writer in
            try GrantStore.endAll(of: World.alice, clientID: Bytes([0, 0xFF]), in: writer)
                + GrantStore.endAll(of: World.alice, clientID: "%", in: writer)
        },
    ]

    @Test(arguments: Engine.all, endings.indices) func ending(_ engine: Engine, _ index: Int) throws {
        let row = Self.endings[index]
        let world = try World(engine)
        let all = [
            try world.signIn(1), try world.signIn(2), try world.signIn(3, client: "https://other.test/c"),
            try world.signIn(4, account: World.bob),
        ]
        let ended = try world.test.write { try row.end(world, all[0], $0) }
        #expect(ended == row.ended, "\(row.name)")
        let left = try all.map { try world.isAlive($0) }
        #expect(left == row.left, "\(row.name)")
        #expect(try world.count("oauth_session") == row.left.filter { $0 }.count, "\(row.name)")
    }

    @Test(arguments: Engine.all) func tokensOfAnyAgeRevoke(_ engine: Engine) throws {
        let world = try World(engine)
        for (number, isRefresh) in [(1, true), (2, false)] {
            let first = try world.signIn(number)
            var last = first
            for step in 1...4 {
                last = try world.refresh(last.refreshToken, now: World.start.adding(seconds: Int64(step) * 900)).get()
            }
            let token = isRefresh ? first.refreshToken : first.accessToken
            let revoked = try world.test.write { try world.store.revoke(token, clientID: World.client, in: $0) }
            #expect(revoked != nil)
            #expect(try !world.isAlive(last, now: World.start.adding(seconds: 3_600)))
        }
    }

    @Test(arguments: Engine.all) func endingAnAccountsSessionsTakesItsCodes(_ engine: Engine) throws {
        let world = try World(engine)
        let code = try world.code(1)
        let others = try world.code(2, account: World.bob)
        let byClient = try world.code(3)
        try world.test.write { _ = try GrantStore.endAll(of: World.alice, clientID: "https://no.test/c", in: $0) }
        try world.test.write { _ = try GrantStore.endAll(of: World.alice, in: $0) }
        #expect(Self.refusal(try world.exchange(code, 1))?.error.code == .invalidGrant)
        #expect(Self.refusal(try world.exchange(byClient, 3))?.error.code == .invalidGrant)
        _ = try world.exchange(others, 2).get()
        let late = try world.code(4)
        try world.test.execute("DELETE FROM account WHERE did = '\(World.alice.bytes)'")
        #expect(Self.refusal(try world.exchange(late, 4))?.error.code == .invalidGrant)
    }

    @Test(arguments: Engine.all) func oneSessionTooManyEndsTheOldest(_ engine: Engine) throws {
        let world = try World(engine)
        let bob = try world.signIn(1_000, account: World.bob)
        var all: [GrantedTokens] = []
        for number in 0..<GrantStore.sessionCountMax {
            all.append(try world.signIn(number, now: World.start.adding(seconds: Int64(number))))
        }
        // The first is used again: the second is the oldest now.
        let now = World.start.adding(seconds: 500)
        all[0] = try world.refresh(all[0].refreshToken, now: now).get()
        all.append(try world.signIn(500, now: now))
        let ended = try all.indices.filter { try !world.isAlive(all[$0], now: now) }
        #expect(ended == [1])
        let listed = try world.store.sessions(of: World.alice)
        #expect(listed.count == GrantStore.sessionCountMax && Set(listed.prefix(2).map(\.refreshedAt)) == [now])
        #expect(zip(listed, listed.dropFirst()).allSatisfy { $0.refreshedAt >= $1.refreshedAt })
        #expect(try world.isAlive(bob, now: now))
    }

    @Test(arguments: Engine.all) func trimming(_ engine: Engine) throws {
        let world = try World(engine)
        _ = try world.signIn(1)
        _ = try world.signIn(2, now: World.start.adding(seconds: 1))
        let end = World.start.adding(seconds: AuthorizedSession.publicSecondsMax)
        #expect(try GrantStore.trim(now: end.adding(seconds: -1), in: world.test) == 0)
        #expect(try GrantStore.trim(now: end, in: world.test) == 1)
        #expect(try world.store.sessions(of: World.alice).count == 1)
    }
}
