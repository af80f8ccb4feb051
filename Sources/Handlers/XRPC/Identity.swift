internal import ATProto
internal import Accounts
internal import Authorization
internal import Base
internal import Hosting
internal import Identity
internal import Web

extension XRPCResponder {
    static let identity: [XRPCRoute] = [
        XRPCRoute(ResolveHandle.self), XRPCRoute(ResolveDid.self), XRPCRoute(ResolveIdentity.self),
        XRPCRoute(RefreshIdentity.self), XRPCRoute(UpdateHandle.self), XRPCRoute(GetRecommendedDidCredentials.self),
    ]
}

extension XRPCApp {
    /// The DID that `handle` names: an active account here, or what the network says. Throws `handleNotFound`.
    func resolve(_ handle: Handle) throws -> DID {
        if let account = try accounts.find(handle), account.state.isActive { return account.did }
        // Nobody else knows better about a name under this server's own domain.
        if handlePolicy.domain(of: handle) != nil { throw IdentityError.handleNotFound(handle) }
        return try resolver.resolve(handle)
    }

    /// The DID document as JSON: made here for accounts whose did:web this server answers for, else resolved.
    func documentJSON(of did: DID, fresh: Bool = false) throws -> Bytes {
        if life.isServedHere(did) {
            guard let account = try accounts.find(did), account.state.isActive else {
                throw IdentityError.notFound(did)
            }
            return try life.document(of: account)
        }
        return try resolver.json(of: did, fresh: fresh)
    }

    /// What resolving `identifier` costs its asker: nothing when it can be answered from here. (A charge is a durable
    /// write, which a look-up in the database should not wait for.)
    func resolvingCharges(_ identifier: ATIdentifier, fresh: Bool = false, by peer: Bytes) -> [Charge] {
        let isHere =
            switch identifier {
            case .handle(let handle): handlePolicy.domain(of: handle) != nil
            case .did(let did): life.isServedHere(did) || (try? resolver.cachedJSON(of: did)) ?? nil != nil
            }
        return isHere && !fresh ? [] : [.resolve(peer)]
    }

    /// The document of an account here, for the answers of session methods: as it is kept for up to a day, else
    /// resolved. Signing in does not depend on it: when it can't be had, the answer goes without.
    func documentIfKnown(_ account: Account) -> Bytes? {
        if life.isServedHere(account.did) { return try? life.document(of: account) }
        if let cached = try? resolver.cachedJSON(of: account.did) { return cached }
        return try? resolver.json(of: account.did)
    }
}

/// `com.atproto.identity.resolveHandle`: the DID behind a handle.
struct ResolveHandle: Method {
    static let nsid: Bytes = "com.atproto.identity.resolveHandle"
    static let kind = MethodKind.query
    static let access = XRPCAccess.anyone
    static let scope = OAuthRule.none

    struct Input: XRPCInput {
        let handle: Handle
        init(_ fields: Fields) throws(Failure) { handle = try fields.required("handle") }
    }

    struct Output: XRPCOutput {
        let did: DID
        func write(to writer: inout JSONWriter) {
            writer.beginObject()
            writer.field("did", did.bytes)
            writer.endObject()
        }
    }

    static func charges(_ call: Call<Self>) -> [Charge] {
        call.app.resolvingCharges(.handle(call.input.handle), by: call.request.peer)
    }

    static func run(_ call: Call<Self>) throws -> Output { Output(did: try call.app.resolve(call.input.handle)) }
}

/// `com.atproto.identity.resolveDid`: the DID document.
struct ResolveDid: Method {
    static let nsid: Bytes = "com.atproto.identity.resolveDid"
    static let kind = MethodKind.query
    static let access = XRPCAccess.anyone
    static let scope = OAuthRule.none

    struct Input: XRPCInput {
        let did: DID
        init(_ fields: Fields) throws(Failure) { did = try fields.required("did") }
    }

    struct Output: XRPCOutput {
        let document: Bytes
        func write(to writer: inout JSONWriter) {
            writer.beginObject()
            writer.field("didDoc", raw: document)
            writer.endObject()
        }
    }

    static func charges(_ call: Call<Self>) -> [Charge] {
        call.app.resolvingCharges(.did(call.input.did), by: call.request.peer)
    }

    static func run(_ call: Call<Self>) throws -> Output {
        Output(document: try call.app.documentJSON(of: call.input.did))
    }
}

/// What `resolveIdentity` and `refreshIdentity` answer: `com.atproto.identity.defs#identityInfo`.
struct IdentityInfo: XRPCOutput {
    let did: DID
    /// `handle.invalid` unless handle and document name each other.
    let handle: Handle
    let document: Bytes

    func write(to writer: inout JSONWriter) {
        writer.beginObject()
        writer.field("did", did.bytes)
        writer.field("handle", handle.bytes)
        writer.field("didDoc", raw: document)
        writer.endObject()
    }

    init(_ identifier: ATIdentifier, fresh: Bool, _ app: XRPCApp) throws {
        did =
            switch identifier {
            case .did(let did): did
            case .handle(let handle): try app.resolve(handle)
            }
        document = try app.documentJSON(of: did, fresh: fresh)
        let claimed = try DIDDocument(json: document, of: did).handle
        if let claimed, let named = try? app.resolve(claimed), named == did {
            handle = claimed
        } else {
            handle = .invalid
        }
    }
}

/// `com.atproto.identity.resolveIdentity`: DID, verified handle and document.
struct ResolveIdentity: Method {
    static let nsid: Bytes = "com.atproto.identity.resolveIdentity"
    static let kind = MethodKind.query
    static let access = XRPCAccess.anyone
    static let scope = OAuthRule.none

    struct Input: XRPCInput {
        let identifier: ATIdentifier
        init(_ fields: Fields) throws(Failure) { identifier = try fields.required("identifier") }
    }

    static func charges(_ call: Call<Self>) -> [Charge] {
        call.app.resolvingCharges(call.input.identifier, by: call.request.peer)
    }

    static func run(_ call: Call<Self>) throws -> IdentityInfo {
        try IdentityInfo(call.input.identifier, fresh: false, call.app)
    }
}

/// `com.atproto.identity.refreshIdentity`: the same, asked afresh.
struct RefreshIdentity: Method {
    static let nsid: Bytes = "com.atproto.identity.refreshIdentity"
    static let kind = MethodKind.procedure
    static let access = XRPCAccess.anyone
    static let scope = OAuthRule.none

    typealias Input = ResolveIdentity.Input

    static func charges(_ call: Call<Self>) -> [Charge] {
        call.app.resolvingCharges(call.input.identifier, fresh: true, by: call.request.peer)
    }

    static func run(_ call: Call<Self>) throws -> IdentityInfo {
        try IdentityInfo(call.input.identifier, fresh: true, call.app)
    }
}

/// `com.atproto.identity.updateHandle`: another handle for the caller.
struct UpdateHandle: Method {
    static let nsid: Bytes = "com.atproto.identity.updateHandle"
    static let kind = MethodKind.procedure
    static let access = XRPCAccess.account(.any)
    static let scope = OAuthRule.identity(.handle)

    struct Input: XRPCInput {
        let handle: Handle
        init(_ fields: Fields) throws(Failure) { handle = try fields.handle("handle") }
    }

    static func charges(_ call: Call<Self>) -> [Charge] {
        [Charge(RateLimit.updateHandle, key: call.caller.did.bytes)]
    }

    static func run(_ call: Call<Self>) throws -> NoOutput {
        try call.app.life.changeHandle(call.input.handle, of: call.caller.did)
        return NoOutput()
    }
}

/// `com.atproto.identity.getRecommendedDidCredentials`: what the caller's DID document should say to live here.
struct GetRecommendedDidCredentials: Method {
    static let nsid: Bytes = "com.atproto.identity.getRecommendedDidCredentials"
    static let kind = MethodKind.query
    static let access = XRPCAccess.account(.any, even: .deactivated)
    static let scope = OAuthRule.any

    struct Output: XRPCOutput {
        let isPLC: Bool
        let operation: PLCOperation

        func write(to writer: inout JSONWriter) {
            writer.beginObject()
            if isPLC { writer.field("rotationKeys", operation.rotationKeys) }
            writer.field("alsoKnownAs", operation.alsoKnownAs)
            writer.beginObject("verificationMethods")
            for method in operation.verificationMethods {
                writer.key(method.id)
                writer.string(method.didKey)
            }
            writer.endObject()
            writer.beginObject("services")
            for service in operation.services {
                writer.key(service.id)
                writer.beginObject()
                writer.field("type", service.type)
                writer.field("endpoint", service.endpoint)
                writer.endObject()
            }
            writer.endObject()
            writer.endObject()
        }
    }

    static func run(_ call: Call<Self>) throws -> Output {
        Output(
            isPLC: call.caller.did.method == "plc",
            operation: try call.app.life.recommended(for: call.caller.account))
    }
}
