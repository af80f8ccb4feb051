import Testing

@testable import Assembly
@testable import Base
@testable import skystead

@Suite struct ChecksTests {
    @Test(
        arguments: [
            ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777), ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Thu, 29 Feb 2024 23:59:59 GMT", 1_709_251_199), ("Fri, 31 Dec 9999 23:59:59 GMT", 253_402_300_799),
            ("", nil), ("Sunday, 06-Nov-94 08:49:37 GMT", nil), ("Sun, 06 Nov 1994 08:49:37 CET", nil),
            ("Sun, 32 Nov 1994 08:49:37 GMT", nil), ("Sun, 06 Now 1994 08:49:37 GMT", nil),
            ("Sun, 06 Nov 1994 24:00:00 GMT", nil), ("Sun, 06 Nov 99999999999999999999 08:49:37 GMT", nil),
            ("Sun, +6 Nov 1994 08:49:37 GMT", nil),
        ] as [(String, Int64?)]) func httpDate(_ text: String, _ seconds: Int64?)
    {
        #expect(HTTPDate.parse(Bytes(text))?.seconds == seconds)
    }

    @Test func theDiskIsJudgedByItsFreeBytes() {
        #expect(Checks.disk(freeBytes: 100 << 20, wrongBelow: 200 << 20).verdict == .wrong)
        #expect(Checks.disk(freeBytes: 1 << 30, wrongBelow: 200 << 20).verdict == .warning)
        #expect(Checks.disk(freeBytes: 10 << 30, wrongBelow: 200 << 20) == .fine("10240 MiB free"))
        #expect(Checks.disk(freeBytes: 10 << 30, wrongBelow: 1 << 40).verdict == .wrong)
    }

    @Test func theReportSaysWhatIsWrongAndHowToMendIt() {
        let written = Guarded("")
        let output = Output(coloured: false) { _, bytes in
            written.withLock { $0 += String(decoding: bytes, as: UTF8.self) }
        }
        let findings: [(name: String, finding: Finding)] = [
            ("one", .fine("well")), ("two", .warning("so so", "look")), ("three", .wrong("bad", "mend")),
        ]
        #expect(Command.report(findings, quiet: true, to: output) == 1)
        #expect(
            written.withLock { $0 } == """
                warn  two: so so
                      → look
                FAIL  three: bad
                      → mend
                1 of 3 are wrong

                """)
        #expect(Command.report(Array(findings.prefix(2)), quiet: true, to: output) == 0)
    }

    @Test func aDirectoryThatIsNotThereIsToldWithItsRemedy() throws {
        let settings = try Settings.load(environment: [
            ("SKYSTEAD_SETTINGS_FILE", ""), ("SKYSTEAD_DATA_DIR", "/nowhere/at/all"),
            ("SKYSTEAD_PLC_URL", "http://localhost:1"), ("SKYSTEAD_ALLOW_PRIVATE_HOSTS", "localhost:1"),
            ("SKYSTEAD_PUBLIC_URL", "http://localhost:1"), ("SKYSTEAD_SMTP_URL", "smtp://localhost:1"),
            ("SKYSTEAD_MAIL_FROM", "home@example.com"),
        ]) { (path) throws(SystemError) in throw SystemError("open \(path)") }
        for look in Checks(settings: settings).all {
            let finding = look.look()
            #expect(finding.verdict == .wrong, "\(look.name): \(finding.text)")
            #expect(finding.remedy?.isEmpty == false)
        }
    }
}

@Suite struct NamesTests {
    static func names(_ pairs: [(Bytes, Bytes)]) throws -> Names {
        Names(
            try Settings.load(environment: pairs + [("SKYSTEAD_SETTINGS_FILE", "")]) { (path) throws(SystemError) in
                throw SystemError("open \(path)")
            })
    }

    @Test func ofALaptop() throws {
        let names = try Self.names([("SKYSTEAD_PORT", "8123")])
        #expect(names.publicURL == "http://localhost:8123")
        #expect(names.handleDomains == ["test"])
        #expect(names.serviceDID == "did:web:localhost")
    }

    @Test func ofAServer() throws {
        let names = try Self.names([("SKYSTEAD_HOST", "home.example")])
        #expect(names.publicURL == "https://home.example")
        #expect(names.handleDomains == ["home.example"])
        #expect(names.serviceDID == "did:web:home.example")
        #expect(!names.isLocal)
    }
}

@Suite struct EndingTests {
    @Test(arguments: [
        (0, "exited with 0"), (256, "exited with 1"), (9, "was ended by signal 9"), (139, "was ended by signal 11"),
    ])
    func isToldInWords(_ status: Int32, _ text: String) { #expect(Ending(status: status).description == text) }
}
