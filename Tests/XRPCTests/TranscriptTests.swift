import Foundation
import TestSupport
import Testing

/// Every `.http` file under `Tests/Fixtures/http/xrpc`, on each database: the same bytes.
@Suite struct TranscriptTests {
    static let folder = URL(filePath: #filePath).deletingLastPathComponent()
        .appending(path: "../Fixtures/http/xrpc").standardized

    static let files: [String] = {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []
        return names.filter { $0.hasSuffix(".http") }.sorted()
    }()

    @Test func thereAreTranscripts() { #expect(Self.files.count >= 7) }

    @Test(arguments: files, Engine.all) func asRecorded(_ file: String, _ engine: Engine) throws {
        let transcript = try Transcript(Self.folder.appending(path: file))
        let world = try World(engine, limits: file.contains("limits"), invites: file.contains("invites"))
        let (text, wrong) = try transcript.play(world)
        if ProcessInfo.processInfo.environment["UPDATE_GOLDEN"] == "1" {
            try text.write(to: transcript.url, atomically: true, encoding: .utf8)
        } else {
            for difference in wrong { Issue.record("\(file) on \(engine): \(difference)") }
        }
    }
}
