public import ATProto
public import Base

/// A public key of a client, as its JWK Set has it (RFC 7517). What its members mean is for those who verify with it.
public struct ClientKey: Sendable, Hashable {
    /// The longest one as `json`. Bytes: an RSA key of 4,096 bits takes 800.
    public static let sizeMax = 2_048

    /// The JWK without blanks, its members in one order, and of them those alone that a signature is verified by: a
    /// chain of certificates is not kept, nor is an address that nobody here must ask (RFC 8725 §3.10).
    public let json: Bytes
    /// Its `kid`; one without is never chosen.
    public let id: Bytes?
    /// Its `alg`, when it is bound to one.
    public let algorithm: Bytes?
    /// The members that make the key what it is, as RFC 7638 §3.2 has them: a key that comes with other notes is the
    /// same key.
    let material: Bytes

    /// The JWK itself.
    public var value: Value? { try? JSON.parsePlain(json) }

    /// Whether `other` is this key under this name.
    public func isSame(as other: ClientKey) -> Bool { id == other.id && material == other.material }

    /// Throws `invalid_client_metadata`.
    fileprivate init(_ value: Value, _ name: Bytes) throws(AuthorizationError) {
        func refused(_ words: Bytes) -> AuthorizationError {
            AuthorizationError(.invalidClientMetadata, name + ": " + words)
        }
        guard let entries = value.entries else { throw refused("a key is no object") }
        guard let type = value["kty"]?.text else { throw refused("a key has no kty") }
        // RFC 7518 §6.2.2, §6.3.2, §6.4: who publishes these has no key any more.
        guard type != "oct", !entries.contains(where: { Self.secretMembers.contains($0.key) }) else {
            throw refused("a key is not public")
        }
        for member in ["kid", "alg", "use"] as [Bytes] where value[member] != nil {
            guard let text = value[member]?.text, !text.isEmpty, text.count <= Self.textMax else {
                throw refused("a key has a wrong " + member)
            }
        }
        json = Bytes(JSON.encode(.map(entries.filter { Self.keptMembers.contains($0.key) })))
        guard json.count <= Self.sizeMax else { throw refused(Bytes("a key is longer than \(Self.sizeMax) bytes")) }
        id = value["kid"]?.text
        algorithm = value["alg"]?.text
        let members = (Self.materialMembers[type] ?? []).compactMap { member in
            value[member].map { Value.Entry(key: member, value: $0) }
        }
        material = members.isEmpty ? json : Bytes(JSON.encode(.map(members)))
    }

    private static let textMax = 512
    private static let secretMembers: Set<Bytes> = ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"]
    private static let keptMembers: Set<Bytes> = ["kty", "crv", "x", "y", "n", "e", "kid", "alg", "use", "key_ops"]
    private static let materialMembers: [Bytes: [Bytes]] = [
        "EC": ["crv", "kty", "x", "y"], "RSA": ["e", "kty", "n"], "OKP": ["crv", "kty", "x"],
    ]
}

/// The keys of a confidential client.
public struct ClientKeySet: Sendable, Hashable {
    /// Keys of one client.
    public static let countMax = 32

    public let keys: [ClientKey]

    /// Reads a JWK Set, as it is at a `jwks_uri`. Throws `invalid_client_metadata`.
    public init(json: Bytes) throws(AuthorizationError) {
        try self.init(try ClientMetadata.document(json, "jwks_uri"), "jwks_uri")
    }

    /// `name` is the member that holds it.
    init(_ value: Value, _ name: Bytes) throws(AuthorizationError) {
        func refused(_ words: Bytes) -> AuthorizationError {
            AuthorizationError(.invalidClientMetadata, name + ": " + words)
        }
        guard let items = value["keys"]?.array else { throw refused("must be an object with a list of keys") }
        guard !items.isEmpty else { throw refused("must have a key") }
        guard items.count <= Self.countMax else { throw refused(Bytes("more than \(Self.countMax) keys")) }
        var keys: [ClientKey] = []
        for item in items { keys.append(try ClientKey(item, name)) }
        let names = keys.compactMap(\.id)
        guard Set(names).count == names.count else { throw refused("two keys have one kid") }
        self.keys = keys
    }

    /// `{"keys":[…]}`.
    public var json: Bytes {
        var writer = JSONWriter()
        write(to: &writer)
        return Bytes(writer.finish())
    }

    func write(to writer: inout JSONWriter) {
        writer.beginObject()
        writer.key("keys" as StaticString)
        writer.beginArray()
        for key in keys { writer.raw(key.json) }
        writer.endArray()
        writer.endObject()
    }
}
