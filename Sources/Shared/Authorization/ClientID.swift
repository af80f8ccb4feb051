public import Base

/// The name of an OAuth client, which says where its metadata is. https://atproto.com/specs/oauth (Clients),
/// draft-ietf-oauth-client-id-metadata-document §3.
///
/// It is compared byte for byte, so that it has one spelling only.
public struct ClientID: Sendable, Hashable {
    /// The longest one. Bytes.
    public static let sizeMax = WebURL.sizeMax

    public let bytes: Bytes
    /// Where the metadata is; nil for the development client.
    let url: WebURL?
    /// What a development client's id says of itself.
    let development: Development?

    /// What stands in `http://localhost?redirect_uri=…&scope=…`.
    struct Development: Sendable, Hashable {
        let redirectURIs: [RedirectURI]
        let scope: Bytes
    }

    /// Throws `invalid_client_metadata`, with the reason.
    public init(_ text: Bytes, rules: ClientRules = .strict) throws(AuthorizationError) {
        bytes = text
        let origin: Bytes = "http://localhost"
        // With a port it is a host like any other.
        if text.starts(with: origin), [nil, 0x2F, 0x3F, 0x23].contains(text.from(origin.count).first) {
            url = nil
            development = try Self.development(text.from(origin.count), size: text.count)
            return
        }
        do throws(URLProblem) {
            let url = try WebURL(text)
            try url.checkFetchable(rules)
            guard !url.path.isEmpty, url.path != "/" else { throw .pathRequired }
            guard !url.path.ends(with: "/") else { throw .trailingSlash }
            guard url.query?.isEmpty != true else { throw .notCanonical }
            self.url = url
            development = nil
        } catch {
            throw Self.refused(error.words)
        }
    }

    /// Whether this is the development client, which has no document: always public, and asked about every time.
    public var isLoopback: Bool { url == nil }

    /// For people: the host that speaks for the client, with its port where it has one.
    public var host: Bytes {
        guard let url else { return "localhost" }
        return if let port = url.port { url.host + ":" + Bytes(String(port)) } else { url.host }
    }

    /// The host's labels in reverse: the private-use scheme of the client's app.
    var reversedHost: Bytes? {
        guard let url, url.host.first != 0x5B else { return nil }
        let labels = url.host.split(on: 0x2E).reversed()
        return labels.dropFirst().reduce(labels.first ?? Bytes()) { $0 + "." + $1 }
    }

    private static func refused(_ words: Bytes) -> AuthorizationError {
        AuthorizationError(.invalidClientMetadata, "client_id: " + words)
    }

    // MARK: The development client

    /// The redirect URIs of a development client that names none.
    static let developmentRedirectURIs: [Bytes] = ["http://127.0.0.1/", "http://[::1]/"]

    /// `rest` is what follows `http://localhost`.
    private static func development(_ rest: Bytes, size: Int) throws(AuthorizationError) -> Development {
        guard size <= sizeMax else { throw refused(URLProblem.tooLong(sizeMax).words) }
        guard !rest.contains(0x23) else { throw refused(URLProblem.fragment.words) }
        guard rest.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else { throw refused(URLProblem.malformed.words) }
        let tail = rest.first == 0x2F ? rest.from(1) : rest
        guard tail.isEmpty || tail.first == 0x3F else {
            throw refused("must not contain a path: a development client is http://localhost")
        }
        var redirectURIs: [RedirectURI] = []
        var scope: Bytes?
        for pair in tail.from(1).split(on: 0x26) where !pair.isEmpty {
            let equals = pair.position(of: 0x3D) ?? pair.count
            guard let name = formDecoded(pair.upTo(equals)), let value = formDecoded(pair.from(equals + 1)) else {
                throw refused(URLProblem.malformed.words)
            }
            switch name {
            case "redirect_uri":
                guard redirectURIs.count < ClientMetadata.redirectURIsMax else {
                    throw refused(Bytes("more than \(ClientMetadata.redirectURIsMax) redirect URIs"))
                }
                let uri = try RedirectURI(value)
                guard uri.kind == .loopback else {
                    throw AuthorizationError(
                        .invalidRedirectURI, "redirect_uri: must be a loopback address for a development client")
                }
                if !redirectURIs.contains(uri) { redirectURIs.append(uri) }
            case "scope":
                guard scope == nil else { throw refused("has the parameter scope twice") }
                try ClientMetadata.checkScope(value)
                scope = value
            default: throw refused("has the unknown parameter " + Quoted.text(name))
            }
        }
        if redirectURIs.isEmpty { for text in developmentRedirectURIs { redirectURIs.append(try RedirectURI(text)) } }
        return Development(redirectURIs: redirectURIs, scope: scope ?? ClientMetadata.scopeRequired)
    }

    /// A name or value of `application/x-www-form-urlencoded`, or nil when a percent sign begins nothing.
    private static func formDecoded(_ text: Bytes) -> Bytes? {
        var out: [UInt8] = []
        out.reserveCapacity(text.count)
        var at = 0
        while at < text.count {
            switch text[at] {
            case 0x2B:
                out.append(0x20)
                at += 1
            case 0x25:
                guard text.count - at >= 3, let byte = Hex.decode(text.slice(at + 1..<at + 3))?.first else {
                    return nil
                }
                out.append(byte)
                at += 3
            default:
                out.append(text[at])
                at += 1
            }
        }
        return Bytes(out)
    }
}
