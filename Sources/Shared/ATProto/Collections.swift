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
