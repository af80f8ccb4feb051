import Base
import Testing

@testable import XRPCHandlers

/// Every method of `com.atproto` is offered, or has a reason here why it is not: nothing is forgotten in silence.
@Suite struct OfferTests {
    static let notOffered: [String: String] = [
        "com.atproto.label.subscribeLabels": "a labeler's WebSocket; queryLabels has the few labels of a home",
        "com.atproto.temp.dereferenceScope": "of an entryway: this server gives out no references to scopes",
        "com.atproto.temp.requestPhoneVerification": "this server asks nobody for a telephone number",
        "com.atproto.sync.getHostStatus": "a relay's: this server consumes from nobody",
        "com.atproto.sync.listHosts": "a relay's: this server consumes from nobody",
        "com.atproto.sync.notifyOfUpdate": "a relay's: to say yes and crawl nobody would be a lie",
        "com.atproto.sync.requestCrawl": "a relay's: to say yes and crawl nobody would be a lie",
        "com.atproto.sync.subscribeRepos": "a WebSocket: the stream worker answers",
    ]

    /// Methods of the lexicons under `com/atproto`, subscriptions included.
    static let known = Published.methods(under: "com.atproto.")

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
