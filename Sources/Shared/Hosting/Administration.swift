public import ATProto
public import Accounts
public import Base
public import Crypto
internal import Identity
internal import Mail
public import Moderation
internal import Repos
internal import Storage

/// What administrators and moderators do, by whichever door they come: each act with its line in the log, in one
/// transaction.
public struct Administration: Sendable {
    private let life: AccountLife
    private let mail: AccountMail
    private let log: AdminLog
    private let takedowns: TakedownStore

    public init(life: AccountLife, mail: AccountMail, log: AdminLog) {
        self.life = life
        self.mail = mail
        self.log = log
        takedowns = TakedownStore(database: life.stores.database)
    }

    private var stores: AccountLife.Stores { life.stores }

    // MARK: Moderation

    /// Takes an account, a record or a blob down, or lifts that. `reference` is what the moderation service calls its
    /// decision, `reason` the operator's words for the log.
    ///
    /// Throws `AccountError.notFound`, `RepoError.repoNotFound`, and `recordNotFound` or `blobNotFound` for what there
    /// is not to take down.
    public func setTakedown(
        _ isTakenDown: Bool, of subject: Subject, reference: Bytes? = nil, reason: Bytes? = nil, by actor: Actor
    ) throws {
        let now = life.clock.now()
        let moment = isTakenDown ? now : nil
        func note(_ writer: any Writer) throws {
            try LabelStore.set(isTakenDown, on: subject, now: now, in: writer)
            try log.note(
                isTakenDown ? .takedown : .liftTakedown, subject.words, by: actor, detail: reason ?? reference,
                in: writer)
        }
        switch subject {
        case .account(let did):
            try life.setTakedown(isTakenDown, of: did, reference: reference, also: note)
        case .record(let did, let path, let cid):
            let current = try takedowns.current(path, of: did)
            guard !isTakenDown || current != nil else { throw RepoError.recordNotFound(path.bytes) }
            try stores.database.write { writer in
                try TakedownStore.set(
                    moment, on: path, of: did, cid: cid ?? current, reference: reference, in: writer)
                try note(writer)
            }
        case .blob(let did, let cid):
            guard try stores.accounts.find(did) != nil else { throw AccountError.notFound }
            guard try !isTakenDown || stores.blobs.isKnown(cid, of: did) else { throw RepoError.blobNotFound(cid) }
            try stores.database.write { writer in
                try TakedownStore.set(moment, on: cid, of: did, reference: reference, in: writer)
                try note(writer)
            }
        }
    }

    /// Suspends an account, for a time: as a takedown, but sessions go on once it is lifted. Throws `notFound`.
    public func setSuspension(_ isSuspended: Bool, of did: DID, reason: Bytes? = nil, by actor: Actor) throws {
        try life.setSuspension(isSuspended, of: did) { writer in
            try log.note(isSuspended ? .suspend : .unsuspend, did.bytes, by: actor, detail: reason, in: writer)
        }
    }

    /// Deactivates an account, or activates it, which throws unless its DID document points here.
    public func setDeactivated(_ isDeactivated: Bool, of did: DID, reason: Bytes? = nil, by actor: Actor) throws {
        func note(_ writer: any Writer) throws {
            try log.note(isDeactivated ? .deactivate : .activate, did.bytes, by: actor, detail: reason, in: writer)
        }
        if isDeactivated {
            try life.deactivate(did, also: note)
        } else {
            try life.activate(did, also: note)
        }
    }

    /// Deletes an account. Throws `notFound`.
    public func delete(_ did: DID, reason: Bytes? = nil, by actor: Actor) throws {
        try life.delete(did) { try log.note(.delete, did.bytes, by: actor, detail: reason, in: $0) }
    }

    /// Closes a report. Throws `ModerationError.reportNotFound`.
    public func closeReport(_ id: Int, note: Bytes? = nil, by actor: Actor) throws {
        try stores.database.write { writer in
            try ReportStore.close(id, by: actor, note: note, now: life.clock.now(), in: writer)
            try log.note(.closeReport, "report " + Bytes(String(id)), by: actor, detail: note, in: writer)
        }
    }

    /// Queues a mail to an account, whatever its state. `sender` is who wrote it, by the DID that the actor names, and
    /// `comment` is for the log alone. Throws `AccountError.notFound` and `HostingError.noEmail`.
    public func sendMail(
        _ content: Bytes, subject: MailHeaderText? = nil, to account: Account, from sender: DID, comment: Bytes? = nil,
        by actor: Actor
    ) throws {
        // A host makes a line of text.
        guard let subject = subject ?? mail.subject else { throw HostingError.noEmail }
        let message = try mail.message(content, subject: subject, to: account)
        let detail = sender.bytes + ": " + subject.bytes + (comment.map { " (" + $0 + ")" } ?? "")
        try stores.database.write { writer in
            // What is deleted meanwhile must not be written to: its mail went with it.
            guard try AccountStore.find(account.did, in: writer) != nil else { throw AccountError.notFound }
            try MailQueue.add(message, now: life.clock.now(), in: writer)
            try log.note(.sendMail, account.did.bytes, by: actor, detail: detail, in: writer)
        }
    }

    // MARK: Accounts

    /// Makes an account. Throws as `AccountLife.create`.
    public func createAccount(_ request: AccountRequest, by actor: Actor) throws -> Account {
        try life.create(request) { writer, did in try log.note(.create, did.bytes, by: actor, in: writer) }
    }

    /// Gives an account another handle, reserved ones too. Throws as `AccountLife.changeHandle`.
    public func setHandle(_ handle: Handle, of did: DID, by actor: Actor) throws {
        try life.changeHandle(handle, of: did, allowReserved: true) { writer in
            try log.note(.setHandle, did.bytes, by: actor, detail: handle.bytes, in: writer)
        }
    }

    /// Gives an account another e-mail address, unconfirmed. Throws `AccountError`.
    public func setEmail(_ email: Bytes, of did: DID, by actor: Actor) throws {
        let email = try Email.parse(email)
        try stores.database.write { writer in
            try AccountStore.setEmail(email, of: did, in: writer)
            try log.note(.setEmail, did.bytes, by: actor, in: writer)
        }
    }

    /// Gives an account another password and ends its sessions. Throws `AccountError`.
    public func setPassword(_ password: Bytes, of did: DID, by actor: Actor) throws {
        try AccountStore.checkPassword(password)
        guard try stores.accounts.find(did) != nil else { throw AccountError.notFound }
        let hash = try Password.hash(password, entropy: life.entropy)
        try stores.database.write { writer in
            try AccountStore.setPassword(hash, of: did, in: writer)
            try log.note(.setPassword, did.bytes, by: actor, in: writer)
        }
    }

    /// Ends every session of an account and takes its passwords back. Throws `notFound`.
    public func revokeCredentials(of did: DID, by actor: Actor) throws {
        let unmatchable = try Password.unmatchable(entropy: life.entropy)
        try stores.database.write { writer in
            try AccountStore.revokeCredentials(of: did, unmatchable: unmatchable, in: writer)
            try log.note(.revokeCredentials, did.bytes, by: actor, in: writer)
        }
    }

    /// Gives an account another signing key: `didKey`, one that this server has reserved, or a new one without it.
    ///
    /// The key is kept before the directory is told, and taken up again when this is repeated after a failure. Throws
    /// `HostingError.unknownKey`, and `notPointedHere` for an identity of elsewhere that does not name the key yet.
    @discardableResult
    public func rotateKey(of did: DID, to didKey: Bytes? = nil, by actor: Actor) throws -> VerificationKey {
        try life.rotateKey(of: did, to: didKey) { writer, key in
            try log.note(.rotateKey, did.bytes, by: actor, detail: key.didKey, in: writer)
        }
    }

    /// Makes a did:plc identity name this server, the account's key and its handle again. Throws as
    /// `AccountLife.inspectIdentity`, and `HostingError.unfitOperation(.rotationKey)`.
    public func repairIdentity(of did: DID, by actor: Actor) throws {
        try life.repairIdentity(of: did) { try log.note(.repairIdentity, did.bytes, by: actor, in: $0) }
    }

    // MARK: Invites and names

    /// Makes `count` invite codes for each of `accounts`, or of nobody in particular when there are none.
    public func createInvites(
        count: Int, usesMax: Int, for accounts: [DID], by actor: Actor
    ) throws -> [(account: Bytes, codes: [Bytes])] {
        let owners = accounts.isEmpty ? [Actor.admin.words] : accounts.map(\.bytes)
        let creator: Bytes = Actor.admin.words
        return try stores.invites.create(
            count: count, usesMax: usesMax, for: owners, by: creator, now: life.clock.now()
        ) { writer in
            for owner in owners {
                let detail = Bytes("\(count) codes for \(usesMax) accounts each")
                try log.note(.createInvites, owner, by: actor, detail: detail, in: writer)
            }
        }
    }

    /// Takes codes, and all codes of accounts, out of use.
    public func disableInvites(codes: [Bytes], accounts: [Bytes], by actor: Actor) throws {
        try stores.database.write { writer in
            try InviteStore.disable(codes: codes, in: writer)
            try InviteStore.disable(codesOf: accounts, in: writer)
            for subject in codes + accounts { try log.note(.disableInvites, subject, by: actor, in: writer) }
        }
    }

    /// Whether an account may be given invite codes. Throws `notFound`.
    public func setInvites(disabled isDisabled: Bool, note: Bytes?, of did: DID, by actor: Actor) throws {
        try stores.database.write { writer in
            try AccountStore.setInvites(disabled: isDisabled, note: note, of: did, in: writer)
            try log.note(isDisabled ? .forbidInvites : .allowInvites, did.bytes, by: actor, detail: note, in: writer)
        }
    }

    /// Reserves a whole handle or the first label of handles here.
    public func reserveHandle(_ name: Bytes, by actor: Actor) throws {
        try stores.database.write { writer in
            try AccountStore.reserve(name: name, now: life.clock.now(), in: writer)
            try log.note(.reserveHandle, name, by: actor, in: writer)
        }
    }
}
