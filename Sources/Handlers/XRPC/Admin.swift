internal import ATProto
internal import Accounts
internal import Base
internal import Hosting
internal import Identity
internal import Moderation

extension XRPCResponder {
    static let admin: [XRPCRoute] = [
        XRPCRoute(GetAccountInfo.self), XRPCRoute(GetAccountInfos.self), XRPCRoute(SearchAccounts.self),
        XRPCRoute(GetInviteCodes.self), XRPCRoute(DisableInviteCodes.self), XRPCRoute(EnableAccountInvites.self),
        XRPCRoute(DisableAccountInvites.self), XRPCRoute(UpdateAccountHandle.self), XRPCRoute(UpdateAccountEmail.self),
        XRPCRoute(UpdateAccountPassword.self), XRPCRoute(UpdateAccountSigningKey.self),
        XRPCRoute(AdminDeleteAccount.self), XRPCRoute(RevokeAccountCredentials.self),
        XRPCRoute(AddReservedHandle.self), XRPCRoute(SendEmail.self),
    ]
}

extension Failure {
    /// An account, record or blob that an administrator means and that there is not.
    static let noAccount = notFound("Account not found")
}

extension XRPCApp {
    /// The account that an administrator names. Throws `NotFound`, which is about the request and not its sender.
    func subject(_ identifier: ATIdentifier) throws -> Account {
        guard let account = try accounts.find(identifier) else { throw Failure.noAccount }
        return account
    }

    /// `com.atproto.admin.defs#accountView` of an account, or nil.
    func view(of did: DID) throws -> AccountView? {
        guard let details = try accounts.details(of: did) else { return nil }
        return AccountView(
            details: details, invitedBy: try details.inviteCode.flatMap { try invites.find($0) },
            invites: try invites.list(of: did))
    }
}

/// `com.atproto.admin.defs#accountView`.
struct AccountView: XRPCOutput {
    let details: AccountDetails
    let invitedBy: InviteCode?
    let invites: [InviteCode]

    func write(to writer: inout JSONWriter) {
        let account = details.account
        writer.beginObject()
        writer.field("did", account.did.bytes)
        writer.field("handle", account.shownHandle.bytes)
        writer.field("email", optional: account.email)
        writer.field("indexedAt", account.createdAt)
        if let invitedBy {
            writer.key("invitedBy" as StaticString)
            writer.inviteCode(invitedBy)
        }
        writer.beginArray("invites")
        for code in invites { writer.inviteCode(code) }
        writer.endArray()
        writer.field("invitesDisabled", account.invitesDisabled)
        writer.field("inviteNote", optional: details.inviteNote)
        if let moment = account.emailConfirmedAt { writer.field("emailConfirmedAt", moment) }
        if let moment = details.deactivatedAt { writer.field("deactivatedAt", moment) }
        writer.endObject()
    }
}

/// `com.atproto.admin.getAccountInfo`: what an administrator sees of one account.
struct GetAccountInfo: Method {
    static let nsid: Bytes = "com.atproto.admin.getAccountInfo"
    static let kind = MethodKind.query
    static let access = XRPCAccess.moderator(nsid)
    static let scope = OAuthRule.none
    typealias Input = RepoParameters

    static func run(_ call: Call<Self>) throws -> AccountView {
        guard let view = try call.app.view(of: call.input.did) else { throw Failure.noAccount }
        return view
    }
}

/// `com.atproto.admin.getAccountInfos`: the same of some accounts; those that there are not are left out.
struct GetAccountInfos: Method {
    static let nsid: Bytes = "com.atproto.admin.getAccountInfos"
    static let kind = MethodKind.query
    static let access = XRPCAccess.moderator(nsid)
    static let scope = OAuthRule.none

    struct Input: XRPCInput {
        let dids: [DID]

        init(_ fields: Fields) throws(Failure) {
            dids = try fields.list("dids")
            if dids.isEmpty { throw fields.missing("dids") }
        }
    }

    struct Output: XRPCOutput {
        let infos: [AccountView]

        func write(to writer: inout JSONWriter) {
            writer.beginObject()
            writer.beginArray("infos")
            for info in infos { info.write(to: &writer) }
            writer.endArray()
            writer.endObject()
        }
    }

    static func run(_ call: Call<Self>) throws -> Output {
        Output(infos: try call.input.dids.compactMap { try call.app.view(of: $0) })
    }
}

/// `com.atproto.admin.searchAccounts`: accounts by a part of their e-mail address, or all of them.
struct SearchAccounts: Method {
    static let nsid: Bytes = "com.atproto.admin.searchAccounts"
    static let kind = MethodKind.query
    static let access = XRPCAccess.admin
    static let scope = OAuthRule.none

    struct Input: XRPCInput {
        let email: Bytes?
        let cursor: Bytes?
        let limit: Int

        init(_ fields: Fields) throws(Failure) {
            email = try fields.optionalText("email", sizeMax: MailAddress.sizeMax)
            cursor = try fields.optionalText("cursor")
            limit = try fields.integer("limit", in: 1...100, default: 50)
        }
    }

    struct Output: XRPCOutput {
        let accounts: [AccountView]
        let isMore: Bool

        func write(to writer: inout JSONWriter) {
            writer.beginObject()
            if isMore, let last = accounts.last { writer.field("cursor", last.details.account.did.bytes) }
            writer.beginArray("accounts")
            for account in accounts { account.write(to: &writer) }
            writer.endArray()
            writer.endObject()
        }
    }

    static func run(_ call: Call<Self>) throws -> Output {
        var after: DID?
        if let cursor = call.input.cursor {
            after = DID(cursor)
            if after == nil { throw Failure.invalidRequest("Invalid cursor") }
        }
        let found = try call.app.accounts.search(email: call.input.email, after: after, limit: call.input.limit)
        return Output(
            accounts: try found.compactMap { try call.app.view(of: $0.did) }, isMore: found.count == call.input.limit)
    }
}

// MARK: Invites

/// `com.atproto.admin.getInviteCodes`: every code with its uses, the newest or the most used first.
struct GetInviteCodes: Method {
    static let nsid: Bytes = "com.atproto.admin.getInviteCodes"
    static let kind = MethodKind.query
    static let access = XRPCAccess.moderator(nsid)
    static let scope = OAuthRule.none

    struct Input: XRPCInput {
        let order: InviteOrder
        let limit: Int
        let cursor: Bytes?

        init(_ fields: Fields) throws(Failure) {
            switch try fields.optionalText("sort") {
            case nil, "recent": order = .recent
            case "usage": order = .usage
            default: throw fields.wrong("sort", "must be one of recent, usage")
            }
            limit = try fields.integer("limit", in: 1...500, default: 100)
            cursor = try fields.optionalText("cursor")
        }

        /// `value:code` of the page before. Throws when the cursor is none.
        func place() throws(Failure) -> InvitePlace? {
            guard let cursor else { return nil }
            let at = cursor.position(of: 0x3A) ?? cursor.count
            guard let value = cursor.upTo(at).decimal, cursor.count > at + 1, !cursor.contains(0) else {
                throw .invalidRequest("Invalid cursor")
            }
            return InvitePlace(value: value, code: cursor.from(at + 1))
        }
    }

    struct Output: XRPCOutput {
        let codes: [InviteCode]
        let next: InvitePlace?

        func write(to writer: inout JSONWriter) {
            writer.beginObject()
            if let next { writer.field("cursor", Bytes(String(next.value)) + ":" + next.code) }
            writer.beginArray("codes")
            for code in codes { writer.inviteCode(code) }
            writer.endArray()
            writer.endObject()
        }
    }

    static func run(_ call: Call<Self>) throws -> Output {
        let input = call.input
        let codes = try call.app.invites.list(input.order, after: try input.place(), limit: input.limit)
        let last = codes.count == input.limit ? codes.last : nil
        return Output(codes: codes, next: last.map { InvitePlace($0, in: input.order) })
    }
}

/// `com.atproto.admin.disableInviteCodes`: takes codes, and all codes of accounts, out of use.
struct DisableInviteCodes: Method {
    static let nsid: Bytes = "com.atproto.admin.disableInviteCodes"
    static let kind = MethodKind.procedure
    static let access = XRPCAccess.moderator(nsid)
    static let scope = OAuthRule.none

    struct Input: XRPCInput {
        let codes: [Bytes]
        let accounts: [Bytes]

        init(_ fields: Fields) throws(Failure) {
            codes = try fields.list("codes")
            accounts = try fields.list("accounts")
            guard (codes + accounts).allSatisfy({ !$0.contains(0) && $0.count <= DID.sizeMax }) else {
                throw fields.wrong("codes", "must be codes")
            }
        }
    }

    static func run(_ call: Call<Self>) throws -> NoOutput {
        guard !call.input.accounts.contains(Actor.admin.words) else {
            throw Failure.invalidRequest("cannot disable admin invite codes")
        }
        try call.app.administration.disableInvites(
            codes: call.input.codes, accounts: call.input.accounts, by: call.caller.actor)
        return NoOutput()
    }
}

/// What the two methods about an account's invites take.
struct InvitePermission: XRPCInput, Sendable {
    let account: DID
    let note: Bytes?

    init(_ fields: Fields) throws(Failure) {
        account = try fields.required("account")
        note = try fields.optionalText("note", sizeMax: AccountStore.noteSizeMax)
    }
}

/// `com.atproto.admin.enableAccountInvites`: an account may get invite codes again.
struct EnableAccountInvites: Method {
    static let nsid: Bytes = "com.atproto.admin.enableAccountInvites"
    static let kind = MethodKind.procedure
    static let access = XRPCAccess.moderator(nsid)
    static let scope = OAuthRule.none
    typealias Input = InvitePermission

    static func run(_ call: Call<Self>) throws -> NoOutput {
        let account = try call.app.subject(.did(call.input.account))
        try call.app.administration.setInvites(
            disabled: false, note: call.input.note, of: account.did, by: call.caller.actor)
        return NoOutput()
    }
}

/// `com.atproto.admin.disableAccountInvites`: an account gets no more invite codes; those it has stay.
struct DisableAccountInvites: Method {
    static let nsid: Bytes = "com.atproto.admin.disableAccountInvites"
    static let kind = MethodKind.procedure
    static let access = XRPCAccess.moderator(nsid)
    static let scope = OAuthRule.none
    typealias Input = InvitePermission

    static func run(_ call: Call<Self>) throws -> NoOutput {
        let account = try call.app.subject(.did(call.input.account))
        try call.app.administration.setInvites(
            disabled: true, note: call.input.note, of: account.did, by: call.caller.actor)
        return NoOutput()
    }
}

// MARK: Accounts

/// `com.atproto.admin.updateAccountHandle`: another handle, reserved ones too.
struct UpdateAccountHandle: Method {
    static let nsid: Bytes = "com.atproto.admin.updateAccountHandle"
    static let kind = MethodKind.procedure
    static let access = XRPCAccess.admin
    static let scope = OAuthRule.none

    struct Input: XRPCInput {
        let did: DID
        let handle: Handle

        init(_ fields: Fields) throws(Failure) {
            did = try fields.required("did")
            handle = try fields.handle("handle")
        }
    }

    static func run(_ call: Call<Self>) throws -> NoOutput {
        let account = try call.app.subject(.did(call.input.did))
        try call.app.administration.setHandle(call.input.handle, of: account.did, by: call.caller.actor)
        return NoOutput()
    }
}

/// `com.atproto.admin.updateAccountEmail`: another address, unconfirmed.
struct UpdateAccountEmail: Method {
    static let nsid: Bytes = "com.atproto.admin.updateAccountEmail"
    static let kind = MethodKind.procedure
    static let access = XRPCAccess.admin
    static let scope = OAuthRule.none

    struct Input: XRPCInput {
        let account: ATIdentifier
        let email: Bytes

        init(_ fields: Fields) throws(Failure) {
            account = try fields.required("account")
            email = try fields.text("email")
        }
    }

    static func run(_ call: Call<Self>) throws -> NoOutput {
        let account = try call.app.subject(call.input.account)
        try call.app.administration.setEmail(call.input.email, of: account.did, by: call.caller.actor)
        return NoOutput()
    }
}

/// `com.atproto.admin.updateAccountPassword`: another password; its sessions end.
struct UpdateAccountPassword: Method {
    static let nsid: Bytes = "com.atproto.admin.updateAccountPassword"
    static let kind = MethodKind.procedure
    static let access = XRPCAccess.admin
    static let scope = OAuthRule.none

    struct Input: XRPCInput {
        let did: DID
        let password: Bytes

        init(_ fields: Fields) throws(Failure) {
            did = try fields.required("did")
            password = try fields.anyText("password")
        }
    }

    static func run(_ call: Call<Self>) throws -> NoOutput {
        let account = try call.app.subject(.did(call.input.did))
        try call.app.administration.setPassword(call.input.password, of: account.did, by: call.caller.actor)
        return NoOutput()
    }
}

/// `com.atproto.admin.updateAccountSigningKey`: another signing key, one that reserveSigningKey gave.
struct UpdateAccountSigningKey: Method {
    static let nsid: Bytes = "com.atproto.admin.updateAccountSigningKey"
    static let kind = MethodKind.procedure
    static let access = XRPCAccess.admin
    static let scope = OAuthRule.none

    struct Input: XRPCInput {
        let did: DID
        /// A did:key, which the lexicon calls a DID.
        let signingKey: DID

        init(_ fields: Fields) throws(Failure) {
            did = try fields.required("did")
            signingKey = try fields.required("signingKey")
        }
    }

    static func run(_ call: Call<Self>) throws -> NoOutput {
        let account = try call.app.subject(.did(call.input.did))
        try call.app.administration.rotateKey(
            of: account.did, to: call.input.signingKey.bytes, by: call.caller.actor)
        return NoOutput()
    }
}

/// `com.atproto.admin.deleteAccount`: deletes an account, completely and at once.
struct AdminDeleteAccount: Method {
    static let nsid: Bytes = "com.atproto.admin.deleteAccount"
    static let kind = MethodKind.procedure
    static let access = XRPCAccess.admin
    static let scope = OAuthRule.none
    typealias Input = RepoParameters

    static func run(_ call: Call<Self>) throws -> NoOutput {
        let account = try call.app.subject(.did(call.input.did))
        try call.app.administration.delete(account.did, by: call.caller.actor)
        return NoOutput()
    }
}

/// `com.atproto.temp.revokeAccountCredentials`: ends all sessions and takes every password back.
struct RevokeAccountCredentials: Method {
    static let nsid: Bytes = "com.atproto.temp.revokeAccountCredentials"
    static let kind = MethodKind.procedure
    static let access = XRPCAccess.admin
    static let scope = OAuthRule.none

    struct Input: XRPCInput {
        let account: ATIdentifier

        init(_ fields: Fields) throws(Failure) { account = try fields.required("account") }
    }

    static func run(_ call: Call<Self>) throws -> NoOutput {
        let account = try call.app.subject(call.input.account)
        try call.app.administration.revokeCredentials(of: account.did, by: call.caller.actor)
        return NoOutput()
    }
}

/// `com.atproto.temp.addReservedHandle`: a handle, or the first label of handles here, that nobody gets by asking.
struct AddReservedHandle: Method {
    static let nsid: Bytes = "com.atproto.temp.addReservedHandle"
    static let kind = MethodKind.procedure
    static let access = XRPCAccess.admin
    static let scope = OAuthRule.none

    struct Input: XRPCInput {
        let handle: Bytes

        init(_ fields: Fields) throws(Failure) { handle = try fields.anyText("handle", sizeMax: HandlePolicy.sizeMax) }
    }

    /// An empty object.
    struct Output: XRPCOutput {
        func write(to writer: inout JSONWriter) {
            writer.beginObject()
            writer.endObject()
        }
    }

    static func run(_ call: Call<Self>) throws -> Output {
        let name = call.input.handle.lowercasedASCII
        // A label is what makes a handle when a domain follows.
        guard Handle(name) != nil || (!name.contains(0x2E) && Handle(name + ".example") != nil) else {
            throw Failure(.invalid, "InvalidHandle", "Input/handle must be a handle, or the first label of one")
        }
        try call.app.administration.reserveHandle(name, by: call.caller.actor)
        return Output()
    }
}

/// `com.atproto.admin.sendEmail`: a message of a moderator's to an account's address, through the queue of all mail.
///
/// The content is markup, as moderation services send it, or plain text. The comment goes into the log of acts alone.
struct SendEmail: Method {
    static let nsid: Bytes = "com.atproto.admin.sendEmail"
    static let kind = MethodKind.procedure
    static let access = XRPCAccess.moderator(nsid)
    static let scope = OAuthRule.none

    /// Bytes of a message; a mail has it twice, and more of it where it is not ASCII.
    static let contentSizeMax = 65_536

    struct Input: XRPCInput {
        let recipient: DID
        let content: Bytes
        /// nil for the usual one.
        let subject: MailHeaderText?
        /// Who wrote it.
        let sender: DID
        let comment: Bytes?

        init(_ fields: Fields) throws(Failure) {
            recipient = try fields.required("recipientDid")
            content = try fields.text("content", sizeMax: contentSizeMax)
            let given = try fields.optionalText("subject", sizeMax: MailHeaderText.sizeMax)
            subject = given.flatMap { MailHeaderText($0) }
            guard given == nil || subject != nil else { throw fields.wrong("subject", "must be one line of text") }
            sender = try fields.required("senderDid")
            comment = try fields.optionalText("comment", sizeMax: AccountStore.noteSizeMax)
        }
    }

    struct Output: XRPCOutput {
        func write(to writer: inout JSONWriter) {
            writer.beginObject()
            writer.field("sent", true)
            writer.endObject()
        }
    }

    static func run(_ call: Call<Self>) throws -> Output {
        let (app, input) = (call.app, call.input)
        guard app.settings.sendsMail else {
            throw Failure(
                .unsupported, Failure.notImplemented.code,
                "No mail is sent from here: \(Settings.smtpURL.key) is not set")
        }
        // In the reference's words.
        guard let account = try app.accounts.find(input.recipient) else {
            throw Failure.invalidRequest("Recipient not found")
        }
        try app.administration.sendMail(
            input.content, subject: input.subject, to: account, from: input.sender, comment: input.comment,
            by: call.caller.actor)
        return Output()
    }
}
