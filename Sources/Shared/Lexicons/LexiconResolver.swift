public import ATProto
public import Base
public import Crypto

/// Why a lexicon can't be had.
public enum LexiconError: Error, Equatable, Sendable {
    /// The domain names no account, the account's repository has no such record, or the account does not exist.
    case notFound(NSID)
    /// The domain names several accounts.
    case ambiguous(NSID)
    /// DNS, the account's directory or its server does not answer.
    case unreachable(NSID)
    /// What came is no proof: wrong blocks, another account's commit, a signature by another key.
    case unproved(NSID)
    /// The record is there and is no lexicon, or one with another id.
    case invalid(NSID, SchemaProblem)
    /// An older revision of the repository than the one seen before.
    case rolledBack(NSID)
}

/// What resolving lexicons asks of the network, as values, so that tests answer.
public struct LexiconNetwork: Sendable {
    /// Where an account's repository is, and the key that signs it.
    public struct Authority: Sendable {
        /// The server's origin, without a slash at the end.
        public let pds: Bytes
        public let key: VerificationKey

        public init(pds: Bytes, key: VerificationKey) {
            self.pds = pds
            self.key = key
        }
    }

    public struct Answer: Sendable {
        public let status: Int
        public let body: Bytes

        public init(status: Int, body: Bytes) {
            self.status = status
            self.body = body
        }
    }

    let texts: @Sendable (_ name: Bytes) throws -> [Bytes]
    let authority: @Sendable (_ did: DID, _ fresh: Bool) throws -> Authority?
    let get: @Sendable (_ url: Bytes, _ sizeMax: Int) throws -> Answer

    /// `texts` gives the texts of a name's TXT records, none when there are none; `authority` what an account's
    /// document says, nil when there is no such account, not from a cache when it is asked to be fresh; `get` the
    /// answer of any status to a GET, of at most `sizeMax` bytes. They throw when nobody answers.
    public init(
        texts: @escaping @Sendable (_ name: Bytes) throws -> [Bytes],
        authority: @escaping @Sendable (_ did: DID, _ fresh: Bool) throws -> Authority?,
        get: @escaping @Sendable (_ url: Bytes, _ sizeMax: Int) throws -> Answer
    ) {
        self.texts = texts
        self.authority = authority
        self.get = get
    }
}

/// From a lexicon's name to its document, proved by its authority's signature.
/// https://atproto.com/specs/lexicon (Lexicon Publication and Resolution)
public struct LexiconResolver: Sendable {
    /// Bytes of a proof: the record, a commit, and a tree's nodes on one path.
    public static let proofSizeMax = 2 << 20
    /// Blocks of a proof. A tree of a billion records is 15 nodes deep.
    public static let blocksMax = 128

    private let network: LexiconNetwork

    public init(network: LexiconNetwork) { self.network = network }

    /// The published lexicon and what it says. Throws `LexiconError`.
    ///
    /// Authority goes by the whole group: only the name's own domain is asked, never one above or below it.
    public func resolve(_ nsid: NSID) throws(LexiconError) -> (published: PublishedLexicon, lexicon: Lexicon) {
        let did = try account(of: nsid)
        let authority = try authority(did, for: nsid, fresh: false)
        let proof = try fetch(nsid, from: did, at: authority)
        let published: PublishedLexicon
        do throws(LexiconError) {
            published = try Self.read(proof, of: nsid, by: did, key: authority.key)
        } catch {
            // The key may have changed since the document was cached. One more try, with a fresh one.
            guard error == .unproved(nsid) else { throw error }
            let fresh = try self.authority(did, for: nsid, fresh: true)
            guard fresh.key != authority.key else { throw error }
            published = try Self.read(try fetch(nsid, from: did, at: fresh), of: nsid, by: did, key: fresh.key)
        }
        let lexicon: Lexicon
        do throws(SchemaProblem) {
            lexicon = try published.lexicon()
            guard lexicon.id == nsid else { throw SchemaProblem("must be \(nsid)").inside("id") }
        } catch {
            throw .invalid(nsid, error)
        }
        return (published, lexicon)
    }

    private func account(of nsid: NSID) throws(LexiconError) -> DID {
        let texts: [Bytes]
        do { texts = try network.texts("_lexicon." + nsid.authorityDomain) } catch { throw .unreachable(nsid) }
        let claims = Set(texts.filter { $0.starts(with: "did=") }.map { $0.from(4) })
        guard claims.count <= 1 else { throw .ambiguous(nsid) }
        guard let did = claims.first.flatMap({ DID($0) }) else { throw .notFound(nsid) }
        return did
    }

    private func authority(
        _ did: DID, for nsid: NSID, fresh: Bool
    ) throws(LexiconError) -> LexiconNetwork.Authority {
        let authority: LexiconNetwork.Authority?
        do { authority = try network.authority(did, fresh) } catch { throw .unreachable(nsid) }
        guard let authority else { throw .notFound(nsid) }
        return authority
    }

    /// The method that gives one record with its proof.
    private static let method: Bytes = "/xrpc/com.atproto.sync.getRecord"

    private func fetch(
        _ nsid: NSID, from did: DID, at authority: LexiconNetwork.Authority
    ) throws(LexiconError) -> Bytes {
        let query = "?did=" + did.bytes + "&collection=" + Collections.lexicon + "&rkey=" + nsid.bytes
        let answer: LexiconNetwork.Answer
        do {
            answer = try network.get(authority.pds + Self.method + query, Self.proofSizeMax)
        } catch {
            throw .unreachable(nsid)
        }
        switch answer.status {
        case 200: return answer.body
        case 400, 404: throw .notFound(nsid)
        default: throw .unreachable(nsid)
        }
    }

    /// Reads a CAR with a commit, the nodes on the record's path and the record, and believes none of it unproved.
    static func read(
        _ proof: Bytes, of nsid: NSID, by did: DID, key: VerificationKey
    ) throws(LexiconError) -> PublishedLexicon {
        guard let collection = NSID(Collections.lexicon), let rkey = RecordKey(nsid.bytes) else {
            throw .notFound(nsid)
        }
        do {
            let reader = try CARReader(proof)
            var blocks: [CID: Bytes] = [:]
            // Every block is what its CID says, or the reader throws.
            while blocks.count <= blocksMax, try reader.next({ cid, block in blocks[cid] = Bytes(block) }) {}
            guard blocks.count <= blocksMax, let head = blocks[reader.root] else { throw LexiconError.unproved(nsid) }
            let commit = try Commit.decode(head)
            try commit.verify(did: did, key: key)
            let tree = try MST(root: commit.data) { cid in
                guard let block = blocks[cid] else { throw MSTError(.missingBlock, in: cid) }
                return try MSTNode.decode(block, cid: cid)
            }
            guard let cid = try tree.get(RepoPath(collection, rkey).bytes) else { throw LexiconError.notFound(nsid) }
            guard cid.codec == .dagCBOR, let document = blocks[cid] else { throw LexiconError.unproved(nsid) }
            return PublishedLexicon(nsid: nsid, did: did, rev: commit.rev, cid: cid, document: document)
        } catch let error as LexiconError {
            throw error
        } catch {
            throw .unproved(nsid)
        }
    }
}
