internal import CSystem

/// The kernel had no randomness to give. Nothing that needs it may go on.
public struct EntropyError: Error, Sendable {
    public let errno: Int32

    public init(errno: Int32) { self.errno = errno }
}

/// Where randomness comes from: a value, so that tests choose it. The product's is getrandom(2).
public struct Entropy: Sendable {
    private let fill: @Sendable (UnsafeMutableRawBufferPointer) throws(EntropyError) -> Void

    public init(fill: @escaping @Sendable (UnsafeMutableRawBufferPointer) throws(EntropyError) -> Void) {
        self.fill = fill
    }

    /// `count` random bytes.
    public func bytes(_ count: Int) throws(EntropyError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var failure: EntropyError?
        bytes.withUnsafeMutableBytes { raw in
            do throws(EntropyError) { try fill(raw) } catch { failure = error }
        }
        if let failure { throw failure }
        return bytes
    }

    public static let system = Entropy { raw throws(EntropyError) in
        guard let base = raw.baseAddress else { return }
        if csystem_random(base, raw.count) != 0 { throw EntropyError(errno: SystemError.lastErrno) }
    }
}
