internal import Base
internal import Testing
internal import Web

@Suite struct CookieTests {
    struct Case: CustomTestStringConvertible, Sendable {
        let header: Bytes?
        let session: Bytes?
        let error: CookieError?
        init(_ header: Bytes?, _ session: Bytes?) {
            self.header = header
            self.session = session
            error = nil
        }
        init(_ header: Bytes, _ error: CookieError) {
            self.header = header
            session = nil
            self.error = error
        }
        var testDescription: String { String("\(header ?? "none")".prefix(60)) }
    }

    static let cases: [Case] = [
        Case(nil, nil), Case("__Host-s=abc", "abc"), Case("a=1; __Host-s=abc; b=2", "abc"),
        Case("__Host-s=abc;b", "abc"),
        Case("__Host-s=a=b", "a=b"), Case("__Host-s=", ""), Case("__Host-s=\"x\"", "\"x\""),
        Case("a=1; a=2; __Host-s=abc", "abc"), Case("theme=x,y; __Host-s=abc", "abc"),
        // Names are bytes: what looks alike is another cookie, which is not kept.
        Case("__host-s=abc", nil), Case("s=abc", nil), Case("__Host-S=abc", nil), Case("__Secure-s=abc", nil),
        Case("__Host-s", nil), Case("", nil), Case(";;;", nil), Case("x__Host-s=abc", nil),
        Case("__Host-s=a; __Host-s=a", .duplicate(name: "__Host-s")),
        Case("__Host-s=a; __Host-s=b", .duplicate(name: "__Host-s")),
        Case("__Host-s=a;__Host-s=", .duplicate(name: "__Host-s")),
        Case("a=1, __Host-s=b", .joined), Case("__Host-s=a, __Host-s=b", .joined), Case("__Host-s=a,b=c", .joined),
        Case(Bytes([UInt8](repeating: 0x61, count: 8_193)), .tooLarge),
        Case(Bytes([UInt8](repeating: 0x3B, count: 100)), .tooLarge),
    ]

    @Test(arguments: cases) func read(_ item: Case) {
        var headers = Headers()
        if let header = item.header { headers.append("cookie", header) }
        do throws(CookieError) {
            #expect(try Cookies(headers)["__Host-s"] == item.session)
        } catch {
            #expect(error == item.error)
            #expect(error.failure.kind == .invalid)
        }
    }

    @Test func set() {
        let cookie = SetCookie("s", "abc", maxAgeSeconds: 60)
        #expect(cookie?.value.bytes == "__Host-s=abc; Max-Age=60; Path=/; Secure; HttpOnly; SameSite=Lax")
        let strict = SetCookie("s", "", maxAgeSeconds: -5, sameSite: .strict)
        #expect(strict?.value.bytes == "__Host-s=; Max-Age=0; Path=/; Secure; HttpOnly; SameSite=Strict")
        #expect(SetCookie.clearing("s")?.value.bytes == "__Host-s=; Max-Age=0; Path=/; Secure; HttpOnly; SameSite=Lax")
    }

    @Test(arguments: ["a;b", "a b", "a,b", "a\"b", "a\\b", "a\nb", "é", "a\u{0}"] as [Bytes])
    func valueThatACookieCannotHold(value: Bytes) {
        #expect(SetCookie("s", value, maxAgeSeconds: 1) == nil)
    }

    @Test func nameThatACookieCannotHave() {
        #expect(SetCookie("", "a", maxAgeSeconds: 1) == nil)
        #expect(SetCookie("a=b", "a", maxAgeSeconds: 1) == nil)
        #expect(SetCookie("a b", "a", maxAgeSeconds: 1) == nil)
    }
}
