public import ATProto

/// Why an account's life can't go that way.
public enum HostingError: Error, Equatable, Sendable {
    case emailRequired, passwordRequired, inviteRequired
    /// The handle is not under a domain of this server and does not belong to the account's own DID.
    case unsupportedDomain(Handle)
    /// A DID that the caller has not proved to be theirs.
    case unproved(DID)
    /// The DID's document could not be had.
    case unresolvable(DID)
    /// A handle of another domain that does not name the account's DID.
    case handleElsewhere(Handle)
    /// A signing key that this server has not reserved, or for another account.
    case unknownKey
    /// The DID document does not say that the account is here.
    case notPointedHere(Mismatch)
    /// There is no address to mail to.
    case noEmail
    /// The address is not the account's.
    case otherEmail
    /// The address is confirmed, so changing it needs a code that was mailed there.
    case tokenRequired
    /// Codes at sign-in go to a confirmed address only.
    case emailNotConfirmed
    /// An operation that would take the identity away from this server, or isn't one.
    case unfitOperation(OperationFault)

    /// What a DID document would have to say for an account to be active here.
    public enum Mismatch: Error, Equatable, Sendable, CaseIterable {
        case service, signingKey, rotationKey
    }

    /// What is wrong with an operation of the PLC directory that is to be submitted through this server.
    public enum OperationFault: Error, Equatable, Sendable, CaseIterable {
        case notSigned, rotationKey, serviceType, serviceEndpoint, signingKey, handle
        /// The directory would not take it.
        case refused
    }
}
