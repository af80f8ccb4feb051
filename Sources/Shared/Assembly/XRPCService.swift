internal import ATProto
internal import Accounts
public import Base
internal import Storage
public import Web
internal import XRPCHandlers

/// `skystead-fcgi xrpc`: the responder for `/xrpc/*` and the well-known files.
public struct XRPCService: Sendable {
    public let responder: Responder

    /// Where conf/nginx and conf/caddy have the blobs, behind `X-Accel-Redirect`.
    private static let blobInternalPath: Bytes = "/_blobs/"

    /// Opens everything that `Service` does, and throws what it throws.
    public init(_ settings: Settings, log: Log) throws {
        let service = try Service(settings, log: log)
        let tokens = SessionTokens(key: service.serviceKeys.sessions, service: service.serviceDID)
        let database: any Database = service.database
        var surface = XRPCSettings(
            version: Bytes(Version.text), serviceDID: service.serviceDID,
            handleDomains: service.names.handleDomains, inviteCodeRequired: settings[Settings.inviteRequired],
            blobSizeMax: settings[Settings.blobSizeMax], privacyPolicyURL: settings[Settings.privacyPolicyURL],
            termsOfServiceURL: settings[Settings.termsOfServiceURL],
            contactEmail: settings[Settings.contactEmail], adminPassword: settings[Settings.adminPassword])
        surface.blobInternalPath = Self.blobInternalPath
        let app = XRPCApp(
            settings: surface,
            clock: service.clock, entropy: service.entropy, log: log,
            limits: settings[Settings.rateLimits] ? Limiter(BudgetStore(database)) : .unlimited,
            accounts: service.accounts,
            sessions: try SessionStore(
                database: database, tokens: tokens, clock: service.clock, entropy: service.entropy),
            appPasswords: AppPasswordStore(database: database, entropy: service.entropy), invites: service.invites,
            preferences: PreferenceStore(database: database), keys: service.keys, resolver: service.resolver,
            life: service.life, repos: service.repos, records: service.records, blobs: service.blobs,
            lexicons: service.lexicons, lexiconUpdates: service.lexiconUpdates)
        let home = HomeResponder(app: app)
        responder = { home.respond(to: $0) }
    }
}
