import ATProto
import Base
import Testing

@testable import Authorization

/// The grammar of one scope: what is understood, and as what; what is not. https://atproto.com/specs/permission
@Suite struct ScopeGrammarTests {
    struct Row: Sendable, CustomTestStringConvertible {
        let scope: String
        /// The canonical form; nil: not understood.
        let canonical: String?
        var testDescription: String { scope.isEmpty ? "nothing" : scope }

        init(_ scope: String, _ canonical: String?) {
            self.scope = scope
            self.canonical = canonical
        }
    }

    static let service = "did:web:api.example.com%23svc"

    static let rows: [Row] = [
        Row("atproto", "atproto"), Row("atproto?", nil), Row("atproto:", nil), Row("ATPROTO", nil), Row("", nil),
        Row("transition:email", "transition:email"), Row("transition:generic", "transition:generic"),
        Row("transition:chat.bsky", "transition:chat.bsky"), Row("transition:other", nil),
        Row("transition:generic?", nil), Row("transition%3Ageneric", nil), Row("openid", nil),

        Row("repo:com.example.a", "repo:com.example.a"), Row("repo?collection=com.example.a", "repo:com.example.a"),
        Row("repo:com.example.a?", "repo:com.example.a"), Row("repo:com%2Eexample.a", "repo:com.example.a"),
        Row("repo:com.example.a?&action=create&&", "repo:com.example.a?action=create"),
        Row("repo:com.example.a?action=delete&action=create", "repo:com.example.a?action=create&action=delete"),
        Row("repo:com.example.a?action=update&action=delete&action=create&action=create", "repo:com.example.a"),
        Row("repo:com.example.a?%61ction=create", "repo:com.example.a?action=create"),
        Row(
            "repo?collection=com.example.b&collection=com.example.a&collection=com.example.b",
            "repo?collection=com.example.a&collection=com.example.b"),
        Row("repo:*", "repo:*"), Row("repo:%2A", "repo:*"), Row("repo:*?action=delete", "repo:*?action=delete"),
        Row("repo?collection=com.example.a&collection=*", "repo:*"),
        Row("repo", nil), Row("repo:", nil), Row("repo?", nil), Row("repo:?", nil), Row("repo?action=create", nil),
        Row("repo:com.example", nil), Row("repo:com.example.*", nil), Row("repo:**", nil), Row("REPO:*", nil),
        Row("repo: com.example.a", nil), Row("repo:com.example.a%20", nil), Row("repo:com.example.a%00", nil),
        Row("repo:com.example.a%", nil), Row("repo:com.example.a%2", nil), Row("repo:com.example.%zz", nil),
        Row("repo:com.example.a%FF", nil), Row("repo:com.example.a?action=", nil),
        Row("repo:com.example.a?action", nil),
        Row("repo:com.example.a?action=*", nil), Row("repo:com.example.a?action=Create", nil),
        Row("repo:com.example.a?action=create,delete", nil), Row("repo:com.example.a?actions=create", nil),
        Row("repo:com.example.a?collection=com.example.a", nil), Row("repo:?collection=com.example.a", nil),
        Row("repo:com.example.a?action=create&x=y", nil), Row("repo:com.example.a#x", nil),
        Row("repository:com.example.a", nil), Row("repo/com.example.a", nil), Row("space:com.example.a", nil),
        Row("repo:com.example.a:com.example.b", nil), Row("repo:com.example.a?action=create?action=update", nil),

        Row("rpc:com.example.do?aud=\(service)", "rpc:com.example.do?aud=\(service)"),
        Row("rpc:com.example.do?aud=did:web:api.example.com#svc", "rpc:com.example.do?aud=\(service)"),
        Row("rpc?aud=\(service)&lxm=com.example.do", "rpc:com.example.do?aud=\(service)"),
        Row("rpc?lxm=com.example.b&aud=*&lxm=com.example.a", "rpc?lxm=com.example.a&lxm=com.example.b&aud=*"),
        Row("rpc:*?aud=\(service)", "rpc:*?aud=\(service)"),
        Row("rpc:com.example.do?aud=*", "rpc:com.example.do?aud=*"),
        Row(
            "rpc:com.example.do?aud=did:plc:yk4dd2qkboz2yv6tpubpc6co%23a_b",
            "rpc:com.example.do?aud=did:plc:yk4dd2qkboz2yv6tpubpc6co%23a_b"),
        Row(
            "rpc:com.example.do?aud=did:web:localhost%253A8080%23a",
            "rpc:com.example.do?aud=did:web:localhost%253A8080%23a"),
        Row("rpc:*?aud=*", nil), Row("rpc?lxm=*&aud=*", nil), Row("rpc?lxm=com.example.a&lxm=*&aud=*", nil),
        Row("rpc:com.example.do", nil), Row("rpc:*", nil), Row("rpc?aud=\(service)", nil),
        Row("rpc:com.example.*?aud=\(service)", nil), Row("rpc:com.example.do?aud=", nil),
        Row("rpc:com.example.do?aud=did:web:api.example.com", nil),
        Row("rpc:com.example.do?aud=did:web:api.example.com%23", nil),
        Row("rpc:com.example.do?aud=did:web:api.example.com%23a%23b", nil),
        Row("rpc:com.example.do?aud=did:web:api.example.com%23a%20b", nil),
        Row("rpc:com.example.do?aud=did:web:api.example.com:path%23a", nil),
        Row("rpc:com.example.do?aud=did:web:localhost%3A8080%23a", nil),
        Row("rpc:com.example.do?aud=did:plc:111%23a", nil), Row("rpc:com.example.do?aud=did:key:zabc%23a", nil),
        Row("rpc:com.example.do?aud=https://api.example.com%23a", nil),
        Row("rpc:com.example.do?aud=\(service)&aud=\(service)", nil),
        Row("rpc:com.example.do?aud=\(service)&inheritAud=true", nil),
        Row("rpc:com.example.do?aud=\(service)&lxm=com.example.do", nil),

        Row("blob:*/*", "blob:*/*"), Row("blob:image/*", "blob:image/*"), Row("blob:Image/PNG", "blob:image/png"),
        Row("blob?accept=text/html&accept=image/png", "blob?accept=image/png&accept=text/html"),
        Row("blob?accept=image/png&accept=image/*", "blob:image/*"),
        Row("blob?accept=image/png&accept=*/*", "blob:*/*"), Row("blob:image%2Fpng", "blob:image/png"),
        Row("blob:image/svg+xml", "blob:image/svg+xml"), Row("blob?accept=image/svg%2Bxml", "blob:image/svg+xml"),
        Row(
            "blob?accept=image/svg+xml&accept=text/html", "blob?accept=image/svg%2Bxml&accept=text/html"),
        Row("blob", nil), Row("blob:", nil), Row("blob:image", nil), Row("blob:*", nil), Row("blob:*/png", nil),
        Row("blob:image/**", nil), Row("blob:ima*/*", nil), Row("blob:image/p*", nil), Row("blob:image/", nil),
        Row("blob:/png", nil), Row("blob:image/png/x", nil), Row("blob:image//png", nil), Row("blob:/*", nil),
        Row("blob:text/plain;charset=utf-8", nil), Row("blob:image/%20png", nil), Row("blob:image/%00", nil),
        Row("blob:image/png?accept=image/png", nil), Row("blob:image/png?size=1", nil),
        Row("blob?accept=image/png&accept=bad", nil),

        Row("account:email", "account:email"), Row("account:email?action=read", "account:email"),
        Row("account:email?action=manage", "account:email?action=manage"),
        Row("account:email?action=manage&action=read", "account:email?action=manage"),
        Row("account?action=manage&attr=repo", "account:repo?action=manage"), Row("account:status", "account:status"),
        Row("account", nil), Row("account:", nil), Row("account:*", nil), Row("account:password", nil),
        Row("account:email?action=write", nil), Row("account:email?action=", nil), Row("account:email?attr=repo", nil),
        Row("account?attr=email&attr=repo", nil), Row("account:Email", nil),

        Row("identity:handle", "identity:handle"), Row("identity:*", "identity:*"), Row("identity:*?", "identity:*"),
        Row("identity?attr=handle", "identity:handle"), Row("identity", nil), Row("identity:", nil),
        Row("identity:did", nil), Row("identity:handle?action=manage", nil), Row("identity?attr=handle&attr=*", nil),

        Row("include:com.example.set", "include:com.example.set"),
        Row("include:com.example.set?aud=\(service)", "include:com.example.set?aud=\(service)"),
        Row("include?aud=\(service)&nsid=com.example.set", "include:com.example.set?aud=\(service)"),
        Row("include", nil), Row("include:", nil), Row("include:*", nil), Row("include:com.example", nil),
        Row("include:com.example.set?aud=*", nil), Row("include:com.example.set?aud=did:web:api.example.com", nil),
        Row("include:com.example.set?aud=", nil), Row("include:com.example.set?aud=\(service)&aud=\(service)", nil),
        Row("include?nsid=com.example.a&nsid=com.example.b", nil), Row("include:com.example.set?x=1", nil),

        // Of the specification: the general syntax without a meaning.
        Row("resource", nil), Row("resource:positional?key=val", nil), Row("resource:positional&thing?key=val", nil),
        Row("service:did:web:com.example#type?key=val", nil), Row("resource:", nil), Row("resource:?", nil),
        Row("resource:&", nil), Row("resource?", nil), Row(":", nil), Row("?", nil), Row(":repo", nil),
    ]

    @Test(arguments: rows) func asSpecified(_ row: Row) throws {
        #expect(Permission(Bytes(row.scope))?.scope.description == row.canonical)
        guard let canonical = row.canonical else { return }
        let permission = try #require(Permission(Bytes(row.scope)))
        #expect(Permission(Bytes(canonical)) == permission, "the canonical form is another permission")
    }

    @Test func halfOfTheRowsAreWrong() {
        #expect(Self.rows.count { $0.canonical == nil } * 2 >= Self.rows.count)
    }
}

/// Lists of scopes.
@Suite struct ScopesTests {
    struct Fault: Sendable, CustomTestStringConvertible {
        let name: String
        let text: Bytes
        let error: ScopeError
        var testDescription: String { name }
    }

    private static func list(_ count: Int) -> Bytes {
        Bytes((0..<count).map { "x\($0)" }.joined(separator: " "))
    }

    static let faults: [Fault] = [
        Fault(name: "empty", text: "", error: .malformed), Fault(name: "a space", text: " ", error: .malformed),
        Fault(name: "a space before", text: " atproto", error: .malformed),
        Fault(name: "a space after", text: "atproto ", error: .malformed),
        Fault(name: "two spaces", text: "atproto  repo:*", error: .malformed),
        Fault(name: "a tab", text: "atproto\trepo:*", error: .malformed),
        Fault(name: "a line's end", text: "atproto\nrepo:*", error: .malformed),
        Fault(name: "a quote", text: "atproto \"", error: .malformed),
        Fault(name: "a backslash", text: "atproto \\", error: .malformed),
        Fault(name: "a letter beyond ASCII", text: "resource:positional?key=québec", error: .malformed),
        Fault(name: "an emoji", text: "emoji:☺️", error: .malformed),
        Fault(name: "a NUL", text: Bytes([0x61, 0x00]), error: .malformed),
        Fault(name: "a delete", text: Bytes([0x61, 0x7F]), error: .malformed),
        Fault(name: "too many", text: list(Scopes.countMax + 1), error: .tooMany(max: Scopes.countMax)),
        Fault(
            name: "too long", text: Bytes([UInt8](repeating: 0x61, count: Scopes.sizeMax + 1)),
            error: .tooLong(max: Scopes.sizeMax)),
        Fault(name: "10,000", text: list(10_000), error: .tooLong(max: Scopes.sizeMax)),
    ]

    @Test(arguments: faults) func refused(_ row: Fault) {
        #expect(throws: row.error) { try Scopes(parsing: row.text) }
    }

    @Test func theLimitsThemselvesAreTaken() throws {
        #expect(try Scopes(parsing: Self.list(Scopes.countMax)).entries.count == Scopes.countMax)
        let longest = Bytes([UInt8](repeating: 0x61, count: Scopes.sizeMax))
        #expect(try Scopes(parsing: longest).unknown == [longest])
    }

    @Test func orderAndWritingAreKept() throws {
        let text: Bytes = "repo?collection=com.example.a new:thing atproto repo:com.example.a blob:*/* new:thing"
        let scopes = try Scopes(parsing: text)
        #expect(scopes.text == "repo?collection=com.example.a new:thing atproto blob:*/*")
        #expect(scopes.canonical == "repo:com.example.a atproto blob:*/*")
        #expect(scopes.unknown == ["new:thing"] && scopes.hasDuplicates)
        #expect(scopes.understood.text == "repo?collection=com.example.a atproto blob:*/*")
        #expect(Scopes().text == "" && Scopes().isEmpty && !scopes.isEmpty)
    }

    struct Pair: Sendable, CustomTestStringConvertible {
        let left: Bytes
        let right: Bytes
        let isSubset: Bool
        let both: Bytes
        var testDescription: String { "\(left) and \(right)" }
    }

    static let pairs: [Pair] = [
        Pair(left: "atproto", right: "atproto repo:*", isSubset: true, both: "atproto"),
        Pair(left: "repo:* atproto", right: "atproto repo:*", isSubset: true, both: "repo:* atproto"),
        Pair(
            left: "repo?collection=com.example.a", right: "repo:com.example.a", isSubset: true,
            both: "repo?collection=com.example.a"),
        Pair(left: "new:a", right: "new:a", isSubset: true, both: "new:a"),
        Pair(left: "atproto repo:*", right: "atproto", isSubset: false, both: "atproto"),
        Pair(left: "new:a", right: "new:b", isSubset: false, both: ""),
        // One by one: what is declared is what may be asked for.
        Pair(left: "repo:com.example.a", right: "repo:*", isSubset: false, both: ""),
        Pair(left: "account:email", right: "account:email?action=manage", isSubset: false, both: ""),
    ]

    @Test(arguments: pairs) func oneWithinAnother(_ pair: Pair) throws {
        let (left, right) = (try Scopes(parsing: pair.left), try Scopes(parsing: pair.right))
        #expect(left.isSubset(of: right) == pair.isSubset)
        #expect(left.intersection(right).text == pair.both)
    }

    @Test func consentOnlyTakesAway() throws {
        let asked = try Scopes(parsing: "atproto repo:com.example.a blob:*/* account:email")
        #expect(
            asked.consented(try Scopes(parsing: "repo:com.example.a identity:*")).text == "atproto repo:com.example.a")
        #expect(asked.consented(Scopes()).text == "atproto")
        #expect(asked.consented(asked) == asked)
        #expect(try Scopes(parsing: "repo:*").consented(try Scopes(parsing: "atproto")).isEmpty)
    }

    // MARK: What a client says

    struct Asked: Sendable, CustomTestStringConvertible {
        let name: String
        let text: Bytes?
        /// What is asked for then; nil: `invalid_scope`.
        let result: Bytes?
        var testDescription: String { name }
    }

    static let declared: Bytes =
        "atproto repo:com.example.a blob:image/* new:thing openid transition:generic include:com.example.set"

    static let asked: [Asked] = [
        Asked(
            name: "all but OpenID", text: "atproto blob:image/* transition:generic",
            result: "atproto blob:image/* transition:generic"),
        Asked(
            name: "one written otherwise", text: "repo?collection=com.example.a atproto",
            result: "repo?collection=com.example.a atproto"),
        Asked(name: "one that is not understood is dropped", text: "atproto new:thing", result: "atproto"),
        Asked(name: "a set", text: "atproto include:com.example.set", result: "atproto include:com.example.set"),
        Asked(name: "nothing said", text: nil, result: nil), Asked(name: "empty", text: "", result: nil),
        Asked(name: "without atproto", text: "repo:com.example.a", result: nil),
        Asked(name: "OpenID Connect", text: "atproto openid", result: nil),
        Asked(name: "not declared", text: "atproto repo:com.example.b", result: nil),
        Asked(name: "not declared and not understood", text: "atproto new:other", result: nil),
        Asked(name: "wider than declared", text: "atproto blob:*/*", result: nil),
        Asked(name: "twice", text: "atproto repo:com.example.a repo:com.example.a", result: nil),
        Asked(name: "twice, written otherwise", text: "atproto repo:com.example.a repo:com.example.a?", result: nil),
        Asked(name: "malformed", text: "atproto  blob:image/*", result: nil),
        Asked(name: "10,000", text: list(10_000), result: nil),
    ]

    @Test(arguments: asked) func requests(_ row: Asked) throws {
        let declared = try Scopes(declared: Self.declared)
        if let result = row.result {
            #expect(try Scopes(requested: row.text, declared: declared).text == result)
        } else {
            let error = #expect(throws: AuthorizationError.self) {
                try Scopes(requested: row.text, declared: declared)
            }
            #expect(error?.code == .invalidScope)
            #expect(error?.description.isEmpty == false)
            #expect(error?.description.allSatisfy { $0 >= 0x20 && $0 < 0x7F && $0 != 0x22 && $0 != 0x5C } == true)
        }
    }

    @Test func setsThatMayBeNamedAreLimited() throws {
        func list(_ count: Int) -> Bytes {
            "atproto " + Bytes((0..<count).map { "include:com.example.s\($0)" }.joined(separator: " "))
        }
        for count in [Scopes.includesMax, Scopes.includesMax + 1] {
            let declared = try Scopes(declared: list(count))
            let asked = try? Scopes(requested: list(count), declared: declared)
            #expect((asked != nil) == (count <= Scopes.includesMax))
        }
    }

    static let metadata: [(Bytes, isTaken: Bool)] = [
        ("atproto", true), ("atproto openid new:thing", true), ("repo:* atproto", true), ("repo:*", false),
        ("", false), ("atproto atproto", false), ("atproto repo:* repo?collection=*", false), ("atproto  x", false),
        ("atproto new:thing new:thing", false), ("atproto\u{7}", false), (list(10_000), false),
    ]

    @Test(arguments: metadata) func whatAClientDeclares(_ text: Bytes, _ isTaken: Bool) {
        let error: AuthorizationError?
        do throws(AuthorizationError) {
            _ = try Scopes(declared: text)
            error = nil
        } catch let thrown {
            error = thrown
        }
        #expect(isTaken ? error == nil : error?.code == .invalidClientMetadata)
    }
}
