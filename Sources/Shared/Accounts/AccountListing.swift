public import ATProto
public import Base
internal import Storage

/// Which accounts a listing shows.
public struct AccountFilter: Sendable, Equatable {
    /// The longest text that is looked for, in bytes.
    public static let textSizeMax = 256

    /// Only those in this state.
    public var state: AccountState?
    /// Only those whose handle, e-mail address or DID begins with this (in lower case).
    public var prefix: Bytes?

    public init(state: AccountState? = nil, prefix: Bytes? = nil) {
        self.state = state
        self.prefix = prefix
    }
}

extension AccountStore {
    /// Accounts with a DID after `after`, by DID, at most `limit` of them: for the operator's tool and pages.
    public func list(_ filter: AccountFilter = AccountFilter(), after: DID?, limit: Int) throws -> [Account] {
        let start = SQL.Value.text(after?.bytes ?? Bytes())
        let prefix = filter.prefix?.upTo(AccountFilter.textSizeMax).lowercasedASCII ?? Bytes()
        // Above every text that begins with the prefix: no UTF-8 has a byte after F4.
        let (from, to) = (prefix.asText, (prefix + "\u{10FFFF}").asText)
        let state = Bytes(filter.state?.rawValue ?? "").asText
        return try database.read { reader in
            try reader.all(
                """
                SELECT did, handle, email, email_confirmed_at, created_at, deactivated_at, delete_after, taken_down_at,
                    suspended_at, invites_disabled, email_auth_factor
                FROM account
                WHERE did > \(start)
                AND (\(from) = '' OR (handle >= \(from) AND handle < \(to)) OR (email >= \(from) AND email < \(to))
                    OR (did >= \(from) AND did < \(to)))
                AND (\(state) = '' OR \(state) = CASE WHEN taken_down_at IS NOT NULL THEN 'takendown'
                    WHEN suspended_at IS NOT NULL THEN 'suspended' WHEN deactivated_at IS NOT NULL THEN 'deactivated'
                    ELSE 'active' END)
                ORDER BY did LIMIT \(limit)
                """, Self.account)
        }
    }
}
