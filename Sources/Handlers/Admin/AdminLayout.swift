internal import Accounts
internal import Base
internal import Web

/// The parts of the pages, in the order of the navigation.
enum AdminTab: CaseIterable {
    case overview, accounts, reports, invites, mail, network, log

    var title: StaticString {
        switch self {
        case .overview: "Overview"
        case .accounts: "Accounts"
        case .reports: "Reports"
        case .invites: "Invites"
        case .mail: "Mail"
        case .network: "Network"
        case .log: "Log"
        }
    }

    var path: Bytes {
        switch self {
        case .overview: "/admin"
        case .accounts: "/admin/accounts"
        case .reports: "/admin/reports"
        case .invites: "/admin/invites"
        case .mail: "/admin/mail"
        case .network: "/admin/network"
        case .log: "/admin/log"
        }
    }
}

/// What every page has around it.
enum AdminLayout {
    static let stylePath: Bytes = "/admin/style.css"

    static func page(_ tab: AdminTab, _ content: HTML, _ call: AdminCall) -> Response {
        var html = document(title: tab.title, call.app)
        html.element("header", ["class": "bar"]) { html in
            html.element("a", ["class": "home", "href": AdminTab.overview.path]) { $0.raw("Skystead") }
            html.element("nav", ["aria-label": "Administration"]) { html in
                for other in AdminTab.allCases {
                    html.element("a", ["href": other.path, "aria-current": other == tab ? "page" : nil]) {
                        $0.raw(other.title)
                    }
                }
            }
            html.form(to: SignInPages.signOutPath, call, class: "out") { html in
                html.button("Sign out", class: "quiet")
            }
        }
        html.element("main") { html in
            html.element("h1") { $0.raw(tab.title) }
            html.append(content)
        }
        end(&html, call.app)
        return .page(status: 200, html)
    }

    /// A page without navigation: signing in, and what went wrong.
    static func plain(status: Int, title: StaticString, _ app: AdminApp, _ content: (inout HTML) -> Void) -> Response {
        var html = document(title: title, app)
        html.element("main", ["class": "narrow"]) { html in
            html.element("h1") { $0.raw(title) }
            content(&html)
        }
        end(&html, app)
        return .page(status: status, html)
    }

    static func failure(_ failure: Failure, _ app: AdminApp, id: Bytes? = nil) -> Response {
        plain(status: failure.kind.status, title: "That did not work", app) { html in
            html.element("p", ["class": "problem", "role": "alert"]) { $0.text(failure.message) }
            if failure.kind == .internal, let id {
                html.element("p") { html in
                    html.raw("The log has more under ")
                    html.element("code") { $0.text(id) }
                    html.raw(".")
                }
            }
            html.element("p") { $0.element("a", ["href": AdminTab.overview.path]) { $0.raw("To the overview") } }
        }
    }

    private static func document(title: StaticString, _ app: AdminApp) -> HTML {
        var html = HTML()
        html.raw("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">")
        html.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">")
        html.raw("<meta name=\"robots\" content=\"noindex\">")
        html.element("title") { html in
            html.raw(title)
            html.raw(" · ")
            html.text(app.settings.host)
        }
        html.void("link", ["rel": "stylesheet", "href": stylePath])
        html.raw("</head><body>")
        return html
    }

    private static func end(_ html: inout HTML, _ app: AdminApp) {
        html.element("footer") { html in
            html.text(app.settings.host)
            html.raw(" · Skystead ")
            html.text(app.settings.version)
        }
        html.raw("</body></html>")
    }
}

extension HTML {
    /// A form of this session's that posts to `path`.
    mutating func form(
        to path: Bytes, _ call: AdminCall, class name: Bytes? = nil, _ content: (inout HTML) -> Void
    ) {
        element("form", ["method": "post", "action": path, "class": name]) { html in
            html.void(
                "input", ["type": "hidden", "name": AdminForms.tokenField, "value": call.caller.session.formToken])
            content(&html)
        }
    }

    mutating func button(_ label: StaticString, class name: Bytes? = nil, name field: Bytes? = nil, value: Bytes? = nil)
    {
        element("button", ["type": "submit", "class": name, "name": field, "value": value]) { $0.raw(label) }
    }

    /// A line of a form: its label and the field.
    mutating func field(
        _ label: StaticString, name: Bytes, type: Bytes = "text", value: Bytes? = nil, isRequired: Bool = true,
        autocomplete: Bytes = "off", hint: StaticString? = nil
    ) {
        element("label", ["class": "field"]) { html in
            html.element("span") { $0.raw(label) }
            html.void(
                "input",
                [
                    "name": name, "type": type, "value": value, "autocomplete": autocomplete,
                    "required": isRequired ? "" : nil,
                ])
            if let hint { html.element("small") { $0.raw(hint) } }
        }
    }

    /// What somebody wrote, for somebody else to read: a direction that it sets ends with it, and what is long or piles
    /// up marks scrolls in a box of its own (reliability J018). All of it is there.
    mutating func quotation(_ text: Bytes) {
        element("div", ["class": "said", "tabindex": "0"]) { html in html.element("bdi") { $0.text(text) } }
    }

    /// A moment as people read it, with the whole of it for machines.
    mutating func time(_ moment: Timestamp?) {
        guard let moment else { return raw("–") }
        let text = Bytes(moment.iso8601Bytes)
        element("time", ["datetime": text]) { html in
            html.text(text.upTo(10))
            html.raw(" ")
            html.text(text.slice(min(11, text.count)..<min(16, text.count)))
            html.raw(" UTC")
        }
    }

    /// A table with a caption for those who hear it.
    mutating func table(_ caption: StaticString, _ columns: [StaticString], _ rows: (inout HTML) -> Void) {
        element(
            "div", ["class": "scroll", "tabindex": "0", "role": "region", "aria-label": Bytes(stringLiteral: caption)]
        ) { html in
            html.element("table") { html in
                html.element("caption") { $0.raw(caption) }
                html.element("thead") { html in
                    html.element("tr") { html in
                        for column in columns { html.element("th", ["scope": "col"]) { $0.raw(column) } }
                    }
                }
                html.element("tbody") { rows(&$0) }
            }
        }
    }

    /// One figure of the overview.
    mutating func figure(_ label: StaticString, _ value: String, href: Bytes? = nil) {
        element("div", ["class": "figure"]) { html in
            html.element("dt") { $0.raw(label) }
            html.element("dd") { html in
                if let href {
                    html.element("a", ["href": href]) { $0.text(value) }
                } else {
                    html.text(value)
                }
            }
        }
    }
}
