public import Base
internal import Storage

/// From a client's id to what it says of itself, by its own document.
public struct ClientResolver: Sendable {
    /// A document, or a set of keys, younger than this is not asked for again (specs/pds.md §3.4).
    public static let freshSeconds: Int64 = 600
    /// For so long after that it still serves sessions that exist when its server can't be reached: an outage there
    /// signs nobody out here, and a key that was withdrawn does not live long.
    public static let graceSeconds: Int64 = 3_600
    /// For so long a failure is not tried again. The draft asks for no caching of errors; without any, whoever sends
    /// requests here makes us send as many there (reliability C7).
    public static let failureSeconds: Int64 = 10

    /// A client that signs with a key that is not among those that are known is asked again when they are older than
    /// this: it has new ones, and ten minutes without sign-ins would be the price of replacing them.
    public static let rotationSeconds: Int64 = 30

    /// How much age the caller puts up with.
    public enum Patience: Sendable {
        /// For a new request.
        case none
        /// For a session that exists: `graceSeconds`.
        case outage
    }

    private let store: ClientStore
    private let network: ClientNetwork
    /// What this server's operator allows, for those who check a request against a client.
    public let rules: ClientRules
    private let clock: Clock

    public init(store: ClientStore, network: ClientNetwork, rules: ClientRules, clock: Clock) {
        self.store = store
        self.network = network
        self.rules = rules
        self.clock = clock
    }

    /// The client that calls itself `text`. Must not be called inside a transaction: it asks the network.
    ///
    /// `keyID` is the `kid` of the assertion that came with the request, if one did: a set of keys without it is asked
    /// for again when it is older than `rotationSeconds`.
    ///
    /// Throws `AuthorizationError`: `invalid_client_metadata` or `invalid_redirect_uri` with the reason,
    /// `temporarily_unavailable` when another try may work.
    public func client(_ text: Bytes, keyID: Bytes? = nil, patience: Patience = .none) throws -> Client {
        let id = try ClientID(text, rules: rules)
        if let development = ClientMetadata(development: id) { return Client(development) }
        let client = try self.client(id, freshSeconds: Self.freshSeconds, patience)
        guard let keyID, !client.isPublic, !client.keys.contains(where: { $0.id == keyID }) else { return client }
        return try self.client(id, freshSeconds: Self.rotationSeconds, patience)
    }

    private func client(_ id: ClientID, freshSeconds: Int64, _ patience: Patience) throws -> Client {
        let metadata = try document(.metadata, at: id.bytes, freshSeconds, patience) {
            (json) throws(AuthorizationError) in
            try ClientMetadata(json: json, of: id, rules: rules)
        }
        guard case .privateKeyJWT(_, .at(let address)) = metadata.authentication else { return Client(metadata) }
        let keys = try document(.keys, at: address, freshSeconds, patience) { (json) throws(AuthorizationError) in
            try ClientKeySet(json: json)
        }
        return Client(metadata, fetched: keys)
    }

    /// The document at `address`, from the cache for `freshSeconds`, else fetched. Throws what it throws, and what
    /// `read` throws.
    private func document<Document: ClientDocument>(
        _ kind: ClientStore.Kind, at address: Bytes, _ freshSeconds: Int64, _ patience: Patience,
        _ read: (Bytes) throws(AuthorizationError) -> Document
    ) throws -> Document {
        let now = clock.now()
        let known = try store.find(kind, at: address)
        // What an older program took and this one refuses is fetched again.
        let kept = known?.document.flatMap { try? read($0) }
        let age = known?.fetchedAt.map { now.microseconds - $0.microseconds }
        if let kept, let age, age < freshSeconds * 1_000_000 { return kept }
        do {
            if let failure = known?.failure, let failedAt = known?.failedAt,
                now < failedAt.adding(seconds: Self.failureSeconds)
            {
                throw failure
            }
            return try fetch(kind, at: address, now: now, read)
        } catch let error as AuthorizationError {
            let limit = (Self.freshSeconds + Self.graceSeconds) * 1_000_000
            guard error.code == .temporarilyUnavailable, patience == .outage, let kept, let age, age < limit else {
                throw error
            }
            return kept
        }
    }

    private func fetch<Document: ClientDocument>(
        _ kind: ClientStore.Kind, at address: Bytes, now: Timestamp,
        _ read: (Bytes) throws(AuthorizationError) -> Document
    ) throws -> Document {
        let document: Document
        do throws(AuthorizationError) {
            document = try read(try network.json(at: address, types: kind.types, kind.name))
        } catch {
            try store.saveFailure(error, kind, at: address, now: now)
            throw error
        }
        try store.save(document.json, kind, at: address, now: now)
        return document
    }
}

/// What is kept of what was fetched: only what was read of it.
private protocol ClientDocument {
    var json: Bytes { get }
}

extension ClientMetadata: ClientDocument {}
extension ClientKeySet: ClientDocument {}

extension ClientStore.Kind {
    fileprivate var name: Bytes {
        switch self {
        case .metadata: "client metadata"
        case .keys: "jwks_uri"
        }
    }

    /// The media types that it may come as (https://atproto.com/specs/oauth, RFC 7517 §8.5.1).
    fileprivate var types: [Bytes] {
        switch self {
        case .metadata: ["application/json"]
        case .keys: ["application/json", "application/jwk-set+json"]
        }
    }
}
