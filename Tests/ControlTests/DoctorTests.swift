import Testing

@testable import Assembly
@testable import Base
@testable import skystead

/// The parts of `skystead doctor` that need no server. The rest is in Tests/EndToEnd/test_doctor.py.
@Suite struct DoctorTests {
    @Test(
        arguments: [
            ("Nov 24 06:06:44 2026 GMT", 1_795_500_404), ("Nov  4 06:06:44 2026 GMT", 1_793_772_404), ("", nil),
            ("24 Nov 06:06:44 2026 GMT", nil), ("Nov 24 06:06:44 2026", nil), ("Nov 24 06:06:44 2026 CET", nil),
        ] as [(String, Int64?)]) func openSSLDate(_ text: String, _ seconds: Int64?)
    {
        #expect(Outside.openSSLDate(Bytes(text))?.seconds == seconds)
    }

    @Test(
        arguments: [
            ("250 ok\r\n", true), ("250-a\r\n250 b\r\n", true), ("250-a\r\n", false), ("250-a\r\n250 b", false),
            ("", false), ("\n", false), ("250\n", false), ("421 bye\r\n", true),
        ]) func lastReply(_ text: String, _ isLast: Bool)
    {
        #expect(Outside.isLastReply(Bytes(text)) == isLast)
    }

    @Test(
        arguments: [
            ("https://home.example", "https://", "home.example", ""),
            ("https://home.example:444", "https://", "home.example", ":444"),
            ("http://[::1]:80", "http://", "[::1]", ":80"), ("http://[::1]", "http://", "[::1]", ""),
        ]) func origin(_ url: String, _ scheme: String, _ host: String, _ port: String)
    {
        let origin = Outside.Origin(Bytes(url))
        #expect(origin.scheme == Bytes(scheme) && origin.host == Bytes(host) && origin.port == Bytes(port))
    }

    @Test func theLinesHaveThisServersNamesAndPaths() throws {
        let settings = try Settings.load(environment: [
            ("SKYSTEAD_SETTINGS_FILE", ""), ("SKYSTEAD_HOST", "pds.example"), ("SKYSTEAD_RUN_DIR", "/run/other"),
            ("SKYSTEAD_HANDLE_DOMAINS", "pds.example,people.example"),
        ]) { (path) throws(SystemError) in throw SystemError("open \(path)") }
        let faults: [WebFault] = [
            .path("/oauth"), .webSocket, .host, .handleHosts, .bodySize, .compression, .certificate, .crossOrigin,
        ]
        for fault in faults {
            let lines = WebLines(fault, Names(settings), Paths(settings), blobSizeMax: 5_000_000)
            for server in WebServer.allCases {
                let text = lines[server].joined(separator: "\n")
                #expect(!text.isEmpty, "\(fault) \(server)")
                #expect(!text.contains("home.example") && !text.contains("/run/skystead"), "\(fault) \(server)")
                #expect(
                    text.count(where: { $0 == "{" }) >= text.count(where: { $0 == "}" }), "\(fault) \(server): \(text)")
            }
        }
        let handles = WebLines(.handleHosts, Names(settings), Paths(settings), blobSizeMax: 1)
        #expect(handles[.nginx] == ["server_name pds.example *.pds.example *.people.example;"])
        let size = WebLines(.bodySize, Names(settings), Paths(settings), blobSizeMax: 5_000_000)
        #expect(size[.nginx].contains("    client_max_body_size 5m;"))
        #expect(size[.caddy].contains { $0.hasSuffix("max_size 6MiB") })
        let stream = WebLines(.webSocket, Names(settings), Paths(settings), blobSizeMax: 1)
        #expect(stream[.caddy].contains { $0.contains("unix//run/other/stream.sock") })
    }

    @Test func theReportShowsLinesForTheServerThatIsThere() {
        let settings = Settings.defaults
        let lines = WebLines(.compression, Names(settings), Paths(settings), blobSizeMax: 1)
        for (server, heads) in [
            (nil, ["nginx", "caddy"]), (WebServer.nginx, ["nginx"]), (WebServer.caddy, ["caddy"]),
        ] as [(WebServer?, [String])] {
            let written = Guarded("")
            let output = Output(coloured: false) { _, bytes in
                written.withLock { $0 += String(decoding: bytes, as: UTF8.self) }
            }
            let findings: [(name: String, finding: Finding)] = [
                ("one", .wrong("bad", "mend", lines)), ("two", .skipped("not here")),
            ]
            #expect(Command.report(findings, quiet: false, server: server, to: output) == 1)
            let text = written.withLock { $0 }
            for kind in WebServer.allCases {
                #expect(text.contains("in \(kind.rawValue)'s configuration:") == heads.contains(kind.rawValue))
            }
            #expect(text.contains("skip  two: not here\n"))
        }
    }
}

extension Settings {
    /// Those of nobody.
    fileprivate static var defaults: Settings { Settings() }
}
