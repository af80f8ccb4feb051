internal import ATProto
internal import Accounts
internal import Base
internal import Hosting
internal import Net
internal import Repos
internal import Web

/// Answers of an AppView that has not seen the caller's last writes, mended from here (specs/pds.md §2.3).
///
/// The AppView says in `Atproto-Repo-Rev` how far it is with the caller's repository. When that is not behind, or
/// what was written since is no post and no profile, the answer passes through as it is.
struct ReadAfterWrite {
    /// What a method's answer is mended with.
    struct Context {
        let recent: RecentRecords
        let views: LocalViews
        let query: Query

        /// Whether `actor` of the query is the caller.
        var isOwn: Bool {
            guard let actor = try? query.single("actor") else { return false }
            return actor == views.account.did.bytes
                || views.account.handle.map { $0.bytes == actor.lowercasedASCII } ?? false
        }

        /// Whether the query asks for the newest items and not for a later page.
        var isFirstPage: Bool { ((try? query.single("cursor")) ?? nil) == nil }
    }

    /// How the answer of one method is mended.
    struct Mending: Sendable {
        /// Whether posts of the caller's are put in.
        let showsPosts: Bool
        let munge: @Sendable (Value, Context) -> Value

        init(showsPosts: Bool = false, _ munge: @escaping @Sendable (Value, Context) -> Value) {
            self.showsPosts = showsPosts
            self.munge = munge
        }
    }

    static let getPostThread: Bytes = "app.bsky.feed.getPostThread"

    static let methods: [Bytes: Mending] = [
        "app.bsky.actor.getProfile": Mending { answer, context in
            context.recent.isProfileRecent ? context.views.updatedIfOwn(detailed: answer) : answer
        },
        "app.bsky.actor.getProfiles": Mending { answer, context in
            guard context.recent.isProfileRecent, let profiles = answer["profiles"]?.array else { return answer }
            return answer.setting("profiles", .array(profiles.map { context.views.updatedIfOwn(detailed: $0) }))
        },
        "app.bsky.feed.getTimeline": Mending(showsPosts: true) { answer, context in
            guard context.isFirstPage, let feed = answer["feed"]?.array else { return answer }
            return answer.setting("feed", .array(Feed.inserting(context.recent.posts, into: feed, context.views)))
        },
        "app.bsky.feed.getAuthorFeed": Mending(showsPosts: true) { answer, context in
            guard context.isOwn, let feed = answer["feed"]?.array else { return answer }
            let items = Feed.updatingAuthors(feed, context)
            let posts = context.isFirstPage ? Feed.posts(context) : []
            return answer.setting("feed", .array(Feed.inserting(posts, into: items, context.views)))
        },
        "app.bsky.feed.getActorLikes": Mending { answer, context in
            guard let feed = answer["feed"]?.array else { return answer }
            return answer.setting("feed", .array(Feed.updatingAuthors(feed, context)))
        },
        getPostThread: Mending(showsPosts: true) { answer, context in
            guard let thread = answer["thread"] else { return answer }
            return answer.setting("thread", Thread.inserting(context.recent.posts, into: thread, context.views))
        },
    ]

    /// Longer answers are not taken apart: they pass through as they are.
    static let answerSizeMax = 2_097_152

    let forwarding: Forwarding
    let caller: AccountCaller
    let mending: Mending

    private var app: XRPCApp { forwarding.app }

    func response(to call: UpstreamCall, _ lane: Lanes.Lane) throws -> Response {
        let incoming = try app.send(call)
        let head = incoming.head
        guard Forwarding.isSuccess(head) else { return try error(incoming) }
        guard let rev = head["atproto-repo-rev"].flatMap({ TID($0) }), Forwarding.isJSON(head),
            head["content-encoding"] == nil, head["content-length"]?.decimal ?? 0 <= Self.answerSizeMax,
            let recent = try app.records.recent(of: caller.did, after: rev)
        else { return forwarding.stream(incoming, lane) }
        let bytes: [UInt8]
        do throws(HTTPClientError) {
            bytes = try incoming.collect()
        } catch {
            throw UpstreamError(cause: error, isNamedByCaller: call.target.isNamedByCaller)
        }
        guard bytes.count <= Self.answerSizeMax,
            let answer = try? JSON.parsePlain(Bytes(bytes), depthMax: DataLimits.depthCeiling)
        else { return forwarding.whole(head, bytes) }
        let context = Context(
            recent: recent, views: try views(recent.profile, posts: mending.showsPosts ? recent.posts : []),
            query: try forwarding.request.parseQuery())
        return mended(JSON.encode(mending.munge(answer, context)), head, oldest: recent.oldest)
    }

    private func views(_ profile: StoredRecord?, posts: [StoredRecord]) throws -> LocalViews {
        LocalViews(
            account: caller.account, profile: profile?.value,
            images: ImageURLs(pattern: app.upstream.appView?.imageURL, origin: app.life.settings.publicURL),
            quotes: try quotes(of: posts))
    }

    /// The posts that `posts` quote, in one query of the AppView. Those that it does not give are shown as text alone.
    private func quotes(of posts: [StoredRecord]) throws -> [Bytes: Value] {
        let uris = Set(posts.compactMap { $0.value["embed"].flatMap(LocalViews.quoted) })
        guard !uris.isEmpty, let appView = app.upstream.appView else { return [:] }
        let query = uris.sorted().reduce(Bytes()) { query, uri in
            query + (query.isEmpty ? "uris=" : "&uris=") + PercentCoding.encode(uri)
        }
        let answer = try askOrNothing("app.bsky.feed.getPosts", query, appView)
        var quotes: [Bytes: Value] = [:]
        for post in answer?["posts"]?.array ?? [] {
            if let uri = post["uri"]?.text, uris.contains(uri) { quotes[uri] = post }
        }
        return quotes
    }

    /// What the AppView says to a query that only makes an answer better; nil when it can't be had.
    private func askOrNothing(_ method: Bytes, _ query: Bytes, _ appView: Upstream.AppView) throws -> Value? {
        do { return try app.ask(method, query, at: appView, for: caller.did) } catch is UpstreamError { return nil }
    }

    /// An answer that was made here, with how far the AppView is behind.
    private func mended(_ json: [UInt8], _ head: HTTPResponseHead, oldest: Timestamp?) -> Response {
        var response = forwarding.whole(HTTPResponseHead(status: 200, headers: head.headers), json)
        if let oldest {
            let lag = max(0, app.clock.now().microseconds - oldest.microseconds) / 1_000
            response.append("Atproto-Upstream-Lag", HeaderValue(Int(lag)))
        }
        return response
    }

    // MARK: A thread that the AppView has not

    /// The AppView's error, unless it says that it has no post which is the caller's and was just written.
    private func error(_ incoming: HTTPIncoming) throws -> Response {
        let head = incoming.head
        guard forwarding.method == Self.getPostThread, head.status == 400, Forwarding.isJSON(head),
            let body = Forwarding.bounded(incoming)
        else { return try forwarding.error(incoming) }
        guard let error = try? JSON.parsePlain(Bytes(body)), error["error"]?.text == "NotFound",
            let rev = head["atproto-repo-rev"].flatMap({ TID($0) }), let thread = try localThread(after: rev)
        else { return forwarding.whole(head, body) }
        var writer = JSONWriter()
        writer.beginObject()
        writer.field("thread", thread.view)
        writer.endObject()
        return mended(writer.finish(), head, oldest: thread.oldest)
    }

    /// The thread of the post that the query names, when it is one of the caller's that a commit after `rev` wrote.
    private func localThread(after rev: TID) throws -> (view: Value, oldest: Timestamp)? {
        let query = try forwarding.request.parseQuery()
        guard let text = try query.single("uri"), let uri = ATURI(text), isCaller(uri.authority),
            let collection = uri.collection, let rkey = uri.rkey, collection.bytes == Collections.post,
            let post = try app.records.find(RepoPath(collection, rkey), of: caller.did), post.rev > rev
        else { return nil }
        let recent = try app.records.recent(of: caller.did, after: rev)
        let views = try views(recent?.profile, posts: [post] + (recent?.posts ?? []))
        var view = Thread.inserting(recent?.posts ?? [], into: views.thread(post), views)
        if let parent = post.value["reply"]?["parent"]?["uri"]?.text, let appView = app.upstream.appView {
            view = view.setting("parent", try parentThread(parent, query, appView))
        }
        return (view, min(post.rev.timestamp, recent?.oldest ?? post.rev.timestamp))
    }

    private func isCaller(_ authority: ATIdentifier) -> Bool {
        switch authority {
        case .did(let did): did == caller.did
        case .handle(let handle): handle == caller.account.handle
        }
    }

    /// What stands above the post, as the AppView has it; nil when it can't say: the post alone is better than nothing.
    private func parentThread(_ uri: Bytes, _ query: Query, _ appView: Upstream.AppView) throws -> Value? {
        var parameters = "uri=" + PercentCoding.encode(uri) + "&depth=0"
        if let height = try query.single("parentHeight") {
            parameters = parameters + "&parentHeight=" + PercentCoding.encode(height)
        }
        return try askOrNothing(Self.getPostThread, parameters, appView)?["thread"]
    }
}

/// Lists of `feedViewPost`.
private enum Feed {
    /// `feed` with `posts` (the newest first) where they belong by time. What would come after the last item is of a
    /// later page.
    static func inserting(_ posts: [StoredRecord], into feed: [Value], _ views: LocalViews) -> [Value] {
        var items = feed
        let last = feed.last?["post"]?["indexedAt"]?.text ?? Bytes()
        let known = Set(feed.compactMap { $0["post"]?["uri"]?.text })
        for post in posts where !known.contains(views.uri(post)) {
            let moment = LocalViews.indexedAt(post)
            guard moment > last else { continue }
            let place = items.firstIndex { ($0["post"]?["indexedAt"]?.text ?? Bytes()) < moment } ?? items.count
            items.insert(.object([Value.Entry(key: "post", value: views.post(post))]), at: place)
        }
        return items
    }

    /// `feed` with the caller's new name and picture.
    static func updatingAuthors(_ feed: [Value], _ context: ReadAfterWrite.Context) -> [Value] {
        guard context.recent.isProfileRecent else { return feed }
        return feed.map { item in
            guard let post = item["post"], let author = post["author"] else { return item }
            return item.setting("post", post.setting("author", context.views.updatedIfOwn(basic: author)))
        }
    }

    /// The recent posts that the query's `filter` lets through (`app.bsky.feed.getAuthorFeed`).
    static func posts(_ context: ReadAfterWrite.Context) -> [StoredRecord] {
        switch (try? context.query.single("filter")) ?? nil {
        case nil, "posts_with_replies": context.recent.posts
        case "posts_no_replies", "posts_and_author_threads":
            context.recent.posts.filter { $0.value["reply"] == nil }
        default: []
        }
    }
}

/// Trees of `threadViewPost`.
private enum Thread {
    /// `thread` with those of `posts` (the newest first) that answer a post in it.
    static func inserting(_ posts: [StoredRecord], into thread: Value, _ views: LocalViews) -> Value {
        guard thread["$type"]?.text == LocalViews.threadViewPost, let post = thread["post"] else { return thread }
        let roots = [post["uri"]?.text, post["record"]?["reply"]?["root"]?["uri"]?.text].compactMap(\.self)
        // The oldest first: a post may answer one that has just been put in.
        return posts.reversed().reduce(thread) { thread, post in
            guard let root = post.value["reply"]?["root"]?["uri"]?.text, roots.contains(root) else { return thread }
            return inserting(post, into: thread, views)
        }
    }

    private static func inserting(_ reply: StoredRecord, into thread: Value, _ views: LocalViews) -> Value {
        let replies = thread["replies"]?.array
        if let parent = reply.value["reply"]?["parent"]?["uri"]?.text, thread["post"]?["uri"]?.text == parent {
            let isThere = replies?.contains { $0["post"]?["uri"]?.text == views.uri(reply) } ?? false
            return isThere ? thread : thread.setting("replies", .array([views.thread(reply)] + (replies ?? [])))
        }
        guard let replies else { return thread }
        return thread.setting("replies", .array(replies.map { inserting(reply, into: $0, views) }))
    }
}
