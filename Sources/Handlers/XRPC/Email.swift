internal import ATProto
internal import Accounts
internal import Authorization
internal import Base
internal import Hosting
internal import Web

extension XRPCResponder {
    static let email: [XRPCRoute] = [
        XRPCRoute(RequestEmailConfirmation.self), XRPCRoute(ConfirmEmail.self), XRPCRoute(RequestEmailUpdate.self),
        XRPCRoute(UpdateEmail.self), XRPCRoute(RequestPasswordReset.self), XRPCRoute(ResetPassword.self),
        XRPCRoute(RequestAccountDelete.self), XRPCRoute(DeleteAccount.self),
    ]
}

extension Fields {
    /// A code that came by mail.
    func code(_ name: StaticString) throws(Failure) -> Bytes { try text(name, sizeMax: codeSizeMax) }

    /// Empty is as good as absent: forms send empty fields.
    func optionalCode(_ name: StaticString) throws(Failure) -> Bytes? {
        guard let code = try optionalText(name, sizeMax: codeSizeMax), !code.isEmpty else { return nil }
        return code
    }

    /// A code with blanks around; what is longer is none.
    private var codeSizeMax: Int { 64 }
}

/// `com.atproto.server.requestEmailConfirmation`: mails a code to the caller's address.
struct RequestEmailConfirmation: Method {
    static let nsid: Bytes = "com.atproto.server.requestEmailConfirmation"
    static let kind = MethodKind.procedure
    static let access = XRPCAccess.account(.any, even: .deactivated)
    static let scope = OAuthRule.account(.email, .manage)

    static func charges(_ call: Call<Self>) -> [Charge] {
        Charge.mail(RateLimit.requestEmailConfirmation, to: call.caller.account)
    }

    static func run(_ call: Call<Self>) throws -> NoOutput {
        try call.app.mail.send(.confirmEmail, to: call.caller.account)
        return NoOutput()
    }
}

/// `com.atproto.server.confirmEmail`: the code comes back.
struct ConfirmEmail: Method {
    static let nsid: Bytes = "com.atproto.server.confirmEmail"
    static let kind = MethodKind.procedure
    static let access = XRPCAccess.account(.any, even: .deactivated)
    static let scope = OAuthRule.account(.email, .manage)

    struct Input: XRPCInput {
        let email: Bytes
        let token: Bytes

        init(_ fields: Fields) throws(Failure) {
            email = try fields.text("email")
            token = try fields.code("token")
        }
    }

    static func run(_ call: Call<Self>) throws -> NoOutput {
        try call.app.mail.confirmEmail(call.input.email, code: call.input.token, of: call.caller.account)
        return NoOutput()
    }
}

/// `com.atproto.server.requestEmailUpdate`: mails a code when the address is confirmed, and says whether it did.
struct RequestEmailUpdate: Method {
    static let nsid: Bytes = "com.atproto.server.requestEmailUpdate"
    static let kind = MethodKind.procedure
    static let access = XRPCAccess.account(.full, even: .deactivated)
    static let scope = OAuthRule.refused

    struct Output: XRPCOutput {
        let tokenRequired: Bool

        func write(to writer: inout JSONWriter) {
            writer.beginObject()
            writer.field("tokenRequired", tokenRequired)
            writer.endObject()
        }
    }

    static func charges(_ call: Call<Self>) -> [Charge] {
        [Charge(RateLimit.requestEmailUpdate, key: call.caller.did.bytes)]
    }

    static func run(_ call: Call<Self>) throws -> Output {
        Output(tokenRequired: try call.app.mail.requestEmailUpdate(of: call.caller.account))
    }
}

/// `com.atproto.server.updateEmail`: another address, or the second factor at sign-in on or off.
struct UpdateEmail: Method {
    static let nsid: Bytes = "com.atproto.server.updateEmail"
    static let kind = MethodKind.procedure
    static let access = XRPCAccess.account(.full, even: .deactivated)
    static let scope = OAuthRule.refused

    struct Input: XRPCInput {
        let email: Bytes
        let emailAuthFactor: Bool?
        let token: Bytes?

        init(_ fields: Fields) throws(Failure) {
            email = try fields.text("email")
            emailAuthFactor = try fields.optionalBool("emailAuthFactor")
            token = try fields.optionalCode("token")
        }
    }

    static func run(_ call: Call<Self>) throws -> NoOutput {
        try call.app.mail.updateEmail(
            call.input.email, factor: call.input.emailAuthFactor, code: call.input.token, of: call.caller.account)
        return NoOutput()
    }
}

/// `com.atproto.server.requestPasswordReset`: mails a code to whoever has the address. The answer is the same when
/// nobody has it (the reference's tells who has an account), and so is the refusal when it was asked for too often.
struct RequestPasswordReset: Method {
    static let nsid: Bytes = "com.atproto.server.requestPasswordReset"
    static let kind = MethodKind.procedure
    static let access = XRPCAccess.anyone
    static let scope = OAuthRule.none

    struct Input: XRPCInput {
        let email: Bytes

        init(_ fields: Fields) throws(Failure) { email = try fields.text("email") }
    }

    static func charges(_ call: Call<Self>) -> [Charge] {
        [Charge(RateLimit.requestPasswordReset, key: call.request.peer)]
    }

    static func run(_ call: Call<Self>) throws -> NoOutput {
        // By the address as well, or a mailbox could be filled from many peers; whether anybody has it or not, or the
        // refusal would tell. Not among `charges`: what is left of it would tell how many others have asked.
        _ = try call.app.limits.charge(
            [Charge.mailbox(RateLimit.passwordResetMailbox, call.input.email)], now: call.app.clock.now())
        try call.app.mail.sendPasswordReset(to: call.input.email)
        return NoOutput()
    }
}

/// `com.atproto.server.resetPassword`: a new password for whom the code was mailed to. Ends every session.
struct ResetPassword: Method {
    static let nsid: Bytes = "com.atproto.server.resetPassword"
    static let kind = MethodKind.procedure
    static let access = XRPCAccess.anyone
    static let scope = OAuthRule.none

    struct Input: XRPCInput {
        let token: Bytes
        let password: Bytes

        init(_ fields: Fields) throws(Failure) {
            token = try fields.code("token")
            password = try fields.anyText("password")
        }
    }

    static func charges(_ call: Call<Self>) -> [Charge] {
        [Charge(RateLimit.resetPassword, key: call.request.peer)]
    }

    static func run(_ call: Call<Self>) throws -> NoOutput {
        try call.app.mail.resetPassword(call.input.password, code: call.input.token)
        return NoOutput()
    }
}

/// `com.atproto.server.requestAccountDelete`: mails the code that deleting needs.
struct RequestAccountDelete: Method {
    static let nsid: Bytes = "com.atproto.server.requestAccountDelete"
    static let kind = MethodKind.procedure
    static let access = XRPCAccess.account(.full, even: .deactivated)
    static let scope = OAuthRule.refused

    static func charges(_ call: Call<Self>) -> [Charge] {
        Charge.mail(RateLimit.requestAccountDelete, to: call.caller.account)
    }

    static func run(_ call: Call<Self>) throws -> NoOutput {
        try call.app.mail.send(.deleteAccount, to: call.caller.account)
        return NoOutput()
    }
}

/// `com.atproto.server.deleteAccount`: with the password and the code, for good.
struct DeleteAccount: Method {
    static let nsid: Bytes = "com.atproto.server.deleteAccount"
    static let kind = MethodKind.procedure
    static let access = XRPCAccess.anyone
    static let scope = OAuthRule.none

    struct Input: XRPCInput {
        let did: DID
        let password: Bytes
        let token: Bytes

        init(_ fields: Fields) throws(Failure) {
            did = try fields.required("did")
            password = try fields.anyText("password")
            token = try fields.code("token")
        }
    }

    static func charges(_ call: Call<Self>) -> [Charge] {
        // By account too: this is one more place to guess a password at.
        [
            Charge(RateLimit.deleteAccount, key: call.request.peer),
            Charge(RateLimit.deleteAccountGuesses, key: call.input.did.bytes),
        ]
    }

    static func run(_ call: Call<Self>) throws -> NoOutput {
        let (app, input) = (call.app, call.input)
        guard try app.sessions.isPassword(input.password, of: input.did) else {
            throw Failure(.unauthenticated, "AuthenticationRequired", "Invalid did or password")
        }
        let token = try app.mail.tokens.check(input.token, .deleteAccount, of: input.did, now: app.clock.now())
        try app.life.delete(input.did, token: token)
        return NoOutput()
    }
}
