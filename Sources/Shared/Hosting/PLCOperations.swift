public import ATProto
public import Accounts
public import Base
internal import Crypto
public import Identity
internal import Repos
internal import Storage

/// What of an identity is to be other than it is: nil stays.
public struct PLCChange: Sendable {
    public var rotationKeys: [Bytes]?
    public var alsoKnownAs: [Bytes]?
    public var verificationMethods: [PLCOperation.Method]?
    public var services: [PLCOperation.Service]?

    public init(
        rotationKeys: [Bytes]? = nil, alsoKnownAs: [Bytes]? = nil, verificationMethods: [PLCOperation.Method]? = nil,
        services: [PLCOperation.Service]? = nil
    ) {
        self.rotationKeys = rotationKeys
        self.alsoKnownAs = alsoKnownAs
        self.verificationMethods = verificationMethods
        self.services = services
    }
}

extension AccountLife {
    /// Signs the operation that would make `change` to the identity of the account that `token` was mailed to, and uses
    /// the token up. Submits nothing: the owner takes the operation where it is to go.
    ///
    /// It is built here from the directory's newest operation, asked now, so nothing is signed that this server did not
    /// make. Throws `IdentityError`, such as `tombstoned`, and `AccountTokenError`.
    public func signOperation(_ change: PLCChange, token: AccountTokenStore.Checked) throws -> SignedPLCOperation {
        let did = token.account
        guard did.method == "plc" else { throw IdentityError.unsupportedDID(did) }
        let last = try directory.last(of: did)
        guard var operation = PLCOperation(last.value) else { throw IdentityError.notFound(did) }
        if let keys = change.rotationKeys { operation.rotationKeys = keys }
        if let aliases = change.alsoKnownAs { operation.alsoKnownAs = aliases }
        if let methods = change.verificationMethods { operation.verificationMethods = methods }
        if let services = change.services { operation.services = services }
        operation.previous = Bytes(last.cid.text)
        let signed = try operation.signed(by: settings.rotationKey)
        try stores.database.write { try token.use(in: $0) }
        return signed
    }

    /// Submits an operation of the account's identity, if it leaves the account here, and tells the network. One that
    /// is the directory's newest already counts as taken, so that it can be submitted again. Throws
    /// `HostingError.unfitOperation` for one that does not leave the account here or that the directory refuses.
    public func submit(_ value: Value, for account: Account) throws {
        guard let signed = SignedPLCOperation(signed: value), let operation = PLCOperation(value) else {
            throw HostingError.unfitOperation(.notSigned)
        }
        try check(operation, of: account)
        try pass(signed, of: account.did)
        try resolver.forget(account.did)
        try stores.database.write { writer in
            try stores.events.appendIdentity(account.did, handle: account.handle, in: writer)
        }
    }

    private func pass(_ operation: SignedPLCOperation, of did: DID) throws {
        do throws(IdentityError) {
            try directory.submit(operation, for: did)
        } catch {
            // 4xx is the operation's fault, and so the caller's; all else is the directory's.
            if case .directoryRefused(let status) = error, (400..<500).contains(status) {
                // Who has not seen an answer sends the operation again. The directory takes none twice, but the rest of
                // `submit` may never have been done. When it can't be asked, its refusal stands.
                if (try? directory.last(of: did)) == operation { return }
                throw HostingError.unfitOperation(.refused)
            }
            throw error
        }
    }

    private func check(_ operation: PLCOperation, of account: Account) throws {
        if let fault = try faults(of: operation, account).first { throw HostingError.unfitOperation(fault) }
    }

    /// What of an operation would take the account away from here, in the order in which the reference looks
    /// (specs/pds.md §7 row 90).
    private func faults(of operation: PLCOperation, _ account: Account) throws -> [HostingError.OperationFault] {
        var faults: [HostingError.OperationFault] = []
        if !operation.rotationKeys.contains(settings.rotationKey.publicKey.didKey) { faults.append(.rotationKey) }
        let wanted = try recommended(for: account)
        let service = operation.services.first { $0.id == wanted.services.first?.id }
        if service?.type != wanted.services.first?.type { faults.append(.serviceType) }
        if service?.endpoint != settings.publicURL { faults.append(.serviceEndpoint) }
        let method = operation.verificationMethods.first { $0.id == wanted.verificationMethods.first?.id }
        if method?.didKey != wanted.verificationMethods.first?.didKey { faults.append(.signingKey) }
        if account.handle != nil, operation.alsoKnownAs.first != wanted.alsoKnownAs.first { faults.append(.handle) }
        return faults
    }

    // MARK: The operator's

    /// What the directory has for an account's identity, asked now, and what of it is not as this server needs it.
    /// Throws `IdentityError`, such as `unsupportedDID` for one that no directory has.
    public func inspectIdentity(
        of account: Account
    ) throws -> (operation: PLCOperation, faults: [HostingError.OperationFault]) {
        guard account.did.method == "plc" else { throw IdentityError.unsupportedDID(account.did) }
        let last = try directory.last(of: account.did)
        guard let operation = PLCOperation(last.value) else { throw IdentityError.notFound(account.did) }
        return (operation, try faults(of: operation, account))
    }

    /// Makes an account's identity name this server, the account's signing key and its handle, leaves all else in it as
    /// it is, and tells the network. Throws as `inspectIdentity`, and `HostingError.unfitOperation(.rotationKey)` for
    /// an identity that this server may not change any more.
    func repairIdentity(of did: DID, also note: (any Writer) throws -> Void) throws {
        guard let account = try stores.accounts.find(did) else { throw AccountError.notFound }
        if try inspectIdentity(of: account).faults.contains(.rotationKey) {
            throw HostingError.unfitOperation(.rotationKey)
        }
        let wanted = try recommended(for: account)
        try directory.update(did, signedBy: settings.rotationKey) { operation in
            for method in wanted.verificationMethods {
                operation.verificationMethods.removeAll { $0.id == method.id }
                operation.verificationMethods.append(method)
            }
            for service in wanted.services {
                operation.services.removeAll { $0.id == service.id }
                operation.services.append(service)
            }
            if let handle = account.handle {
                // The first alias is the handle that counts; one of another handle in its place goes.
                operation.alsoKnownAs.removeAll { $0 == "at://" + handle.bytes }
                operation.setHandle(handle)
            }
        }
        try stores.database.write { writer in
            try stores.events.appendIdentity(did, handle: account.handle, in: writer)
            try Resolver.forget(did, in: writer)
            try note(writer)
        }
    }
}
