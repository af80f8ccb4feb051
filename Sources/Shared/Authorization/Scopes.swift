public import ATProto
public import Base

/// What is wrong with a list of scopes as a whole. One scope that is not understood is no fault of the list.
public enum ScopeError: Error, Equatable, Sendable {
    /// Not of RFC 6749 §3.3: empty, two spaces, or a byte that no scope has.
    case malformed
    case tooLong(max: Int)
    case tooMany(max: Int)
}

/// A list of scopes (RFC 6749 §3.3): what a client declares, asks for, or was granted.
///
/// Each scope stands in it once, in the order and the form in which it was first written; two that mean the same are
/// the same. Lists are equal that hold the same in the same order.
public struct Scopes: Sendable, Equatable {
    /// The longest list of a client's, in bytes.
    public static let sizeMax = 16_384
    /// Scopes of a client's list. Apps with permissions of their own have dozens, up to hundreds.
    public static let countMax = 512
    /// Permission sets that one request may name: each may have to be resolved through the network.
    public static let includesMax = 20
    /// The longest list with the permissions of sets in it, in bytes.
    public static let expandedSizeMax = 262_144
    /// Scopes of such a list.
    public static let expandedCountMax = 4_096

    public struct Entry: Sendable, Hashable {
        public let written: Bytes
        /// nil for a scope that is not understood: it grants nothing.
        public let permission: Permission?

        init(written: Bytes) {
            self.written = written
            permission = Permission(written)
        }

        init(_ permission: Permission) {
            self.permission = permission
            written = permission.scope
        }

        public static func == (left: Entry, right: Entry) -> Bool {
            left.permission == right.permission && (left.permission != nil || left.written == right.written)
        }

        public func hash(into hasher: inout Hasher) {
            if let permission { permission.hash(into: &hasher) } else { written.hash(into: &hasher) }
        }
    }

    public private(set) var entries: [Entry] = []
    /// Whether the text said something twice.
    public private(set) var hasDuplicates = false

    /// None.
    public init() {}

    /// A list of a client's. Throws what is wrong with it as a whole.
    public init(parsing text: Bytes) throws(ScopeError) {
        try self.init(text, sizeMax: Self.sizeMax, countMax: Self.countMax)
    }

    /// A list that `expanded` has made and `text` has written.
    public init(parsingExpanded text: Bytes) throws(ScopeError) {
        try self.init(text, sizeMax: Self.expandedSizeMax, countMax: Self.expandedCountMax)
    }

    private init(_ text: Bytes, sizeMax: Int, countMax: Int) throws(ScopeError) {
        guard text.count <= sizeMax else { throw .tooLong(max: sizeMax) }
        let isOfGrammar = text.allSatisfy { $0 >= 0x20 && $0 <= 0x7E && $0 != 0x22 && $0 != 0x5C }
        guard isOfGrammar else { throw .malformed }
        let spaces = text.reduce(0) { $1 == 0x20 ? $0 + 1 : $0 }
        guard spaces < countMax else { throw .tooMany(max: countMax) }
        var seen: Set<Entry> = []
        for part in text.split(on: 0x20) {
            guard !part.isEmpty else { throw .malformed }
            let entry = Entry(written: part)
            if seen.insert(entry).inserted { entries.append(entry) } else { hasDuplicates = true }
        }
    }

    init(entries: [Entry]) { self.entries = entries }

    public static func == (left: Scopes, right: Scopes) -> Bool { left.entries == right.entries }

    /// The list as it was written, but for what it said twice.
    public var text: Bytes { Self.joined(entries.map(\.written)) }

    /// The same in canonical form: what is understood, by itself in the one form that it has.
    public var canonical: Bytes { Self.joined(permissions.map(\.scope)) }

    private static func joined(_ scopes: [Bytes]) -> Bytes { Bytes(Array(scopes.joined(separator: [0x20]))) }

    public var permissions: [Permission] { entries.compactMap(\.permission) }

    /// What is not understood, as written.
    public var unknown: [Bytes] { entries.compactMap { $0.permission == nil ? $0.written : nil } }

    public var isEmpty: Bool { entries.isEmpty }

    public func contains(_ permission: Permission) -> Bool { entries.contains { $0.permission == permission } }

    /// Whether each scope of this list is one of `other`, one by one: `repo:*` has `repo:com.example.a` not among it.
    /// Also true of two lists with the same unknown scope.
    public func isSubset(of other: Scopes) -> Bool { Set(entries).isSubset(of: other.entries) }

    /// Those that are in `other` too, in the order of this list.
    public func intersection(_ other: Scopes) -> Scopes {
        let others = Set(other.entries)
        return Scopes(entries: entries.filter(others.contains))
    }

    /// Without those that are not understood.
    public var understood: Scopes { Scopes(entries: entries.filter { $0.permission != nil }) }

    /// What is granted when somebody was asked for this list and has left `ticked` of it: never more than was asked
    /// for, never without the profile itself when that was.
    public func consented(_ ticked: Scopes) -> Scopes {
        let others = Set(ticked.entries)
        return Scopes(entries: entries.filter { $0.permission == .atproto || others.contains($0) })
    }
}

// MARK: What a client says

extension Scopes {
    /// The list of a client's metadata. Throws `invalid_client_metadata`.
    ///
    /// What is not understood is kept: a request for it is within what is declared.
    public init(declared text: Bytes) throws(AuthorizationError) {
        func refused(_ words: Bytes) -> AuthorizationError { AuthorizationError(.invalidClientMetadata, words) }
        do throws(ScopeError) { try self.init(parsing: text) } catch { throw refused(error.words) }
        guard contains(.atproto) else { throw refused("scope must include atproto") }
        guard !hasDuplicates else { throw refused("scope names something twice") }
    }

    /// What an authorization request asks for, within `declared`. Throws `invalid_scope`.
    ///
    /// What is not understood is dropped, so that an app may ask for more than this server knows of; OpenID Connect is
    /// refused, as its clients would wait for a token that never comes.
    public init(requested text: Bytes?, declared: Scopes) throws(AuthorizationError) {
        func refused(_ words: Bytes) -> AuthorizationError { AuthorizationError(.invalidScope, words) }
        guard let text else { throw refused("scope is missing") }
        let asked: Scopes
        do throws(ScopeError) { asked = try Scopes(parsing: text) } catch { throw refused(error.words) }
        guard asked.contains(.atproto) else { throw refused("scope must include atproto") }
        guard !asked.hasDuplicates else { throw refused("scope names something twice") }
        guard !asked.unknown.contains("openid") else { throw refused("OpenID Connect is not offered") }
        let others = Set(declared.entries)
        if let foreign = asked.entries.first(where: { !others.contains($0) }) {
            throw refused("not declared in the client metadata: " + foreign.written.upTo(Self.shownSizeMax))
        }
        let includes = asked.permissions.count { if case .include = $0 { true } else { false } }
        guard includes <= Self.includesMax else {
            throw refused(Bytes("at most \(Self.includesMax) permission sets can be asked for"))
        }
        self = asked.understood
    }

    /// Bytes of a scope that an error shows.
    private static let shownSizeMax = 200
}

extension ScopeError {
    fileprivate var words: Bytes {
        switch self {
        case .malformed: "scope is malformed"
        case .tooLong(let max): Bytes("scope is longer than \(max) bytes")
        case .tooMany(let max): Bytes("scope has more than \(max) parts")
        }
    }
}

// MARK: Permission sets

extension Scopes {
    /// With the permissions of its sets in their places, in canonical form, each once. `resolve` gives the set of a
    /// name, or nil when it can't be had.
    ///
    /// Throws what `resolve` throws, and `invalid_scope` for a set that can't be had and for a list that becomes too
    /// long.
    public func expanded(_ resolve: (NSID) throws -> PermissionSet?) throws -> Scopes {
        var seen: Set<Entry> = []
        var found: [Entry] = []
        var size = 0
        func append(_ entry: Entry) throws(AuthorizationError) {
            guard seen.insert(entry).inserted else { return }
            size += entry.written.count + 1
            guard size <= Self.expandedSizeMax, found.count < Self.expandedCountMax else {
                throw AuthorizationError(.invalidScope, "the permission sets hold too many permissions")
            }
            found.append(entry)
        }
        for entry in entries {
            guard case .include(let include)? = entry.permission else {
                try append(entry)
                continue
            }
            guard let set = try resolve(include.set) else {
                throw AuthorizationError(
                    .invalidScope, "the permission set could not be resolved: " + include.set.bytes)
            }
            for permission in set.permissions(for: include) { try append(Entry(permission)) }
        }
        return Scopes(entries: found)
    }
}
