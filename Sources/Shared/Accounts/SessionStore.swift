public import ATProto
public import Base
internal import Crypto
public import Storage

/// A signed-in session: what createSession and refreshSession answer.
public struct Session: Sendable {
    public let account: Account
    public let scope: SessionScope
    public let accessToken: Bytes
    public let refreshToken: Bytes
}

/// Why there is no session.
public enum SessionError: Error, Equatable, Sendable {
    /// No such account, or not its password: never which.
    case wrongCredentials
    case passwordTooLong
    case takenDown
    /// The password is right; the account wants a code by mail too.
    case authFactorRequired
    /// The refresh token was used up, signed out or is unknown.
    case revoked
}

/// Signs in, refreshes and signs out.
public struct SessionStore: Sendable {
    /// Bytes of a password at login: longer ones were never taken anywhere (specs/pds.md §2.1).
    public static let passwordSizeMax = 512
    /// How long a used refresh token keeps answering with the same successor: two hours, so that a client whose
    /// answer got lost does not lose the session.
    public static let graceSeconds: Int64 = 7_200
    static let idSize = 32

    private let database: any Database
    private let accounts: AccountStore
    private let appPasswords: AppPasswordStore
    private let clock: Clock
    private let entropy: Entropy
    public let tokens: SessionTokens
    /// A hash that no password matches, for identifiers that nobody has.
    private let nobody: Bytes

    /// Throws `EntropyError`.
    public init(database: any Database, tokens: SessionTokens, clock: Clock, entropy: Entropy) throws {
        self.database = database
        accounts = AccountStore(database: database)
        appPasswords = AppPasswordStore(database: database, entropy: entropy)
        self.tokens = tokens
        self.clock = clock
        self.entropy = entropy
        nobody = try Password.unmatchable(entropy: entropy)
    }

    // MARK: Signing in

    /// Signs in by handle, DID or e-mail address.
    ///
    /// Every failure costs the same two derivations, whether the identifier exists, has app passwords or not: equal
    /// work instead of a timer, so that no thread sleeps. Throws `SessionError`.
    ///
    /// `factor` is asked when the account's own password was given and the account wants a code by mail too: it returns
    /// when the code was there, and throws what to answer when not. Without it such an account gets
    /// `authFactorRequired`. App passwords are not asked: they are what an app without a person has.
    public func create(
        identifier: Bytes, password: Bytes, allowTakenDown: Bool = false, factor: ((Account) throws -> Void)? = nil
    ) throws -> Session {
        guard password.count <= Self.passwordSizeMax else { throw SessionError.passwordTooLong }
        let known = try Self.key(identifier).flatMap { try accounts.credentials($0) }
        let (isPassword, appPassword) = try check(password, known)
        guard let account = known?.account, isPassword || appPassword != nil else {
            throw SessionError.wrongCredentials
        }
        let scope: SessionScope
        switch account.state {
        case .takenDown, .suspended:
            // Only the owner, not an app, may be let in to leave.
            guard allowTakenDown, isPassword else { throw SessionError.takenDown }
            scope = .takenDown
        case .active, .deactivated:
            scope = Self.scope(of: appPassword)
        }
        if isPassword, account.wantsEmailCode {
            guard let factor else { throw SessionError.authFactorRequired }
            try factor(account)
        }
        return try begin(account, scope: scope, appPassword: appPassword?.name)
    }

    /// Whether `password` is the account's own. Costs the same derivation when there is no such account.
    public func isPassword(_ password: Bytes, of did: DID) throws -> Bool {
        guard password.count <= Self.passwordSizeMax else { return false }
        let known = try accounts.credentials(.did(did))
        return try Password.verify(password, against: known?.password ?? nobody) && known != nil
            && !password.contains(0)
    }

    /// The account's own password first, or the app passwords first where the text has their form; the other only
    /// when that fails. The order depends on nothing but what was sent.
    private func check(
        _ password: Bytes, _ known: (account: Account, password: Bytes)?
    ) throws -> (isPassword: Bool, appPassword: AppPassword?) {
        let did = known?.account.did ?? Self.nobodyDID
        func isPassword() throws -> Bool {
            // scrypt begins with HMAC, which pads keys with NULs: a NUL at the end would change nothing.
            try Password.verify(password, against: known?.password ?? nobody) && known != nil
                && !password.contains(0)
        }
        func appPassword() throws -> AppPassword? {
            guard let did else { return nil }
            let match = try appPasswords.match(password, of: did)
            return known == nil ? nil : match
        }
        if AppPasswordStore.hasForm(password) {
            if let match = try appPassword() { return (false, match) }
            return (try isPassword(), nil)
        }
        if try isPassword() { return (true, nil) }
        return (false, try appPassword())
    }

    private static let nobodyDID = DID("did:web:nobody.invalid" as Bytes)

    private static func key(_ identifier: Bytes) -> AccountStore.Key? {
        let lower = identifier.lowercasedASCII
        if lower.contains(0x40), lower.first != 0x40 { return .email(lower) }
        if let did = DID(identifier) { return .did(did) }
        // People type the at-sign of a mention.
        return Handle(lower.first == 0x40 ? lower.from(1) : lower).map { .handle($0) }
    }

    /// What attempts to sign in as `identifier` are counted by: the account that it names, or itself when there is
    /// none. Throws what the database throws.
    ///
    /// DID and handle name each other in public, so that guesses by either come from one budget. An e-mail address
    /// stays apart: a shared budget would show whose it is.
    public func attemptKey(_ identifier: Bytes) throws -> Bytes {
        switch Self.key(identifier) {
        case .did(let did): did.bytes
        case .handle(let handle): try accounts.find(handle)?.did.bytes ?? handle.bytes
        case .email, nil: identifier.lowercasedASCII
        }
    }

    static func scope(of appPassword: AppPassword?) -> SessionScope {
        guard let appPassword else { return .full }
        return appPassword.isPrivileged ? .privilegedAppPassword : .appPassword
    }

    /// A session for an account that has just proved itself, such as by being made.
    public func begin(_ account: Account, scope: SessionScope = .full, appPassword: Bytes? = nil) throws -> Session {
        let now = clock.now()
        let id = try newID()
        let expiresAt = now.adding(seconds: SessionTokens.refreshSeconds)
        // A session of a taken down account ends with its access token.
        if scope != .takenDown {
            try database.write { writer in
                try writer.run("DELETE FROM refresh_token WHERE did = \(account.did.sql) AND expires_at <= \(now)")
                try Self.insert(id, of: account.did, appPassword: appPassword, expiresAt: expiresAt, in: writer)
            }
        }
        return session(account, scope: scope, id: id, expiresAt: expiresAt, now: now)
    }

    private func session(
        _ account: Account, scope: SessionScope, id: Bytes, expiresAt: Timestamp, now: Timestamp
    ) -> Session {
        Session(
            account: account, scope: scope, accessToken: tokens.access(account.did, scope: scope, now: now),
            refreshToken: tokens.refresh(account.did, id: id, expiresAt: expiresAt, now: now))
    }

    private static func insert(
        _ id: Bytes, of did: DID, appPassword: Bytes?, expiresAt: Timestamp, in writer: any Writer
    ) throws {
        try writer.run(
            """
            INSERT INTO refresh_token (id, did, app_password, expires_at)
            VALUES (\(id.asText), \(did.sql), \(appPassword?.asText), \(expiresAt))
            """)
    }

    private func newID() throws -> Bytes { Bytes(RadixEncoding.base64.encode(try entropy.bytes(Self.idSize))) }

    // MARK: Going on and out

    /// The successor of the refresh token `id`. The same token within its grace gets the same successor again.
    ///
    /// Throws `revoked` when it is unknown, past its grace or of an app password that is gone, and `takenDown`.
    public func refresh(id: Bytes, of did: DID) throws -> Session {
        let now = clock.now()
        let fresh = try newID()
        return try database.write { writer in
            guard let account = try AccountStore.find(did, in: writer), let token = try Self.token(id, in: writer),
                token.did == did.bytes, token.expiresAt > now
            else { throw SessionError.revoked }
            guard account.state == .active || account.state == .deactivated else { throw SessionError.takenDown }
            let next = token.nextID ?? fresh
            var expiresAt = now.adding(seconds: SessionTokens.refreshSeconds)
            if token.nextID == nil {
                let grace = min(token.expiresAt, now.adding(seconds: Self.graceSeconds))
                try writer.run(
                    "UPDATE refresh_token SET next_id = \(next.asText), expires_at = \(grace) WHERE id = \(id.asText)")
                try Self.insert(next, of: did, appPassword: token.appPassword, expiresAt: expiresAt, in: writer)
                try writer.run("DELETE FROM refresh_token WHERE did = \(did.sql) AND expires_at <= \(now)")
            } else {
                // The successor may have been used already and be in its own grace; signed out, it is not brought back.
                guard let successor = try Self.token(next, in: writer) else { throw SessionError.revoked }
                expiresAt = successor.expiresAt
            }
            return session(account, scope: token.scope, id: next, expiresAt: expiresAt, now: now)
        }
    }

    private struct Token {
        let did: Bytes
        let expiresAt: Timestamp
        let nextID: Bytes?
        let appPassword: Bytes?
        let scope: SessionScope
    }

    private static func token(_ id: Bytes, in reader: any Reader) throws -> Token? {
        try reader.first(
            """
            SELECT t.did, t.expires_at, t.next_id, t.app_password, p.privileged FROM refresh_token t
            LEFT JOIN app_password p ON p.did = t.did AND p.name = t.app_password WHERE t.id = \(id.asText)
            """
        ) { row -> Token in
            let appPassword = try row.optionalText(3)
            let isPrivileged = try row.optionalInteger(4) == 1
            return Token(
                did: try row.text(0), expiresAt: try row.timestamp(1), nextID: try row.optionalText(2),
                appPassword: appPassword,
                scope: appPassword == nil ? .full : isPrivileged ? .privilegedAppPassword : .appPassword)
        }
    }

    /// Ends the session of the refresh token `id`, with the predecessor that could still be traded for it and the
    /// successor that it was traded for. Nothing happens when there is none.
    public func revoke(id: Bytes) throws {
        try database.write { writer in
            let next = try Self.token(id, in: writer)?.nextID
            try writer.run("DELETE FROM refresh_token WHERE id = \(id.asText) OR next_id = \(id.asText)")
            if let next { try writer.run("DELETE FROM refresh_token WHERE id = \(next.asText)") }
        }
    }

    /// Ends every session of an account, those of app passwords too.
    public static func revokeAll(of did: DID, in writer: any Writer) throws {
        try writer.run("DELETE FROM refresh_token WHERE did = \(did.sql)")
    }
}
