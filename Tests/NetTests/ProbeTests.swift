import Base
import Foundation
import Testing

@testable import Net

/// Connections on which the caller speaks itself, and what they show of a server.
@Suite struct ProbeTests {
    @Test(
        arguments: [
            ("home.example", true), ("HOME.example", true), ("alice.home.example", true),
            ("a.alice.home.example", false), ("home.example.evil", false), ("example", false), ("", false),
            (".home.example", false), ("evilhome.example", false),
        ]) func aCertificateHoldsForItsNames(_ host: String, _ holds: Bool)
    {
        let certificate = PeerCertificate(names: ["home.example", "*.home.example"], notAfter: "", issuer: "")
        #expect(certificate.holds(for: Bytes(host)) == holds)
    }

    private func client(_ hosts: [Bytes], verifies: Bool = true, authority: String? = nil) -> HTTPClient {
        var configuration = HTTPClient.Configuration()
        for host in hosts { configuration.hostOverrides[host] = "127.0.0.1" }
        configuration.privateHostsAllowed = Set(hosts)
        configuration.verifiesCertificates = verifies
        configuration.extraCAFile = authority.map { Bytes($0) }
        return HTTPClient(configuration)
    }

    @Test func theCertificateIsShownWhateverItIs() throws {
        let server = try TLSTests.server.get()
        for host in ["tls.test", "other.test"] as [Bytes] {
            let url = "https://" + host + ":" + Bytes(String(server.port)) + "/"
            let connection = try client([host], verifies: false).connect(url)
            let certificate = try #require(connection.certificate)
            #expect(certificate.names == ["tls.test"])
            #expect(certificate.notAfter.ends(with: " GMT"))
            #expect(certificate.issuer.description.contains("test authority"))
            #expect(throws: HTTPClientError.tls) { try client([host]).connect(url) }
        }
        let trusted = client(["tls.test"], authority: server.authorityFile)
        #expect(try trusted.connect(Bytes("https://tls.test:\(server.port)/")).certificate != nil)
    }

    @Test func bytesGoBothWays() throws {
        let server = try LoopbackServer { connection in
            connection.send("220 hello\r\n")
            let line = connection.readBody(6)
            connection.send(Array(line.reversed()) + Array(repeating: 0x2E, count: 10_000))
        }
        let connection = try client(["127.0.0.1"]).connect(Bytes("http://127.0.0.1:\(server.port)/"))
        #expect(connection.certificate == nil)
        #expect(try connection.receive { $0.ends(with: "\n") } == "220 hello\r\n")
        try connection.send(Array("abcdef".utf8))
        // Without an end that satisfies, all that comes until the peer closes.
        #expect(try connection.receive { _ in false } == Bytes("fedcba" + String(repeating: ".", count: 10_000)))
    }

    @Test func limits() throws {
        let flood = try LoopbackServer { connection in
            while connection.send([UInt8](repeating: 0x61, count: 4_096)) {}
        }
        let connection = try client(["127.0.0.1"]).connect(Bytes("http://127.0.0.1:\(flood.port)/"))
        #expect(throws: HTTPClientError.tooLarge) { try connection.receive { _ in false } }
        let silent = try LoopbackServer { $0.waitForClose() }
        let waiting = try client(["127.0.0.1"]).connect(
            Bytes("http://127.0.0.1:\(silent.port)/"), deadlineMilliseconds: 100)
        #expect(throws: HTTPClientError.timeout) { try waiting.receive { _ in false } }
    }

    @Test(
        arguments: [
            ("http://127.0.0.1:1/", HTTPClientError.invalidURL(.httpsRequired)),
            ("ftp://x/", .invalidURL(.httpsRequired)),
            ("https://127.0.0.1/", .invalidURL(.hostNotPublic)), ("https://named.test/", .invalidURL(.hostNotPublic)),
        ] as [(String, HTTPClientError)]) func theGuardsAreThoseOfTheClient(_ url: String, _ error: HTTPClientError)
    {
        #expect(throws: error) { try client([]).connect(Bytes(url)) }
    }

    @Test func aNameThatLeadsInsideIsRefused() throws {
        let server = try LoopbackServer { $0.waitForClose() }
        var configuration = HTTPClient.Configuration()
        configuration.hostOverrides = ["pds.somewhere.net": "127.0.0.1"]
        let guarded = HTTPClient(configuration)
        #expect(throws: HTTPClientError.addressNotAllowed) { try guarded.connect("https://pds.somewhere.net/") }
        #expect(server.acceptedCount == 0)
    }
}

/// Addresses out of DNS: one answer for A, one for AAAA.
@Suite struct DNSAddressTests {
    struct Row: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let expected: Result<[Bytes], DNSError>
        let four: @Sendable ([UInt8]) -> [[UInt8]]
        let six: @Sendable ([UInt8]) -> [[UInt8]]
    }

    static let six: [UInt8] = [0x20, 0x01, 0x0D, 0xB8] + [UInt8](repeating: 0, count: 11) + [1]
    static let none: @Sendable ([UInt8]) -> [[UInt8]] = { _ in [] }

    static let rows: [Row] = [
        Row(
            testDescription: "both", expected: .success(["192.0.2.1", "192.0.2.2", "2001:db8::1"]),
            four: { _ in [Zone.record(type: 1, [192, 0, 2, 1]), Zone.record(type: 1, [192, 0, 2, 2])] },
            six: { _ in [Zone.record(type: 28, six)] }),
        Row(testDescription: "none", expected: .success([]), four: none, six: none),
        Row(
            testDescription: "an alias", expected: .success(["192.0.2.1"]),
            four: { _ in
                [
                    Zone.record(type: 5, Zone.name("b.example")),
                    Zone.record(owner: Zone.name("b.example"), type: 1, [192, 0, 2, 1]),
                ]
            }, six: none),
        Row(
            testDescription: "of another name", expected: .success([]),
            four: { _ in [Zone.record(owner: Zone.name("evil.example"), type: 1, [192, 0, 2, 1])] }, six: none),
        Row(
            testDescription: "three bytes", expected: .failure(.malformed),
            four: { _ in [Zone.record(type: 1, [192, 0, 2])] }, six: none),
        Row(
            testDescription: "IPv4 where IPv6 was asked", expected: .failure(.malformed), four: none,
            six: { _ in [Zone.record(type: 28, [192, 0, 2, 1])] }),
        Row(
            testDescription: "too many", expected: .failure(.tooLarge),
            four: { _ in (0..<65).map { Zone.record(type: 1, [192, 0, 2, $0]) } }, six: none),
    ]

    @Test(arguments: rows) func addresses(_ row: Row) throws {
        let server = try LoopbackNameServer { query, isTCP in
            let answers = query[query.count - 3] == 1 ? row.four(query) : row.six(query)
            if !isTCP, answers.count > 20 { return [Zone.response(query, flags: 0x8380, answers: [])] }
            return [Zone.response(query, answers: answers)]
        }
        let found = Result { () throws(DNSError) in try server.resolver.addresses("home.example") }
        #expect(found == row.expected)
    }

    @Test(arguments: ["", ".", "a..b", "a b.example", "*.example"]) func aWrongNameIsNotAsked(_ name: String) throws {
        #expect(throws: DNSError.invalidName) { try DNSResolver(servers: ["127.0.0.1:1"]).addresses(Bytes(name)) }
    }
}
