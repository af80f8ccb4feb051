import TestSupport
import Testing

@testable import ATProto
@testable import Base
@testable import Crypto
@testable import Repos
@testable import Storage

/// A repository of another server, block by block, so that each can be made wrong.
struct ForeignRepo {
    var commit: [Value.Entry]
    var blocks: [(cid: CID, bytes: [UInt8])] = []
    /// In key order.
    var records: [(key: Bytes, cid: CID)] = []

    static let key: SigningKey = {
        guard let key = try? SigningKey.generate(.p256, entropy: .system) else { preconditionFailure("no key") }
        return key
    }()

    init(
        _ records: [(String, [UInt8])], did: DID = Home.alice, rev: TID? = TID("3jzfcijpj2z2a"), version: Int64 = 3
    ) throws {
        var blocks: [(CID, [UInt8])] = []
        let builder = MSTBuilder { cid, raw in blocks.append((cid, Array(raw))) }
        for (key, bytes) in records.sorted(by: { Bytes($0.0) < Bytes($1.0) }) {
            let cid = CID(hashing: bytes)
            try builder.append(Bytes(key), cid)
            blocks.append((cid, bytes))
            self.records.append((Bytes(key), cid))
        }
        let root = try builder.finish()
        commit = [
            .init(key: "did", value: .text(did.bytes)), .init(key: "data", value: .link(root)),
            .init(key: "prev", value: .null), .init(key: "version", value: .integer(version)),
        ]
        if let rev { commit.append(.init(key: "rev", value: .text(rev.bytes))) }
        self.blocks = blocks
        try sign()
    }

    mutating func set(_ name: Bytes, _ value: Value?) {
        commit.removeAll { $0.key == name }
        if let value { commit.append(.init(key: name, value: value)) }
    }

    mutating func sign() throws {
        set("sig", nil)
        let digest = SHA256.hash(DAGCBOR.encode(.object(commit)))
        set("sig", .bytes(Bytes(try Self.key.sign(digest))))
    }

    var root: CID { CID(hashing: DAGCBOR.encode(.object(commit))) }

    /// The commit first unless `isReversed`, as nothing asks for an order.
    func car(reversed isReversed: Bool = false) -> [UInt8] {
        var out: [UInt8] = []
        CARWriter.appendHeader(root, to: &out)
        let all = [(root, DAGCBOR.encode(.object(commit)))] + blocks.map { ($0.cid, $0.bytes) }
        for (cid, bytes) in isReversed ? all.reversed() : all { CARWriter.append(cid, bytes, to: &out) }
        return out
    }

    static func post(_ text: String) -> [UInt8] {
        DAGCBOR.encode(
            .object([
                .init(key: "$type", value: .text("app.bsky.feed.post")), .init(key: "text", value: .text(Bytes(text))),
            ]))
    }

    static func posts(_ count: Int) -> [(String, [UInt8])] {
        (0..<count).map { ("app.bsky.feed.post/\(1_000_000 + $0)", post("post \($0)")) }
    }
}

extension Home {
    func importer(sizeMax: Int = 8 << 20) throws -> RepoImporter {
        try RepoImporter(repos: repos, directory: self.directory.path + "/import", sizeMax: sizeMax)
    }

    @discardableResult func take(
        _ car: [UInt8], for did: DID = alice, sizeMax: Int = 8 << 20, pieces: Int = 5_000
    ) throws -> RepoImporter.Outcome {
        let importer = try importer(sizeMax: sizeMax)
        var rest = car[...]
        let taken = try importer.receive { buffer in
            let part = rest.prefix(min(buffer.count, pieces))
            buffer.copyBytes(from: part)
            rest = rest.dropFirst(part.count)
            return part.count
        }
        return try importer.replace(did, with: taken, signers: [ForeignRepo.key.publicKey])
    }

    /// The repository's end, its blobs apart.
    func remove(_ did: DID) throws {
        try database.write { try repos.markDeleted(did, in: $0) }
        while try repos.removeRows(of: did) {}
        try repos.finishRemoval(of: did)
    }

    /// Rows of every table that is keyed by a repository's id.
    func rows() throws -> [Int] {
        let tables: [SQL] = [
            "SELECT count(*) FROM record", "SELECT count(*) FROM mst_node", "SELECT count(*) FROM mst_pack",
            "SELECT count(*) FROM backlink", "SELECT count(*) FROM blob_reference", "SELECT count(*) FROM repo_part",
        ]
        return try database.read { reader in
            try tables.map { try reader.first($0) { try $0.integer(0) } ?? 0 }
        }
    }

    func collect() throws {
        while try RepoImporter.collect(in: database, now: clock.now()) > 0 {}
    }
}

@Suite struct ImportTests {
    @Test(arguments: Engine.all) func takesThePlaceOfARepository(_ engine: Engine) throws {
        let home = try Home(engine)
        _ = try home.database.write {
            try home.repos.create(Home.alice, status: .deactivated, key: home.key, in: $0)
        }
        let before = try home.repos.state(of: Home.alice)
        let foreign = try ForeignRepo(ForeignRepo.posts(3_000))
        let outcome = try home.take(foreign.car(reversed: true))
        #expect(outcome.records == 3_000 && outcome.isSigned)

        let state = try home.repos.state(of: Home.alice)
        #expect(state.commit == outcome.commit.cid && state.rev > before.rev)
        #expect(foreign.commit.contains { $0.value == .link(state.data) }, "the tree is that of the CAR")
        #expect(state.status == .deactivated)
        #expect(try home.events.newest() == 0, "nobody hears of it before it is activated")
        let report = try home.repos.verify(Home.alice, key: home.key.publicKey)
        #expect(report.problems == [] && report.records == 3_000 && report.nodes == outcome.nodes)
        let (_, order, _) = try blocks(Bytes(try home.export(Home.alice)))
        #expect(order.count == 1 + 3_000 + outcome.nodes)

        // The old rows are nobody's, and go.
        try home.collect()
        #expect(try home.rows() == [3_000, outcome.nodes, 0, 0, 0, 0])
        #expect(try home.repos.verify(Home.alice, key: home.key.publicKey).problems == [])
        // It is a repository like any other.
        try home.database.write { try home.repos.setStatus(.active, of: Home.alice, in: $0) }
        try home.repos.apply([put("app.bsky.feed.post/new", "hello")], to: Home.alice)
        #expect(try home.repos.verify(Home.alice, key: home.key.publicKey).records == 3_001)
    }

    @Test(arguments: Engine.all) func replacesAnActiveOneAndSaysSo(_ engine: Engine) throws {
        let home = try Home(engine)
        try home.create(Home.alice)
        for index in 0..<70 { try home.repos.apply([put("app.bsky.feed.post/old\(index)", "x")], to: Home.alice) }
        let exported = try home.export(Home.alice)
        let last = try home.events.newest()
        // Its own export, twice: the second time over an imported one.
        for round in 1...2 {
            let rev = try home.repos.state(of: Home.alice).rev
            let outcome = try home.take(exported)
            #expect(outcome.commit.rev > rev && !outcome.isSigned, "signed by a key that was not named")
            #expect(outcome.records == 70)
            let events = try home.events.events(after: last, limit: 10, sizeMax: 1 << 20)
            #expect(events.count == round)
            let frame = try Frame(events[round - 1])
            #expect(frame.header["t"]?.text == "#sync" && frame.payload["rev"]?.text == outcome.commit.rev.bytes)
            #expect(try home.repos.verify(Home.alice, key: home.key.publicKey).problems == [])
        }
        try home.collect()
        #expect(try home.rows()[0] == 70)
        #expect(try home.rows()[5] == 0)
    }

    @Test(arguments: Engine.all) func blobsAndBacklinks(_ engine: Engine) throws {
        let home = try Home(engine)
        try home.create(Home.alice)
        let kept = try home.upload(BlobTests.png, of: Home.alice)
        let dropped = try home.upload([1, 2, 3], of: Home.alice)
        try home.repos.apply(
            [
                BlobTests.write("com.example.thing/a", kept), BlobTests.write("com.example.thing/b", dropped),
            ], to: Home.alice)
        let later: [UInt8] = Array("uploaded after the import".utf8)
        let old: [UInt8] = Array("named the old way".utf8)
        let legacy = Value.object([
            .init(key: "cid", value: .text(Bytes(CID(hashing: old, codec: .raw).text))),
            .init(key: "mimeType", value: .text("image/png")),
        ])
        let missing = BlobReference(cid: CID(hashing: later, codec: .raw), mimeType: "text/plain", size: 25)
        func thing(_ value: Value) -> [UInt8] { DAGCBOR.encode(.object([.init(key: "image", value: value)])) }
        let like = DAGCBOR.encode(
            .object([.init(key: "subject", value: .object([.init(key: "uri", value: .text("at://x/y/z"))]))]))
        let odd = DAGCBOR.encode(
            .object([.init(key: "subject", value: .object([.init(key: "uri", value: .text(Bytes([0x61, 0, 0x62])))]))]))
        let foreign = try ForeignRepo([
            ("com.example.thing/a", thing(kept.value)), ("com.example.thing/c", thing(missing.value)),
            ("com.example.thing/d", thing(.array([missing.value, missing.value, .null]))),
            ("com.example.thing/e", thing(legacy)), ("app.bsky.feed.like/1", like), ("app.bsky.feed.like/2", odd),
            ("com.example.thing/f", thing(.object([.init(key: "$type", value: .text("blob"))]))),
        ])
        try home.take(foreign.car())
        #expect(try home.blobs.find(kept.cid, of: Home.alice) != nil)
        #expect(try home.blobs.find(dropped.cid, of: Home.alice) == nil, "no record names it any more")
        let wanted = try home.blobs.missing(of: Home.alice, limit: 10)
        #expect(
            Set(wanted.map(\.path)) == ["com.example.thing/c", "com.example.thing/e"], "each with its first record")
        _ = try home.upload(later, of: Home.alice)
        _ = try home.upload(old, of: Home.alice)
        #expect(try home.blobs.missing(of: Home.alice, limit: 10).isEmpty)
        #expect(try home.blobs.find(missing.cid, of: Home.alice) != nil, "served, because a record names it")
        let counts = try home.repos.counts(of: Home.alice)
        #expect(counts.expectedBlobs == 3 && counts.importedBlobs == 3)
        // One like for each subject, the imported ones too.
        let again = path("app.bsky.feed.like/3")
        try home.repos.apply([RecordWrite(again, .create(block(again, try DAGCBOR.decode(like))))], to: Home.alice)
        #expect(try home.repos.counts(of: Home.alice).records == 7)
    }

    @Test(arguments: Engine.all) func whatWasWrittenMeanwhileIsNotLost(_ engine: Engine) throws {
        let home = try Home(engine)
        try home.create(Home.alice)
        let importer = try home.importer()
        let foreign = try ForeignRepo(ForeignRepo.posts(2_500)).car()
        var rest = foreign[...]
        let car = try importer.receive { buffer in
            let part = rest.prefix(buffer.count)
            buffer.copyBytes(from: part)
            rest = rest.dropFirst(part.count)
            return part.count
        }
        // Each way in which the repository is not what it was when the import began, at its end.
        let staging = try RepoStaging(home.repos, did: Home.alice, after: nil)
        let root = try ForeignCommit(try car.block(car.root)).data
        try staging.add(root, try car.block(root))
        try home.repos.apply([put("app.bsky.feed.post/a", "acknowledged")], to: Home.alice)
        #expect(throws: RepoImportError.repoChanged) { try staging.publish() }
        try staging.discard()
        #expect(try home.repos.counts(of: Home.alice).records == 1)

        let second = try RepoStaging(home.repos, did: Home.alice, after: nil)
        try second.add(root, try car.block(root))
        _ = try importer.replace(Home.alice, with: car)
        #expect(throws: RepoImportError.abandoned, "a later import ends an earlier one") { try second.publish() }
        try second.discard()
        #expect(try home.repos.counts(of: Home.alice).records == 2_500)

        let third = try RepoStaging(home.repos, did: Home.alice, after: nil)
        try third.add(root, try car.block(root))
        try home.remove(Home.alice)
        #expect(throws: RepoImportError.abandoned) { try third.publish() }
        try home.collect()
        #expect(try home.rows() == [0, 0, 0, 0, 0, 0], "nothing is left of a deleted account")
    }

    @Test(arguments: Engine.all) func takedownsHold(_ engine: Engine) throws {
        let home = try Home(engine)
        try home.create(Home.alice)
        try home.repos.apply([put("app.bsky.feed.post/1000003", "bad")], to: Home.alice)
        let (hidden, shown) = (path("app.bsky.feed.post/1000003"), path("app.bsky.feed.post/1000004"))
        let moment = home.clock.now()
        try home.database.write {
            try TakedownStore.set(moment, on: hidden, of: Home.alice, cid: nil, reference: nil, in: $0)
        }
        try home.take(ForeignRepo(ForeignRepo.posts(5)).car())
        try home.collect()
        #expect(try home.records.get(hidden, of: Home.alice) { _, _ in true } == nil)
        #expect(try home.records.get(shown, of: Home.alice) { _, _ in true } == true)
        try home.database.write {
            try TakedownStore.set(nil, on: hidden, of: Home.alice, cid: nil, reference: nil, in: $0)
        }
        #expect(try home.records.get(hidden, of: Home.alice) { _, _ in true } == true)
    }

    @Test(arguments: Engine.all) func leftoversOfADeadProcessAreCollected(_ engine: Engine) throws {
        let home = try Home(engine)
        try home.create(Home.alice)
        let before = try home.export(Home.alice)
        let foreign = try ForeignRepo(ForeignRepo.posts(1_500))
        var staging: RepoStaging? = try RepoStaging(home.repos, did: Home.alice, after: nil)
        for (index, record) in foreign.records.enumerated() {
            let bytes = try #require(foreign.blocks.first { $0.cid == record.cid }?.bytes)
            try staging?.add(StagedRecord(testing: record.key, record.cid, Bytes(bytes)))
            if index == 1_200 { break }
        }
        staging = nil
        #expect(try home.rows()[0] == 1_200, "whole batches were stored")
        // An import that may be alive keeps its rows.
        try home.collect()
        #expect(try home.rows()[0] == 1_200)
        let later = home.clock.now().adding(seconds: RepoImporter.idleSeconds + 1)
        while try RepoImporter.collect(in: home.database, now: later) > 0 {}
        #expect(try home.rows() == [0, 1, 0, 0, 0, 0] || home.rows() == [0, 0, 1, 0, 0, 0])
        #expect(try home.export(Home.alice) == before)
    }

    @Test(arguments: Engine.all) func oneThatWasGivenUpIsNotFinished(_ engine: Engine) throws {
        let home = try Home(engine)
        try home.create(Home.alice)
        let foreign = try ForeignRepo(ForeignRepo.posts(1))
        let staging = try RepoStaging(home.repos, did: Home.alice, after: nil)
        for block in foreign.blocks where block.cid != foreign.records[0].cid {
            try staging.add(block.cid, Bytes(block.bytes))
        }
        let later = home.clock.now().adding(seconds: RepoImporter.idleSeconds + 1)
        #expect(try RepoImporter.collect(in: home.database, now: later) == 1)
        #expect(throws: RepoImportError.abandoned) { try staging.publish() }
        #expect(try home.repos.counts(of: Home.alice).records == 0)
    }

    @Test func revisions() throws {
        let home = try Home(.sqlite)
        try home.create(Home.alice)
        let now = home.clock.now()
        for (name, rev, isFollowed) in [
            ("of before", TID(timestamp: now.adding(seconds: -1_000), clockID: 7), true),
            ("a little ahead", TID(timestamp: now.adding(seconds: 200), clockID: 7), true),
            ("ahead of what relays take", TID(timestamp: now.adding(seconds: 900), clockID: 7), false),
            ("the last one", TID(value: UInt64(Int64.max)), false),
        ] {
            let before = try home.repos.state(of: Home.alice).rev
            let info = try home.take(ForeignRepo(ForeignRepo.posts(2), rev: rev).car()).commit
            #expect(info.rev > before, "\(name)")
            #expect((info.rev > rev) == isFollowed, "\(name)")
        }
        // Version 2 had none.
        _ = try home.take(ForeignRepo(ForeignRepo.posts(2), rev: nil, version: 2).car())
    }

    // MARK: What is refused

    struct Wrong: CustomTestStringConvertible {
        let name: String
        let car: [UInt8]
        let error: RepoImportError
        var sizeMax = 8 << 20
        var testDescription: String { name }
    }

    static let wrong: [Wrong] = (try? makeWrong()) ?? []

    @Test func thereAreWrongOnes() { #expect(Self.wrong.count > 30) }

    @Test(arguments: wrong) func refusedAndNothingChanged(_ wrong: Wrong) throws {
        let home = try Home(.sqlite)
        try home.create(Home.alice)
        try home.repos.apply([put("app.bsky.feed.post/mine", "mine")], to: Home.alice)
        let (before, rows) = (try home.export(Home.alice), try home.rows())
        #expect(throws: wrong.error) { try home.take(wrong.car, sizeMax: wrong.sizeMax) }
        #expect(try home.export(Home.alice) == before)
        #expect(try home.rows() == rows)
    }

    @Test func cutAnywhere() throws {
        let home = try Home(.sqlite)
        try home.create(Home.alice)
        let before = try home.export(Home.alice)
        let car = try ForeignRepo(ForeignRepo.posts(12)).car()
        for end in 0..<car.count {
            #expect(throws: RepoImportError.self, "\(end) bytes") { try home.take(Array(car[..<end])) }
        }
        // A bit of each byte: whatever is hit, the CAR is refused. (Nothing in it is not under a hash or counted.)
        for position in car.indices {
            var changed = car
            changed[position] ^= 0x20
            #expect(throws: RepoImportError.self, "byte \(position)") { try home.take(changed) }
        }
        #expect(try home.export(Home.alice) == before)
        #expect(try home.rows()[5] == 0)
    }

    static func makeWrong() throws -> [Wrong] {
        var rows: [Wrong] = []
        let good = try ForeignRepo(ForeignRepo.posts(40))
        func row(_ name: String, _ error: RepoImportError, _ change: (inout ForeignRepo) throws -> Void) throws {
            var repo = good
            try change(&repo)
            rows.append(Wrong(name: name, car: repo.car(), error: error))
        }
        let root = good.root
        rows.append(Wrong(name: "no bytes", car: [], error: .car(CARError(.header, at: 0))))
        let rest = Array(good.car().dropFirst(59))
        rows.append(
            Wrong(
                name: "two roots", car: header([root, root]) + rest, error: .car(CARError(.expectedOneRoot, at: 0))))
        rows.append(Wrong(name: "no root", car: header([]) + rest, error: .car(CARError(.expectedOneRoot, at: 0))))
        var car = good.car()
        car[car.count - 1] ^= 1
        let lastAt = good.car().count - good.blocks[good.blocks.count - 1].bytes.count
        let width = good.blocks[good.blocks.count - 1].bytes.count + 36 > 127 ? 2 : 1
        rows.append(
            Wrong(
                name: "a block that does not match", car: car,
                error: .car(CARError(.blockDoesNotMatch, at: lastAt - 36 - width))))
        rows.append(
            Wrong(
                name: "cut", car: Array(good.car().dropLast(3)),
                error: .car(CARError(.truncated, at: lastAt - 36 - width))))
        rows.append(Wrong(name: "too large", car: good.car(), error: .tooLarge(max: 2_000), sizeMax: 2_000))

        try row("another account", .wrongAccount(Home.bob)) {
            $0.set("did", .text(Home.bob.bytes))
            try $0.sign()
        }
        let fields: [(String, Bytes, Value?, CommitError)] = [
            ("no did", "did", nil, .invalidField(.did)), ("a did that is none", "did", .text("x"), .invalidField(.did)),
            ("version 1", "version", .integer(1), .invalidField(.version)),
            ("version 4", "version", .integer(4), .invalidField(.version)),
            ("no version", "version", nil, .invalidField(.version)), ("no data", "data", nil, .invalidField(.data)),
            ("data of another codec", "data", .link(CID(hashing: [1], codec: .raw)), .invalidField(.data)),
            ("prev that is text", "prev", .text("x"), .invalidField(.prev)),
            ("no rev in version 3", "rev", nil, .invalidField(.rev)),
            ("rev that is no TID", "rev", .text("2222"), .invalidField(.rev)),
            ("no signature", "sig", nil, .invalidField(.sig)),
            ("63 bytes of signature", "sig", .bytes(Bytes([UInt8](repeating: 1, count: 63))), .invalidField(.sig)),
        ]
        for (name, field, value, error) in fields { try row(name, .commit(error)) { $0.set(field, value) } }

        for (name, pick) in [("the root node", good.blocks.count - 1), ("a node", 2), ("a record", 0)] {
            let nodes = good.blocks.indices.filter { index in
                !good.records.contains { $0.cid == good.blocks[index].cid }
            }
            let index =
                switch name {
                case "a record": good.blocks.firstIndex { $0.cid == good.records[pick].cid } ?? 0
                case "a node": nodes[0]
                default: nodes[nodes.count - 1]
                }
            try row("without \(name)", .missingBlock(good.blocks[index].cid)) { $0.blocks.remove(at: index) }
        }
        rows.append(contentsOf: try wrongRecords())
        rows.append(contentsOf: try wrongTrees())
        return rows
    }

    static func header(_ roots: [CID]) -> [UInt8] {
        var out = CBORWriter()
        out.map(2)
        out.text("roots" as StaticString)
        out.array(roots.count)
        for root in roots { out.link(root) }
        out.text("version" as StaticString)
        out.integer(1)
        return [UInt8(out.out.count)] + out.out
    }

    static func wrongRecords() throws -> [Wrong] {
        let key = "com.example.thing/b"
        func problem(_ error: RepoImportError.RecordProblem) -> RepoImportError { .record(Bytes(key), error) }
        let long = DAGCBOR.encode(
            .object([.init(key: "a", value: .text(Bytes([UInt8](repeating: 97, count: 999_999))))]))
        var deep: [UInt8] = [0xA1, 0x61, 0x61] + [UInt8](repeating: 0x81, count: 100)
        deep.append(0xF6)
        let records: [(String, [UInt8], RepoImportError.RecordProblem)] = [
            ("record: not an object", DAGCBOR.encode(.array([])), .notAnObject),
            (
                "record: a float", [0xA1, 0x61, 0x61, 0xFB, 0x3F, 0xF0, 0, 0, 0, 0, 0, 0],
                .malformed(CBORError(.floatNotAllowed, at: 3))
            ),
            ("record: not shortest", [0xA1, 0x61, 0x61, 0x18, 1], .malformed(CBORError(.nonCanonicalLength, at: 3))),
            (
                "record: keys out of order", [0xA2, 0x61, 0x62, 1, 0x61, 0x61, 1],
                .malformed(CBORError(.mapKeys, at: 4))
            ),
            ("record: more bytes", [0xA0, 0xA0], .malformed(CBORError(.trailingData, at: 1))),
            ("record: cut", [0xA1, 0x61, 0x61], .malformed(CBORError(.truncated, at: 3))),
            ("record: too deep", deep, .malformed(CBORError(.tooDeep, at: 34, limit: 32))),
            ("record: too large", long, .tooLarge(max: 1_000_000)),
        ]
        var rows = try records.map { name, bytes, error in
            // Enough before it that rows were stored already.
            let others = (0..<1_500).map { ("com.example.thing/a\($0)", ForeignRepo.post("x")) }
            let repo = try ForeignRepo(others + [(key, bytes)])
            return Wrong(name: name, car: repo.car(), error: problem(error))
        }
        // A key that the tree allows and a repository path does not: no NSID, and a record key that is too long.
        for (name, key) in [
            ("no NSID", "thing/a"), ("a long record key", "com.example.thing/" + String(repeating: "a", count: 513)),
        ] {
            let repo = try ForeignRepo([(key, ForeignRepo.post("x"))])
            rows.append(Wrong(name: "path: \(name)", car: repo.car(), error: .invalidPath(Bytes(key))))
        }
        // One block of 100 kB under 200 keys: 20 MB of records out of a CAR of 130 kB.
        let block = DAGCBOR.encode(
            .object([.init(key: "a", value: .text(Bytes([UInt8](repeating: 97, count: 100_000))))]))
        var repo = try ForeignRepo((0..<200).map { ("com.example.thing/\($0)", block) })
        var seen: Set<CID> = []
        repo.blocks = repo.blocks.filter { seen.insert($0.cid).inserted }
        rows.append(Wrong(name: "one record many times", car: repo.car(), error: .tooLarge(max: 8 << 20)))
        return rows
    }

    /// A tree of nodes that were written by hand, under a commit that is right.
    static func wrongTrees() throws -> [Wrong] {
        let record = ForeignRepo.post("x")
        let value = CID(hashing: record)
        func tree(_ name: String, _ nodes: [[UInt8]], _ reason: (CID) -> MSTError) throws -> Wrong {
            var repo = try ForeignRepo([])
            let root = CID(hashing: nodes[0])
            repo.blocks = nodes.map { (CID(hashing: $0), $0) } + [(value, record)]
            repo.set("data", .link(root))
            try repo.sign()
            return Wrong(name: "tree: \(name)", car: repo.car(), error: .tree(reason(root)))
        }
        func node(_ keys: [String], children: [MSTNode.Child]) -> [UInt8] {
            MSTNode.encode(keys: keys.map { Bytes($0) }, values: keys.map { _ in value }, children: children)
        }
        // Keys of layer 0 and of layer 1, in order.
        let low = (0..<200).map { "com.example.thing/\(1_000 + $0)" }.filter { MSTKey.layer(of: Bytes($0)) == 0 }
        let high = (0..<200).map { "com.example.thing/\(1_000 + $0)" }.filter { MSTKey.layer(of: Bytes($0)) == 1 }
        let middle = high[high.count / 2]
        let before = low.filter { $0 < middle }
        let after = low.filter { $0 > middle }
        let leaf = node([before[0]], children: [.none, .none])
        let leafCID = CID(hashing: leaf)
        return [
            try tree("not a node", [[0xA0]]) { MSTError(.malformed(.mapKeys), in: $0) },
            try tree("keys out of order", [node([before[1], before[0]], children: [.none, .none, .none])]) {
                MSTError(.keysNotSorted, in: $0)
            },
            try tree("a key twice", [node([before[0], before[0]], children: [.none, .none, .none])]) {
                MSTError(.keysNotSorted, in: $0)
            },
            try tree("keys of two layers", [node([before[0], middle], children: [.none, .none, .none])]) {
                MSTError(.wrongLayer, in: $0)
            },
            // The same node on both sides of a key: the second time its keys are out of the interval.
            try tree("a node twice", [node([middle], children: [.stored(leafCID), .stored(leafCID)]), leaf]) { _ in
                MSTError(.keyOutOfRange, in: leafCID)
            },
            try tree(
                "a child after its place",
                [
                    node(
                        [middle],
                        children: [.stored(CID(hashing: node([after[0]], children: [.none, .none]))), .none]),
                    node([after[0]], children: [.none, .none]),
                ]
            ) { _ in MSTError(.keyOutOfRange, in: CID(hashing: node([after[0]], children: [.none, .none]))) },
            try tree("a child below layer 0", [node([before[0]], children: [.none, .stored(leafCID)]), leaf]) { _ in
                MSTError(.wrongLayer, in: leafCID)
            },
            try tree("a root without entries", [node([], children: [.stored(leafCID)]), leaf]) {
                MSTError(.untrimmedRoot, in: $0)
            },
            try tree(
                "an empty node",
                [
                    node([middle], children: [.stored(CID(hashing: node([], children: [.none]))), .none]),
                    node([], children: [.none]),
                ]
            ) { _ in MSTError(.emptyNode, in: CID(hashing: node([], children: [.none]))) },
            try tree(
                "too many entries",
                [
                    node(
                        (0..<5_000).map { "com.example.thing/\(10_000 + $0)" },
                        children: Array(repeating: .none, count: 5_001))
                ]
            ) {
                MSTError(.tooManyEntries, in: $0)
            },
        ]
    }

    @Test func whatIsBesideTheTreeIsLeftOut() throws {
        let home = try Home(.sqlite)
        try home.create(Home.alice)
        var repo = try ForeignRepo(ForeignRepo.posts(20))
        let nodes = repo.blocks.count - 20
        // A block twice, strangers, and one of another codec.
        repo.blocks.append(repo.blocks[3])
        for index in 0..<50 {
            let stranger = ForeignRepo.post("stranger \(index)")
            repo.blocks.append((CID(hashing: stranger), stranger))
        }
        repo.blocks.append((CID(hashing: [1, 2], codec: .raw), [1, 2]))
        try home.take(repo.car())
        try home.collect()
        #expect(try home.rows() == [20, nodes, 0, 0, 0, 0])
    }

    /// C044: blocks of one byte that nothing refers to, one too many and as many as may be.
    @Test func tooMuchBesideTheTree() throws {
        let home = try Home(.sqlite)
        try home.create(Home.alice)
        let before = try home.export(Home.alice)
        var repo = try ForeignRepo(ForeignRepo.posts(5))
        let size = CID.byteCount + 1
        // All of one CID, which a CAR may repeat: what counts is what has to be kept and looked at.
        let stray = (cid: CID(hashing: [7], codec: .raw), bytes: [7] as [UInt8])
        let max = RepoImporter.unreferencedSizeMax(of: 0)
        #expect(max == 1_048_576)
        repo.blocks += Array(repeating: stray, count: max / size + 1)
        #expect(throws: RepoImportError.unreferenced(max: max)) { try home.take(repo.car()) }
        #expect(try home.export(Home.alice) == before)
        try home.collect()
        #expect(try home.rows()[5] == 0)
        repo.blocks.removeLast()
        #expect(try home.take(repo.car()).records == 5)
    }

    /// In a long CAR it is a tenth.
    @Test func aTenthBesideTheTree() throws {
        let home = try Home(.sqlite)
        try home.create(Home.alice)
        let text = String(repeating: "x", count: 100_000)
        var repo = try ForeignRepo((0..<120).map { ("com.example.thing/\($0)", ForeignRepo.post("\($0)" + text)) })
        func stray(_ number: Int) -> (CID, [UInt8]) {
            let bytes = [UInt8](repeating: UInt8(truncatingIfNeeded: number), count: 1_000_000)
            return (CID(hashing: bytes, codec: .raw), bytes)
        }
        // 1.2 MB beside 12 MB, which is more than in a short one, and then 2.2 MB.
        let more = [UInt8](repeating: 9, count: 200_000)
        repo.blocks += [stray(1), (CID(hashing: more, codec: .raw), more)]
        #expect(try home.take(repo.car(), sizeMax: 20 << 20, pieces: 1 << 20).records == 120)
        repo.blocks.append(stray(2))
        #expect(throws: RepoImportError.self) { try home.take(repo.car(), sizeMax: 20 << 20, pieces: 1 << 20) }
        #expect(try home.repos.counts(of: Home.alice).records == 120)
    }

    @Test func theIndexFindsEachBlock() throws {
        for (count, heldMax) in [(0, 10), (1, 10), (10, 10), (11, 10), (250, 7), (5_000, 64), (3_000, 1_024)] {
            let directory = try TestDirectory()
            let index = BlockIndex(directory: directory.path, heldMax: heldMax)
            let cids = (0..<count).map { CID(hashing: Array("\($0)".utf8)) }
            for (position, cid) in cids.enumerated() {
                try index.add(cid, BlockIndex.Place(offset: position * 1_000_000_007 % (1 << 42), count: position))
            }
            for (position, cid) in cids.prefix(20).enumerated() {
                try index.add(cid, BlockIndex.Place(offset: position * 1_000_000_007 % (1 << 42), count: position))
            }
            try index.seal()
            for (position, cid) in cids.enumerated() {
                let place = BlockIndex.Place(offset: position * 1_000_000_007 % (1 << 42), count: position)
                #expect(try index.find(cid) == place, "\(position) of \(count)")
            }
            for other in 0..<200 { #expect(try index.find(CID(hashing: Array("x\(other)".utf8))) == nil) }
        }
    }
}

extension StagedRecord {
    /// A record that is in no CAR.
    init(testing key: Bytes, _ cid: CID, _ bytes: Bytes) throws {
        var car: [UInt8] = []
        CARWriter.appendHeader(cid, to: &car)
        bytes.withUnsafeBytes { CARWriter.append(cid, $0, to: &car) }
        var rest = car[...]
        let directory = try TestDirectory()
        let imported = try ImportedCAR(directory: directory.path, sizeMax: 1 << 20) { buffer in
            let part = rest.prefix(buffer.count)
            buffer.copyBytes(from: part)
            rest = rest.dropFirst(part.count)
            return part.count
        }
        try self.init(key, cid, imported)
    }
}
