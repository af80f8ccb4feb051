internal import ATProto
internal import Accounts
internal import Assembly
internal import Base
internal import Crypto
internal import Hosting
internal import Moderation

extension Command {
    private static let account = ["HANDLE-OR-DID"]
    static let reason = Option(name: "reason", value: "WORDS", help: "why, for the log")
    static let lift = Option(name: "lift", value: nil, help: "take it back")

    static let accountList = Command(
        "account list",
        options: [
            Option(
                name: "state", value: "STATE", help: "only active, deactivated, suspended or takendown ones",
                many: true),
            Option(name: "email", value: "PART", help: "only those with this in their e-mail address"),
        ],
        summary: "prints the accounts: DID, handle, state, when they were made, address"
    ) { invocation in
        let states = try invocation.values("state").map { word in
            guard let state = AccountState(rawValue: word) else {
                let words = AccountState.allCases.map(\.rawValue).joined(separator: ", ")
                throw ToolError.usage("'\(word)' is no state; there are \(words)", command: "account list")
            }
            return state
        }
        let service = try AccountTool.service()
        var table = Table("DID", "HANDLE", "STATE", "CREATED", "EMAIL")
        var last: DID?
        while true {
            let page = try service.accounts.search(
                email: invocation.value("email").map { Bytes($0) }, after: last, limit: AccountTool.pageSize)
            for account in page where states.isEmpty || states.contains(account.state) {
                table.add(
                    "\(account.did)", "\(account.shownHandle)", account.state.rawValue,
                    String(account.createdAt.iso8601.prefix(10)), account.email?.description ?? "none")
            }
            guard page.count == AccountTool.pageSize else { break }
            last = page.last?.did
        }
        table.write(to: invocation.output, empty: "no such account")
        return 0
    }

    static let accountSuspend = Command(
        "account suspend", arguments: account, options: [reason],
        summary: "hides an account and keeps its owner out, for a time"
    ) { invocation in
        try suspend(invocation, true, "is suspended")
    }

    static let accountUnsuspend = Command(
        "account unsuspend", arguments: account, options: [reason], summary: "lifts a suspension"
    ) { invocation in
        try suspend(invocation, false, "is no longer suspended")
    }

    private static func suspend(_ invocation: Invocation, _ isOn: Bool, _ done: String) throws -> Int32 {
        try AccountTool.act(invocation) { service, account in
            try service.administration.setSuspension(
                isOn, of: account.did, reason: invocation.value("reason").map { Bytes($0) }, by: .tool)
            return done
        }
    }

    static let accountTakedown = Command(
        "account takedown", arguments: account, options: [lift, reason],
        summary: "takes an account down: the same as `takedown account`", run: takeAccountDown)

    static let accountDelete = Command(
        "account delete", arguments: account,
        options: [
            Option(name: "yes", value: nil, help: "needed: what is deleted comes back from a backup only"), reason,
        ],
        summary: "deletes an account, its repository and its blobs, at once and for good"
    ) { invocation in
        guard invocation.has("yes") else {
            throw ToolError.usage("this cannot be undone: say --yes", command: "account delete")
        }
        return try AccountTool.act(invocation) { service, account in
            try service.administration.delete(
                account.did, reason: invocation.value("reason").map { Bytes($0) }, by: .tool)
            return "is deleted"
        }
    }

    static let accountResetPassword = Command(
        "account reset-password", arguments: account,
        options: [
            Option(name: "password-file", value: "FILE", help: "read the password from there; - is standard input")
        ],
        summary: "sets another password and ends all sessions; without a file it makes one up and prints it"
    ) { invocation in
        let given = try invocation.value("password-file").map { try AccountTool.password(from: $0) }
        let password = try given ?? AccountTool.newPassword(.system)
        return try AccountTool.act(invocation) { service, account in
            try service.administration.setPassword(password, of: account.did, by: .tool)
            return given == nil ? "has the password \(password)" : "has the new password"
        }
    }

    static let accountRotateKey = Command(
        "account rotate-key", arguments: account,
        options: [
            Option(name: "to", value: "DID-KEY", help: "a key that reserveSigningKey gave, in place of a new one")
        ],
        summary: "gives an account another signing key, tells the directory, and signs its repository anew"
    ) { invocation in
        try AccountTool.act(invocation) { service, account in
            let key = try service.administration.rotateKey(
                of: account.did, to: invocation.value("to").map { Bytes($0) }, by: .tool)
            return "signs with \(key.didKey)"
        }
    }

    static let accountSetEmail = Command(
        "account set-email", arguments: account + ["ADDRESS"],
        summary: "gives an account another e-mail address, unconfirmed"
    ) { invocation in
        try AccountTool.act(invocation) { service, account in
            try service.administration.setEmail(Bytes(invocation.arguments[1]), of: account.did, by: .tool)
            return "has the address \(invocation.arguments[1])"
        }
    }

    static let accountSetHandle = Command(
        "account set-handle", arguments: account + ["NEW-HANDLE"],
        summary: "gives an account another handle, also one that is kept back, and tells the directory"
    ) { invocation in
        guard let handle = Handle(Bytes(invocation.arguments[1])) else {
            throw ToolError.usage("'\(invocation.arguments[1])' is not a handle", command: "account set-handle")
        }
        return try AccountTool.act(invocation) { service, account in
            try service.administration.setHandle(handle, of: account.did, by: .tool)
            return "is \(handle)"
        }
    }

    // MARK: Invites

    static let invite = Command(
        "invite", options: [Option(name: "uses", value: "N", help: "how many accounts it is for (default 1)")],
        summary: "prints a new invite code"
    ) { invocation in
        let uses = Bytes(invocation.value("uses") ?? "1").decimal
        guard let uses, (1...InviteStore.usesMax).contains(uses) else {
            throw ToolError.usage("--uses is a number from 1 to \(InviteStore.usesMax)", command: "invite")
        }
        let service = try AccountTool.service()
        let made = try service.administration.createInvites(count: 1, usesMax: uses, for: [], by: .tool)
        for code in made.flatMap(\.codes) { invocation.output.line(code.description) }
        return 0
    }

    static let inviteList = Command(
        "invite list",
        options: [
            Option(name: "usable", value: nil, help: "only those that would be taken now"),
            Option(name: "by-usage", value: nil, help: "the most used first, not the newest"),
        ],
        summary: "prints the invite codes, their uses and whose they are"
    ) { invocation in
        let service = try AccountTool.service()
        let order: InviteOrder = invocation.has("by-usage") ? .usage : .recent
        var table = Table("CODE", "USED", "STATE", "FOR", "CREATED")
        var place: InvitePlace?
        while true {
            let page = try service.invites.list(order, after: place, limit: AccountTool.pageSize)
            for code in page {
                let isSpent = code.uses.count >= code.usesMax
                if invocation.has("usable"), isSpent || code.isDisabled { continue }
                table.add(
                    "\(code.code)", "\(code.uses.count)/\(code.usesMax)",
                    code.isDisabled ? "disabled" : isSpent ? "spent" : "usable", "\(code.forAccount)",
                    String(code.createdAt.iso8601.prefix(10)))
            }
            guard page.count == AccountTool.pageSize, let last = page.last else { break }
            place = InvitePlace(last, in: order)
        }
        table.write(to: invocation.output, empty: "no invite codes; `skystead invite` makes one")
        return 0
    }

    static let inviteDisable = Command(
        "invite disable", arguments: ["[CODE]"],
        options: [Option(name: "account", value: "HANDLE-OR-DID", help: "all codes of an account", many: true)],
        summary: "takes an invite code, or all codes of an account, out of use"
    ) { invocation in
        let service = try AccountTool.service()
        let codes = invocation.arguments.map { Bytes($0) }
        for code in codes where try service.invites.find(code) == nil {
            throw ToolError("there is no invite code '\(code)'", remedy: "skystead invite list")
        }
        let accounts = try invocation.values("account").map {
            try AccountTool.account($0, service, command: "invite disable").did.bytes
        }
        guard !codes.isEmpty || !accounts.isEmpty else {
            throw ToolError.usage("say which: a CODE or --account", command: "invite disable")
        }
        try service.administration.disableInvites(codes: codes, accounts: accounts, by: .tool)
        for subject in codes + accounts { invocation.output.line("\(subject)  disabled") }
        return 0
    }
}

extension AccountTool {
    /// Does something to the account that the first argument names, and says in words what it is now.
    static func act(
        _ invocation: Invocation, _ body: (Service, Account) throws -> String
    ) throws -> Int32 {
        let service = try service()
        let account = try account(invocation.arguments[0], service, command: invocation.command.name)
        let words = try explained(service) { try body(service, account) }
        invocation.output.line("\(account.did)  \(account.shownHandle)  \(words)")
        return 0
    }
}
