public import ATProto
public import Base

/// What one scope grants. https://atproto.com/specs/permission, https://atproto.com/specs/oauth (authorization scopes)
///
/// Two scopes that mean the same are equal, however they were written; `scope` writes the one form of each.
public enum Permission: Sendable, Hashable {
    /// The profile itself. Without it nothing else grants anything.
    case atproto
    case transition(TransitionScope)
    case repo(RepoPermission)
    case rpc(RPCPermission)
    case blob(BlobPermission)
    case account(AccountPermission)
    case identity(IdentityPart)
    /// A permission set by its name: grants nothing until it is expanded.
    case include(IncludePermission)

    static let profile: Bytes = "atproto"

    /// nil when `scope` is malformed or of a kind, a parameter or a value that is not understood.
    public init?(_ scope: Bytes) {
        if scope == Self.profile {
            self = .atproto
        } else if let transition = TransitionScope(scope) {
            self = .transition(transition)
        } else if let syntax = PermissionSyntax(scope), let permission = Self(syntax) {
            self = permission
        } else {
            return nil
        }
    }

    init?(_ syntax: PermissionSyntax) {
        let permission: Self? =
            switch syntax.resource {
            case RepoPermission.resource: RepoPermission(syntax).map(Self.repo)
            case RPCPermission.resource: RPCPermission(syntax).map(Self.rpc)
            case BlobPermission.resource: BlobPermission(syntax).map(Self.blob)
            case AccountPermission.resource: AccountPermission(syntax).map(Self.account)
            case IdentityPart.resource: IdentityPart(syntax).map(Self.identity)
            case IncludePermission.resource: IncludePermission(syntax).map(Self.include)
            default: nil
            }
        guard let permission else { return nil }
        self = permission
    }

    /// The canonical form: lists sorted and without what another member covers, defaults left out.
    public var scope: Bytes {
        switch self {
        case .atproto: Self.profile
        case .transition(let transition): transition.scope
        case .repo(let repo): repo.scope
        case .rpc(let rpc): rpc.scope
        case .blob(let blob): blob.scope
        case .account(let account): account.scope
        case .identity(let part): part.scope
        case .include(let include): include.scope
        }
    }
}

/// The scopes from before there were permissions. https://atproto.com/specs/oauth (transitional scopes)
public enum TransitionScope: Sendable, Hashable, CaseIterable {
    /// To see the e-mail address.
    case email
    /// What an app password may: write every record, upload, call everything but chats.
    case generic
    /// Chats, on top of `generic`.
    case chat

    /// The namespace of chats.
    public static let chatNamespace: Bytes = "chat.bsky."

    /// Whether `method` is one of chats, in whatever letters: a service may not tell them apart.
    public static func isChat(_ method: Bytes) -> Bool { method.lowercasedASCII.starts(with: chatNamespace) }

    init?(_ scope: Bytes) {
        guard let found = Self.allCases.first(where: { $0.scope == scope }) else { return nil }
        self = found
    }

    var scope: Bytes {
        switch self {
        case .email: "transition:email"
        case .generic: "transition:generic"
        case .chat: "transition:chat.bsky"
        }
    }
}

/// Namespaced identifiers that a permission is for.
public enum NSIDs: Sendable, Hashable {
    /// `*`
    case any
    /// In byte order, each once, at least one.
    case only([NSID])

    static let wildcard: Bytes = "*"

    /// nil when there is none, or one that is no identifier. No wildcard of a part: `com.example.*` is none.
    init?(_ values: [Bytes]) {
        var named: Set<NSID> = []
        var isAny = false
        for value in values {
            if value == Self.wildcard {
                isAny = true
            } else {
                guard let nsid = NSID(value) else { return nil }
                named.insert(nsid)
            }
        }
        guard isAny || !named.isEmpty else { return nil }
        self = isAny ? .any : .only(named.sorted())
    }

    public func contains(_ nsid: Bytes) -> Bool {
        switch self {
        case .any: true
        case .only(let named): named.contains { $0.bytes == nsid }
        }
    }

    var values: [Bytes] {
        switch self {
        case .any: [Self.wildcard]
        case .only(let named): named.map(\.bytes)
        }
    }
}

/// What a write does to a record.
public enum RepoAction: Sendable, Hashable, CaseIterable {
    case create, update, delete

    var name: Bytes {
        switch self {
        case .create: "create"
        case .update: "update"
        case .delete: "delete"
        }
    }
}

/// `repo:<collection>?action=…`: writing records.
public struct RepoPermission: Sendable, Hashable {
    static let resource: Bytes = "repo"
    static let collection: Bytes = "collection"
    static let action: Bytes = "action"

    public let collections: NSIDs
    public let actions: Set<RepoAction>

    init(_ collections: NSIDs, _ actions: Set<RepoAction>) {
        self.collections = collections
        self.actions = actions
    }

    init?(_ syntax: PermissionSyntax) {
        guard syntax.hasOnly([Self.collection, Self.action]),
            let collections = syntax.positionalValues(Self.collection).flatMap({ NSIDs($0) })
        else { return nil }
        var actions: Set<RepoAction> = []
        for value in syntax.values(Self.action) {
            guard let action = RepoAction.allCases.first(where: { $0.name == value }) else { return nil }
            actions.insert(action)
        }
        self.init(collections, actions.isEmpty ? Set(RepoAction.allCases) : actions)
    }

    func allows(_ action: RepoAction, _ collection: NSID) -> Bool {
        actions.contains(action) && collections.contains(collection.bytes)
    }

    var scope: Bytes {
        var writer = PermissionWriter(Self.resource)
        writer.positional(Self.collection, collections.values)
        if actions.count < RepoAction.allCases.count {
            for action in RepoAction.allCases where actions.contains(action) {
                writer.parameter(Self.action, action.name)
            }
        }
        return writer.finish()
    }
}

/// `did#fragment`: a service of an identity, by a DID of a method of the protocol. https://atproto.com/specs/did
public struct ServiceReference: Identifier {
    public let bytes: Bytes

    public init?(_ bytes: Bytes) {
        guard let hash = bytes.position(of: 0x23), hash < bytes.count - 1, let did = DID(bytes.upTo(hash)),
            Self.isOfProtocol(did), Self.isFragment(bytes.from(hash + 1))
        else { return nil }
        self.bytes = bytes
    }

    /// `did:plc` with its 24 digits of base 32, or `did:web` without a path.
    private static func isOfProtocol(_ did: DID) -> Bool {
        let rest = did.methodSpecific
        switch did.method {
        case "plc": return rest.count == 24 && rest.allSatisfy { $0 &- 0x61 < 26 || $0 &- 0x32 < 6 }
        case "web": return !rest.contains(0x3A)
        default: return false
        }
    }

    private static let marks: Bytes = "-._~!$&'()*+,;=:@/?"

    /// RFC 3986 §3.5.
    private static func isFragment(_ bytes: Bytes) -> Bool {
        var position = 0
        while position < bytes.count {
            let byte = bytes[position]
            position += 1
            if byte == 0x25 {
                guard position + 1 < bytes.count, Hex.decode(bytes.slice(position..<position + 2)) != nil else {
                    return false
                }
                position += 2
            } else if !((byte | 0x20) &- 0x61 < 26 || byte &- 0x30 < 10 || marks.contains(byte)) {
                return false
            }
        }
        return true
    }
}

/// `rpc:<method>?aud=…`: calling other services in the account's name, through this server or with a token of it.
public struct RPCPermission: Sendable, Hashable {
    public enum Audience: Sendable, Hashable {
        case any
        case service(ServiceReference)

        init?(_ value: Bytes) {
            if value == NSIDs.wildcard {
                self = .any
            } else {
                guard let service = ServiceReference(value) else { return nil }
                self = .service(service)
            }
        }

        var value: Bytes {
            switch self {
            case .any: NSIDs.wildcard
            case .service(let service): service.bytes
            }
        }
    }

    static let resource: Bytes = "rpc"
    static let method: Bytes = "lxm"
    static let audience: Bytes = "aud"

    public let methods: NSIDs
    public let audience: Audience

    /// nil for every method of every service, which no permission can be.
    init?(_ methods: NSIDs, _ audience: Audience) {
        if methods == .any, audience == .any { return nil }
        self.methods = methods
        self.audience = audience
    }

    init?(_ syntax: PermissionSyntax) {
        let audiences = syntax.values(Self.audience)
        guard syntax.hasOnly([Self.method, Self.audience]), audiences.count == 1,
            let methods = syntax.positionalValues(Self.method).flatMap({ NSIDs($0) }),
            let audience = audiences.first.flatMap({ Audience($0) })
        else { return nil }
        self.init(methods, audience)
    }

    /// `method`: nil for a token that is for no method in particular, and so for all.
    func allows(_ method: Bytes?, _ audience: Bytes) -> Bool {
        switch self.audience {
        case .any: break
        case .service(let service): guard service.bytes == audience else { return false }
        }
        guard let method else { return methods == .any }
        return methods.contains(method)
    }

    var scope: Bytes {
        var writer = PermissionWriter(Self.resource)
        writer.positional(Self.method, methods.values)
        writer.parameter(Self.audience, audience.value)
        return writer.finish()
    }
}

/// `blob:<type>`: uploading files.
public struct BlobPermission: Sendable, Hashable {
    static let resource: Bytes = "blob"
    static let accept: Bytes = "accept"
    private static let everything: Bytes = "*/*"

    /// Media types and `type/*`, in lower case and byte order, none covered by another; or `*/*` alone.
    public let ranges: [Bytes]

    init?(_ syntax: PermissionSyntax) {
        guard syntax.hasOnly([Self.accept]), let values = syntax.positionalValues(Self.accept), !values.isEmpty else {
            return nil
        }
        var found: Set<Bytes> = []
        for value in values {
            let range = value.lowercasedASCII
            guard Self.isRange(range) else { return nil }
            found.insert(range)
        }
        if found.contains(Self.everything) {
            ranges = [Self.everything]
        } else {
            ranges = found.filter { !found.contains(Self.wholeType(of: $0)) || $0.ends(with: "/*") }.sorted()
        }
    }

    /// `image/*` of `image/png`.
    private static func wholeType(of range: Bytes) -> Bytes {
        range.upTo(range.position(of: 0x2F) ?? range.count) + "/*"
    }

    private static func isRange(_ value: Bytes) -> Bool {
        value == everything || isType(value) || (value.ends(with: "/*") && isToken(value.upTo(value.count - 2)))
    }

    /// `type/subtype`, no parameters and no wildcard (RFC 9110 §8.3.1).
    static func isType(_ value: Bytes) -> Bool {
        let parts = value.split(on: 0x2F)
        return parts.count == 2 && parts.allSatisfy(isToken)
    }

    private static let marks: Bytes = "!#$%&'+-.^_`|~"

    /// A token of RFC 9110 §5.6.2, without its asterisk.
    private static func isToken(_ value: Bytes) -> Bool {
        !value.isEmpty
            && value.allSatisfy { ($0 | 0x20) &- 0x61 < 26 || $0 &- 0x30 < 10 || marks.contains($0) }
    }

    /// `mediaType`: without parameters, in any case. What is no media type is not covered by `*/*` either.
    func allows(_ mediaType: Bytes) -> Bool {
        let type = mediaType.lowercasedASCII
        guard Self.isType(type) else { return false }
        let whole = Self.wholeType(of: type)
        return ranges.contains { $0 == type || $0 == whole || $0 == Self.everything }
    }

    var scope: Bytes {
        var writer = PermissionWriter(Self.resource)
        writer.positional(Self.accept, ranges)
        return writer.finish()
    }
}

/// A part of the account at its host.
public enum AccountPart: Sendable, Hashable, CaseIterable {
    case email
    /// The repository as a whole, by a CAR file.
    case repo
    case status

    var name: Bytes {
        switch self {
        case .email: "email"
        case .repo: "repo"
        case .status: "status"
        }
    }
}

public enum AccountAction: Sendable, Hashable, CaseIterable {
    case read
    /// Reading too.
    case manage

    var name: Bytes {
        switch self {
        case .read: "read"
        case .manage: "manage"
        }
    }
}

/// `account:<part>?action=…`.
public struct AccountPermission: Sendable, Hashable {
    static let resource: Bytes = "account"
    static let part: Bytes = "attr"
    static let action: Bytes = "action"

    public let part: AccountPart
    /// The stronger one when there were both.
    public let action: AccountAction

    init(_ part: AccountPart, _ action: AccountAction) {
        self.part = part
        self.action = action
    }

    init?(_ syntax: PermissionSyntax) {
        guard syntax.hasOnly([Self.part, Self.action]), let parts = syntax.positionalValues(Self.part),
            parts.count == 1, let part = AccountPart.allCases.first(where: { $0.name == parts[0] })
        else { return nil }
        var action = AccountAction.read
        for value in syntax.values(Self.action) {
            guard let named = AccountAction.allCases.first(where: { $0.name == value }) else { return nil }
            if named == .manage { action = .manage }
        }
        self.init(part, action)
    }

    func allows(_ part: AccountPart, _ action: AccountAction) -> Bool {
        part == self.part && (action == self.action || self.action == .manage)
    }

    var scope: Bytes {
        var writer = PermissionWriter(Self.resource)
        writer.positional(part.name)
        if action != .read { writer.parameter(Self.action, action.name) }
        return writer.finish()
    }
}

/// `identity:<part>`.
public enum IdentityPart: Sendable, Hashable, CaseIterable {
    case handle
    /// `identity:*`: the DID's operations too.
    case everything

    static let resource: Bytes = "identity"
    static let part: Bytes = "attr"

    init?(_ syntax: PermissionSyntax) {
        guard syntax.hasOnly([Self.part]), let parts = syntax.positionalValues(Self.part), parts.count == 1,
            let part = Self.allCases.first(where: { $0.name == parts[0] })
        else { return nil }
        self = part
    }

    private var name: Bytes {
        switch self {
        case .handle: "handle"
        case .everything: "*"
        }
    }

    func allows(_ part: IdentityPart) -> Bool { self == part || self == .everything }

    var scope: Bytes {
        var writer = PermissionWriter(Self.resource)
        writer.positional(name)
        return writer.finish()
    }
}

/// `include:<nsid>?aud=…`: the permissions of a published set.
public struct IncludePermission: Sendable, Hashable {
    static let resource: Bytes = "include"
    static let set: Bytes = "nsid"
    static let audience: Bytes = "aud"

    public let set: NSID
    /// Whom those permissions are for that leave it open.
    public let audience: ServiceReference?

    init?(_ syntax: PermissionSyntax) {
        let audiences = syntax.values(Self.audience)
        guard syntax.hasOnly([Self.set, Self.audience]), audiences.count <= 1,
            let sets = syntax.positionalValues(Self.set), sets.count == 1, let set = NSID(sets[0])
        else { return nil }
        self.set = set
        audience = audiences.first.flatMap { ServiceReference($0) }
        if audience == nil, !audiences.isEmpty { return nil }
    }

    var scope: Bytes {
        var writer = PermissionWriter(Self.resource)
        writer.positional(set.bytes)
        if let audience { writer.parameter(Self.audience, audience.bytes) }
        return writer.finish()
    }
}
