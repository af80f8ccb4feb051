internal import ATProto
internal import Accounts
internal import Base
internal import Repos

/// Views of an account's own records, as an AppView gives them (`app.bsky.actor.defs`, `app.bsky.feed.defs`). What only
/// an AppView knows (labels, the viewer's relations) is left out.
struct LocalViews {
    let account: Account
    /// The profile record as it is now, or nil.
    let profile: Value?
    let images: ImageURLs
    /// Views of posts that are quoted, by URI, as the AppView has them.
    let quotes: [Bytes: Value]

    static let threadViewPost: Bytes = "app.bsky.feed.defs#threadViewPost"

    // MARK: Profiles

    /// `profileViewBasic`.
    var author: Value {
        let bare = Value.object([
            Value.Entry(key: "did", value: .text(account.did.bytes)),
            Value.Entry(key: "handle", value: .text(account.shownHandle.bytes)),
        ])
        return updated(basic: bare)
    }

    /// A basic view with what the profile record says of it.
    func updated(basic view: Value) -> Value {
        view.setting("displayName", profile?["displayName"]).setting("avatar", image(.avatar, profile?["avatar"]))
    }

    /// A detailed view likewise.
    func updated(detailed view: Value) -> Value {
        updated(basic: view).setting("description", profile?["description"])
            .setting("banner", image(.banner, profile?["banner"]))
    }

    /// `view` updated when it is of this account.
    func updatedIfOwn(basic view: Value) -> Value {
        view["did"]?.text == account.did.bytes ? updated(basic: view) : view
    }

    func updatedIfOwn(detailed view: Value) -> Value {
        view["did"]?.text == account.did.bytes ? updated(detailed: view) : view
    }

    // MARK: Posts

    static func indexedAt(_ record: StoredRecord) -> Bytes { Bytes(record.rev.timestamp.iso8601Bytes) }

    func uri(_ record: StoredRecord) -> Bytes { ATURI(account.did, record.path).bytes }

    /// `postView` of a post that nobody has answered yet.
    func post(_ record: StoredRecord) -> Value {
        let counts: [Bytes] = ["replyCount", "repostCount", "likeCount", "quoteCount"]
        let view = Value.object(
            counts.map { Value.Entry(key: $0, value: .integer(0)) } + [
                Value.Entry(key: "uri", value: .text(uri(record))),
                Value.Entry(key: "cid", value: .text(Bytes(record.cid.text))),
                Value.Entry(key: "author", value: author),
                Value.Entry(key: "record", value: record.value),
                Value.Entry(key: "indexedAt", value: .text(Self.indexedAt(record))),
            ])
        return view.setting("embed", record.value["embed"].flatMap(embed))
    }

    /// `threadViewPost`.
    func thread(_ record: StoredRecord) -> Value {
        .object([
            Value.Entry(key: "$type", value: .text(Self.threadViewPost)),
            Value.Entry(key: "post", value: post(record)),
        ])
    }

    /// The URI of the post that `embed` quotes, or nil.
    static func quoted(_ embed: Value) -> Bytes? {
        let quote: Value? =
            switch embed["$type"]?.text {
            case Embeds.record: embed
            case Embeds.recordWithMedia: embed["record"]
            default: nil
            }
        guard let text = quote?["record"]?["uri"]?.text, let uri = ATURI(text),
            uri.collection?.bytes == Collections.post
        else { return nil }
        return text
    }

    /// Pictures, links and quotes; nil for what needs more than is known here to be shown.
    private func embed(_ embed: Value) -> Value? {
        switch embed["$type"]?.text {
        case Embeds.record: return quote(embed)
        case Embeds.recordWithMedia:
            guard let record = quote(embed), let media = embed["media"].flatMap({ self.media($0) }) else { return nil }
            return Value.object([
                Value.Entry(key: "$type", value: .text(Embeds.recordWithMedia + "#view")),
                Value.Entry(key: "record", value: record), Value.Entry(key: "media", value: media),
            ])
        default: return media(embed)
        }
    }

    private func quote(_ embed: Value) -> Value? {
        guard let uri = Self.quoted(embed), let post = quotes[uri] else { return nil }
        let record = Value.object([
            Value.Entry(key: "$type", value: .text(Embeds.record + "#viewRecord")),
            Value.Entry(key: "uri", value: .text(uri)),
        ])
        .setting("cid", post["cid"]).setting("author", post["author"]).setting("value", post["record"])
        .setting("labels", post["labels"]).setting("indexedAt", post["indexedAt"])
        .setting("embeds", post["embed"].map { .array([$0]) })
        return Value.object([
            Value.Entry(key: "$type", value: .text(Embeds.record + "#view")),
            Value.Entry(key: "record", value: record),
        ])
    }

    private func media(_ embed: Value) -> Value? {
        switch embed["$type"]?.text {
        case Embeds.images:
            let views = (embed["images"]?.array ?? []).compactMap(picture)
            return Value.object([
                Value.Entry(key: "$type", value: .text(Embeds.images + "#view")),
                Value.Entry(key: "images", value: .array(views)),
            ])
        case Embeds.external:
            guard let external = embed["external"] else { return nil }
            let view = Value.object([])
                .setting("uri", external["uri"]).setting("title", external["title"])
                .setting("description", external["description"])
                .setting("thumb", image(.thumbnail, external["thumb"]))
            return Value.object([
                Value.Entry(key: "$type", value: .text(Embeds.external + "#view")),
                Value.Entry(key: "external", value: view),
            ])
        default: return nil
        }
    }

    private func picture(_ item: Value) -> Value? {
        guard let thumb = image(.thumbnail, item["image"]), let full = image(.fullSize, item["image"]) else {
            return nil
        }
        return Value.object([Value.Entry(key: "thumb", value: thumb), Value.Entry(key: "fullsize", value: full)])
            .setting("alt", item["alt"]).setting("aspectRatio", item["aspectRatio"])
    }

    private func image(_ size: ImageURLs.Size, _ blob: Value?) -> Value? {
        blob?["ref"]?.link.map { .text(images.url(size, of: account.did, $0)) }
    }
}

/// Where the pictures of a view are.
struct ImageURLs {
    /// The sizes that the reference's AppView has, by its names.
    enum Size: String {
        case avatar, banner
        case thumbnail = "feed_thumbnail"
        case fullSize = "feed_fullsize"
    }

    /// With `{size}`, `{did}` and `{cid}` in it; nil: this server's own blobs.
    let pattern: Bytes?
    /// This server's origin.
    let origin: Bytes

    func url(_ size: Size, of did: DID, _ cid: CID) -> Bytes {
        guard let pattern else {
            let query = "?did=" + did.bytes + "&cid=" + Bytes(cid.text)
            return origin + XRPCResponder.prefix + GetBlob.nsid + query
        }
        let parts: [(name: Bytes, value: Bytes)] = [
            ("{size}", Bytes(size.rawValue)), ("{did}", did.bytes), ("{cid}", Bytes(cid.text)),
        ]
        var out: [UInt8] = []
        var rest = pattern
        while let first = rest.first {
            let part = parts.first { rest.starts(with: $0.name) }
            if let part { out.append(contentsOf: part.value) } else { out.append(first) }
            rest = rest.from(part?.name.count ?? 1)
        }
        return Bytes(out)
    }
}

extension Value {
    /// A map with `value` under `key`, or without `key` when that is nil. Anything but a map stays as it is.
    func setting(_ key: Bytes, _ value: Value?) -> Value {
        guard case .map(let entries) = self else { return self }
        let others = entries.filter { $0.key != key }
        return value.map { .object(others + [Entry(key: key, value: $0)]) } ?? .map(others)
    }
}
