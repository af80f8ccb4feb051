internal import ATProto
internal import Base
internal import Hosting
internal import Moderation
internal import Web

/// What people have said of accounts and records here.
enum ReportPages {
    private static let pageSize = 50

    static let endpoints: [AdminEndpoint] = [
        .page("/admin/reports", .reports) { call, html in try list(call, &html) },
        .action("/admin/reports/close") { call, form in
            guard let id = form["id"]?.decimal else { throw AdminFailures.absent }
            let note = form["note"]?.trimming(" ") ?? Bytes()
            guard note.count <= ReportStore.noteSizeMax else {
                throw Failure(.invalid, "InvalidRequest", "A note has at most \(ReportStore.noteSizeMax) bytes.")
            }
            try call.app.administration.closeReport(id, note: note.isEmpty ? nil : note, by: .admin)
            return AdminTab.reports.path
        },
    ]

    private static func list(_ call: AdminCall, _ html: inout HTML) throws {
        let query = try call.request.parseQuery()
        let showsClosed = try query.single("show") == "closed"
        let before = try query.single("before")?.decimal
        let reports = try call.app.reports.list(showsClosed ? .closed : .open, before: before, limit: pageSize + 1)
        html.element("p") { html in
            if showsClosed {
                html.element("a", ["href": AdminTab.reports.path]) { $0.raw("Open reports") }
            } else {
                html.element("a", ["href": AdminTab.reports.path + "?show=closed"]) { $0.raw("Closed reports") }
            }
        }
        guard !reports.isEmpty else {
            html.element("p") { $0.raw(showsClosed ? "No report was closed yet." : "No report is open.") }
            return
        }
        html.table(
            showsClosed ? "Closed reports" : "Open reports",
            ["Number", "When", "About", "Reason", "By", "Passed on", showsClosed ? "Closed" : ""]
        ) { html in
            for report in reports.prefix(pageSize) { row(report, call, &html) }
        }
        if reports.count > pageSize, let last = reports.prefix(pageSize).last {
            let show: Bytes = showsClosed ? "&show=closed" : ""
            let next = AdminTab.reports.path + "?before=" + Bytes(String(last.id)) + show
            html.element("p") { html in html.element("a", ["href": next]) { $0.raw("More") } }
        }
    }

    private static func row(_ report: Report, _ call: AdminCall, _ html: inout HTML) {
        html.element("tr") { html in
            html.element("td", ["class": "number"]) { $0.text("\(report.id)") }
            html.element("td") { $0.time(report.createdAt) }
            html.element("td") { html in
                html.element("a", ["href": AccountPages.path(report.subject.did)]) { $0.text(report.subject.words) }
            }
            html.element("td") { html in
                // The token of `com.atproto.moderation.defs`, without its name space.
                let from = report.reasonType.position(of: 0x23).map { $0 + 1 } ?? 0
                html.text(report.reasonType.from(from))
                if let reason = report.reason { html.quotation(reason) }
            }
            html.element("td") { html in
                if let by = report.reportedBy { html.element("code") { $0.text(by.bytes) } } else { html.raw("–") }
            }
            html.element("td") { html in
                if report.forwardTo == nil { html.raw("–") } else { html.forwarded(report) }
            }
            html.element("td") { html in
                if let closed = report.closedAt {
                    html.time(closed)
                    if let note = report.note { html.quotation(note) }
                } else {
                    html.form(to: AdminTab.reports.path + "/close", call) { html in
                        html.void("input", ["type": "hidden", "name": "id", "value": Bytes(String(report.id))])
                        html.field("Note", name: "note", isRequired: false)
                        html.button("Close", class: "quiet")
                    }
                }
            }
        }
    }
}

extension HTML {
    fileprivate mutating func forwarded(_ report: Report) {
        if report.forwardedAt != nil { return time(report.forwardedAt) }
        text(report.forwardAttempts == 0 ? "waits" : "not yet, \(report.forwardAttempts) tries")
    }
}
