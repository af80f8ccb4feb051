public import Base
internal import Web

/// A budget of points in a window of time, in the words of the `RateLimit-Policy` header.
public struct RateLimit: Sendable, Equatable {
    public let name: StaticString
    public let points: Int
    public let seconds: Int

    public init(_ name: StaticString, points: Int, seconds: Int) {
        self.name = name
        self.points = points
        self.seconds = seconds
    }

    public static func == (left: RateLimit, right: RateLimit) -> Bool {
        left.name.description == right.name.description && left.points == right.points
            && left.seconds == right.seconds
    }
}

/// The figures of the reference (specs/pds.md §2.4), so that clients that pace themselves keep working.
extension RateLimit {
    static let createSession = [
        RateLimit("createSession-5min", points: 30, seconds: 300),
        RateLimit("createSession-day", points: 300, seconds: 86_400),
    ]
    static let createAccount = [RateLimit("createAccount-5min", points: 100, seconds: 300)]
    static let updateHandle = [
        RateLimit("updateHandle-5min", points: 10, seconds: 300),
        RateLimit("updateHandle-day", points: 50, seconds: 86_400),
    ]
    /// A key costs a scrypt-free but stored row: strangers get few.
    static let reserveSigningKey = [RateLimit("reserveSigningKey-5min", points: 100, seconds: 300)]
    static let uploadBlob = [RateLimit("uploadBlob-day", points: 1_000, seconds: 86_400)]
    static let repoWrites = [
        RateLimit("repoWrites-hour", points: 5_000, seconds: 3_600),
        RateLimit("repoWrites-day", points: 35_000, seconds: 86_400),
    ]
}

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

    /// Repository writes of one account: create 3, put or update 2, delete 1 (specs/pds.md §2.4).
    public static func repoWrites(_ did: Bytes, cost: Int) -> Charge {
        Charge(RateLimit.repoWrites, key: did, cost: cost)
    }
}

/// The state of the tightest budget after a charge: the `RateLimit-*` headers.
public struct BudgetReport: Sendable, Equatable {
    public let points: Int
    public let seconds: Int
    public let remaining: Int
    /// When the window ends, in seconds since 1970.
    public let resetSeconds: Int

    public init(points: Int, seconds: Int, remaining: Int, resetSeconds: Int) {
        self.points = points
        self.seconds = seconds
        self.remaining = remaining
        self.resetSeconds = resetSeconds
    }

    func append(to response: inout Response) {
        response.append("RateLimit-Limit", HeaderValue(points))
        response.append("RateLimit-Remaining", HeaderValue(max(0, remaining)))
        response.append("RateLimit-Reset", HeaderValue(resetSeconds))
        if let policy = HeaderValue(Bytes("\(points);w=\(seconds)")) { response.append("RateLimit-Policy", policy) }
    }
}

/// Charges calls to budgets, wherever these are kept.
public struct Limiter: Sendable {
    private let spend: @Sendable (Charge) throws -> BudgetReport?

    /// `spend` takes the points and reports the tightest budget, or throws `LimitReached` having taken none.
    public init(spend: @escaping @Sendable (Charge) throws -> BudgetReport?) { self.spend = spend }

    /// No limits: for a server behind one that has them, and for tests.
    public static let unlimited = Limiter { _ in nil }

    func charge(_ charges: [Charge]) throws -> BudgetReport? {
        var tightest: BudgetReport?
        for charge in charges {
            guard let report = try spend(charge) else { continue }
            if tightest.map({ report.remaining < $0.remaining }) ?? true { tightest = report }
        }
        return tightest
    }
}

/// A budget is used up.
public struct LimitReached: Error, Sendable {
    public let report: BudgetReport
    public let retryAfterSeconds: Int

    public init(report: BudgetReport, retryAfterSeconds: Int) {
        self.report = report
        self.retryAfterSeconds = retryAfterSeconds
    }
}
