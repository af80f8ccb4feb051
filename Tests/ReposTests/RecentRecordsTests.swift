import TestSupport
import Testing

@testable import ATProto
@testable import Base
@testable import Repos
@testable import Storage

/// What commits after a revision wrote, as far as read-after-write asks.
@Suite struct RecentRecordsTests {
    private static let none = TID("2222222222222")!

    private func texts(_ recent: RecentRecords?) -> [Bytes] {
        recent?.posts.compactMap { $0.value["text"]?.text } ?? []
    }

    private func write(_ home: Home, _ writes: RecordWrite...) throws -> TID {
        try #require(try home.repos.apply(writes, to: Home.alice).commit).rev
    }

    private func rkey(_ number: Int) -> String {
        TID(timestamp: Timestamp(seconds: 1_700_000_000 + Int64(number)), clockID: 0).bytes.description
    }

    private func postPath(_ number: Int) -> String { "app.bsky.feed.post/\(rkey(number))" }

    @Test(arguments: Engine.all) func postsAfterARevision(_ engine: Engine) throws {
        let home = try Home(engine)
        try home.create(Home.alice)
        let seen = try write(home, try put(postPath(1), "old"), try put("app.bsky.feed.like/\(rkey(1))", "like"))
        #expect(try home.records.recent(of: Home.alice, after: seen) == nil, "nothing is newer")
        let first = try write(home, try put(postPath(2), "first"), try put("app.bsky.feed.like/\(rkey(2))", "like"))
        let second = try write(home, try put(postPath(3), "second"))
        let recent = try #require(try home.records.recent(of: Home.alice, after: seen))
        #expect(texts(recent) == ["second", "first"])
        #expect(recent.posts.map(\.rev) == [second, first])
        #expect(recent.posts.first?.path == path(postPath(3)))
        #expect(recent.profile == nil)
        #expect(!recent.isProfileRecent)
        #expect(recent.oldest == first.timestamp)
        #expect(texts(try home.records.recent(of: Home.alice, after: first)) == ["second"])
        // A post that is written anew is recent, and one that is deleted is not there.
        _ = try write(home, try put(postPath(1), "edited"))
        #expect(texts(try home.records.recent(of: Home.alice, after: second)) == ["edited"])
        _ = try write(home, RecordWrite(path(postPath(3)), .deleteIfPresent))
        #expect(texts(try home.records.recent(of: Home.alice, after: seen)) == ["first", "edited"])
    }

    @Test(arguments: Engine.all) func theProfileAfterARevision(_ engine: Engine) throws {
        let home = try Home(engine)
        try home.create(Home.alice)
        let old = try write(home, try put("app.bsky.actor.profile/self", "old"))
        let between = try write(home, try put(postPath(1), "post"))
        let recent = try #require(try home.records.recent(of: Home.alice, after: old))
        #expect(recent.profile?.value["text"]?.text == "old")
        #expect(!recent.isProfileRecent)
        #expect(recent.oldest == between.timestamp)
        let new = try write(home, try put("app.bsky.actor.profile/self", "new"))
        let later = try #require(try home.records.recent(of: Home.alice, after: between))
        #expect(later.profile?.value["text"]?.text == "new")
        #expect(later.isProfileRecent)
        #expect(later.posts == [])
        #expect(later.oldest == new.timestamp)
        _ = try write(home, try put("app.bsky.feed.like/\(rkey(2))", "like"))
        #expect(try home.records.recent(of: Home.alice, after: new) == nil, "a like is no post")
    }

    @Test(arguments: Engine.all) func noMoreThanTen(_ engine: Engine) throws {
        let home = try Home(engine)
        try home.create(Home.alice)
        let seen = try write(home, try put(postPath(0), "0"))
        for number in 1...12 { _ = try write(home, try put(postPath(number), "\(number)")) }
        let recent = try home.records.recent(of: Home.alice, after: seen)
        #expect(texts(recent) == (3...12).reversed().map { Bytes("\($0)") })
    }

    @Test(arguments: Engine.all) func aRevisionOfBeforeEverythingHere(_ engine: Engine) throws {
        let home = try Home(engine)
        let created = try home.create(Home.alice)
        let first = try write(home, try put(postPath(1), "a"), try put("app.bsky.actor.profile/self", "b"))
        #expect(try home.records.recent(of: Home.alice, after: Self.none) == nil)
        #expect(try home.records.recent(of: Home.alice, after: created.rev) == nil)
        _ = try write(home, try put(postPath(2), "c"))
        #expect(texts(try home.records.recent(of: Home.alice, after: first)) == ["c"])
        #expect(throws: RepoError.repoNotFound(Home.bob)) { try home.records.recent(of: Home.bob, after: first) }
        try home.database.write { try home.repos.setStatus(.deactivated, of: Home.alice, in: $0) }
        #expect(try home.records.recent(of: Home.alice, after: first) == nil)
        #expect(try home.records.find(path(postPath(1)), of: Home.alice) == nil)
    }

    @Test(arguments: Engine.all) func oneRecordWithItsRevision(_ engine: Engine) throws {
        let home = try Home(engine)
        try home.create(Home.alice)
        let rev = try write(home, try put(postPath(1), "a"))
        let found = try #require(try home.records.find(path(postPath(1)), of: Home.alice))
        #expect(found.rev == rev)
        #expect(found.cid == (try block(path(postPath(1)), post("a"))).cid)
        #expect(try home.records.find(path(postPath(2)), of: Home.alice) == nil)
    }
}
