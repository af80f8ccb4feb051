import Foundation
import Testing

@testable import Base
@testable import XRPCHandlers

/// How long a call that is passed on may take, against those who wait for it.
@Suite struct PatienceTests {
    /// What the web server waits for an answer, in seconds, as conf/ says.
    static let webServerSeconds = 60

    @Test func aDrainIsLongerThanAnyCallThatIsPassedOn() {
        #expect(Settings()[Settings.drainSeconds] * 1_000 > Upstream.longestMilliseconds)
    }

    /// Under systemd new requests wait in the backlog while the old process drains.
    @Test func theWebServerWaitsForBoth() throws {
        let conf = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../conf").standardized
        for (file, row) in [
            ("nginx/skystead_locations.conf", "\nfastcgi_read_timeout \(Self.webServerSeconds)s;\n"),
            ("caddy/skystead.caddy", "\n\t\t\timport skystead_fastcgi \(Self.webServerSeconds)s\n"),
        ] {
            #expect(try String(contentsOf: conf.appending(path: file), encoding: .utf8).contains(row), "\(file)")
        }
        #expect(Upstream.longestMilliseconds < Self.webServerSeconds * 1_000)
        #expect(Settings()[Settings.drainSeconds] < Self.webServerSeconds)
    }
}
