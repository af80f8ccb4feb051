internal import ATProto
internal import Accounts
public import Base
internal import Moderation
internal import Net
internal import Repos
internal import Storage
public import Web
internal import XRPCHandlers

/// `skystead-fcgi xrpc`: the responder for `/xrpc/*` and the well-known files.
public struct XRPCService: Sendable {
    public let responder: Responder

    /// Where conf/nginx and conf/caddy have blobs and kept repositories, behind `X-Accel-Redirect`.
    private static let blobInternalPath: Bytes = "/_blobs/"
    private static let archiveInternalPath: Bytes = "/_cars/"

    /// Opens everything that `Service` does, and throws what it throws and `Settings.Invalid` for an AppView that can't
    /// be asked.
    public init(_ settings: Settings, log: Log, metrics: Metrics) throws {
        let service = try Service(settings, log: log)
        Observability.register(metrics, process: "xrpc", service.database)
        Observability.register(metrics, service.blobs)
        Observability.registerQueues(metrics, service)
        let tokens = SessionTokens(key: service.serviceKeys.sessions, service: service.serviceDID)
        let database: any Database = service.database
        var surface = XRPCSettings(
            version: Bytes(Version.text), serviceDID: service.serviceDID,
            handleDomains: service.names.handleDomains, inviteCodeRequired: settings[Settings.inviteRequired],
            blobSizeMax: settings[Settings.blobSizeMax], privacyPolicyURL: settings[Settings.privacyPolicyURL],
            termsOfServiceURL: settings[Settings.termsOfServiceURL],
            contactEmail: settings[Settings.contactEmail], adminPassword: settings[Settings.adminPassword])
        surface.blobInternalPath = Self.blobInternalPath
        surface.moderationDID = settings[Settings.moderationDID].flatMap { DID($0) }
        surface.archiveInternalPath = Self.archiveInternalPath
        surface.sendsMail = settings[Settings.smtpURL] != nil
        var app = XRPCApp(
            settings: surface,
            clock: service.clock, entropy: service.entropy, log: log,
            limits: settings[Settings.rateLimits] ? Limiter(BudgetStore(database)) : .unlimited,
            accounts: service.accounts,
            sessions: try SessionStore(
                database: database, tokens: tokens, clock: service.clock, entropy: service.entropy),
            appPasswords: AppPasswordStore(database: database, entropy: service.entropy), invites: service.invites,
            preferences: PreferenceStore(database: database), keys: service.keys, resolver: service.resolver,
            life: service.life, mail: service.mail, repos: service.repos, records: service.records,
            blobs: service.blobs, imports: service.imports, upstream: try Self.upstream(settings),
            takedowns: TakedownStore(database: database), labels: LabelStore(database: database),
            administration: service.administration, reports: service.reports, lexicons: service.lexicons,
            lexiconUpdates: service.lexiconUpdates)
        if settings[Settings.rateLimits] {
            app.calls = CallBudgets(app.limits, exempt: Set(settings[Settings.rateLimitsExempt]))
        }
        metrics.register { [metrics = app.upstream.metrics] in metrics.write(to: &$0) }
        if !surface.sendsMail {
            log.warning(
                "mail.off",
                [
                    "problem": "no mail is sent: SKYSTEAD_SMTP_URL is not set",
                    "remedy": "set it; until then codes are in `skystead mail queue --codes`",
                ])
        }
        let home = HomeResponder(app: app)
        responder = { home.respond(to: $0) }
    }

    private static func upstream(_ settings: Settings) throws -> Upstream {
        let client = Outbound.client(settings)
        var appView: Upstream.AppView?
        if let origin = settings[Settings.appViewURL], let text = settings[Settings.appViewDID] {
            do throws(HTTPClientError) { try client.check(origin) } catch {
                throw Settings.Invalid(problems: ["\(Settings.appViewURL.key) can't be asked: \(error)"])
            }
            guard let did = DID(text) else {
                throw Settings.Invalid(problems: ["\(Settings.appViewDID.key) is not a DID"])
            }
            appView = Upstream.AppView(did: did, origin: origin, imageURL: settings[Settings.appViewImageURL])
        }
        // A quarter of the threads never waits for others.
        let lanes = settings[Settings.threads] * 3 / 4
        return Upstream(appView: appView, lanes: lanes) { request throws(HTTPClientError) in try client.open(request) }
    }
}
