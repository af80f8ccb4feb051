internal import Storage

/// How many accounts there are in each state.
public struct AccountCounts: Sendable, Equatable {
    public var active = 0
    public var deactivated = 0
    public var suspended = 0
    public var takenDown = 0

    public var all: Int { active + deactivated + suspended + takenDown }
}

extension AccountStore {
    /// Counts the accounts: one scan, for pages of the operator's.
    public func counts() throws -> AccountCounts {
        try database.read { reader in
            let row = try reader.first(
                """
                SELECT count(*), count(taken_down_at),
                    coalesce(sum(CASE WHEN taken_down_at IS NULL AND suspended_at IS NOT NULL THEN 1 ELSE 0 END), 0),
                    coalesce(sum(CASE WHEN taken_down_at IS NULL AND suspended_at IS NULL
                        AND deactivated_at IS NOT NULL THEN 1 ELSE 0 END), 0)
                FROM account
                """
            ) { (all: try $0.integer(0), down: try $0.integer(1), out: try $0.integer(2), asleep: try $0.integer(3)) }
            guard let row else { return AccountCounts() }
            return AccountCounts(
                active: row.all - row.down - row.out - row.asleep, deactivated: row.asleep, suspended: row.out,
                takenDown: row.down)
        }
    }
}
