public import Base

/// An AT URI of the strict form that records hold: `at://authority[/collection[/rkey]]`, at most 8,192 bytes.
/// Query and fragment are refused. https://atproto.com/specs/at-uri-scheme
public struct ATURI: Identifier {
    public static let sizeMax = 8_192

    public let bytes: Bytes
    public let authority: ATIdentifier
    public let collection: NSID?
    public let rkey: RecordKey?

    public init?(_ bytes: Bytes) {
        guard bytes.count <= Self.sizeMax, bytes.starts(with: "at://") else { return nil }
        let rest = bytes.from(5)
        let slash = rest.position(of: 0x2F)
        guard let authority = ATIdentifier(rest.upTo(slash ?? rest.count)) else { return nil }
        var collection: NSID?
        var rkey: RecordKey?
        if let slash {
            let path = rest.from(slash + 1)
            let second = path.position(of: 0x2F)
            collection = NSID(path.upTo(second ?? path.count))
            guard collection != nil else { return nil }
            if let second {
                rkey = RecordKey(path.from(second + 1))
                guard rkey != nil else { return nil }
            }
        }
        self.bytes = bytes
        self.authority = authority
        self.collection = collection
        self.rkey = rkey
    }

    /// A repository's, collection's or record's URI. A record key without a collection is dropped: it has no form.
    public init(_ authority: ATIdentifier, _ collection: NSID? = nil, _ rkey: RecordKey? = nil) {
        var out: [UInt8] = []
        out.reserveCapacity(128)
        out.append(contentsOf: [0x61, 0x74, 0x3A, 0x2F, 0x2F])
        out.append(contentsOf: authority.bytes)
        if let collection {
            out.append(0x2F)
            out.append(contentsOf: collection.bytes)
            if let rkey {
                out.append(0x2F)
                out.append(contentsOf: rkey.bytes)
            }
        }
        bytes = Bytes(out)
        self.authority = authority
        self.collection = collection
        self.rkey = collection == nil ? nil : rkey
    }

    public init(_ did: DID, _ path: RepoPath) { self.init(.did(did), path.collection, path.rkey) }

    public static func == (left: ATURI, right: ATURI) -> Bool { left.bytes == right.bytes }
    public func hash(into hasher: inout Hasher) { bytes.hash(into: &hasher) }
}
