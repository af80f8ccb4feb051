internal import ATProto
internal import Accounts
internal import Base

extension XRPCResponder {
    static let preferences: [XRPCRoute] = [XRPCRoute(GetPreferences.self), XRPCRoute(PutPreferences.self)]
}

/// `app.bsky.actor.getPreferences`: the account's private settings for apps.
struct GetPreferences: Method {
    static let nsid: Bytes = "app.bsky.actor.getPreferences"
    static let kind = MethodKind.query
    static let access = XRPCAccess.account(.any, even: .deactivated)
    static let scope = OAuthRule.rpcItself

    struct Output: XRPCOutput {
        let items: [Value]

        func write(to writer: inout JSONWriter) {
            writer.beginObject()
            writer.field("preferences", .array(items))
            writer.endObject()
        }
    }

    static func run(_ call: Call<Self>) throws -> Output {
        Output(
            items: try call.app.preferences.get(
                of: call.caller.did, full: call.caller.scope == .full, now: call.app.clock.now()))
    }
}

/// `app.bsky.actor.putPreferences`: replaces them.
struct PutPreferences: Method {
    static let nsid: Bytes = "app.bsky.actor.putPreferences"
    static let kind = MethodKind.procedure
    static let access = XRPCAccess.account(.any, even: .deactivated)
    static let scope = OAuthRule.rpcItself

    struct Input: XRPCInput {
        let preferences: [Value]

        init(_ fields: Fields) throws(Failure) { preferences = try fields.unions("preferences") }
    }

    static func run(_ call: Call<Self>) throws -> NoOutput {
        try call.app.preferences.put(
            call.input.preferences, of: call.caller.did, full: call.caller.scope == .full)
        return NoOutput()
    }
}
