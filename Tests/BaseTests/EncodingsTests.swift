import Testing

@testable import Base

@Suite struct EncodingsTests {
    struct Case: CustomTestStringConvertible, Sendable {
        let name: String
        let encoding: RadixEncoding
        let bytes: String
        let text: String
        var testDescription: String { name }
    }

    // RFC 4648 §10, in the forms that the protocol uses.
    static let cases: [Case] = [
        Case(name: "base32 f", encoding: .base32, bytes: "f", text: "my"),
        Case(name: "base32 foobar", encoding: .base32, bytes: "foobar", text: "mzxw6ytboi"),
        Case(name: "base64 nothing", encoding: .base64, bytes: "", text: ""),
        Case(name: "base64 fo", encoding: .base64, bytes: "fo", text: "Zm8"),
        Case(name: "base64 padded f", encoding: .base64Padded, bytes: "f", text: "Zg=="),
        Case(name: "base64 padded foob", encoding: .base64Padded, bytes: "fooba", text: "Zm9vYmE="),
        Case(name: "base64url ~~~", encoding: .base64URL, bytes: "~~~?", text: "fn5-Pw"),
    ]

    @Test(arguments: cases) func roundTrip(_ row: Case) {
        #expect(String(decoding: row.encoding.encode(Array(row.bytes.utf8)), as: UTF8.self) == row.text)
        #expect(row.encoding.decode(Array(row.text.utf8)) == Array(row.bytes.utf8))
    }

    struct Bad: CustomTestStringConvertible, Sendable {
        let name: String
        let encoding: RadixEncoding
        let text: String
        var testDescription: String { name }
    }

    static let bad: [Bad] = [
        Bad(name: "base32 upper case", encoding: .base32, text: "MY"),
        Bad(name: "base32 a pad bit is set", encoding: .base32, text: "mz"),
        Bad(name: "base32 impossible length", encoding: .base32, text: "m"),
        Bad(name: "base64url with padding", encoding: .base64URL, text: "Zg=="),
        Bad(name: "base64url of the other alphabet", encoding: .base64URL, text: "fn5+Pw"),
        Bad(name: "base64url non-canonical", encoding: .base64URL, text: "Zh"),
        Bad(name: "base64 padded without padding", encoding: .base64Padded, text: "Zg"),
        Bad(name: "base64 padded too much", encoding: .base64Padded, text: "Zm8=="),
        Bad(name: "base64 padding alone", encoding: .base64Padded, text: "===="),
        Bad(name: "base64 line feed", encoding: .base64, text: "Zm8\n"),
    ]

    @Test(arguments: bad) func isRefused(_ row: Bad) { #expect(row.encoding.decode(Array(row.text.utf8)) == nil) }

    @Test func everyByteThroughEveryEncoding() {
        for length in 0..<9 {
            let bytes = (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 37 &+ 200) }
            for encoding in [RadixEncoding.base32, .base64, .base64URL, .base64Padded] {
                #expect(encoding.decode(encoding.encode(bytes)) == bytes)
            }
            #expect(Hex.decode(Hex.encode(bytes)) == bytes)
            #expect(Base58.decode(Base58.encode(bytes)) == bytes)
        }
    }

    @Test(arguments: [("Hello World!", "2NEpo7TZRRrLZSi2U"), ("", ""), ("\0\0a", "112g")])
    func base58(_ bytes: String, _ text: String) {
        #expect(String(decoding: Base58.encode(Array(bytes.utf8)), as: UTF8.self) == text)
        #expect(Base58.decode(Array(text.utf8)) == Array(bytes.utf8))
    }

    @Test(arguments: ["0", "O", "I", "l", "a b", String(repeating: "z", count: 257)])
    func base58IsRefused(_ text: String) { #expect(Base58.decode(Array(text.utf8)) == nil) }

    @Test(arguments: ["0", "0g", "é", "0x"]) func hexIsRefused(_ text: String) {
        #expect(Hex.decode(Array(text.utf8)) == nil)
    }
}
