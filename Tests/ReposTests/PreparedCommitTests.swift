import Dispatch
import TestSupport
import Testing

@testable import ATProto
@testable import Base
@testable import Crypto
@testable import Repos
@testable import Storage

/// Commits that were prepared on a guess: what decides is what the transaction finds.
@Suite struct PreparedCommitTests {
    private struct Unwilling: Error {}

    private static let collection = "com.example.thing"

    private func write(
        _ name: String, _ action: (RecordBlock) -> RecordWrite.Action, _ text: String = "x",
        expecting expectation: RecordWrite.Expectation = .anything
    ) throws -> RecordWrite {
        let path = path("\(Self.collection)/\(name)")
        return RecordWrite(path, action(try block(path, post(text))), expecting: expectation)
    }

    private func like(_ name: String, _ subject: String) throws -> RecordWrite {
        let path = path("app.bsky.feed.like/\(name)")
        let record = Value.map([
            .init(key: "subject", value: .map([.init(key: "uri", value: .text(Bytes(subject)))]))
        ])
        return RecordWrite(path, .create(try block(path, record)))
    }

    private func keys(_ home: Home, _ collection: StaticString) throws -> [String] {
        var keys: [String] = []
        guard let nsid = NSID(Bytes(stringLiteral: collection)) else { return [] }
        try home.records.list(nsid, of: Home.alice, limit: 100, ascending: true) { key, _, _ in
            keys.append(Bytes(key).description)
        }
        return keys
    }

    /// Another process has written since: what the guess would have answered is wrong in every row.
    @Test(arguments: Engine.all) func aStaleGuessDecidesNothing(_ engine: Engine) throws {
        let home = try Home(engine)
        try home.create(Home.alice)
        let other = home.otherProcess()
        func expect(
            _ name: String, _ error: RepoError?, elsewhere: RecordWrite, _ write: RecordWrite,
            expecting commit: CID? = nil
        ) throws {
            // One write of its own first, so that this process has a guess.
            try home.repos.apply([try self.write("own", RecordWrite.Action.put, name)], to: Home.alice)
            let guessed = try home.repos.state(of: Home.alice)
            try other.apply([elsewhere], to: Home.alice)
            let state = try home.repos.state(of: Home.alice)
            #expect(guessed.commit != state.commit)
            var found: RepoError?
            do { try home.repos.apply([write], to: Home.alice, expecting: commit) } catch let refusal as RepoError {
                found = refusal
            }
            #expect(found == error, "\(name)")
            #expect((try home.repos.state(of: Home.alice).commit == state.commit) == (error != nil), "\(name)")
        }
        let (a, b) = (path("\(Self.collection)/a"), path("\(Self.collection)/b"))
        try expect(
            "create what is there by now", .recordExists(a.bytes), elsewhere: try write("a", RecordWrite.Action.create),
            try write("a", RecordWrite.Action.create, "y"))
        try expect(
            "update what has gone", .recordNotFound(a.bytes), elsewhere: RecordWrite(a, .delete),
            try write("a", RecordWrite.Action.update, "y"))
        try expect(
            "delete what came", nil, elsewhere: try write("b", RecordWrite.Action.create),
            RecordWrite(b, .deleteIfPresent))
        let c = try write("c", RecordWrite.Action.put, "one")
        try home.repos.apply([c], to: Home.alice)
        let changed = try block(c.path, post("two"))
        try expect(
            "swap what was replaced", .recordSwap(current: changed.cid),
            elsewhere: try write("c", RecordWrite.Action.put, "two"),
            try write(
                "c", RecordWrite.Action.put, "three", expecting: .record(try block(c.path, post("one")).cid)))
        try expect(
            "the same record again, which is another by now", nil,
            elsewhere: try write("c", RecordWrite.Action.put, "four"), try write("c", RecordWrite.Action.put, "two"))
        // A commit that was current when the guess was made.
        let guessed = try home.repos.apply([try write("own", RecordWrite.Action.put, "swap")], to: Home.alice)
        let current = try other.apply([try write("d", RecordWrite.Action.create)], to: Home.alice)
        #expect(throws: RepoError.commitSwap(current: try #require(current.commit?.cid))) {
            try home.repos.apply(
                [try write("e", RecordWrite.Action.create)], to: Home.alice, expecting: guessed.commit?.cid)
        }
        #expect(try home.repos.verify(Home.alice, key: home.key.publicKey).problems == [])
        try RepoStoreTests.checkEvents(home, count: try home.events.newest())
    }

    /// Deactivated, taken down or removed between one write and the next.
    @Test(arguments: Engine.all) func anInactiveRepositoryTakesNothing(_ engine: Engine) throws {
        let home = try Home(engine)
        try home.create(Home.alice)
        try home.repos.apply([try put("com.example.thing/one", "x")], to: Home.alice)
        for status in RepoStatus.allCases where status != .active && status != .deleted {
            try home.database.write { try home.repos.setStatus(status, of: Home.alice, in: $0) }
            let state = try home.repos.state(of: Home.alice)
            for _ in 0..<2 {
                #expect(throws: RepoError.notActive(Home.alice, status)) {
                    try home.repos.apply([try put("com.example.thing/two", "\(status)")], to: Home.alice)
                }
            }
            #expect(try home.repos.state(of: Home.alice).commit == state.commit)
            try home.database.write { try home.repos.setStatus(.active, of: Home.alice, in: $0) }
            try home.repos.apply([try put("com.example.thing/two", "\(status)")], to: Home.alice)
        }
        try RepoStoreTests.checkEvents(home, count: 5)
        try home.database.write { try home.repos.markDeleted(Home.alice, in: $0) }
        #expect(throws: RepoError.repoNotFound(Home.alice)) {
            try home.repos.apply([try put("com.example.thing/three", "x")], to: Home.alice)
        }
        while try home.repos.removeRows(of: Home.alice) {}
        try home.repos.finishRemoval(of: Home.alice)
        try home.create(Home.alice)
        try home.repos.apply([try put("com.example.thing/three", "x")], to: Home.alice)
        #expect(try keys(home, "com.example.thing") == ["three"])
        #expect(try home.repos.verify(Home.alice, key: home.key.publicKey).problems == [])
    }

    /// What goes with a write and throws takes the write with it, and those that were built on it are made anew.
    @Test(arguments: Engine.all) func aBrokenChainIsMadeAnew(_ engine: Engine) throws {
        let home = try Home(engine)
        try home.create(Home.alice)
        let missing = BlobReference(
            cid: CID(hashing: [1, 2, 3] as [UInt8], codec: .raw), mimeType: "image/png", size: 3)
        let kept = Guarded<[String]>([])
        let wrong = Guarded<[String]>([])
        DispatchQueue.concurrentPerform(iterations: 8) { thread in
            for number in 0..<18 {
                let name = "\(thread)x\(number)"
                do {
                    switch number % 3 {
                    case 0:
                        try home.repos.apply([try put("com.example.thing/\(name)", name)], to: Home.alice)
                        kept.withLock { $0.append(name) }
                    case 1:
                        try home.repos.apply([try put("com.example.thing/\(name)", name)], to: Home.alice) { _ in
                            throw Unwilling()
                        }
                        wrong.withLock { $0.append("\(name) was not refused") }
                    default:
                        let path = path("com.example.thing/\(name)")
                        let record = Value.map([.init(key: "picture", value: missing.value)])
                        try home.repos.apply([RecordWrite(path, .create(try block(path, record)))], to: Home.alice)
                        wrong.withLock { $0.append("\(name) has no blob") }
                    }
                } catch {
                    let isMeant =
                        switch number % 3 {
                        case 1: error is Unwilling
                        case 2: error as? RepoError == .blobNotFound(missing.cid)
                        default: false
                        }
                    if !isMeant { wrong.withLock { $0.append("\(name): \(error)") } }
                }
            }
        }
        #expect(wrong.withLock { $0 } == [])
        #expect(try keys(home, "com.example.thing") == kept.withLock { $0.sorted() })
        #expect(kept.withLock { $0.count } == 8 * 6)
        #expect(try home.repos.verify(Home.alice, key: home.key.publicKey).problems == [])
        try RepoStoreTests.checkEvents(home, count: 1 + 8 * 6)
    }

    /// However many likes of one subject are on their way, in two processes, one is left.
    @Test(arguments: Engine.all) func oneLinkIsLeft(_ engine: Engine) throws {
        let home = try Home(engine)
        try home.create(Home.alice)
        let stores = [home.repos, home.otherProcess()]
        let failures = Guarded<[String]>([])
        DispatchQueue.concurrentPerform(iterations: 6) { thread in
            for number in 0..<10 {
                do {
                    let subject = "at://did:web:bob.test/app.bsky.feed.post/\(number % 2)"
                    try stores[thread % 2].apply([try like("\(thread)x\(number)", subject)], to: Home.alice)
                } catch { failures.withLock { $0.append("\(error)") } }
            }
        }
        #expect(failures.withLock { $0 } == [])
        #expect(try keys(home, "app.bsky.feed.like").count == 2)
        let links = try home.database.first("SELECT count(*) FROM backlink") { try $0.integer(0) }
        #expect(links == 2)
        #expect(try home.repos.verify(Home.alice, key: home.key.publicKey).problems == [])
    }

    /// Many threads of two processes on three repositories, with a cache that holds next to nothing: nodes of commits
    /// that are not stored yet can be found nowhere, and packs are folded meanwhile.
    @Test(arguments: Engine.all) func twoProcessesOnSeveralRepositories(_ engine: Engine) throws {
        let home = try Home(engine, cacheSize: 40_000)
        let owners = [Home.alice, Home.bob, did("did:plc:carol234567234567carolz2")]
        for owner in owners { try home.create(owner) }
        let stores = [home.repos, home.otherProcess()]
        let failures = Guarded<[String]>([])
        let threads = 8
        DispatchQueue.concurrentPerform(iterations: threads) { thread in
            var numbers = Numbers(state: UInt64(thread))
            for number in 0..<40 {
                let owner = owners[Int.random(in: 0..<3, using: &numbers)]
                do {
                    let own = "com.example.thing/\(thread)x\(number)"
                    let shared = "com.example.thing/shared\(Int.random(in: 0..<4, using: &numbers))"
                    var writes = [try put(own, own), try put(shared, own)]
                    if number % 4 == 3 {
                        writes.append(RecordWrite(path("com.example.thing/\(thread)x\(number - 1)"), .deleteIfPresent))
                    }
                    try stores[thread % 2].apply(writes, to: owner)
                } catch { failures.withLock { $0.append("\(error)") } }
            }
        }
        #expect(failures.withLock { $0 } == [])
        let events = try home.events.events(after: 0, limit: 1_000, sizeMax: 1 << 30)
        #expect(events.map(\.seq) == Array(1...(3 + threads * 40)))
        for owner in owners {
            #expect(try home.repos.verify(owner, key: home.key.publicKey).problems == [])
            // Each event goes on from the one before.
            var last: Value?
            for event in events {
                let frame = try Frame(event)
                guard frame.payload["repo"]?.text == owner.bytes else { continue }
                if let last { #expect(frame.payload["since"] == last) }
                last = frame.payload["rev"]
            }
            #expect(last?.text == (try home.repos.state(of: owner).rev.bytes))
        }
    }
}
