public import Base
public import Crypto

/// A verified `private_key_jwt` (RFC 7523 §2.2 and §3, atproto OAuth specification): the client is who it says.
///
/// It counts once: hand it to `ReplayStore.use` in the transaction that the request is for. Verify the request's DPoP
/// proof first, and don't use the assertion up when that asks for a nonce: clients send the same body again then.
public struct ClientAssertion: Sendable, Equatable {
    public let key: ClientKeyPin
    /// `jti`.
    let identifier: Bytes
    /// From here on nobody takes this assertion any more.
    let usableUntil: Timestamp

    /// The one value of `client_assertion_type`.
    public static let type: Bytes = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    /// The longest assertion, in bytes.
    public static let sizeMax = 8_192
    /// An assertion is good for so long after `iat`.
    public static let ageSecondsMax: Int64 = 60
    /// How far a client's clock may be off, to either side.
    public static let toleranceSeconds: Int64 = 30
    /// The longest `jti`, in bytes.
    public static let identifierSizeMax = 256
    /// Whoever leaves `typ` out is right too.
    private static let types: Set<Bytes> = ["JWT", "jwt", "client-authentication+jwt"]
    /// Header members that bring a key along: the key is the registered one.
    private static let keyMembers: [Bytes] = ["jwk", "jku", "x5c", "x5u"]

    /// Verifies `assertion`, sent with `client_assertion_type` `type` by who calls itself `clientID`.
    ///
    /// `keys` and `algorithm` (`token_endpoint_auth_signing_alg`) are those of the client's metadata; `issuer` is this
    /// server's own. `proof` is the request's DPoP proof, where it has one. Throws `invalidClient`, or `invalidRequest`
    /// when the proof was made with the assertion's key: who steals one would have both.
    public static func verify(
        _ assertion: Bytes, type: Bytes, clientID: Bytes, issuer: Bytes, keys: JWKSet, algorithm: Bytes?,
        proof: DPoPProof?, now: Timestamp
    ) throws(AuthorizationError) -> ClientAssertion {
        guard type == Self.type else { throw invalid("client_assertion_type is another") }
        guard assertion.count <= sizeMax, let token = try? JWT(parsing: assertion) else {
            throw invalid("it is no JWT of at most 8 KiB")
        }
        let key = try verifySignature(token, keys: keys, algorithm: algorithm)
        let claims = token.claims
        guard claims.text("iss") == clientID, claims.text("sub") == clientID else {
            throw invalid("iss and sub must be the client_id")
        }
        switch claims["aud"] {
        case .text(issuer): break
        case .texts(let audiences) where audiences.contains(issuer): break
        default: throw invalid("aud is not this issuer")
        }
        guard let identifier = claims.text("jti"), !identifier.isEmpty, identifier.count <= identifierSizeMax else {
            throw invalid("jti is missing or too long")
        }
        let usableUntil = try checkTimes(claims, now)
        if let proof, proof.thumbprint == key.thumbprint {
            throw AuthorizationError(.invalidRequest, "The DPoP key must not be the key of the client assertion")
        }
        return ClientAssertion(key: key, identifier: identifier, usableUntil: usableUntil)
    }

    private static func verifySignature(
        _ token: JWT, keys: JWKSet, algorithm: Bytes?
    ) throws(AuthorizationError) -> ClientKeyPin {
        if let type = token.header["typ"] {
            guard case .text(let text) = type, types.contains(text) else { throw invalid("typ is another") }
        }
        guard !keyMembers.contains(where: { token.header[$0] != nil }) else { throw invalid("it brings its own key") }
        guard let id = token.header.text("kid"), let key = keys[id] else {
            throw invalid("kid names no key of the client")
        }
        guard algorithm == nil || algorithm == key.algorithm.jwsName else {
            throw invalid("the key is not of the algorithm that the client registered")
        }
        do throws(JWTError) { try token.verify(key, lowS: false) } catch {
            throw invalid(error == .wrongAlgorithm ? "alg is not that of the key, or crit is there" : "wrong signature")
        }
        return ClientKeyPin(
            id: id, algorithm: key.algorithm.jwsName, thumbprint: key.jwkThumbprintText)
    }

    /// Checks `iat`, and `exp` and `nbf` where they are there; returns when the assertion will be over. (RFC 7523 wants
    /// `exp`, the reference's clients leave it out; `iat` bounds the life all the same.)
    private static func checkTimes(_ claims: JOSEObject, _ now: Timestamp) throws(AuthorizationError) -> Timestamp {
        do throws(RequestTimes.Fault) {
            return try RequestTimes.check(
                claims, ageSecondsMax: ageSecondsMax, toleranceSeconds: toleranceSeconds, now: now)
        } catch {
            throw invalid(error.reason)
        }
    }

    private static func invalid(_ reason: Bytes) -> AuthorizationError {
        AuthorizationError(.invalidClient, "Client assertion: " + reason)
    }
}
