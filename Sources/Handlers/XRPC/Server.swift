internal import ATProto
internal import Accounts
internal import Base

extension XRPCResponder {
    static let server: [Route] = [Route(DescribeServer.self), Route(ReserveSigningKey.self)]
    static let accounts: [Route] = []
    static let identity: [Route] = []
}

/// `com.atproto.server.describeServer`: what this server offers to a new account.
struct DescribeServer: Method {
    static let nsid: Bytes = "com.atproto.server.describeServer"
    static let kind = MethodKind.query
    static let access = Access.anyone

    struct Output: XRPCOutput {
        let settings: XRPCSettings

        func write(to writer: inout JSONWriter) {
            writer.beginObject()
            writer.key("did")
            writer.string(settings.serviceDID.bytes)
            writer.key("availableUserDomains")
            writer.beginArray()
            for domain in settings.handleDomains { writer.string("." + domain) }
            writer.endArray()
            writer.key("inviteCodeRequired")
            writer.bool(settings.inviteCodeRequired)
            writer.key("phoneVerificationRequired")
            writer.bool(false)
            writer.key("blobUploadLimit")
            writer.integer(settings.blobSizeMax)
            writer.key("links")
            writer.beginObject()
            if let url = settings.privacyPolicyURL {
                writer.key("privacyPolicy")
                writer.string(url)
            }
            if let url = settings.termsOfServiceURL {
                writer.key("termsOfService")
                writer.string(url)
            }
            writer.endObject()
            writer.key("contact")
            writer.beginObject()
            if let email = settings.contactEmail {
                writer.key("email")
                writer.string(email)
            }
            writer.endObject()
            writer.endObject()
        }
    }

    static func run(_ call: Call<Self>) -> Output { Output(settings: call.app.settings) }
}

/// `com.atproto.server.reserveSigningKey`: a key for an account that is to move here.
struct ReserveSigningKey: Method {
    static let nsid: Bytes = "com.atproto.server.reserveSigningKey"
    static let kind = MethodKind.procedure
    static let access = Access.anyone

    struct Input: XRPCInput {
        let did: DID?

        init(_ fields: Fields) throws(Failure) { did = try fields.optional("did") }
    }

    struct Output: XRPCOutput {
        let signingKey: Bytes

        func write(to writer: inout JSONWriter) {
            writer.beginObject()
            writer.key("signingKey")
            writer.string(signingKey)
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
