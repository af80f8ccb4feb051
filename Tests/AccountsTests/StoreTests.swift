import ATProto
import Base
import Crypto
import Storage
import TestSupport
import Testing

@testable import Accounts

@Suite struct AccountStoreTests {
    @Test(arguments: Engine.all) func namesAreUnique(_ engine: Engine) throws {
        let world = try World(engine)
        let alice = try world.makeAccount("alice", email: "a@example.com")
        let bob = try world.makeAccount("bob")
        #expect(try world.accounts.find(email: "a@example.com") == alice)
        #expect(try world.accounts.find(email: "A@example.com") == nil)
        #expect(try world.accounts.find(.handle(Handle("BOB.home.test")!)) == bob)
        #expect(try world.accounts.find(.did(DID("did:web:nobody.test")!)) == nil)
        #expect(throws: AccountError.exists(alice.did)) { try world.makeAccount("alice") }
        #expect(throws: AccountError.handleTaken(bob.shownHandle)) {
            try world.accounts.checkFree(did: nil, handle: bob.shownHandle, email: nil)
        }
        #expect(throws: AccountError.emailTaken("a@example.com")) {
            try world.accounts.checkFree(did: nil, handle: Handle("new.home.test")!, email: "a@example.com")
        }
        #expect(throws: AccountError.handleTaken(bob.shownHandle)) {
            try world.test.write { try AccountStore.setHandle(bob.shownHandle, of: alice.did, in: $0) }
        }
        try world.test.write { try AccountStore.setHandle(bob.shownHandle, of: bob.did, in: $0) }
        #expect(throws: AccountError.notFound) {
            try world.test.write {
                try AccountStore.setHandle(Handle("x.home.test")!, of: DID("did:web:x.test")!, in: $0)
            }
        }
    }

    @Test(arguments: Engine.all) func states(_ engine: Engine) throws {
        let world = try World(engine)
        let did = try world.makeAccount("alice").did
        func state() throws -> AccountState? { try world.accounts.find(did)?.state }
        let wish = world.clock.now().adding(seconds: 100)
        try world.test.write { try AccountStore.deactivate(did, at: world.clock.now(), deleteAfter: wish, in: $0) }
        #expect(try state() == .deactivated)
        #expect(try world.accounts.due(at: world.clock.now(), limit: 10).isEmpty)
        #expect(try world.accounts.due(at: wish, limit: 10) == [did])
        try world.test.write { try AccountStore.setTakedown(world.clock.now(), of: did, in: $0) }
        #expect(try state() == .takenDown)
        try world.test.write { try AccountStore.activate(did, in: $0) }
        #expect(try state() == .takenDown)
        try world.test.write { try AccountStore.setTakedown(nil, of: did, in: $0) }
        #expect(try state() == .active)
        try world.test.write { try AccountStore.delete(did, in: $0) }
        #expect(try state() == nil)
        #expect(throws: AccountError.notFound) {
            try world.test.write { try AccountStore.activate(did, in: $0) }
        }
    }

    @Test(
        arguments: [
            ("a@example.com", "a@example.com"), ("A.B+tag@Example.COM", "a.b+tag@example.com"),
            ("jörg@example.com", "jörg@example.com"), ("a@b@c.com", nil), ("a", nil), ("@example.com", nil),
            ("a@", nil), ("a@localhost", nil), ("a@-x.com", nil), ("a@x..com", nil), ("a b@example.com", nil),
            ("Alice <a@example.com>", nil), ("a@example.com\r\nBcc: x@y.z", nil), ("\"a\"@example.com", nil),
            ("a,b@example.com", nil), ("a@[127.0.0.1]", nil),
            (String(repeating: "a", count: 65) + "@example.com", nil),
            ("a@" + String(repeating: "a.", count: 200) + "com", nil), ("", nil),
        ] as [(String, String?)]) func emails(_ address: String, _ kept: String?) throws
    {
        if let kept {
            #expect(try Email.parse(Bytes(address)) == Bytes(kept))
        } else {
            #expect(throws: AccountError.invalidEmail) { try Email.parse(Bytes(address)) }
        }
    }
}

@Suite struct KeyStoreTests {
    @Test(arguments: Engine.all) func keysAreSealedForTheirAccount(_ engine: Engine) throws {
        let world = try World(engine)
        let (alice, bob) = (try world.makeAccount("alice").did, try world.makeAccount("bob").did)
        let key = try SigningKey.generate(.k256, entropy: world.entropy)
        let sealed = try world.keys.seal(key, for: alice)
        try world.test.write { try KeyStore.insert(key.publicKey, sealed: sealed, of: alice, in: $0) }
        #expect(try world.keys.key(of: alice).publicKey == key.publicKey)
        #expect(throws: KeyError.notFound(bob)) { try world.keys.key(of: bob) }
        // The same row under another account does not open.
        try world.test.write { try KeyStore.insert(key.publicKey, sealed: sealed, of: bob, in: $0) }
        #expect(throws: CryptoError.notAuthentic) { try world.keys.key(of: bob) }
        let row = try world.test.read { try $0.first("SELECT sealed FROM signing_key") { try $0.bytes(0) } }
        let plain = key.secret.withBytes { Bytes($0) }
        #expect(row.map { !contains($0, plain) } == true)
    }

    @Test(arguments: Engine.all) func reservations(_ engine: Engine) throws {
        let world = try World(engine)
        let did = DID("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")!
        let now = world.clock.now()
        let key = try world.keys.reserve(for: did, now: now)
        #expect(try world.keys.reserve(for: did, now: now) == key)
        #expect(try world.keys.reserved(for: did)?.publicKey == key)
        let free = try world.keys.reserve(for: nil, now: now)
        #expect(free != key)
        #expect(try world.keys.reserve(for: nil, now: now) != free)
        #expect(try world.keys.reserved(didKey: free.didKey)?.publicKey == free)
        #expect(try world.keys.reserved(didKey: "did:key:zNobody") == nil)
        // A reservation that nobody used goes when the next is made, a week later.
        _ = try world.keys.reserve(for: nil, now: now.adding(seconds: KeyStore.reservationSeconds + 1))
        #expect(try world.keys.reserved(didKey: free.didKey) == nil)
        #expect(try world.keys.reserved(for: did) == nil)
    }

    private func contains(_ bytes: Bytes, _ part: Bytes) -> Bool {
        (0...max(0, bytes.count - part.count)).contains { bytes.from($0).starts(with: part) }
    }
}

@Suite struct InviteTests {
    @Test(arguments: Engine.all) func usesRunOut(_ engine: Engine) throws {
        let world = try World(engine)
        let now = world.clock.now()
        let alice = DID("did:web:alice.home.test")!
        let made = try world.invites.create(count: 2, usesMax: 2, for: [alice.bytes], by: "admin", now: now)
        let code = made[0].codes[0]
        #expect(made[0].codes.count == 2 && code.starts(with: "home-test-") && code.count == 21)
        let users = ["b", "c", "d"].map { DID("did:web:\($0).test")! }
        for user in users.prefix(2) {
            try world.invites.check(code)
            try world.test.write { try InviteStore.use(code, by: user, now: now, in: $0) }
        }
        for code in [code, "home-test-aaaaa-aaaaa", ""] {
            #expect(throws: InviteError.notAvailable) { try world.invites.check(code) }
            #expect(throws: InviteError.notAvailable) {
                try world.test.write { try InviteStore.use(code, by: users[2], now: now, in: $0) }
            }
        }
        let listed = try world.invites.list(of: alice)
        #expect(listed.count == 2)
        #expect(listed.first { $0.code == code }?.uses.map(\.by) == users.prefix(2).map(\.bytes))
        #expect(listed.allSatisfy { $0.usesMax == 2 })
    }
}

@Suite struct PreferenceTests {
    static func item(_ type: Bytes, _ entries: [Value.Entry] = []) -> Value {
        .object([Value.Entry(key: "$type", value: .text(type))] + entries)
    }
    static let adult = item("app.bsky.actor.defs#adultContentPref", [.init(key: "enabled", value: .bool(true))])
    static let personal = item(
        "app.bsky.actor.defs#personalDetailsPref", [.init(key: "birthDate", value: .text("2008-06-16T00:00:00.000Z"))])

    @Test(arguments: Engine.all) func whoSeesWhat(_ engine: Engine) throws {
        let world = try World(engine)
        let did = try world.makeAccount("alice").did
        let now = world.clock.now()  // 2025-06-15
        try world.preferences.put([Self.adult, Self.personal], of: did, full: true)
        let all = try world.preferences.get(of: did, full: true, now: now)
        #expect(Array(all.prefix(2)) == [Self.adult, Self.personal])
        #expect(all.last?["isOverAge13"] == .bool(true) && all.last?["isOverAge18"] == .bool(false))
        // Sixteen the day before the birthday that makes it seventeen; both are over 16.
        #expect(all.last?["isOverAge16"] == .bool(true))
        let seen = try world.preferences.get(of: did, full: false, now: now)
        #expect(seen.first == Self.adult && seen.count == 2)
        // An app puts back what it got: the birth date stays.
        try world.preferences.put(seen, of: did, full: false)
        #expect(try world.preferences.get(of: did, full: true, now: now).contains(Self.personal))
        #expect(throws: PreferenceError.notAllowed("app.bsky.actor.defs#personalDetailsPref")) {
            try world.preferences.put([Self.personal], of: did, full: false)
        }
        try world.preferences.put([], of: did, full: true)
        #expect(try world.preferences.get(of: did, full: true, now: now).isEmpty)
    }

    @Test(arguments: Engine.all) func namespaces(_ engine: Engine) throws {
        let world = try World(engine)
        let did = try world.makeAccount("alice").did
        try world.preferences.put([Self.adult], of: did, full: true)
        let wrong: [Value] = [
            .map([]), .text("x"), .null, Self.item("com.example.pref"), Self.item("app.bskyx.pref"), Self.item(""),
        ]
        for item in wrong {
            #expect(throws: PreferenceError.wrongNamespace) {
                try world.preferences.put([Self.adult, item], of: did, full: true)
            }
        }
        #expect(throws: PreferenceError.tooMany) {
            try world.preferences.put(Array(repeating: Self.adult, count: 1_001), of: did, full: true)
        }
        #expect(try world.preferences.count(of: did) == 1, "what was there stays")
    }

    @Test(
        arguments: [
            ("2000-01-01T00:00:00Z", 25), ("2000-06-15", 25), ("2000-06-16", 24), ("2025-06-15", 0), ("x", nil),
            ("2000-13-01", nil), ("2000-00-01", nil), ("2000/01/01", nil), ("", nil), ("20000-01-01", nil),
        ] as [(String, Int?)]) func ages(_ born: String, _ years: Int?)
    {
        #expect(PreferenceStore.age(born: Bytes(born), now: Timestamp(seconds: 1_750_000_000)) == years)
    }
}
