internal import ATProto
public import Base
public import Crypto

/// An OAuth client as it was at one moment: its metadata and, of a confidential one, its keys.
public struct Client: Sendable, Equatable {
    public let metadata: ClientMetadata
    /// What its assertions are verified with; none of a public client.
    public let keys: [ClientKey]

    /// `fetched` are the keys that a `jwks_uri` named; nil when the metadata has none.
    init(_ metadata: ClientMetadata, fetched: ClientKeySet? = nil) {
        self.metadata = metadata
        switch metadata.authentication {
        case .none: keys = []
        case .privateKeyJWT(_, .inline(let set)): keys = set.keys
        case .privateKeyJWT(_, .at): keys = fetched?.keys ?? []
        }
    }

    public var id: ClientID { metadata.id }
    public var isPublic: Bool { metadata.isPublic }
    /// What a consent is bound to (reliability D7).
    public var digest: Digest { metadata.digest }

    /// The address that a request names, when it is one of the client's. Throws `invalid_request`, which must be shown
    /// and not redirected (RFC 6749 §4.1.2.1).
    ///
    /// Of a development client the port is never compared (https://atproto.com/specs/oauth).
    public func redirectURI(_ text: Bytes) throws(AuthorizationError) -> RedirectURI {
        if let registered = metadata.redirectURIs.first(where: { $0.bytes == text }) { return registered }
        let requested: RedirectURI
        do throws(AuthorizationError) {
            requested = try RedirectURI(text)
        } catch {
            throw AuthorizationError(.invalidRequest, error.description)
        }
        guard metadata.redirectURIs.contains(where: { $0.matches(requested, anyPort: id.isLoopback) }) else {
            throw AuthorizationError(.invalidRequest, "redirect_uri: not one of this client")
        }
        return requested
    }

    // MARK: Snapshots

    /// The client as JSON, to be kept with a request and read again by `init(snapshot:)`.
    public var snapshot: Bytes {
        var writer = JSONWriter()
        writer.beginObject()
        writer.key("client_id" as StaticString)
        writer.string(id.bytes)
        if !id.isLoopback {
            writer.key("metadata" as StaticString)
            writer.raw(metadata.json)
        }
        if case .privateKeyJWT(_, .at) = metadata.authentication {
            writer.key("jwks" as StaticString)
            writer.beginObject()
            writer.key("keys" as StaticString)
            writer.beginArray()
            for key in keys { writer.raw(key.json) }
            writer.endArray()
            writer.endObject()
        }
        writer.endObject()
        return Bytes(writer.finish())
    }

    /// Reads a `snapshot`. Throws `AuthorizationError` for one that the rules of today refuse.
    public init(snapshot: Bytes, rules: ClientRules = .strict) throws(AuthorizationError) {
        let damaged = AuthorizationError(.invalidClientMetadata, "the client is not known in this form")
        guard let value = try? JSON.parsePlain(snapshot), let text = value["client_id"]?.text else { throw damaged }
        let id = try ClientID(text, rules: rules)
        if let development = ClientMetadata(development: id) {
            self.init(development)
            return
        }
        guard let document = value["metadata"] else { throw damaged }
        let metadata = try ClientMetadata(json: Bytes(JSON.encode(document)), of: id, rules: rules)
        self.init(
            metadata,
            fetched: try value["jwks"].map { (value) throws(AuthorizationError) in
                try ClientKeySet(value, "jwks_uri")
            })
    }

    // MARK: Changes

    /// What of this client, as it was when a request came in, is gone from it as it is now.
    public func narrowing(to current: Client) -> ClientNarrowing {
        ClientNarrowing(from: self, to: current)
    }
}

/// What a client has given up since a request or a session of it began. A later document takes away only: what it adds
/// is for new requests (reliability D7).
public struct ClientNarrowing: Sendable, Equatable {
    /// Addresses that nothing may be sent to any more.
    public let redirectURIs: [RedirectURI]
    /// Scope values that may not be granted any more.
    public let scopes: [Bytes]
    /// Keys whose sessions end (https://atproto.com/specs/oauth, Confidential Client Authentication).
    public let keys: [ClientKey]
    /// Whether the client has another name, proves itself otherwise, or is of another type: nothing of the old stands.
    public let isReplaced: Bool
    /// Whether it has given up refresh tokens.
    public let losesRefresh: Bool

    fileprivate init(from old: Client, to new: Client) {
        redirectURIs = old.metadata.redirectURIs.filter { !new.metadata.redirectURIs.contains($0) }
        let scopes = Set(new.metadata.scopes)
        self.scopes = old.metadata.scopes.filter { !scopes.contains($0) }
        keys = old.keys.filter { key in !new.keys.contains { $0.isSame(as: key) } }
        isReplaced =
            old.id != new.id || old.metadata.applicationType != new.metadata.applicationType
            || old.metadata.algorithm != new.metadata.algorithm
        losesRefresh = old.metadata.mayRefresh && !new.metadata.mayRefresh
    }

    /// Whether nothing is gone.
    public var isEmpty: Bool {
        redirectURIs.isEmpty && scopes.isEmpty && keys.isEmpty && !isReplaced && !losesRefresh
    }

    /// Whether an answer may still go to `uri`, which the old client had. `isLoopback` says that the client is the
    /// development client.
    public func allows(_ uri: RedirectURI, isLoopback: Bool = false) -> Bool {
        !isReplaced && !redirectURIs.contains { $0.matches(uri, anyPort: isLoopback) }
    }

    /// Whether a session that began with `key` may go on.
    public func allows(_ key: ClientKey) -> Bool { !isReplaced && !keys.contains { $0.isSame(as: key) } }
}

extension ClientMetadata {
    /// What a confidential client signs with; nil of a public one.
    public var algorithm: Bytes? {
        if case .privateKeyJWT(let algorithm, _) = authentication { algorithm } else { nil }
    }
}
