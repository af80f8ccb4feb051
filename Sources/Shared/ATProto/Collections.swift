public import Base

/// The collections whose records this server does something with, apart from keeping them.
public enum Collections {
    public static let post: Bytes = "app.bsky.feed.post"
    public static let like: Bytes = "app.bsky.feed.like"
    public static let repost: Bytes = "app.bsky.feed.repost"
    public static let follow: Bytes = "app.bsky.graph.follow"
    public static let block: Bytes = "app.bsky.graph.block"
    public static let profile: Bytes = "app.bsky.actor.profile"
    public static let lexicon: Bytes = "com.atproto.lexicon.schema"
}

/// Objects that stand for something in a repository.
public enum References {
    /// A record at one of its versions.
    public static let strongRef: Bytes = "com.atproto.repo.strongRef"
}

/// What a post may embed, as far as this server knows something about it.
public enum Embeds {
    public static let images: Bytes = "app.bsky.embed.images"
    public static let external: Bytes = "app.bsky.embed.external"
    public static let video: Bytes = "app.bsky.embed.video"
    public static let gallery: Bytes = "app.bsky.embed.gallery"
    public static let record: Bytes = "app.bsky.embed.record"
    public static let recordWithMedia: Bytes = "app.bsky.embed.recordWithMedia"
}
