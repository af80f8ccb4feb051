import ATProto
import Base
import Crypto
import Storage
import TestSupport

@testable import Lexicons

/// Other people's machines: domains, directories and servers of accounts that publish lexicons.
final class Authority: Sendable {
    struct State {
        var texts: [Bytes: [Bytes]] = [:]
        /// What the account's document says, from a cache and fresh.
        var key: VerificationKey?
        var freshKey: VerificationKey?
        /// Answers by the end of the URL.
        var proofs: [Bytes: LexiconNetwork.Answer] = [:]
        var isDown = false
        var asked: [String] = []
    }

    struct Down: Error {}

    static let did = DID("did:plc:ewvi7nxzyoun6zhxrhs64oiz")!
    static let pds: Bytes = "https://pds.example.org"
    static let signing = key(.k256, 3)
    static let other = key(.p256, 4)

    private static func key(_ algorithm: KeyAlgorithm, _ byte: UInt8) -> SigningKey {
        do {
            return try SigningKey(algorithm: algorithm, secret: Secret([UInt8](repeating: byte, count: 32)))
        } catch {
            preconditionFailure("\(error)")
        }
    }

    let state: Guarded<State>

    init() {
        var state = State()
        state.key = Self.signing.publicKey
        state.freshKey = Self.signing.publicKey
        self.state = Guarded(state)
    }

    func set(_ change: (inout State) -> Void) { state.withLock { change(&$0) } }

    var asked: [String] { state.withLock { $0.asked } }

    var network: LexiconNetwork {
        LexiconNetwork(
            texts: { [state] name in
                try state.withLock { state in
                    state.asked.append("TXT \(name)")
                    if state.isDown { throw Down() }
                    return state.texts[name] ?? []
                }
            },
            authority: { [state] did, fresh in
                try state.withLock { state in
                    state.asked.append("DID\(fresh ? " fresh" : "")")
                    if state.isDown { throw Down() }
                    guard did == Self.did else { return nil }
                    return (fresh ? state.freshKey : state.key).map {
                        LexiconNetwork.Authority(pds: Self.pds, key: $0)
                    }
                }
            },
            get: { [state] url, sizeMax in
                try state.withLock { state in
                    state.asked.append("GET \(url)")
                    if state.isDown { throw Down() }
                    let name = url.from((url.lastIndex(of: 0x3D) ?? 0) + 1)
                    let answer = state.proofs[name] ?? LexiconNetwork.Answer(status: 400, body: "{}")
                    // As the one client does.
                    if answer.body.count > sizeMax { throw Down() }
                    return answer
                }
            })
    }

    /// Publishes documents under their names, each with a proof of its own.
    func publish(_ documents: [String: String], rev: Int = 1) throws {
        for (name, json) in documents {
            let nsid = NSID(name)!
            let proof = try Self.proof(of: nsid, Self.record(json), rev: rev)
            set {
                $0.texts["_lexicon." + nsid.authorityDomain] = ["did=" + Self.did.bytes]
                $0.proofs[nsid.bytes] = LexiconNetwork.Answer(status: 200, body: proof)
            }
        }
    }

    static func record(_ json: String) throws -> Value {
        let value = try JSON.parsePlain(Bytes(json))
        return .object((value.entries ?? []) + [Value.Entry(key: "$type", value: .text(Collections.lexicon))])
    }

    /// What a proof can be made of, right and wrong.
    struct Making {
        var did = Authority.did
        var key = Authority.signing
        var collection = Collections.lexicon
        /// The record's key, when it is not the lexicon's name.
        var name: Bytes?
        /// Blocks that stay out: the record, and the tree's root.
        var withoutRecord = false
        var withoutTree = false
        /// Other blocks of no use, in front.
        var padding = 0
    }

    static func revision(_ number: Int) -> TID {
        TIDMaker(clockID: 1).next(now: Timestamp(seconds: Int64(1_700_000_000 + number)))
    }

    /// A CAR with a commit, a tree that has the record among others, and the record.
    static func proof(of nsid: NSID, _ record: Value, rev: Int = 1, _ making: Making = Making()) throws -> Bytes {
        let document = DAGCBOR.encode(record)
        let cid = CID(hashing: document)
        var blocks: [CID: [UInt8]] = [:]
        let builder = MSTBuilder { blocks[$0] = [UInt8]($1) }
        var records: [Bytes: CID] = [making.collection + "/" + (making.name ?? nsid.bytes): cid]
        for number in 0..<40 { records[Bytes("com.example.record/k\(number)")] = CID(hashing: [UInt8(number)]) }
        for (key, value) in records.sorted(by: { $0.key < $1.key }) { try builder.append(key, value) }
        let root = try builder.finish()
        let commit = try Commit(did: making.did, rev: revision(rev), data: root, signedBy: making.key).encoded()
        if !making.withoutRecord { blocks[cid] = document }
        if making.withoutTree { blocks[root] = nil }
        var car: [UInt8] = []
        CARWriter.appendHeader(CID(hashing: commit), to: &car)
        for number in 0..<making.padding {
            let block = DAGCBOR.encode(.integer(Int64(number)))
            CARWriter.append(CID(hashing: block), block, to: &car)
        }
        CARWriter.append(CID(hashing: commit), commit, to: &car)
        for (cid, block) in blocks { CARWriter.append(cid, block, to: &car) }
        return Bytes(car)
    }
}

/// A record type in one line.
func recordType(_ id: String, _ properties: String = "", key: String = "any", required: String = "") -> String {
    """
    {"lexicon":1,"id":"\(id)","defs":{"main":{"type":"record","key":"\(key)","record":{"type":"object",
    "required":[\(required)],"properties":{\(properties)}}}}}
    """
}
