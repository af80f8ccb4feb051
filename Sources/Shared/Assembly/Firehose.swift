public import Base

/// Where the firehose is found.
public enum Firehose {
    /// The path of the one method that is a WebSocket.
    public static let path: Bytes = "/xrpc/com.atproto.sync.subscribeRepos"
}
