public import ATProto
public import Accounts
public import Base
public import Crypto
public import Identity
public import Repos
public import Storage

/// How accounts come to be, sleep, wake, change their name and go: where the account, its identity and its repository
/// change together.
///
/// The network is always asked before or after the one transaction that changes the database, never inside of it.
public struct AccountLife: Sendable {
    /// What the operator has said about accounts.
    public struct Settings: Sendable {
        /// Where this server is, as DID documents name it: `https://home.example`.
        public var publicURL: Bytes
        public var inviteCodeRequired: Bool
        /// Signs the operations of the did:plc identities that begin here.
        public var rotationKey: SigningKey

        public init(publicURL: Bytes, inviteCodeRequired: Bool, rotationKey: SigningKey) {
            self.publicURL = publicURL
            self.inviteCodeRequired = inviteCodeRequired
            self.rotationKey = rotationKey
        }
    }

    /// The stores that an account's life touches.
    public struct Stores: Sendable {
        public var database: any Database
        public var accounts: AccountStore
        public var invites: InviteStore
        public var keys: KeyStore
        public var repos: RepoStore
        public var events: EventStore
        public var blobs: BlobStore

        public init(
            database: any Database, accounts: AccountStore, invites: InviteStore, keys: KeyStore, repos: RepoStore,
            events: EventStore, blobs: BlobStore
        ) {
            self.database = database
            self.accounts = accounts
            self.invites = invites
            self.keys = keys
            self.repos = repos
            self.events = events
            self.blobs = blobs
        }
    }

    /// An account that was moved here and not activated is deleted after three days, as the reference says.
    public static let movedInSeconds: Int64 = 259_200

    let stores: Stores
    let directory: PLCDirectory
    let resolver: Resolver
    let policy: HandlePolicy
    public let settings: Settings
    let clock: Clock
    let entropy: Entropy
    let log: Log

    public init(
        stores: Stores, directory: PLCDirectory, resolver: Resolver, policy: HandlePolicy, settings: Settings,
        clock: Clock, entropy: Entropy, log: Log
    ) {
        self.stores = stores
        self.directory = directory
        self.resolver = resolver
        self.policy = policy
        self.settings = settings
        self.clock = clock
        self.entropy = entropy
        self.log = log
    }

    // MARK: Sleeping and waking

    /// Makes the account active again and tells the network. Throws unless its DID document points here.
    /// `also`, here and below, runs in the transaction of the change.
    public func activate(_ did: DID, also: (any Writer) throws -> Void = { _ in }) throws {
        guard let account = try stores.accounts.find(did) else { throw AccountError.notFound }
        try checkPointsHere(did)
        try stores.database.write { writer in
            try AccountStore.activate(did, in: writer)
            try also(writer)
            let status = try AccountStore.find(did, in: writer)?.state.repoStatus ?? .deleted
            try stores.repos.setStatus(status, of: did, in: writer)
            try stores.events.appendAccount(did, status, in: writer)
            guard status == .active else { return }
            try stores.events.appendIdentity(did, handle: account.handle, in: writer)
            // Consumers know nothing of the repository, or something old: this is where it stands.
            let (info, block) = try stores.repos.current(of: did, in: writer)
            try stores.events.appendSync(did, commit: info, block: block, in: writer)
        }
    }

    /// Takes the account from the network until it is activated. `deleteAfter` is when its owner wants it gone.
    public func deactivate(
        _ did: DID, deleteAfter: Timestamp? = nil, also: (any Writer) throws -> Void = { _ in }
    ) throws {
        try stores.database.write { writer in
            try also(writer)
            try AccountStore.deactivate(did, at: clock.now(), deleteAfter: deleteAfter, in: writer)
            let status = try AccountStore.find(did, in: writer)?.state.repoStatus ?? .deleted
            try stores.repos.setStatus(status, of: did, in: writer)
            try stores.events.appendAccount(did, status, in: writer)
        }
    }

    /// Takes the account down and ends its sessions, or lifts that.
    public func setTakedown(
        _ isTakenDown: Bool, of did: DID, reference: Bytes? = nil, also: (any Writer) throws -> Void = { _ in }
    ) throws {
        try changeState(of: did) { writer in
            try AccountStore.setTakedown(isTakenDown ? clock.now() : nil, of: did, reference: reference, in: writer)
            if isTakenDown { try SessionStore.revokeAll(of: did, in: writer) }
            try also(writer)
        }
    }

    /// Suspends the account, or lifts that. Its sessions wait.
    public func setSuspension(
        _ isSuspended: Bool, of did: DID, also: (any Writer) throws -> Void = { _ in }
    ) throws {
        try changeState(of: did) { writer in
            try AccountStore.setSuspension(isSuspended ? clock.now() : nil, of: did, in: writer)
            try also(writer)
        }
    }

    /// Changes what decides the account's state, and tells repository and network what the state is then.
    private func changeState(of did: DID, _ change: (any Writer) throws -> Void) throws {
        try stores.database.write { writer in
            try change(writer)
            let status = try AccountStore.find(did, in: writer)?.state.repoStatus ?? .deleted
            try stores.repos.setStatus(status, of: did, in: writer)
            try stores.events.appendAccount(did, status, in: writer)
        }
    }

    /// Deletes the account completely: see `AccountRemoval`. `token` is used up in the same transaction; the operator
    /// needs none. Throws `AccountError.notFound`, and `AccountTokenError` when the token was used meanwhile.
    public func delete(_ did: DID, token: AccountTokenStore.Checked) throws {
        try removal.delete(did, first: { try token.use(in: $0) })
        stores.keys.forget(did)
    }

    /// The same for the operator.
    public func delete(_ did: DID, also: (any Writer) throws -> Void = { _ in }) throws {
        try removal.delete(did, also: also)
        stores.keys.forget(did)
    }

    /// What deletes accounts, by this or by the worker.
    public var removal: AccountRemoval {
        AccountRemoval(
            database: stores.database, accounts: stores.accounts, repos: stores.repos, events: stores.events,
            blobs: stores.blobs)
    }

    // MARK: Keys

    /// Gives the account another signing key: `didKey`, one that was reserved here, or else one made now.
    ///
    /// The key is kept before the identity names it; repeated after a failure, the same one is taken up again. The
    /// network hears of the identity first, then of a commit that the new key signed.
    func rotateKey(
        of did: DID, to didKey: Bytes?, also: (any Writer, VerificationKey) throws -> Void
    ) throws -> VerificationKey {
        guard let account = try stores.accounts.find(did) else { throw AccountError.notFound }
        let key = try nextKey(of: did, didKey)
        let publicKey = key.publicKey
        if did.method == "plc" {
            try directory.update(did, signedBy: settings.rotationKey) { $0.setSigningKey(publicKey) }
        } else if !isServedHere(did) {
            let named = try? resolver.document(of: did, fresh: true).signingKey
            guard named == publicKey else { throw HostingError.notPointedHere(.signingKey) }
        }
        let sealed = try stores.keys.seal(key, for: did)
        try stores.database.write { writer in
            try KeyStore.replace(publicKey, sealed: sealed, of: did, in: writer)
            try stores.events.appendIdentity(did, handle: account.handle, in: writer)
            let info = try stores.repos.recommit(did, key: key, in: writer)
            if try stores.repos.status(of: did, in: writer) == .active {
                let (_, block) = try stores.repos.current(of: did, in: writer)
                try stores.events.appendSync(did, commit: info, block: block, in: writer)
            }
            try Resolver.forget(did, in: writer)
            try also(writer, publicKey)
        }
        stores.keys.forget(did)
        return publicKey
    }

    private func nextKey(of did: DID, _ didKey: Bytes?) throws -> SigningKey {
        if let didKey {
            guard let key = try stores.keys.reserved(didKey: didKey, for: did) else { throw HostingError.unknownKey }
            return key
        }
        if let key = try stores.keys.reserved(for: did) { return key }
        let key = try SigningKey.generate(.k256, entropy: entropy)
        try stores.keys.reserve(key, for: did, now: clock.now())
        return key
    }

    // MARK: Names

    /// Gives the account another handle: one of this server's that is free, or one of another domain that already
    /// names the account's DID. A did:plc identity is told first. An administrator may give out reserved names.
    public func changeHandle(
        _ handle: Handle, of did: DID, allowReserved: Bool = false, also: (any Writer) throws -> Void = { _ in }
    ) throws {
        guard try stores.accounts.find(did) != nil else { throw AccountError.notFound }
        if policy.domain(of: handle) != nil {
            try checkLocal(handle, allowReserved: allowReserved)
        } else {
            try policy.checkForeign(handle)
            guard (try? resolver.resolve(handle)) == did else { throw HostingError.handleElsewhere(handle) }
        }
        if let owner = try stores.accounts.find(handle) {
            guard owner.did == did else { throw AccountError.handleTaken(handle) }
        }
        if did.method == "plc" {
            try directory.update(did, signedBy: settings.rotationKey) { $0.setHandle(handle) }
        }
        try stores.database.write { writer in
            try AccountStore.setHandle(handle, of: did, in: writer)
            try stores.events.appendIdentity(did, handle: handle, in: writer)
            try also(writer)
        }
        try resolver.forget(did)
    }

    /// Throws unless `handle` may be given out here: neither the program nor the operator keeps it back.
    func checkLocal(_ handle: Handle, allowReserved: Bool = false) throws {
        try policy.checkLocal(handle, allowReserved: allowReserved)
        if try !allowReserved && stores.accounts.isReserved(handle) { throw HandleError.reservedWord }
    }

    /// Whether a newcomer could have `handle` now. Throws as signing up with it would.
    public func checkAvailable(_ handle: Handle) throws {
        try checkLocal(handle)
        try stores.accounts.checkFree(did: nil, handle: handle, email: nil)
    }

    // MARK: Documents

    /// What the DID document of `did` would have to say, in the directory's words.
    public func recommended(for account: Account) throws -> PLCOperation {
        PLCOperation(
            rotationKeys: [settings.rotationKey.publicKey], signingKey: try stores.keys.key(of: account.did).publicKey,
            handle: account.shownHandle, pds: settings.publicURL)
    }

    /// Throws unless the identity names this server, the account's signing key and, in the PLC directory, this
    /// server's rotation key, asking afresh.
    public func checkPointsHere(_ did: DID) throws {
        let key = try stores.keys.key(of: did).publicKey
        if did.method == "plc" {
            guard let operation = PLCOperation(try directory.last(of: did).value) else {
                throw IdentityError.notFound(did)
            }
            guard operation.rotationKeys.contains(settings.rotationKey.publicKey.didKey) else {
                throw HostingError.notPointedHere(.rotationKey)
            }
        }
        // A did:web of this server's own domain is served from these very rows.
        if isServedHere(did) { return }
        let document = try resolver.document(of: did, fresh: true)
        guard (try? document.pds) == settings.publicURL else { throw HostingError.notPointedHere(.service) }
        guard (try? document.signingKey) == key else { throw HostingError.notPointedHere(.signingKey) }
    }

    /// The keys that may have signed the account's commits, as far as they can be had: the one that it has here, and
    /// the one of its DID document, which on a move is still the old server's.
    public func signers(of did: DID) -> [VerificationKey] {
        let own = try? stores.keys.key(of: did).publicKey
        let document = try? resolver.document(of: did).signingKey
        return [own, document].compactMap(\.self)
    }

    /// Whether this server itself answers for the DID: a did:web whose host is under one of its handle domains.
    public func isServedHere(_ did: DID) -> Bool {
        guard did.method == "web", let host = Handle(did.methodSpecific) else { return false }
        return policy.domain(of: host) != nil
    }

    /// The DID document of an account of this server, made from its rows.
    public func document(of account: Account) throws -> Bytes {
        DIDDocument.json(
            of: account.did, handle: account.handle, signingKey: try stores.keys.key(of: account.did).publicKey,
            pds: settings.publicURL)
    }
}

extension AccountState {
    /// What sync says of a repository whose account is in this state.
    public var repoStatus: RepoStatus {
        switch self {
        case .active: .active
        case .deactivated: .deactivated
        case .suspended: .suspended
        case .takenDown: .takendown
        }
    }
}
