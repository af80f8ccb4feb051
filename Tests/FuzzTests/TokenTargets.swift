import ATProto
import Authorization
import Base
import Crypto

extension FuzzTarget {
    private static let secret = Secret([UInt8](repeating: 9, count: 32))
    private static let key = try? SigningKey(algorithm: .k256, secret: secret)
    private static let claims: JOSEObject = [
        "iss": "did:plc:yk4dd2qkboz2yv6tpubpc6co", "aud": .texts(["a", "b"]), "exp": .integer(1_700_000_000),
        "n": .null,
    ]

    private static let signed: [[UInt8]] = {
        let symmetric = JWT.sign(header: ["typ": "at+jwt"], claims: claims, hs256: secret)
        let asymmetric = key.flatMap { try? JWT.sign(header: ["typ": "JWT"], claims: claims, key: $0) }
        return [symmetric.array, asymmetric?.array ?? []]
    }()

    private static let now = Timestamp(seconds: 1_750_000_000)
    private static let nonces = DPoPNonces(secret: secret, epoch: "epoch")
    private static let proof: Bytes? = key.flatMap { key in
        try? JWT.sign(
            header: ["typ": "dpop+jwt", "jwk": .json(Bytes(key.publicKey.jwk.json))],
            claims: [
                "jti": "one", "htm": "GET", "htu": "https://pds.example/xrpc/a.b.c", "iat": .integer(now.seconds),
                "nonce": .text(nonces.current(now)),
                "ath": .text(Bytes(RadixEncoding.base64URL.encode(SHA256.hash("token" as Bytes).bytes))),
            ], key: key)
    }

    private static let sealer = try? Sealer(key: secret)

    /// Tokens, keys and sealed values.
    static let tokens: [FuzzTarget] = [
        FuzzTarget("jwt", corpus: signed) { input in
            guard let token = try? JWT(parsing: Bytes(input)) else { return nil }
            let signature = Bytes(RadixEncoding.base64URL.encode(token.signature))
            if token.signedPart + "." + signature != Bytes(input) { return "comes back changed" }
            let isSymmetric = (try? token.verify(hs256: secret)) != nil
            let isAsymmetric = key.map { (try? token.verify($0.publicKey)) != nil } ?? false
            if isSymmetric, isAsymmetric { return "verifies under two algorithms" }
            let algorithm = token.header.text("alg")
            if isSymmetric, algorithm != "HS256" { return "verifies as HS256 but says otherwise" }
            if isAsymmetric, algorithm != "ES256K" { return "verifies as ES256K but says otherwise" }
            return nil
        },
        FuzzTarget(
            "jose",
            texts: [
                #"{"a":"b","c":1,"d":["x"],"e":{"f":[{}]},"g":null,"h":true}"#, #" { "\u0061\ud83d\ude00" : -1.5e3 } "#,
                #"{"a":-0}"#,
            ]
        ) { input in
            guard let object = try? JOSEObject(json: Bytes(input)) else { return nil }
            guard let again = try? JOSEObject(json: Bytes(object.json)) else { return "its own JSON is refused" }
            if again != object { return "its own JSON is another object" }
            // The two readers of JSON agree, but for floats, which the data model has not.
            let isFlat = !object.members.contains { if case .json = $0.value { true } else { false } }
            guard isFlat else { return nil }
            guard let value = try? JSON.parsePlain(Bytes(input)) else { return "the other reader refuses it" }
            for member in object.members {
                switch (member.value, value[member.name]) {
                case (.text(let one), .text(let other)?): if one != other { return "another text" }
                case (.integer(let one), .integer(let other)?): if one != other { return "another number" }
                case (.bool(let one), .bool(let other)?): if one != other { return "another bool" }
                case (.null, .null?): break
                case (.texts(let one), .array(let other)?): if one != other.compactMap(\.text) { return "other texts" }
                default: return "another kind of value"
                }
            }
            return nil
        },
        FuzzTarget(
            "did-key",
            texts: [
                "did:key:zQ3shqwJEJyMBsBXCWyCBpUBMqxcon9oHB7mCvx4sSpMdLJwc",
                "did:key:zDnaembgSGUhZULN2Caob4HLJPaxBh92N7rtH21TErzqf8HQo",
            ]
        ) { input in
            if let key = try? VerificationKey(didKey: Bytes(input)), key.didKey != Bytes(input) {
                return "comes back changed"
            }
            for algorithm in KeyAlgorithm.allCases {
                _ = try? VerificationKey(multibase: Bytes(input), legacy: algorithm)
                _ = try? VerificationKey(algorithm: algorithm, point: Bytes(input))
            }
            return nil
        },
        FuzzTarget(
            "sealed",
            corpus: [
                (try? sealer?.seal(secret, context: "context", entropy: .system)) ?? []
            ]
        ) { input in
            guard let sealer, let opened = try? sealer.open(Bytes(input), context: "context") else { return nil }
            return opened.withBytes { $0 } == secret.withBytes { $0 } ? nil : "opens to what was never sealed"
        },
        FuzzTarget(
            "signature",
            corpus: [
                (try? key?.sign(SHA256.hash([1]))) ?? []
            ]
        ) { input in
            guard let key, key.publicKey.verify(Bytes(input), of: SHA256.hash([1])) else { return nil }
            return Bytes(input) == (try? key.sign(SHA256.hash([1]))).map { Bytes($0) }
                ? nil : "a second signature verifies"
        },
        FuzzTarget(
            "jwk",
            texts: [
                #"{"kty":"EC","crv":"P-256","x":"l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs","#
                    + #""y":"9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA","kid":"a","key_ops":["verify"]}"#,
                #"{"keys":[{"kty":"EC","crv":"secp256k1","x":"eb5mfvncu6xVoGKVzocLBwKb_NstzijZWfKBWxb4F5g","#
                    + #""y":"SDradyajxGVdpPv8DhEIqP0XtEimhVQZnEfQj_sQ1Lg","kid":"b"},{"kty":"RSA"}]}"#,
            ]
        ) { input in
            _ = try? JWKSet(json: Bytes(input))
            guard let jwk = try? JOSEObject(json: Bytes(input)), let key = try? VerificationKey(jwk: jwk) else {
                return nil
            }
            // One key has one text: what is left out of it, the thumbprint does not see.
            for name: Bytes in ["crv", "kty", "x", "y"] where key.jwk[name] != jwk[name] { return "comes back changed" }
            if jwk["d"] != nil || jwk["k"] != nil { return "a private key is taken" }
            return key.jwkThumbprintText.count == 43 ? nil : "a thumbprint of another length"
        },
        FuzzTarget("dpop", corpus: [proof?.array ?? []]) { input in
            guard let target = DPoPTarget(publicURL: "https://pds.example", path: "/xrpc/a.b.c"),
                let found = try? DPoPProof.verify(
                    Bytes(input), method: "GET", target: target, accessToken: "token", nonces: nonces, now: now)
            else { return nil }
            // Nobody but the key's owner makes a proof, so this is the one of the corpus; only S may be the other one.
            let signed = proof.map { $0.upTo($0.lastIndex(of: 0x2E) ?? 0) }
            if Bytes(input).upTo(signed?.count ?? 0) != signed { return "a changed proof is taken" }
            return found.thumbprint == key?.publicKey.jwkThumbprintText ? nil : "another key's"
        },
        FuzzTarget(
            "htu",
            texts: ["https://pds.example/xrpc/a.b.c", "HTTP://[::1]:80/./a/%7e%2f/../b", "https://a.b:8443"]
        ) { input in
            guard let target = DPoPTarget(publicURL: Bytes(input), path: "/") else { return nil }
            // The slash at its end is the path's again.
            let again = DPoPTarget(publicURL: target.address, path: "/")
            return again == target ? nil : "its normal form is another address"
        },
    ]
}
