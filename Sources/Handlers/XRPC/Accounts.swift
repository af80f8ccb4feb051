internal import ATProto
internal import Accounts
internal import Base
internal import Crypto
internal import Hosting
internal import Repos
internal import Web

extension XRPCResponder {
    static let accounts: [XRPCRoute] = [
        XRPCRoute(CreateAccount.self), XRPCRoute(ActivateAccount.self), XRPCRoute(DeactivateAccount.self),
        XRPCRoute(CheckAccountStatus.self), XRPCRoute(GetServiceAuth.self), XRPCRoute(ReserveSigningKey.self),
    ]
}

extension Fields {
    /// A handle, with the error that the lexicons have for it.
    func handle(_ name: StaticString) throws(Failure) -> Handle {
        guard let handle = Handle(try anyText(name)) else {
            throw Failure(.invalid, "InvalidHandle", wrong(name, "must be a valid handle").message)
        }
        return handle
    }
}

/// `com.atproto.server.createAccount`: a new account, or a place for one that moves here.
struct CreateAccount: Method {
    static let nsid: Bytes = "com.atproto.server.createAccount"
    static let kind = MethodKind.procedure
    static let access = XRPCAccess.serviceIfGiven(nsid)
    static let scope = OAuthRule.none

    struct Input: XRPCInput {
        let request: AccountRequest

        init(_ fields: Fields) throws(Failure) {
            var recoveryKey: AccountRequest.VerificationKeyText?
            if let text = try fields.optionalText("recoveryKey") {
                recoveryKey = AccountRequest.VerificationKeyText(text)
                if recoveryKey == nil { throw fields.wrong("recoveryKey", "must be a did:key") }
            }
            request = AccountRequest(
                handle: try fields.handle("handle"), email: try fields.optionalText("email"),
                password: try fields.optionalAnyText("password"),
                inviteCode: try fields.optionalText("inviteCode", sizeMax: InviteStore.codeSizeMax),
                did: try fields.optional("did"), recoveryKey: recoveryKey)
            // For servers that ask for a telephone; read so that their types are checked.
            _ = try fields.optionalText("verificationCode")
            _ = try fields.optionalText("verificationPhone")
            if try fields.optionalValue("plcOp") != nil {
                throw .invalidRequest("Unsupported input: \"plcOp\"")
            }
        }
    }

    struct Output: XRPCOutput {
        let session: Session
        let document: Bytes?

        func write(to writer: inout JSONWriter) {
            writer.beginObject()
            writer.field("handle", session.account.shownHandle.bytes)
            writer.field("did", session.account.did.bytes)
            if let document { writer.field("didDoc", raw: document) }
            writer.field("accessJwt", session.accessToken)
            writer.field("refreshJwt", session.refreshToken)
            writer.endObject()
        }
    }

    static func charges(_ call: Call<Self>) -> [Charge] {
        [Charge(RateLimit.createAccount, key: call.request.peer)]
    }

    static func run(_ call: Call<Self>) throws -> Output {
        var request = call.input.request
        request.isProved = request.did != nil && call.caller?.did == request.did
        let account = try call.app.life.create(request)
        return Output(session: try call.app.sessions.begin(account), document: call.app.documentIfKnown(account))
    }
}

/// `com.atproto.server.activateAccount`: begins to serve an account that its DID document places here.
struct ActivateAccount: Method {
    static let nsid: Bytes = "com.atproto.server.activateAccount"
    static let kind = MethodKind.procedure
    static let access = XRPCAccess.account(.full, even: .deactivated)
    static let scope = OAuthRule.refused

    static func run(_ call: Call<Self>) throws -> NoOutput {
        try call.app.life.activate(call.caller.did)
        return NoOutput()
    }
}

/// `com.atproto.server.deactivateAccount`: stops to serve it, until it is activated or deleted.
struct DeactivateAccount: Method {
    static let nsid: Bytes = "com.atproto.server.deactivateAccount"
    static let kind = MethodKind.procedure
    static let access = XRPCAccess.account(.full, even: [.deactivated, .takenDown])
    static let scope = OAuthRule.refused

    struct Input: XRPCInput {
        let deleteAfter: Timestamp?

        init(_ fields: Fields) throws(Failure) {
            let moment: Datetime? = try fields.optional("deleteAfter")
            deleteAfter = moment?.timestamp
        }
    }

    static func run(_ call: Call<Self>) throws -> NoOutput {
        try call.app.life.deactivate(call.caller.did, deleteAfter: call.input.deleteAfter)
        return NoOutput()
    }
}

/// `com.atproto.server.checkAccountStatus`: how much of an account is here, for one that moves.
struct CheckAccountStatus: Method {
    static let nsid: Bytes = "com.atproto.server.checkAccountStatus"
    static let kind = MethodKind.query
    static let access = XRPCAccess.account(.any, even: .deactivated)
    static let scope = OAuthRule.any

    struct Output: XRPCOutput {
        let isActive: Bool
        let isPointedHere: Bool
        let commit: CommitInfo
        let counts: RepoCounts
        let privateValues: Int

        func write(to writer: inout JSONWriter) {
            writer.beginObject()
            writer.field("activated", isActive)
            writer.field("validDid", isPointedHere)
            writer.field("repoCommit", commit.cid)
            writer.field("repoRev", commit.rev.bytes)
            writer.field("repoBlocks", counts.blocks)
            writer.field("indexedRecords", counts.records)
            writer.field("privateStateValues", privateValues)
            writer.field("expectedBlobs", counts.expectedBlobs)
            writer.field("importedBlobs", counts.importedBlobs)
            writer.endObject()
        }
    }

    static func run(_ call: Call<Self>) throws -> Output {
        let (did, app) = (call.caller.did, call.app)
        return Output(
            isActive: call.caller.account.state.isActive, isPointedHere: (try? app.life.checkPointsHere(did)) != nil,
            commit: try app.repos.state(of: did).info, counts: try app.repos.counts(of: did),
            privateValues: try app.preferences.count(of: did))
    }
}

/// `com.atproto.server.reserveSigningKey`: a key for an account that is to move here.
struct ReserveSigningKey: Method {
    static let nsid: Bytes = "com.atproto.server.reserveSigningKey"
    static let kind = MethodKind.procedure
    static let access = XRPCAccess.anyone
    static let scope = OAuthRule.none

    struct Input: XRPCInput {
        let did: DID?

        init(_ fields: Fields) throws(Failure) { did = try fields.optional("did") }
    }

    struct Output: XRPCOutput {
        let signingKey: Bytes

        func write(to writer: inout JSONWriter) {
            writer.beginObject()
            writer.field("signingKey", signingKey)
            writer.endObject()
        }
    }

    static func charges(_ call: Call<Self>) -> [Charge] {
        [Charge(RateLimit.reserveSigningKey, key: call.request.peer)]
    }

    static func run(_ call: Call<Self>) throws -> Output {
        Output(signingKey: try call.app.keys.reserve(for: call.input.did, now: call.app.clock.now()).didKey)
    }
}
