import TestSupport
import Testing

@testable import ATProto
@testable import Base
@testable import Crypto
@testable import Repos
@testable import Storage

/// What the firehose says after a restore.
@Suite struct RestoreTests {
    @Test(
        arguments: [
            ("the clock alone", [], 1_800_000_000_000_000),
            ("relays that are behind", [5, 70_000], 1_800_000_000_000_000),
            ("a relay that is ahead", [5, 1_900_000_000_000_000], 1_900_000_001_000_000),
            ("a number that nobody can have seen", [1 << 53 - 1], 1_800_000_000_000_000),
        ] as [(String, [Int], Int)])
    func theTargetIsAboveWhatWasSeen(_ name: String, _ seen: [Int], _ target: Int) {
        #expect(EventSequence.target(now: Timestamp(seconds: 1_800_000_000), seenByRelays: seen) == target)
    }

    @Test(arguments: Engine.all) func theCounterOnlyRises(_ engine: Engine) throws {
        let home = try Home(engine)
        #expect(try home.events.raise(to: 1_000) == 1_000)
        #expect(try home.events.raise(to: 10) == 1_000)
        try home.create(Home.alice)
        #expect(try home.events.events(after: 0, limit: 10, sizeMax: 1 << 20).map(\.seq) == [1_001])
        #expect(throws: EventSequenceError.tooHigh(max: EventSequence.believedMax)) {
            try home.events.raise(to: EventSequence.believedMax + 1)
        }
        #expect(try home.events.newest() == 1_001)
    }

    @Test(arguments: Engine.all) func everyAccountIsAnnouncedAndTheActiveOnesWithANewCommit(_ engine: Engine) throws {
        let home = try Home(engine)
        let active = try (0..<5).map { number in
            guard let did = DID(Bytes("did:plc:restore2345672345672345\(number + 2)")) else {
                throw RepoError.corrupt("DID")
            }
            return did
        }
        let before = try active.map { try home.create($0).rev }
        try home.create(Home.bob)
        try home.database.write { try home.repos.setStatus(.deactivated, of: Home.bob, in: $0) }
        let seen = try home.events.raise(to: 5_000)

        var steps: [RepoStore.RestoreStep] = []
        var cursor: Int? = 0
        while let from = cursor {
            steps.append(try home.repos.announceRestored(after: from, limit: 4))
            cursor = steps.last?.next
        }
        #expect(steps.map(\.count) == [4, 2])
        #expect(steps.map(\.activeCount) == [4, 1])

        let frames = try home.events.events(after: seen, limit: 100, sizeMax: 1 << 20).map(Frame.init)
        #expect(frames.count == 11)
        for (did, rev) in zip(active, before) {
            let own = frames.filter { $0.payload["did"]?.text == did.bytes }
            #expect(own.map { $0.header["t"]?.text } == ["#account", "#sync"])
            let sync = try #require(own.last)
            let state = try home.repos.state(of: did)
            #expect(state.rev > rev, "relays drop what has no greater revision")
            #expect(sync.payload["rev"]?.text == state.rev.bytes)
            let car = try blocks(try #require(sync.bytes("blocks")))
            #expect(car.root == state.commit)
            #expect(car.order == [state.commit])
            #expect(try home.repos.verify(did, key: home.key.publicKey).problems == [])
        }
        let bobs = frames.filter { $0.payload["did"]?.text == Home.bob.bytes }
        #expect(bobs.map { $0.header["t"]?.text } == ["#account"])
        #expect(bobs.first?.payload["status"]?.text == "deactivated")
    }

    @Test(arguments: Engine.all) func withoutAccountsItEndsAtOnce(_ engine: Engine) throws {
        let home = try Home(engine)
        #expect(
            try home.repos.announceRestored(after: 0) == RepoStore.RestoreStep(count: 0, activeCount: 0, next: nil))
        #expect(try home.events.newest() == 0)
    }
}
