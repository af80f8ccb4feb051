public import ATProto
public import Base
public import Crypto

/// What the AT Protocol reads from a DID document. https://atproto.com/specs/did
///
/// Of several entries with the same id the first counts; what it says is not repaired from a later one.
public struct DIDDocument: Sendable, Equatable {
    /// Bytes of a document that is read at all.
    public static let sizeMax = 262_144

    /// One entry of `service`.
    public struct Service: Sendable, Equatable {
        /// With its `#`, whether the document spells out the DID or not.
        public let fragment: Bytes
        public let type: Bytes
        public let endpoint: Bytes
    }

    public let did: DID
    /// The first valid `at://` handle of `alsoKnownAs`. A claim, until the handle resolves back.
    public let handle: Handle?
    public let services: [Service]
    private let key: Result<VerificationKey, DocumentFault>
    private let labelKey: Result<VerificationKey, DocumentFault>

    /// Reads the document that was got for `did`. Throws `IdentityError.invalidDocument` for what is no document of
    /// it; missing or wrong entries throw where they are asked for.
    public init(json: Bytes, of did: DID) throws(IdentityError) {
        guard json.count <= Self.sizeMax, let value = try? JSON.parsePlain(json), case .map = value else {
            throw .invalidDocument(.notJSON)
        }
        guard value["id"]?.text == did.bytes else { throw .invalidDocument(.wrongID) }
        self.did = did
        handle = (value["alsoKnownAs"]?.array ?? []).lazy.compactMap(\.text).compactMap(Self.handle).first
        services = (value["service"]?.array ?? []).compactMap { Self.service($0, of: did) }
        let methods = value["verificationMethod"]?.array ?? []
        key = Self.key("#atproto", methods, of: did)
        labelKey = Self.key("#atproto_label", methods, of: did)
    }

    /// The key that signs the account's repository. Throws `noSigningKey` or `invalidSigningKey`.
    public var signingKey: VerificationKey {
        get throws(IdentityError) {
            do throws(DocumentFault) { return try key.get() } catch { throw .invalidDocument(error) }
        }
    }

    /// The key that signs a labeler's labels and, for its service `#atproto_labeler`, tokens. Throws as `signingKey`.
    public var labelSigningKey: VerificationKey {
        get throws(IdentityError) {
            do throws(DocumentFault) { return try labelKey.get() } catch { throw .invalidDocument(error) }
        }
    }

    /// The origin of the account's server, such as `https://home.example`. Throws `noService` or `invalidService`.
    public var pds: Bytes {
        get throws(IdentityError) {
            guard let service = services.first(where: { $0.fragment == "#atproto_pds" }) else {
                throw .invalidDocument(.noService)
            }
            guard service.type == "AtprotoPersonalDataServer", Self.isOrigin(service.endpoint) else {
                throw .invalidDocument(.invalidService)
            }
            return service.endpoint
        }
    }

    /// The origin of the service with this fragment (with its `#`), a slash at its end dropped; nil when there is none,
    /// when it is of another type than `type`, or when its endpoint is no origin. Only the fetch decides whether the
    /// origin may be asked.
    public func origin(of fragment: Bytes, type: Bytes? = nil) -> Bytes? {
        guard let service = services.first(where: { $0.fragment == fragment }), service.type == type ?? service.type
        else { return nil }
        let endpoint = service.endpoint
        let origin = endpoint.ends(with: "/") ? endpoint.upTo(endpoint.count - 1) : endpoint
        return Self.isOrigin(origin) ? origin : nil
    }

    private static func handle(_ alias: Bytes) -> Handle? {
        alias.starts(with: "at://") ? Handle(alias.from(5)) : nil
    }

    /// `#name` of an entry's id, given alone or after the DID; nil for ids of others.
    private static func fragment(_ id: Bytes?, of did: DID) -> Bytes? {
        guard let id else { return nil }
        if id.first == 0x23 { return id }
        return id.starts(with: did.bytes + "#") ? id.from(did.bytes.count) : nil
    }

    private static func service(_ value: Value, of did: DID) -> Service? {
        guard let fragment = fragment(value["id"]?.text, of: did), let type = value["type"]?.text,
            let endpoint = value["serviceEndpoint"]?.text
        else { return nil }
        return Service(fragment: fragment, type: type, endpoint: endpoint)
    }

    private static func key(
        _ id: Bytes, _ methods: [Value], of did: DID
    ) -> Result<VerificationKey, DocumentFault> {
        guard let method = methods.first(where: { fragment($0["id"]?.text, of: did) == id }) else {
            return .failure(.noSigningKey)
        }
        guard method["controller"]?.text == did.bytes, let multibase = method["publicKeyMultibase"]?.text else {
            return .failure(.invalidSigningKey)
        }
        // The types of the DID specification's first edition hold a bare point, whose curve only the type tells.
        let legacy: KeyAlgorithm?
        switch method["type"]?.text {
        case "Multikey": legacy = nil
        case "EcdsaSecp256r1VerificationKey2019": legacy = .p256
        case "EcdsaSecp256k1VerificationKey2019": legacy = .k256
        default: return .failure(.invalidSigningKey)
        }
        guard let key = try? VerificationKey(multibase: multibase, legacy: legacy) else {
            return .failure(.invalidSigningKey)
        }
        return .success(key)
    }

    /// `http(s)://host[:port]` and nothing else: no user, path, query or fragment (specs/did, service endpoints).
    static func isOrigin(_ url: Bytes) -> Bool {
        let scheme: Bytes = url.starts(with: "https://") ? "https://" : "http://"
        guard url.starts(with: scheme), url.count <= 2_048 else { return false }
        let authority = url.from(scheme.count)
        guard !authority.isEmpty, authority.first != 0x3A else { return false }
        return authority.allSatisfy {
            ($0 >= 0x30 && $0 <= 0x3A) || ($0 | 0x20 >= 0x61 && $0 | 0x20 <= 0x7A) || $0 == 0x2D || $0 == 0x2E
        }
    }

    // MARK: Making

    /// The document of an account of this server, as the PLC directory words it, in JSON.
    public static func json(of did: DID, handle: Handle?, signingKey: VerificationKey?, pds: Bytes) -> Bytes {
        var writer = JSONWriter()
        writer.beginObject()
        writer.key("@context" as StaticString)
        writer.beginArray()
        for context in [
            "https://www.w3.org/ns/did/v1", "https://w3id.org/security/multikey/v1",
            "https://w3id.org/security/suites/secp256k1-2019/v1",
        ] as [Bytes] { writer.string(context) }
        writer.endArray()
        writer.key("id" as StaticString)
        writer.string(did.bytes)
        if let handle {
            writer.key("alsoKnownAs" as StaticString)
            writer.beginArray()
            writer.string("at://" + handle.bytes)
            writer.endArray()
        }
        if let signingKey {
            writer.key("verificationMethod" as StaticString)
            writer.beginArray()
            writeMembers(
                [
                    ("id", did.bytes + "#atproto"), ("type", "Multikey"), ("controller", did.bytes),
                    ("publicKeyMultibase", signingKey.multibase),
                ], to: &writer)
            writer.endArray()
        }
        writer.key("service" as StaticString)
        writer.beginArray()
        writeMembers(
            [("id", "#atproto_pds"), ("type", "AtprotoPersonalDataServer"), ("serviceEndpoint", pds)], to: &writer)
        writer.endArray()
        writer.endObject()
        return Bytes(writer.finish())
    }

    private static func writeMembers(_ members: [(StaticString, Bytes)], to writer: inout JSONWriter) {
        writer.beginObject()
        for (name, text) in members {
            writer.key(name)
            writer.string(text)
        }
        writer.endObject()
    }
}
