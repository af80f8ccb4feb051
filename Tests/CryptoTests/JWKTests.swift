import Base
import Crypto
import Testing

@Suite struct JWKTests {
    /// RFC 9449 gives its key's thumbprint; those of the other two were computed by Python as RFC 7638 §3 says.
    static let thumbprints: [(name: String, jwk: Bytes, thumbprint: Bytes)] = [
        (
            "RFC 9449 §4.1 and §6.1",
            """
            {"kty":"EC","x":"l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",\
            "y":"9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA","crv":"P-256"}
            """, "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
        ),
        (
            "RFC 7517 A.1, with more members",
            """
            {"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",\
            "y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","use":"sig","kid":"1","ext":true}
            """, "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s"
        ),
        (
            "secp256k1's generator",
            """
            {"kty":"EC","crv":"secp256k1","x":"eb5mfvncu6xVoGKVzocLBwKb_NstzijZWfKBWxb4F5g",\
            "y":"SDradyajxGVdpPv8DhEIqP0XtEimhVQZnEfQj_sQ1Lg"}
            """, "2JF8vg9etJzjFwZwmkvhBLLZ0bfMVVOPivYR5lFtcec"
        ),
    ]

    @Test(arguments: thumbprints) func thumbprintsAreThoseOfTheRFCs(name: String, jwk: Bytes, thumbprint: Bytes) throws
    {
        let key = try VerificationKey(jwk: JOSEObject(json: jwk))
        #expect(key.jwkThumbprintText == thumbprint)
        #expect(try VerificationKey(jwk: key.jwk) == key)
    }

    /// Points whose x is the field's prime more than it should be: on the curve, for who takes it modulo the prime.
    static let unreduced: [(curve: Bytes, x: Bytes, largeX: Bytes, y: Bytes)] = [
        (
            "P-256", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "_____wAAAAEAAAAAAAAAAAAAAAD_______________8",
            "ZkhceA4vg9ckM71dhKBrtlQcKvMdrocXKL-FahdPk_Q"
        ),
        (
            "secp256k1", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE", "_____________________________________v___DA",
            "QhjyCubGRrNj22hgWCL7FCZMqNJYf91vvHUNWH52p-4"
        ),
    ]

    @Test(arguments: unreduced) func aCoordinateIsBelowThePrime(curve: Bytes, x: Bytes, largeX: Bytes, y: Bytes) throws
    {
        func jwk(_ x: Bytes) -> JOSEObject { ["kty": "EC", "crv": .text(curve), "x": .text(x), "y": .text(y)] }
        _ = try VerificationKey(jwk: jwk(x))
        #expect(throws: CryptoError.invalidPublicKey) { try VerificationKey(jwk: jwk(largeX)) }
    }

    static let members: [(name: Bytes, value: JOSEValue, isTaken: Bool)] = [
        ("d", "AA", false), ("d", .null, false), ("k", "AA", false), ("p", "AA", false), ("q", "AA", false),
        ("dp", "AA", false), ("dq", "AA", false), ("qi", "AA", false), ("oth", .texts([]), false),
        ("use", "enc", false), ("use", .null, false), ("use", "sig", true), ("key_ops", .texts(["sign"]), false),
        ("key_ops", "verify", false), ("key_ops", .texts(["verify"]), true), ("key_ops", .texts([]), true),
        ("alg", "ES256", true), ("alg", "ES256K", false), ("alg", "none", false), ("alg", .texts(["ES256"]), false),
        ("ext", .bool(true), true), ("kid", "one", true), ("x", .texts([]), false), ("kty", "ec", false),
        ("crv", "p-256", false), ("crv", "Ed25519", false),
    ]

    @Test(arguments: members) func membersSayWhatAKeyIsFor(name: Bytes, value: JOSEValue, isTaken: Bool) throws {
        var jwk = try SigningKey.generate(.p256, entropy: .system).publicKey.jwk
        jwk[name] = value
        #expect(((try? VerificationKey(jwk: jwk)) != nil) == isTaken)
    }

    private static let one =
        #""kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","#
        + #""y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM""#

    static let sets: [(name: String, json: String, ids: [Bytes]?)] = [
        ("empty", #"{"keys":[]}"#, []), ("one", #"{"keys":[{"kid":"a",\#(one)}]}"#, ["a"]),
        ("spaces", #" { "keys" : [ { "kid" : "a" , \#(one) } ] } "#, ["a"]),
        ("two", #"{"keys":[{"kid":"a",\#(one)},{\#(one),"kid":"b"}],"more":1}"#, ["a", "b"]),
        (
            "one of another kind", #"{"keys":[{"kid":"r","kty":"RSA","n":"AQAB","e":"AQAB"},{"kid":"a",\#(one)}]}"#,
            ["a"]
        ),
        ("the same kid for another kind", #"{"keys":[{"kid":"a","kty":"RSA"},{"kid":"a",\#(one)}]}"#, ["a"]),
        ("one without kid", #"{"keys":[{\#(one)}]}"#, []), ("an empty kid", #"{"keys":[{"kid":"",\#(one)}]}"#, []),
        ("one for encryption", #"{"keys":[{"kid":"a","use":"enc",\#(one)}]}"#, []),
        ("a long kid", #"{"keys":[{"kid":"\#(String(repeating: "a", count: 257))",\#(one)}]}"#, []),
        ("one kid for two", #"{"keys":[{"kid":"a",\#(one)},{"kid":"a",\#(one)}]}"#, nil),
        ("a private key", #"{"keys":[{"kid":"a","d":"AA",\#(one)}]}"#, nil),
        ("a private key of another kind", #"{"keys":[{"kid":"a","kty":"RSA","d":"AA"}]}"#, nil),
        ("a symmetric key", #"{"keys":[{"kid":"a","kty":"oct","k":"AA"}]}"#, nil),
        ("a list", "[]", nil), ("nothing", "", nil), ("no keys", "{}", nil), ("keys an object", #"{"keys":{}}"#, nil),
        ("keys of texts", #"{"keys":["a"]}"#, nil), ("keys mixed", #"{"keys":[{"kid":"a",\#(one)},1]}"#, nil),
        ("a comma at the end", #"{"keys":[{"kid":"a",\#(one)},]}"#, nil),
        ("keys twice", #"{"keys":[],"keys":[]}"#, nil),
        ("a member twice in a key", #"{"keys":[{"kid":"a","kid":"b",\#(one)}]}"#, nil),
        ("33 keys", #"{"keys":[\#(Array(repeating: "{}", count: 33).joined(separator: ","))]}"#, nil),
        ("32 keys", #"{"keys":[\#(Array(repeating: "{}", count: 32).joined(separator: ","))]}"#, []),
        ("too large", #"{"keys":[]}"# + String(repeating: " ", count: 65_536), nil),
    ]

    @Test(arguments: sets) func setsAreRead(name: String, json: String, ids: [Bytes]?) throws {
        guard let ids else {
            #expect(throws: JWTError.malformed) { try JWKSet(json: Bytes(json)) }
            return
        }
        let set = try JWKSet(json: Bytes(json))
        #expect(set.isEmpty == ids.isEmpty)
        for id in ids { #expect(set[id] != nil) }
        for id: Bytes in ["", "r", "A", "c"] { #expect(set[id] == nil) }
    }

    static let dates: [(value: JOSEValue, seconds: Int64?)] = [
        (.integer(0), 0), (.integer(1_750_000_000), 1_750_000_000), (.json("1750000000.9"), 1_750_000_000),
        (.json("0.5"), 0), (.integer(253_402_300_799), 253_402_300_799), (.integer(253_402_300_800), nil),
        (.integer(-1), nil), (.json("-0.5"), nil), (.json("-0"), nil), (.json("1e9"), nil), (.json("1.5e9"), nil),
        (.json("18446744073709551616.5"), nil), ("1750000000", nil), (.null, nil), (.bool(true), nil),
        (.json("{}"), nil),
    ]

    @Test(arguments: dates) func numericDatesAreRead(value: JOSEValue, seconds: Int64?) {
        #expect((["iat": value] as JOSEObject).numericDate("iat") == seconds)
        #expect((["iat": value] as JOSEObject).numericDate("exp") == nil)
    }
}
