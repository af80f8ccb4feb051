import Foundation
import TestSupport
import Testing

@testable import ATProto
@testable import Base
@testable import Crypto
@testable import Repos
@testable import Storage

/// Repositories that are kept as files after they were streamed.
@Suite struct RepoArchiveTests {
    private struct Place {
        let home: Home
        let archive: RepoArchive
        let repos: RepoStore
        let moment = Guarded(Timestamp(seconds: 0))

        /// Time goes by `moment` after the real one, which the files have.
        init(sizeMax: Int = RepoArchive.sizeMax) throws {
            home = try Home(.sqlite)
            let moment = moment
            let clock = Clock { Clock.system.now().adding(seconds: moment.withLock { $0.seconds }) }
            let made = RepoArchive(
                directory: home.blobs.directory + "/../cars-\(UUID().uuidString)", beside: home.blobs.directory,
                clock: clock, entropy: .system, sizeMax: sizeMax)
            archive = try #require(made)
            let key = home.key
            repos = RepoStore(
                database: home.database, events: home.events, tids: TIDMaker(clockID: 3), clock: home.clock,
                archive: archive, keys: { _, _ in key })
        }

        func fill(_ did: DID, records: Int) throws {
            try home.create(did)
            let text = String(repeating: "x", count: 2_000)
            for start in stride(from: 0, to: records, by: 100) {
                try repos.apply(
                    (start..<min(start + 100, records)).map { try put("com.example.thing/\($0)", "\($0) \(text)") },
                    to: did)
            }
        }

        func stream(_ did: DID, failingAt limit: Int = .max) throws -> [UInt8] {
            var car: [UInt8] = []
            try repos.exportKeeping(did) { piece in
                car.append(contentsOf: piece)
                if car.count > limit { throw CocoaError(.fileWriteUnknown) }
            }
            return car
        }

        func files() throws -> [String] {
            try FileManager.default.contentsOfDirectory(atPath: archive.directory).sorted()
        }

        func found(_ did: DID) throws -> [UInt8]? {
            guard let name = archive.find(did, at: try repos.state(of: did).commit) else { return nil }
            return Array(try Data(contentsOf: URL(fileURLWithPath: "\(archive.directory)/\(name)")))
        }

        func wait(_ seconds: Int64) { moment.withLock { $0 = $0.adding(seconds: seconds) } }
    }

    @Test func whatWasStreamedIsKept() throws {
        let place = try Place()
        try place.fill(Home.alice, records: 300)
        #expect(try place.found(Home.alice) == nil)
        let car = try place.stream(Home.alice)
        #expect(car == (try place.home.export(Home.alice)))
        #expect(try place.found(Home.alice) == car)
        let name = try #require(try place.files().first)
        #expect(name.count == 16 + 1 + 59 + 4 && name.hasSuffix(".car") && name.allSatisfy { $0 != "/" })
        // The next commit has no file; its own takes the place of the old one once that was not used for a moment.
        try place.repos.apply([try put("com.example.thing/new", "x")], to: Home.alice)
        #expect(try place.found(Home.alice) == nil)
        place.wait(61)
        let next = try place.stream(Home.alice)
        #expect(try place.found(Home.alice) == next && next != car)
        #expect(try place.files().count == 1)
    }

    @Test func whatIsShortOrBrokenOffIsNot() throws {
        let place = try Place()
        try place.fill(Home.alice, records: 20)
        _ = try place.stream(Home.alice)
        #expect(try place.files() == [])
        try place.fill(Home.bob, records: 300)
        #expect(throws: CocoaError.self) { try place.stream(Home.bob, failingAt: 500_000) }
        #expect(try place.files() == [])
    }

    @Test func filesAreBoundedAndGo() throws {
        let place = try Place(sizeMax: 4 << 20)
        let owners = try (0..<6).map { number in
            let letter = Array("abcdef")[number]
            return try #require(DID(Bytes("did:plc:owner234567234567owner\(letter)z")))
        }
        for owner in owners {
            try place.fill(owner, records: 450)
            _ = try place.stream(owner)
        }
        func total() throws -> Int {
            try place.files().reduce(0) { sum, name in
                let path = "\(place.archive.directory)/\(name)"
                return sum + ((try FileManager.default.attributesOfItem(atPath: path)[.size] as? Int) ?? 0)
            }
        }
        // Those that may be about to be opened stay, and no more come in.
        #expect(try total() <= 4 << 20)
        #expect(try place.found(owners[0]) != nil && place.found(owners[5]) == nil)
        place.wait(61)
        _ = try place.stream(owners[5])
        #expect(try total() <= 4 << 20)
        #expect(try place.found(owners[5]) != nil)
        place.archive.remove(owners[5])
        #expect(try place.found(owners[5]) == nil && !place.files().isEmpty)
        #expect(place.archive.trim() == 0)
        place.wait(86_401)
        #expect(place.archive.trim() > 0)
        #expect(try place.files() == [])
    }

    /// The account went while its repository was on its way.
    @Test func aDeletedRepositoryIsNotKept() throws {
        let place = try Place()
        try place.fill(Home.alice, records: 300)
        var isGone = false
        try place.repos.exportKeeping(Home.alice) { _ in
            if isGone { return }
            isGone = true
            try place.home.database.write { try place.repos.markDeleted(Home.alice, in: $0) }
            place.archive.remove(Home.alice)
        }
        #expect(try place.files() == [])
    }

    @Test func withoutADirectoryThereIsNone() {
        let missing = RepoArchive(
            directory: "/nonexistent/cars", beside: "/tmp", clock: .system, entropy: .system)
        #expect(missing == nil)
    }
}
