import Base
import ExchangeSupport
import Foundation
import TestSupport
import Testing
import Web
import XRPCHandlers

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
        let world = try Self.world(file, engine)
        let (text, wrong) = try transcript.play(world)
        if ProcessInfo.processInfo.environment["UPDATE_GOLDEN"] == "1" {
            try text.write(to: transcript.url, atomically: true, encoding: .utf8)
        } else {
            for difference in wrong { Issue.record("\(file) on \(engine): \(difference)") }
        }
        // R35: of all that went in and out, nothing that opens anything is in the log.
        for line in world.log.withLock({ $0 }) {
            for secret in ["correct horse", "admin password", "eyJ0eXAi", "Bearer ", "Basic ", "@example.com"] {
                #expect(!line.contains(secret), "\(file): \(line)")
            }
        }
    }

    static func world(_ file: String, _ engine: Engine) throws -> World {
        try World(engine, limits: file.contains("limits"), invites: file.contains("invites"))
    }

    /// The same transcripts the whole way, over FastCGI: the same bytes once more.
    @Test(arguments: files, Engine.all) func overFastCGI(_ file: String, _ engine: Engine) throws {
        let transcript = try Transcript(Self.folder.appending(path: file))
        let world = try Self.world(file, engine)
        let home = HomeResponder(app: world.app)
        let door = try FastCGIDoor { home.respond(to: $0) }
        let (_, wrong) = try transcript.play(world, through: .fastCGI(door))
        for difference in wrong { Issue.record("\(file) on \(engine), over FastCGI: \(difference)") }
        #expect(door.stop() == 0)
    }

    /// Every method has its exchange, or a test of its own because its body is no text.
    @Test func everyMethodIsThere() throws {
        let others: Set<String> = [
            "com.atproto.repo.uploadBlob", "com.atproto.repo.listMissingBlobs", "com.atproto.sync.getBlob",
            "com.atproto.sync.getRepo", "com.atproto.sync.getRecord", "com.atproto.sync.getBlocks",
            "com.atproto.sync.listBlobs", "com.atproto.sync.getCheckout",
        ]
        var asked: Set<String> = []
        for file in Self.files {
            for case .exchange(_, let text, _) in try Transcript(Self.folder.appending(path: file)).steps {
                for route in XRPCResponder.routes where text.contains("/xrpc/\(route.nsid)") {
                    let rest = text.components(separatedBy: "/xrpc/\(route.nsid)")[1]
                    if rest.first.map({ !$0.isLetter }) ?? true { asked.insert(route.nsid.description) }
                }
            }
        }
        let missing = XRPCResponder.routes.map(\.nsid.description).filter {
            !asked.contains($0) && !others.contains($0)
        }
        #expect(missing == [])
    }
}
