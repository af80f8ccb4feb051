internal import ATProto
internal import Accounts
internal import Assembly
internal import Base
internal import Hosting
internal import Mail
internal import Moderation
internal import Net
internal import Storage

extension Command {
    static let mailTest = Command(
        "mail test", arguments: ["ADDRESS"], summary: "sends a mail there now, and tells what the mail server said"
    ) { invocation in
        guard let address = MailAddress(Bytes(invocation.arguments[0])) else {
            throw ToolError.usage("'\(invocation.arguments[0])' is not an e-mail address", command: "mail test")
        }
        let settings = try ToolSettings.load()
        do {
            guard let client = try Outbound.mail(settings), let sender = settings[Settings.mailFrom] else {
                throw ToolError("no mail server is set", remedy: "set SKYSTEAD_SMTP_URL and SKYSTEAD_MAIL_FROM")
            }
            try client.send(try MailTool.test(from: sender, to: address, settings))
        } catch let error as SMTPError {
            throw ToolError(error.description, remedy: MailTool.remedy(error))
        }
        invocation.output.line("the mail server has taken a mail to \(address.bytes); look whether it arrives")
        return 0
    }

    static let mailQueue = Command(
        "mail queue",
        options: [
            Option(
                name: "codes", value: nil,
                help: "print the codes that would be taken now, for their owners; `skystead audit` has it")
        ],
        summary: "prints mail that waits, was handed over this week or was given up"
    ) { invocation in
        let service = try AccountTool.service()
        let output = invocation.output
        let now = Clock.system.now()
        for mail in try service.mail.queue.list(limit: AccountTool.pageSize) {
            output.line(MailTool.line(mail, now: now))
            if let error = mail.lastError { output.line("    \(error)") }
        }
        guard invocation.has("codes") else { return 0 }
        let log = AdminLog(database: service.database, clock: .system)
        for token in try service.mail.tokens.pending(now: now) {
            // First the log, then the code: nobody reads one unseen.
            try service.database.write { writer in
                try log.note(
                    .showCode, token.account.bytes, by: .tool, detail: Bytes(token.purpose.rawValue), in: writer)
            }
            let handle = try service.accounts.find(token.account)?.shownHandle ?? .invalid
            let age = MailTool.age(since: token.createdAt, now: now)
            output.line("\(token.code)  \(token.purpose.rawValue)  \(token.account)  \(handle)  \(age) old")
        }
        return 0
    }

    static let mailRetry = Command(
        "mail retry", arguments: ["ID"], summary: "makes a mail that waits or was given up due now"
    ) { invocation in
        let id = invocation.arguments[0]
        let service = try AccountTool.service()
        guard try service.mail.queue.retry(Bytes(id), now: Clock.system.now()) else {
            throw ToolError(
                "there is no mail '\(id)' that could be sent again",
                remedy: "skystead mail queue; one that is being sent is tried again by itself")
        }
        invocation.output.line("it is due now")
        return 0
    }
}

/// What the mail commands share.
enum MailTool {
    static func test(from sender: MailSender, to address: MailAddress, _ settings: Settings) throws -> MailMessage {
        let host = Names(settings).host
        let id = Bytes(Hex.encode(try Entropy.system.bytes(16)))
        guard let text = MailTemplate.test(host: host),
            let message = MailMessage(
                from: sender, to: address, subject: text.subject, text: text.text, html: text.html,
                date: Clock.system.now(), id: id, domain: host)
        else { throw ToolError("no mail can be made for \(host)") }
        return message
    }

    /// What to do about it.
    static func remedy(_ error: SMTPError) -> String {
        switch error {
        case .refused: "may this login send as SKYSTEAD_MAIL_FROM? The server's words say more"
        case .temporary: "try again later; the queue does so by itself"
        case .authentication: "look at user and password in SKYSTEAD_SMTP_URL; both are percent-encoded (@ is %40)"
        case .tls:
            "smtps:// is for port 465, smtp:// with STARTTLS for 587; an own certificate: SKYSTEAD_EXTRA_CA_FILE"
        case .addressNotAllowed: "a relay of your own: put host:port into SKYSTEAD_ALLOW_PRIVATE_HOSTS"
        case .unreachable, .timeout:
            "look at host and port; many hosters block 25 and 465: ask yours for 587, or use another port of the server"
        case .malformedReply: "look at host and port in SKYSTEAD_SMTP_URL"
        }
    }

    static func line(_ mail: QueuedMail, now: Timestamp) -> String {
        let about = mail.account.map { "  \($0)" } ?? ""
        let tries = mail.attempts == 1 ? "1 try" : "\(mail.attempts) tries"
        let age = age(since: mail.createdAt, now: now)
        return "\(mail.id)  \(mail.state.rawValue)  \(mail.kind)\(about)  \(mail.recipient)  \(age) old, \(tries)"
    }

    static func age(since moment: Timestamp, now: Timestamp) -> String {
        let seconds = max(0, now.seconds - moment.seconds)
        return seconds < 120 ? "\(seconds) s" : seconds < 7_200 ? "\(seconds / 60) min" : "\(seconds / 3_600) h"
    }
}
