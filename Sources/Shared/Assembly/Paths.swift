public import Base

/// Where everything lives, from the settings: absolute paths without a slash at the end.
public struct Paths: Sendable {
    public let data: String
    public let run: String

    public init(_ settings: Settings) {
        data = Files.absolute(settings[Settings.dataDirectory].description)
        run = settings[Settings.runDirectory].map { Files.absolute($0.description) } ?? "\(data)/run"
    }

    public var database: String { "\(data)/skystead.sqlite" }
    public var blobs: String { "\(data)/blobs" }
    /// Whole repositories that were sent once; may be emptied at any time.
    public var cars: String { "\(data)/cars" }
    /// Where CARs are while they are imported. Nothing in it has a name for longer than a moment.
    public var imports: String { "\(data)/import" }
    public var keys: String { "\(data)/keys" }
    public var sealingKey: String { "\(keys)/sealing.key" }
    public var rotationKey: String { "\(keys)/plc-rotation.sealed" }
    public var logs: String { "\(data)/log" }
    public var xrpcSocket: String { "\(run)/xrpc.sock" }
    public var adminSocket: String { "\(run)/admin.sock" }
    public var streamSocket: String { "\(run)/stream.sock" }
    /// Rung by writers, heard by the stream. Not in `run`: that belongs to whoever makes the listening sockets.
    public var doorbell: String { "\(data)/doorbell.sock" }

    /// Makes the directories of the state that are missing; `run` is whoever's who makes the sockets in it. Blobs are
    /// readable by the group, because the web server sends them; keys by nobody else.
    public func makeDirectories() throws(SystemError) {
        try Files.makeDirectory(data, mode: 0o711)
        try Files.makeDirectory(blobs, mode: 0o750)
        try Files.makeDirectory(keys, mode: 0o700)
    }
}
