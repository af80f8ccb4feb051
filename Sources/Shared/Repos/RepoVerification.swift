public import ATProto
public import Base
public import Crypto
internal import Storage

/// What a check of a repository found.
public struct RepoReport: Sendable, Equatable {
    /// A way in which what is stored contradicts itself.
    public enum Problem: Sendable, Equatable {
        /// The commit block's hash is not the commit's CID, or it is no commit of version 3.
        case commitBlock
        /// The commit names another account, revision or tree than the row beside it.
        case commitFields
        case signature
        /// A record's bytes are not those of its CID.
        case recordBytes(Bytes)
        /// The tree of the records has another root than the commit.
        case root(CID)
        /// A node of the tree is not stored, or is not what it should be.
        case node(MSTError)
        /// What the records are said to take up is not what they do.
        case storageUse(stored: Int, counted: Int)
        /// A stored node belongs to no tree.
        case unreferencedNodes(Int)
    }

    public var records = 0
    public var nodes = 0
    public var problems: [Problem] = []

    /// Problems that one report names.
    static let problemsMax = 100
}

extension RepoStore {
    /// Checks that a repository is whole: the records hash to their CIDs, their tree to the commit's root, each node
    /// is stored and no other, and the commit is signed by `key` (left out when nil).
    ///
    /// Throws `RepoError.repoNotFound`.
    public func verify(_ did: DID, key: VerificationKey? = nil) throws -> RepoReport {
        try database.read { reader in
            let state = try RepoState.find(did, reader)
            var report = RepoReport()
            func note(_ problem: RepoReport.Problem) {
                if report.problems.count < RepoReport.problemsMax { report.problems.append(problem) }
            }
            let block = try reader.first("SELECT commit_block FROM repo WHERE id = \(state.id)") { try $0.bytes(0) }
            if let block, CID(hashing: block) == state.commit, let commit = try? Commit.decode(block) {
                if commit.did != did || commit.rev != state.rev || commit.data != state.data { note(.commitFields) }
                if let key, !commit.isSigned(by: key) { note(.signature) }
            } else {
                note(.commitBlock)
            }

            var wanted: Set<CID> = []
            let builder = MSTBuilder { cid, _ in wanted.insert(cid) }
            let scan = RecordScan(repo: state.id, reader: reader)
            var size = 0
            while let record = try scan.next() {
                size += record.value.count
                if CID(hashing: record.value) != record.cid { note(.recordBytes(record.key)) }
                try builder.append(record.key, record.cid)
            }
            report.records = builder.count
            let stored = try reader.first("SELECT record_bytes FROM repo WHERE id = \(state.id)") { try $0.integer(0) }
            if let stored, stored != size { note(.storageUse(stored: stored, counted: size)) }
            let root = try builder.finish()
            if root != state.data { note(.root(root)) }

            let nodes = RepoNodes(repo: state.id, reader: reader, cache: nil)
            for cid in wanted {
                guard let stored = try nodes.stored(cid) else {
                    note(.node(MSTError(.missingBlock, in: cid)))
                    continue
                }
                report.nodes += 1
                if CID(hashing: stored.block) != cid { note(.node(MSTError(.malformed(.invalidCID), in: cid))) }
            }
            let extra = try NodePack.stored(state.id, reader).subtracting(wanted).count
            if extra > 0 { note(.unreferencedNodes(extra)) }
            return report
        }
    }
}

extension NodePack {
    /// The CIDs of all nodes that are stored and not made obsolete since.
    fileprivate static func stored(_ repo: Int, _ reader: any Reader) throws -> Set<CID> {
        var stored = Set(try reader.all("SELECT cid FROM mst_node WHERE repo = \(repo)") { try $0.cid(0) })
        let pack = try NodePack(of: repo, reader)
        stored.subtract(pack.gone)
        stored.formUnion(pack.nodes.map(\.cid))
        return stored
    }
}
