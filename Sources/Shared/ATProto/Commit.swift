public import Base
public import Crypto

/// Why a block is not a commit of version 3, or not one of the expected account.
public enum CommitError: Error, Equatable, Sendable {
    case malformed(CBORError.Reason)
    /// The named field is missing, unknown, or not what version 3 says.
    case invalidField(Field)
    case invalidSignature

    public enum Field: Sendable, Equatable { case did, rev, sig, data, prev, version }
}

/// A signed commit of a repository, version 3. https://atproto.com/specs/repository (Commit Objects)
public struct Commit: Sendable, Equatable {
    public let did: DID
    public let rev: TID
    /// The root of the MST.
    public let data: CID
    /// 64 bytes, r ‖ s.
    public let signature: Bytes

    /// The length of a signature, in bytes.
    public static let signatureSize = 64

    public init(did: DID, rev: TID, data: CID, signature: Bytes) {
        self.did = did
        self.rev = rev
        self.data = data
        self.signature = signature
    }

    /// A new commit, signed with `key`.
    public init(did: DID, rev: TID, data: CID, signedBy key: SigningKey) throws(CryptoError) {
        let unsigned = Self.unsigned(did: did, rev: rev, data: data)
        self.init(did: did, rev: rev, data: data, signature: Bytes(try key.sign(SHA256.hash(unsigned))))
    }

    /// The bytes that are signed: the commit without `sig`.
    public static func unsigned(did: DID, rev: TID, data: CID) -> [UInt8] {
        encode(did: did, rev: rev, data: data, signature: nil)
    }

    /// The commit's block.
    public func encoded() -> [UInt8] { Self.encode(did: did, rev: rev, data: data, signature: signature) }

    private static func encode(did: DID, rev: TID, data: CID, signature: Bytes?) -> [UInt8] {
        var out = CBORWriter(capacity: 256)
        out.map(signature == nil ? 5 : 6)
        out.key("did")
        out.text(did.bytes)
        out.key("rev")
        out.text(rev.bytes)
        if let signature {
            out.key("sig")
            out.bytes(signature)
        }
        out.key("data")
        out.link(data)
        out.key("prev")
        out.null()
        out.key("version")
        out.integer(3)
        return out.out
    }

    /// Whether `key` made the signature (low-S, as the cryptography specification asks).
    public func isSigned(by key: VerificationKey) -> Bool {
        key.verify(signature, of: SHA256.hash(Self.unsigned(did: did, rev: rev, data: data)))
    }

    /// Throws `CommitError` unless this is a commit of `did`, signed by `key`.
    public func verify(did wanted: DID, key: VerificationKey) throws(CommitError) {
        guard did == wanted else { throw .invalidField(.did) }
        guard isSigned(by: key) else { throw .invalidSignature }
    }

    /// A commit from its block: exactly the six fields of version 3, nothing else.
    public static func decode(_ block: UnsafeRawBufferPointer) throws(CommitError) -> Commit {
        var reader = CBORReader(block)
        let fields: Fields
        do {
            fields = try Fields(&reader)
        } catch let error as CBORError {
            throw .malformed(error.reason)
        } catch {
            throw error as? CommitError ?? .malformed(.truncated)
        }
        guard let did = DID(fields.did) else { throw .invalidField(.did) }
        guard let rev = TID(fields.rev) else { throw .invalidField(.rev) }
        guard fields.signature.count == signatureSize else { throw .invalidField(.sig) }
        guard fields.data.codec == .dagCBOR else { throw .invalidField(.data) }
        return Commit(did: did, rev: rev, data: fields.data, signature: fields.signature)
    }

    public static func decode(_ block: Bytes) throws(CommitError) -> Commit {
        try block.withUnsafeBytes { (raw) throws(CommitError) in try decode(raw) }
    }

    /// The fields as the block has them, before their grammar is checked.
    private struct Fields {
        let did, rev, signature: Bytes
        let data: CID

        init(_ reader: inout CBORReader) throws {
            guard try reader.length(.map) == 6 else { throw CBORError(.mapKeys, at: 0) }
            try Self.key(&reader, "did", CommitError.Field.did)
            did = Bytes(try reader.string(.text))
            try Self.key(&reader, "rev", .rev)
            rev = Bytes(try reader.string(.text))
            try Self.key(&reader, "sig", .sig)
            signature = Bytes(try reader.string(.bytes))
            try Self.key(&reader, "data", .data)
            data = try reader.link()
            try Self.key(&reader, "prev", .prev)
            guard try reader.optionalLink() == nil else { throw CommitError.invalidField(.prev) }
            try Self.key(&reader, "version", .version)
            let version = try reader.head()
            guard version.major == .unsigned, version.argument == 3 else { throw CommitError.invalidField(.version) }
            try reader.end()
        }

        private static func key(
            _ reader: inout CBORReader, _ name: StaticString, _ field: CommitError.Field
        ) throws {
            let found = try reader.string(.text)
            guard name.withUTF8Buffer({ $0.elementsEqual(found) }) else { throw CommitError.invalidField(field) }
        }
    }
}
