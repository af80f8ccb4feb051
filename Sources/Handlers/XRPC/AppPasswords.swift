internal import ATProto
internal import Accounts
internal import Base

extension XRPCResponder {
    static let appPasswords: [XRPCRoute] = [
        XRPCRoute(CreateAppPassword.self), XRPCRoute(ListAppPasswords.self), XRPCRoute(RevokeAppPassword.self),
    ]
}

/// `com.atproto.server.createAppPassword`: a password for one app; its text is shown once.
struct CreateAppPassword: Method {
    static let nsid: Bytes = "com.atproto.server.createAppPassword"
    static let kind = MethodKind.procedure
    static let access = XRPCAccess.account(.full, even: .deactivated)
    static let scope = OAuthRule.refused

    struct Input: XRPCInput {
        let name: Bytes
        let privileged: Bool

        init(_ fields: Fields) throws(Failure) {
            name = try fields.text("name", sizeMax: AppPasswordStore.nameSizeMax)
            privileged = try fields.bool("privileged", default: false)
        }
    }

    struct Output: XRPCOutput {
        let made: AppPassword
        let text: Bytes

        func write(to writer: inout JSONWriter) {
            writer.beginObject()
            writer.field("name", made.name)
            writer.field("password", text)
            writer.field("createdAt", made.createdAt)
            writer.field("privileged", made.isPrivileged)
            writer.endObject()
        }
    }

    static func run(_ call: Call<Self>) throws -> Output {
        let (made, text) = try call.app.appPasswords.create(
            call.input.name, of: call.caller.did, privileged: call.input.privileged, now: call.app.clock.now())
        return Output(made: made, text: text)
    }
}

/// `com.atproto.server.listAppPasswords`: their names, newest first; never their texts.
struct ListAppPasswords: Method {
    static let nsid: Bytes = "com.atproto.server.listAppPasswords"
    static let kind = MethodKind.query
    static let access = XRPCAccess.account(.any, even: .deactivated)
    static let scope = OAuthRule.refused

    struct Output: XRPCOutput {
        let passwords: [AppPassword]

        func write(to writer: inout JSONWriter) {
            writer.beginObject()
            writer.beginArray("passwords")
            for password in passwords {
                writer.beginObject()
                writer.field("name", password.name)
                writer.field("createdAt", password.createdAt)
                writer.field("privileged", password.isPrivileged)
                writer.endObject()
            }
            writer.endArray()
            writer.endObject()
        }
    }

    static func run(_ call: Call<Self>) throws -> Output {
        Output(passwords: try call.app.appPasswords.list(of: call.caller.did))
    }
}

/// `com.atproto.server.revokeAppPassword`: takes one back and ends its sessions.
struct RevokeAppPassword: Method {
    static let nsid: Bytes = "com.atproto.server.revokeAppPassword"
    static let kind = MethodKind.procedure
    static let access = XRPCAccess.account(.any, even: .deactivated)
    static let scope = OAuthRule.refused

    struct Input: XRPCInput {
        let name: Bytes

        init(_ fields: Fields) throws(Failure) {
            name = try fields.text("name", sizeMax: AppPasswordStore.nameSizeMax)
        }
    }

    static func run(_ call: Call<Self>) throws -> NoOutput {
        try call.app.appPasswords.revoke(call.input.name, of: call.caller.did)
        return NoOutput()
    }
}
