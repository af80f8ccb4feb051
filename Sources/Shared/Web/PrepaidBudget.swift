public import Base

/// A budget for calls that are too many, and too cheap, to be written down one by one.
///
/// A process takes points from the shared budget in lots, and calls use a lot up in memory: one write for `lot` calls.
/// All processes together never let through more than the limit; one that ends takes what is left of its lots along, so
/// that a caller may lose as many points. Nobody else needs what is in memory here.
public final class PrepaidBudget: Sendable {
    /// Points that are taken at once.
    public static let lot = 32
    /// Callers whose lots are remembered; when there are more, all lots are given up, which costs them their rest.
    static let callersMax = 4_096

    private struct Lot {
        var left: Int
        /// As it was when the lot was taken.
        let state: BudgetState
    }

    private let limiter: Limiter
    private let limits: [RateLimit]
    /// Whose calls are not counted.
    private let exempt: Set<Bytes>
    private let lots = Guarded<[Bytes: Lot]>([:])

    public init(_ limiter: Limiter, _ limits: [RateLimit], exempt: Set<Bytes> = []) {
        self.limiter = limiter
        self.limits = limits
        self.exempt = exempt
    }

    /// Takes a point for a call of `key`, and says what is left. nil: nothing is limited. Throws `BudgetExceeded`.
    public func charge(_ key: Bytes, now: Timestamp) throws -> BudgetState? {
        if exempt.contains(key) { return nil }
        if let state = use(key, now) { return state }
        let taken: (BudgetState, Int)
        do {
            guard let state = try take(Self.lot, key, now) else { return nil }
            taken = (state, Self.lot)
        } catch let error as BudgetExceeded {
            // Less than a lot may be left.
            guard error.state.remaining > 0, let state = try take(error.state.remaining, key, now) else { throw error }
            taken = (state, error.state.remaining)
        }
        let (state, count) = taken
        let left = lots.withLock { lots in
            if lots.count >= Self.callersMax, lots[key] == nil { lots.removeAll(keepingCapacity: true) }
            // Another thread may have taken a lot at the same time: both count, in the same window.
            let other = lots[key].flatMap { $0.state.reset == state.reset ? $0.left : nil } ?? 0
            lots[key] = Lot(left: other + count - 1, state: state)
            return other + count - 1
        }
        return state.with(left: left)
    }

    private func use(_ key: Bytes, _ now: Timestamp) -> BudgetState? {
        lots.withLock { lots in
            guard let lot = lots[key] else { return nil }
            guard lot.left > 0, now < lot.state.reset else {
                lots[key] = nil
                return nil
            }
            lots[key]?.left -= 1
            return lot.state.with(left: lot.left - 1)
        }
    }

    private func take(_ points: Int, _ key: Bytes, _ now: Timestamp) throws -> BudgetState? {
        try limiter.charge([Charge(limits, key: key, cost: points)], now: now)
    }
}

extension BudgetState {
    /// The same with `left` points that were taken and not used yet.
    fileprivate func with(left: Int) -> BudgetState {
        BudgetState(limit: limit, seconds: seconds, remaining: remaining + left, reset: reset)
    }
}
