import Base
import Testing

@testable import Authorization

/// What people see of a client (reliability D9).
@Suite struct ClientDisplayTests {
    static let full = Document.web.with("client_name", "\"  Bl\u{200d}ue\u{3000}Sky \"")
        .with("logo_uri", #""https://app.example.com/l.png""#).with("tos_uri", #""https://app.example.com/t""#)
        .with("policy_uri", #""https://app.example.com/p""#)

    @Test func ofOneThatNobodyKnows() throws {
        let display = ClientDisplay(try Self.full.client(), trusted: ["https://app.example.com/other.json"])
        #expect(display.id == Bytes(Document.webID))
        #expect(display.host == "app.example.com")
        #expect(!display.isTrusted && !display.isDevelopment && display.asksEveryTime)
        #expect(
            [display.name, display.uri, display.logoURI, display.policyURI, display.termsURI] == [
                nil, nil, nil, nil, nil,
            ])
    }

    @Test func ofATrustedOne() throws {
        let display = ClientDisplay(try Self.full.client(), trusted: [Bytes(Document.webID)])
        #expect(display.isTrusted && !display.asksEveryTime)
        #expect(display.name == "Blue Sky")
        #expect(display.uri == "https://app.example.com")
        #expect(display.logoURI == "https://app.example.com/l.png")
        #expect(display.policyURI == "https://app.example.com/p")
        #expect(display.termsURI == "https://app.example.com/t")
    }

    @Test func ofAConfidentialOne() throws {
        let display = ClientDisplay(try Document.confidential.client(), trusted: [])
        #expect(!display.isTrusted && !display.asksEveryTime)
    }

    static let untrusted: [Bytes] = [
        "https://app.example.com/", "https://app.example.com", "https://app.example.com/oauth-client-metadata.json/",
        "https://APP.example.com/oauth-client-metadata.json", "",
    ]

    @Test(arguments: untrusted) func trustIsForOneID(_ id: Bytes) throws {
        #expect(!ClientDisplay(try Self.full.client(), trusted: [id]).isTrusted)
    }

    @Test func ofTheDevelopmentClient() throws {
        let client = Client(try #require(ClientMetadata(development: try ClientID("http://localhost"))))
        let display = ClientDisplay(client, trusted: ["http://localhost"])
        #expect(!display.isTrusted && display.isDevelopment && display.asksEveryTime)
        #expect(display.host == "localhost")
        #expect(display.name == nil)
    }

    static let names: [(name: Bytes, shown: Bytes?)] = [
        ("Example", "Example"), (" a ", "a"), ("", nil), ("   ", nil), ("\u{200c}\u{200d}", nil), ("\u{2003}", nil),
        ("a\u{a0}b", "a b"), ("日本", "日本"), ("می\u{200c}خواهم", "میخواهم"),
    ]

    @Test func namesAreCleaned() {
        for (name, shown) in Self.names { #expect(ClientName.cleaned(name) == shown) }
    }
}
