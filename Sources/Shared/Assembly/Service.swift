internal import ATProto
public import Accounts
public import Base
public import Hosting
public import Identity
internal import Lexicons
internal import Mail
public import Moderation
internal import Net
public import Repos
public import Storage

/// The domains of the product, put together from the settings: what the responders and the tool both work on.
public struct Service: Sendable {
    public let settings: Settings
    public let names: Names
    public let paths: Paths
    public let database: any MigratableDatabase
    public let accounts: AccountStore
    public let invites: InviteStore
    public let life: AccountLife
    public let mail: AccountMail
    public let keys: KeyStore
    public let resolver: Resolver
    public let repos: RepoStore
    public let records: RecordStore
    public let blobs: BlobStore
    public let imports: RepoImporter
    public let quota: StorageQuota
    public let events: EventStore
    public let administration: Administration
    public let adminLog: AdminLog
    public let reports: ReportDesk
    let lexicons: LexiconCatalog
    let lexiconUpdates: LexiconUpdates
    let serviceKeys: Keys
    let serviceDID: DID
    let clock = Clock.system
    let entropy = Entropy.system
    let log: Log

    /// Opens everything. Throws `StorageError.schemaVersion` unless the schema is this program's, `Keys.Missing`
    /// without keys, and what files and the database throw.
    public init(_ settings: Settings, log: Log) throws {
        self.settings = settings
        self.log = log
        names = Names(settings)
        paths = Paths(settings)
        guard let serviceDID = DID(names.serviceDID) else { throw Settings.Invalid(problems: ["SKYSTEAD_HOST"]) }
        self.serviceDID = serviceDID
        serviceKeys = try Keys.load(settings, paths)
        database = try Databases.openForService(settings, paths, log: log)

        quota = Self.quota(settings)
        accounts = AccountStore(database: database)
        invites = InviteStore(database: database, host: names.host, entropy: entropy)
        let keys = KeyStore(database: database, sealer: serviceKeys.sealer, entropy: entropy)
        self.keys = keys
        events = EventStore(database: database, clock: clock)
        repos = RepoStore(
            database: database, events: events, tids: TIDMaker(clockID: try Self.clockID(entropy)), clock: clock,
            archive: Self.archive(paths, clock), quota: quota,
            keys: { did, reader in try keys.key(of: did, in: reader) })
        records = RecordStore(database: database)
        blobs = try BlobParts.store(settings, paths, database, clock)
        imports = try RepoImporter(
            repos: repos, directory: paths.imports, sizeMax: settings[Settings.importSizeMax])

        mail = AccountMail(
            database: database, accounts: accounts,
            tokens: AccountTokenStore(
                database: database, key: serviceKeys.codes, sealer: serviceKeys.mail, entropy: entropy),
            queue: MailQueue(database: database, sealer: serviceKeys.mail, entropy: entropy), host: names.host,
            clock: clock, entropy: entropy)

        let network = Self.network(settings)
        let directory = PLCDirectory(url: settings[Settings.plcURL], network: network)
        resolver = Resolver(database: database, directory: directory, network: network, clock: clock)
        lexicons = try LexiconParts.catalog(settings, database, clock)
        lexiconUpdates = LexiconParts.updates(settings, database, resolver, clock)
        life = AccountLife(
            stores: AccountLife.Stores(
                database: database, accounts: accounts, invites: invites, keys: keys, repos: repos, events: events,
                blobs: blobs),
            directory: directory, resolver: resolver, policy: HandlePolicy(domains: names.handleDomains),
            settings: AccountLife.Settings(
                publicURL: names.publicURL, inviteCodeRequired: settings[Settings.inviteRequired],
                rotationKey: serviceKeys.rotation),
            clock: clock, entropy: entropy, log: log)
        adminLog = AdminLog(database: database, clock: clock)
        administration = Administration(life: life, log: adminLog)
        let client = Outbound.client(settings)
        reports = ReportDesk(
            reports: ReportStore(database: database, clock: clock), keys: keys, resolver: resolver,
            labeler: Self.labeler(settings), send: { try client.send($0).status }, clock: clock, entropy: entropy,
            log: log)
    }

    /// Who hears of reports: the report service, else the moderation service, else nobody.
    private static func labeler(_ settings: Settings) -> ReportDesk.Labeler? {
        let pairs = [
            (settings[Settings.reportServiceDID], settings[Settings.reportServiceURL]),
            (settings[Settings.moderationDID], settings[Settings.moderationURL]),
        ]
        for case (let did?, let url?) in pairs {
            if let did = DID(did) { return ReportDesk.Labeler(did: did, url: url) }
        }
        return nil
    }

    /// What an account may take up: no bound where the setting is 0.
    static func quota(_ settings: Settings) -> StorageQuota {
        func bound(_ setting: Setting<Int>) -> Int? { settings[setting] == 0 ? nil : settings[setting] }
        return StorageQuota(soft: bound(Settings.quotaSoft), hard: bound(Settings.quotaHard))
    }

    /// Which of the 1,024 clocks of the TID specification this process is: processes that write at the same time
    /// should differ, and need not (a revision is always greater than the one before).
    private static func clockID(_ entropy: Entropy) throws -> Int {
        let bytes = try entropy.bytes(2)
        return Int(bytes[0]) << 8 | Int(bytes[1])
    }

    /// Kept repositories, with the group of the blobs' directory: the web server reads both.
    static func archive(_ paths: Paths, _ clock: Clock) -> RepoArchive? {
        RepoArchive(directory: paths.cars, beside: paths.blobs, clock: clock, entropy: .system)
    }

    static func network(_ settings: Settings) -> IdentityNetwork {
        let client = Outbound.client(settings)
        let dns = DNSResolver(servers: settings[Settings.dnsServers])
        return IdentityNetwork(
            send: { request in
                let response = try client.send(request)
                return IdentityNetwork.Answer(status: response.status, body: Bytes(response.body))
            },
            lookUp: { name in try dns.txt(name) })
    }
}
