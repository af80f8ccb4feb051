public import Base
public import Storage

/// What one call takes from budgets that share a key.
public struct Charge: Sendable {
    public let limits: [RateLimit]
    /// Whose budget: a DID, an address, or both.
    public let key: Bytes
    public let cost: Int

    public init(_ limits: [RateLimit], key: Bytes, cost: Int = 1) {
        self.limits = limits
        self.key = key
        self.cost = cost
    }
}

/// Charges calls to budgets. Without a store there are no limits: for a server behind one that has them.
public struct Limiter: Sendable {
    private let budgets: BudgetStore?
    /// Who was refused, and until when that may be so: these are looked up before anything is done for them. It only
    /// says where to look first, so that no process needs to know it of another.
    private let refused = Guarded<[Bytes: Timestamp]>([:])
    private static let refusedMax = 4_096

    public init(_ budgets: BudgetStore?) { self.budgets = budgets }

    public static let unlimited = Limiter(nil)

    /// Takes the points of every charge and reports the tightest budget. Throws `BudgetExceeded`.
    public func charge(_ charges: [Charge], now: Timestamp) throws -> BudgetState? {
        guard let budgets else { return nil }
        return try charge(charges, now: now) { try budgets.charge($0, key: $1, now: now) }
    }

    /// The same as part of a transaction, which `BudgetExceeded` must end.
    public func charge(_ charges: [Charge], now: Timestamp, in writer: any Writer) throws -> BudgetState? {
        guard let budgets else { return nil }
        return try charge(charges, now: now) { try budgets.charge($0, key: $1, now: now, in: writer) }
    }

    private func charge(
        _ charges: [Charge], now: Timestamp, _ take: ([RateLimit], Bytes) throws -> BudgetState?
    ) throws -> BudgetState? {
        var tightest: BudgetState?
        for charge in charges {
            let limits = charge.limits.map { $0.costing(charge.cost) }
            do {
                guard let state = try take(limits, charge.key) else { continue }
                if tightest.map({ state.remaining < $0.remaining }) ?? true { tightest = state }
            } catch let error as BudgetExceeded {
                refused.withLock { refused in
                    if refused.count >= Self.refusedMax { refused.removeAll(keepingCapacity: true) }
                    refused[charge.key] = error.state.reset
                }
                throw error
            }
        }
        return tightest
    }

    /// Whether one of `charges` was refused a short time ago.
    public func isDoubtful(_ charges: [Charge], now: Timestamp) -> Bool {
        guard budgets != nil else { return false }
        return refused.withLock { refused in
            if refused.isEmpty { return false }
            return charges.contains { charge in
                guard let end = refused[charge.key] else { return false }
                if end > now { return true }
                refused[charge.key] = nil
                return false
            }
        }
    }
}

/// What one call owes to budgets. It is paid once: before the call, or in the transaction that the call is about.
public final class Bill {
    private let limiter: Limiter
    private let now: Timestamp
    public var charges: [Charge] = []
    public private(set) var state: BudgetState?
    private var isPaid = false
    private var isPaidInside = false

    public init(_ limiter: Limiter, now: Timestamp) {
        self.limiter = limiter
        self.now = now
    }

    /// Whether to ask before doing anything for the caller.
    public var isDoubtful: Bool { limiter.isDoubtful(charges, now: now) }

    /// Pays what is owed still. Throws `BudgetExceeded`.
    public func pay() throws {
        if isPaid { return }
        isPaid = true
        state = try limiter.charge(charges, now: now)
    }

    /// The same as part of `writer`'s transaction: it is paid if, and only if, that happens.
    public func pay(in writer: any Writer) throws {
        if isPaid { return }
        isPaid = true
        isPaidInside = true
        state = try limiter.charge(charges, now: now, in: writer)
    }

    /// `pay` after a transaction that did not happen.
    public func payAgain() throws {
        if isPaidInside { isPaid = false }
        try pay()
    }
}
