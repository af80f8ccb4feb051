public import Accounts
public import Base
public import Hosting
public import Mail
public import Moderation
public import Relays
public import Repos
public import Web

/// What the administrator's pages work on. Made once, at start; a new page's stores are added here.
public struct AdminApp: Sendable {
    public let settings: AdminSettings
    public let clock: Clock
    public let log: Log
    /// Sign-in attempts are counted here; nil for no limits.
    public let budgets: BudgetStore?
    public let sessions: AdminSessionStore
    public let accounts: AccountStore
    public let invites: InviteStore
    public let administration: Administration
    public let repos: RepoStore
    public let events: EventStore
    public let mail: MailQueue
    public let reports: ReportStore
    public let acts: AdminLog
    public let crawlers: CrawlerStore

    public init(
        settings: AdminSettings, clock: Clock, log: Log, budgets: BudgetStore?, sessions: AdminSessionStore,
        accounts: AccountStore, invites: InviteStore, administration: Administration, repos: RepoStore,
        events: EventStore, mail: MailQueue, reports: ReportStore, acts: AdminLog, crawlers: CrawlerStore
    ) {
        self.settings = settings
        self.clock = clock
        self.log = log
        self.budgets = budgets
        self.sessions = sessions
        self.accounts = accounts
        self.invites = invites
        self.administration = administration
        self.repos = repos
        self.events = events
        self.mail = mail
        self.reports = reports
        self.acts = acts
        self.crawlers = crawlers
    }
}

/// What the pages say about the server.
public struct AdminSettings: Sendable {
    public var version: Bytes
    /// The service's host: the pages answer there and nowhere else, never on a handle's host.
    public var host: Bytes
    public var inviteCodeRequired: Bool
    /// Whether there is a mail server.
    public var sendsMail: Bool

    public init(version: Bytes, host: Bytes, inviteCodeRequired: Bool, sendsMail: Bool) {
        self.version = version
        self.host = host
        self.inviteCodeRequired = inviteCodeRequired
        self.sendsMail = sendsMail
    }
}
