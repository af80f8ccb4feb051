/// The named limits of what is decoded from outside. Reaching one is an error that names it.
public struct DataLimits: Sendable, Equatable {
    /// Containers inside each other; at most `depthCeiling`.
    public var depthMax: Int { didSet { depthMax = min(depthMax, Self.depthCeiling) } }
    /// Elements of one array or entries of one map.
    public var containerCountMax: Int
    /// Bytes of one map key.
    public var keySizeMax: Int
    /// Bytes of the whole block.
    public var blockSizeMax: Int

    /// What `depthMax` is cut to: decoding recurses once a level, and threads have small stacks.
    public static let depthCeiling = 128

    public init(
        depthMax: Int = 32, containerCountMax: Int = 131_072, keySizeMax: Int = 8_192, blockSizeMax: Int = 1_048_576
    ) {
        self.depthMax = min(depthMax, Self.depthCeiling)
        self.containerCountMax = containerCountMax
        self.keySizeMax = keySizeMax
        self.blockSizeMax = blockSizeMax
    }

    /// Any block of a repository: at most 1 MiB.
    public static let block = DataLimits()

    /// A record that is written here: at most 1,000,000 bytes, so that the commit fits the firehose's frame.
    /// https://atproto.com/specs/sync (#commit message limits)
    public static let record = DataLimits(blockSizeMax: 1_000_000)
}
