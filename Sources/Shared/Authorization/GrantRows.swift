internal import ATProto
internal import Base
internal import Crypto
internal import Storage

extension Bytes {
    /// These bytes as a text argument: for what is known to be ASCII.
    var asText: SQL.Value { .text(self) }
}

extension DID {
    var sql: SQL.Value { .text(bytes) }
}

/// A row of `oauth_request`: a pushed request, and once it is authorized its code.
struct GrantRequestRow {
    let request: GrantRequest
    let device: Bytes?
    /// Whose it became, with the code.
    let account: DID?
    let hasCode: Bool
    let createdAt: Timestamp
    let expiresAt: Timestamp

    /// The columns of `oauth_request` in the order of these statements.
    init(_ row: any Row) throws {
        guard let challenge = try row.withBytes(4, { Digest($0) }), let mode = ResponseMode(try row.text(8)) else {
            throw StorageError.unexpectedColumn(4)
        }
        request = try GrantRequest(
            clientID: try row.text(0), redirectURI: try row.text(1), scope: try row.text(2), state: try row.text(3),
            challenge: PKCEChallenge(digest: challenge), thumbprint: try row.optionalText(5),
            loginHint: try row.optionalText(6), prompt: try row.optionalText(7).flatMap { AuthorizationPrompt($0) },
            responseMode: mode, key: try ClientKeyPin(row, at: 9), metadataDigest: try row.bytes(12))
        device = try row.optionalBytes(13)
        account = try row.optionalText(14).flatMap { DID($0) }
        hasCode = try row.optionalBytes(15) != nil
        createdAt = try row.timestamp(16)
        expiresAt = try row.timestamp(17)
    }

    static func find(_ digest: Bytes, in reader: any Reader) throws -> GrantRequestRow? {
        try reader.first(
            """
            SELECT client_id, redirect_uri, scope, state, challenge, dpop_jkt, login_hint, prompt, response_mode,
                key_id, key_algorithm, key_thumbprint, metadata_digest, device_id, did, code_digest, created_at,
                expires_at
            FROM oauth_request WHERE digest = \(digest)
            """, GrantRequestRow.init)
    }

    /// Takes the request with this code out of the database: of several who try, one gets it.
    static func consume(code digest: Bytes, in writer: any Writer) throws -> GrantRequestRow? {
        try writer.first(
            """
            DELETE FROM oauth_request WHERE code_digest = \(digest)
            RETURNING client_id, redirect_uri, scope, state, challenge, dpop_jkt, login_hint, prompt, response_mode,
                key_id, key_algorithm, key_thumbprint, metadata_digest, device_id, did, code_digest, created_at,
                expires_at
            """, GrantRequestRow.init)
    }
}

extension ClientKeyPin {
    /// From three columns, or nil when there is no key.
    init?(_ row: any Row, at column: Int) throws {
        guard let id = try row.optionalBytes(column) else { return nil }
        self.init(id: id, algorithm: try row.text(column + 1), thumbprint: try row.text(column + 2))
    }
}

/// A session with what its tokens are made of.
struct GrantSessionRow {
    var session: AuthorizedSession
    /// Goes into every refresh token, so that the key alone makes none.
    let seed: Bytes
    /// The refresh token of this number is the one to be used next.
    var generation: Int

    init(session: AuthorizedSession, seed: Bytes, generation: Int) {
        self.session = session
        self.seed = seed
        self.generation = generation
    }

    private init(_ row: any Row) throws {
        guard let account = DID(try row.text(1)) else { throw StorageError.unexpectedColumn(1) }
        session = AuthorizedSession(
            id: try row.text(0), account: account, clientID: try row.text(2), scope: try row.text(3),
            thumbprint: try row.text(4), key: try ClientKeyPin(row, at: 5), metadataDigest: try row.bytes(8),
            device: try row.optionalBytes(9), createdAt: try row.timestamp(10), refreshedAt: try row.timestamp(11),
            expiresAt: try row.timestamp(12))
        seed = try row.bytes(13)
        generation = try row.integer(14)
    }

    /// What a session is found by.
    enum Key {
        case id(Bytes)
        /// The digest of the code that began it.
        case code(Bytes)
    }

    private static func select(_ key: Key) -> SQL {
        switch key {
        case .id(let id):
            """
            SELECT id, did, client_id, scope, dpop_jkt, key_id, key_algorithm, key_thumbprint, metadata_digest,
                device_id, created_at, refreshed_at, expires_at, seed, generation
            FROM oauth_session WHERE id = \(id.asText)
            """
        case .code(let digest):
            """
            SELECT id, did, client_id, scope, dpop_jkt, key_id, key_algorithm, key_thumbprint, metadata_digest,
                device_id, created_at, refreshed_at, expires_at, seed, generation
            FROM oauth_session WHERE code_digest = \(digest)
            """
        }
    }

    static func find(_ key: Key, in reader: any Reader) throws -> GrantSessionRow? {
        try reader.first(select(key), GrantSessionRow.init)
    }

    /// The same in one statement by itself.
    static func find(id: Bytes, in database: any Database) throws -> GrantSessionRow? {
        try database.first(select(.id(id)), GrantSessionRow.init)
    }

    /// The last used ones first.
    static func all(of account: DID, limit: Int, in database: any Database) throws -> [GrantSessionRow] {
        try database.read { reader in
            try reader.all(
                """
                SELECT id, did, client_id, scope, dpop_jkt, key_id, key_algorithm, key_thumbprint, metadata_digest,
                    device_id, created_at, refreshed_at, expires_at, seed, generation
                FROM oauth_session WHERE did = \(account.sql) ORDER BY refreshed_at DESC, id LIMIT \(limit)
                """, GrantSessionRow.init)
        }
    }

    func insert(code digest: Bytes, in writer: any Writer) throws {
        try writer.run(
            """
            INSERT INTO oauth_session (id, did, client_id, scope, dpop_jkt, key_id, key_algorithm, key_thumbprint,
                metadata_digest, device_id, code_digest, seed, generation, created_at, refreshed_at, expires_at)
            VALUES (\(session.id.asText), \(session.account.sql), \(session.clientID.asText), \(session.scope.asText),
                \(session.thumbprint.asText), \(session.key?.id), \(session.key?.algorithm.asText),
                \(session.key?.thumbprint.asText), \(session.metadataDigest), \(session.device), \(digest),
                \(seed), \(generation), \(session.createdAt), \(session.refreshedAt), \(session.expiresAt))
            """)
    }

    func update(in writer: any Writer) throws {
        try writer.run(
            """
            UPDATE oauth_session SET generation = \(generation), scope = \(session.scope.asText),
                refreshed_at = \(session.refreshedAt), expires_at = \(session.expiresAt)
            WHERE id = \(session.id.asText)
            """)
    }

    func delete(in writer: any Writer) throws {
        try writer.run("DELETE FROM oauth_session WHERE id = \(session.id.asText)")
    }
}
