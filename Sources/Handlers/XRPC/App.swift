public import ATProto
public import Accounts
public import Base
public import Hosting
public import Identity
public import Lexicons
public import Moderation
public import Repos
public import Web

/// What the XRPC methods work on. Made once, at start; a new domain adds its stores here.
public struct XRPCApp: Sendable {
    public let settings: XRPCSettings
    public let clock: Clock
    public let entropy: Entropy
    public let log: Log
    public let limits: Limiter
    /// What one address may call in all; nil: as much as it likes.
    public var calls: CallBudgets?

    public let accounts: AccountStore
    public let sessions: SessionStore
    public let appPasswords: AppPasswordStore
    public let invites: InviteStore
    public let preferences: PreferenceStore
    public let keys: KeyStore
    public let resolver: Resolver
    public let handlePolicy: HandlePolicy
    public let life: AccountLife
    public let mail: AccountMail
    public let repos: RepoStore
    public let records: RecordStore
    public let blobs: BlobStore
    public let imports: RepoImporter
    public let lexicons: LexiconCatalog
    public let lexiconUpdates: LexiconUpdates
    public let upstream: Upstream
    public let takedowns: TakedownStore
    public let labels: LabelStore
    public let administration: Administration
    public let reports: ReportDesk

    public init(
        settings: XRPCSettings, clock: Clock, entropy: Entropy, log: Log, limits: Limiter, accounts: AccountStore,
        sessions: SessionStore, appPasswords: AppPasswordStore, invites: InviteStore, preferences: PreferenceStore,
        keys: KeyStore, resolver: Resolver, life: AccountLife, mail: AccountMail, repos: RepoStore,
        records: RecordStore, blobs: BlobStore, imports: RepoImporter, upstream: Upstream, takedowns: TakedownStore,
        labels: LabelStore, administration: Administration, reports: ReportDesk, lexicons: LexiconCatalog,
        lexiconUpdates: LexiconUpdates
    ) {
        self.settings = settings
        self.clock = clock
        self.entropy = entropy
        self.log = log
        self.limits = limits
        self.accounts = accounts
        self.sessions = sessions
        self.appPasswords = appPasswords
        self.invites = invites
        self.preferences = preferences
        self.keys = keys
        self.resolver = resolver
        self.life = life
        self.mail = mail
        self.repos = repos
        self.records = records
        self.blobs = blobs
        self.imports = imports
        self.lexicons = lexicons
        self.lexiconUpdates = lexiconUpdates
        self.upstream = upstream
        self.takedowns = takedowns
        self.labels = labels
        self.administration = administration
        self.reports = reports
        handlePolicy = HandlePolicy(domains: settings.handleDomains)
    }

    func checkHealth() throws { try accounts.checkHealth() }
}

/// What the operator has said about the XRPC surface.
public struct XRPCSettings: Sendable {
    /// The program's version, in `_health`.
    public var version: Bytes
    /// The server's own DID, `did:web:<host>`.
    public var serviceDID: DID
    /// This server's name as a service.
    var service: Bytes { serviceDID.bytes + "#atproto_pds" }
    /// Where handles are given out, without the leading dot: `home.example`.
    public var handleDomains: [Bytes]
    public var inviteCodeRequired: Bool
    /// Bytes that uploadBlob takes.
    public var blobSizeMax: Int
    /// The web server's internal location of the blobs' directory, ending in `/`: it then sends the files itself.
    /// Without one the bytes pass through the responder.
    public var blobInternalPath: Bytes?
    /// The same for the directory of kept repositories.
    public var archiveInternalPath: Bytes?
    public var privacyPolicyURL: Bytes?
    public var termsOfServiceURL: Bytes?
    public var contactEmail: Bytes?
    /// The password of `admin` in Basic credentials; without one the administrator's methods are closed.
    public var adminPassword: Secret?
    /// Whether there is a mail server: codes wait for one, messages are refused without.
    public var sendsMail = false
    /// The moderation service whose tokens the moderators' methods take.
    public var moderationDID: DID?

    public init(
        version: Bytes, serviceDID: DID, handleDomains: [Bytes], inviteCodeRequired: Bool = true,
        blobSizeMax: Int = 5_242_880, privacyPolicyURL: Bytes? = nil, termsOfServiceURL: Bytes? = nil,
        contactEmail: Bytes? = nil, adminPassword: Secret? = nil
    ) {
        self.version = version
        self.serviceDID = serviceDID
        self.handleDomains = handleDomains
        self.inviteCodeRequired = inviteCodeRequired
        self.blobSizeMax = blobSizeMax
        self.privacyPolicyURL = privacyPolicyURL
        self.termsOfServiceURL = termsOfServiceURL
        self.contactEmail = contactEmail
        self.adminPassword = adminPassword
    }
}
