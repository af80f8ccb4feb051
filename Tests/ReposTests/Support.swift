import Foundation
import TestSupport

@testable import ATProto
@testable import Base
@testable import Crypto
@testable import Repos
@testable import Storage

/// Everything that a repository needs, over a fresh database.
struct Home {
    let database: TestDatabase
    let clock = Clock { Timestamp(seconds: 1_800_000_000) }
    let key: SigningKey
    let events: EventStore
    let repos: RepoStore
    let records: RecordStore
    let blobs: BlobStore
    let rings = Guarded(0)
    /// Goes with the home.
    let directory: TestDirectory

    static let alice = did("did:plc:alice234567234567alicez2")
    static let bob = did("did:plc:bobbb234567234567bobbbz2")

    init(
        _ engine: Engine, blobSizeMax: Int = 100_000, cacheSize: Int = 64 << 20, quota: StorageQuota = .none
    ) throws {
        database = try engine.migrated()
        directory = try TestDirectory()
        let key = try SigningKey.generate(.k256, entropy: .system)
        self.key = key
        let rings = rings
        events = EventStore(database: database, clock: clock) { rings.withLock { $0 += 1 } }
        repos = RepoStore(
            database: database, events: events, cache: NodeCache(sizeMax: cacheSize), tids: TIDMaker(clockID: 1),
            clock: clock, quota: quota, keys: { _, _ in key })
        records = RecordStore(database: database)
        blobs = try BlobStore(
            database: database, clock: clock, directory: directory.path + "/blobs", sizeMax: blobSizeMax,
            quota: quota)
    }

    /// As another process would see the same database.
    func otherProcess() -> RepoStore {
        let key = key
        return RepoStore(
            database: database, events: events, cache: NodeCache(), tids: TIDMaker(clockID: 2), clock: clock,
            keys: { _, _ in key })
    }

    @discardableResult func create(_ did: DID) throws -> CommitInfo {
        try database.write { try repos.create(did, key: key, in: $0) }
    }

    func upload(_ bytes: [UInt8], of did: DID, declared: Bytes? = nil, in store: BlobStore? = nil) throws
        -> BlobReference
    {
        let store = store ?? blobs
        let upload = try store.begin(entropy: .system)
        try bytes.withUnsafeBytes { try upload.write($0) }
        return try store.finish(upload, of: did, declared: declared)
    }

    func export(_ did: DID, since: TID? = nil) throws -> [UInt8] {
        var car: [UInt8] = []
        try repos.export(did, since: since) { car.append(contentsOf: $0) }
        return car
    }
}

func did(_ text: StaticString) -> DID {
    guard let did = DID(Bytes(stringLiteral: text)) else { preconditionFailure("not a DID: \(text)") }
    return did
}

func path(_ text: String) -> RepoPath {
    guard let path = RepoPath(Bytes(text)) else { preconditionFailure("not a path: \(text)") }
    return path
}

func post(_ text: String) -> Value { .map([.init(key: "text", value: .text(Bytes(text)))]) }

func block(_ path: RepoPath, _ value: Value) throws -> RecordBlock { try RecordBlock(path, value) }

func put(_ name: String, _ text: String) throws -> RecordWrite {
    let path = path(name)
    return RecordWrite(path, .put(try block(path, post(text))))
}

struct Numbers: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

/// A stored frame, read back.
struct Frame {
    let header: Value
    let payload: Value

    init(_ event: StoredEvent) throws {
        // Two objects one after the other: the first one's length is found by trying.
        for end in 1..<event.frame.count {
            guard let header = try? DAGCBOR.decode(event.frame.upTo(end)) else { continue }
            self.header = header
            payload = try DAGCBOR.decode(event.frame.from(end), limits: DataLimits(blockSizeMax: 5_000_000))
            return
        }
        throw RepoError.corrupt("frame")
    }

    func bytes(_ key: Bytes) -> Bytes? { if case .bytes(let bytes)? = payload[key] { bytes } else { nil } }

    var operations: [MSTOperation] {
        (payload["ops"]?.array ?? []).map {
            MSTOperation(key: $0["path"]?.text ?? "", value: $0["cid"]?.link, previous: $0["prev"]?.link)
        }
    }
}

func blocks(_ car: Bytes) throws -> (root: CID, order: [CID], blocks: [CID: Bytes]) {
    let reader = try CARReader(car)
    var order: [CID] = []
    var blocks: [CID: Bytes] = [:]
    try reader.each { cid, raw in
        order.append(cid)
        blocks[cid] = Bytes(raw)
    }
    return (reader.root, order, blocks)
}
