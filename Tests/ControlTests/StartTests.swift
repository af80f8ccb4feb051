import Foundation
import Testing

@testable import Assembly
@testable import Base

/// E012: a process that lacks a secret does not start: it names what it lacks, and its status (78, EX_CONFIG) tells
/// systemd that trying again is of no use.
@Suite struct StartTests {
    /// Runs a process that wants the service's keys, with `environment`; `files` are made in its data directory.
    private static func start(_ environment: [String: String], files: [String: String] = [:]) -> Never {
        let directory = NSTemporaryDirectory() + "skystead-start-\(UUID().uuidString)"
        for name in ["SKYSTEAD_SEALING_KEY", "SKYSTEAD_SEALING_KEY_FILE", "CREDENTIALS_DIRECTORY"] { unsetenv(name) }
        setenv("SKYSTEAD_HOST", "home.example.com", 1)
        setenv("SKYSTEAD_DATA_DIR", directory, 1)
        for (name, value) in environment { setenv(name, value, 1) }
        try? FileManager.default.createDirectory(atPath: directory + "/keys", withIntermediateDirectories: true)
        for (name, text) in files { try? Data(text.utf8).write(to: URL(filePath: directory + "/" + name)) }
        exit(
            Processes.run { settings, _ in
                _ = try Keys.load(settings, Paths(settings))
                return 0
            })
    }

    private static func said(_ result: ExitTest.Result?) -> String {
        String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
    }

    @Test func noSealingKey() async {
        let result = await #expect(processExitsWith: .exitCode(78), observing: [\.standardErrorContent]) {
            Self.start([:])
        }
        let said = Self.said(result)
        #expect(said.contains("there is no sealing key at") && said.contains("/keys/sealing.key"))
        #expect(said.contains("skystead migrate"))
    }

    @Test func aSealingKeyThatIsNone() async {
        let result = await #expect(processExitsWith: .exitCode(78), observing: [\.standardErrorContent]) {
            Self.start(["SKYSTEAD_SEALING_KEY": "0123"])
        }
        #expect(Self.said(result).contains("SKYSTEAD_SEALING_KEY must be 64 hexadecimal digits"))
        #expect(!Self.said(result).contains("0123"))
    }

    @Test func aSecretsFileThatIsNotThere() async {
        let result = await #expect(processExitsWith: .exitCode(78), observing: [\.standardErrorContent]) {
            Self.start(["SKYSTEAD_SEALING_KEY_FILE": "/nonexistent/key"])
        }
        #expect(Self.said(result).contains("SKYSTEAD_SEALING_KEY") && Self.said(result).contains("/nonexistent/key"))
    }

    @Test func noRotationKey() async {
        let result = await #expect(processExitsWith: .exitCode(78), observing: [\.standardErrorContent]) {
            Self.start(["SKYSTEAD_SEALING_KEY": String(repeating: "07", count: 32)])
        }
        #expect(Self.said(result).contains("there is no rotation key at"))
    }

    @Test func aRotationKeyOfAnotherSealingKey() async {
        let result = await #expect(processExitsWith: .exitCode(78), observing: [\.standardErrorContent]) {
            Self.start(
                ["SKYSTEAD_SEALING_KEY": String(repeating: "07", count: 32)],
                files: ["keys/plc-rotation.sealed": "of another one"])
        }
        #expect(Self.said(result).contains("was sealed under another sealing key"))
    }
}
