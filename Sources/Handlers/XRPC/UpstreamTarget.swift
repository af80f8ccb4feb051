internal import ATProto
internal import Authorization
internal import Base
internal import Identity
internal import Web

/// A service that a call is passed on to.
struct UpstreamTarget {
    let did: DID
    let origin: Bytes
    let isNamedByCaller: Bool

    init(did: DID, origin: Bytes, isNamedByCaller: Bool) {
        self.did = did
        self.origin = origin
        self.isNamedByCaller = isNamedByCaller
    }

    init(_ appView: Upstream.AppView) {
        self.init(did: appView.did, origin: appView.origin, isNamedByCaller: false)
    }

    /// The header with which a caller names the service. https://atproto.com/specs/xrpc (service proxying)
    static let header: StaticString = "atproto-proxy"
    /// The longest value of it.
    static let headerSizeMax = 2_048

    /// Whom `request` goes to: the service that its header names, else the one for `method`.
    static func of(_ request: Request, method: Bytes, _ app: XRPCApp) throws -> UpstreamTarget {
        if let header = request.headers[Self.header] {
            return try named(header, peer: request.peer, app)
        }
        guard let appView = app.upstream.appView, hasDefault(method) else {
            // The error's name lets clients see that this is not served, the status and the words are the reference's.
            throw Failure(.invalid, Failure.notImplemented.code, "No service configured for \(method)")
        }
        return UpstreamTarget(appView)
    }

    /// The service that `did#service` names.
    private static func named(_ header: Bytes, peer: Bytes, _ app: XRPCApp) throws -> UpstreamTarget {
        let hash = header.position(of: 0x23)
        if hash == 0 { throw Failure.invalidRequest("no did specified in proxy header") }
        guard let hash, hash < header.count - 1 else {
            throw Failure.invalidRequest("no service id specified in proxy header")
        }
        guard header.count <= headerSizeMax, !header.from(hash + 1).contains(0x23) else {
            throw Failure.invalidRequest("invalid proxy header format")
        }
        guard !header.contains(0x20) else { throw Failure.invalidRequest("proxy header cannot contain spaces") }
        if let appView = app.upstream.appView, header == appView.service {
            return UpstreamTarget(appView)
        }
        let unresolvable = Failure.invalidRequest("could not resolve proxy did")
        guard let did = DID(header.upTo(hash)) else { throw unresolvable }
        guard let document = try app.document(of: did, askedBy: peer) else { throw unresolvable }
        guard let origin = document.origin(of: header.from(hash)) else { throw Failure.noServiceURL }
        return UpstreamTarget(did: did, origin: origin, isNamedByCaller: true)
    }

    /// Where push tokens of `did` are registered: the AppView of the settings, or its notification service.
    static func notifications(of did: DID, askedBy peer: Bytes, _ app: XRPCApp) throws -> UpstreamTarget {
        if let appView = app.upstream.appView, appView.did == did { return UpstreamTarget(appView) }
        let document = try app.document(of: did, askedBy: peer)
        guard let origin = document?.origin(of: "#bsky_notif", type: "BskyNotificationService") else {
            throw Failure.invalidRequest("invalid notification service details in did document: \(did)")
        }
        return UpstreamTarget(did: did, origin: origin, isNamedByCaller: true)
    }

    // MARK: Methods

    /// Whether calls of `method` that name no service go to the AppView: not chat and moderation, which are of services
    /// that the caller chooses, and not what a home does itself, whose inputs (passwords, codes, whole repositories)
    /// are nobody else's business.
    private static func hasDefault(_ method: Bytes) -> Bool {
        let name = method.lowercasedASCII
        return !isOfAHome(name) && !TransitionScope.isChat(name)
            && ![moderation, ozone].contains { name.starts(with: $0) }
    }

    /// Whether `method` is of a part of com.atproto that homes answer themselves, or not at all.
    static func isOfAHome(_ method: Bytes) -> Bool {
        let name = method.lowercasedASCII
        let ofOthers = ["com.atproto.label.", "com.atproto.lexicon.", "com.atproto.temp.", moderation]
        return name.starts(with: "com.atproto.") && !ofOthers.contains { name.starts(with: $0) }
    }

    private static let moderation: Bytes = "com.atproto.moderation."
    private static let ozone: Bytes = "tools.ozone."
}

extension XRPCApp {
    /// The document of a service, or nil when it can't be had. Asking the network for it costs `peer`.
    fileprivate func document(of did: DID, askedBy peer: Bytes) throws -> DIDDocument? {
        _ = try limits.charge(resolvingCharges(.did(did), by: peer), now: clock.now())
        do {
            return try DIDDocument(json: try documentJSON(of: did), of: did)
        } catch is IdentityError {
            return nil
        }
    }
}
