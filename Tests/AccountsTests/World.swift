import ATProto
import Accounts
import Base
import Crypto
import Storage
import TestSupport

/// The stores over a fresh database, with a clock that tests move and seeded randomness.
struct World {
    let test: TestDatabase
    let moment: Guarded<Timestamp>
    let clock: Clock
    let entropy: Entropy
    let tokens: SessionTokens
    let accounts: AccountStore
    let sessions: SessionStore
    let appPasswords: AppPasswordStore
    let invites: InviteStore
    let preferences: PreferenceStore
    let keys: KeyStore
    let codes: AccountTokenStore

    static let service = DID("did:web:home.test")!
    static let tokenKey = Secret([UInt8](repeating: 7, count: 32))
    static let start = Timestamp(seconds: 1_750_000_000)

    init(_ engine: Engine) throws {
        test = try engine.migrated()
        let moment = Guarded(Self.start)
        self.moment = moment
        clock = Clock { moment.withLock { $0 } }
        entropy = .seeded(1)
        tokens = SessionTokens(key: Self.tokenKey, service: Self.service)
        let database = test.database
        accounts = AccountStore(database: database)
        sessions = try SessionStore(database: database, tokens: tokens, clock: clock, entropy: entropy)
        appPasswords = AppPasswordStore(database: database, entropy: entropy)
        invites = InviteStore(database: database, host: "home.test", entropy: entropy)
        preferences = PreferenceStore(database: database)
        keys = KeyStore(
            database: database, sealer: try Sealer(key: Secret([UInt8](repeating: 9, count: 32))), entropy: entropy)
        codes = AccountTokenStore(
            database: database, key: Secret([UInt8](repeating: 4, count: 32)),
            sealer: try Sealer(key: Secret([UInt8](repeating: 3, count: 32))), entropy: entropy)
    }

    func advance(_ seconds: Int64) { moment.withLock { $0 = $0.adding(seconds: seconds) } }

    @discardableResult
    func makeAccount(
        _ name: String, password: String = "correct horse", email: String? = nil
    ) throws -> Account {
        let did = DID("did:web:\(name).home.test")!
        let new = AccountStore.New(
            did: did, handle: Handle("\(name).home.test")!, email: email.map { Bytes($0) },
            password: try Password.hash(Bytes(password), entropy: entropy), createdAt: clock.now())
        try test.write { try AccountStore.insert(new, in: $0) }
        return try accounts.find(did)!
    }
}
