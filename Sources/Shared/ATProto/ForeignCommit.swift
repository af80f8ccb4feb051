public import Base
public import Crypto

/// The commit of a repository that another server wrote, version 2 or 3: what an import reads of it.
///
/// https://atproto.com/specs/repository (Commit Objects). Version 2 had no `rev`, and both have been written with a
/// `prev` that names the commit before.
public struct ForeignCommit: Sendable, Equatable {
    public let did: DID
    /// nil in version 2.
    public let rev: TID?
    /// The root of the MST.
    public let data: CID
    private let signature: Bytes
    private let unsigned: Value

    /// From the commit's block. Throws `CommitError`.
    public init(_ block: Bytes) throws(CommitError) {
        let value: Value
        do throws(CBORError) { value = try DAGCBOR.decode(block) } catch { throw .malformed(error.reason) }
        guard let entries = value.entries else { throw .malformed(.unexpectedType) }
        guard let version = value["version"]?.integer, version == 2 || version == 3 else {
            throw .invalidField(.version)
        }
        guard let did = value["did"]?.text.flatMap({ DID($0) }) else { throw .invalidField(.did) }
        guard let data = value["data"]?.link, data.codec == .dagCBOR else { throw .invalidField(.data) }
        if let prev = value["prev"], !prev.isNull, prev.link == nil { throw .invalidField(.prev) }
        guard let signature = value["sig"]?.bytes, signature.count == Commit.signatureSize else {
            throw .invalidField(.sig)
        }
        if let text = value["rev"] {
            guard let rev = text.text.flatMap({ TID($0) }) else { throw .invalidField(.rev) }
            self.rev = rev
        } else {
            guard version == 2 else { throw .invalidField(.rev) }
            rev = nil
        }
        self.did = did
        self.data = data
        self.signature = signature
        unsigned = .map(entries.filter { $0.key != "sig" })
    }

    /// Whether `key` made the signature over everything else that the commit holds.
    public func isSigned(by key: VerificationKey) -> Bool {
        key.verify(signature, of: SHA256.hash(DAGCBOR.encode(unsigned)))
    }
}
