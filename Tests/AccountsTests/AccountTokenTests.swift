import ATProto
import Base
import Crypto
import Storage
import TestSupport
import Testing

@testable import Accounts

/// Codes by mail on each database.
@Suite struct AccountTokenTests {
    private static let invalid = AccountTokenError.invalid

    private func put(_ world: World, _ purpose: TokenPurpose, _ did: DID) throws -> Bytes {
        let new = try world.codes.make(purpose, for: did)
        try world.test.write { try AccountTokenStore.put(new, for: did, now: world.clock.now(), in: $0) }
        return new.code
    }

    private func use(_ world: World, _ checked: AccountTokenStore.Checked) throws {
        try world.test.write { try AccountTokenStore.use(checked, in: $0) }
    }

    private func check(_ world: World, _ code: Bytes, _ purpose: TokenPurpose, _ did: DID) throws {
        try use(world, try world.codes.check(code, purpose, of: did, now: world.clock.now()))
    }

    @Test func theFormOfACode() throws {
        let world = try World(.sqlite)
        var seen: Set<Bytes> = []
        for _ in 0..<200 {
            let code = try world.codes.make(.signIn, for: World.service).code
            #expect(code.count == AccountTokenStore.codeSize && code[5] == 0x2D)
            #expect(
                code.enumerated().allSatisfy {
                    $0.offset == 5 || (0x41...0x5A).contains($0.element) || (0x32...0x37).contains($0.element)
                })
            seen.insert(code)
        }
        #expect(seen.count == 200)
    }

    @Test(arguments: Engine.all, TokenPurpose.allCases)
    func aCodeWorksOnce(_ engine: Engine, _ purpose: TokenPurpose) throws {
        let world = try World(engine)
        let did = try world.makeAccount("alice").did
        let code = try put(world, purpose, did)
        let checked = try world.codes.check(code, purpose, of: did, now: world.clock.now())
        try use(world, checked)
        #expect(throws: Self.invalid) { try use(world, checked) }
        #expect(throws: Self.invalid) { try check(world, code, purpose, did) }
        #expect(throws: Self.invalid) { _ = try world.codes.check(code, purpose, now: world.clock.now()) }
    }

    @Test(arguments: Engine.all) func whatIsNoCode(_ engine: Engine) throws {
        let world = try World(engine)
        let alice = try world.makeAccount("alice").did
        let bob = try world.makeAccount("bob").did
        let code = try put(world, .resetPassword, alice)
        let bobs = try put(world, .resetPassword, bob)
        let rows: [(name: String, code: Bytes, purpose: TokenPurpose, did: DID)] = [
            ("another account's", bobs, .resetPassword, alice), ("another purpose's", code, .deleteAccount, alice),
            ("without its hyphen", Bytes(code.filter { $0 != 0x2D }), .resetPassword, alice),
            ("empty", "", .resetPassword, alice), ("a part", code.upTo(5), .resetPassword, alice),
            ("more", code + "A", .resetPassword, alice),
            ("an account that is not there", code, .resetPassword, World.service),
        ]
        for row in rows {
            #expect(throws: Self.invalid, "\(row.name)") { try check(world, row.code, row.purpose, row.did) }
        }
        #expect(throws: Self.invalid) {
            _ = try world.codes.check("AAAAA-AAAAA", .resetPassword, now: world.clock.now())
        }
        #expect(throws: Self.invalid) { _ = try world.codes.check(code, .signIn, now: world.clock.now()) }
    }

    @Test(arguments: Engine.all) func peopleTypeItTheirWay(_ engine: Engine) throws {
        let world = try World(engine)
        let did = try world.makeAccount("alice").did
        let code = try put(world, .confirmEmail, did)
        try check(world, "  " + code.lowercasedASCII + "\n", .confirmEmail, did)
        let other = try put(world, .resetPassword, did)
        #expect(try world.codes.check(other.lowercasedASCII, .resetPassword, now: world.clock.now()).account == did)
    }

    @Test(arguments: Engine.all) func fiveGuessesAndItIsDead(_ engine: Engine) throws {
        let world = try World(engine)
        let did = try world.makeAccount("alice").did
        let code = try put(world, .deleteAccount, did)
        let other = try put(world, .signIn, did)
        for _ in 0..<(AccountTokenStore.guessesMax) {
            #expect(throws: Self.invalid) { try check(world, "AAAAA-AAAAA", .deleteAccount, did) }
        }
        #expect(throws: Self.invalid) { try check(world, code, .deleteAccount, did) }
        #expect(throws: Self.invalid) { _ = try world.codes.check(code, .deleteAccount, now: world.clock.now()) }
        try check(world, other, .signIn, did)
        // A new one has guesses of its own.
        let next = try put(world, .deleteAccount, did)
        for _ in 0..<(AccountTokenStore.guessesMax - 1) {
            #expect(throws: Self.invalid) { try check(world, code, .deleteAccount, did) }
        }
        try check(world, next, .deleteAccount, did)
    }

    @Test(arguments: Engine.all) func fifteenMinutes(_ engine: Engine) throws {
        let world = try World(engine)
        let did = try world.makeAccount("alice").did
        let code = try put(world, .resetPassword, did)
        world.advance(AccountTokenStore.lifeSeconds - 1)
        _ = try world.codes.check(code, .resetPassword, of: did, now: world.clock.now())
        world.advance(1)
        #expect(throws: AccountTokenError.expired) { try check(world, code, .resetPassword, did) }
        #expect(throws: AccountTokenError.expired) {
            _ = try world.codes.check(code, .resetPassword, now: world.clock.now())
        }
        #expect(throws: Self.invalid) { try check(world, "AAAAA-AAAAA", .resetPassword, did) }
        #expect(try world.codes.pending(now: world.clock.now()).isEmpty)
        // Its mail goes out only now: of this code, and of no other.
        let made = World.start
        try world.test.write { writer in
            try AccountTokenStore.renew(.signIn, of: did, createdAt: made, now: world.clock.now(), in: writer)
            try AccountTokenStore.renew(
                .resetPassword, of: did, createdAt: made.adding(seconds: 1), now: world.clock.now(), in: writer)
        }
        #expect(throws: AccountTokenError.expired) { try check(world, code, .resetPassword, did) }
        try world.test.write {
            try AccountTokenStore.renew(.resetPassword, of: did, createdAt: made, now: world.clock.now(), in: $0)
        }
        try check(world, code, .resetPassword, did)
    }

    @Test(arguments: Engine.all) func aNewOneTakesThePlaceOfTheOld(_ engine: Engine) throws {
        let world = try World(engine)
        let did = try world.makeAccount("alice").did
        let old = try put(world, .updateEmail, did)
        let stale = try world.codes.check(old, .updateEmail, of: did, now: world.clock.now())
        let new = try put(world, .updateEmail, did)
        #expect(throws: Self.invalid) { try check(world, old, .updateEmail, did) }
        #expect(throws: Self.invalid, "judged before the new one was made") { try use(world, stale) }
        try check(world, new, .updateEmail, did)
    }

    @Test(arguments: Engine.all) func theOperatorSeesThemAndTheDatabaseDoesNot(_ engine: Engine) throws {
        let world = try World(engine)
        let did = try world.makeAccount("alice").did
        let code = try put(world, .plcOperation, did)
        let pending = try world.codes.pending(now: world.clock.now())
        #expect(pending.map(\.code) == [code] && pending[0].purpose == .plcOperation && pending[0].account == did)
        let stored = try #require(
            try world.test.read { reader in
                try reader.first("SELECT digest, sealed FROM account_token") { (try $0.bytes(0), try $0.bytes(1)) }
            })
        #expect(stored.0 != Bytes(SHA256.hash(code).bytes), "a digest without a key would be guessed in hours")
        #expect(!stored.1.description.contains(code.description))
        // A code that is moved to another purpose opens nothing.
        try world.test.execute("UPDATE account_token SET purpose = 'sign_in'")
        #expect(throws: CryptoError.notAuthentic) { _ = try world.codes.pending(now: world.clock.now()) }
        #expect(throws: Self.invalid) { try check(world, code, .signIn, did) }
    }

    @Test(arguments: Engine.all) func theyGoWithTheAccount(_ engine: Engine) throws {
        let world = try World(engine)
        let did = try world.makeAccount("alice").did
        _ = try put(world, .signIn, did)
        try world.test.write { try AccountTokenStore.removeAll(of: did, in: $0) }
        #expect(try world.codes.pending(now: world.clock.now()).isEmpty)
        _ = try put(world, .signIn, did)
        try world.test.write { try AccountStore.delete(did, in: $0) }
        #expect(try world.codes.pending(now: world.clock.now()).isEmpty)
        #expect(throws: (any Error).self) { _ = try put(world, .signIn, did) }
    }

    @Test(arguments: Engine.all) func addressesChange(_ engine: Engine) throws {
        let world = try World(engine)
        let alice = try world.makeAccount("alice", email: "a@example.com").did
        let bob = try world.makeAccount("bob", email: "b@example.com").did
        func account() throws -> Account { try #require(try world.accounts.find(alice)) }
        let now = world.clock.now()
        try world.test.write { try AccountStore.confirmEmail("a@example.com", of: alice, at: now, in: $0) }
        try world.test.write { try AccountStore.setEmailAuthFactor(true, of: alice, in: $0) }
        #expect(try account().emailConfirmedAt == now && account().wantsEmailCode)
        #expect(throws: AccountError.emailTaken("b@example.com")) {
            try world.test.write { try AccountStore.setEmail("b@example.com", of: alice, in: $0) }
        }
        try world.test.write { try AccountStore.setEmail("c@example.com", of: alice, in: $0) }
        #expect(
            try account().email == "c@example.com" && account().emailConfirmedAt == nil && !account().wantsEmailCode)
        #expect(throws: AccountError.notFound, "it has changed since") {
            try world.test.write { try AccountStore.confirmEmail("a@example.com", of: alice, at: now, in: $0) }
        }
        for change in [
            { writer in try AccountStore.setEmail("x@example.com", of: World.service, in: writer) },
            { writer in try AccountStore.setEmailAuthFactor(true, of: World.service, in: writer) },
            { writer in try AccountStore.setPassword("x", of: World.service, in: writer) },
        ] as [(any Writer) throws -> Void] {
            #expect(throws: AccountError.notFound) { try world.test.write(change) }
        }
        #expect(try world.accounts.find(bob)?.email == "b@example.com")
    }

    private func signIn(
        _ world: World, _ password: Bytes, _ factor: ((Account) throws -> Void)?
    ) throws -> SessionScope {
        let session = try world.sessions.create(identifier: "alice.home.test", password: password, factor: factor)
        return session.scope
    }

    @Test(arguments: Engine.all) func theSecondFactor(_ engine: Engine) throws {
        struct Asked: Error {}
        let world = try World(engine)
        let did = try world.makeAccount("alice").did
        #expect(try signIn(world, "correct horse") { _ in throw Asked() } == .full, "not asked for")
        try world.test.write { try AccountStore.setEmailAuthFactor(true, of: did, in: $0) }
        #expect(throws: SessionError.authFactorRequired, "whoever forgets it lets nobody in") {
            _ = try signIn(world, "correct horse", nil)
        }
        #expect(throws: Asked.self) { _ = try signIn(world, "correct horse") { _ in throw Asked() } }
        #expect(throws: SessionError.wrongCredentials, "only once the password is right") {
            _ = try signIn(world, "wrong") { _ in throw Asked() }
        }
        var asked: DID?
        #expect(try signIn(world, "correct horse") { asked = $0.did } == .full)
        #expect(asked == did)
        let (_, app) = try world.appPasswords.create("phone", of: did, privileged: false, now: world.clock.now())
        #expect(try signIn(world, app) { _ in throw Asked() } == .appPassword)
        try world.test.write { try AccountStore.setTakedown(world.clock.now(), of: did, in: $0) }
        #expect(throws: Asked.self, "leaving wants it too") {
            _ = try world.sessions.create(
                identifier: "alice.home.test", password: "correct horse", allowTakenDown: true
            ) { _ in throw Asked() }
        }
    }

    @Test(arguments: Engine.all) func isPassword(_ engine: Engine) throws {
        let world = try World(engine)
        let did = try world.makeAccount("alice").did
        let (_, app) = try world.appPasswords.create("phone", of: did, privileged: true, now: world.clock.now())
        #expect(try world.sessions.isPassword("correct horse", of: did))
        for (password, of) in [
            ("wrong", did), ("", did), (app, did), ("correct horse\0", did), ("correct horse", World.service),
            (Bytes([UInt8](repeating: 0x61, count: SessionStore.passwordSizeMax + 1)), did),
        ] as [(Bytes, DID)] {
            #expect(try !world.sessions.isPassword(password, of: of))
        }
    }
}
