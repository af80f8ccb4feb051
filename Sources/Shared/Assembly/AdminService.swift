internal import Accounts
internal import AdminHandlers
public import Base
internal import Hosting
internal import Mail
internal import Moderation
internal import Relays
public import Web

/// `skystead-fcgi admin`: the administrator's pages.
public struct AdminService: Sendable {
    public let responder: Responder

    /// Opens everything that `Service` does, and throws what it throws.
    public init(_ settings: Settings, log: Log) throws {
        let service = try Service(settings, log: log)
        let app = AdminApp(
            settings: AdminSettings(
                version: Bytes(Version.text), host: service.names.host,
                inviteCodeRequired: settings[Settings.inviteRequired], sendsMail: settings[Settings.smtpURL] != nil),
            clock: service.clock, log: log,
            budgets: settings[Settings.rateLimits] ? BudgetStore(service.database) : nil,
            sessions: AdminSessionStore(
                database: service.database, password: settings[Settings.adminPassword], clock: service.clock,
                entropy: service.entropy),
            accounts: service.accounts, invites: service.invites, administration: service.administration,
            repos: service.repos, events: service.events, mail: service.mail.queue, reports: service.reports.reports,
            acts: AdminLog(database: service.database, clock: service.clock),
            crawlers: CrawlerStore(database: service.database))
        let pages = AdminResponder(app: app)
        responder = { pages.respond(to: $0) }
    }
}
