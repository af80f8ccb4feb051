// What a token of an OAuth client may do here: the rule of a method, the facts of a call and what was granted make one
// decision. A pure table, but for the two functions at the end that gather the facts.

public import ATProto
public import Authorization
public import Base
internal import Hosting
internal import Repos
internal import Web

/// What decides about a call beyond its method.
public enum ScopeFacts: Sendable {
    /// Nothing: the method's name says it all.
    case none
    /// A write to one collection.
    case record(NSID)
    /// Every write of a call, each with what it does.
    case writes([(action: RepoAction, collection: NSID)])
    /// The media type of a file, without parameters.
    case upload(Bytes)
    /// A call to another service, `did#service` or a DID alone, or a token for it; without a method it is for all.
    case call(method: Bytes?, audience: Bytes)
}

/// Whether a token will do.
public enum ScopeDecision: Sendable, Equatable {
    case allowed
    /// The first permission that it lacks.
    case missing(PermissionNeed)
    /// No token would do.
    case refused
}

extension OAuthRule {
    /// What a token needs for a call of such a method, all of it; nil when no token would do. Facts of another kind
    /// than the rule's are such a case too: what can't be judged is not allowed.
    func needs(_ facts: ScopeFacts) -> [PermissionNeed]? {
        switch (self, facts) {
        case (.none, _): []
        case (.any, _): [.profile]
        case (.refused, _): nil
        case (.repo(let actions), .record(let collection)): actions.map { .write($0, collection) }
        case (.eachWrite, .writes(let writes)): [.profile] + writes.map { .write($0.action, $0.collection) }
        case (.blob, .upload(let type)): [.upload(type)]
        case (.rpcItself, .call(let method, let audience)), (.rpcAskedFor, .call(let method, let audience)):
            [.call(method: method, audience: audience)]
        case (.account(let part, let action), _): [.account(part, action)]
        case (.identity(let part), _): [.identity(part)]
        case (.repo, _), (.eachWrite, _), (.blob, _), (.rpcItself, _), (.rpcAskedFor, _): nil
        }
    }

    /// Whether a token with `scopes` will do for a call with `facts`.
    public func decide(_ scopes: Scopes, _ facts: ScopeFacts) -> ScopeDecision {
        guard let needs = needs(facts) else { return .refused }
        for need in needs where !Self.allows(scopes, need) { return .missing(need) }
        return .allowed
    }

    /// An account elsewhere is begun by a permission for that call, not by a scope from before there were permissions:
    /// they allow no move (https://atproto.com/specs/oauth, transitional scopes), nor does an app password.
    private static func allows(_ scopes: Scopes, _ need: PermissionNeed) -> Bool {
        if case .call(let method?, _) = need, GetServiceAuth.beginsAccount(method) {
            return scopes.withoutTransitions.allows(need)
        }
        return scopes.allows(need)
    }

    /// Throws `ScopeMissingError` or `Forbidden`, both 403, when a token with `scopes` will not do.
    public func check(_ scopes: Scopes, _ facts: ScopeFacts) throws(Failure) {
        switch decide(scopes, facts) {
        case .allowed: return
        case .missing(let need):
            throw Failure(.forbidden, "ScopeMissingError", "Missing required scope \"\(need.scope)\"")
        case .refused: throw Failure(.forbidden, "Forbidden", "Apps can't do this with OAuth")
        }
    }
}

// MARK: Facts

/// An input that decides what its call needs.
protocol ScopedInput: XRPCInput {
    var scopeFacts: ScopeFacts { get }
}

extension CreateRecord.Input: ScopedInput {
    var scopeFacts: ScopeFacts { .record(collection) }
}

extension PutRecord.Input: ScopedInput {
    var scopeFacts: ScopeFacts { .record(path.collection) }
}

extension DeleteRecord.Input: ScopedInput {
    var scopeFacts: ScopeFacts { .record(path.collection) }
}

extension ApplyWrites.Input: ScopedInput {
    var scopeFacts: ScopeFacts {
        .writes(
            writes.map { write in
                switch write {
                case .create(let collection, _, _): (.create, collection)
                case .update(let path, _): (.update, path.collection)
                case .delete(let path): (.delete, path.collection)
                }
            })
    }
}

extension GetServiceAuth.Input: ScopedInput {
    var scopeFacts: ScopeFacts { .call(method: method?.bytes, audience: audience) }
}

extension Method {
    /// Throws `ScopeMissingError` or `Forbidden` when a token with `scopes` will not do for this call. Wants the input,
    /// and belongs before everything that costs or changes something.
    static func check(_ scopes: Scopes, _ input: Input, _ request: Request, _ app: XRPCApp) throws(Failure) {
        let facts: ScopeFacts =
            switch scope {
            case .blob: .upload(UploadBlob.declaredType(request))
            case .rpcItself: .call(method: nsid, audience: UpstreamTarget.audience(request, method: nsid, app))
            default: (input as? any ScopedInput)?.scopeFacts ?? .none
            }
        try scope.check(scopes, facts)
    }
}

extension UploadBlob {
    /// The media type that a request says, without parameters. What the bytes then show may be another one.
    static func declaredType(_ request: Request) -> Bytes {
        request.headers["content-type"].map(XRPCResponder.mediaType) ?? MediaType.unknown
    }
}

extension Forwarding {
    /// As `Method.check`, of a call that is passed on to `audience`, or to whom the request and the settings say.
    func check(_ scopes: Scopes, audience: Bytes? = nil) throws(Failure) {
        let audience = audience ?? UpstreamTarget.audience(request, method: method, app)
        try OAuthRule.rpcItself.check(scopes, .call(method: method, audience: audience))
        // The token that goes out is for the feed's own service.
        if method == Self.getFeed {
            try OAuthRule.rpcItself.check(scopes, .call(method: Self.getFeedSkeleton, audience: audience))
        }
    }
}

extension UpstreamTarget {
    /// The name of the service that `request` is for: what its header says, else the one of the settings for `method`,
    /// else this server itself. Nobody is asked whether there is such a service.
    ///
    /// Preferences are answered here, whatever the header says: they are those of the AppView of the settings, and a
    /// permission to read them at another service is none for these.
    static func audience(_ request: Request, method: Bytes, _ app: XRPCApp) -> Bytes {
        let isAnsweredHere = method == GetPreferences.nsid || method == PutPreferences.nsid
        if !isAnsweredHere, let header = request.headers[header] { return header }
        let service = method == CreateReport.nsid ? app.reports.service : app.upstream.appView?.service
        return service ?? app.settings.service
    }
}
