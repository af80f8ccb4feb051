import ATProto
import Base
import Testing

@testable import Authorization

/// What a list allows, and what is named as missing.
@Suite struct ScopeNeedTests {
    static let a = NSID("com.example.a")!
    static let b = NSID("com.example.b")!
    static let service: Bytes = "did:web:api.example.com#svc"
    static let chat: Bytes = "chat.bsky.convo.listConvos"

    struct Row: Sendable, CustomTestStringConvertible {
        let scopes: Bytes
        let need: PermissionNeed
        let isAllowed: Bool
        var testDescription: String { "\(scopes): \(need.scope)" }

        init(_ scopes: String, _ need: PermissionNeed, _ isAllowed: Bool) {
            self.scopes = Bytes(scopes)
            self.need = need
            self.isAllowed = isAllowed
        }
    }

    static func call(_ method: Bytes?, _ audience: Bytes = service) -> PermissionNeed {
        .call(method: method, audience: audience)
    }

    static let rows: [Row] = [
        Row("atproto", .profile, true), Row("repo:*", .profile, false),
        // Nothing without the profile.
        Row("repo:*", .write(.create, a), false), Row("blob:*/*", .upload("image/png"), false),
        Row("transition:generic", .write(.create, a), false), Row("transition:email", .account(.email, .read), false),
        Row("identity:*", .identity(.handle), false), Row("new:thing", .profile, false),

        Row("atproto repo:com.example.a", .write(.create, a), true),
        Row("atproto repo:com.example.a", .write(.update, a), true),
        Row("atproto repo:com.example.a", .write(.delete, a), true),
        Row("repo:com.example.a atproto", .write(.create, a), true),
        Row("atproto repo:com.example.a", .write(.create, b), false),
        Row("atproto repo:com.example.A", .write(.create, a), false),
        Row("atproto repo:com.example.a?action=create", .write(.create, a), true),
        Row("atproto repo:com.example.a?action=create", .write(.update, a), false),
        Row("atproto repo:com.example.a?action=create", .write(.delete, a), false),
        Row("atproto repo:*?action=delete", .write(.delete, b), true),
        Row("atproto repo:*?action=delete", .write(.create, b), false),
        Row("atproto repo:com.example.a?action=create repo:com.example.a?action=update", .write(.update, a), true),
        Row("atproto repo:*", .upload("image/png"), false), Row("atproto repo:*", .account(.repo, .manage), false),

        Row("atproto blob:*/*", .upload("image/png"), true), Row("atproto blob:image/*", .upload("image/png"), true),
        Row("atproto blob:image/*", .upload("IMAGE/Png"), true),
        Row("atproto blob:image/png", .upload("image/png"), true),
        Row("atproto blob:image/*", .upload("video/mp4"), false),
        Row("atproto blob:image/png", .upload("image/pngx"), false),
        Row("atproto blob:image/*", .upload("image"), false), Row("atproto blob:image/*", .upload("imagex/png"), false),
        Row("atproto blob:*/*", .upload("*/*"), false), Row("atproto blob:image/*", .upload("image/*"), false),
        Row("atproto blob:*/*", .upload(""), false), Row("atproto blob:*/*", .upload("image/png/x"), false),
        Row("atproto blob?accept=image/png&accept=video/*", .upload("video/mp4"), true),

        Row("atproto rpc:com.example.a?aud=\(service)", call("com.example.a"), true),
        Row("atproto rpc:com.example.a?aud=\(service)", call("com.example.b"), false),
        Row("atproto rpc:com.example.a?aud=\(service)", call("com.example.a", "did:web:api.example.com"), false),
        Row("atproto rpc:com.example.a?aud=\(service)", call("com.example.a", "did:web:api.example.com#other"), false),
        Row("atproto rpc:com.example.a?aud=\(service)", call("com.example.a", "did:web:API.example.com#svc"), false),
        Row("atproto rpc:com.example.a?aud=\(service)", call(nil), false),
        Row("atproto rpc:com.example.a?aud=*", call("com.example.a", "did:web:other.example#x"), true),
        Row("atproto rpc:com.example.a?aud=*", call("com.example.a", "did:web:api.example.com"), true),
        Row("atproto rpc:*?aud=\(service)", call("com.example.b"), true),
        Row("atproto rpc:*?aud=\(service)", call(nil), true),
        Row("atproto rpc:*?aud=\(service)", call("com.example.b", "did:web:other.example#x"), false),
        Row("atproto rpc:*?aud=*", call("com.example.b"), false),
        Row("atproto rpc:\(chat)?aud=*", call(chat), true),

        Row("atproto account:email", .account(.email, .read), true),
        Row("atproto account:email", .account(.email, .manage), false),
        Row("atproto account:email?action=manage", .account(.email, .read), true),
        Row("atproto account:email?action=manage", .account(.repo, .manage), false),
        Row("atproto account:repo?action=manage", .account(.repo, .manage), true),
        Row("atproto account:status", .account(.email, .read), false),
        Row("atproto identity:handle", .identity(.handle), true),
        Row("atproto identity:handle", .identity(.everything), false),
        Row("atproto identity:*", .identity(.handle), true), Row("atproto identity:*", .identity(.everything), true),

        Row("atproto transition:generic", .write(.delete, b), true),
        Row("atproto transition:generic", .upload("anything at all"), true),
        Row("atproto transition:generic", call("com.example.a"), true),
        Row("atproto transition:generic", call(nil), true),
        Row("atproto transition:generic", call(chat), false),
        Row("atproto transition:generic", call("Chat.Bsky.convo.listConvos"), false),
        Row("atproto transition:generic", call("chat.bskyx.convo.listConvos"), true),
        Row("atproto transition:generic", .account(.email, .read), false),
        Row("atproto transition:generic", .account(.repo, .manage), false),
        Row("atproto transition:generic", .identity(.handle), false),
        Row("atproto transition:generic transition:chat.bsky", call(chat), true),
        Row("atproto transition:chat.bsky transition:generic", call("com.example.a"), true),
        // Without the other it does nothing (https://atproto.com/specs/oauth, transitional scopes).
        Row("atproto transition:chat.bsky", call(chat), false),
        Row("atproto transition:chat.bsky", call("com.example.a"), false),
        Row("atproto transition:email", .account(.email, .read), true),
        Row("atproto transition:email", .account(.email, .manage), false),
        Row("atproto transition:email", .account(.status, .read), false),
        Row("atproto transition:email", .write(.create, a), false),
        // By its name alone a set grants nothing.
        Row("atproto include:com.example.set", .write(.create, a), false),
    ]

    @Test(arguments: rows) func asGranted(_ row: Row) throws {
        let scopes = try Scopes(parsing: row.scopes)
        #expect(scopes.allows(row.need) == row.isAllowed)
    }

    /// Whatever is named as missing would do, where it can be written as a scope at all.
    static let needs: [(PermissionNeed, Bytes)] = [
        (.profile, "atproto"), (.write(.create, a), "repo:com.example.a?action=create"),
        (.upload("Image/svg+xml"), "blob:image/svg+xml"),
        (call("com.example.a"), "rpc:com.example.a?aud=did:web:api.example.com%23svc"),
        (call(nil), "rpc:*?aud=did:web:api.example.com%23svc"), (.account(.email, .read), "account:email"),
        (.account(.email, .manage), "account:email?action=manage"), (.identity(.handle), "identity:handle"),
        (.identity(.everything), "identity:*"),
    ]

    @Test(arguments: needs) func whatIsMissingWouldDo(_ need: PermissionNeed, _ scope: Bytes) throws {
        #expect(need.scope == scope)
        #expect(try Scopes(parsing: need == .profile ? scope : "atproto " + scope).allows(need))
        #expect(try !Scopes(parsing: need == .profile ? "identity:*" : "atproto").allows(need))
    }

    @Test func aStrangersTextStaysOneScope() {
        #expect(PermissionNeed.upload("a \"b\"?\u{e9}").scope == "blob:a%20%22b%22%3F%C3%A9")
        let long = Bytes([UInt8](repeating: 0x61, count: 100_000))
        #expect(PermissionNeed.upload(long).scope.count == "blob:".count + PermissionNeed.shownSizeMax)
    }
}
