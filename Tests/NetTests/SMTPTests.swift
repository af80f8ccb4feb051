import Base
import Foundation
import Testing

@testable import Net

/// A mail server in a script: what it says to each command, and what it heard. Faithful to RFC 5321 in the order of
/// things; each row changes one answer.
final class ScriptedMailServer: Sendable {
    struct Answers: Sendable {
        var greeting = "220 mail.test ESMTP"
        /// To EHLO; the last line ends it.
        var ehlo = ["250-mail.test", "250-SIZE 1000000", "250 8BITMIME"]
        var mail = "250 2.1.0 Ok"
        var recipient = "250 2.1.5 Ok"
        var data = "354 go on"
        var taken = "250 2.0.0 queued"
        /// Closes the connection in place of an answer to this command.
        var closesAt: String?
        /// Never answers this command.
        var hangsAt: String?
    }

    let heard = Guarded<[String]>([])
    let content = Guarded<[UInt8]>([])
    private let listener = Guarded<LoopbackServer?>(nil)

    var port: Int { listener.withLock { $0?.port ?? 0 } }

    init(_ answers: Answers) throws {
        let (heard, content) = (heard, content)
        let server = try LoopbackServer { connection in
            func line() -> String? {
                var bytes: [UInt8] = []
                var byte: UInt8 = 0
                while read(connection.fd, &byte, 1) == 1 {
                    bytes.append(byte)
                    if bytes.suffix(2) == [13, 10] { return String(decoding: bytes.dropLast(2), as: UTF8.self) }
                }
                return nil
            }
            func say(_ text: String) { connection.send(text + "\r\n") }
            say(answers.greeting)
            while let command = line() {
                heard.withLock { $0.append(command) }
                let word = String(command.prefix { $0 != " " && $0 != ":" }).uppercased()
                if word == answers.closesAt { return }
                if word == answers.hangsAt { return connection.waitForClose() }
                switch word {
                case "EHLO": answers.ehlo.forEach(say)
                case "HELO": say("250 mail.test")
                case "MAIL": say(answers.mail)
                case "RCPT": say(answers.recipient)
                case "DATA":
                    say(answers.data)
                    guard answers.data.hasPrefix("354") else { continue }
                    var bytes: [UInt8] = []
                    var byte: UInt8 = 0
                    while !bytes.suffix(5).elementsEqual([13, 10, 46, 13, 10]), read(connection.fd, &byte, 1) == 1 {
                        bytes.append(byte)
                    }
                    content.withLock { $0 = bytes.dropLast(3) }
                    if answers.closesAt == "." { return }
                    if answers.hangsAt == "." { return connection.waitForClose() }
                    say(answers.taken)
                case "NOOP": say("250 Ok")
                case "QUIT":
                    say("221 Bye")
                    return
                default: say("502 5.5.2 Not implemented")
                }
            }
        }
        listener.withLock { $0 = server }
    }

    func client(_ credentials: String = "", milliseconds: Int = 5_000) throws -> SMTPClient {
        var configuration = HTTPClient.Configuration()
        configuration.hostOverrides = ["mail.test": "127.0.0.1"]
        configuration.privateHostsAllowed = [Bytes("mail.test:\(port)")]
        let server = try #require(MailServer(Bytes("smtp://\(credentials)mail.test:\(port)")))
        return try SMTPClient(server, name: "home.test", configuration, deadlineMilliseconds: milliseconds)
    }
}

private let sender = MailSender("Home <home@example.com>")!

/// A mail with everything that a transport could break.
private func message(_ text: String = "Hello\n") throws -> MailMessage {
    try #require(
        MailMessage(
            from: sender, to: MailAddress("bob@example.com")!,
            subject: MailHeaderText("Confirm")!, text: Bytes(text), html: "<p>Hello</p>\n",
            date: Timestamp(seconds: 1_750_000_000), id: "abc123", domain: "home.test"))
}

@Suite struct MailMessageTests {
    @Test func wholeMessage() throws {
        let expected = """
            Date: Sun, 15 Jun 2025 15:06:40 +0000
            From: "Home" <home@example.com>
            To: <bob@example.com>
            Subject: Confirm
            Message-ID: <abc123@home.test>
            Auto-Submitted: auto-generated
            MIME-Version: 1.0
            Content-Type: multipart/alternative; boundary="=_abc123"

            --=_abc123
            Content-Type: text/plain; charset=utf-8
            Content-Transfer-Encoding: quoted-printable

            Hello

            --=_abc123
            Content-Type: text/html; charset=utf-8
            Content-Transfer-Encoding: quoted-printable

            <p>Hello</p>

            --=_abc123--

            """
        #expect(try message().rfc5322 == Bytes(expected.replacing("\n", with: "\r\n")))
    }

    @Test(arguments: [
        ("plain", "plain"), ("a=b", "a=3Db"), ("Grüße", "Gr=C3=BC=C3=9Fe"), ("end \nnext\t", "end=20\r\nnext=09"),
        ("a\r\nb", "a=0D\r\nb"), ("\u{0}", "=00"), (".", "."), ("", ""), ("a\tb", "a\tb"),
        (String(repeating: "a", count: 80), String(repeating: "a", count: 75) + "=\r\naaaaa"),
        (
            String(repeating: "a", count: 74) + "ü",
            String(repeating: "a", count: 74) + "=\r\n=C3=BC"
        ),
    ]) func quotedPrintable(_ text: String, _ expected: String) {
        #expect(Bytes(MailMessage.quotedPrintable(Bytes(text))) == Bytes(expected))
    }

    @Test(arguments: [
        ("Confirm", "Confirm"), ("Grüße", "=?utf-8?B?R3LDvMOfZQ==?="),
        ("a =?utf-8?Q?b?=", "=?utf-8?B?YSA9P3V0Zi04P1E/Yj89?="),
        (
            String(repeating: "ü", count: 23),
            "=?utf-8?B?w7zDvMO8w7zDvMO8w7zDvMO8w7zDvMO8w7zDvMO8w7zDvMO8w7zDvMO8w7w=?=\r\n =?utf-8?B?w7w=?="
        ),
    ]) func encodedWords(_ text: String, _ expected: String) throws {
        #expect(MailMessage.encodedWords(try #require(MailHeaderText(Bytes(text)))) == Bytes(expected))
    }

    @Test(arguments: [
        ("Home", "\"Home\""), ("a \"b\" \\c", "\"a \\\"b\\\" \\\\c\""), ("Zuhause ü", "=?utf-8?B?WnVoYXVzZSDDvA==?="),
    ])
    func phrase(_ name: String, _ expected: String) throws {
        #expect(MailMessage.phrase(try #require(MailHeaderText(Bytes(name)))) == Bytes(expected))
    }

    @Test(arguments: [
        (0, "Thu, 01 Jan 1970 00:00:00 +0000"), (951_782_400, "Tue, 29 Feb 2000 00:00:00 +0000"),
        (1_798_761_599, "Thu, 31 Dec 2026 23:59:59 +0000"),
    ]) func date(_ seconds: Int64, _ expected: String) {
        #expect(MailMessage.date(Timestamp(seconds: seconds)) == Bytes(expected))
    }

    @Test(arguments: [("", "home.test"), ("a>b", "home.test"), ("a\r\nb", "home.test"), ("a", "home test"), ("a", "")])
    func noMessageID(_ id: String, _ domain: String) throws {
        let good = try message()
        #expect(
            MailMessage(
                from: good.from, to: good.to, subject: good.subject, text: "", html: "", date: good.date,
                id: Bytes(id), domain: Bytes(domain)) == nil)
    }
}

@Suite struct SMTPClientTests {
    struct Row: CustomTestStringConvertible, Sendable {
        let name: String
        let expected: SMTPError?
        let change: @Sendable (inout ScriptedMailServer.Answers) -> Void
        var testDescription: String { name }
        init(
            _ name: String, _ expected: SMTPError?,
            _ change: @escaping @Sendable (inout ScriptedMailServer.Answers) -> Void = { _ in }
        ) {
            (self.name, self.expected, self.change) = (name, expected, change)
        }
    }

    static func reply(_ code: Int, _ text: Bytes) -> SMTPReply { SMTPReply(code: code, text: text) }

    static let rows: [Row] = [
        Row("taken", nil),
        Row("a server without EHLO", nil) { $0.ehlo = ["502 no"] },
        Row("many lines of greeting", nil) { $0.greeting = "220-a\r\n220 b" },
        Row("sender refused", .refused(reply(553, "5.7.1 not yours"))) { $0.mail = "553 5.7.1 not yours" },
        Row("sender later", .temporary(reply(451, "4.3.0 later"))) { $0.mail = "451 4.3.0 later" },
        Row("receiver refused", .refused(reply(550, "5.1.1 no such user"))) { $0.recipient = "550 5.1.1 no such user" },
        Row("receiver greylisted", .temporary(reply(450, "4.2.0 greylisted"))) {
            $0.recipient = "450-4.2.0 please\r\n450 4.2.0 greylisted"
        },
        Row("login wanted", .authentication(reply(530, "5.7.0 who are you"))) { $0.mail = "530 5.7.0 who are you" },
        Row("data refused", .refused(reply(554, "no"))) { $0.data = "554 no" },
        Row("text refused", .refused(reply(554, "spam"))) { $0.taken = "554 spam" },
        Row("text later", .temporary(reply(452, "disk"))) { $0.taken = "452 disk" },
        Row("greeting 554 is not about the mail", .temporary(reply(554, "no service"))) {
            $0.greeting = "554 no service"
        },
        Row("greeting 421", .temporary(reply(421, "busy"))) { $0.greeting = "421 busy" },
        Row("not SMTP", .malformedReply) { $0.greeting = "HTTP/1.1 400 Bad Request" },
        Row("closes before anything", .unreachable) { $0.closesAt = "EHLO" },
        Row("closes at RCPT", .unreachable) { $0.closesAt = "RCPT" },
        Row("closes after the text", .unreachable) { $0.closesAt = "." },
        Row("hangs at MAIL", .timeout) { $0.hangsAt = "MAIL" },
        Row("hangs after the text", .timeout) { $0.hangsAt = "." },
        Row("endless lines", .malformedReply) {
            $0.greeting = String(repeating: "220-more\r\n", count: 300) + "220 done"
        },
        Row("controls in a reply", .refused(reply(550, "a?b"))) { $0.recipient = "550 a\u{1B}b" },
        Row("controls beyond ASCII", .refused(reply(550, "ü?b"))) { $0.recipient = "550 ü\u{9B}b" },
        Row("a long reply", .refused(reply(550, Bytes(String(repeating: "x", count: 400))))) {
            $0.recipient = "550 " + String(repeating: "x", count: 500)
        },
    ]

    @Test(arguments: rows) func answers(_ row: Row) throws {
        var answers = ScriptedMailServer.Answers()
        row.change(&answers)
        let server = try ScriptedMailServer(answers)
        let client = try server.client(milliseconds: answers.hangsAt == nil ? 5_000 : 300)
        var caught: SMTPError?
        let mail = try message()
        do throws(SMTPError) { try client.send(mail) } catch { caught = error }
        #expect(caught == row.expected)
    }

    @Test func whatTheServerHears() throws {
        let server = try ScriptedMailServer(.init())
        let sent = try message(".\n..\n.dot\nend\n")
        try server.client().send(sent)
        let heard = server.heard.withLock { $0 }
        #expect(heard.first == "EHLO home.test")
        #expect(heard.contains { $0.hasPrefix("MAIL FROM:<home@example.com>") })
        #expect(heard.contains("RCPT TO:<bob@example.com>"))
        #expect(heard.last == "QUIT")
        // RFC 5321 §4.5.2: every line that begins with a dot has one more on the wire.
        let wire = String(decoding: server.content.withLock { $0 }, as: UTF8.self)
        #expect(wire.contains("\r\n..\r\n...\r\n..dot\r\nend\r\n"))
        let unstuffed = wire.components(separatedBy: "\r\n").map { $0.hasPrefix(".") ? String($0.dropFirst()) : $0 }
        #expect(Bytes(unstuffed.joined(separator: "\r\n")) == sent.rfc5322)
    }

    @Test func checkingSendsNothing() throws {
        let server = try ScriptedMailServer(.init())
        try server.client().check(sender)
        #expect(server.heard.withLock { $0 } == ["EHLO home.test", "MAIL FROM:<home@example.com>", "QUIT"])
    }

    @Test(arguments: [
        ("553 5.7.1 not yours", SMTPError.refused(SMTPReply(code: 553, text: "5.7.1 not yours"))),
        ("550 no", .refused(SMTPReply(code: 550, text: "no"))),
        ("451 later", .temporary(SMTPReply(code: 451, text: "later"))),
        ("530 who are you", .authentication(SMTPReply(code: 530, text: "who are you"))),
    ]) func checkingASender(_ answer: String, _ expected: SMTPError) throws {
        var answers = ScriptedMailServer.Answers()
        answers.mail = answer
        let server = try ScriptedMailServer(answers)
        #expect(throws: expected) { try server.client().check(sender) }
    }

    @Test func aPasswordNeverGoesWithoutTLS() throws {
        for ehlo in [["250 mail.test"], ["250-mail.test", "250 AUTH PLAIN LOGIN"], ["250-mail.test", "250 STARTTLS"]] {
            var answers = ScriptedMailServer.Answers()
            answers.ehlo = ehlo
            let server = try ScriptedMailServer(answers)
            #expect(throws: SMTPError.tls) { try server.client("bob:secret@").check(sender) }
            #expect(!server.heard.withLock { $0 }.contains { $0.hasPrefix("AUTH") || $0.hasPrefix("MAIL") })
        }
    }

    @Test func hostsThatMayNotBeAsked() throws {
        let server = try ScriptedMailServer(.init())
        var configuration = HTTPClient.Configuration()
        configuration.hostOverrides = ["smtp.example.com": "127.0.0.1", "smtp.example.org": "10.0.0.1"]
        for host in ["127.0.0.1", "localhost", "mail.test", "[::1]", "10.0.0.1", "relay"] {
            let url = try #require(MailServer(Bytes("smtp://\(host):\(server.port)")))
            #expect(throws: SMTPError.addressNotAllowed) { _ = try SMTPClient(url, name: "home.test", configuration) }
        }
        // A public name that leads to a private address.
        for host in ["smtp.example.org"] {
            let url = try #require(MailServer(Bytes("smtp://\(host):\(server.port)")))
            let client = try? SMTPClient(url, name: "home.test", configuration)
            #expect(throws: SMTPError.addressNotAllowed) { try client?.check(sender) }
        }
        #expect(server.heard.withLock { $0 }.isEmpty)
    }

    @Test func nobodyThere() throws {
        var configuration = HTTPClient.Configuration()
        configuration.privateHostsAllowed = ["127.0.0.1:1"]
        let url = try #require(MailServer("smtp://127.0.0.1:1"))
        let client = try SMTPClient(url, name: "home.test", configuration)
        #expect(throws: SMTPError.unreachable) { try client.check(sender) }
    }
}
