public import ATProto
public import Base
public import Crypto
public import Storage

/// Puts a CAR from another server in a repository's place, all of it or nothing.
///
/// Everything is built aside under a new internal id, in transactions short enough to keep no other writer waiting; the
/// last one gives that id to the repository and signs a new commit. Before it readers see the old repository, after it
/// the new one, whenever the process is killed. What a killed import leaves behind `collect` removes.
public struct RepoImporter: Sendable {
    let repos: RepoStore
    private let directory: String
    /// Bytes that a CAR may have.
    public let sizeMax: Int

    /// How long an import may go without storing anything before it is given up. It stores something many times a
    /// second.
    static let idleSeconds: Int64 = 600

    /// Bytes that blocks which the root does not reach may have: a tenth of all blocks (reliability F3), and in a short
    /// CAR this much, since an export may have brought along what was deleted of late.
    static func unreferencedSizeMax(of blockSize: Int) -> Int { max(1 << 20, blockSize / 10) }

    /// `directory` is where CARs are kept while they are read; it is made.
    public init(repos: RepoStore, directory: String, sizeMax: Int) throws(SystemError) {
        self.repos = repos
        self.directory = directory
        self.sizeMax = sizeMax
        try Files.makeDirectory(directory, mode: 0o700)
    }

    /// What an import put in place.
    public struct Outcome: Sendable, Equatable {
        public let commit: CommitInfo
        public let records: Int
        public let nodes: Int
        /// Whether one of the keys that were given had signed the CAR's commit.
        public let isSigned: Bool
    }

    /// Takes in a CAR piece by piece. Throws what `ImportedCAR.init` throws.
    public func receive(from source: @escaping (UnsafeMutableRawBufferPointer) throws -> Int) throws -> ImportedCAR {
        try ImportedCAR(directory: directory, sizeMax: sizeMax, from: source)
    }

    /// Makes the repository of `did` what `car` says: the records that its root reaches and nothing else, under a new
    /// commit that the account's key signs and whose revision is later than the repository's and the CAR's. A revision
    /// of the CAR that lies in the future is not followed: nobody would take the commit.
    ///
    /// An import that the same account began before and that has not ended is given up: its client has gone, or asks
    /// twice. An active repository is announced with a `#sync`. Records are not held against their lexicons. Throws
    /// `RepoImportError`, and `RepoError.repoNotFound`.
    public func replace(_ did: DID, with car: ImportedCAR, signers: [VerificationKey] = []) throws -> Outcome {
        let block = try car.block(car.root)
        let commit: ForeignCommit
        do throws(CommitError) { commit = try ForeignCommit(block) } catch { throw RepoImportError.commit(error) }
        guard commit.did == did else { throw RepoImportError.wrongAccount(commit.did) }
        let staging = try RepoStaging(repos, did: did, after: commit.rev)
        do {
            let (records, nodes, reached) = try stage(commit.data, of: car, in: staging)
            let unreferencedMax = Self.unreferencedSizeMax(of: car.blockSize)
            guard car.blockSize - reached - ImportedCAR.size(of: block.count) <= unreferencedMax else {
                throw RepoImportError.unreferenced(max: unreferencedMax)
            }
            let info = try staging.publish()
            return Outcome(
                commit: info, records: records, nodes: nodes, isSigned: signers.contains { commit.isSigned(by: $0) })
        } catch {
            // Best effort: whatever stays behind is due, and `collect` finds it.
            try? staging.discard()
            if let error = error as? MSTError {
                if error.reason == .missingBlock, let cid = error.cid { throw RepoImportError.missingBlock(cid) }
                throw RepoImportError.tree(error)
            }
            throw error
        }
    }

    /// Removes a bounded part of what imports have left behind. Returns how much: call again until it is 0.
    public static func collect(in database: any Database, now: Timestamp) throws -> Int {
        try RepoParts(database).collect(now: now)
    }

    /// Walks the tree in key order, checks what it meets and stores it.
    /// `reached` is the size of the blocks that it met.
    private func stage(
        _ root: CID, of car: ImportedCAR, in staging: RepoStaging
    ) throws -> (records: Int, nodes: Int, reached: Int) {
        var (records, nodes, expanded, reached) = (0, 0, 0, 0)
        // A walk visits a node right after it was loaded: its block is at hand then.
        var last: (cid: CID, block: Bytes)?
        let tree = try MST(root: root) { cid in
            let block = try car.block(cid)
            last = (cid, block)
            return try MSTNode.decode(block, cid: cid)
        }
        try tree.preorder { item in
            switch item {
            case .node(let node):
                guard let (cid, block) = last, cid == node.cid else { throw RepoError.corrupt("unsealed node") }
                nodes += 1
                reached += ImportedCAR.size(of: block.count)
                try staging.add(cid, block)
            case .record(let key, let cid):
                let record = try StagedRecord(key, cid, car)
                // One block under many keys is short in the CAR and long in the database.
                expanded += record.bytes.count
                guard expanded <= sizeMax else { throw RepoImportError.tooLarge(max: sizeMax) }
                records += 1
                reached += ImportedCAR.size(of: record.bytes.count)
                try staging.add(record)
            }
            return .into
        }
        return (records, nodes, reached)
    }
}

/// A record of a CAR, checked.
struct StagedRecord {
    let path: RepoPath
    let cid: CID
    let bytes: Bytes
    let subject: Bytes?
    let blobs: [CID]

    /// Longer subjects are not looked up by: an index row of PostgreSQL has to fit a third of a page.
    private static let subjectSizeMax = 1_024

    init(_ key: Bytes, _ cid: CID, _ car: ImportedCAR) throws {
        guard let path = RepoPath(key) else { throw RepoImportError.invalidPath(key) }
        guard cid.codec == .dagCBOR else { throw RepoImportError.record(key, .codec) }
        bytes = try car.block(cid)
        guard bytes.count <= RecordBlock.sizeMax else {
            throw RepoImportError.record(key, .tooLarge(max: RecordBlock.sizeMax))
        }
        let value: Value
        do throws(CBORError) { value = try DAGCBOR.decode(bytes, limits: .record) } catch {
            throw RepoImportError.record(key, .malformed(error))
        }
        guard case .map = value else { throw RepoImportError.record(key, .notAnObject) }
        self.path = path
        self.cid = cid
        subject = RecordBlock.subject(of: value, in: path.collection).flatMap { subject in
            subject.count <= Self.subjectSizeMax && !subject.contains(0) ? subject : nil
        }
        blobs = value.blobCIDs
    }
}
