import ATProto
import Base
import Crypto
import Foundation
import Net
import Storage
import TestSupport
import Testing

@testable import Identity

@Suite struct DIDDocumentTests {
    static let did = DID("did:plc:ewvi7nxzyoun6zhxrhs64oiz")!
    static let key = "zQ3shmHbSYMDjbn39JXWvhLUGf9ggNztXFAm4iVnDLyd7rGSi"

    struct Row: Sendable, CustomTestStringConvertible {
        let name: String
        let json: String
        var handle: String?
        var key: DocumentFault?
        var service: DocumentFault?
        var document: DocumentFault?
        var testDescription: String { name }

        init(
            _ name: String, id: String = "\(did)", aliases: String = #"["at://alice.example.com"]"#,
            methods: String? = nil, services: String? = nil, handle: String? = "alice.example.com",
            key: DocumentFault? = nil, service: DocumentFault? = nil, document: DocumentFault? = nil
        ) {
            self.name = name
            self.handle = handle
            self.key = key
            self.service = service
            self.document = document
            json = """
                {"@context":["https://www.w3.org/ns/did/v1"],"id":"\(id)","alsoKnownAs":\(aliases),
                "verificationMethod":\(methods ?? "[\(Self.method())]"),"service":\(services ?? "[\(Self.service())]")}
                """
        }

        static func method(
            id: String = "\(did)#atproto", type: String = "Multikey", controller: String = "\(did)",
            key: String = DIDDocumentTests.key
        ) -> String {
            """
            {"id":"\(id)","type":"\(type)","controller":"\(controller)","publicKeyMultibase":"\(key)"}
            """
        }

        static func service(
            id: String = "#atproto_pds", type: String = "AtprotoPersonalDataServer",
            endpoint: String = "https://home.example.com"
        ) -> String {
            """
            {"id":"\(id)","type":"\(type)","serviceEndpoint":"\(endpoint)"}
            """
        }
    }

    static let rows: [Row] = [
        Row("good"), Row("short id of the method", methods: "[\(Row.method(id: "#atproto"))]"),
        Row("long id of the service", services: "[\(Row.service(id: "\(did)#atproto_pds"))]"),
        Row("others before", methods: "[\(Row.method(id: "#other", key: "x")),\(Row.method())]"),
        Row("http and a port, as on a laptop", services: "[\(Row.service(endpoint: "http://localhost:8080"))]"),
        Row("first of two services", services: "[\(Row.service()),\(Row.service(endpoint: "https://b.example"))]"),
        Row("second handle, when the first is none", aliases: #"["at://x","at://alice.example.com"]"#),
        Row("no aliases", aliases: "[]", handle: nil),
        Row("alias of the web", aliases: #"["https://a.b"]"#, handle: nil),
        Row("aliases are no list", aliases: #""at://alice.example.com""#, handle: nil),
        Row("handle with a path", aliases: #"["at://alice.example.com/x"]"#, handle: nil),
        Row("another's document", id: "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", document: .wrongID),
        Row("id in capitals", id: "DID:PLC:EWVI7NXZYOUN6ZHXRHS64OIZ", document: .wrongID),
        Row("no id", id: "", document: .wrongID),
        Row("no method", methods: "[]", key: .noSigningKey),
        Row("methods are an object", methods: "{}", key: .noSigningKey),
        Row("method of another name", methods: "[\(Row.method(id: "#atproto2"))]", key: .noSigningKey),
        Row(
            "method of another DID", methods: "[\(Row.method(id: "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa#atproto"))]",
            key: .noSigningKey),
        Row(
            "controlled by another", methods: "[\(Row.method(controller: "did:web:other.example"))]",
            key: .invalidSigningKey),
        Row("unknown type", methods: "[\(Row.method(type: "JsonWebKey2020"))]", key: .invalidSigningKey),
        Row("a key that is none", methods: "[\(Row.method(key: "zabc"))]", key: .invalidSigningKey),
        Row(
            "an Ed25519 key", methods: "[\(Row.method(key: "z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK"))]",
            key: .invalidSigningKey),
        Row(
            "a broken key before a good one", methods: "[\(Row.method(key: "zabc")),\(Row.method())]",
            key: .invalidSigningKey),
        Row("no service", services: "[]", service: .noService),
        Row("service of another type", services: "[\(Row.service(type: "Labeler"))]", service: .invalidService),
        Row(
            "endpoint with a path", services: "[\(Row.service(endpoint: "https://a.example/x"))]",
            service: .invalidService),
        Row(
            "endpoint with a slash", services: "[\(Row.service(endpoint: "https://a.example/"))]",
            service: .invalidService),
        Row(
            "endpoint with a user", services: "[\(Row.service(endpoint: "https://u@a.example"))]",
            service: .invalidService),
        Row(
            "endpoint of another scheme", services: "[\(Row.service(endpoint: "ftp://a.example"))]",
            service: .invalidService),
        Row("endpoint without a host", services: "[\(Row.service(endpoint: "https://:80"))]", service: .invalidService),
        Row("endpoint with a space", services: "[\(Row.service(endpoint: "https://a b"))]", service: .invalidService),
    ]

    @Test(arguments: rows) func document(_ row: Row) throws {
        let parse = { () throws -> DIDDocument in try DIDDocument(json: Bytes(row.json), of: Self.did) }
        if let fault = row.document {
            #expect(throws: IdentityError.invalidDocument(fault)) { _ = try parse() }
            return
        }
        let document = try parse()
        #expect(document.handle == row.handle.flatMap { Handle($0) })
        if let fault = row.key {
            #expect(throws: IdentityError.invalidDocument(fault)) { _ = try document.signingKey }
        } else {
            #expect(try document.signingKey.multibase == Bytes(Self.key))
        }
        if let fault = row.service {
            #expect(throws: IdentityError.invalidDocument(fault)) { _ = try document.pds }
        } else {
            #expect(try document.pds.starts(with: "http"))
        }
    }

    @Test(arguments: ["", "[]", "null", "{", "{\"id\":1}", "{\"id\":\"x\",\"id\":\"y\"}", "\u{FEFF}{}"])
    func noDocument(_ json: String) {
        #expect(throws: IdentityError.self) { try DIDDocument(json: Bytes(json), of: Self.did) }
    }

    @Test func tooLarge() {
        let padding = String(repeating: " ", count: DIDDocument.sizeMax)
        #expect(throws: IdentityError.invalidDocument(.notJSON)) {
            try DIDDocument(json: Bytes(Self.rows[0].json + padding), of: Self.did)
        }
    }

    /// The types of the DID specification's first edition: a bare point, whose curve the type tells.
    @Test(arguments: [
        ("EcdsaSecp256k1VerificationKey2019", KeyAlgorithm.k256), ("EcdsaSecp256r1VerificationKey2019", .p256),
    ]) func legacyKeys(_ type: String, _ algorithm: KeyAlgorithm) throws {
        let key = try SigningKey(algorithm: algorithm, secret: Secret([UInt8](repeating: 1, count: 32))).publicKey
        let point = "z" + String(decoding: Base58.encode(key.compressed.array), as: UTF8.self)
        let row = Row("legacy", methods: "[\(Row.method(type: type, key: point))]")
        #expect(try DIDDocument(json: Bytes(row.json), of: Self.did).signingKey == key)
    }

    @Test func whatIsMadeIsRead() throws {
        let key = try SigningKey(algorithm: .p256, secret: Secret([UInt8](repeating: 1, count: 32))).publicKey
        let json = DIDDocument.json(
            of: Self.did, handle: Handle("alice.example.com"), signingKey: key, pds: "https://home.example.com")
        let document = try DIDDocument(json: json, of: Self.did)
        #expect(try document.signingKey == key && document.pds == "https://home.example.com")
        #expect(document.handle == Handle("alice.example.com"))
    }
}

@Suite struct HandlePolicyTests {
    @Test(
        arguments: [
            ("alice.home.example.com", nil), ("ABC.home.example.com", nil), ("a-b.home.example.com", nil),
            ("abcdefghijklmnopqr.home.example.com", nil), ("alice.other.com", nil),
            ("ab.home.example.com", .tooShort), ("abcdefghijklmnopqrs.home.example.com", .tooLong),
            ("a.lice.home.example.com", .hasDots), ("www.home.example.com", .reservedWord),
            ("ADMIN.home.example.com", .reservedWord), ("alice.example.com", .foreign(Handle("alice.example.com")!)),
            ("home.example.com", .foreign(Handle("home.example.com")!)),
            ("alice-home.example.com", .foreign(Handle("alice-home.example.com")!)),
            ("alice.home.test", .disallowed(Handle("alice.home.test")!)),
            ("alice.home.local", .disallowed(Handle("alice.home.local")!)),
            ("alice.onion", .disallowed(Handle("alice.onion")!)),
        ] as [(String, HandleError?)]) func given(_ handle: String, _ error: HandleError?)
    {
        let policy = HandlePolicy(domains: ["home.example.com", "other.com"])
        if let error {
            #expect(throws: error) { try policy.checkLocal(Handle(handle)!) }
        } else {
            #expect(throws: Never.self) { try policy.checkLocal(Handle(handle)!) }
        }
    }

    @Test func testIsForDevelopment() {
        let policy = HandlePolicy(domains: ["home.test"])
        #expect(throws: Never.self) { try policy.checkLocal(Handle("alice.home.test")!) }
        #expect(throws: Never.self) { try policy.checkForeign(Handle("alice.test")!) }
        let long = Handle(String(repeating: "a.", count: 121) + "com")!
        #expect(throws: HandleError.tooLong) { try policy.checkForeign(long) }
    }
}

@Suite struct ResolverTests {
    /// Answers with `document` while it is set, and counts.
    final class Host: Sendable {
        let state = Guarded<(document: Bytes?, asked: Int)>((nil, 0))
        struct Away: Error {}

        var network: IdentityNetwork {
            IdentityNetwork(
                send: { [state] _ in
                    try state.withLock { state in
                        state.asked += 1
                        guard let document = state.document else { throw Away() }
                        return IdentityNetwork.Answer(status: document.isEmpty ? 404 : 200, body: document)
                    }
                }, lookUp: { _ in throw Away() })
        }
    }

    @Test(arguments: Engine.all) func documentsAge(_ engine: Engine) throws {
        let test = try engine.migrated()
        let moment = Guarded(Timestamp(seconds: 1_000_000))
        let host = Host()
        let resolver = Resolver(
            database: test.database, directory: PLCDirectory(url: "https://plc.test/", network: host.network),
            network: host.network, clock: Clock { moment.withLock { $0 } })
        let did = DIDDocumentTests.did
        func asked() -> Int { host.state.withLock { $0.asked } }
        func wait(_ seconds: Int64) { moment.withLock { $0 = $0.adding(seconds: seconds) } }

        #expect(throws: IdentityError.unreachable) { try resolver.document(of: did) }
        host.state.withLock { $0.document = Bytes(DIDDocumentTests.rows[0].json) }
        _ = try resolver.document(of: did)
        wait(Resolver.staleSeconds - 1)
        _ = try resolver.document(of: did)
        #expect(asked() == 2, "fresh for an hour")
        _ = try resolver.document(of: did, fresh: true)
        #expect(asked() == 3)
        wait(Resolver.staleSeconds)
        host.state.withLock { $0.document = nil }
        _ = try resolver.document(of: did)
        #expect(asked() == 4, "stale: asked, and served all the same")
        #expect(throws: IdentityError.unreachable) { try resolver.document(of: did, fresh: true) }
        wait(Resolver.ageMaxSeconds)
        #expect(throws: IdentityError.unreachable) { try resolver.document(of: did) }
        #expect(try resolver.cachedJSON(of: did) == nil)
        // A wrong answer is not kept.
        host.state.withLock { $0.document = Bytes(DIDDocumentTests.rows.first { $0.document != nil }!.json) }
        #expect(throws: IdentityError.invalidDocument(.wrongID)) { try resolver.document(of: did) }
        host.state.withLock { $0.document = Bytes() }
        #expect(throws: IdentityError.notFound(did)) { try resolver.document(of: did) }
    }

    struct Ill: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let status: Int
        let body: Bytes
        /// For its document, for its newest operation, and for one that is submitted.
        let document: IdentityError
        let last: IdentityError
        var submit: IdentityError?
    }

    static let plc = DIDDocumentTests.did

    /// E008: a directory that answers wrongly. (One that hangs or is away: `documentsAge`, `theDeadlineIsForAllAttempts`.)
    @Test(arguments: [
        Ill(
            testDescription: "500", status: 500, body: "oops", document: .unreachable,
            last: .directoryRefused(status: 500), submit: .directoryRefused(status: 500)),
        Ill(
            testDescription: "503 with JSON", status: 503, body: "{}", document: .unreachable,
            last: .directoryRefused(status: 503), submit: .directoryRefused(status: 503)),
        Ill(
            testDescription: "429", status: 429, body: "", document: .unreachable, last: .directoryRefused(status: 429),
            submit: .directoryRefused(status: 429)),
        Ill(
            testDescription: "302", status: 302, body: "", document: .unreachable, last: .directoryRefused(status: 302),
            submit: .directoryRefused(status: 302)),
        Ill(
            testDescription: "a page", status: 200, body: "<html>", document: .invalidDocument(.notJSON),
            last: .invalidDocument(.notJSON)),
        Ill(
            testDescription: "nothing", status: 200, body: "", document: .invalidDocument(.notJSON),
            last: .invalidDocument(.notJSON)),
        Ill(
            testDescription: "a list", status: 200, body: "[]", document: .invalidDocument(.notJSON),
            last: .invalidDocument(.notJSON)),
        Ill(
            testDescription: "half of it", status: 200, body: "{\"id\":", document: .invalidDocument(.notJSON),
            last: .invalidDocument(.notJSON)),
        Ill(
            testDescription: "gone", status: 410, body: "", document: .notFound(plc), last: .tombstoned(plc),
            submit: .directoryRefused(status: 410)),
    ])
    func aDirectoryThatIsIll(_ row: Ill) throws {
        let network = IdentityNetwork(
            send: { _ in IdentityNetwork.Answer(status: row.status, body: row.body) }, lookUp: { _ in [] })
        let directory = PLCDirectory(url: "https://plc.test", network: network)
        let test = try Engine.sqlite.migrated()
        let resolver = Resolver(
            database: test, directory: directory, network: network, clock: Clock { Timestamp(seconds: 1_000_000) })
        #expect(throws: row.document) { _ = try resolver.document(of: Self.plc) }
        #expect(try resolver.cachedJSON(of: Self.plc) == nil, "what is wrong is not kept")
        #expect(throws: row.last) { _ = try directory.last(of: Self.plc) }
        let key = try SigningKey(algorithm: .k256, secret: Secret([UInt8](repeating: 5, count: 32)))
        let operation = try PLCOperation(
            rotationKeys: [key.publicKey], signingKey: key.publicKey, handle: Handle("alice.home.test")!,
            pds: "https://home.test"
        ).signed(by: key)
        if let submit = row.submit {
            #expect(throws: submit) { try directory.submit(operation, for: Self.plc) }
        } else {
            #expect(throws: Never.self) { try directory.submit(operation, for: Self.plc) }
        }
    }

    @Test(
        arguments: [
            ("did:web:example.com", "https://example.com/.well-known/did.json"),
            ("did:web:a-b.example.com", "https://a-b.example.com/.well-known/did.json"),
            ("did:web:example.com%3A443", nil), ("did:web:example.com:user", nil), ("did:web:localhost", nil),
            ("did:web:127.0.0.1", nil), ("did:web:EXAMPLE.com", nil), ("did:web:example.com%2Fx", nil),
            ("did:web:example.com.", nil), ("did:web:-a.com", nil), ("did:key:zabc", nil), ("did:example:x", nil),
            ("did:plc:ewvi7nxzyoun6zhxrhs64oi", nil), ("did:plc:ewvi7nxzyoun6zhxrhs64oizz", nil),
            ("did:plc:ewvi7nxzyoun6zhxrhs64oi1", nil), ("did:plc:EWVI7NXZYOUN6ZHXRHS64OIZ", nil),
        ] as [(String, String?)]) func webAddresses(_ did: String, _ url: String?) throws
    {
        let did = DID(did)!
        if let url {
            #expect(try Resolver.webURL(of: did) == Bytes(url))
        } else {
            #expect(throws: IdentityError.unsupportedDID(did)) { try Resolver.webURL(of: did) }
        }
    }
}

/// Rows F024 to F027 of the hostile corpus: what a handle's DNS and host may answer.
@Suite struct HandleResolutionTests {
    struct Down: Error {}

    struct Row: Sendable, CustomTestStringConvertible {
        let testDescription: String
        /// nil: the name servers do not answer.
        var texts: [Bytes]?
        var page: IdentityNetwork.Answer?
        /// nil: not found.
        let did: DID?

        init(_ name: String, texts: [Bytes]? = [], status: Int = 200, page: Bytes? = nil, _ did: DID?) {
            testDescription = name
            self.texts = texts
            self.page = page.map { IdentityNetwork.Answer(status: status, body: $0) }
            self.did = did
        }
    }

    static let alice = DIDDocumentTests.did
    static let other: Bytes = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"
    static let claim: Bytes = "did=" + alice.bytes
    static func spaces(_ count: Int) -> Bytes { Bytes([UInt8](repeating: 0x20, count: count)) }

    static let rows: [Row] = [
        Row("by DNS", texts: [claim], alice), Row("by DNS, before the file", texts: [claim], page: other, alice),
        Row("among other texts", texts: ["v=spf1 -all", claim], alice),
        Row("twice the same", texts: [claim, claim], alice),
        Row("by file", page: alice.bytes, alice), Row("by file, DNS is down", texts: nil, page: alice.bytes, alice),
        Row("F025 two DIDs", texts: [claim, "did=" + other], page: alice.bytes, nil),
        Row("F025 a space before the DID", texts: ["did= " + alice.bytes], page: alice.bytes, nil),
        Row("F025 a space after it", texts: [claim + " "], page: alice.bytes, nil),
        Row("F025 a space before did=", texts: [" " + claim], nil), Row("F025 did=, and nothing", texts: ["did="], nil),
        Row("F025 one that is none beside one that is", texts: [claim, "did=x"], page: alice.bytes, nil),
        Row("F025 64 KiB", texts: [claim + spaces(65_536)], page: alice.bytes, nil),
        Row("F025 DID= is another text", texts: ["DID=" + other], nil),
        Row("F025 DID= does not hide the file", texts: ["DID=" + other], page: alice.bytes, alice),
        Row("F026 HTML", page: "<!doctype html><p>" + alice.bytes, nil),
        Row("F026 a byte order mark", page: "\u{FEFF}" + alice.bytes, nil),
        Row("F026 a line break at the end", page: alice.bytes + "\n", alice),
        Row("F026 line breaks and blanks", page: " \t" + alice.bytes + "\r\n\n", alice),
        Row("F026 another kind of blank", page: alice.bytes + "\u{0B}", nil),
        Row("F026 a NUL at the end", page: alice.bytes + "\u{0}", nil),
        Row("F026 two lines", page: alice.bytes + "\n" + other, nil), Row("F026 nothing", page: Bytes(), nil),
        Row("F026 1 MB of blanks around it", page: alice.bytes + spaces(1_000_000), nil),
        Row("F026 as JSON", page: "\"" + alice.bytes + "\"", nil),
        Row("a file with another status", status: 203, page: alice.bytes, nil),
        Row("no file", status: 404, page: alice.bytes, nil), Row("nobody answers", texts: nil, nil),
    ]

    private func resolver(_ row: Row, documents: [Bytes: Bytes] = [:]) throws -> Resolver {
        let test = try Engine.sqlite.migrated()
        let network = IdentityNetwork(
            send: { request in
                if let document = documents[request.url] { return IdentityNetwork.Answer(status: 200, body: document) }
                guard request.url == "https://alice.example.com/.well-known/atproto-did", let page = row.page else {
                    throw Down()
                }
                return page
            },
            lookUp: { name in
                guard name == "_atproto.alice.example.com", let texts = row.texts else { throw Down() }
                return texts
            })
        return Resolver(
            database: test, directory: PLCDirectory(url: "https://plc.test", network: network), network: network,
            clock: Clock { Timestamp(seconds: 1_000_000) })
    }

    @Test(arguments: rows) func handle(_ row: Row) throws {
        let handle = try #require(Handle("alice.example.com"))
        let resolver = try resolver(row)
        if let did = row.did {
            #expect(try resolver.resolve(handle) == did)
        } else {
            #expect(throws: IdentityError.handleNotFound(handle)) { _ = try resolver.resolve(handle) }
        }
    }

    @Test(arguments: ["a.local", "a.localhost", "a.internal", "a.onion", "a.arpa", "a.invalid", "a.alt"])
    func namesOfNoNetworkAreNotAsked(_ name: String) throws {
        let handle = try #require(Handle(Bytes(name)))
        let resolver = try resolver(Row("by DNS", texts: [Self.claim], Self.alice))
        #expect(throws: IdentityError.handleNotFound(handle)) { _ = try resolver.resolve(handle) }
    }

    /// F027: both directions, or it is nobody's.
    @Test func bothDirections() throws {
        let handle = try #require(Handle("alice.example.com"))
        let other = try #require(Handle("bob.example.com"))
        let url = "https://plc.test/" + Self.alice.bytes
        let good = Bytes(DIDDocumentTests.rows[0].json)
        let row = Row("by DNS", texts: [Self.claim], Self.alice)
        #expect(try resolver(row, documents: [url: good]).verify(handle, of: Self.alice))
        #expect(try !resolver(row, documents: [url: good]).verify(other, of: Self.alice), "it names another")
        let elsewhere = Row("by DNS", texts: ["did=" + Self.other], nil)
        #expect(try !resolver(elsewhere, documents: [url: good]).verify(handle, of: Self.alice), "it is another's")
        #expect(try !resolver(row).verify(handle, of: Self.alice), "there is no document")
    }
}
