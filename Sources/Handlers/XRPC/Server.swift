internal import ATProto
internal import Accounts
internal import Base

extension XRPCResponder {
    static let server: [XRPCRoute] = [XRPCRoute(DescribeServer.self)]
}

/// `com.atproto.server.describeServer`: what this server offers to a new account.
struct DescribeServer: Method {
    static let nsid: Bytes = "com.atproto.server.describeServer"
    static let kind = MethodKind.query
    static let access = XRPCAccess.anyone
    static let scope = OAuthRule.none

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
