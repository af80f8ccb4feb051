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

/// E-mail addresses as far as a server should judge them: one `@`, no controls, no display names.
public enum Email {
    /// RFC 5321 §4.5.3.1.3.
    public static let sizeMax = 254
    static let localPartSizeMax = 64

    /// The address in lower case, as it is kept and compared. Throws `invalidEmail`.
    public static func parse(_ address: Bytes) throws(AccountError) -> Bytes {
        guard address.count <= sizeMax, let at = address.position(of: 0x40), at > 0, at <= localPartSizeMax,
            address.upTo(at).allSatisfy(isLocal), isDomain(address.from(at + 1))
        else { throw .invalidEmail }
        return address.lowercasedASCII
    }

    /// Printable ASCII without the characters that need quoting, or a byte of UTF-8 (RFC 6531).
    private static func isLocal(_ byte: UInt8) -> Bool {
        if byte >= 0x80 { return true }
        guard byte > 0x20, byte < 0x7F else { return false }
        let special: [UInt8] = [0x22, 0x28, 0x29, 0x2C, 0x3A, 0x3B, 0x3C, 0x3E, 0x40, 0x5B, 0x5C, 0x5D]
        return !special.contains(byte)
    }

    /// Two labels or more, each of letters, digits and inner hyphens.
    private static func isDomain(_ domain: Bytes) -> Bool {
        let labels = domain.split(on: 0x2E)
        guard labels.count >= 2 else { return false }
        return labels.allSatisfy { label in
            guard let first = label.first, let last = label.last, label.count <= 63 else { return false }
            return first != 0x2D && last != 0x2D
                && label.allSatisfy {
                    ($0 >= 0x30 && $0 <= 0x39) || ($0 | 0x20 >= 0x61 && $0 | 0x20 <= 0x7A) || $0 == 0x2D
                }
        }
    }
}
