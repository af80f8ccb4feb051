/// Why a cryptographic operation was not done. Says nothing about the bytes: they may be secret or hostile.
public enum CryptoError: Error, Sendable, Equatable {
    /// Private key bytes of the wrong count, zero, or not below the order of the curve.
    case invalidPrivateKey
    /// A public key that does not parse or is no point of its curve.
    case invalidPublicKey
    /// A symmetric key of the wrong count.
    case invalidSymmetricKey
    /// Sealed bytes that are cut, changed, of an unknown version, or sealed under another key or context.
    case notAuthentic
    /// A stored password hash that is not of the form `salt:hash`.
    case invalidPasswordHash
    /// The library refused, which means no memory or a broken installation.
    case libraryFailure
}
