import ATProto
import Base
import Crypto
import Foundation
import Net
import Testing

@testable import Identity

/// Real logs of the directory, beside the checkout or where `SKYSTEAD_SHARED_DIR` says.
@Suite struct PLCVectorTests {
    static let folder: URL = {
        let shared =
            ProcessInfo.processInfo.environment["SKYSTEAD_SHARED_DIR"].map { URL(filePath: $0) }
            ?? URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../../shared").standardized
        return shared.appending(path: "vectors/plc/audit_log/valid")
    }()

    static let files = ((try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []).sorted()

    @Test func thereAreVectors() { #expect(Self.files.count >= 10, "set SKYSTEAD_SHARED_DIR") }

    @Test(arguments: files) func identifiersAndLinks(_ file: String) throws {
        let log = try JSON.parsePlain(Bytes([UInt8](Data(contentsOf: Self.folder.appending(path: file)))))
        var first = true
        for entry in try #require(log.array) {
            let signed = SignedPLCOperation(try #require(entry["operation"]))
            #expect(Bytes(signed.cid.text) == entry["cid"]?.text)
            if first { #expect(signed.did?.bytes == entry["did"]?.text) }
            first = false
            guard let operation = PLCOperation(signed.value) else {
                #expect(signed.value["type"]?.text == "plc_tombstone")
                continue
            }
            guard signed.value["type"]?.text == "plc_operation" else { continue }
            // What was read and is written again is the same but for the signature, which one of its keys made.
            guard case .map(let entries) = signed.value else { continue }
            #expect(operation.value == .object(entries.filter { $0.key != "sig" }))
            let digest = SHA256.hash(DAGCBOR.encode(operation.value))
            let signature = Bytes(RadixEncoding.base64URL.decode(try #require(signed.value["sig"]?.text)) ?? [])
            if operation.previous == nil {
                let keys = try operation.rotationKeys.map { try VerificationKey(didKey: $0) }
                #expect(keys.contains { $0.verify(signature, of: digest) })
            }
        }
    }

    static let key = try? SigningKey(algorithm: .k256, secret: Secret([UInt8](repeating: 5, count: 32)))

    @Test(
        arguments: [
            (["at://a.test", "https://x"], ["at://new.test", "https://x"]), ([], ["at://new.test"]),
            (["https://x", "at://a.test", "at://b.test"], ["https://x", "at://new.test", "at://b.test"]),
            (["https://x"], ["at://new.test", "https://x"]),
        ] as [([String], [String])]) func handles(_ before: [String], _ after: [String])
    {
        var operation = PLCOperation(
            rotationKeys: [], verificationMethods: [], alsoKnownAs: before.map { Bytes($0) }, services: [])
        operation.setHandle(Handle("new.test")!)
        #expect(operation.alsoKnownAs == after.map { Bytes($0) })
    }

    @Test(arguments: [
        #"{"type":"plc_tombstone","prev":"x","sig":"y"}"#, "{}", #"{"type":"plc_operation"}"#,
        #"{"type":"plc_operation","rotationKeys":[1],"alsoKnownAs":[],"verificationMethods":{},"services":{}}"#,
        #"{"type":"plc_operation","rotationKeys":[],"alsoKnownAs":[],"verificationMethods":{"a":1},"services":{}}"#,
        #"{"type":"plc_operation","rotationKeys":[],"alsoKnownAs":[],"verificationMethods":{},"services":{"a":{}}}"#,
    ]) func whatIsNoOperation(_ json: String) throws {
        #expect(PLCOperation(try JSON.parsePlain(Bytes(json))) == nil)
    }
}

/// The directory of the tests, which shares no line with the product and judges the real logs right.
@Suite struct PLCDirectoryTests {
    /// The directory as a child process on a port of its own.
    final class Double {
        let url: Bytes
        private let process = Process()

        init() throws {
            let script = URL(filePath: #filePath).deletingLastPathComponent()
                .appending(path: "../Support/plc_directory.py").standardized
            process.executableURL = URL(filePath: "/usr/bin/python3")
            process.arguments = [script.path, "--port", "0"]
            let out = Pipe()
            process.standardOutput = out
            process.standardError = FileHandle.nullDevice
            try process.run()
            var line: [UInt8] = []
            while line.last != 0x0A {
                let byte = out.fileHandleForReading.readData(ofLength: 1)
                guard !byte.isEmpty else { throw Failed() }
                line.append(contentsOf: byte)
            }
            url = Bytes(line).split(on: 0x20).last.map { Bytes($0.filter { $0 != 0x0A }) } ?? Bytes()
        }

        struct Failed: Error {}

        // SIGKILL, since a child inherits a blocked SIGTERM. Not waited for: Foundation notices an end by a descriptor,
        // which a child of another test may have inherited.
        deinit { kill(process.processIdentifier, SIGKILL) }
    }

    @Test func theDirectoryTakesWhatWeSign() throws {
        let double = try Double()
        defer { withExtendedLifetime(double) {} }
        var configuration = HTTPClient.Configuration()
        configuration.privateHostsAllowed = [double.url.from("http://".utf8.count)]
        let network = IdentityNetwork(http: HTTPClient(configuration), dns: DNSResolver())
        let directory = PLCDirectory(url: double.url, network: network)
        let rotation = try SigningKey(algorithm: .k256, secret: Secret([UInt8](repeating: 5, count: 32)))
        let recovery = try SigningKey(algorithm: .p256, secret: Secret([UInt8](repeating: 6, count: 32)))
        let signing = try SigningKey(algorithm: .k256, secret: Secret([UInt8](repeating: 7, count: 32)))
        let genesis = PLCOperation(
            rotationKeys: [recovery.publicKey, rotation.publicKey], signingKey: signing.publicKey,
            handle: Handle("alice.home.test")!, pds: "https://home.test")
        let signed = try genesis.signed(by: rotation)
        let did = try #require(signed.did)

        #expect(throws: IdentityError.notFound(did)) { try directory.last(of: did) }
        try directory.submit(signed, for: did)
        #expect(try directory.last(of: did) == signed)
        let document = try DIDDocument(json: directory.document(of: did), of: did)
        #expect(document.handle == Handle("alice.home.test"))
        #expect(try document.pds == "https://home.test")
        #expect(try document.signingKey == signing.publicKey)

        try directory.update(did, signedBy: rotation) { $0.setHandle(Handle("alicia.home.test")!) }
        #expect(try DIDDocument(json: directory.document(of: did), of: did).handle == Handle("alicia.home.test"))
        #expect(PLCOperation(try directory.last(of: did).value)?.previous == Bytes(signed.cid.text))
        // P-256 signs as well, and a key that is in no list does not.
        try directory.update(did, signedBy: recovery) { $0.setHandle(Handle("third.home.test")!) }
        #expect(throws: IdentityError.directoryRefused(status: 400)) {
            try directory.update(did, signedBy: signing) { $0.setHandle(Handle("fourth.home.test")!) }
        }
        #expect(throws: IdentityError.directoryRefused(status: 400)) {
            try directory.submit(signed, for: DID("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")!)
        }
        // Nothing to change is nothing to submit.
        let last = try directory.last(of: did)
        try directory.update(did, signedBy: signing) { $0.setHandle(Handle("third.home.test")!) }
        #expect(try directory.last(of: did) == last)
    }
}
