internal import ATProto
public import Base
public import Crypto

/// What a client says of itself, checked. https://atproto.com/specs/oauth (Client ID Metadata Document), RFC 7591 §2,
/// specs/pds.md §3.4.
public struct ClientMetadata: Sendable, Equatable {
    /// The longest document. Bytes.
    public static let sizeMax = 512 * 1_024
    /// Members of the document.
    static let membersMax = 256
    static let depthMax = 16
    public static let redirectURIsMax = 32
    /// The declared scope, all of it. Bytes.
    public static let scopeSizeMax = 8_192
    /// Values in the declared scope.
    public static let scopesMax = 256
    /// The longest name. Bytes.
    public static let nameSizeMax = 512
    /// Elements of a list of words.
    private static let wordsMax = 16
    private static let wordSizeMax = 128

    /// The value that every scope must have.
    public static let scopeRequired: Bytes = "atproto"

    public enum ApplicationType: Bytes, Sendable {
        case web = "web"
        case native = "native"
    }

    /// How the client proves at our endpoints that it is itself.
    public enum Authentication: Sendable, Equatable {
        /// Not at all: a public client.
        case none
        /// By a signed assertion (RFC 7523): a confidential client. `algorithm` is the one that it signs with.
        case privateKeyJWT(algorithm: Bytes, keys: Keys)
    }

    /// Where the keys of a confidential client are.
    public enum Keys: Sendable, Equatable {
        case inline(ClientKeySet)
        case at(Bytes)
    }

    public let id: ClientID
    public let applicationType: ApplicationType
    public let authentication: Authentication
    /// Each once, in the order of the document.
    public let redirectURIs: [RedirectURI]
    /// What the client may ever ask for, as it wrote it: words with one space between, each once.
    public let scope: Bytes
    /// Whether it may have refresh tokens.
    public let mayRefresh: Bool
    /// What it calls itself. Nobody has checked it: `ClientDisplay` says whether it may be shown.
    let name: Bytes?
    let uri: Bytes?
    let logoURI: Bytes?
    let policyURI: Bytes?
    let termsURI: Bytes?

    /// Whether it authenticates itself by nothing.
    public var isPublic: Bool { authentication == .none }
    /// The values of `scope`.
    public var scopes: [Bytes] { scope.split(on: 0x20) }

    // MARK: Reading

    /// Reads the document of `id`. Throws `invalid_client_metadata` or `invalid_redirect_uri`, with the reason.
    ///
    /// Members that mean nothing here are passed over (RFC 7591 §2), those that ask for what this server must not or
    /// can't do are refused.
    public init(json: Bytes, of id: ClientID, rules: ClientRules = .strict) throws(AuthorizationError) {
        let members = Members(try Self.document(json, "client metadata"))
        guard let client = try members.text("client_id") else { throw Self.refused("client_id is missing") }
        guard client == id.bytes else { throw Self.refused("client_id is not the address of the document") }
        guard !id.isLoopback else { throw Self.refused("a development client has no document") }
        self.id = id
        try Self.checkUnsupported(members)

        let type = try members.text("application_type") ?? ApplicationType.web.rawValue
        guard let applicationType = ApplicationType(rawValue: type) else {
            throw Self.refused("application_type must be web or native")
        }
        self.applicationType = applicationType
        authentication = try Self.authentication(members, applicationType, rules)

        // The defaults are those of RFC 7591 §2.
        let grants = try members.words("grant_types") ?? ["authorization_code"]
        for grant in grants where grant != "authorization_code" && grant != "refresh_token" {
            throw Self.refused("grant_types must not have " + Quoted.text(grant))
        }
        guard grants.contains("authorization_code") else {
            throw Self.refused("grant_types must have authorization_code")
        }
        mayRefresh = grants.contains("refresh_token")
        guard try (members.words("response_types") ?? ["code"]).contains("code") else {
            throw Self.refused("response_types must have code")
        }
        guard try members.bool("dpop_bound_access_tokens") == true else {
            throw Self.refused("dpop_bound_access_tokens must be true")
        }
        guard let scope = try members.text("scope", sizeMax: Self.scopeSizeMax) else {
            throw Self.refused("scope is missing")
        }
        try Self.checkScope(scope)
        self.scope = scope
        redirectURIs = try Self.redirectURIs(members, of: id, isNative: applicationType == .native, rules)

        name = try members.text("client_name", sizeMax: Self.nameSizeMax)
        if let name { try ClientName.check(name) }
        uri = try Self.clientURI(members, of: id, rules)
        logoURI = try Self.page(members, "logo_uri", rules)
        policyURI = try Self.page(members, "policy_uri", rules)
        termsURI = try Self.page(members, "tos_uri", rules)
    }

    /// What a development client's id stands for; nil for other ids. https://atproto.com/specs/oauth (Localhost Client
    /// Development)
    public init?(development id: ClientID) {
        guard let development = id.development else { return nil }
        self.id = id
        applicationType = .native
        authentication = .none
        redirectURIs = development.redirectURIs
        scope = development.scope
        mayRefresh = true
        name = nil
        uri = nil
        logoURI = nil
        policyURI = nil
        termsURI = nil
    }

    static func refused(_ words: Bytes) -> AuthorizationError { AuthorizationError(.invalidClientMetadata, words) }

    /// An object of bounded size, no member of it twice, in UTF-8. `name` says what it is.
    static func document(_ json: Bytes, _ name: Bytes) throws(AuthorizationError) -> Value {
        guard json.count <= sizeMax else { throw refused(name + Bytes(": larger than \(sizeMax) bytes")) }
        let value: Value
        do throws(JSONError) {
            value = try JSON.parsePlain(json, depthMax: depthMax)
        } catch {
            throw refused(name + ": " + Quoted.text(Bytes(error.description)))
        }
        guard let entries = value.entries else { throw refused(name + ": not a JSON object") }
        guard entries.count <= membersMax else { throw refused(name + Bytes(": more than \(membersMax) members")) }
        return value
    }

    /// Throws `invalid_client_metadata` for a scope that no client may declare (RFC 6749 §3.3). What its values mean is
    /// not looked at.
    static func checkScope(_ scope: Bytes) throws(AuthorizationError) {
        guard scope.count <= scopeSizeMax else { throw refused(Bytes("scope is longer than \(scopeSizeMax) bytes")) }
        let values = scope.split(on: 0x20)
        guard values.count <= scopesMax else { throw refused(Bytes("scope has more than \(scopesMax) values")) }
        let isWellFormed = values.allSatisfy { value in
            !value.isEmpty && value.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != 0x22 && $0 != 0x5C }
        }
        guard isWellFormed else { throw refused("scope must be words with one space between") }
        guard Set(values).count == values.count else { throw refused("scope has a value twice") }
        guard values.contains(scopeRequired) else { throw refused("scope must have atproto") }
    }

    private static func checkUnsupported(_ members: Members) throws(AuthorizationError) {
        // There is no secret that both sides know (draft-ietf-oauth-client-id-metadata-document §4.1), no OpenID
        // Connect, no encrypted response and no mutual TLS.
        for name in [
            "client_secret", "client_secret_expires_at", "default_max_age", "userinfo_signed_response_alg",
            "userinfo_encrypted_response_alg", "id_token_signed_response_alg", "authorization_encrypted_response_alg",
            "authorization_encrypted_response_enc",
        ] as [Bytes] where members.has(name) {
            throw refused(name + " is not supported")
        }
        guard try members.text("subject_type") ?? "public" == "public" else {
            throw refused("subject_type must be public")
        }
        guard try members.bool("tls_client_certificate_bound_access_tokens") != true else {
            throw refused("tls_client_certificate_bound_access_tokens is not supported")
        }
        guard try members.words("authorization_details_types")?.isEmpty ?? true else {
            throw refused("authorization_details_types is not supported")
        }
    }

    /// What a client may sign its assertions with: those of the server's metadata.
    static let assertionAlgorithms: [Bytes] = ["ES256", "ES256K"]

    private static func authentication(
        _ members: Members, _ type: ApplicationType, _ rules: ClientRules
    ) throws(AuthorizationError) -> Authentication {
        let address = try members.text("jwks_uri", sizeMax: WebURL.sizeMax)
        let inline = members.has("jwks")
        guard address == nil || !inline else { throw refused("jwks and jwks_uri exclude each other") }
        let keySet = try members["jwks"].map { (value) throws(AuthorizationError) in try ClientKeySet(value, "jwks") }
        if let address {
            do throws(URLProblem) {
                try WebURL(address).checkFetchable(rules)
            } catch {
                throw refused("jwks_uri: " + error.words)
            }
        }
        let algorithm = try members.text("token_endpoint_auth_signing_alg")
        switch try members.text("token_endpoint_auth_method") {
        case "none":
            guard algorithm == nil else {
                throw refused("token_endpoint_auth_signing_alg must be absent with the method none")
            }
            return .none
        case "private_key_jwt":
            // RFC 8252 §8.4: what is on the user's device keeps no secret.
            guard type != .native else {
                throw refused("token_endpoint_auth_method must be none for a native client")
            }
            guard let algorithm else { throw refused("token_endpoint_auth_signing_alg is missing") }
            guard assertionAlgorithms.contains(algorithm) else {
                throw refused("token_endpoint_auth_signing_alg must be ES256 or ES256K")
            }
            if let keySet { return .privateKeyJWT(algorithm: algorithm, keys: .inline(keySet)) }
            guard let address else { throw refused("private_key_jwt needs jwks or jwks_uri") }
            return .privateKeyJWT(algorithm: algorithm, keys: .at(address))
        default: throw refused("token_endpoint_auth_method must be none or private_key_jwt")
        }
    }

    private static func redirectURIs(
        _ members: Members, of id: ClientID, isNative: Bool, _ rules: ClientRules
    ) throws(AuthorizationError) -> [RedirectURI] {
        guard let texts = try members.texts("redirect_uris", countMax: redirectURIsMax), !texts.isEmpty else {
            throw refused("redirect_uris must have an address")
        }
        var uris: [RedirectURI] = []
        for text in texts {
            let uri = try RedirectURI(text, rules: rules)
            try uri.check(for: id, isNative: isNative)
            if !uris.contains(uri) { uris.append(uri) }
        }
        return uris
    }

    /// The client's home page: of its own origin, and at or above the document.
    private static func clientURI(
        _ members: Members, of id: ClientID, _ rules: ClientRules
    ) throws(AuthorizationError) -> Bytes? {
        guard let text = try page(members, "client_uri", rules) else { return nil }
        guard let url = try? WebURL(text), let own = id.url, url.origin == own.origin else {
            throw refused("client_uri must have the origin of the client_id")
        }
        let parent = url.path.ends(with: "/") ? url.path : url.path + "/"
        guard own.path == url.path || own.path.starts(with: parent) else {
            throw refused("client_uri must be a parent of the client_id")
        }
        return text
    }

    /// A page that people may be shown a link to.
    private static func page(
        _ members: Members, _ name: Bytes, _ rules: ClientRules
    ) throws(AuthorizationError) -> Bytes? {
        guard let text = try members.text(name, sizeMax: WebURL.sizeMax) else { return nil }
        do throws(URLProblem) {
            let url = try WebURL(text)
            guard url.isSecure || rules.isPrivate(url) else { throw .httpsRequired }
            try url.checkHost(rules)
        } catch {
            throw refused(name + ": " + error.words)
        }
        return text
    }

    /// The members of the document, by the types that they must have. A member that is null is there and wrong.
    private struct Members {
        let value: Value

        init(_ value: Value) { self.value = value }

        subscript(_ name: Bytes) -> Value? { value[name] }
        func has(_ name: Bytes) -> Bool { value[name] != nil }

        func text(
            _ name: Bytes, sizeMax: Int = ClientMetadata.textSizeMax
        ) throws(AuthorizationError) -> Bytes? {
            guard let member = value[name] else { return nil }
            guard let text = member.text else { throw refused(name + " must be a string") }
            guard text.count <= sizeMax else { throw refused(name + Bytes(" is longer than \(sizeMax) bytes")) }
            return text
        }

        func bool(_ name: Bytes) throws(AuthorizationError) -> Bool? {
            guard let member = value[name] else { return nil }
            guard let bool = member.bool else { throw refused(name + " must be true or false") }
            return bool
        }

        func texts(_ name: Bytes, countMax: Int) throws(AuthorizationError) -> [Bytes]? {
            guard let member = value[name] else { return nil }
            guard let items = member.array else { throw refused(name + " must be a list") }
            guard items.count <= countMax else { throw refused(name + Bytes(" has more than \(countMax) elements")) }
            let texts = items.compactMap(\.text)
            guard texts.count == items.count else { throw refused(name + " must be a list of strings") }
            return texts
        }

        /// A list of words, none twice.
        func words(_ name: Bytes) throws(AuthorizationError) -> [Bytes]? {
            guard let texts = try texts(name, countMax: wordsMax) else { return nil }
            guard texts.allSatisfy({ $0.count <= wordSizeMax }) else {
                throw refused(name + Bytes(" has an element longer than \(wordSizeMax) bytes"))
            }
            guard Set(texts).count == texts.count else { throw refused(name + " has an element twice") }
            return texts
        }
    }

    /// The longest text where nothing else is said. Bytes.
    private static let textSizeMax = WebURL.sizeMax

    // MARK: Writing

    /// The document again, with what was read of it and nothing else: `init(json:of:)` makes the same of it.
    /// At most about 150 KB, and some hundred bytes usually.
    public var json: Bytes { json(forConsent: false) }

    /// What a consent rests on: who the client is, what it may ask for, where the answers go, and what people were
    /// shown. The keys, which are replaced regularly, are not part of it: `ClientNarrowing` watches them.
    public var digest: Digest { SHA256.hash(json(forConsent: true)) }

    /// For a consent without inline keys, and with lists in order: whoever rewrites the document changes nothing by it.
    private func json(forConsent: Bool) -> Bytes {
        var writer = JSONWriter()
        writer.beginObject()
        func text(_ name: StaticString, _ value: Bytes?) {
            guard let value else { return }
            writer.key(name)
            writer.string(value)
        }
        func list(_ name: StaticString, _ values: [Bytes]) {
            writer.key(name)
            writer.beginArray()
            for value in values { writer.string(value) }
            writer.endArray()
        }
        text("client_id", id.bytes)
        text("application_type", applicationType.rawValue)
        writer.key("dpop_bound_access_tokens" as StaticString)
        writer.bool(true)
        list("grant_types", mayRefresh ? ["authorization_code", "refresh_token"] : ["authorization_code"])
        list("response_types", ["code"])
        let addresses = redirectURIs.map(\.bytes)
        list("redirect_uris", forConsent ? addresses.sorted() : addresses)
        if forConsent { list("scope", scopes.sorted()) } else { text("scope", scope) }
        switch authentication {
        case .none: text("token_endpoint_auth_method", "none")
        case .privateKeyJWT(let algorithm, let keys):
            text("token_endpoint_auth_method", "private_key_jwt")
            text("token_endpoint_auth_signing_alg", algorithm)
            switch keys {
            case .inline(let set) where !forConsent:
                writer.key("jwks" as StaticString)
                set.write(to: &writer)
            case .inline: break
            case .at(let address): text("jwks_uri", address)
            }
        }
        text("client_name", name)
        text("client_uri", uri)
        text("logo_uri", logoURI)
        text("policy_uri", policyURI)
        text("tos_uri", termsURI)
        writer.endObject()
        return Bytes(writer.finish())
    }
}
