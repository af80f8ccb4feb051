internal import Accounts
internal import Base
internal import Moderation
internal import Repos
internal import Web

/// What the operator looks at first.
enum OverviewPage {
    static let endpoints: [AdminEndpoint] = [
        .page("/admin", .overview) { call, html in
            let app = call.app
            let counts = try app.accounts.counts()
            let (oldest, newest) = (try app.events.oldest(), try app.events.newest())
            try html.element("dl", ["class": "figures"]) { html in
                html.figure("Accounts", "\(counts.all)", href: AdminTab.accounts.path)
                html.figure("Active", "\(counts.active)", href: AccountPages.path(state: .active))
                html.figure("Deactivated", "\(counts.deactivated)", href: AccountPages.path(state: .deactivated))
                html.figure("Suspended", "\(counts.suspended)", href: AccountPages.path(state: .suspended))
                html.figure("Taken down", "\(counts.takenDown)", href: AccountPages.path(state: .takenDown))
                html.figure("Open reports", "\(try app.reports.openCount())", href: AdminTab.reports.path)
                html.figure("Newest event", "\(newest)")
                html.figure("Events kept", oldest.map { "\(max(0, newest - $0 + 1))" } ?? "0")
            }
        }
    ]
}
