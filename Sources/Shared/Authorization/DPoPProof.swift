public import Base
internal import Crypto

/// A verified DPoP proof: the sender of this request has the key (RFC 9449 §4).
///
/// It counts once: hand it to `ReplayStore.use` before anything is done for its sender.
public struct DPoPProof: Sendable, Equatable {
    /// The RFC 7638 thumbprint of the key, 43 characters: `jkt`.
    public let thumbprint: Bytes
    /// The proof's identifier, at most `identifierSizeMax` bytes.
    public let identifier: Bytes
    /// From here on nobody takes this proof any more.
    let usableUntil: Timestamp
    /// The epoch of the nonce in it.
    let epoch: Bytes

    /// The longest header value, in bytes.
    public static let sizeMax = 8_192
    /// A proof is made for one request: so old it may be.
    public static let ageSecondsMax: Int64 = 10
    /// How far a client's clock may be off, to either side.
    public static let toleranceSeconds: Int64 = 180
    /// The longest `jti`, in bytes.
    public static let identifierSizeMax = 256
    static let type: Bytes = "dpop+jwt"

    /// Verifies the value of the one `DPoP` header field.
    ///
    /// `accessToken` is what the proof must be made for (`ath`), nil where no token is sent: then a proof with `ath` is
    /// one for another request. Throws `invalidDPoPProof`, or `useDPoPNonce` when the nonce is missing, old or foreign
    /// and all else that was looked at before is right.
    public static func verify(
        _ header: Bytes, method: Bytes, target: DPoPTarget, accessToken: Bytes?, nonces: DPoPNonces, now: Timestamp
    ) throws(AuthorizationError) -> DPoPProof {
        let (token, key) = try signed(header)
        let claims = token.claims
        guard let identifier = claims.text("jti"), !identifier.isEmpty, identifier.count <= identifierSizeMax else {
            throw invalid("jti is missing or too long")
        }
        // RFC 9110 §9.1: methods are case-sensitive.
        guard claims.text("htm") == method else { throw invalid("htm is not the method of this request") }
        guard let htu = claims.text("htu"), target.isNamed(by: htu) else {
            throw invalid("htu is not the address of this request")
        }
        let usableUntil = try checkTimes(claims, now)
        try checkAccessToken(claims, accessToken)
        guard claims["nonce"] != nil else {
            throw AuthorizationError(.useDPoPNonce, "The proof needs the nonce of the DPoP-Nonce header")
        }
        guard let nonce = claims.text("nonce") else { throw invalid("nonce is no text") }
        guard let nonceEnd = nonces.validUntil(nonce, now) else {
            throw AuthorizationError(.useDPoPNonce, "The nonce is not a current one of this server")
        }
        return DPoPProof(
            thumbprint: key.jwkThumbprintText, identifier: identifier, usableUntil: min(usableUntil, nonceEnd),
            epoch: nonces.epoch)
    }

    /// The parsed proof and the key in it, which signed it.
    private static func signed(_ header: Bytes) throws(AuthorizationError) -> (JWT, VerificationKey) {
        guard header.count <= sizeMax, let token = try? JWT(parsing: header) else {
            throw invalid("it is no JWT of at most 8 KiB")
        }
        guard token.header.text("typ") == type else { throw invalid("typ is not dpop+jwt") }
        guard case .json(let text) = token.header["jwk"], let jwk = try? JOSEObject(json: text),
            let key = try? VerificationKey(jwk: jwk)
        else { throw invalid("jwk is no public key on P-256 or secp256k1") }
        // Two names for the key of one proof: whoever takes the other one sees another proof.
        if let id = token.header["kid"], let own = jwk["kid"], id != own { throw invalid("kid is not that of jwk") }
        do throws(JWTError) { try token.verify(key, lowS: false) } catch {
            throw invalid(error == .wrongAlgorithm ? "alg is not that of the key, or crit is there" : "wrong signature")
        }
        return (token, key)
    }

    /// Checks `iat`, and `exp` and `nbf` where they are there; returns when the proof will be too old.
    private static func checkTimes(_ claims: JOSEObject, _ now: Timestamp) throws(AuthorizationError) -> Timestamp {
        do throws(RequestTimes.Fault) {
            return try RequestTimes.check(
                claims, ageSecondsMax: ageSecondsMax, toleranceSeconds: toleranceSeconds, now: now)
        } catch {
            throw invalid(error.reason)
        }
    }

    private static func checkAccessToken(_ claims: JOSEObject, _ token: Bytes?) throws(AuthorizationError) {
        guard let token else {
            if claims["ath"] != nil { throw invalid("ath is there, but no access token") }
            return
        }
        let expected = Bytes(RadixEncoding.base64URL.encode(SHA256.hash(token).bytes))
        guard let ath = claims.text("ath"), constantTimeEqual(ath, expected) else {
            throw invalid("ath is not that of the access token")
        }
    }

    private static func invalid(_ reason: Bytes) -> AuthorizationError {
        AuthorizationError(.invalidDPoPProof, "DPoP proof: " + reason)
    }
}
