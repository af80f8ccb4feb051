public import Base
public import Storage

/// What every endpoint that takes DPoP proofs does with one, with the nonces and the memory that all processes share.
public final class DPoPCheck: Sendable {
    private let secret: Secret
    private let replays: ReplayStore
    private let clock: Clock
    private let entropy: Entropy
    /// Only to save asking: a proof is used under the epoch that the database has then.
    private let known = Guarded<DPoPNonces?>(nil)

    /// `secret` is derived from the sealing key, so that every process has the same; for `database` see `ReplayStore`.
    public init(secret: Secret, database: any Database, clock: Clock, entropy: Entropy) {
        self.secret = secret
        replays = ReplayStore(database)
        self.clock = clock
        self.entropy = entropy
    }

    /// The value of the `DPoP-Nonce` field of a reply. Throws what the database throws.
    public func nonce() throws -> Bytes { try nonces().current(clock.now()) }

    /// Verifies the value of the one `DPoP` header field; see `DPoPProof.verify`. Nothing is used up.
    public func verify(
        _ header: Bytes, method: Bytes, target: DPoPTarget, accessToken: Bytes? = nil
    ) throws -> DPoPProof {
        let now = clock.now()
        let nonces = try nonces()
        do throws(AuthorizationError) {
            return try DPoPProof.verify(
                header, method: method, target: target, accessToken: accessToken, nonces: nonces, now: now)
        } catch {
            guard error.code == .useDPoPNonce else { throw error }
            // Another process may have seen an epoch begin.
            let current = try self.nonces(refresh: true)
            if current.epoch == nonces.epoch { throw error }
            return try DPoPProof.verify(
                header, method: method, target: target, accessToken: accessToken, nonces: current, now: now)
        }
    }

    /// Uses a verified proof up; see `ReplayStore.use`. A request that has a token is looked at first: only whose token
    /// is right may fill the memory.
    public func use(_ proof: DPoPProof, in space: ReplayStore.Space) throws {
        do {
            try replays.use(proof, in: space, now: clock.now())
        } catch let error as AuthorizationError where error.code == .useDPoPNonce {
            _ = try nonces(refresh: true)
            throw error
        }
    }

    private func nonces(refresh: Bool = false) throws -> DPoPNonces {
        if !refresh, let nonces = known.withLock({ $0 }) { return nonces }
        let epoch = try replays.epoch(entropy: entropy)
        return known.withLock { known in
            if let known, known.epoch == epoch { return known }
            let fresh = DPoPNonces(secret: secret, epoch: epoch)
            known = fresh
            return fresh
        }
    }
}
