import ATProto
import Crypto
import Storage
import TestSupport
import Testing

@testable import Accounts
@testable import Base

/// What administrators see and change of accounts, keys, invites and names.
@Suite struct AdministrationTests {
    @Test(arguments: Engine.all) func details(_ engine: Engine) throws {
        let world = try World(engine)
        let alice = try world.makeAccount("alice", email: "alice@example.com")
        #expect(try world.accounts.details(of: DID("did:web:nobody.example.com")!) == nil)
        let now = world.clock.now()
        try world.test.write { writer in
            try AccountStore.setTakedown(now, of: alice.did, reference: "case 7", in: writer)
            try AccountStore.setSuspension(now, of: alice.did, in: writer)
            try AccountStore.setInvites(disabled: true, note: "too many", of: alice.did, in: writer)
        }
        let details = try #require(try world.accounts.details(of: alice.did))
        #expect(details.takenDownAt == now && details.suspendedAt == now && details.deactivatedAt == nil)
        #expect(details.takedownReference == "case 7" && details.inviteNote == "too many")
        #expect(details.account.invitesDisabled && details.account.state == .takenDown)
        try world.test.write { try AccountStore.setTakedown(nil, of: alice.did, reference: "x", in: $0) }
        let lifted = try #require(try world.accounts.details(of: alice.did))
        #expect(lifted.takedownReference == nil && lifted.account.state == .suspended)
    }

    @Test(arguments: Engine.all) func search(_ engine: Engine) throws {
        let world = try World(engine)
        for (name, email) in [
            ("alice", "alice@example.com"), ("bob", "bob_1@example.com"), ("carol", "bob21@example.org"), ("dan", nil),
        ] { try world.makeAccount(name, email: email) }
        func names(_ part: Bytes?, after: DID? = nil, limit: Int = 10) throws -> [String] {
            try world.accounts.search(email: part, after: after, limit: limit).map { "\($0.shownHandle)" }
        }
        #expect(try names(nil).count == 4)
        #expect(try names("") == names(nil))
        #expect(try names("BOB") == ["bob.home.test", "carol.home.test"])
        #expect(try names("example.com") == ["alice.home.test", "bob.home.test"])
        #expect(try names("_1") == ["bob.home.test"], "no pattern")
        #expect(try names("%").isEmpty)
        #expect(try names("!").isEmpty)
        #expect(try names("bob", after: DID("did:web:bob.home.test")!) == ["carol.home.test"])
        #expect(try names(nil, limit: 2) == ["alice.home.test", "bob.home.test"])
    }

    @Test(arguments: Engine.all) func addressesAndCredentials(_ engine: Engine) throws {
        let world = try World(engine)
        let alice = try world.makeAccount("alice", email: "alice@example.com")
        let bob = try world.makeAccount("bob", email: "bob@example.com")
        let nobody = DID("did:web:nobody.example.com")!
        func set(_ email: Bytes, _ did: DID) throws {
            try world.test.write { try AccountStore.setEmail(email, of: did, in: $0) }
        }
        #expect(throws: AccountError.emailTaken("bob@example.com")) { try set("bob@example.com", alice.did) }
        #expect(throws: AccountError.notFound) { try set("new@example.com", nobody) }
        try set("new@example.com", alice.did)
        try set("new@example.com", alice.did)
        #expect(try world.accounts.find(email: "new@example.com")?.did == alice.did)

        let session = try world.sessions.create(identifier: "bob.home.test", password: "correct horse")
        let made = try world.appPasswords.create("app", of: bob.did, privileged: false, now: world.clock.now())
        let unmatchable = try Password.unmatchable(entropy: world.entropy)
        try world.test.write { try AccountStore.revokeCredentials(of: bob.did, unmatchable: unmatchable, in: $0) }
        let (did, id) = try world.tokens.readRefresh(session.refreshToken, now: world.clock.now())
        #expect(throws: SessionError.revoked) { try world.sessions.refresh(id: id, of: did) }
        for password in ["correct horse" as Bytes, made.text] {
            #expect(throws: SessionError.wrongCredentials) {
                try world.sessions.create(identifier: "bob.home.test", password: password)
            }
        }
        #expect(throws: AccountError.notFound) {
            try world.test.write { try AccountStore.revokeCredentials(of: nobody, unmatchable: unmatchable, in: $0) }
        }
        #expect(throws: AccountError.notFound) {
            try world.test.write { try AccountStore.setSuspension(world.clock.now(), of: nobody, in: $0) }
        }
        #expect(throws: AccountError.notFound) {
            try world.test.write { try AccountStore.setInvites(disabled: true, note: nil, of: nobody, in: $0) }
        }
    }

    @Test(arguments: Engine.all) func whoseTimeHasCome(_ engine: Engine) throws {
        let world = try World(engine)
        let alice = try world.makeAccount("alice").did
        let now = world.clock.now()
        func isDue(_ moment: Timestamp) throws -> Bool {
            do {
                try world.test.read { try AccountStore.checkDue(alice, at: moment, in: $0) }
                return true
            } catch AccountError.notFound { return false }
        }
        #expect(try !isDue(now.adding(seconds: 1_000)), "nobody asked")
        try world.test.write {
            try AccountStore.deactivate(alice, at: now, deleteAfter: now.adding(seconds: 100), in: $0)
        }
        #expect(try !isDue(now.adding(seconds: 99)))
        #expect(try isDue(now.adding(seconds: 100)))
        try world.test.write { try AccountStore.activate(alice, in: $0) }
        #expect(try !isDue(now.adding(seconds: 100)))
    }

    @Test(arguments: Engine.all) func inviteCodesInOrder(_ engine: Engine) throws {
        let world = try World(engine)
        var codes: [Bytes] = []
        for index in 0..<4 {
            world.advance(1)
            let owner: Bytes = index == 3 ? "did:web:alice.home.test" : "admin"
            codes += try world.invites.create(
                count: 1, usesMax: 2, for: [owner], by: "admin", now: world.clock.now()
            ).flatMap(\.codes)
        }
        let users = ["x", "y", "z"].map { DID(Bytes("did:web:\($0).example.com"))! }
        try world.test.write { writer in
            for user in users.prefix(2) { try InviteStore.use(codes[1], by: user, now: world.clock.now(), in: writer) }
            try InviteStore.use(codes[2], by: users[2], now: world.clock.now(), in: writer)
        }
        func pages(_ order: InviteOrder, _ size: Int) throws -> [Bytes] {
            var found: [InviteCode] = []
            while true {
                let page = try world.invites.list(
                    order, after: found.last.map { InvitePlace($0, in: order) }, limit: size)
                found += page
                if page.count < size { return found.map(\.code) }
            }
        }
        for size in [1, 2, 10] {
            #expect(try pages(.recent, size) == codes.reversed())
            let used = try pages(.usage, size)
            #expect(used.prefix(2) == [codes[1], codes[2]])
            #expect(Set(used) == Set(codes) && used.count == 4)
        }
        let found = try #require(try world.invites.find(codes[1]))
        #expect(found.usesMax == 2 && found.uses.map(\.by) == users.prefix(2).map(\.bytes))
        #expect(try world.invites.find("home-test-no-such") == nil)

        try world.test.write { writer in
            try InviteStore.disable(codes: [codes[0], "home-test-no-such"], in: writer)
            try InviteStore.disable(codesOf: ["did:web:alice.home.test"], in: writer)
        }
        let disabled = try world.invites.list(.recent, after: nil, limit: 10).filter(\.isDisabled).map(\.code)
        #expect(disabled == [codes[3], codes[0]])
        #expect(throws: InviteError.notAvailable) { try world.invites.check(codes[0]) }
    }

    @Test(arguments: Engine.all) func reservedNames(_ engine: Engine) throws {
        let world = try World(engine)
        try world.test.write { writer in
            for name in ["mayor", "press.home.test", "mayor"] as [Bytes] {
                try AccountStore.reserve(name: name, now: world.clock.now(), in: writer)
            }
        }
        for (handle, isReserved) in [
            ("mayor.home.test", true), ("mayor.other.test", true), ("press.home.test", true),
            ("press.other.test", false),
            ("may.home.test", false),
        ] {
            #expect(try world.accounts.isReserved(Handle(handle)!) == isReserved, "\(handle)")
        }
    }

    /// Another process has put another key in its place: the one in memory no longer counts.
    @Test(arguments: Engine.all) func aKeyInMemoryCountsWhileItsRowDoes(_ engine: Engine) throws {
        let world = try World(engine)
        let alice = try world.makeAccount("alice").did
        let other = KeyStore(
            database: world.test, sealer: try Sealer(key: Secret([UInt8](repeating: 9, count: 32))),
            entropy: world.entropy)
        let keys = try (0..<2).map { _ in try SigningKey.generate(.k256, entropy: world.entropy) }
        let sealed = try keys.map { try world.keys.seal($0, for: alice) }
        try world.test.write { try KeyStore.insert(keys[0].publicKey, sealed: sealed[0], of: alice, in: $0) }
        for store in [world.keys, other] { #expect(try store.key(of: alice).publicKey == keys[0].publicKey) }
        try world.test.write { try KeyStore.replace(keys[1].publicKey, sealed: sealed[1], of: alice, in: $0) }
        for store in [world.keys, other] {
            #expect(try store.key(of: alice).publicKey == keys[1].publicKey)
            #expect(try store.key(of: alice).publicKey == keys[1].publicKey)
        }
        try world.test.write { try AccountStore.delete(alice, in: $0) }
        for store in [world.keys, other] { #expect(throws: KeyError.notFound(alice)) { try store.key(of: alice) } }
        #expect(throws: KeyError.notFound(alice)) {
            try world.test.write { try KeyStore.replace(keys[1].publicKey, sealed: sealed[1], of: alice, in: $0) }
        }
    }

    @Test(arguments: Engine.all) func aReservedKeyIsForItsAccount(_ engine: Engine) throws {
        let world = try World(engine)
        let (alice, bob) = (DID("did:web:alice.home.test")!, DID("did:web:bob.home.test")!)
        let free = try world.keys.reserve(for: nil, now: world.clock.now()).didKey
        let hers = try world.keys.reserve(for: alice, now: world.clock.now()).didKey
        #expect(try world.keys.reserved(didKey: free, for: bob) != nil)
        #expect(try world.keys.reserved(didKey: hers, for: alice) != nil)
        #expect(try world.keys.reserved(didKey: hers, for: bob) == nil)
    }
}
