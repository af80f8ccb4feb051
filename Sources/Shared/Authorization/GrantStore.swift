public import ATProto
public import Base
internal import Crypto
public import Storage

/// What the token endpoint answers a client with.
public struct GrantedTokens: Sendable, Equatable {
    public let session: AuthorizedSession
    public let accessToken: Bytes
    public let refreshToken: Bytes

    /// `expires_in`: seconds that the access token is still good for.
    public func expiresIn(now: Timestamp) -> Int64 { max(0, session.accessExpiresAt.seconds - now.seconds) }
}

/// Why there are no tokens, and what has ended because of it.
public struct GrantRefusal: Error, Equatable, Sendable {
    /// Why a session was ended.
    public enum Cause: Sendable, Equatable {
        /// Somebody has sent the code once more that it began with: the browser that it was authorized in is to be
        /// signed out too (specs/reliability.md §1.D, D4).
        case codeReplayed
        /// A refresh token was used again, later than a lost answer explains.
        case refreshTokenReplayed
        /// Another client, DPoP key or client key came with its refresh token.
        case otherHolder
        case expired
    }

    /// A session that this request has ended.
    public struct End: Sendable, Equatable {
        public let session: AuthorizedSession
        public let cause: Cause
    }

    public let error: AuthorizationError
    public let end: End?
}

/// Who asks at the token endpoint, as was proved: by a DPoP proof, and by a client assertion when it has a key.
public struct GrantHolder: Sendable, Equatable {
    public let clientID: Bytes
    /// Of the DPoP proof.
    public let thumbprint: Bytes
    /// Nil for a public client.
    public let key: ClientKeyPin?

    public init(clientID: Bytes, thumbprint: Bytes, key: ClientKeyPin?) {
        self.clientID = clientID
        self.thumbprint = thumbprint
        self.key = key
    }
}

/// Trades codes and refresh tokens for tokens, and knows which sessions there are.
///
/// All that a request does happens in the one write transaction that the caller gives, together with the use of its
/// client assertion. Refusals are values: what they end stays ended, where an error would bring it back.
public struct GrantStore: Sendable {
    /// How long a used refresh token gets the same answer again, by the same holder: the most that
    /// specs/reliability.md §1.D, D5 allows. Clients whose answer got lost try again within it, and who has stolen a
    /// token without its DPoP key gets nothing at all.
    public static let graceSeconds: Int64 = 10
    /// Sessions of one account; one more ends the one that was refreshed longest ago.
    public static let sessionCountMax = 100
    private static let seedSize = 16

    private let database: any Database
    private let tokens: GrantTokens
    private let entropy: Entropy

    public init(database: any Database, tokens: GrantTokens, entropy: Entropy) {
        self.database = database
        self.tokens = tokens
        self.entropy = entropy
    }

    // MARK: Beginning

    /// Trades a code for the tokens of a new session. The code is used up, whatever comes of it; one that was used
    /// before ends the session that it began.
    ///
    /// `narrowing` gives the part of the granted scopes that the client's metadata still declares, or throws why the
    /// client may go on no more. All refusals but that one are `invalid_grant`. Throws what the database throws and
    /// `EntropyError`.
    public func exchange(
        code: Bytes, redirectURI: Bytes, verifier: Bytes, by holder: GrantHolder, now: Timestamp,
        in writer: any Writer, narrowing: (Bytes) throws(AuthorizationError) -> Bytes = { $0 }
    ) throws -> Result<GrantedTokens, GrantRefusal> {
        let digest = GrantRequestStore.digest(ofCode: code)
        guard GrantRequestStore.isCode(code) else { return Self.refused("code is unknown or expired") }
        guard let row = try GrantRequestRow.consume(code: digest, in: writer) else {
            guard let used = try GrantSessionRow.find(.code(digest), in: writer) else {
                return Self.refused("code is unknown or expired")
            }
            return try end(used, .codeReplayed, "code was used before", in: writer)
        }
        let request = row.request
        guard now < row.expiresAt, let account = row.account else {
            return Self.refused("code is unknown or expired")
        }
        guard request.clientID == holder.clientID, request.key == holder.key else {
            return Self.refused("code is of another client")
        }
        guard request.redirectURI == redirectURI else { return Self.refused("redirect_uri is another") }
        guard request.thumbprint == nil || request.thumbprint == holder.thumbprint else {
            return Self.refused("DPoP key is another than that of the request")
        }
        guard request.challenge.matches(verifier) else { return Self.refused("code_verifier is wrong") }
        let scope: Bytes
        do throws(AuthorizationError) { scope = try narrowing(request.scope) } catch {
            return .failure(GrantRefusal(error: error, end: nil))
        }
        var session = AuthorizedSession(
            id: GrantTokens.sessionID(try entropy.bytes(GrantTokens.idSize)), account: account,
            clientID: holder.clientID, scope: scope, thumbprint: holder.thumbprint, key: holder.key,
            metadataDigest: request.metadataDigest, device: row.device, createdAt: now, refreshedAt: now,
            expiresAt: now)
        session.touch(now)
        let new = GrantSessionRow(session: session, seed: Bytes(try entropy.bytes(Self.seedSize)), generation: 1)
        try Self.makeRoom(account, in: writer)
        try new.insert(code: digest, in: writer)
        return .success(granted(new))
    }

    private static func makeRoom(_ account: DID, in writer: any Writer) throws {
        try writer.run(
            """
            DELETE FROM oauth_session WHERE did = \(account.sql) AND id NOT IN
                (SELECT id FROM oauth_session WHERE did = \(account.sql) ORDER BY refreshed_at DESC, id
                 LIMIT \(sessionCountMax - 1))
            """)
    }

    // MARK: Going on

    /// Trades a refresh token for its successor and a new access token. The same token by the same holder within
    /// `graceSeconds` gets the same tokens again; after that, or by another holder, it ends the session.
    ///
    /// `narrowing` is as for `exchange`, given the session's scopes; when it throws, nothing has changed. All refusals
    /// but that one are `invalid_grant`.
    public func refresh(
        _ token: Bytes, by holder: GrantHolder, now: Timestamp, in writer: any Writer,
        narrowing: (Bytes) throws(AuthorizationError) -> Bytes = { $0 }
    ) throws -> Result<GrantedTokens, GrantRefusal> {
        guard let token = GrantTokens.readRefresh(token),
            var row = try GrantSessionRow.find(.id(token.sessionID), in: writer), tokens.isGenuine(token, of: row)
        else { return Self.refused("refresh token is unknown") }
        guard now < row.session.expiresAt else {
            return try end(row, .expired, "refresh token has expired", in: writer)
        }
        let session = row.session
        guard session.clientID == holder.clientID, session.thumbprint == holder.thumbprint, session.key == holder.key
        else { return try end(row, .otherHolder, "refresh token is of another client or key", in: writer) }
        // One that is ahead of the row was made before the database was set back to an older state.
        guard token.generation >= row.generation else {
            guard token.generation == row.generation - 1,
                now < session.refreshedAt.adding(seconds: Self.graceSeconds)
            else { return try end(row, .refreshTokenReplayed, "refresh token was used before", in: writer) }
            return .success(granted(row))
        }
        do throws(AuthorizationError) { row.session.scope = try narrowing(session.scope) } catch {
            return .failure(GrantRefusal(error: error, end: nil))
        }
        row.generation = token.generation + 1
        row.session.touch(now)
        try row.update(in: writer)
        return .success(granted(row))
    }

    private func granted(_ row: GrantSessionRow) -> GrantedTokens {
        GrantedTokens(session: row.session, accessToken: tokens.access(row), refreshToken: tokens.refresh(row))
    }

    private static func refused(_ words: Bytes) -> Result<GrantedTokens, GrantRefusal> {
        .failure(GrantRefusal(error: AuthorizationError(.invalidGrant, words), end: nil))
    }

    private func end(
        _ row: GrantSessionRow, _ cause: GrantRefusal.Cause, _ words: Bytes, in writer: any Writer
    ) throws -> Result<GrantedTokens, GrantRefusal> {
        try row.delete(in: writer)
        return .failure(
            GrantRefusal(
                error: AuthorizationError(.invalidGrant, words),
                end: GrantRefusal.End(session: row.session, cause: cause)))
    }

    // MARK: Using

    /// The session of an access token that came with a proof by the key of `thumbprint`: one indexed row is read, so
    /// that what was revoked is refused at once. Whether its account may do anything is the caller's to look at.
    ///
    /// An access token stays good when its refresh token is traded, until it is 15 minutes old or the next trade but
    /// one: requests may be under way. Throws `invalid_token`.
    public func access(_ token: Bytes, thumbprint: Bytes, now: Timestamp) throws -> AuthorizedSession {
        guard let access = tokens.readAccess(token) else {
            throw AuthorizationError(.invalidToken, "access token is none of this server")
        }
        guard now.seconds < access.expiresAt else {
            throw AuthorizationError(.invalidToken, "access token has expired")
        }
        guard access.thumbprint == thumbprint else {
            throw AuthorizationError(.invalidToken, "access token is bound to another DPoP key")
        }
        guard let row = try GrantSessionRow.find(id: access.sessionID, in: database), now < row.session.expiresAt,
            access.generation >= row.generation - 1, Self.matches(access, row.session)
        else { throw AuthorizationError(.invalidToken, "access token was revoked") }
        return row.session
    }

    private static func matches(_ access: GrantTokens.Access, _ session: AuthorizedSession) -> Bool {
        access.account == session.account.bytes && access.clientID == session.clientID
            && access.thumbprint == session.thumbprint
    }

    /// The sessions of an account, the last used one first.
    public func sessions(of account: DID) throws -> [AuthorizedSession] {
        try GrantSessionRow.all(of: account, limit: Self.sessionCountMax, in: database).map(\.session)
    }

    // MARK: Ending

    /// Ends the session of an access or refresh token of any age, as RFC 7009 has it, and returns it: nil, and nothing
    /// has changed, when the token is none or another client's.
    @discardableResult
    public func revoke(_ token: Bytes, clientID: Bytes, in writer: any Writer) throws -> AuthorizedSession? {
        let row: GrantSessionRow?
        if let refresh = GrantTokens.readRefresh(token) {
            row = try GrantSessionRow.find(.id(refresh.sessionID), in: writer)
                .flatMap { tokens.isGenuine(refresh, of: $0) ? $0 : nil }
        } else if let access = tokens.readAccess(token) {
            row = try GrantSessionRow.find(.id(access.sessionID), in: writer)
                .flatMap { Self.matches(access, $0.session) ? $0 : nil }
        } else {
            row = nil
        }
        guard let row, row.session.clientID == clientID else { return nil }
        try row.delete(in: writer)
        return row.session
    }

    /// Ends one session of an account. False when it has none with that id.
    @discardableResult
    public static func end(_ id: Bytes, of account: DID, in writer: any Writer) throws -> Bool {
        // Bytes from outside may be no text at all, which PostgreSQL refuses.
        guard GrantRequest.isPrintable(id) else { return false }
        return try writer.run("DELETE FROM oauth_session WHERE id = \(id.asText) AND did = \(account.sql)") == 1
    }

    /// Ends every session of an account, with the codes that would become one: its password was reset. Returns how
    /// many sessions there were.
    @discardableResult
    public static func endAll(of account: DID, in writer: any Writer) throws -> Int {
        try writer.run("DELETE FROM oauth_request WHERE did = \(account.sql)")
        return try writer.run("DELETE FROM oauth_session WHERE did = \(account.sql)")
    }

    /// The same for one client of an account.
    @discardableResult
    public static func endAll(of account: DID, clientID: Bytes, in writer: any Writer) throws -> Int {
        guard GrantRequest.isPrintable(clientID) else { return 0 }
        try writer.run(
            "DELETE FROM oauth_request WHERE did = \(account.sql) AND client_id = \(clientID.asText)")
        return try writer.run(
            "DELETE FROM oauth_session WHERE did = \(account.sql) AND client_id = \(clientID.asText)")
    }

    /// Removes sessions that nobody has refreshed in time, at most so many; returns how many there were.
    public static func trim(now: Timestamp, in database: any Database) throws -> Int {
        try database.write { writer in
            try writer.run(
                """
                DELETE FROM oauth_session WHERE id IN
                    (SELECT id FROM oauth_session WHERE expires_at <= \(now)
                     LIMIT \(GrantRequestStore.trimCountMax))
                """)
        }
    }
}
