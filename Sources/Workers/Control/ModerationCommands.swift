internal import ATProto
internal import Accounts
internal import Assembly
internal import Base
internal import Hosting
internal import Moderation

extension Command {
    static let takedownAccount = Command(
        "takedown account", arguments: ["HANDLE-OR-DID"], options: [lift, reason],
        summary: "takes an account down: nothing of it is shown, and its owner is kept out", run: takeAccountDown)

    static let takeAccountDown: @Sendable (Invocation) throws -> Int32 = { invocation in
        try AccountTool.act(invocation) { service, account in
            try service.administration.setTakedown(
                !invocation.has("lift"), of: .account(account.did),
                reason: invocation.value("reason").map { Bytes($0) }, by: .tool)
            return invocation.has("lift") ? "is no longer taken down" : "is taken down"
        }
    }

    static let takedownRecord = Command(
        "takedown record", arguments: ["AT-URI"], options: [lift, reason],
        summary: "hides one record; the repository stays whole, because it is signed"
    ) { invocation in
        let text = invocation.arguments[0]
        guard let uri = ATURI(Bytes(text)), let collection = uri.collection, let rkey = uri.rkey else {
            throw ToolError.usage("'\(text)' is not at://ACCOUNT/COLLECTION/KEY", command: "takedown record")
        }
        let service = try AccountTool.service()
        let account = try AccountTool.account("\(uri.authority)", service, command: "takedown record")
        let subject = Subject.record(account.did, RepoPath(collection, rkey), nil)
        return try ModerationTool.takeDown(subject, invocation, service)
    }

    static let takedownBlob = Command(
        "takedown blob", arguments: ["HANDLE-OR-DID", "CID"], options: [lift, reason],
        summary: "no longer serves one blob of an account, and does not take it again"
    ) { invocation in
        guard let cid = CID(text: Bytes(invocation.arguments[1])) else {
            throw ToolError.usage("'\(invocation.arguments[1])' is not a CID", command: "takedown blob")
        }
        let service = try AccountTool.service()
        let account = try AccountTool.account(invocation.arguments[0], service, command: "takedown blob")
        return try ModerationTool.takeDown(.blob(account.did, cid), invocation, service)
    }

    // MARK: Reports

    static let reportList = Command(
        "report list",
        options: [
            Option(name: "all", value: nil, help: "closed ones too"),
            Option(name: "limit", value: "N", help: "how many at most (default 50)"),
        ],
        summary: "prints the open reports, the newest first"
    ) { invocation in
        let limit = try ModerationTool.limit(invocation)
        let service = try AccountTool.service()
        var table = Table("ID", "WHEN", "STATE", "REASON", "ABOUT", "SAID")
        for report in try service.reports.reports.list(invocation.has("all") ? .all : .open, limit: limit) {
            table.add(
                "\(report.id)", ModerationTool.minute(report.createdAt), report.closedAt == nil ? "open" : "closed",
                ModerationTool.shortReason(report.reasonType), "\(report.subject.words)",
                ModerationTool.shortened(report.reason))
        }
        table.write(to: invocation.output, empty: "no open reports")
        return 0
    }

    static let reportShow = Command(
        "report show", arguments: ["ID"], summary: "prints all of one report"
    ) { invocation in
        let service = try AccountTool.service()
        let id = try ModerationTool.id(invocation)
        let report = try AccountTool.explained(service) { try service.reports.reports.find(id) }
        let output = invocation.output
        output.fact("report", "\(report.id)")
        output.fact("when", report.createdAt.iso8601)
        output.fact("about", "\(report.subject.words)")
        if let cid = report.subject.cid { output.fact("version", "\(cid)") }
        output.fact("reason", "\(report.reasonType)")
        output.fact("said", report.reason?.description ?? "nothing")
        output.fact("by", report.reportedBy?.description ?? "an account that is gone")
        output.fact("passed on", ModerationTool.forwarding(report))
        if let closedAt = report.closedAt {
            output.fact("closed", "\(closedAt.iso8601) by \(report.closedBy?.description ?? "nobody")")
            output.fact("note", report.note?.description ?? "none")
        } else {
            output.fact("state", "open")
        }
        return 0
    }

    static let reportClose = Command(
        "report close", arguments: ["ID"],
        options: [Option(name: "note", value: "WORDS", help: "what came of it, for the log")],
        summary: "closes a report"
    ) { invocation in
        let service = try AccountTool.service()
        let id = try ModerationTool.id(invocation)
        try AccountTool.explained(service) {
            try service.administration.closeReport(
                id, note: invocation.value("note").map { Bytes($0) }, by: .tool)
        }
        invocation.output.line("report \(id) is closed")
        return 0
    }

    // MARK: The log

    static let audit = Command(
        "audit", arguments: ["[SUBJECT]"],
        options: [Option(name: "limit", value: "N", help: "how many at most (default 50)")],
        summary: "prints what administrators and moderators did, the newest first; of one account or record only"
    ) { invocation in
        let limit = try ModerationTool.limit(invocation)
        let service = try AccountTool.service()
        let subject = invocation.arguments.first.map { Bytes($0) }
        // An account is named by its DID in the log, and by its handle by people.
        let named = try subject.flatMap { ATIdentifier($0) }.flatMap { try service.accounts.find($0) }?.did.bytes
        var table = Table("ID", "WHEN", "WHO", "WHAT", "TO", "DETAIL")
        for action in try service.adminLog.list(subject: named ?? subject, limit: limit) {
            table.add(
                "\(action.id)", ModerationTool.minute(action.at), "\(action.actor)", "\(action.action)",
                "\(action.subject)", action.detail?.description ?? "")
        }
        table.write(to: invocation.output, empty: "nothing was done")
        return 0
    }
}

/// What the moderation commands share.
enum ModerationTool {
    static let limitMax = 10_000

    static func takeDown(_ subject: Subject, _ invocation: Invocation, _ service: Service) throws -> Int32 {
        try AccountTool.explained(service) {
            try service.administration.setTakedown(
                !invocation.has("lift"), of: subject, reason: invocation.value("reason").map { Bytes($0) }, by: .tool)
        }
        let words = invocation.has("lift") ? "is no longer taken down" : "is taken down"
        invocation.output.line("\(subject.words)  \(words)")
        return 0
    }

    static func limit(_ invocation: Invocation) throws(ToolError) -> Int {
        guard let given = invocation.value("limit") else { return 50 }
        guard let limit = Bytes(given).decimal, (1...limitMax).contains(limit) else {
            throw .usage("--limit is a number from 1 to \(limitMax)", command: invocation.command.name)
        }
        return limit
    }

    static func id(_ invocation: Invocation) throws(ToolError) -> Int {
        guard let id = Bytes(invocation.arguments[0]).decimal else {
            throw .usage("'\(invocation.arguments[0])' is not a report's number", command: invocation.command.name)
        }
        return id
    }

    /// `2025-06-15 15:06`.
    static func minute(_ moment: Timestamp) -> String {
        let text = moment.iso8601
        return text.prefix(10) + " " + text.dropFirst(11).prefix(5)
    }

    /// `spam` of `com.atproto.moderation.defs#reasonSpam`.
    static func shortReason(_ type: Bytes) -> String {
        let name = type.from((type.position(of: 0x23) ?? -1) + 1).description
        return name.hasPrefix("reason") && name.count > 6 ? name.dropFirst(6).lowercased() : name
    }

    static func shortened(_ reason: Bytes?) -> String {
        guard let text = reason?.description else { return "" }
        return text.count > 60 ? text.prefix(59) + "…" : text
    }

    static func forwarding(_ report: Report) -> String {
        guard let target = report.forwardTo else { return "to nobody" }
        if let moment = report.forwardedAt { return "to \(target) at \(moment.iso8601)" }
        return "to \(target): not yet, \(report.forwardAttempts) attempts"
    }
}
