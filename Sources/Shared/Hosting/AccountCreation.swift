public import ATProto
public import Accounts
public import Base
internal import Crypto
internal import Identity
internal import Repos
internal import Storage

/// What a person asks for who wants an account.
public struct AccountRequest: Sendable {
    public var handle: Handle
    public var email: Bytes?
    public var password: Bytes?
    public var inviteCode: Bytes?
    /// A DID that the person has already, or a did:web that this server is to serve.
    public var did: DID?
    /// Whether the caller showed a token that `did` signed.
    public var isProved: Bool
    /// A did:key of the person's own, stronger than the server's.
    public var recoveryKey: VerificationKeyText?

    /// The text of a did:key that was checked to be one.
    public struct VerificationKeyText: Sendable, Equatable {
        public let didKey: Bytes

        public init?(_ didKey: Bytes) {
            guard (try? VerificationKey(didKey: didKey)) != nil else { return nil }
            self.didKey = didKey
        }
    }

    public init(
        handle: Handle, email: Bytes?, password: Bytes?, inviteCode: Bytes? = nil, did: DID? = nil,
        isProved: Bool = false, recoveryKey: VerificationKeyText? = nil
    ) {
        self.handle = handle
        self.email = email
        self.password = password
        self.inviteCode = inviteCode
        self.did = did
        self.isProved = isProved
        self.recoveryKey = recoveryKey
    }
}

extension AccountLife {
    /// Makes an account: with a new did:plc, with a did:web of this server, or for a DID that moves in, which then
    /// begins deactivated.
    ///
    /// The signing key is kept before the directory is told, so that a crash in between loses no key; the account, its
    /// key, its repository and the events `#identity`, `#account`, `#commit` are one transaction.
    public func create(_ request: AccountRequest) throws -> Account { try create(request) { _, _ in } }

    /// The same; `also` runs in the transaction that makes the account.
    func create(_ request: AccountRequest, also: (any Writer, DID) throws -> Void) throws -> Account {
        let password = try check(request)
        let email = try request.email.map { address throws(AccountError) in try Email.parse(address) }
        try stores.accounts.checkFree(did: request.did, handle: request.handle, email: email)
        let hash = try Password.hash(password, entropy: entropy)
        let (did, key, isNew) = try identity(for: request)
        let now = clock.now()
        let movesIn = request.isProved
        let new = AccountStore.New(
            did: did, handle: request.handle, email: email, password: hash, createdAt: now,
            deactivatedAt: movesIn ? now : nil,
            deleteAfter: movesIn ? now.adding(seconds: Self.movedInSeconds) : nil, inviteCode: request.inviteCode)
        do {
            try store(new, key: key, status: movesIn ? .deactivated : .active) { try also($0, new.did) }
        } catch {
            // Another request took the name since it was checked. A directory entry stays behind, pointing nowhere.
            if isNew { log.warning("account.orphan", ["did": .bytes(did.bytes), "cause": .text("\(error)")]) }
            // On PostgreSQL another process's row may become visible only in the refusal: say which name it was.
            if case StorageError.constraint = error {
                try stores.accounts.checkFree(did: did, handle: request.handle, email: email)
            }
            throw error
        }
        guard let account = try stores.accounts.find(did) else { throw AccountError.notFound }
        if isNew { try resolver.store(try document(of: account), of: did) }
        return account
    }

    /// What can be refused without asking anyone, cheapest first.
    private func check(_ request: AccountRequest) throws -> Bytes {
        guard request.email != nil else { throw HostingError.emailRequired }
        guard let password = request.password else { throw HostingError.passwordRequired }
        try AccountStore.checkPassword(password)
        if let did = request.did, !request.isProved, did != webDID(of: request.handle) {
            throw HostingError.unproved(did)
        }
        if policy.domain(of: request.handle) != nil {
            try checkLocal(request.handle)
        } else {
            try policy.checkForeign(request.handle)
            // A handle of another domain is the account's if it names the DID that moves in.
            guard let did = request.did, (try? resolver.resolve(request.handle)) == did else {
                throw HostingError.unsupportedDomain(request.handle)
            }
        }
        if settings.inviteCodeRequired {
            guard let code = request.inviteCode else { throw HostingError.inviteRequired }
            try stores.invites.check(code)
        }
        return password
    }

    /// `did:web:<handle>`, the only did:web that this server serves for a handle of its own.
    private func webDID(of handle: Handle) -> DID? {
        policy.domain(of: handle) == nil ? nil : DID("did:web:" + handle.bytes)
    }

    /// The DID and its signing key, kept under a reservation; `isNew` when the directory was just told.
    private func identity(for request: AccountRequest) throws -> (DID, SigningKey, isNew: Bool) {
        if let did = request.did {
            if request.isProved {
                // That it can be resolved is asked now, what it says when it is activated.
                guard (try? resolver.document(of: did)) != nil else { throw HostingError.unresolvable(did) }
            }
            if let key = try stores.keys.reserved(for: did) { return (did, key, false) }
            let key = try SigningKey.generate(.k256, entropy: entropy)
            return (did, key, false)
        }
        let key = try SigningKey.generate(.k256, entropy: entropy)
        var operation = PLCOperation(
            rotationKeys: [settings.rotationKey.publicKey], signingKey: key.publicKey, handle: request.handle,
            pds: settings.publicURL)
        if let recoveryKey = request.recoveryKey { operation.rotationKeys.insert(recoveryKey.didKey, at: 0) }
        let signed = try operation.signed(by: settings.rotationKey)
        guard let did = signed.did else { throw IdentityError.invalidDocument(.wrongID) }
        try stores.keys.reserve(key, for: did, now: clock.now())
        do {
            try directory.submit(signed, for: did)
        } catch IdentityError.directoryRefused(let status) {
            // Refused is refused; after silence the directory may know the DID, and the key stays.
            try stores.keys.release(key.publicKey)
            throw IdentityError.directoryRefused(status: status)
        }
        return (did, key, true)
    }

    private func store(
        _ new: AccountStore.New, key: SigningKey, status: RepoStatus, also: (any Writer) throws -> Void
    ) throws {
        let sealed = try stores.keys.seal(key, for: new.did)
        try stores.database.write { writer in
            try AccountStore.insert(new, in: writer)
            try KeyStore.insert(key.publicKey, sealed: sealed, of: new.did, in: writer)
            if settings.inviteCodeRequired, let code = new.inviteCode {
                try InviteStore.use(code, by: new.did, now: new.createdAt, in: writer)
            }
            if status == .active {
                try stores.events.appendIdentity(new.did, handle: new.handle, in: writer)
                try stores.events.appendAccount(new.did, .active, in: writer)
            }
            try stores.repos.create(new.did, status: status, key: key, in: writer)
            try also(writer)
        }
    }
}
