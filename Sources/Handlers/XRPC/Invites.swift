internal import ATProto
internal import Accounts
internal import Base
internal import Hosting

extension XRPCResponder {
    static let invites: [XRPCRoute] = [
        XRPCRoute(CreateInviteCode.self), XRPCRoute(CreateInviteCodes.self), XRPCRoute(GetAccountInviteCodes.self),
    ]
}

/// `com.atproto.server.createInviteCode`: one code, for an account or for nobody in particular.
struct CreateInviteCode: Method {
    static let nsid: Bytes = "com.atproto.server.createInviteCode"
    static let kind = MethodKind.procedure
    static let access = XRPCAccess.admin
    static let scope = OAuthRule.none

    struct Input: XRPCInput {
        let useCount: Int
        let forAccount: DID?

        init(_ fields: Fields) throws(Failure) {
            useCount = try fields.integer("useCount", in: 1...InviteStore.usesMax)
            forAccount = try fields.optional("forAccount")
        }
    }

    struct Output: XRPCOutput {
        let code: Bytes

        func write(to writer: inout JSONWriter) {
            writer.beginObject()
            writer.field("code", code)
            writer.endObject()
        }
    }

    static func run(_ call: Call<Self>) throws -> Output {
        let made = try call.app.administration.createInvites(
            count: 1, usesMax: call.input.useCount, for: call.input.forAccount.map { [$0] } ?? [],
            by: call.caller.actor)
        return Output(code: made.first?.codes.first ?? Bytes())
    }
}

/// `com.atproto.server.createInviteCodes`: some codes for each of some accounts.
struct CreateInviteCodes: Method {
    static let nsid: Bytes = "com.atproto.server.createInviteCodes"
    static let kind = MethodKind.procedure
    static let access = XRPCAccess.admin
    static let scope = OAuthRule.none

    struct Input: XRPCInput {
        let codeCount: Int
        let useCount: Int
        let forAccounts: [DID]

        init(_ fields: Fields) throws(Failure) {
            // The lexicon has a default and requires the field all the same; the default wins.
            codeCount = try fields.integer("codeCount", in: 1...100, default: 1)
            useCount = try fields.integer("useCount", in: 1...InviteStore.usesMax)
            forAccounts = try fields.list("forAccounts", countMax: InviteStore.createdCountMax / 10)
            guard codeCount * max(1, forAccounts.count) <= InviteStore.createdCountMax else {
                throw fields.wrong("codeCount", "would make more than \(InviteStore.createdCountMax) codes")
            }
        }
    }

    struct Output: XRPCOutput {
        let made: [(account: Bytes, codes: [Bytes])]

        func write(to writer: inout JSONWriter) {
            writer.beginObject()
            writer.beginArray("codes")
            for (account, codes) in made {
                writer.beginObject()
                writer.field("account", account)
                writer.beginArray("codes")
                for code in codes { writer.string(code) }
                writer.endArray()
                writer.endObject()
            }
            writer.endArray()
            writer.endObject()
        }
    }

    static func run(_ call: Call<Self>) throws -> Output {
        Output(
            made: try call.app.administration.createInvites(
                count: call.input.codeCount, usesMax: call.input.useCount, for: call.input.forAccounts,
                by: call.caller.actor))
    }
}

/// `com.atproto.server.getAccountInviteCodes`: the caller's codes with their uses. None are made by asking.
struct GetAccountInviteCodes: Method {
    static let nsid: Bytes = "com.atproto.server.getAccountInviteCodes"
    static let kind = MethodKind.query
    static let access = XRPCAccess.account(.full)
    static let scope = OAuthRule.refused

    struct Input: XRPCInput {
        let includeUsed: Bool

        init(_ fields: Fields) throws(Failure) {
            includeUsed = try fields.bool("includeUsed", default: true)
            // Accounts earn no codes by the calendar here, so there is never one to make.
            _ = try fields.bool("createAvailable", default: true)
        }
    }

    struct Output: XRPCOutput {
        let codes: [InviteCode]

        func write(to writer: inout JSONWriter) {
            writer.beginObject()
            writer.beginArray("codes")
            for code in codes { writer.inviteCode(code) }
            writer.endArray()
            writer.endObject()
        }
    }

    static func run(_ call: Call<Self>) throws -> Output {
        let codes = try call.app.invites.list(of: call.caller.did)
        return Output(codes: call.input.includeUsed ? codes : codes.filter { $0.uses.count < $0.usesMax })
    }
}

extension JSONWriter {
    /// `com.atproto.server.defs#inviteCode`.
    mutating func inviteCode(_ code: InviteCode) {
        beginObject()
        field("code", code.code)
        field("available", code.usesMax)
        field("disabled", code.isDisabled)
        field("forAccount", code.forAccount)
        field("createdBy", code.createdBy)
        field("createdAt", code.createdAt)
        beginArray("uses")
        for use in code.uses {
            beginObject()
            field("usedBy", use.by)
            field("usedAt", use.at)
            endObject()
        }
        endArray()
        endObject()
    }
}
