public import Base
internal import Web

/// The words of a mail that carries a code: one row for each purpose, the only place where they are written.
public struct MailTemplate: Sendable {
    let subject: StaticString
    /// What the code is for; before it stands whose account, after it the code.
    let purpose: StaticString
    /// What to do when one did not ask for it.
    let otherwise: StaticString

    public static let confirmEmail = MailTemplate(
        subject: "Confirm your e-mail address",
        purpose: "To confirm that this is your e-mail address, enter this code in your app:",
        otherwise: "If you have no account there, ignore this mail: somebody may have mistyped an address.")
    public static let updateEmail = MailTemplate(
        subject: "Change your e-mail address",
        purpose: "To give your account another e-mail address, enter this code in your app:",
        otherwise: "If you did not ask for this, change your password: somebody is signed in to your account.")
    public static let resetPassword = MailTemplate(
        subject: "Reset your password",
        purpose: "To choose a new password, enter this code in your app:",
        otherwise: "If you did not ask for this, ignore this mail. Your password stays as it is.")
    public static let deleteAccount = MailTemplate(
        subject: "Delete your account",
        purpose: """
            To delete your account with everything that is in it, enter this code and your password in your app. It \
            cannot be undone:
            """,
        otherwise: "If you did not ask for this, change your password: somebody is signed in to your account.")
    public static let plcOperation = MailTemplate(
        subject: "Change your identity",
        purpose: """
            To sign a change of your identity, enter this code in your app. Whoever has it can move your account to \
            another server:
            """,
        otherwise: "If you did not ask for this, change your password: somebody is signed in to your account.")
    public static let signIn = MailTemplate(
        subject: "Your sign-in code", purpose: "To sign in, enter this code:",
        otherwise: "If you are not signing in, change your password: somebody knows it.")

    /// The words of `skystead mail test`.
    public static func test(host: Bytes) -> MailText? {
        var html = HTML()
        html.element("p") { $0.text("Mail of " + host + " arrives.") }
        return MailText(
            subject: "Test of " + host, text: "Mail of " + host + " arrives.\n", html: Bytes(html.bytes))
    }

    /// The mail to `account` (its handle) on `host` with `code`, which holds for `minutes`. nil when a name in it is no
    /// line of text.
    public func mail(code: Bytes, account: Bytes, host: Bytes, minutes: Int) -> MailText? {
        let opening = "This is about the account " + account + " on " + host + "." as Bytes
        let life = Bytes("The code works once, for \(minutes) minutes after this mail was sent.")
        let purpose = Bytes(stringLiteral: purpose)
        let otherwise = Bytes(stringLiteral: otherwise)
        let text = [opening, purpose, "    " + code, life, otherwise].reduce(Bytes()) {
            $0.isEmpty ? $1 : $0 + "\n\n" + $1
        }
        var html = HTML()
        html.raw("<!DOCTYPE html><html lang=\"en\"><meta charset=\"utf-8\"><body style=\"font-family:sans-serif\">")
        html.element("p") { $0.text(opening) }
        html.element("p") { $0.text(purpose) }
        html.element("p", ["style": "font-family:monospace;font-size:2em;letter-spacing:.1em"]) { $0.text(code) }
        html.element("p") { $0.text(life) }
        html.element("p") { $0.text(otherwise) }
        html.raw("</body></html>\n")
        return MailText(
            subject: Bytes(stringLiteral: subject) + " on " + host, text: text + "\n", html: Bytes(html.bytes))
    }
}

/// What a mail says.
public struct MailText: Sendable, Equatable {
    public let subject: MailHeaderText
    /// UTF-8 with LF lines.
    public let text: Bytes
    public let html: Bytes

    /// nil when `subject` is no line of text.
    public init?(subject: Bytes, text: Bytes, html: Bytes) {
        guard let subject = MailHeaderText(subject) else { return nil }
        self.init(subject: subject, text: text, html: html)
    }

    /// What an administrator or a moderator writes to an account: `content` is markup, as moderation services send it,
    /// or plain text.
    public static func message(_ subject: MailHeaderText, _ content: Bytes) -> MailText {
        if PlainText.isMarkup(content) {
            return MailText(subject: subject, text: PlainText.of(content), html: content)
        }
        var html = HTML()
        html.raw("<!DOCTYPE html><html lang=\"en\"><meta charset=\"utf-8\"><body style=\"font-family:sans-serif\">")
        html.element("p", ["style": "white-space:pre-wrap"]) { $0.text(content) }
        html.raw("</body></html>\n")
        return MailText(subject: subject, text: content + "\n", html: Bytes(html.bytes))
    }

    private init(subject: MailHeaderText, text: Bytes, html: Bytes) {
        self.subject = subject
        self.text = text
        self.html = html
    }

    /// Both texts in one run of bytes, as they are sealed: the count of the first in four bytes, then both.
    var sealable: Secret {
        let count = UInt32(clamping: text.count)
        let head = [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: count >> $0) }
        return Secret(head + text.array + html.array)
    }

    init?(subject: Bytes, sealable: Secret) {
        let bytes = sealable.withBytes { Bytes($0) }
        guard bytes.count >= 4 else { return nil }
        let count = bytes.upTo(4).reduce(0) { $0 << 8 | Int($1) }
        let rest = bytes.from(4)
        guard count <= rest.count else { return nil }
        self.init(subject: subject, text: rest.upTo(count), html: rest.from(count))
    }
}
