public import ATProto
public import Base
internal import Crypto
public import Storage

/// What clients have asked for and nobody has granted yet, and what was granted and not fetched yet.
///
/// A request is its client's and, from its first opening on, one browser's. Whatever does not fit deletes it
/// (specs/reliability.md §1.D, D6), which is why refusals are values here: one that was thrown would undo that.
public struct GrantRequestStore: Sendable {
    /// A request lives so long from being pushed, and from each opening on.
    public static let requestSeconds: Int64 = 300
    /// And so long in all: signing up takes a few pages and a mail.
    public static let requestSecondsMax: Int64 = 3_600
    /// A code is fetched by a machine, at once (RFC 6749 §4.1.2 allows ten minutes).
    public static let codeSeconds: Int64 = 60
    /// A PKCE challenge is used once in so long.
    public static let challengeSeconds: Int64 = 86_400
    /// Rows that one step of `trim` removes.
    static let trimCountMax = 1_000

    private static let uriPrefix: Bytes = "urn:ietf:params:oauth:request_uri:req-"
    private static let codePrefix: Bytes = "cod-"
    private static let requestSize = 16
    private static let codeSize = 32

    private let entropy: Entropy

    public init(entropy: Entropy) { self.entropy = entropy }

    /// Keeps `request` and returns its `request_uri`, good for `requestSeconds`.
    ///
    /// Call it once nothing else is to be said against the request: a client that is asked for a DPoP nonce sends the
    /// same challenge again. Throws `invalid_request` when the challenge was used before, and `EntropyError`.
    public func push(_ request: GrantRequest, now: Timestamp, in writer: any Writer) throws -> Bytes {
        let challengeUntil = now.adding(seconds: Self.challengeSeconds)
        let isNew = try writer.run(
            """
            INSERT INTO oauth_challenge (challenge, expires_at)
            VALUES (\(request.challenge.digest.bytes), \(challengeUntil))
            ON CONFLICT (challenge) DO UPDATE SET expires_at = excluded.expires_at
                WHERE oauth_challenge.expires_at <= \(now)
            """)
        guard isNew == 1 else { throw AuthorizationError(.invalidRequest, "code_challenge was used before") }
        let uri = Self.uriPrefix + Bytes(Hex.encode(try entropy.bytes(Self.requestSize)))
        try writer.run(
            """
            INSERT INTO oauth_request (digest, client_id, redirect_uri, scope, state, challenge, dpop_jkt, login_hint,
                prompt, response_mode, key_id, key_algorithm, key_thumbprint, metadata_digest, created_at, expires_at)
            VALUES (\(SHA256.hash(uri).bytes), \(request.clientID.asText), \(request.redirectURI.asText),
                \(request.scope.asText), \(request.state.asText), \(request.challenge.digest.bytes),
                \(request.thumbprint?.asText), \(request.loginHint?.asText), \(request.prompt?.rawValue),
                \(request.responseMode.rawValue), \(request.key?.id), \(request.key?.algorithm.asText),
                \(request.key?.thumbprint.asText), \(request.metadataDigest), \(now),
                \(now.adding(seconds: Self.requestSeconds)))
            """)
        return uri
    }

    /// The request behind `uri`, for the pages of `device`, whose own it is from now on.
    ///
    /// Fails with `invalid_request` when it is unknown, over or another client's, and with `access_denied` when another
    /// device has opened it or it was authorized already. None of these may be sent to its `redirect_uri`.
    public func open(
        _ uri: Bytes, clientID: Bytes, device: Bytes, now: Timestamp, in writer: any Writer
    ) throws -> Result<GrantRequest, AuthorizationError> {
        try find(uri, clientID, device, mustBeBound: false, now, in: writer).mapping { row, digest in
            let end = min(
                now.adding(seconds: Self.requestSeconds), row.createdAt.adding(seconds: Self.requestSecondsMax))
            try writer.run(
                """
                UPDATE oauth_request SET device_id = \(device), expires_at = \(end) WHERE digest = \(digest)
                """)
            return row.request
        }
    }

    /// Makes the request, which `device` has opened, the code of `account` for `scope`, which is the caller's to judge.
    ///
    /// Fails as `open` does, and with `invalid_scope` when there is none.
    public func authorize(
        _ uri: Bytes, clientID: Bytes, device: Bytes, account: DID, scope: Bytes, now: Timestamp,
        in writer: any Writer
    ) throws -> Result<AuthorizedCode, AuthorizationError> {
        do throws(AuthorizationError) { try GrantRequest.check(scope: scope) } catch { return .failure(error) }
        return try find(uri, clientID, device, mustBeBound: true, now, in: writer).mapping { row, digest in
            let code = Self.codePrefix + Bytes(Hex.encode(try entropy.bytes(Self.codeSize)))
            let end = now.adding(seconds: Self.codeSeconds)
            try writer.run(
                """
                UPDATE oauth_request SET code_digest = \(Self.digest(ofCode: code)), did = \(account.sql),
                    scope = \(scope.asText), expires_at = \(end)
                WHERE digest = \(digest)
                """)
            return AuthorizedCode(code: code, request: row.request)
        }
    }

    /// Takes the request back that `device` has opened: the person said no, or cannot go on. Fails as `open` does.
    public func reject(
        _ uri: Bytes, clientID: Bytes, device: Bytes, now: Timestamp, in writer: any Writer
    ) throws -> Result<GrantRequest, AuthorizationError> {
        try find(uri, clientID, device, mustBeBound: true, now, in: writer).mapping { row, digest in
            try Self.delete(digest, in: writer)
            return row.request
        }
    }

    private func find(
        _ uri: Bytes, _ clientID: Bytes, _ device: Bytes, mustBeBound: Bool, _ now: Timestamp, in writer: any Writer
    ) throws -> Result<(row: GrantRequestRow, digest: Bytes), AuthorizationError> {
        let unknown = AuthorizationError(.invalidRequest, "request_uri is unknown or expired")
        guard uri.count == Self.uriPrefix.count + Self.requestSize * 2, uri.starts(with: Self.uriPrefix) else {
            return .failure(unknown)
        }
        let digest = Bytes(SHA256.hash(uri).bytes)
        guard let row = try GrantRequestRow.find(digest, in: writer) else { return .failure(unknown) }
        let problem: AuthorizationError? =
            if now >= row.expiresAt {
                unknown
            } else if row.request.clientID != clientID {
                AuthorizationError(.invalidRequest, "request_uri is of another client")
            } else if row.hasCode {
                AuthorizationError(.accessDenied, "request_uri was used before")
            } else if row.device != device, row.device != nil || mustBeBound {
                AuthorizationError(.accessDenied, "request_uri was opened on another device")
            } else {
                nil
            }
        guard let problem else { return .success((row, digest)) }
        try Self.delete(digest, in: writer)
        return .failure(problem)
    }

    private static func delete(_ digest: Bytes, in writer: any Writer) throws {
        try writer.run("DELETE FROM oauth_request WHERE digest = \(digest)")
    }

    /// What a code is stored as.
    static func digest(ofCode code: Bytes) -> Bytes { Bytes(SHA256.hash(code).bytes) }

    /// Whether `text` has the form of a code.
    static func isCode(_ text: Bytes) -> Bool {
        text.count == codePrefix.count + codeSize * 2 && text.starts(with: codePrefix)
    }

    /// Removes what is over, at most so many rows of each kind; returns how many there were.
    public static func trim(now: Timestamp, in database: any Database) throws -> Int {
        try database.write { writer in
            try writer.run(
                """
                DELETE FROM oauth_request WHERE digest IN
                    (SELECT digest FROM oauth_request WHERE expires_at <= \(now) LIMIT \(trimCountMax))
                """)
                + writer.run(
                    """
                    DELETE FROM oauth_challenge WHERE challenge IN
                        (SELECT challenge FROM oauth_challenge WHERE expires_at <= \(now) LIMIT \(trimCountMax))
                    """)
        }
    }
}

/// A code, to be sent to its request's `redirect_uri`.
public struct AuthorizedCode: Sendable {
    public let code: Bytes
    /// With the scopes that were asked for.
    public let request: GrantRequest
}

extension Result {
    /// `map` by what may throw something else.
    fileprivate func mapping<New>(_ transform: (Success) throws -> New) throws -> Result<New, Failure> {
        switch self {
        case .success(let value): .success(try transform(value))
        case .failure(let failure): .failure(failure)
        }
    }
}
