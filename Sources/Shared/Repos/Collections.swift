public import Base

/// The collections that this server knows something about.
public enum Collections {
    public static let post: Bytes = "app.bsky.feed.post"
    public static let like: Bytes = "app.bsky.feed.like"
    public static let repost: Bytes = "app.bsky.feed.repost"
    public static let follow: Bytes = "app.bsky.graph.follow"
    public static let block: Bytes = "app.bsky.graph.block"
    public static let profile: Bytes = "app.bsky.actor.profile"
}
