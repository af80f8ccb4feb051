import ATProto
import Accounts
import Base
import Crypto
import Foundation
import Hosting
import Identity
import Lexicons
import Mail
import Moderation
import Net
import Repos
import Storage
import TestSupport
import Testing
import Web
import XRPCHandlers

/// A whole server in this process, with the test's database, clock, randomness and network.
struct World {
    let test: TestDatabase
    let moment: Guarded<Timestamp>
    let network: FakeNetwork
    let upstream: FakeUpstream
    let app: XRPCApp
    let log: Guarded<[String]>
    private let blobs: TestDirectory

    static let host = "home.test"
    static let start = Timestamp(seconds: 1_750_000_000)
    static let rotationKey = Secret([UInt8](repeating: 5, count: 32))

    init(
        _ engine: Engine, limits: Bool = false, invites: Bool = false, appView: Upstream.AppView? = nil, lanes: Int = 4,
        policy: LexiconPolicy = .standard
    ) throws {
        test = try engine.migrated()
        blobs = try TestDirectory()
        network = FakeNetwork()
        let upstream = FakeUpstream()
        self.upstream = upstream
        let moment = Guarded(Self.start)
        self.moment = moment
        let clock = Clock { moment.withLock { $0 } }
        let entropy = Entropy.seeded(1)
        let lines = Guarded<[String]>([])
        log = lines
        let log = Log { line in lines.withLock { $0.append(String(decoding: line, as: UTF8.self)) } }
        let database: any Database = test
        let service = DID("did:web:\(Self.host)")!

        let keys = KeyStore(
            database: database, sealer: try Sealer(key: Secret([UInt8](repeating: 9, count: 32))), entropy: entropy)
        let accounts = AccountStore(database: database)
        let invitations = InviteStore(database: database, host: Bytes(Self.host), entropy: entropy)
        let events = EventStore(database: database, clock: clock)
        let repos = RepoStore(
            database: database, events: events, tids: TIDMaker(clockID: 1), clock: clock,
            keys: { did, reader in try keys.key(of: did, in: reader) })
        let directory = PLCDirectory(url: FakeNetwork.directory, network: network.network)
        let resolver = Resolver(database: database, directory: directory, network: network.network, clock: clock)
        var settings = XRPCSettings(
            version: "1.2.3", serviceDID: service, handleDomains: [Bytes(Self.host)], inviteCodeRequired: invites,
            contactEmail: "admin@home.test", adminPassword: Secret(Array("admin password".utf8)))
        settings.moderationDID = Self.moderation
        let blobStore = try BlobStore(
            database: database, clock: clock, directory: blobs.path, sizeMax: settings.blobSizeMax)
        let life = AccountLife(
            stores: AccountLife.Stores(
                database: database, accounts: accounts, invites: invitations, keys: keys, repos: repos,
                events: events, blobs: blobStore),
            directory: directory, resolver: resolver, policy: HandlePolicy(domains: settings.handleDomains),
            settings: AccountLife.Settings(
                publicURL: Bytes("https://\(Self.host)"), inviteCodeRequired: invites,
                rotationKey: try SigningKey(algorithm: .k256, secret: Self.rotationKey)),
            clock: clock, entropy: entropy, log: log)
        let mailSealer = try Sealer(key: Secret([UInt8](repeating: 3, count: 32)))
        let mail = AccountMail(
            database: database, accounts: accounts,
            tokens: AccountTokenStore(
                database: database, key: Secret([UInt8](repeating: 4, count: 32)), sealer: mailSealer,
                entropy: entropy),
            queue: MailQueue(database: database, sealer: mailSealer, entropy: entropy), host: Bytes(Self.host),
            clock: clock, entropy: entropy)
        app = XRPCApp(
            settings: settings, clock: clock, entropy: entropy, log: log,
            limits: limits ? Limiter(BudgetStore(database)) : .unlimited, accounts: accounts,
            sessions: try SessionStore(
                database: database,
                tokens: SessionTokens(key: Secret([UInt8](repeating: 7, count: 32)), service: service), clock: clock,
                entropy: entropy),
            appPasswords: AppPasswordStore(database: database, entropy: entropy), invites: invitations,
            preferences: PreferenceStore(database: database), keys: keys, resolver: resolver, life: life, mail: mail,
            repos: repos, records: RecordStore(database: database), blobs: blobStore,
            imports: try RepoImporter(repos: repos, directory: blobs.path + "/import", sizeMax: 1 << 20),
            upstream: Upstream(appView: appView, lanes: lanes) { request throws(HTTPClientError) in
                try upstream.open(request)
            },
            takedowns: TakedownStore(database: database), labels: LabelStore(database: database),
            administration: Administration(life: life, log: AdminLog(database: database, clock: clock)),
            reports: ReportDesk(
                reports: ReportStore(database: database, clock: clock), keys: keys, resolver: resolver,
                labeler: ReportDesk.Labeler(did: Self.moderation, url: "https://mod.example.com"),
                send: { [network] in try network.send($0) }, clock: clock, entropy: entropy, log: log),
            lexicons: LexiconCatalog(store: LexiconStore(database: database), policy: policy, clock: clock),
            lexiconUpdates: LexiconUpdates(
                store: LexiconStore(database: database), resolver: LexiconResolver(network: network.lexicons(resolver)),
                clock: clock))
    }

    /// The moderation service that this server trusts.
    static let moderation = DID("did:web:mod.example.com")!

    /// Files of blobs that there are.
    var blobFiles: [String] {
        let names = FileManager.default.enumerator(atPath: blobs.path)?.compactMap { $0 as? String } ?? []
        return names.filter { $0.contains("/") && !$0.hasPrefix("tmp/") }.sorted()
    }

    func advance(_ seconds: Int64) { moment.withLock { $0 = $0.adding(seconds: seconds) } }

    struct NoMail: Error {}

    /// The code of the mail of `kind` that waits for an account, as its reader finds it: on a line of its own. It is
    /// then handed over, as the worker does. Also asks that the mail is to the account's own address.
    func mailedCode(_ kind: String, _ did: DID) throws -> String {
        var found: String?
        while let mail = try app.mail.queue.claim(now: clock.now()) {
            guard mail.account == did, mail.kind == Bytes(kind),
                mail.recipient.bytes == (try app.accounts.find(did)?.email)
            else { continue }
            found = mail.text.text.split(on: 0x0A).first { $0.starts(with: "    ") }?.trimming(" ").description
            try app.mail.queue.sent(mail, now: clock.now()) { try AccountMail.wasSent(mail, at: clock.now(), in: $0) }
        }
        guard let found else { throw NoMail() }
        return found
    }

    var clock: Clock { Clock { [moment] in moment.withLock { $0 } } }

    /// A request as the host would make it. `headers` are in lower case.
    func request(
        _ method: HTTPMethod, _ target: String, headers: [(String, String)] = [], body: [UInt8] = [],
        host: String = host
    ) throws -> Request {
        let (path, query) = try RequestTarget.split(Bytes(target))
        var fields = Headers()
        for (name, value) in headers { fields.append(Bytes(name), Bytes(value)) }
        return Request(
            method: method, path: path, query: query, headers: fields, host: Bytes(host), isSecure: true,
            peer: "192.0.2.7", id: "request-1", contentLength: body.isEmpty ? nil : body.count,
            body: BytesBody(Bytes(body)))
    }

    /// The answer, held against the method's lexicon.
    func respond(_ request: Request) -> Response {
        let response = HomeResponder(app: app).respond(to: request)
        if request.path.starts(with: "/xrpc/"), request.method == .get || request.method == .post {
            let nsid = request.path.from(6)
            if let fault = Contract.fault(nsid, response) { Issue.record("\(nsid) \(response.status): \(fault)") }
        }
        return response
    }

    /// A JSON call and its answer's body.
    func call(
        _ method: HTTPMethod, _ nsid: String, token: String? = nil, json: String? = nil
    ) throws -> (status: Int, body: String) {
        var headers: [(String, String)] = []
        if let token { headers.append(("authorization", "Bearer \(token)")) }
        if json != nil { headers.append(("content-type", "application/json")) }
        let response = respond(
            try request(method, "/xrpc/\(nsid)", headers: headers, body: Array((json ?? "").utf8)))
        guard case .bytes(let bytes) = response.body else { return (response.status, "") }
        return (response.status, String(decoding: bytes, as: UTF8.self))
    }
}
