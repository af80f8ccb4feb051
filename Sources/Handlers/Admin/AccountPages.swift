internal import ATProto
internal import Accounts
internal import Base
internal import Hosting
internal import Moderation
internal import Repos
internal import Web

/// The accounts: who is here, in which state, and what can be done about it.
enum AccountPages {
    private static let pageSize = 50

    static let endpoints: [AdminEndpoint] = [
        .page("/admin/accounts", .accounts) { call, html in try list(call, &html) },
        .page("/admin/accounts/{did}", .accounts) { call, html in try show(try account(call), call, &html) },
        .action("/admin/accounts/{did}/takedown") { call, form in
            let account = try account(call)
            try call.app.administration.setTakedown(form["lift"] == nil, of: .account(account.did), by: .admin)
            return path(account.did)
        },
        .action("/admin/accounts/{did}/suspension") { call, form in
            let account = try account(call)
            try call.app.administration.setSuspension(form["lift"] == nil, of: account.did, by: .admin)
            return path(account.did)
        },
    ]

    static func path(state: AccountState) -> Bytes { AdminTab.accounts.path + "?state=" + Bytes(state.rawValue) }

    static func path(_ did: DID) -> Bytes { AdminTab.accounts.path + "/" + PercentCoding.encode(did.bytes) }

    private static func account(_ call: AdminCall) throws -> Account {
        guard let did = DID(try call.value(0)), let account = try call.app.accounts.find(did) else {
            throw AdminFailures.absent
        }
        return account
    }

    // MARK: The list

    private static func list(_ call: AdminCall, _ html: inout HTML) throws {
        let query = try call.request.parseQuery()
        let text = try query.single("q")?.trimming(" ")
        let state = try query.single("state").flatMap { AccountState(rawValue: $0.description) }
        let after = try query.single("after").flatMap { DID($0) }
        let prefix = text.flatMap { $0.isEmpty ? nil : $0.first == 0x40 ? $0.from(1) : $0 }
        let found = try call.app.accounts.list(
            AccountFilter(state: state, prefix: prefix), after: after, limit: pageSize + 1)
        filterForm(text, state, &html)
        guard !found.isEmpty else {
            html.element("p") { $0.raw("No account fits.") }
            return
        }
        let sizes = try call.app.repos.storageBytes(of: found.prefix(pageSize).map(\.did))
        html.table("Accounts", ["Handle", "State", "Storage", "E-mail", "Since", "DID"]) { html in
            for (account, bytes) in zip(found.prefix(pageSize), sizes) {
                html.element("tr") { html in
                    html.element("td") { html in
                        html.element("a", ["href": path(account.did)]) { $0.text(account.shownHandle.bytes) }
                    }
                    html.element("td") { $0.state(account.state) }
                    html.element("td", ["class": "number"]) { $0.text(ByteCount.words(bytes)) }
                    html.element("td") { $0.text(account.email ?? "–") }
                    html.element("td") { $0.time(account.createdAt) }
                    html.element("td") { html in html.element("code") { $0.text(account.did.bytes) } }
                }
            }
        }
        if found.count > pageSize, let last = found.prefix(pageSize).last {
            var next = AdminTab.accounts.path + "?after=" + PercentCoding.encode(last.did.bytes)
            if let state { next = next + "&state=" + Bytes(state.rawValue) }
            if let text { next = next + "&q=" + PercentCoding.encode(text) }
            html.element("p") { html in html.element("a", ["href": next]) { $0.raw("More") } }
        }
    }

    private static func filterForm(_ text: Bytes?, _ state: AccountState?, _ html: inout HTML) {
        html.element("form", ["class": "line", "method": "get", "action": AdminTab.accounts.path]) { html in
            html.field("Handle, e-mail or DID begins with", name: "q", value: text, isRequired: false)
            html.element("label", ["class": "field"]) { html in
                html.element("span") { $0.raw("State") }
                html.element("select", ["name": "state"]) { html in
                    html.element("option", ["value": ""]) { $0.raw("any") }
                    for other in AccountState.allCases {
                        let isChosen: Bytes? = other == state ? "" : nil
                        html.element("option", ["value": Bytes(other.rawValue), "selected": isChosen]) {
                            $0.raw(other.words)
                        }
                    }
                }
            }
            html.button("Search", class: "quiet")
        }
    }

    // MARK: One account

    private static func show(_ account: Account, _ call: AdminCall, _ html: inout HTML) throws {
        html.element("h2") { $0.text(account.shownHandle.bytes) }
        let repository = try call.app.repos.state(of: account.did)
        let counts = try call.app.repos.counts(of: account.did)
        let use = try call.app.repos.storageUse(of: account.did)
        html.element("dl", ["class": "facts"]) { html in
            html.fact("State") { $0.state(account.state) }
            html.fact("DID") { html in html.element("code") { $0.text(account.did.bytes) } }
            html.fact("E-mail") { html in
                html.text(account.email ?? "none")
                if account.email != nil {
                    html.raw(account.emailConfirmedAt == nil ? ", not confirmed" : ", confirmed")
                }
            }
            html.fact("Since") { $0.time(account.createdAt) }
            if account.deleteAfter != nil { html.fact("To be deleted after") { $0.time(account.deleteAfter) } }
            html.fact("Records") { $0.text("\(counts.records)") }
            html.fact("Blobs") { $0.text("\(counts.importedBlobs) of \(counts.expectedBlobs) that records name") }
            html.fact("Storage") { html in
                html.text(
                    "\(ByteCount.words(use.bytes)): records \(ByteCount.words(use.recordBytes)), "
                        + "blobs \(ByteCount.words(use.blobBytes))")
            }
            html.fact("Commit") { html in html.element("code") { $0.text(repository.rev.bytes) } }
        }
        for measure in Measure.all { measure.show(account, call, &html) }
    }

    /// What is done against an account, and lifted again: its form.
    private struct Measure {
        let name: StaticString
        /// The action's path, below the account's.
        let path: Bytes
        let state: AccountState
        /// What it means while it is in force, and before.
        let meaning: (inForce: StaticString, before: StaticString)
        let verb: (inForce: StaticString, before: StaticString)

        static let all = [
            Measure(
                name: "Suspension", path: "/suspension", state: .suspended,
                meaning: (
                    "The account is suspended: nobody can read it until that is lifted.",
                    "A suspension is for a time: as a takedown, but sessions go on once it is lifted."
                ), verb: ("Lift the suspension", "Suspend")),
            Measure(
                name: "Takedown", path: "/takedown", state: .takenDown,
                meaning: (
                    "The account is taken down: nobody can read it, and its owner can only leave.",
                    "Taking the account down ends its sessions and hides everything of it from the network."
                ), verb: ("Lift the takedown", "Take down")),
        ]

        func show(_ account: Account, _ call: AdminCall, _ html: inout HTML) {
            let isInForce = account.state == state
            html.element("h2") { $0.raw(name) }
            html.element("p") { $0.raw(isInForce ? meaning.inForce : meaning.before) }
            html.form(to: AccountPages.path(account.did) + path, call, class: "actions") { html in
                if isInForce {
                    html.button(verb.inForce, class: "quiet", name: "lift", value: "yes")
                } else {
                    html.button(verb.before, class: "danger")
                }
            }
        }
    }
}

extension AccountState {
    /// For people.
    var words: StaticString {
        switch self {
        case .active: "active"
        case .deactivated: "deactivated"
        case .suspended: "suspended"
        case .takenDown: "taken down"
        }
    }
}

extension HTML {
    mutating func state(_ state: AccountState) {
        let kind: Bytes =
            switch state {
            case .active: "state good"
            case .deactivated: "state warn"
            case .suspended, .takenDown: "state bad"
            }
        element("span", ["class": kind]) { $0.raw(state.words) }
    }

    /// A line of a list of facts.
    mutating func fact(_ label: StaticString, _ value: (inout HTML) throws -> Void) rethrows {
        element("dt") { $0.raw(label) }
        try element("dd", [:], value)
    }
}
