public import Base
public import Storage

/// A number of points that one caller may spend on one kind of call in a window of time.
public struct RateLimit: Sendable {
    /// What is limited and for how long, such as `createSession-5min`: a name of its own for each limit.
    public let budget: StaticString
    public let points: Int
    /// The length of the window, in seconds. It begins with the first call and not at a fixed time of the day.
    public let seconds: Int
    /// The points that one call takes.
    public let cost: Int

    public init(_ budget: StaticString, points: Int, seconds: Int, cost: Int = 1) {
        self.budget = budget
        self.points = points
        self.seconds = seconds
        self.cost = cost
    }

    /// The same budget with calls of another price.
    public func costing(_ cost: Int) -> RateLimit { RateLimit(budget, points: points, seconds: seconds, cost: cost) }
}

/// What is left of a budget after a call: the `RateLimit-*` header fields.
public struct BudgetState: Sendable, Equatable {
    /// The points of a whole window.
    public let limit: Int
    public let seconds: Int
    /// The points that are left in this window; never negative.
    public let remaining: Int
    /// When the window ends.
    public let reset: Timestamp
}

/// A budget is spent: nothing was taken from any of the budgets of this call.
public struct BudgetExceeded: Error, Sendable, Equatable {
    public let state: BudgetState
    /// Whole seconds until the window ends, at least 1: the `Retry-After` field.
    public let retryAfterSeconds: Int
}

/// It means the same in every protocol; only the header fields differ.
extension BudgetExceeded: Reportable {
    public var failure: Failure { Failure(.limited, "RateLimitExceeded", "Rate Limit Exceeded") }
}

/// Budgets in the database, so that all processes share them and a restart keeps them: in the memory of eight
/// responders a limit of 30 would be one of 240.
public struct BudgetStore: Sendable {
    /// No window may be longer: `trim` drops what is older.
    public static let windowSecondsMax = 86_400
    /// The most rows that one `trim` drops, so that it holds the write lock for a short time.
    public static let trimCountMax = 1_000

    private let database: any Database

    public init(_ database: any Database) { self.database = database }

    /// Takes a call's points from each of `limits` for `key` and returns the state of the tightest, nil for no limits.
    /// Throws `BudgetExceeded`, having taken nothing, when one of them has too few left.
    public func charge(_ limits: [RateLimit], key: Bytes, now: Timestamp) throws -> BudgetState? {
        if limits.isEmpty { return nil }
        // Whoever is over the limit already is told so without the write lock: it is the one who calls most.
        try database.read { try refuse(limits, key: key, now: now, in: $0) }
        return try database.write { try charge(limits, key: key, now: now, in: $0) }
    }

    /// `charge` as part of a transaction: the points are taken if, and only if, it happens.
    public func charge(_ limits: [RateLimit], key: Bytes, now: Timestamp, in writer: any Writer) throws -> BudgetState?
    {
        var tightest: BudgetState?
        for limit in limits {
            let state = try charge(limit, key: key, now: now, in: writer)
            if tightest.map({ state.remaining < $0.remaining }) ?? true { tightest = state }
        }
        return tightest
    }

    /// Takes the points of one limit. The caller must let `BudgetExceeded` end the transaction.
    public func charge(_ limit: RateLimit, key: Bytes, now: Timestamp, in writer: any Writer) throws -> BudgetState {
        let oldest = now.adding(seconds: -Int64(limit.seconds))
        // A window that begins in the future is one from before the clock was set back.
        let spend: SQL = """
            INSERT INTO budget (name, key, started_at, points)
            VALUES (\(limit.budget.description), \(Self.text(key)), \(now), \(limit.cost))
            ON CONFLICT (name, key) DO UPDATE SET
                points = excluded.points + CASE WHEN budget.started_at > \(oldest) AND budget.started_at <= \(now)
                    THEN budget.points ELSE 0 END,
                started_at = CASE WHEN budget.started_at > \(oldest) AND budget.started_at <= \(now)
                    THEN budget.started_at ELSE excluded.started_at END
            RETURNING points, started_at
            """
        let spent = try writer.first(spend) { (points: try $0.integer(0), started: try $0.timestamp(1)) }
        return try Self.state(limit, points: spent?.points ?? limit.cost, started: spent?.started ?? now, now: now)
    }

    private func refuse(_ limits: [RateLimit], key: Bytes, now: Timestamp, in reader: any Reader) throws {
        for limit in limits {
            let find: SQL = """
                SELECT points, started_at FROM budget
                WHERE name = \(limit.budget.description) AND key = \(Self.text(key))
                """
            let spent = try reader.first(find) { (points: try $0.integer(0), started: try $0.timestamp(1)) }
            guard let spent, spent.started > now.adding(seconds: -Int64(limit.seconds)), spent.started <= now else {
                continue
            }
            _ = try Self.state(limit, points: spent.points + limit.cost, started: spent.started, now: now)
        }
    }

    private static func state(_ limit: RateLimit, points: Int, started: Timestamp, now: Timestamp) throws -> BudgetState
    {
        let reset = started.adding(seconds: Int64(limit.seconds))
        let state = BudgetState(
            limit: limit.points, seconds: limit.seconds, remaining: max(0, limit.points - points), reset: reset)
        if points <= limit.points { return state }
        // What the refused call would have taken is still there, or nobody would be refused for its price alone.
        let left = max(0, limit.points - (points - limit.cost))
        let refused = BudgetState(limit: limit.points, seconds: limit.seconds, remaining: left, reset: reset)
        let microseconds = reset.microseconds - now.microseconds
        throw BudgetExceeded(state: refused, retryAfterSeconds: max(1, Int((microseconds + 999_999) / 1_000_000)))
    }

    /// Keys are words of this program, DIDs and addresses. Whatever else comes is kept apart as hexadecimal.
    private static func text(_ key: Bytes) -> SQL.Value {
        let isPlain = key.allSatisfy { $0 > 0x20 && $0 < 0x7F } && !key.isEmpty && key[0] != 0x20
        return .text(isPlain ? key : " " + Bytes(Hex.encode(key)))
    }

    /// Drops every budget of `key`: its account is deleted.
    public static func forget(key: Bytes, in writer: any Writer) throws {
        try writer.run("DELETE FROM budget WHERE key = \(text(key))")
    }

    /// Drops budgets whose windows have ended, at most `trimCountMax`; returns how many. For a timer.
    public func trim(now: Timestamp) throws -> Int {
        let oldest = now.adding(seconds: -Int64(Self.windowSecondsMax))
        return try database.write { writer in
            try writer.run(
                """
                DELETE FROM budget WHERE (name, key) IN
                    (SELECT name, key FROM budget WHERE started_at < \(oldest) LIMIT \(Self.trimCountMax))
                """)
        }
    }
}
