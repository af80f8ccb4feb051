internal import ATProto
internal import Base
internal import Mail
internal import Web

/// Mail that waits, was handed over this week, or was given up.
enum MailPages {
    private static let shownMax = 200

    static let endpoints: [AdminEndpoint] = [
        .page("/admin/mail", .mail) { call, html in try list(call, &html) },
        .action("/admin/mail/retry") { call, form in
            guard let id = form["id"], id.count <= 64, try call.app.mail.retry(id, now: call.app.clock.now()) else {
                throw Failure.notFound("That mail is being sent now, or is there no more.")
            }
            return AdminTab.mail.path
        },
    ]

    private static func list(_ call: AdminCall, _ html: inout HTML) throws {
        if !call.app.settings.sendsMail {
            html.element("p", ["class": "note"]) { html in
                html.raw("No mail goes out: ")
                html.element("code") { $0.text(Settings.smtpURL.key) }
                html.raw(" is not set. ")
                html.element("code") { $0.raw("skystead mail queue --codes") }
                html.raw(" prints the codes that people wait for.")
            }
        }
        let mails = try call.app.mail.list(limit: shownMax)
        guard !mails.isEmpty else {
            html.element("p") { $0.raw("There is no mail.") }
            return
        }
        html.table("Mail", ["State", "What", "To", "Made", "Tries", "Last answer", ""]) { html in
            for mail in mails { row(mail, call, &html) }
        }
        if mails.count == shownMax { html.element("p") { $0.raw("Older mail is not shown.") } }
    }

    private static func row(_ mail: QueuedMail, _ call: AdminCall, _ html: inout HTML) {
        html.element("tr") { html in
            html.element("td") { html in
                let kind: Bytes =
                    switch mail.state {
                    case .queued: "state warn"
                    case .sent: "state good"
                    case .failed: "state bad"
                    }
                html.element("span", ["class": kind]) { $0.text(mail.state.rawValue) }
            }
            html.element("td") { html in
                if let account = mail.account {
                    html.element("a", ["href": AccountPages.path(account)]) { $0.text(mail.kind) }
                } else {
                    html.text(mail.kind)
                }
            }
            html.element("td") { $0.text(mail.recipient) }
            html.element("td") { $0.time(mail.createdAt) }
            html.element("td", ["class": "number"]) { $0.text("\(mail.attempts)") }
            html.element("td") { $0.text(mail.lastError ?? "–") }
            html.element("td") { html in
                guard mail.state != .sent else { return }
                html.form(to: AdminTab.mail.path + "/retry", call) { html in
                    html.void("input", ["type": "hidden", "name": "id", "value": mail.id])
                    html.button("Send now", class: "quiet")
                }
            }
        }
    }
}
