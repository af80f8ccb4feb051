import ATProto
import Accounts
import AdminHandlers
import Base
import Crypto
import Hosting
import Identity
import Mail
import Moderation
import Relays
import Repos
import Storage
import TestSupport
import Web

/// The administrator's pages over a fresh database, with a clock that tests move. No network: nothing here asks for it.
struct World {
    let test: TestDatabase
    let moment: Guarded<Timestamp>
    let accounts: AccountStore
    let invites: InviteStore
    let repos: RepoStore
    let sessions: AdminSessionStore
    let mail: MailQueue
    let reports: ReportStore
    let crawlers: CrawlerStore
    let responder: AdminResponder
    let log: Guarded<[String]>
    private let files: TestDirectory

    static let host = "home.test"
    static let password = "the operator's"

    struct NoNetwork: Error {}

    init(_ engine: Engine, password: String? = password, limits: Bool = false) throws {
        test = try engine.migrated()
        files = try TestDirectory()
        let database: any Database = test
        let moment = Guarded(Timestamp(seconds: 1_750_000_000))
        self.moment = moment
        let clock = Clock { moment.withLock { $0 } }
        let entropy = Entropy.seeded(1)
        let lines = Guarded<[String]>([])
        log = lines
        let log = Log { line in lines.withLock { $0.append(String(decoding: line, as: UTF8.self)) } }
        let keys = KeyStore(
            database: database, sealer: try Sealer(key: Secret([UInt8](repeating: 9, count: 32))), entropy: entropy)
        accounts = AccountStore(database: database)
        invites = InviteStore(database: database, host: Bytes(Self.host), entropy: entropy)
        let events = EventStore(database: database, clock: clock)
        repos = RepoStore(
            database: database, events: events, tids: TIDMaker(clockID: 1), clock: clock,
            keys: { did, reader in try keys.key(of: did, in: reader) })
        let network = IdentityNetwork(send: { _ in throw NoNetwork() }, lookUp: { _ in throw NoNetwork() })
        let directory = PLCDirectory(url: "https://plc.test", network: network)
        let life = AccountLife(
            stores: AccountLife.Stores(
                database: database, accounts: accounts, invites: invites, keys: keys, repos: repos, events: events,
                blobs: try BlobStore(database: database, clock: clock, directory: files.path, sizeMax: 1_000)),
            directory: directory,
            resolver: Resolver(database: database, directory: directory, network: network, clock: clock),
            policy: HandlePolicy(domains: [Bytes(Self.host)]),
            settings: AccountLife.Settings(
                publicURL: Bytes("https://\(Self.host)"), inviteCodeRequired: true,
                rotationKey: try SigningKey(algorithm: .k256, secret: Secret([UInt8](repeating: 5, count: 32)))),
            clock: clock, entropy: entropy, log: log)
        let mailSealer = try Sealer(key: Secret([UInt8](repeating: 8, count: 32)))
        mail = MailQueue(database: database, sealer: mailSealer, entropy: entropy)
        reports = ReportStore(database: database, clock: clock)
        crawlers = CrawlerStore(database: database)
        sessions = AdminSessionStore(
            database: database, password: password.map { Secret(Array($0.utf8)) }, clock: clock, entropy: entropy)
        responder = AdminResponder(
            app: AdminApp(
                settings: AdminSettings(
                    version: "1.2.3", host: Bytes(Self.host), inviteCodeRequired: true, sendsMail: false),
                clock: clock, log: log, budgets: limits ? BudgetStore(database) : nil, sessions: sessions,
                accounts: accounts, invites: invites,
                administration: Administration(
                    life: life,
                    mail: AccountMail(
                        database: database, accounts: accounts,
                        tokens: AccountTokenStore(
                            database: database, key: Secret([UInt8](repeating: 4, count: 32)), sealer: mailSealer,
                            entropy: entropy),
                        queue: mail, host: Bytes(Self.host), clock: clock, entropy: entropy),
                    log: AdminLog(database: database, clock: clock)),
                repos: repos, events: events, mail: mail, reports: reports,
                acts: AdminLog(database: database, clock: clock), crawlers: crawlers))
    }

    func advance(_ seconds: Int64) { moment.withLock { $0 = $0.adding(seconds: seconds) } }

    /// What the log of administration says of an account, the newest first.
    func log(of did: DID) throws -> [String] {
        let log = AdminLog(database: test, clock: Clock { moment.withLock { $0 } })
        return try log.list(subject: did.bytes, limit: 100).map { "\($0.actor) \($0.action)" }
    }

    /// An account with an empty repository, made without a directory.
    @discardableResult func makeAccount(_ name: String) throws -> DID {
        let did = DID("did:web:\(name).home.test")!
        let key = try SigningKey(algorithm: .k256, secret: Secret([UInt8](repeating: 3, count: 32)))
        let new = AccountStore.New(
            did: did, handle: Handle("\(name).home.test")!, email: Bytes("\(name)@example.com"), password: "x",
            createdAt: moment.withLock { $0 })
        try test.write { writer in
            try AccountStore.insert(new, in: writer)
            _ = try repos.create(did, key: key, in: writer)
        }
        return did
    }

    struct Answer {
        let status: Int
        let headers: [String: String]
        let body: String
    }

    func ask(
        _ method: HTTPMethod, _ target: String, _ headers: [(String, String)] = [], body: String = "",
        host: String = host
    )
        throws -> Answer
    {
        let (path, query) = try RequestTarget.split(Bytes(target))
        var fields = Headers()
        for (name, value) in headers { fields.append(Bytes(name), Bytes(value)) }
        let response = responder.respond(
            to: Request(
                method: method, path: path, query: query, headers: fields, host: Bytes(host), isSecure: true,
                peer: "192.0.2.7", id: "request-1", contentLength: body.isEmpty ? nil : body.utf8.count,
                body: BytesBody(Bytes(body))))
        var found: [String: String] = [:]
        for (name, value) in response.headers { found["\(name)".lowercased()] = value.bytes.description }
        guard case .bytes(let bytes) = response.body else {
            return Answer(status: response.status, headers: found, body: "")
        }
        return Answer(status: response.status, headers: found, body: String(decoding: bytes, as: UTF8.self))
    }

    static let formHeaders = [
        ("content-type", "application/x-www-form-urlencoded"), ("origin", "https://home.test"),
        ("sec-fetch-site", "same-origin"),
    ]

    /// Signs in and returns the cookie.
    func signIn() throws -> String {
        let answer = try ask(.post, "/admin/sign-in", Self.formHeaders, body: "password=the+operator's")
        return String(answer.headers["set-cookie"]!.split(separator: ";")[0])
    }

    /// The hidden token of a page's forms.
    func formToken(_ page: String) -> String {
        String(page.firstMatch(of: #/name="form_token" value="([^"]+)"/#)?.1 ?? "none")
    }
}
