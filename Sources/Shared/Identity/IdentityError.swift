public import ATProto

/// Why an identity can't be known or changed.
public enum IdentityError: Error, Equatable, Sendable {
    /// A DID of another method than `plc` and `web`, or not of its method's grammar.
    case unsupportedDID(DID)
    /// The directory or the host says that there is none, or that it is gone.
    case notFound(DID)
    case handleNotFound(Handle)
    /// Its owner has given the identity up, for good.
    case tombstoned(DID)
    /// Nothing answered, or not in time. Another try may work.
    case unreachable
    /// What came is no DID document of this DID. The word says what is wrong with it.
    case invalidDocument(DocumentFault)
    /// The directory refused an operation, with this status.
    case directoryRefused(status: Int)
}

/// What is wrong with a DID document.
public enum DocumentFault: Error, Equatable, Sendable, CaseIterable {
    case notJSON, wrongID, noSigningKey, invalidSigningKey, noService, invalidService

    /// Continues the sentence "The DID document …".
    public var words: String {
        switch self {
        case .notJSON: "is not a JSON object"
        case .wrongID: "is of another DID"
        case .noSigningKey: "has no #atproto verification method"
        case .invalidSigningKey: "has an #atproto verification method that is no P-256 or K-256 key"
        case .noService: "has no #atproto_pds service"
        case .invalidService: "has an #atproto_pds service that is no plain https origin"
        }
    }
}
