import Base
import Net
import Storage
import TestSupport
import Testing

@testable import Authorization

/// Other people's web servers, as far as clients' documents need them.
final class Web: Sendable {
    struct State {
        var answers: [Bytes: ClientNetwork.Answer] = [:]
        var failure: HTTPClientError?
        var asked: [Bytes] = []
        var now: Int64 = 1_700_000_000
    }

    static let json: [(name: Bytes, value: Bytes)] = [("content-type", "application/json")]

    private let state = Guarded(State())

    func set(_ change: (inout State) -> Void) { state.withLock { change(&$0) } }
    var asked: [Bytes] { state.withLock { $0.asked } }

    func put(
        _ document: Document, status: Int = 200, headers: [(name: Bytes, value: Bytes)] = Web.json,
        at url: String = Document.webID
    ) {
        put(document.json, status: status, headers: headers, at: url)
    }

    func put(
        _ body: Bytes, status: Int = 200, headers: [(name: Bytes, value: Bytes)] = Web.json,
        at url: String = Document.webID
    ) {
        set { $0.answers[Bytes(url)] = .init(status: status, headers: headers, body: body) }
    }

    func pass(_ seconds: Int64) { set { $0.now += seconds } }

    var clock: Clock { Clock { Timestamp(seconds: self.state.withLock { $0.now }) } }

    var network: ClientNetwork {
        ClientNetwork { (request) throws(HTTPClientError) in
            try self.state.withLock { (state) throws(HTTPClientError) in
                state.asked.append(request.url)
                if let failure = state.failure { throw failure }
                return state.answers[request.url] ?? .init(status: 404, headers: Web.json, body: "{}")
            }
        }
    }

    func resolver(_ database: any Database, rules: ClientRules = .strict) -> ClientResolver {
        ClientResolver(store: ClientStore(database: database), network: network, rules: rules, clock: clock)
    }
}

/// Fetching clients' documents, and keeping them for a while.
@Suite struct ClientResolverTests {
    static let id = Bytes(Document.webID)
    static let keysURL = "https://app.example.com/jwks.json"
    static let keys = Bytes(#"{"keys":[\#(Document.key)]}"#)

    // MARK: Faults

    struct Fault: Sendable, CustomTestStringConvertible {
        let name: String
        let code: AuthorizationError.Code
        let reason: String
        let change: @Sendable (Web) -> Void
        var testDescription: String { name }

        init(
            _ name: String, _ reason: String, _ code: AuthorizationError.Code = .invalidClientMetadata,
            _ change: @escaping @Sendable (Web) -> Void
        ) {
            (self.name, self.reason, self.code, self.change) = (name, reason, code, change)
        }

        init(_ name: String, type: Bytes...) {
            self.init(name, "content type") { web in
                web.put(Document.web, headers: type.map { ("content-type", $0) })
            }
        }

        init(_ name: String, status: Int, _ code: AuthorizationError.Code = .invalidClientMetadata) {
            self.init(name, "status \(status)", code) { $0.put(Document.web, status: status) }
        }

        init(_ name: String, _ error: HTTPClientError, _ reason: String, _ code: AuthorizationError.Code) {
            self.init(name, reason, code) { web in web.set { $0.failure = error } }
        }
    }

    static let faults: [Fault] = [
        Fault("201", status: 201), Fault("204", status: 204), Fault("206", status: 206), Fault("301", status: 301),
        Fault("302", status: 302), Fault("304", status: 304), Fault("307", status: 307), Fault("400", status: 400),
        Fault("401", status: 401), Fault("403", status: 403), Fault("404", status: 404), Fault("410", status: 410),
        Fault("408", status: 408, .temporarilyUnavailable), Fault("429", status: 429, .temporarilyUnavailable),
        Fault("500", status: 500, .temporarilyUnavailable), Fault("503", status: 503, .temporarilyUnavailable),
        Fault("599", status: 599, .temporarilyUnavailable), Fault("600", status: 600),
        Fault("no type"), Fault("text", type: "text/plain"), Fault("HTML", type: "text/html; charset=utf-8"),
        Fault("javascript", type: "application/javascript"), Fault("almost", type: "application/jsonp"),
        Fault("a suffix", type: "application/ld+json"), Fault("in a parameter", type: "text/html; a=application/json"),
        Fault("keys' type", type: "application/jwk-set+json"),
        Fault("two types", type: "application/json", "text/html"),
        Fault("one type twice", type: "application/json", "application/json"), Fault("empty type", type: ""),
        Fault("hostile type", type: "\"\\\u{e4}"), Fault("no body", "invalid JSON") { $0.put("") },
        Fault("a byte too much", "larger than 524288 bytes") {
            $0.put(Bytes([UInt8](repeating: 0x20, count: ClientMetadata.sizeMax + 1)))
        },
        Fault("not UTF-8", "not valid Unicode") { $0.put(Bytes(Array("{\"a\":\"".utf8) + [0xE4] + Array("\"}".utf8))) },
        Fault("packed", "invalid JSON") { $0.put(Bytes([0x1F, 0x8B, 8, 0])) },
        Fault("another's document", "not the address") { $0.put(Document.web.with("client_id", "\"\(keysURL)\"")) },
        Fault("too large", HTTPClientError.tooLarge, "larger than 524288 bytes", .invalidClientMetadata),
        Fault("a redirect", HTTPClientError.redirectNotAllowed, "redirect not allowed", .invalidClientMetadata),
        Fault("a private address", HTTPClientError.addressNotAllowed, "address not allowed", .invalidClientMetadata),
        Fault(
            "an address that is none", HTTPClientError.invalidURL(.hostNotPublic), "public DNS", .invalidClientMetadata),
        Fault("slow", HTTPClientError.timeout, "too long", .temporarilyUnavailable),
        Fault("down", HTTPClientError.unreachable, "not reachable", .temporarilyUnavailable),
        Fault("a wrong certificate", HTTPClientError.tls, "certificate", .temporarilyUnavailable),
        Fault("no HTTP", HTTPClientError.malformedResponse, "not an HTTP response", .temporarilyUnavailable),
    ]

    @Test(arguments: faults) func aDocumentThatCannotBeHad(_ fault: Fault) throws {
        let test = try Engine.sqlite.migrated()
        let web = Web()
        fault.change(web)
        let error = refusal { _ = try web.resolver(test).client(Self.id) }
        #expect(error?.code == fault.code)
        #expect(error?.description.description.contains(fault.reason) == true, "\(String(describing: error))")
        #expect(isDescription(error?.description ?? ""))
        #expect(web.asked == [Self.id])
        // A moment later it is told the same without asking, in another process too.
        web.put(Document.web)
        web.set { $0.failure = nil }
        #expect(refusal { _ = try web.resolver(try test.reopened()).client(Self.id) } == error)
        #expect(web.asked == [Self.id])
        web.pass(ClientResolver.failureSeconds)
        #expect(try web.resolver(test).client(Self.id).id.bytes == Self.id)
    }

    static let keyFaults: [Fault] = [
        Fault("404", "jwks_uri: status 404") { _ in },
        Fault("a type", "jwks_uri: content type") {
            $0.put(keys, headers: [("content-type", "text/plain")], at: keysURL)
        },
        Fault("no JSON", "jwks_uri: invalid JSON") { $0.put("<a>", at: keysURL) },
        Fault("no keys", "jwks_uri: must have a key") { $0.put(#"{"keys":[]}"#, at: keysURL) },
        Fault("a list", "jwks_uri: not a JSON object") { $0.put("[]", at: keysURL) },
        Fault("a private key", "not public") { $0.put(#"{"keys":[{"kty":"oct","k":"AQ"}]}"#, at: keysURL) },
        Fault("down", "jwks_uri: status 502", .temporarilyUnavailable) { $0.put("", status: 502, at: keysURL) },
    ]

    @Test(arguments: keyFaults) func keysThatCannotBeHad(_ fault: Fault) throws {
        let test = try Engine.sqlite.migrated()
        let web = Web()
        web.put(Document.remote)
        fault.change(web)
        let error = refusal { _ = try web.resolver(test).client(Self.id) }
        #expect(error?.code == fault.code)
        #expect(error?.description.description.contains(fault.reason) == true, "\(String(describing: error))")
        #expect(isDescription(error?.description ?? ""))
    }

    static let notAsked: [Bytes] = [
        "", "http://localhost:3000/a", "https://127.0.0.1/a", "https://[::1]/a",
        "https://169.254.169.254/latest/meta-data",
        "http://app.example.com/a", "https://app.example.com/", "file:///etc/passwd", "https://user@app.example.com/a",
        "http://localhost?a=b", "http://localhost?redirect_uri=https%3A%2F%2Fapp.example.com%2F",
    ]

    @Test(arguments: notAsked) func anIDThatIsNoneAsksNobody(_ id: Bytes) throws {
        let test = try Engine.sqlite.migrated()
        let before = test.writeCount
        let web = Web()
        #expect(refusal { _ = try web.resolver(test).client(id) } != nil)
        #expect(web.asked.isEmpty)
        #expect(test.writeCount == before)
    }

    // MARK: Keeping

    @Test(arguments: Engine.all) func tenMinutesForAllProcesses(_ engine: Engine) throws {
        let test = try engine.migrated()
        let other = try test.reopened()
        let web = Web()
        web.put(Document.remote)
        web.put(Self.keys, at: Self.keysURL)
        let client = try web.resolver(test).client(Self.id)
        #expect(client.keys.map(\.id) == ["one"])
        #expect(web.asked == [Self.id, Bytes(Self.keysURL)])
        web.pass(ClientResolver.freshSeconds - 1)
        web.put(Document.web)
        #expect(try web.resolver(other).client(Self.id) == client)
        #expect(try web.resolver(test).client(Self.id, patience: .outage) == client)
        #expect(web.asked.count == 2)
        web.pass(1)
        #expect(try web.resolver(other).client(Self.id).isPublic)
        #expect(try web.resolver(test).client(Self.id).isPublic)
        #expect(web.asked.count == 3)
    }

    @Test(arguments: Engine.all) func keysHaveAnAgeOfTheirOwn(_ engine: Engine) throws {
        let test = try engine.migrated()
        let web = Web()
        web.put(Document.remote)
        web.put(Self.keys, headers: [("content-type", "application/jwk-set+json; charset=utf-8")], at: Self.keysURL)
        let resolver = web.resolver(test)
        #expect(try resolver.client(Self.id).keys.map(\.id) == ["one"])
        web.put(Bytes(#"{"keys":[\#(Document.otherKey)]}"#), at: Self.keysURL)
        web.pass(300)
        // The same keys elsewhere are other keys.
        web.put(Document.remote.with("jwks_uri", #""https://app.example.com/other.json""#))
        web.put(Bytes(#"{"keys":[\#(Document.otherKey)]}"#), at: "https://app.example.com/other.json")
        #expect(try resolver.client(Self.id).keys.map(\.id) == ["one"])
        web.pass(300)
        #expect(try resolver.client(Self.id).keys.map(\.id) == ["two"])
        #expect(web.asked.last == "https://app.example.com/other.json")
    }

    @Test(arguments: Engine.all) func aNewKeyIsAskedFor(_ engine: Engine) throws {
        let test = try engine.migrated()
        let web = Web()
        web.put(Document.remote)
        web.put(Self.keys, at: Self.keysURL)
        let resolver = web.resolver(test)
        _ = try resolver.client(Self.id)
        web.put(Bytes(#"{"keys":[\#(Document.otherKey)]}"#), at: Self.keysURL)
        // Not at once: who makes names of keys up would make us ask each time.
        #expect(try resolver.client(Self.id, keyID: "two").keys.map(\.id) == ["one"])
        web.pass(ClientResolver.rotationSeconds - 1)
        #expect(try resolver.client(Self.id, keyID: "two").keys.map(\.id) == ["one"])
        web.pass(1)
        #expect(try resolver.client(Self.id, keyID: "one").keys.map(\.id) == ["one"])
        #expect(web.asked.count == 2)
        #expect(try resolver.client(Self.id, keyID: "two").keys.map(\.id) == ["two"])
        #expect(web.asked.count == 4)
        #expect(try resolver.client(Self.id, keyID: "none").keys.map(\.id) == ["two"])
        #expect(web.asked.count == 4)
        web.put(Document.web)
        web.pass(ClientResolver.freshSeconds)
        #expect(try resolver.client(Self.id, keyID: "two").isPublic)
    }

    @Test(arguments: Engine.all) func anOutageEndsNoSession(_ engine: Engine) throws {
        let test = try engine.migrated()
        let web = Web()
        web.put(Document.remote)
        web.put(Self.keys, at: Self.keysURL)
        let resolver = web.resolver(test)
        let client = try resolver.client(Self.id)
        web.set { $0.failure = .unreachable }
        web.pass(ClientResolver.freshSeconds)
        #expect(try resolver.client(Self.id, patience: .outage) == client)
        #expect(refusal { _ = try resolver.client(Self.id) }?.code == .temporarilyUnavailable)
        // It was asked for metadata and keys, and not again for the new request.
        #expect(web.asked.count == 4)
        web.pass(ClientResolver.graceSeconds - 1)
        #expect(try resolver.client(Self.id, patience: .outage) == client)
        web.pass(1)
        #expect(refusal { _ = try resolver.client(Self.id, patience: .outage) }?.code == .temporarilyUnavailable)
        web.set { $0.failure = nil }
        web.pass(ClientResolver.failureSeconds)
        #expect(try resolver.client(Self.id) == client)
    }

    @Test(arguments: Engine.all) func whatIsWithdrawnIsGone(_ engine: Engine) throws {
        let test = try engine.migrated()
        let web = Web()
        web.put(Document.web)
        let resolver = web.resolver(test)
        _ = try resolver.client(Self.id)
        web.pass(ClientResolver.freshSeconds)
        web.put("", status: 404)
        #expect(refusal { _ = try resolver.client(Self.id, patience: .outage) }?.code == .invalidClientMetadata)
        web.pass(ClientResolver.failureSeconds)
        web.set { $0.failure = .unreachable }
        // An outage after that brings nothing back.
        #expect(refusal { _ = try resolver.client(Self.id, patience: .outage) }?.code == .temporarilyUnavailable)
    }

    /// A document that grew hostile does not stay, and one that an older program kept is read by today's rules.
    @Test(arguments: Engine.all) func whatIsKeptIsCheckedAgain(_ engine: Engine) throws {
        let test = try engine.migrated()
        let web = Web()
        let store = ClientStore(database: test)
        try store.save(Document.web.with("scope", #""x""#).json, .metadata, at: Self.id, now: web.clock.now())
        web.put(Document.web)
        #expect(try web.resolver(test).client(Self.id).metadata.scopes == ["atproto", "transition:generic"])
        #expect(web.asked == [Self.id])
    }

    @Test func theNetworkIsAskedOutsideOfTransactions() throws {
        let test = try Engine.sqlite.migrated()
        let web = Web()
        let network = ClientNetwork { (request) throws(HTTPClientError) in
            // Inside a transaction this would wait for itself.
            do { try test.execute("UPDATE counter SET value = value") } catch { throw .unreachable }
            return .init(status: 200, headers: Web.json, body: Document.web.json)
        }
        let resolver = ClientResolver(
            store: ClientStore(database: test), network: network, rules: .strict, clock: web.clock)
        #expect(try resolver.client(Self.id).id.bytes == Self.id)
    }

    @Test func theDevelopmentClientAsksNobody() throws {
        let test = try Engine.sqlite.migrated()
        let before = test.writeCount
        let web = Web()
        #expect(try web.resolver(test).client("http://localhost").id.isLoopback)
        #expect(web.asked.isEmpty)
        #expect(test.writeCount == before)
    }

    // MARK: The store

    @Test(arguments: Engine.all) func theStoreIsBounded(_ engine: Engine) throws {
        let test = try engine.migrated()
        let store = ClientStore(database: test)
        let start = Timestamp(seconds: 1_000)
        func address(_ index: Int) -> Bytes { Bytes("https://\(index).example.com/a") }
        try test.write { writer in
            for index in 0..<ClientStore.countMax {
                // Every second one is a failure.
                let document: Bytes? = index % 2 == 0 ? "{}" : nil
                try writer.run(
                    """
                    INSERT INTO oauth_client_document (address, kind, document, fetched_at, touched_at)
                    VALUES (\(SQL.Value.text(address(index))), 0, \(document), \(start), \(start.adding(seconds: Int64(index))))
                    """)
            }
        }
        let later = start.adding(seconds: 100_000)
        try store.save("{\"a\":1}", .metadata, at: address(5_000), now: later)
        try store.save("{\"a\":1}", .metadata, at: address(0), now: later)
        #expect(try Self.count(test) == ClientStore.countMax)
        #expect(try store.find(.metadata, at: address(1)) == nil)
        #expect(try store.find(.metadata, at: address(0))?.document == "{\"a\":1}")
        #expect(try store.find(.metadata, at: address(3)) != nil)
        try store.saveFailure(
            AuthorizationError(.temporarilyUnavailable, "down"), .keys, at: address(5_001), now: later)
        #expect(try Self.count(test) == ClientStore.countMax)
        #expect(try store.find(.metadata, at: address(3)) == nil)
        #expect(try store.find(.metadata, at: address(2)) != nil)
        #expect(try store.find(.keys, at: address(5_001))?.failure?.code == .temporarilyUnavailable)
        #expect(try store.find(.metadata, at: address(5_001)) == nil)
    }

    @Test(arguments: Engine.all) func theStoreIsTrimmed(_ engine: Engine) throws {
        let test = try engine.migrated()
        let store = ClientStore(database: test)
        let now = Timestamp(seconds: 1_000_000)
        try store.save(
            "{}", .metadata, at: "https://a.example.com/a", now: now.adding(seconds: -ClientStore.keepSeconds))
        try store.save(
            "{}", .metadata, at: "https://b.example.com/a", now: now.adding(seconds: 1 - ClientStore.keepSeconds))
        #expect(try store.trim(now: now) == 1)
        #expect(try store.trim(now: now) == 0)
        #expect(try store.find(.metadata, at: "https://a.example.com/a") == nil)
        #expect(try store.find(.metadata, at: "https://b.example.com/a")?.document == "{}")
    }

    @Test(arguments: Engine.all) func failuresAndDocuments(_ engine: Engine) throws {
        let test = try engine.migrated()
        let store = ClientStore(database: test)
        let address: Bytes = "https://a.example.com/a"
        let (one, two) = (Timestamp(seconds: 1), Timestamp(seconds: 2))
        let outage = AuthorizationError(.temporarilyUnavailable, "down")
        let wrong = AuthorizationError(.invalidClientMetadata, "wrong")
        #expect(try store.find(.metadata, at: address) == nil)
        try store.save("{}", .metadata, at: address, now: one)
        #expect(
            try store.find(.metadata, at: address)
                == .init(document: "{}", fetchedAt: one, failure: nil, failedAt: nil))
        try store.saveFailure(outage, .metadata, at: address, now: two)
        #expect(
            try store.find(.metadata, at: address)
                == .init(document: "{}", fetchedAt: one, failure: outage, failedAt: two))
        try store.saveFailure(wrong, .metadata, at: address, now: two)
        #expect(
            try store.find(.metadata, at: address)
                == .init(document: nil, fetchedAt: nil, failure: wrong, failedAt: two))
        try store.save("{}", .metadata, at: address, now: two)
        #expect(
            try store.find(.metadata, at: address)
                == .init(document: "{}", fetchedAt: two, failure: nil, failedAt: nil))
        #expect(try store.find(.keys, at: address) == nil)
    }

    private static func count(_ database: any Database) throws -> Int {
        try database.first("SELECT count(*) FROM oauth_client_document") { try $0.integer(0) } ?? 0
    }
}
