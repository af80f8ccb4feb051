import Testing

@testable import Base

/// What an operator writes about mail: addresses, senders, and the URL that nobody gets right at first.
@Suite struct MailSettingTests {
    struct URLRow: CustomTestStringConvertible, Sendable {
        let url: String
        /// `implicit host port user password`, or nil when it is refused.
        let expected: String?
        var testDescription: String { url }
        init(_ url: String, _ expected: String?) { (self.url, self.expected) = (url, expected) }
    }

    static let urls: [URLRow] = [
        URLRow(
            "smtps://me%40example.com:secret@smtp.example.com:465/", "true smtp.example.com 465 me@example.com secret"),
        URLRow("smtps://resend:re_key@smtp.resend.com", "true smtp.resend.com 465 resend re_key"),
        URLRow("smtp://a:b@smtp.example.com", "false smtp.example.com 587 a b"),
        URLRow("smtp://a:b@smtp.example.com:2525/", "false smtp.example.com 2525 a b"),
        URLRow("smtps://a:b@smtp.example.com:2465", "true smtp.example.com 2465 a b"),
        URLRow("smtp://127.0.0.1:25", "false 127.0.0.1 25  "),
        URLRow("smtp://[::1]:25", "false [::1] 25  "),
        URLRow("smtp://a:p:q@smtp.example.com", "false smtp.example.com 587 a p:q"),
        URLRow("smtps://a:%24%2F%25%3A@SMTP.Example.com", "true smtp.example.com 465 a $/%:"),
        // The mistakes that people make.
        URLRow("smtps://me@example.com:secret@smtp.example.com:465", nil),
        URLRow("smtp://a:b@smtp.example.com:465", nil),
        URLRow("smtps://a:b@smtp.example.com:587", nil),
        URLRow("smtps://a@smtp.example.com", nil),
        URLRow("smtps://:b@smtp.example.com", nil),
        URLRow("smtps://a:@smtp.example.com", nil),
        URLRow("smtps://a:b/c@smtp.example.com", nil),
        URLRow("smtps://a:b#c@smtp.example.com", nil),
        URLRow("smtps://a:b%@smtp.example.com", nil),
        URLRow("smtps://a:b%4@smtp.example.com", nil),
        URLRow("smtps://a:b%zz@smtp.example.com", nil),
        URLRow("smtps://a:b%0D%0AQUIT@smtp.example.com", nil),
        URLRow("smtps://a:b%00@smtp.example.com", nil),
        URLRow("smtps://a:b@", nil),
        URLRow("smtps://a:b@smtp.example.com:0", nil),
        URLRow("smtps://a:b@smtp.example.com:65536", nil),
        URLRow("smtps://a:b@smtp.example.com:+465", nil),
        URLRow("smtps://a:b@smtp.example.com:", nil),
        URLRow("smtps://a:b@smtp.example.com/path", nil),
        URLRow("smtps://a:b@smtp.example.com?tls=no", nil),
        URLRow("smtps://a:b@smtp_example.com", nil),
        URLRow("smtps://a:b@[::1", nil),
        URLRow("smtps://a:b@[]", nil),
        URLRow("smtps://a:b@smtp.example.com ", nil),
        URLRow("smtp.example.com:465", nil),
        URLRow("https://a:b@smtp.example.com", nil),
        URLRow("smtps:a:b@smtp.example.com", nil),
        URLRow("smtps://a:b@smtp.example.com/" + String(repeating: "/", count: 1_024), nil),
        URLRow("", nil),
    ]

    @Test(arguments: urls) func url(_ row: URLRow) {
        let server = MailServer(Bytes(row.url))
        let shown = server.map { server in
            let user = server.credentials?.user ?? Bytes()
            let password = server.credentials?.password.withBytes { Bytes($0) } ?? Bytes()
            return "\(server.isImplicitTLS) \(server.host) \(server.port) \(user) \(password)"
        }
        #expect(shown == row.expected)
    }

    @Test(arguments: [
        ("a@example.com", true), ("A.b+c@example.co.uk", true), ("ü@example.com", true),
        ("a\u{9B}@example.com", false), ("a@localhost", false), ("a@b@example.com", false), ("@example.com", false),
        ("a@", false), ("a", false),
        ("", false), ("a b@example.com", false), ("a\r\nBcc: x@example.com", false), ("a@example.com\n", false),
        ("<a@example.com>", false), ("A <a@example.com>", false), ("\"a\"@example.com", false),
        ("a@-example.com", false), ("a@exa_mple.com", false), ("a@example..com", false), ("a@[127.0.0.1]", false),
        (String(repeating: "a", count: 64) + "@example.com", true),
        (String(repeating: "a", count: 65) + "@example.com", false),
        ("a@" + String(repeating: "a.", count: 126) + "com", false),
    ]) func address(_ text: String, _ isOne: Bool) {
        #expect((MailAddress(Bytes(text)) != nil) == isOne)
    }

    @Test func anAddressIsUTF8() { #expect(MailAddress(Bytes([0x61, 0xFF] + Array("@example.com".utf8))) == nil) }

    @Test(
        arguments: [
            ("home@example.com", "home@example.com"), ("Home <home@example.com>", "Home home@example.com"),
            ("Our <small> home <home@example.com>", "Our <small> home home@example.com"),
            ("<home@example.com>", nil), ("Home home@example.com", nil), ("Home <home>", nil), ("Home <>", nil),
            ("Home\nBcc: x <home@example.com>", nil), ("Home\u{85} <home@example.com>", nil), ("", nil),
            ("Home <home@example.com", nil), ("Home > <home@example.com> x", nil),
        ] as [(String, String?)]) func sender(_ text: String, _ expected: String?)
    {
        let sender = MailSender(Bytes(text))
        #expect(sender.map { "\($0.name.map { "\($0.bytes) " } ?? "")\($0.address.bytes)" } == expected)
    }

    @Test(arguments: [
        ("Confirm", true), ("Grüße", true), ("", true), ("a\rb", false), ("a\nb", false), ("a\tb", false),
        ("a\u{7F}b", false), ("a\u{9B}b", false), (String(repeating: "a", count: 500), true),
        (String(repeating: "a", count: 501), false),
    ]) func headerText(_ text: String, _ isOne: Bool) {
        #expect((MailHeaderText(Bytes(text)) != nil) == isOne)
    }
}
