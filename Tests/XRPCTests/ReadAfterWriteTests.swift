import ATProto
import Base
import Foundation
import Hosting
import Net
import TestSupport
import Testing
import Web
import XRPCHandlers

/// Answers of an AppView that is behind, mended with what was just written (specs/pds.md §2.3, row 65).
@Suite struct ReadAfterWriteTests {
    private static let origin = "https://appview.test/xrpc/"

    /// A home whose account has a profile and a post that the AppView knows (`seen`), and then wrote more.
    private struct Scene {
        let home: ProxyWorld
        let seen: String
        let older: String
        let known: String
        let knownAt: String

        init(_ engine: Engine, imageURL: Bytes? = nil) throws {
            home = try ProxyWorld(
                engine,
                appView: Upstream.AppView(
                    did: DID(FakeUpstream.did)!, origin: FakeUpstream.origin, imageURL: imageURL))
            try home.write(
                "app.bsky.actor.profile", #"{"$type":"app.bsky.actor.profile","displayName":"Old"}"#, rkey: "self")
            older = home.uri(try home.post("older").rkey)
            let post = try home.post("known")
            (seen, known) = (post.rev, home.uri(post.rkey))
            knownAt = TID(post.rev)!.timestamp.iso8601
        }

        func answer(_ method: String, _ body: String, rev: String? = nil, status: Int = 200) {
            var answer = FakeUpstream.Answer(status: status, body: Bytes(body))
            answer.headers += [("atproto-repo-rev", Bytes(rev ?? seen))]
            home.world.upstream.answer(origin + method, answer)
        }

        func item(_ text: String, at moment: String, author: String? = nil) -> String {
            let did = author ?? home.did
            return """
                {"post":{"uri":"at://x/\(text)","indexedAt":"\(moment)","author":{"did":"\(did)","displayName":"Old"},\
                "record":{"text":"\(text)"}}}
                """
        }

        func feed(_ items: String...) -> String { #"{"feed":[\#(items.joined(separator: ","))],"cursor":"c"}"# }

        /// The texts of a feed's posts in order.
        func texts(_ target: String) throws -> [String] {
            let result = try home.call(.get, target)
            #expect(result.status == 200)
            let feed = result.json["feed"] as? [[String: Any]] ?? []
            return feed.map { (($0["post"] as? [String: Any])?["record"] as? [String: Any])?["text"] as? String ?? "?" }
        }
    }

    @Test(arguments: Engine.all) func aTimelineHasWhatWasJustWritten(_ engine: Engine) throws {
        let scene = try Scene(engine)
        let timeline = "app.bsky.feed.getTimeline"
        scene.answer(
            timeline,
            scene.feed(scene.item("later", at: "2099-01-01T00:00:00.000Z"), scene.item("known", at: scene.knownAt)))
        #expect(try scene.texts(timeline) == ["later", "known"])
        #expect(try scene.home.call(.get, timeline).headers["atproto-upstream-lag"] == nil)

        try scene.home.post("first")
        try scene.home.post("second")
        #expect(try scene.texts(timeline) == ["later", "second", "first", "known"])
        scene.home.world.advance(10)
        let result = try scene.home.call(.get, timeline, [("accept-encoding", "gzip")])
        #expect(result.headers["atproto-upstream-lag"] == "11000")
        #expect(result.headers["atproto-repo-rev"] == scene.seen)
        #expect(result.headers["content-type"] == "application/json")
        #expect(result.json["cursor"] as? String == "c")
        #expect(
            scene.home.world.upstream.requests.last?.headers.first { $0.name == "accept-encoding" }?.value == "identity"
        )
        // A later page begins where this one ends.
        #expect(try scene.texts(timeline + "?cursor=c") == ["later", "known"])
        // Older than everything on the page: it is of a later page.
        scene.answer(timeline, scene.feed(scene.item("later", at: "2099-01-01T00:00:00.000Z")))
        #expect(try scene.texts(timeline) == ["later"])
        scene.answer(timeline, scene.feed())
        #expect(try scene.texts(timeline) == ["second", "first"])
        // What the AppView has all the same is not there twice.
        let third = try scene.home.post("third")
        let item = scene.item("third", at: TID(third.rev)!.timestamp.iso8601)
        scene.answer(timeline, scene.feed(item.replacing("at://x/third", with: scene.home.uri(third.rkey))))
        #expect(try scene.texts(timeline) == ["third"])
    }

    @Test func theViewOfAPost() throws {
        let scene = try Scene(.sqlite, imageURL: "https://cdn.test/{size}/{did}/{cid}@jpeg?{x}")
        let home = scene.home
        let blob = try home.world.respond(
            home.world.request(
                .post, "/xrpc/com.atproto.repo.uploadBlob",
                headers: [("authorization", "Bearer \(home.token)"), ("content-type", "image/png")],
                body: [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]))
        guard case .bytes(let bytes) = blob.body else { return }
        let reference = try ProxyWorld.object(String(decoding: bytes, as: UTF8.self))["blob"] as? [String: Any]
        let json = String(decoding: try JSONSerialization.data(withJSONObject: reference ?? [:]), as: UTF8.self)
        let cid = try #require((reference?["ref"] as? [String: Any])?["$link"] as? String)
        try home.write(
            "app.bsky.actor.profile", #"{"$type":"app.bsky.actor.profile","displayName":"New","avatar":\#(json)}"#,
            rkey: "self")
        let post = try home.post(
            "picture",
            more: """
                ,"embed":{"$type":"app.bsky.embed.images","images":[{"image":\(json),"alt":"a",\
                "aspectRatio":{"width":1,"height":2}}]}
                """)
        scene.answer("app.bsky.feed.getTimeline", scene.feed())
        let result = try home.call(.get, "app.bsky.feed.getTimeline")
        let feed = try #require(result.json["feed"] as? [[String: Any]])
        let view = try #require(feed.first?["post"] as? [String: Any])
        #expect(view["uri"] as? String == home.uri(post.rkey))
        #expect((view["cid"] as? String)?.hasPrefix("bafyrei") == true)
        #expect(view["indexedAt"] as? String == TID(post.rev)!.timestamp.iso8601)
        for count in ["replyCount", "repostCount", "likeCount", "quoteCount"] { #expect(view[count] as? Int == 0) }
        let author = view["author"] as? [String: String]
        #expect(
            author == [
                "did": home.did, "handle": "alice.home.test", "displayName": "New",
                "avatar": "https://cdn.test/avatar/\(home.did)/\(cid)@jpeg?{x}",
            ])
        let embed = try #require(view["embed"] as? [String: Any])
        #expect(embed["$type"] as? String == "app.bsky.embed.images#view")
        let image = try #require((embed["images"] as? [[String: Any]])?.first)
        #expect(image["thumb"] as? String == "https://cdn.test/feed_thumbnail/\(home.did)/\(cid)@jpeg?{x}")
        #expect(image["fullsize"] as? String == "https://cdn.test/feed_fullsize/\(home.did)/\(cid)@jpeg?{x}")
        #expect(image["alt"] as? String == "a")
        #expect(image["aspectRatio"] as? [String: Int] == ["width": 1, "height": 2])
        let record = view["record"] as? [String: Any]
        let kept = ((record?["embed"] as? [String: Any])?["images"] as? [[String: Any]])?.first?["image"]
        #expect((kept as? NSDictionary) == (reference as NSDictionary?))
    }

    @Test func embedsOfOtherKinds() throws {
        let scene = try Scene(.sqlite)
        try scene.home.post(
            "link",
            more: """
                ,"embed":{"$type":"app.bsky.embed.external","external":{"uri":"https://x","title":"t",\
                "description":"d"}}
                """)
        try scene.home.post(
            "quote",
            more: """
                ,"embed":{"$type":"app.bsky.embed.record","record":{"uri":"\(scene.known)",\
                "cid":"bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm"}}
                """)
        scene.answer("app.bsky.feed.getTimeline", scene.feed())
        let feed = try scene.home.call(.get, "app.bsky.feed.getTimeline").json["feed"] as? [[String: Any]]
        let posts = (feed ?? []).compactMap { $0["post"] as? [String: Any] }
        #expect(posts.count == 2)
        #expect(posts.first?["embed"] == nil, "the AppView does not say what the quoted post looks like")
        let link = posts.last?["embed"] as? [String: Any]
        #expect(link?["$type"] as? String == "app.bsky.embed.external#view")
        #expect(link?["external"] as? [String: String] == ["uri": "https://x", "title": "t", "description": "d"])
    }

    @Test func quotesAreTheAppViewsToShow() throws {
        let scene = try Scene(.sqlite)
        let cid = "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm"
        func quote(_ uri: String) -> String {
            #"{"$type":"app.bsky.embed.record","record":{"uri":"\#(uri)","cid":"\#(cid)"}}"#
        }
        let other = "at://did:web:o/app.bsky.feed.post/a"
        try scene.home.post("own", more: #","embed":\#(quote(scene.known))"#)
        try scene.home.post("a list", more: #","embed":\#(quote("at://did:web:o/app.bsky.graph.list/a"))"#)
        try scene.home.post(
            "with a link",
            more: """
                ,"embed":{"$type":"app.bsky.embed.recordWithMedia","record":\(quote(other)),"media":\
                {"$type":"app.bsky.embed.external","external":{"uri":"https://x","title":"t","description":"d"}}}
                """)
        scene.answer("app.bsky.feed.getTimeline", scene.feed())
        func view(_ uri: String) -> String {
            #"{"uri":"\#(uri)","cid":"c","author":{"did":"d"},"record":{"text":"t"},"embed":{"e":1},"likeCount":3}"#
        }
        scene.answer("app.bsky.feed.getPosts", #"{"posts":[\#(view(other)),\#(view(scene.known)),\#(view("at://x"))]}"#)
        let feed = try scene.home.call(.get, "app.bsky.feed.getTimeline").json["feed"] as? [[String: Any]]
        let embeds = (feed ?? []).map { ($0["post"] as? [String: Any])?["embed"] as? NSDictionary }
        #expect(embeds.count == 3)
        func shown(_ uri: String) -> NSDictionary {
            [
                "$type": "app.bsky.embed.record#view",
                "record": [
                    "$type": "app.bsky.embed.record#viewRecord", "uri": uri, "cid": "c", "author": ["did": "d"],
                    "value": ["text": "t"], "embeds": [["e": 1]],
                ] as NSDictionary,
            ]
        }
        #expect(embeds.last == shown(scene.known))
        #expect(embeds[1] == nil, "a list is not shown")
        #expect(embeds.first??["$type"] as? String == "app.bsky.embed.recordWithMedia#view")
        #expect(embeds.first??["record"] as? NSDictionary == shown(other))
        #expect((embeds.first??["media"] as? NSDictionary)?["$type"] as? String == "app.bsky.embed.external#view")
        let asked = scene.home.world.upstream.requests.filter { "\($0.url)".contains("getPosts?") }
        #expect(asked.count == 1)
        #expect("\(asked[0].url)".components(separatedBy: "uris=").count == 3)
        #expect(asked[0].deadlineMilliseconds == 5_000)
        // Where no posts are shown nobody asks.
        scene.answer("app.bsky.actor.getProfile", #"{"did":"\#(scene.home.did)"}"#)
        _ = try scene.home.call(.get, "app.bsky.actor.getProfile")
        #expect(scene.home.world.upstream.requests.filter { "\($0.url)".contains("getPosts?") }.count == 1)
    }

    @Test func anAuthorsFeed() throws {
        let scene = try Scene(.sqlite)
        let name = "app.bsky.feed.getAuthorFeed"
        let home = scene.home
        scene.answer(
            name,
            scene.feed(
                scene.item("other", at: scene.knownAt, author: "did:web:o"), scene.item("known", at: scene.knownAt)))
        try home.post("new")
        try home.post(
            "answer",
            more: """
                ,"reply":{"root":{"uri":"at://did:web:o/app.bsky.feed.post/a",\
                "cid":"bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm"},\
                "parent":{"uri":"at://did:web:o/app.bsky.feed.post/a",\
                "cid":"bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm"}}
                """)
        try home.write(
            "app.bsky.actor.profile", #"{"$type":"app.bsky.actor.profile","displayName":"New"}"#, rkey: "self")
        for actor in [home.did, "alice.home.test", "Alice.Home.Test"] {
            #expect(try scene.texts("\(name)?actor=\(actor)") == ["answer", "new", "other", "known"])
        }
        #expect(try scene.texts("\(name)?actor=did:web:o") == ["other", "known"])
        #expect(try scene.texts("\(name)?actor=\(home.did)&filter=posts_no_replies") == ["new", "other", "known"])
        #expect(
            try scene.texts("\(name)?actor=\(home.did)&filter=posts_and_author_threads") == ["new", "other", "known"])
        #expect(try scene.texts("\(name)?actor=\(home.did)&filter=posts_with_media") == ["other", "known"])
        #expect(try scene.texts("\(name)?actor=\(home.did)&cursor=c") == ["other", "known"])
        let feed = try home.call(.get, "\(name)?actor=\(home.did)").json["feed"] as? [[String: Any]]
        let names = (feed ?? []).map {
            (($0["post"] as? [String: Any])?["author"] as? [String: Any])?["displayName"] as? String
        }
        #expect(names == ["New", "New", "Old", "New"], "the caller's own name and nobody else's")
        // Likes are of others' posts as well: only the name is mended.
        scene.answer("app.bsky.feed.getActorLikes", scene.feed(scene.item("known", at: scene.knownAt)))
        let likes = try home.call(.get, "app.bsky.feed.getActorLikes?actor=\(home.did)")
        #expect(likes.body.contains(#""displayName":"New""#))
        #expect(!likes.body.contains("answer"))
        #expect(likes.headers["atproto-upstream-lag"] != nil)
    }

    @Test func profiles() throws {
        let scene = try Scene(.sqlite)
        let home = scene.home
        let view = #"{"did":"\#(home.did)","displayName":"Old","description":"d","banner":"b","followersCount":3}"#
        let other = #"{"did":"did:web:o","displayName":"Other"}"#
        scene.answer("app.bsky.actor.getProfile", view)
        scene.answer("app.bsky.actor.getProfiles", #"{"profiles":[\#(other),\#(view)]}"#)
        try home.post("no profile")
        #expect(
            try home.call(.get, "app.bsky.actor.getProfile").json["displayName"] as? String == "Old")
        try home.write(
            "app.bsky.actor.profile", #"{"$type":"app.bsky.actor.profile","displayName":"New","description":"e"}"#,
            rkey: "self")
        let expected: NSDictionary = [
            "did": home.did, "displayName": "New", "description": "e", "followersCount": 3,
        ]
        #expect(try home.call(.get, "app.bsky.actor.getProfile").json as NSDictionary == expected)
        let profiles = try home.call(.get, "app.bsky.actor.getProfiles").json["profiles"] as? [NSDictionary]
        #expect(profiles?.last == expected)
        #expect(profiles?.first?["displayName"] as? String == "Other")
        scene.answer("app.bsky.actor.getProfile", other)
        #expect(try home.call(.get, "app.bsky.actor.getProfile").json["displayName"] as? String == "Other")
    }

    // MARK: What passes as it is

    struct Plain: CustomTestStringConvertible, Sendable {
        let testDescription: String
        var headers: [(name: Bytes, value: Bytes)] = [("content-type", "application/json")]
        var rev: String?
        let body: String
    }

    static let long = #"{"feed":[],"a":""# + String(repeating: "x", count: 2_097_153) + #""}"#
    static let plain: [Plain] = [
        Plain(testDescription: "no revision", rev: "", body: #"{ "feed":[] }"#),
        Plain(testDescription: "no TID", rev: "latest", body: #"{ "feed":[] }"#),
        Plain(testDescription: "ahead of here", rev: "7777777777777", body: #"{ "feed":[] }"#),
        Plain(testDescription: "of before everything here", rev: "2222222222222", body: #"{ "feed":[] }"#),
        Plain(testDescription: "no JSON", body: "[,"),
        Plain(testDescription: "a float", body: #"{"feed":[],"a":1.5}"#),
        Plain(testDescription: "another type", headers: [("content-type", "text/plain")], body: #"{ "feed":[] }"#),
        Plain(
            testDescription: "compressed all the same",
            headers: [("content-type", "application/json"), ("content-encoding", "gzip")], body: #"{ "feed":[] }"#),
        Plain(testDescription: "2 MiB and more", body: long),
        Plain(
            testDescription: "2 MiB and more, declared",
            headers: [("content-type", "application/json"), ("content-length", "2097170")], body: long),
        Plain(
            testDescription: "too deep", body: String(repeating: "[", count: 200) + String(repeating: "]", count: 200)),
    ]

    @Test(arguments: plain) func passesAsItIs(_ row: Plain) throws {
        let scene = try Scene(.sqlite)
        try scene.home.post("new")
        var headers = row.headers
        if row.rev != "" { headers.append(("atproto-repo-rev" as Bytes, Bytes(row.rev ?? scene.seen))) }
        scene.home.world.upstream.answer(
            Self.origin + "app.bsky.feed.getTimeline", .init(headers: headers, body: Bytes(row.body)))
        let result = try scene.home.call(.get, "app.bsky.feed.getTimeline")
        #expect(result.status == 200)
        #expect(result.body == row.body)
        #expect(result.headers["atproto-upstream-lag"] == nil)
    }

    @Test func answersWithoutTheirPartsStayAsTheyAre() throws {
        let scene = try Scene(.sqlite)
        try scene.home.post("new")
        for name in [
            "feed.getTimeline", "feed.getAuthorFeed", "feed.getActorLikes", "feed.getPostThread", "actor.getProfiles",
        ] {
            scene.answer("app.bsky." + name, #"{"x":[1,null,true,{"$type":"y"}]}"#)
            let result = try scene.home.call(.get, "app.bsky.\(name)?actor=\(scene.home.did)")
            #expect(result.body == #"{"x":[1,null,true,{"$type":"y"}]}"#)
        }
    }

    @Test func aBodyThatBreaksOffIsAFailure() throws {
        let scene = try Scene(.sqlite)
        try scene.home.post("new")
        var answer = FakeUpstream.Answer(body: "{", bodyError: .malformedResponse)
        answer.headers.append(("atproto-repo-rev", Bytes(scene.seen)))
        scene.home.world.upstream.answer(Self.origin + "app.bsky.feed.getTimeline", answer)
        let result = try scene.home.call(.get, "app.bsky.feed.getTimeline")
        #expect(result.status == 502)
        #expect(result.error == "UpstreamFailure")
    }

    // MARK: Threads

    private static let cid = "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm"

    private static func reply(_ root: String, _ parent: String) -> String {
        #","reply":{"root":{"uri":"\#(root)","cid":"\#(cid)"},"parent":{"uri":"\#(parent)","cid":"\#(cid)"}}"#
    }

    private static func node(_ uri: String, replies: String? = nil) -> String {
        let replies = replies.map { #","replies":[\#($0)]"# } ?? ""
        return """
            {"$type":"app.bsky.feed.defs#threadViewPost","post":{"uri":"\(uri)","record":{"text":"t"}}\(replies)}
            """
    }

    /// `a(b,c(d))` of the ends of the posts' URIs.
    private static func shape(_ thread: Any?) -> String {
        guard let thread = thread as? [String: Any], let post = thread["post"] as? [String: Any] else { return "?" }
        let replies = (thread["replies"] as? [Any] ?? []).map { shape($0) }
        let text = (post["record"] as? [String: Any])?["text"] as? String ?? "?"
        return text + (replies.isEmpty ? "" : "(\(replies.joined(separator: ",")))")
    }

    @Test func repliesComeIntoTheirThread() throws {
        let scene = try Scene(.sqlite)
        let home = scene.home
        let name = "app.bsky.feed.getPostThread"
        let (root, child) = ("at://did:web:o/app.bsky.feed.post/r", "at://did:web:o/app.bsky.feed.post/c")
        scene.answer(name, #"{"thread":\#(Self.node(root, replies: Self.node(child) + #",{"$type":"x"}"#))}"#)
        let first = try home.post("first", more: Self.reply(root, child))
        try home.post("second", more: Self.reply(root, home.uri(first.rkey)))
        try home.post("third", more: Self.reply(root, root))
        try home.post("elsewhere", more: Self.reply("at://did:web:o/app.bsky.feed.post/z", root))
        try home.post("no answer")
        let result = try home.call(.get, "\(name)?uri=\(root)")
        #expect(Self.shape(result.json["thread"]) == "t(third,t(first(second)),?)")
        #expect(result.headers["atproto-upstream-lag"] != nil)
        // What the AppView has already is not put in twice.
        scene.answer(name, #"{"thread":\#(Self.node(root, replies: Self.node(home.uri(first.rkey))))}"#)
        try home.post("fourth", more: Self.reply(root, root))
        let again = try home.call(.get, "\(name)?uri=\(root)")
        #expect(Self.shape(again.json["thread"]) == "t(fourth,third,t(second))")
    }

    @Test func aPostThatTheAppViewHasNotSeen() throws {
        let scene = try Scene(.sqlite)
        let home = scene.home
        let name = "app.bsky.feed.getPostThread"
        let notFound = #"{"error":"NotFound","message":"Post not found"}"#
        scene.answer(name, notFound, status: 400)
        let post = try home.post("new")
        try home.post("own answer", more: Self.reply(home.uri(post.rkey), home.uri(post.rkey)))
        for repo in [home.did, "alice.home.test"] {
            let result = try home.call(.get, "\(name)?uri=at://\(repo)/app.bsky.feed.post/\(post.rkey)")
            #expect(result.status == 200)
            #expect(Self.shape(result.json["thread"]) == "new(own answer)")
            #expect(result.headers["atproto-upstream-lag"] == "1000")
        }
        let elsewhere = [
            "at://did:web:o/app.bsky.feed.post/\(post.rkey)", home.uri("3jzfcijpj2z2a"), scene.known, scene.older,
            "at://\(home.did)/app.bsky.actor.profile/self", "at://\(home.did)", "x",
        ]
        for uri in elsewhere {
            let result = try home.call(.get, "\(name)?uri=\(uri)")
            #expect(result.status == 400)
            #expect(result.body == notFound)
        }
        scene.answer(name, #"{"error":"BlockedActor"}"#, status: 400)
        #expect(try home.call(.get, "\(name)?uri=\(home.uri(post.rkey))").error == "BlockedActor")
    }

    @Test func whatStandsAboveAnUnseenPostIsTheAppViewsToTell() throws {
        let scene = try Scene(.sqlite)
        let home = scene.home
        let name = "app.bsky.feed.getPostThread"
        scene.answer(name, #"{"error":"NotFound"}"#, status: 400)
        let parent = "at://did:web:o/app.bsky.feed.post/r"
        let post = try home.post("answer", more: Self.reply(parent, parent))
        let result = try home.call(.get, "\(name)?uri=\(home.uri(post.rkey))&parentHeight=5")
        #expect(Self.shape(result.json["thread"]) == "answer")
        let request = try home.lastRequest()
        #expect(
            request.url
                == "\(Self.origin)\(name)?uri=at%3A%2F%2Fdid%3Aweb%3Ao%2Fapp.bsky.feed.post%2Fr&depth=0&parentHeight=5")
        #expect(request.claims["lxm"] == name)
        #expect(request.claims["iss"] == home.did)
    }
}
