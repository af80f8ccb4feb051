internal import Base
internal import Testing
internal import Web

@Suite struct HTMLTests {
    static func string(_ build: (inout HTML) -> Void) -> String {
        var html = HTML()
        build(&html)
        return String(decoding: html.bytes, as: UTF8.self)
    }

    @Test(arguments: [
        ("plain é 😀" as Bytes, "plain é 😀"), ("<script>", "&lt;script&gt;"), ("a&b", "a&amp;b"), ("\"'", "&quot;&#39;"),
        ("&amp;", "&amp;amp;"), ("a\u{0}b\u{8}", "a\u{FFFD}b\u{FFFD}"), ("\u{85}", "\u{FFFD}"),
        ("a\r\nb\tc", "a\u{FFFD}\nb\tc"),
        (Bytes([0x61, 0xFF, 0x3C]), "a\u{FFFD}&lt;"), ("e\u{301}<", "e\u{301}&lt;"), ("</title", "&lt;/title"),
    ])
    func text(text: Bytes, escaped: String) {
        #expect(Self.string { $0.text(text) }.utf8.elementsEqual(escaped.utf8))
        let attribute = Self.string { $0.void("input", ["value": text]) }
        #expect(attribute.utf8.elementsEqual("<input value=\"\(escaped)\">".utf8))
    }

    @Test func elements() {
        let page = Self.string { html in
            html.raw("<!doctype html>")
            html.element("p", ["class": "a", "id": nil, "title": ""]) { html in
                html.text("1 < 2")
                html.element("b") { $0.text("!") }
            }
            html.element("i")
        }
        #expect(page == "<!doctype html><p class=\"a\" title=\"\">1 &lt; 2<b>!</b></p><i></i>")
    }

    @Test func jsonInAScript() {
        let page = Self.string { $0.json(id: "data", "{\"a\":\"</script><!--&\"}") }
        #expect(
            page
                == "<script type=\"application/json\" id=\"data\">{\"a\":\"\\u003c/script\\u003e\\u003c!--\\u0026\"}</script>"
        )
    }

    @Test(arguments: [
        ("/a?b=c" as Bytes, true), ("/", true), ("https://a.example/", true), ("HTTP://a", true),
        ("//evil.example", false), ("javascript:alert(1)", false), ("JavaScript:alert(1)", false),
        ("data:text/html,x", false),
        ("/\\evil.example", false), (" /a", false), ("/\t/evil", false), ("\u{1}javascript:x", false), ("", false),
        ("a", false), ("https:/a", false), ("vbscript:x", false),
    ])
    func links(url: Bytes, isSafe: Bool) {
        #expect((Link.checked(url) == url) == isSafe)
    }

    @Test func pageHeaders() {
        var html = HTML()
        html.text("x")
        let response = Response.page(
            status: 200, html, formAction: ["https://client.example", "https://a b", "x; script-src *", "https://a;b"])
        let policy = response.headers.first { "\($0.name)" == "Content-Security-Policy" }?.value.bytes
        #expect("\(policy ?? "")".hasSuffix("form-action 'self' https://client.example"))
        #expect(response.headers.contains { "\($0.name)" == "X-Content-Type-Options" && $0.value.bytes == "nosniff" })
        #expect(response.headers.contains { "\($0.name)" == "Cache-Control" && $0.value.bytes == "no-store" })
    }

    @Test(arguments: [
        ("a" as Bytes, true), ("a b\té", false), ("é", true), ("a\r\nX: y", false), ("a\nb", false), ("a\u{0}", false),
        ("", true), ("\u{7f}", false), ("a b", true),
    ])
    func headerValues(value: Bytes, isValid: Bool) {
        #expect((HeaderValue(value) != nil) == isValid)
    }
}
