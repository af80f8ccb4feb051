internal import Base
internal import Relays
internal import Repos
internal import Web

/// How the network sees this server: the firehose, and the relays that are told of it.
enum NetworkPages {
    static let endpoints: [AdminEndpoint] = [
        .page("/admin/network", .network) { call, html in
            try stream(call, &html)
            try crawlers(call, &html)
        },
        .action("/admin/network/request") { call, form in
            guard let url = form["url"], try call.app.crawlers.list().contains(where: { $0.url == url }) else {
                throw Failure.notFound("There is no such relay here.")
            }
            try call.app.crawlers.request(url)
            return AdminTab.network.path
        },
    ]

    private static func stream(_ call: AdminCall, _ html: inout HTML) throws {
        let (oldest, newest) = (try call.app.events.oldest(), try call.app.events.newest())
        html.element("h2") { $0.raw("Firehose") }
        html.element("dl", ["class": "facts"]) { html in
            html.fact("Newest event") { $0.text("\(newest)") }
            html.fact("Oldest that is kept") { $0.text(oldest.map { "\($0)" } ?? "none") }
        }
    }

    private static func crawlers(_ call: AdminCall, _ html: inout HTML) throws {
        html.element("h2") { $0.raw("Relays") }
        let crawlers = try call.app.crawlers.list()
        guard !crawlers.isEmpty else {
            html.element("p", ["class": "note"]) { html in
                html.raw("No relay is told of this server, so the network does not see it: set ")
                html.element("code") { $0.text(Settings.crawlers.key) }
                html.raw(".")
            }
            return
        }
        let newest = try call.app.events.newest()
        html.table("Relays", ["Relay", "State", "Asked", "Accepted", "Told up to", "Answer", ""]) { html in
            for crawler in crawlers {
                html.element("tr") { html in
                    html.element("td") { $0.text(crawler.url) }
                    html.element("td") { html in
                        let isWell = crawler.failures == 0
                        html.element("span", ["class": isWell ? "state good" : "state bad"]) { html in
                            html.raw(
                                !isWell ? "fails" : crawler.isPending(newest: newest) ? "to be told" : "up to date")
                        }
                    }
                    html.element("td") { $0.time(crawler.askedAt) }
                    html.element("td") { $0.time(crawler.acceptedAt) }
                    html.element("td", ["class": "number"]) { $0.text("\(crawler.toldSeq)") }
                    html.element("td") { html in
                        if let status = crawler.status { html.text("\(status) ") }
                        html.text(crawler.error ?? (crawler.status == nil ? "–" : ""))
                    }
                    html.element("td") { html in
                        html.form(to: AdminTab.network.path + "/request", call) { html in
                            html.void("input", ["type": "hidden", "name": "url", "value": crawler.url])
                            html.button("Ask again", class: "quiet")
                        }
                    }
                }
            }
        }
    }
}
