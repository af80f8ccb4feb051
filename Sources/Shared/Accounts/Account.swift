public import ATProto
public import Base
internal import Storage

/// An account of this server, as it is now.
public struct Account: Sendable, Equatable {
    public let did: DID
    /// nil when another account took the handle over, or it was never set.
    public let handle: Handle?
    /// Lower case; nil for an account without one.
    public let email: Bytes?
    public let emailConfirmedAt: Timestamp?
    public let createdAt: Timestamp
    public let state: AccountState
    /// When a deactivated account asks to be deleted.
    public let deleteAfter: Timestamp?
    public let invitesDisabled: Bool
    /// Whether signing in with the account's own password wants a code by mail too.
    public let wantsEmailCode: Bool

    /// The handle, or `handle.invalid` where the protocol wants one.
    public var shownHandle: Handle { handle ?? .invalid }
}

/// What an account may do. When several hold, the first of takenDown, suspended, deactivated decides.
public enum AccountState: String, Sendable, CaseIterable {
    case active, deactivated, suspended
    /// The wire word of `com.atproto.sync`.
    case takenDown = "takendown"

    public var isActive: Bool { self == .active }
}

/// Why an account can't be made or changed.
public enum AccountError: Error, Equatable, Sendable {
    case handleTaken(Handle)
    case emailTaken(Bytes)
    case exists(DID)
    case notFound
    case invalidEmail
    case passwordTooLong
    case passwordTooShort
    case passwordHasNUL
}

extension Identifier {
    /// An identifier as an argument of a statement: text.
    var sql: SQL.Value { .text(bytes) }
}

extension Bytes {
    /// These bytes as a text argument.
    var asText: SQL.Value { .text(self) }
}

/// E-mail addresses of accounts.
public enum Email {
    /// The address in lower case, as it is kept and compared. Throws `invalidEmail`.
    public static func parse(_ address: Bytes) throws(AccountError) -> Bytes {
        guard let parsed = MailAddress(address) else { throw .invalidEmail }
        return parsed.bytes.lowercasedASCII
    }
}
