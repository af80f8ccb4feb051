import Base
import Foundation
import Testing

@testable import XRPCHandlers

/// Every method of `com.atproto` is offered, or has a reason here why it is not: nothing is forgotten in silence.
@Suite struct OfferTests {
    static let notOffered: [String: String] = [
        "com.atproto.admin.sendEmail": "needs mail: not in this version",
        "com.atproto.label.subscribeLabels": "a labeler's WebSocket; queryLabels has the few labels of a home",
        "com.atproto.lexicon.": "schemas are resolved where records are checked",
        "com.atproto.temp.dereferenceScope": "of an entryway: this server gives out no references to scopes",
        "com.atproto.temp.requestPhoneVerification": "this server asks nobody for a telephone number",
        "com.atproto.identity.requestPlcOperationSignature": "needs mail: not in this version",
        "com.atproto.identity.signPlcOperation": "needs mail: not in this version",
        "com.atproto.identity.submitPlcOperation": "needs what the two above give",
        "com.atproto.repo.importRepo": "moving in: not in this version",
        "com.atproto.server.confirmEmail": "needs mail: not in this version",
        "com.atproto.server.deleteAccount": "needs mail: not in this version, the operator has the command line",
        "com.atproto.server.requestAccountDelete": "needs mail: not in this version",
        "com.atproto.server.requestEmailConfirmation": "needs mail: not in this version",
        "com.atproto.server.requestEmailUpdate": "needs mail: not in this version",
        "com.atproto.server.requestPasswordReset": "needs mail: not in this version",
        "com.atproto.server.resetPassword": "needs mail: not in this version",
        "com.atproto.server.updateEmail": "needs mail: not in this version",
        "com.atproto.sync.getHostStatus": "a relay's: this server consumes from nobody",
        "com.atproto.sync.listHosts": "a relay's: this server consumes from nobody",
        "com.atproto.sync.notifyOfUpdate": "a relay's: to say yes and crawl nobody would be a lie",
        "com.atproto.sync.requestCrawl": "a relay's: to say yes and crawl nobody would be a lie",
        "com.atproto.sync.subscribeRepos": "a WebSocket: the stream worker answers",
    ]

    /// Methods of the lexicons under `com/atproto`, subscriptions included.
    static let known: [String] = {
        let root = Lexicons.folder.appending(path: "com/atproto")
        let files = FileManager.default.enumerator(atPath: root.path)?.compactMap { $0 as? String } ?? []
        return files.filter { $0.hasSuffix(".json") }.compactMap { file in
            let nsid = "com.atproto." + file.dropLast(5).split(separator: "/").joined(separator: ".")
            let type = (try? Lexicons.main(nsid))?["type"] as? String
            return ["query", "procedure", "subscription"].contains(type) ? nsid : nil
        }.sorted()
    }()

    static func reason(_ nsid: String) -> String? {
        notOffered.first { $0.key == nsid || ($0.key.hasSuffix(".") && nsid.hasPrefix($0.key)) }?.value
    }

    @Test func thereAreLexicons() { #expect(Self.known.count >= 80, "set SKYSTEAD_SHARED_DIR") }

    @Test(arguments: known) func offeredOrNot(_ nsid: String) {
        let isOffered = XRPCResponder.table[Bytes(nsid)] != nil
        #expect(isOffered != (Self.reason(nsid) != nil), isOffered ? "has a reason not to be" : "has no reason")
    }

    @Test func reasonsAreNeeded() {
        for name in Self.notOffered.keys {
            #expect(Self.known.contains { $0 == name || (name.hasSuffix(".") && $0.hasPrefix(name)) }, "\(name)")
        }
    }
}
