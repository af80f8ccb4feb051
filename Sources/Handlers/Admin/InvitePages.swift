internal import Accounts
internal import Base
internal import Hosting
internal import Moderation
internal import Web

/// Invite codes: making them, and who used them.
enum InvitePages {
    private static let shownMax = 100

    static let endpoints: [AdminEndpoint] = [
        .page("/admin/invites", .invites) { call, html in try list(call, &html) },
        .action("/admin/invites") { call, form in
            guard let uses = (form["uses"] ?? "1").decimal, (1...InviteStore.usesMax).contains(uses) else {
                throw Failure(.invalid, "InvalidRequest", "A code is for 1 to \(InviteStore.usesMax) accounts.")
            }
            _ = try call.app.administration.createInvites(count: 1, usesMax: uses, for: [], by: .admin)
            return AdminTab.invites.path
        },
        .action("/admin/invites/disable") { call, form in
            guard let code = form["code"], code.count <= InviteStore.codeSizeMax,
                try call.app.invites.find(code) != nil
            else { throw Failure.notFound("There is no such code.") }
            try call.app.administration.disableInvites(codes: [code], accounts: [], by: .admin)
            return AdminTab.invites.path
        },
    ]

    private static func list(_ call: AdminCall, _ html: inout HTML) throws {
        if !call.app.settings.inviteCodeRequired {
            html.element("p", ["class": "note"]) { html in
                html.raw("Anyone may make an account: ")
                html.element("code") { $0.text(Settings.inviteRequired.key) }
                html.raw(" is off.")
            }
        }
        html.form(to: AdminTab.invites.path, call, class: "line") { html in
            html.field("For how many accounts", name: "uses", type: "number", value: "1")
            html.button("New code")
        }
        let codes = try call.app.invites.list(.recent, after: nil, limit: shownMax)
        guard !codes.isEmpty else {
            html.element("p") { $0.raw("There are no codes yet.") }
            return
        }
        html.table("Invite codes", ["Code", "Used", "For", "Made", "Used by", ""]) { html in
            for code in codes { row(code, call, &html) }
        }
        if codes.count == shownMax { html.element("p") { $0.raw("Older codes are not shown.") } }
    }

    private static func row(_ code: InviteCode, _ call: AdminCall, _ html: inout HTML) {
        html.element("tr") { html in
            html.element("td") { html in html.element("code") { $0.text(code.code) } }
            html.element("td", ["class": "number"]) { $0.text("\(code.uses.count) of \(code.usesMax)") }
            html.element("td") { $0.text(code.forAccount) }
            html.element("td") { $0.time(code.createdAt) }
            html.element("td") { html in
                for use in code.uses.prefix(10) {
                    html.element("div") { html in html.element("code") { $0.text(use.by) } }
                }
                if code.uses.count > 10 { html.text("and \(code.uses.count - 10) more") }
            }
            html.element("td") { html in
                guard !code.isDisabled, code.uses.count < code.usesMax else {
                    return html.raw(code.isDisabled ? "disabled" : "used up")
                }
                html.form(to: AdminTab.invites.path + "/disable", call) { html in
                    html.void("input", ["type": "hidden", "name": "code", "value": code.code])
                    html.button("Disable", class: "quiet")
                }
            }
        }
    }
}
