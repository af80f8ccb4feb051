public import ATProto
public import Base
internal import Crypto

/// Makes and reads the tokens of OAuth sessions. Nothing of them is stored.
///
/// A refresh token is `ref-` and, in base64url, the session's 16 bytes, its number in the session as 8 bytes and an
/// HMAC of 32 bytes over both and the session's secret seed. So the successor of a token can be made again for whoever
/// lost it, a token of any age is known for what it is without a row for each, and who reads the database, or has the
/// key alone, can make none.
///
/// An access token is a JWT (RFC 9068) under HS256, as the server that signs is the one that reads. A wrong one costs
/// no look into the database; a right one is looked up by the session in its `jti`, and is worth nothing without it.
public struct GrantTokens: Sendable {
    /// A longer `scope` is left out of access tokens, which travel in a header line: the session's row has it.
    static let scopeClaimSizeMax = 2_048
    private static let refreshPrefix: Bytes = "ref-"
    private static let sessionPrefix: Bytes = "ses-"
    static let idSize = 16
    private static let macSize = 32

    private let accessKey: Secret
    private let refreshKey: Secret
    private let issuer: Bytes
    private let audience: Bytes

    /// `key` is what both kinds of token are made under, `issuer` this server's URL, `service` its DID.
    public init(key: Secret, issuer: Bytes, service: DID) {
        accessKey = Secret(HMACSHA256.authenticate("OAuth access tokens, version 1", key: key).bytes)
        refreshKey = Secret(HMACSHA256.authenticate("OAuth refresh tokens, version 1", key: key).bytes)
        self.issuer = issuer
        audience = service.bytes
    }

    static func sessionID(_ bytes: [UInt8]) -> Bytes { sessionPrefix + Bytes(Hex.encode(bytes)) }

    // MARK: Refresh tokens

    /// What a refresh token says of itself; whether it is true, `isGenuine` tells.
    struct Refresh {
        let sessionID: Bytes
        let generation: Int
        fileprivate let mac: Bytes
    }

    func refresh(_ row: GrantSessionRow) -> Bytes {
        let id = Hex.decode(row.session.id.from(Self.sessionPrefix.count)) ?? []
        let number = withUnsafeBytes(of: UInt64(clamping: row.generation).bigEndian) { [UInt8]($0) }
        let mac = mac(row.session.id, row.generation, row.seed)
        return Self.refreshPrefix + Bytes(RadixEncoding.base64URL.encode(id + number + mac.array))
    }

    private func mac(_ id: Bytes, _ generation: Int, _ seed: Bytes) -> Bytes {
        let number = withUnsafeBytes(of: UInt64(clamping: generation).bigEndian) { [UInt8]($0) }
        return Bytes(HMACSHA256.authenticate(id + Bytes(number) + seed, key: refreshKey).bytes)
    }

    /// Nil for what is no refresh token of ours by its form.
    static func readRefresh(_ token: Bytes) -> Refresh? {
        // 56 bytes take 75 characters.
        guard token.count == refreshPrefix.count + 75, token.starts(with: refreshPrefix),
            let decoded = RadixEncoding.base64URL.decode(token.from(refreshPrefix.count)),
            decoded.count == idSize + 8 + macSize
        else { return nil }
        let number = decoded[idSize..<(idSize + 8)].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        // One more than it must be possible.
        guard let generation = Int(exactly: number), generation < Int.max else { return nil }
        return Refresh(
            sessionID: sessionID([UInt8](decoded.prefix(idSize))), generation: generation,
            mac: Bytes([UInt8](decoded.suffix(macSize))))
    }

    /// Whether this server made it for that session.
    func isGenuine(_ token: Refresh, of row: GrantSessionRow) -> Bool {
        token.sessionID == row.session.id
            && constantTimeEqual(token.mac, mac(token.sessionID, token.generation, row.seed))
    }

    // MARK: Access tokens

    /// What a genuine access token says.
    struct Access {
        let sessionID: Bytes
        let generation: Int
        let account: Bytes
        let clientID: Bytes
        let thumbprint: Bytes
        let expiresAt: Int64
    }

    /// The access token of the session's present generation: the same one whenever it is asked for.
    func access(_ row: GrantSessionRow) -> Bytes {
        let session = row.session
        let confirmation: JOSEObject = ["jkt": .text(session.thumbprint)]
        var claims: JOSEObject = [
            "iss": .text(issuer), "aud": .text(audience), "sub": .text(session.account.bytes),
            "client_id": .text(session.clientID), "jti": .text(session.id + Bytes(".\(row.generation)")),
            "cnf": .json(Bytes(confirmation.json)), "iat": .integer(session.refreshedAt.seconds),
            "exp": .integer(session.accessExpiresAt.seconds),
        ]
        if session.scope.count <= Self.scopeClaimSizeMax { claims["scope"] = .text(session.scope) }
        return JWT.sign(header: ["typ": "at+jwt"], claims: claims, hs256: accessKey)
    }

    /// Nil for what this server did not sign as an access token for itself. Does not look at the time.
    func readAccess(_ token: Bytes) -> Access? {
        guard let jwt = try? JWT(parsing: token), (try? jwt.verify(hs256: accessKey)) != nil,
            jwt.header.text("typ") == "at+jwt", jwt.claims.text("iss") == issuer, jwt.claims.text("aud") == audience,
            let account = jwt.claims.text("sub"), let clientID = jwt.claims.text("client_id"),
            let expiresAt = jwt.claims.integer("exp"), case .json(let confirmation)? = jwt.claims["cnf"],
            let thumbprint = (try? JOSEObject(json: confirmation))?.text("jkt"),
            let parts = jwt.claims.text("jti")?.split(on: 0x2E), parts.count == 2, let generation = parts[1].decimal
        else { return nil }
        return Access(
            sessionID: parts[0], generation: generation, account: account, clientID: clientID, thumbprint: thumbprint,
            expiresAt: expiresAt)
    }
}
