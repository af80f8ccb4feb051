public import ATProto
public import Base

/// A published bundle of permissions, as far as it counts here. https://atproto.com/specs/permission (permission sets)
///
/// It can grant writing and calling under its own name's authority, and nothing else: an entry that wants more, or that
/// is not understood, is as good as not there.
public struct PermissionSet: Sendable, Equatable {
    /// Entries of one set.
    public static let permissionsMax = 256
    /// The longest title, in bytes: a handful of words.
    public static let titleSizeMax = 256
    /// The longest detail, in bytes: a paragraph.
    public static let detailSizeMax = 2_048
    /// Languages of a title or a detail.
    public static let languagesMax = 256

    /// For people. What is too long, or could disturb the text around it, is not kept.
    public struct Text: Sendable, Equatable {
        public let plain: Bytes?
        /// By language tag.
        public let translations: [Bytes: Bytes]
    }

    enum Entry: Sendable, Equatable {
        case repo(RepoPermission)
        case rpc(RPCPermission)
        /// For the audience of whoever includes the set.
        case inheriting(NSIDs)
    }

    public let id: NSID
    public let title: Text
    public let detail: Text
    let entries: [Entry]

    /// The set `id` from the `main` definition of its lexicon; nil when that defines no set, or too large a one.
    public init?(_ id: NSID, definition: Value) {
        guard definition["type"]?.text == "permission-set", let permissions = definition["permissions"]?.array,
            permissions.count <= Self.permissionsMax
        else { return nil }
        self.id = id
        title = Text(definition, "title", "title:lang", sizeMax: Self.titleSizeMax)
        detail = Text(definition, "detail", "detail:lang", sizeMax: Self.detailSizeMax)
        entries = permissions.compactMap { Self.entry($0, under: id.authority + ".") }
    }

    /// What `include` grants by this set: nothing when it names another. Its audience goes to those entries that leave
    /// theirs open; without one they grant nothing.
    public func permissions(for include: IncludePermission) -> [Permission] {
        guard include.set == id else { return [] }
        return entries.compactMap { entry in
            switch entry {
            case .repo(let repo): .repo(repo)
            case .rpc(let rpc): .rpc(rpc)
            case .inheriting(let methods):
                include.audience.flatMap { RPCPermission(methods, .service($0)) }.map(Permission.rpc)
            }
        }
    }

    // MARK: Entries

    private static let inherits: Bytes = "inheritAud"
    /// Fields that every schema has, and that narrow nothing.
    private static let general: Set<Bytes> = ["type", "resource", "description"]

    /// nil for whatever is not understood to the last field, or names anything outside of `prefix`.
    private static func entry(_ value: Value, under prefix: Bytes) -> Entry? {
        guard value["type"]?.text == "permission", let resource = value["resource"]?.text else { return nil }
        switch resource {
        case RepoPermission.resource:
            guard
                let syntax = syntax(value, lists: [RepoPermission.collection, RepoPermission.action], texts: []),
                let repo = RepoPermission(syntax), isWithin(repo.collections, prefix)
            else { return nil }
            return .repo(repo)
        case RPCPermission.resource:
            guard
                let syntax = syntax(
                    value, lists: [RPCPermission.method], texts: [RPCPermission.audience], flags: [inherits]),
                let methods = NSIDs(syntax.values(RPCPermission.method)), isWithin(methods, prefix)
            else { return nil }
            let audiences = syntax.values(RPCPermission.audience)
            if value[inherits]?.bool == true { return audiences.isEmpty ? .inheriting(methods) : nil }
            // A set is for every client: it can't choose one service for them.
            guard audiences == [NSIDs.wildcard] else { return nil }
            return RPCPermission(methods, .any).map(Entry.rpc)
        default: return nil
        }
    }

    /// The fields of an entry as if they were a scope's, or nil when there is another or one of another kind.
    private static func syntax(
        _ value: Value, lists: [Bytes], texts: [Bytes], flags: [Bytes] = []
    ) -> PermissionSyntax? {
        var parameters: [PermissionSyntax.Parameter] = []
        for field in value.entries ?? [] where !general.contains(field.key) {
            if lists.contains(field.key) {
                guard let items = field.value.array, !items.isEmpty else { return nil }
                for item in items {
                    guard let text = item.text else { return nil }
                    parameters.append(PermissionSyntax.Parameter(name: field.key, value: text))
                }
            } else if texts.contains(field.key) {
                guard let text = field.value.text else { return nil }
                parameters.append(PermissionSyntax.Parameter(name: field.key, value: text))
            } else {
                guard flags.contains(field.key), field.value.bool != nil else { return nil }
            }
        }
        return PermissionSyntax(resource: value["resource"]?.text ?? Bytes(), parameters: parameters)
    }

    /// Whether all are named, and in the set's own group or a group inside of it.
    private static func isWithin(_ nsids: NSIDs, _ prefix: Bytes) -> Bool {
        guard case .only(let named) = nsids else { return false }
        return named.allSatisfy { $0.bytes.starts(with: prefix) }
    }
}

extension PermissionSet.Text {
    init(_ definition: Value, _ name: Bytes, _ translated: Bytes, sizeMax: Int) {
        plain = definition[name]?.text.flatMap { Self.shown($0, sizeMax: sizeMax) }
        var found: [Bytes: Bytes] = [:]
        for entry in (definition[translated]?.entries ?? []).prefix(PermissionSet.languagesMax)
        where StringFormat.isLanguage(entry.key) {
            found[entry.key] = entry.value.text.flatMap { Self.shown($0, sizeMax: sizeMax) }
        }
        translations = found
    }

    /// nil for a text that is empty, too long, or has controls in it, those of the direction of writing among them:
    /// a set is written by strangers and read beside the name of the app.
    private static func shown(_ text: Bytes, sizeMax: Int) -> Bytes? {
        guard !text.isEmpty, text.count <= sizeMax, let string = text.text else { return nil }
        let isPlain = string.unicodeScalars.allSatisfy { scalar in
            switch scalar.value {
            case 0..<0x20, 0x7F..<0xA0, 0x061C, 0x200E, 0x200F, 0x2028...0x202E, 0x2066...0x2069: false
            default: true
            }
        }
        return isPlain ? text : nil
    }
}
