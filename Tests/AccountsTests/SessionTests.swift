import ATProto
import Base
import Storage
import TestSupport
import Testing

@testable import Accounts

@Suite struct SessionTests {
    struct Login: Sendable, CustomTestStringConvertible {
        let identifier: String
        let password: String
        let error: SessionError?
        var testDescription: String { "\(identifier.prefix(40)) \(password.prefix(20))" }

        init(_ identifier: String, _ password: String, _ error: SessionError? = nil) {
            self.identifier = identifier
            self.password = password
            self.error = error
        }
    }

    @Test(arguments: Engine.all) func signingIn(_ engine: Engine) throws {
        let world = try World(engine)
        try world.makeAccount("alice", email: "alice@example.com")
        let rows = [
            Login("alice.home.test", "correct horse"), Login("ALICE.home.TEST", "correct horse"),
            Login("@alice.home.test", "correct horse"), Login("did:web:alice.home.test", "correct horse"),
            Login("alice@example.com", "correct horse"), Login("Alice@Example.COM", "correct horse"),
            Login("alice.home.test", "Correct horse", .wrongCredentials),
            Login("alice.home.test", "correct horse\0", .wrongCredentials),
            Login("alice.home.test", "", .wrongCredentials),
            Login("bob.home.test", "correct horse", .wrongCredentials),
            Login("bob@example.com", "correct horse", .wrongCredentials),
            Login("alice", "correct horse", .wrongCredentials), Login("", "correct horse", .wrongCredentials),
            Login("did:web:ALICE.home.test", "correct horse", .wrongCredentials),
            Login("alice.home.test' OR '1'='1", "correct horse", .wrongCredentials),
            Login("alice.home.test", String(repeating: "x", count: 512), .wrongCredentials),
            Login("alice.home.test", String(repeating: "x", count: 513), .passwordTooLong),
        ]
        for row in rows {
            let signIn = {
                try world.sessions.create(identifier: Bytes(row.identifier), password: Bytes(row.password))
            }
            if let error = row.error {
                #expect(throws: error, "\(row.testDescription)") { _ = try signIn() }
            } else {
                let session = try signIn()
                #expect(session.account.did == DID("did:web:alice.home.test"), "\(row.testDescription)")
                #expect(session.scope == .full)
            }
        }
    }

    @Test(arguments: Engine.all) func rotation(_ engine: Engine) throws {
        let world = try World(engine)
        let alice = try world.makeAccount("alice")
        let first = try world.sessions.begin(alice)
        let a = try world.tokens.readRefresh(first.refreshToken, now: world.clock.now()).id
        world.advance(60)
        let b = try world.tokens.readRefresh(
            world.sessions.refresh(id: a, of: alice.did).refreshToken, now: world.clock.now()
        ).id
        #expect(a != b)
        // The answer got lost: the same successor again, until the grace is over.
        world.advance(SessionStore.graceSeconds - 1)
        let again = try world.sessions.refresh(id: a, of: alice.did)
        #expect(try world.tokens.readRefresh(again.refreshToken, now: world.clock.now()).id == b)
        let c = try world.sessions.refresh(id: b, of: alice.did)
        #expect(try world.tokens.readRefresh(c.refreshToken, now: world.clock.now()).id != b)
        world.advance(1)
        #expect(throws: SessionError.revoked) { _ = try world.sessions.refresh(id: a, of: alice.did) }
        // The second token is in its own grace still.
        #expect(try world.sessions.refresh(id: b, of: alice.did).account.did == alice.did)
    }

    @Test(arguments: Engine.all) func signedOutStaysSignedOut(_ engine: Engine) throws {
        let world = try World(engine)
        let alice = try world.makeAccount("alice")
        let bob = try world.makeAccount("bob")
        func id(_ session: Session) throws -> Bytes {
            try world.tokens.readRefresh(session.refreshToken, now: world.clock.now()).id
        }
        let a = try id(world.sessions.begin(alice))
        let other = try id(world.sessions.begin(alice))
        let b = try id(world.sessions.refresh(id: a, of: alice.did))
        try world.sessions.revoke(id: b)
        // The used predecessor is in its grace, but what it was traded for is gone: it must not come back.
        for id in [a, b, "unknown"] {
            #expect(throws: SessionError.revoked) { _ = try world.sessions.refresh(id: id, of: alice.did) }
        }
        #expect(throws: SessionError.revoked) { _ = try world.sessions.refresh(id: other, of: bob.did) }
        #expect(try world.sessions.refresh(id: other, of: alice.did).scope == .full)
        // A new password ends every session.
        let last = try id(world.sessions.begin(alice))
        try world.accounts.setPassword(Bytes("00:00"), of: alice.did)
        #expect(throws: SessionError.revoked) { _ = try world.sessions.refresh(id: last, of: alice.did) }
    }

    @Test(arguments: Engine.all) func expiryIsTheDatabasesToo(_ engine: Engine) throws {
        let world = try World(engine)
        let alice = try world.makeAccount("alice")
        let session = try world.sessions.begin(alice)
        let id = try world.tokens.readRefresh(session.refreshToken, now: world.clock.now()).id
        world.advance(SessionTokens.refreshSeconds)
        #expect(throws: SessionTokenError.expired) {
            try world.tokens.readRefresh(session.refreshToken, now: world.clock.now())
        }
        #expect(throws: SessionError.revoked) { _ = try world.sessions.refresh(id: id, of: alice.did) }
    }

    @Test(arguments: Engine.all) func appPasswords(_ engine: Engine) throws {
        let world = try World(engine)
        let alice = try world.makeAccount("alice")
        let bob = try world.makeAccount("bob")
        let now = world.clock.now()
        let (plain, text) = try world.appPasswords.create("phone", of: alice.did, privileged: false, now: now)
        let (_, strong) = try world.appPasswords.create("chat", of: alice.did, privileged: true, now: now)
        #expect(text.count == 19 && AppPasswordStore.hasForm(text) && plain.name == "phone")
        #expect(throws: AppPasswordError.nameTaken) {
            _ = try world.appPasswords.create("phone", of: alice.did, privileged: true, now: now)
        }
        for name in [Bytes(), Bytes([UInt8](repeating: 0x61, count: 257))] {
            #expect(throws: AppPasswordError.invalidName) {
                _ = try world.appPasswords.create(name, of: alice.did, privileged: true, now: now)
            }
        }
        let session = try world.sessions.create(identifier: alice.did.bytes, password: text)
        #expect(session.scope == .appPassword)
        #expect(
            try world.sessions.create(identifier: alice.did.bytes, password: strong).scope == .privilegedAppPassword)
        // Another account's app password is nothing here.
        #expect(throws: SessionError.wrongCredentials) {
            _ = try world.sessions.create(identifier: bob.did.bytes, password: text)
        }
        let id = try world.tokens.readRefresh(session.refreshToken, now: now).id
        let next = try world.sessions.refresh(id: id, of: alice.did)
        #expect(next.scope == .appPassword)
        try world.appPasswords.revoke("phone", of: alice.did)
        try world.appPasswords.revoke("never there", of: alice.did)
        #expect(try world.appPasswords.list(of: alice.did).map(\.name) == ["chat"])
        let nextID = try world.tokens.readRefresh(next.refreshToken, now: now).id
        for id in [id, nextID] {
            #expect(throws: SessionError.revoked) { _ = try world.sessions.refresh(id: id, of: alice.did) }
        }
        #expect(throws: SessionError.wrongCredentials) {
            _ = try world.sessions.create(identifier: alice.did.bytes, password: text)
        }
    }

    @Test(arguments: Engine.all) func aPasswordWithTheFormOfAnAppPasswordStillSignsIn(_ engine: Engine) throws {
        let world = try World(engine)
        try world.makeAccount("alice", password: "abcd-efgh-2345-67ab")
        let session = try world.sessions.create(identifier: "alice.home.test", password: "abcd-efgh-2345-67ab")
        #expect(session.scope == .full)
    }

    @Test(arguments: Engine.all) func takenDownAccounts(_ engine: Engine) throws {
        let world = try World(engine)
        let alice = try world.makeAccount("alice")
        let (_, text) = try world.appPasswords.create(
            "phone", of: alice.did, privileged: false, now: world.clock.now())
        let before = try world.sessions.begin(alice)
        let id = try world.tokens.readRefresh(before.refreshToken, now: world.clock.now()).id
        try world.test.write { try AccountStore.setTakedown(world.clock.now(), of: alice.did, in: $0) }
        #expect(throws: SessionError.takenDown) {
            _ = try world.sessions.create(identifier: alice.did.bytes, password: "correct horse")
        }
        #expect(throws: SessionError.wrongCredentials) {
            _ = try world.sessions.create(identifier: alice.did.bytes, password: "wrong")
        }
        #expect(throws: SessionError.takenDown) {
            _ = try world.sessions.create(identifier: alice.did.bytes, password: text, allowTakenDown: true)
        }
        #expect(throws: SessionError.takenDown) { _ = try world.sessions.refresh(id: id, of: alice.did) }
        let session = try world.sessions.create(
            identifier: alice.did.bytes, password: "correct horse", allowTakenDown: true)
        #expect(session.scope == .takenDown)
        let leaving = try world.tokens.readRefresh(session.refreshToken, now: world.clock.now()).id
        try world.test.write { try AccountStore.setTakedown(nil, of: alice.did, in: $0) }
        // The refresh token of such a session was never stored.
        #expect(throws: SessionError.revoked) { _ = try world.sessions.refresh(id: leaving, of: alice.did) }
    }
}
