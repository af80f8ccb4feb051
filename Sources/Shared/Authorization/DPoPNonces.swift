public import Base
internal import Crypto

/// The nonces that proofs must carry (RFC 9449 §8): a keyed digest of the minute, so that every process gives out and
/// takes the same ones and none is stored.
public struct DPoPNonces: Sendable {
    /// A nonce is given out for so long.
    public static let stepSeconds: Int64 = 60

    /// What this series was made with, beside the secret.
    let epoch: Bytes
    private let key: Secret

    /// `secret` is derived from the sealing key; `epoch` is `ReplayStore.epoch`.
    public init(secret: Secret, epoch: Bytes) {
        self.epoch = epoch
        key = Secret(HMACSHA256.authenticate("skystead DPoP nonces, version 1, " + epoch, key: secret).bytes)
    }

    /// The nonce to give out at `now`: 43 characters.
    public func current(_ now: Timestamp) -> Bytes { nonce(Self.step(now)) }

    /// Until when `nonce` is taken: it must be that of this step, the one before or the one after (another process's
    /// clock may be ahead). Nil for any other. The comparison takes the same time for all.
    func validUntil(_ nonce: Bytes, _ now: Timestamp) -> Timestamp? {
        let present = Self.step(now)
        var found: Int64?
        for step in present - 1...present + 1 where constantTimeEqual(self.nonce(step), nonce) { found = step }
        return found.map { Timestamp(seconds: ($0 + 2) * Self.stepSeconds) }
    }

    private static func step(_ now: Timestamp) -> Int64 { max(0, now.seconds) / stepSeconds }

    private func nonce(_ step: Int64) -> Bytes {
        Bytes(RadixEncoding.base64URL.encode(HMACSHA256.authenticate(Bytes(String(step)), key: key).bytes))
    }
}
