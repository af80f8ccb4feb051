import ATProto
import Authorization
import Base

extension FuzzTarget {
    private static let include = NSID("com.example.feed.authBasic")

    /// What clients ask for, and what strangers' permission sets grant.
    static let scopes: [FuzzTarget] = [
        FuzzTarget(
            "scopes",
            texts: [
                "atproto transition:generic transition:chat.bsky transition:email openid",
                "atproto repo:com.example.feed.post?action=create&action=delete repo?collection=a.b.c&collection=*",
                "rpc:com.example.do?aud=did:web:api.example.com%23svc rpc?lxm=a.b.c&lxm=a.b.d&aud=* blob:image/svg+xml",
                "blob?accept=image/png&accept=text/* account:email?action=manage identity:* identity:handle?",
                "include:com.example.set?aud=did:plc:yk4dd2qkboz2yv6tpubpc6co%23svc repo:%2A atproto repo:*",
            ]
        ) { input in
            guard let scopes = try? Scopes(parsing: Bytes(input)) else { return nil }
            guard let again = try? Scopes(parsing: scopes.text) else { return "its own text is refused" }
            if again != scopes { return "its own text is another list" }
            if again.hasDuplicates { return "a scope is kept twice" }
            if !scopes.hasDuplicates, scopes.text != Bytes(input) { return "comes back changed" }
            for entry in scopes.entries {
                guard let permission = entry.permission else { continue }
                guard Permission(permission.scope) == permission else { return "its canonical form is another" }
                guard let other = try? Scopes(parsing: permission.scope), other.permissions == [permission] else {
                    return "its canonical form is no single scope"
                }
            }
            guard let need = NSID("com.example.feed.post").map({ PermissionNeed.write(.delete, $0) }) else {
                return "no need"
            }
            if scopes.allows(need) != scopes.understood.allows(need) { return "what is not understood grants" }
            let isProfiled = scopes.contains(.atproto)
            if scopes.allows(need), !isProfiled { return "grants without the profile" }
            return scopes.isSubset(of: again) ? nil : "is no part of itself"
        },
        FuzzTarget(
            "permission-set",
            texts: [
                #"{"type":"permission-set","title":"A","title:lang":{"fr":"B"},"detail":"C","permissions":[{"type":"#
                    + #""permission","resource":"repo","collection":["com.example.feed.a"],"action":["create"]},{"#
                    + #""type":"permission","resource":"rpc","lxm":["com.example.feed.b"],"inheritAud":true},{"type":"#
                    + #""permission","resource":"rpc","lxm":["com.example.feed.c.d"],"aud":"*"},{"type":"permission","#
                    + #""resource":"repo","collection":["org.other.thing"]}]}"#
            ]
        ) { input in
            guard let include, let value = try? JSON.parsePlain(Bytes(input)),
                let set = PermissionSet(include, definition: value)
            else { return nil }
            guard let asked = try? Scopes(parsing: Bytes("include:\(include)?aud=did:web:api.example.com%23svc")),
                let expanded = try? asked.expanded({ _ in set })
            else { return nil }
            for permission in expanded.permissions {
                let named: NSIDs
                switch permission {
                case .repo(let repo): named = repo.collections
                case .rpc(let rpc): named = rpc.methods
                default: return "grants what no set can"
                }
                guard case .only(let list) = named, list.allSatisfy({ $0.bytes.starts(with: "com.example.feed.") })
                else { return "grants outside of its authority" }
            }
            guard let again = try? Scopes(parsingExpanded: expanded.text) else {
                return expanded.isEmpty ? nil : "no list"
            }
            return again.permissions == expanded.permissions ? nil : "its own text is another list"
        },
    ]
}
