internal import ATProto
internal import Accounts
internal import Base
internal import Crypto
internal import Web

extension XRPCResponder {
    static let server: [XRPCRoute] = [XRPCRoute(DescribeServer.self), XRPCRoute(ReserveSigningKey.self)]
    static let accounts: [XRPCRoute] = []
    static let identity: [XRPCRoute] = []
}

/// `com.atproto.server.describeServer`: what this server offers to a new account.
struct DescribeServer: Method {
    static let nsid: Bytes = "com.atproto.server.describeServer"
    static let kind = MethodKind.query
    static let access = XRPCAccess.anyone

    struct Output: XRPCOutput {
        let settings: XRPCSettings

        func write(to writer: inout JSONWriter) {
            writer.beginObject()
            writer.field("did", settings.serviceDID.bytes)
            writer.field("availableUserDomains", settings.handleDomains.map { "." + $0 })
            writer.field("inviteCodeRequired", settings.inviteCodeRequired)
            writer.field("phoneVerificationRequired", false)
            writer.field("blobUploadLimit", settings.blobSizeMax)
            writer.beginObject("links")
            writer.field("privacyPolicy", optional: settings.privacyPolicyURL)
            writer.field("termsOfService", optional: settings.termsOfServiceURL)
            writer.endObject()
            writer.beginObject("contact")
            writer.field("email", optional: settings.contactEmail)
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
    static let access = XRPCAccess.anyone

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
