public import Base
internal import Net

/// Where an authorization response may be sent. https://atproto.com/specs/oauth (Authorization Request Fields),
/// RFC 8252 §7.
public struct RedirectURI: Sendable, Hashable {
    public enum Kind: Sendable, Hashable {
        /// An https page.
        case web
        /// A listener on the user's own machine, by http (RFC 8252 §7.3).
        case loopback
        /// An app, by a scheme that is its domain in reverse (RFC 8252 §7.1).
        case privateUse
    }

    /// The longest one. Bytes.
    public static let sizeMax = WebURL.sizeMax

    public let kind: Kind
    /// As it was written: what is redirected to.
    public let bytes: Bytes
    /// Of the kinds with an authority.
    let url: WebURL?

    /// Throws `invalid_redirect_uri` for what no client may register.
    public init(_ text: Bytes, rules: ClientRules = .strict) throws(AuthorizationError) {
        guard text.count <= Self.sizeMax else { throw Self.refused(URLProblem.tooLong(Self.sizeMax).words) }
        guard text.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw Self.refused("must be of printable ASCII characters")
        }
        bytes = text
        if text.starts(with: "https:") || text.starts(with: "http:") {
            do throws(URLProblem) {
                let url = try WebURL(text)
                self.url = url
                kind = url.isSecure ? .web : .loopback
            } catch {
                throw Self.refused(error.words)
            }
            try checkAuthority(rules)
        } else {
            url = nil
            kind = .privateUse
            try checkPrivateUse()
        }
    }

    private static let loopbackHosts: Set<Bytes> = ["127.0.0.1", "[::1]"]

    private func checkAuthority(_ rules: ClientRules) throws(AuthorizationError) {
        guard let url else { return }
        if url.host == "localhost" || url.host.ends(with: ".localhost") {
            throw Self.refused("must not name localhost: use 127.0.0.1 or [::1]")
        }
        let isLoopback = Self.loopbackHosts.contains(url.host)
        guard url.isSecure else {
            guard isLoopback else { throw Self.refused("https required, except for 127.0.0.1 and [::1]") }
            return
        }
        guard !isLoopback else { throw Self.refused("must use http with a loopback address") }
        do throws(URLProblem) { try url.checkHost(rules) } catch { throw Self.refused(error.words) }
    }

    /// `com.example.app:/path`: a domain in reverse, one slash. A scheme without a dot belongs to nobody
    /// (RFC 8252 §8.4): `javascript:`, `data:` and `file:` have none.
    private func checkPrivateUse() throws(AuthorizationError) {
        guard let scheme, !scheme.isEmpty else { throw Self.refused(URLProblem.malformed.words) }
        let rest = bytes.from(scheme.count + 1)
        guard scheme.contains(0x2E) else {
            throw Self.refused("must be https, a loopback address, or a private-use scheme with a dot")
        }
        let isDomain = scheme.split(on: 0x2E).allSatisfy { label in
            !label.isEmpty && label.first != 0x2D && label.last != 0x2D
                && label.allSatisfy { ($0 >= 0x61 && $0 <= 0x7A) || ($0 >= 0x30 && $0 <= 0x39) || $0 == 0x2D }
        }
        guard isDomain, let initial = scheme.first, initial >= 0x61 else {
            throw Self.refused("must have a domain in reverse, in lower case, as its private-use scheme")
        }
        guard rest.first == 0x2F, rest.from(1).first != 0x2F else {
            throw Self.refused("must have one slash after its private-use scheme")
        }
        guard !rest.contains(0x23) else { throw Self.refused(URLProblem.fragment.words) }
        guard WebURL.isText(rest, slash: true, questionMark: true) else {
            throw Self.refused(URLProblem.malformed.words)
        }
    }

    /// Of a private-use URI: what stands before the first colon.
    var scheme: Bytes? { bytes.position(of: 0x3A).map { bytes.upTo($0) } }

    /// Whether a request that names `requested` means this one, which is registered: byte for byte, but for the port
    /// of a loopback address. Any port will do where none is registered (RFC 8252 §7.3), or with `anyPort` always.
    public func matches(_ requested: RedirectURI, anyPort: Bool = false) -> Bool {
        if bytes == requested.bytes { return true }
        guard kind == .loopback, requested.kind == .loopback, let url, let other = requested.url else { return false }
        func path(_ url: WebURL) -> Bytes { url.path.isEmpty ? "/" : url.path }
        return url.host == other.host && path(url) == path(other) && url.query == other.query
            && (anyPort || url.port == nil || url.port == other.port)
    }

    private static func refused(_ words: Bytes) -> AuthorizationError {
        AuthorizationError(.invalidRedirectURI, "redirect_uri: " + words)
    }

    /// Checks that a client may register this one. Throws `invalid_redirect_uri`.
    func check(for client: ClientID, isNative: Bool) throws(AuthorizationError) {
        switch kind {
        case .web:
            if client.isLoopback { throw Self.refused("must be a loopback address for a development client") }
            // https://atproto.com/specs/oauth: a native app's page is one of the client's own origin.
            guard !isNative || url?.origin == client.url?.origin else {
                throw Self.refused("must have the origin of the client_id for a native client")
            }
        case .loopback:
            guard isNative else { throw Self.refused("a loopback address is for native clients only") }
        case .privateUse:
            guard !client.isLoopback, isNative else {
                throw Self.refused("a private-use scheme is for native clients only")
            }
            guard scheme == client.reversedHost else {
                throw Self.refused("must have the host of the client_id in reverse as its scheme")
            }
        }
    }
}
