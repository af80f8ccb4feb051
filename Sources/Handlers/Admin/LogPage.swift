internal import Base
internal import Moderation
internal import Web

/// What administrators, moderators and the tool have done.
enum LogPage {
    private static let pageSize = 100

    static let endpoints: [AdminEndpoint] = [
        .page("/admin/log", .log) { call, html in
            let query = try call.request.parseQuery()
            let before = try query.single("before")?.decimal
            let acts = try call.app.acts.list(before: before, limit: pageSize + 1)
            guard !acts.isEmpty else {
                html.element("p") { $0.raw("Nothing was done yet.") }
                return
            }
            html.table("Acts", ["When", "Who", "What", "About", "Words"]) { html in
                for act in acts.prefix(pageSize) {
                    html.element("tr") { html in
                        html.element("td") { $0.time(act.at) }
                        html.element("td") { $0.text(act.actor) }
                        html.element("td") { $0.text(act.action) }
                        html.element("td") { html in html.element("code") { $0.text(act.subject) } }
                        html.element("td") { $0.text(act.detail ?? "–") }
                    }
                }
            }
            if acts.count > pageSize, let last = acts.prefix(pageSize).last {
                let next = AdminTab.log.path + "?before=" + Bytes(String(last.id))
                html.element("p") { html in html.element("a", ["href": next]) { $0.raw("Older") } }
            }
        }
    ]
}
