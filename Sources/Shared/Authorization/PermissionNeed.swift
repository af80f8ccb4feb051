public import ATProto
public import Base

/// One thing that a client wants to do, and for which its token must have a permission.
///
/// Whatever it is, the token must have `atproto` too.
public enum PermissionNeed: Sendable, Equatable {
    /// To be the account, no more.
    case profile
    case write(RepoAction, NSID)
    /// To upload a file of this media type, without parameters.
    case upload(Bytes)
    /// To call `method` at `audience`, `did#service` or a DID alone; nil: every method of it.
    case call(method: Bytes?, audience: Bytes)
    case account(AccountPart, AccountAction)
    case identity(IdentityPart)

    /// Bytes of a stranger's media type, method or audience that `scope` shows.
    static let shownSizeMax = 2_048

    /// The narrowest scope that would do: what a client is told that it lacks.
    public var scope: Bytes {
        switch self {
        case .profile: return Permission.profile
        case .write(let action, let collection): return RepoPermission(.only([collection]), [action]).scope
        case .upload(let type):
            var writer = PermissionWriter(BlobPermission.resource)
            writer.positional(type.upTo(Self.shownSizeMax).lowercasedASCII)
            return writer.finish()
        case .call(let method, let audience):
            var writer = PermissionWriter(RPCPermission.resource)
            writer.positional(method?.upTo(Self.shownSizeMax) ?? NSIDs.wildcard)
            writer.parameter(RPCPermission.audience, audience.upTo(Self.shownSizeMax))
            return writer.finish()
        case .account(let part, let action): return AccountPermission(part, action).scope
        case .identity(let part): return part.scope
        }
    }
}

extension Scopes {
    /// Whether a token with this list may do it. Sets are to be `expanded` before: by their names they grant nothing.
    public func allows(_ need: PermissionNeed) -> Bool {
        var isProfiled = false
        var isAllowed = need == .profile
        var transitions: Set<TransitionScope> = []
        for entry in entries {
            switch (entry.permission, need) {
            case (.atproto?, _): isProfiled = true
            case (.transition(let transition)?, _): transitions.insert(transition)
            case _ where isAllowed: break
            case (.repo(let repo)?, .write(let action, let collection)): isAllowed = repo.allows(action, collection)
            case (.blob(let blob)?, .upload(let type)): isAllowed = blob.allows(type)
            case (.rpc(let rpc)?, .call(let method, let audience)): isAllowed = rpc.allows(method, audience)
            case (.account(let account)?, .account(let part, let action)): isAllowed = account.allows(part, action)
            case (.identity(let held)?, .identity(let part)): isAllowed = held.allows(part)
            default: break
            }
        }
        return isProfiled && (isAllowed || Self.allows(transitions, need))
    }

    /// Without the scopes from before there were permissions.
    public var withoutTransitions: Scopes {
        Scopes(entries: entries.filter { if case .transition? = $0.permission { false } else { true } })
    }

    /// The rights of an app password (https://atproto.com/specs/oauth, transitional scopes). A token for no method in
    /// particular is among them, as it is among the app password's.
    private static func allows(_ transitions: Set<TransitionScope>, _ need: PermissionNeed) -> Bool {
        switch need {
        case .write, .upload: transitions.contains(.generic)
        case .call(let method, _):
            transitions.contains(.generic)
                && (method.map { !TransitionScope.isChat($0) } ?? true || transitions.contains(.chat))
        case .account(let part, let action):
            transitions.contains(.email) && part == .email && action == .read
        case .profile, .identity: false
        }
    }
}
