import Base
import Crypto
import Foundation

@testable import Authorization

/// A token in the making: every part can be made wrong before it is signed, and the signature after.
struct TokenDraft: Sendable {
    var header: JOSEObject
    var claims: JOSEObject
    var key: SigningKey
    /// In the place of `header` and `claims`: JSON that no `JOSEObject` has.
    var headerJSON: Bytes?
    var claimsJSON: Bytes?
    /// What is done to the 64 bytes.
    var changeSignature: @Sendable ([UInt8], KeyAlgorithm) -> [UInt8] = { signature, _ in signature }
    /// What is done to the whole.
    var changeToken: @Sendable (Bytes) -> Bytes = { $0 }

    init(header: JOSEObject, claims: JOSEObject, key: SigningKey) {
        self.header = header
        self.claims = claims
        self.key = key
    }

    func token() throws -> Bytes {
        let part =
            TokenDraft.base64(headerJSON ?? Bytes(header.json)) + "."
            + TokenDraft.base64(claimsJSON ?? Bytes(claims.json))
        let signature = changeSignature(try key.sign(SHA256.hash(part)), key.algorithm)
        return changeToken(part + "." + TokenDraft.base64(Bytes(signature)))
    }

    static func base64(_ bytes: Bytes) -> Bytes { Bytes(RadixEncoding.base64URL.encode(bytes)) }

    /// The same signature with n − S: as good under JOSE.
    static func withHighS(_ signature: [UInt8], _ algorithm: KeyAlgorithm) -> [UInt8] {
        let order =
            algorithm == .p256
            ? "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"
            : "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"
        let minuend = Hex.decode(Array(order.utf8)) ?? []
        var high = [UInt8](repeating: 0, count: 32)
        var borrow = 0
        for index in (0..<32).reversed() {
            let difference = Int(minuend[index]) - Int(signature[32 + index]) - borrow
            borrow = difference < 0 ? 1 : 0
            high[index] = UInt8(difference + borrow * 256)
        }
        return signature[..<32] + high
    }

    /// The signature as ASN.1 DER, which JOSE does not use.
    static func asDER(_ signature: [UInt8]) -> [UInt8] {
        func integer(_ bytes: ArraySlice<UInt8>) -> [UInt8] {
            var number = Array(bytes.drop { $0 == 0 })
            if number.first.map({ $0 >= 0x80 }) ?? true { number.insert(0, at: 0) }
            return [0x02, UInt8(number.count)] + number
        }
        let body = integer(signature[..<32]) + integer(signature[32...])
        return [0x30, UInt8(body.count)] + body
    }
}

/// What all proofs of these tests are for.
enum Fixture {
    static let now = Timestamp(seconds: 1_750_000_017)
    static let secret = Secret([UInt8](repeating: 5, count: 32))
    static let nonces = DPoPNonces(secret: secret, epoch: "epoch")
    static let url: Bytes = "https://pds.example.com/oauth/token"
    static let accessToken: Bytes = "eyJ.an.access.token"

    /// One of each curve.
    static func keys() throws -> [SigningKey] {
        try KeyAlgorithm.allCases.map { try SigningKey.generate($0, entropy: .system) }
    }

    static func target() -> DPoPTarget? { DPoPTarget(publicURL: "https://pds.example.com", path: "/oauth/token") }

    static func proof(_ key: SigningKey, identifier: Bytes = "one", now: Timestamp = now) -> TokenDraft {
        TokenDraft(
            header: [
                "typ": "dpop+jwt", "alg": .text(key.algorithm.jwsName), "jwk": .json(Bytes(key.publicKey.jwk.json)),
            ],
            claims: [
                "jti": .text(identifier), "htm": "POST", "htu": .text(url), "iat": .integer(now.seconds),
                "nonce": .text(nonces.current(now)),
            ],
            key: key)
    }

    /// The code that `verify` throws for `token`, nil when it takes it.
    static func code(
        _ token: Bytes, method: Bytes = "POST", accessToken: Bytes? = nil, now: Timestamp = now
    ) throws -> AuthorizationError.Code? {
        guard let target = target() else { throw CocoaError(.featureUnsupported) }
        do throws(AuthorizationError) {
            _ = try DPoPProof.verify(
                token, method: method, target: target, accessToken: accessToken, nonces: nonces, now: now)
            return nil
        } catch {
            return error.code
        }
    }
}

/// Runs `body` on `count` threads at once, each with its number, and returns when all have ended.
func onThreads(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
    let group = DispatchGroup()
    for number in 0..<count {
        group.enter()
        let thread = Thread {
            body(number)
            group.leave()
        }
        thread.stackSize = 512 * 1_024
        thread.start()
    }
    group.wait()
}
