import ATProto
import Base
import Foundation
import Testing

@testable import Authorization

/// Permission sets: what one may grant, and how a list is expanded.
@Suite struct ScopeSetTests {
    static let id = NSID("com.example.feed.authBasic")!

    static func set(_ permissions: String, _ more: String = "") throws -> PermissionSet? {
        let text = "{\"type\":\"permission-set\",\(more)\"permissions\":[\(permissions)]}"
        return PermissionSet(id, definition: try JSON.parsePlain(Bytes(text)))
    }

    struct Row: Sendable, CustomTestStringConvertible {
        let name: String
        /// The fields of one entry, beyond its type.
        let fields: String
        /// What it grants with an audience, then without.
        let granted: Bytes?
        let alone: Bytes?
        var testDescription: String { name }

        init(_ name: String, _ fields: String, _ granted: Bytes?, alone: Bytes?) {
            self.name = name
            self.fields = fields
            self.granted = granted
            self.alone = alone
        }

        init(_ name: String, _ fields: String, _ granted: Bytes?) {
            self.init(name, fields, granted, alone: granted)
        }
    }

    private static let repo = #""resource":"repo""#
    private static let rpc = #""resource":"rpc""#
    private static let post = #""collection":["com.example.feed.post"]"#
    private static let ask = #""lxm":["com.example.feed.ask"]"#

    static let rows: [Row] = [
        Row("a collection", "\(repo),\(post)", "repo:com.example.feed.post"),
        Row("an action", #"\#(repo),\#(post),"action":["delete"]"#, "repo:com.example.feed.post?action=delete"),
        Row("a description", #"\#(repo),\#(post),"description":"x""#, "repo:com.example.feed.post"),
        Row(
            "two, one of a group inside", #"\#(repo),"collection":["com.example.feed.post","com.example.feed.x.y"]"#,
            "repo?collection=com.example.feed.post&collection=com.example.feed.x.y"),
        Row(
            "the audience of whoever asks", #"\#(rpc),\#(ask),"inheritAud":true"#,
            "rpc:com.example.feed.ask?aud=did:web:api.example.com%23svc", alone: nil),
        Row("any audience", #"\#(rpc),\#(ask),"aud":"*""#, "rpc:com.example.feed.ask?aud=*"),
        Row(
            "any audience, not inherited", #"\#(rpc),\#(ask),"aud":"*","inheritAud":false"#,
            "rpc:com.example.feed.ask?aud=*"),

        Row("of a sibling group", #"\#(repo),"collection":["com.example.actor.profile"]"#, nil),
        Row("of a parent", #"\#(repo),"collection":["com.example.post"]"#, nil),
        Row("of a group that begins alike", #"\#(repo),"collection":["com.example.feedx.post"]"#, nil),
        Row("of other letters", #"\#(repo),"collection":["com.example.Feed.post"]"#, nil),
        Row("one of two is foreign", #"\#(repo),"collection":["com.example.feed.post","org.other.thing"]"#, nil),
        Row("a foreign method", #"\#(rpc),"lxm":["org.other.do"],"aud":"*""#, nil),
        Row("every collection", #"\#(repo),"collection":["*"]"#, nil),
        Row("every method", #"\#(rpc),"lxm":["*"],"inheritAud":true"#, nil),
        Row("every method among others", #"\#(rpc),"lxm":["com.example.feed.ask","*"],"inheritAud":true"#, nil),
        Row("a service of its own", #"\#(rpc),\#(ask),"aud":"did:web:evil.example#x""#, nil),
        Row("inherited and its own", #"\#(rpc),\#(ask),"aud":"*","inheritAud":true"#, nil),
        Row("no audience", "\(rpc),\(ask)", nil), Row("not inherited", #"\#(rpc),\#(ask),"inheritAud":false"#, nil),
        Row("a flag that is a text", #"\#(rpc),\#(ask),"inheritAud":"true""#, nil),
        Row("a flag of a write", #"\#(repo),\#(post),"inheritAud":true"#, nil),
        Row("no collection", repo, nil), Row("none in the list", #"\#(repo),"collection":[]"#, nil),
        Row("no list", #"\#(repo),"collection":"com.example.feed.post""#, nil),
        Row("a number in the list", #"\#(repo),"collection":["com.example.feed.post",1]"#, nil),
        Row("an action that is none", #"\#(repo),\#(post),"action":["read"]"#, nil),
        Row("no action in the list", #"\#(repo),\#(post),"action":[]"#, nil),
        Row("a field that is not understood", #"\#(repo),\#(post),"until":"2030""#, nil),
        Row("a field that is null", #"\#(repo),\#(post),"action":null"#, nil),
        Row("no identifier", #"\#(repo),"collection":["com.example.feed.*"]"#, nil),
        Row("files", #""resource":"blob","accept":["*/*"]"#, nil),
        Row("the account", #""resource":"account","attr":"email""#, nil),
        Row("the identity", #""resource":"identity","attr":"*""#, nil),
        Row("another set", #""resource":"include","nsid":"com.example.feed.other""#, nil),
        Row("no resource", post, nil), Row("a resource that is none", #""resource":1"#, nil),
    ]

    @Test(arguments: rows) func whatAnEntryGrants(_ row: Row) throws {
        let entry = "{\"type\":\"permission\",\(row.fields)}"
        // What is wrong with one entry is nothing to the others.
        let other = #"{"type":"permission","resource":"repo","collection":["com.example.feed.other"]}"#
        let set = try #require(try Self.set("\(entry),\(other)"))
        for (scope, granted) in [
            ("include:\(Self.id)?aud=did:web:api.example.com%23svc", row.granted), ("include:\(Self.id)", row.alone),
        ] {
            let expanded = try Scopes(parsing: Bytes(scope)).expanded { $0 == Self.id ? set : nil }
            let wanted = (granted.map { $0 + " " } ?? "") + "repo:com.example.feed.other"
            #expect(expanded.text == wanted, "\(scope)")
        }
    }

    @Test func anEntryOfAnotherTypeIsIgnored() throws {
        let set = try #require(
            try Self.set(#"{"type":"x","resource":"repo","collection":["com.example.feed.a"]},1,"x",null"#))
        #expect(set.entries.isEmpty)
    }

    static let noSets: [String] = [
        "{}", #"{"type":"permission-set"}"#, #"{"type":"record","permissions":[]}"#,
        #"{"type":"permission-set","permissions":{}}"#, "[]", "null", "1",
    ]

    @Test(arguments: noSets) func whatIsNoSet(_ text: String) throws {
        #expect(PermissionSet(Self.id, definition: try JSON.parsePlain(Bytes(text))) == nil)
    }

    @Test func entriesAreLimited() throws {
        func set(_ count: Int) throws -> PermissionSet? {
            try Self.set([String](repeating: "null", count: count).joined(separator: ","))
        }
        #expect(try set(PermissionSet.permissionsMax) != nil)
        #expect(try set(PermissionSet.permissionsMax + 1) == nil)
    }

    // MARK: Texts

    @Test func textsAreKept() throws {
        let set = try #require(
            try Self.set(
                "", #""title":"Basics","title:lang":{"ja":"基本","not a language":"x","fr":1},"detail":"A.\u200D","#))
        #expect(set.title.plain == "Basics")
        #expect(set.title.translations == ["ja": "基本"])
        #expect(set.detail.plain == "A.\u{200D}" && set.detail.translations.isEmpty)
    }

    static let texts: [(String, String)] = [
        ("empty", "\"\""), ("a number", "1"), ("a line's end", #""a\nb""#), ("an escape", #""a\u001bb""#),
        ("a control of C1", #""a\u0085b""#), ("a turn of direction", #""a\u202eb""#), ("an isolate", #""a\u2066b""#),
        ("a mark of direction", #""a\u200fb""#), ("a paragraph's end", #""a\u2029b""#),
        ("too long", "\"" + String(repeating: "a", count: PermissionSet.titleSizeMax + 1) + "\""),
    ]

    @Test(arguments: texts) func textsThatAreNotKept(_ name: String, _ json: String) throws {
        let set = try #require(try Self.set("", "\"title\":\(json),\"title:lang\":{\"en\":\(json)},"))
        #expect(set.title == PermissionSet.Text(plain: nil, translations: [:]))
    }

    // MARK: Expansion

    @Test func aListIsExpandedInItsOrder() throws {
        let set = try #require(
            try Self.set(
                #"{"type":"permission","resource":"repo","collection":["com.example.feed.a"]},"#
                    + #"{"type":"permission","resource":"repo","collection":["com.example.feed.b"]}"#))
        let scopes = try Scopes(
            parsing: Bytes(
                "include:\(Self.id) new:thing repo?collection=com.example.feed.b atproto "
                    + "include:\(Self.id)?aud=did:web:api.example.com%23svc"))
        let expanded = try scopes.expanded { _ in set }
        #expect(expanded.text == "repo:com.example.feed.a repo:com.example.feed.b new:thing atproto")
        #expect(try Scopes(parsingExpanded: expanded.text) == expanded)
        #expect(expanded.allows(.write(.create, NSID("com.example.feed.a")!)))
        #expect(try expanded.expanded { _ in nil } == expanded)
    }

    @Test func aSetThatCannotBeHadIsRefused() throws {
        let scopes = try Scopes(parsing: "atproto include:com.example.gone")
        let error = #expect(throws: AuthorizationError.self) { try scopes.expanded { _ in nil } }
        #expect(error?.code == .invalidScope)
        struct Down: Error {}
        #expect(throws: Down.self) { try scopes.expanded { _ in throw Down() } }
    }

    /// A set that is given for another name grants nothing by it.
    @Test func aSetOfAnotherNameGrantsNothing() throws {
        let set = try #require(
            try Self.set(#"{"type":"permission","resource":"repo","collection":["com.example.feed.a"]}"#))
        #expect(try Scopes(parsing: "include:com.example.feed.other").expanded { _ in set }.isEmpty)
    }

    @Test func anExpandedListIsLimited() throws {
        // 12,800 names of 21 bytes and more.
        let names = (0..<400).map { "\"com.example.feed.n\($0)" }
        let entries = (0..<32).map { index in
            let list = names.map { $0 + "x\(index)\"" }.joined(separator: ",")
            return "{\"type\":\"permission\",\"resource\":\"repo\",\"collection\":[\(list)]}"
        }
        let set = try #require(try Self.set(entries.joined(separator: ",")))
        let error = #expect(throws: AuthorizationError.self) {
            try Scopes(parsing: Bytes("include:\(Self.id)")).expanded { _ in set }
        }
        #expect(error?.code == .invalidScope)
    }

    // MARK: Sets in the wild

    private static let shared: URL =
        if let path = ProcessInfo.processInfo.environment["SKYSTEAD_SHARED_DIR"] {
            URL(filePath: path)
        } else {
            URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../../shared").standardized
        }

    /// In CI they must be there.
    static let areSetsThere =
        FileManager.default.fileExists(atPath: shared.path) || ProcessInfo.processInfo.environment["CI"] != nil

    static let published: [(NSID, entries: Int)] = [
        (NSID("app.bsky.authFullApp")!, 2), (NSID("app.bsky.authCreatePosts")!, 2),
        (NSID("app.bsky.authDeleteContent")!, 1), (NSID("app.bsky.authManageProfile")!, 1),
        (NSID("app.bsky.authManageModeration")!, 2), (NSID("app.bsky.authManageNotifications")!, 1),
        (NSID("app.bsky.authManageFeedDeclarations")!, 1), (NSID("app.bsky.authManageLabelerService")!, 1),
        (NSID("app.bsky.authViewAll")!, 1), (NSID("chat.bsky.authFullChatClient")!, 2),
    ]

    @Test(.enabled(if: areSetsThere), arguments: published) func publishedSetsAreUnderstood(
        _ id: NSID, _ entries: Int
    ) throws {
        let path = "lexicons/" + id.description.split(separator: ".").joined(separator: "/") + ".json"
        let document = try JSON.parsePlain(Bytes([UInt8](try Data(contentsOf: Self.shared.appending(path: path)))))
        let main = try #require(document["defs"]?["main"])
        let set = try #require(PermissionSet(id, definition: main))
        #expect(set.title.plain != nil && set.detail.plain != nil)
        #expect(set.entries.count == entries && main["permissions"]?.array?.count == entries)
        let scope = Bytes("atproto include:\(id)?aud=did:web:api.bsky.app%23bsky_appview")
        let expanded = try Scopes(parsing: scope).expanded { $0 == id ? set : nil }
        #expect(expanded.entries.count == entries + 1)
        #expect(try Scopes(parsingExpanded: expanded.text).permissions == expanded.permissions)
    }
}
