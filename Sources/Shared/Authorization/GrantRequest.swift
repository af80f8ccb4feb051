public import Base

/// The key that a confidential client proved itself with. What it began goes on by this key alone (atproto OAuth
/// specification, "confidential clients").
public struct ClientKeyPin: Sendable, Hashable {
    public let id: Bytes
    /// The JWS name, such as `ES256`.
    public let algorithm: Bytes
    /// RFC 7638, base64url.
    public let thumbprint: Bytes

    public init(id: Bytes, algorithm: Bytes, thumbprint: Bytes) {
        self.id = id
        self.algorithm = algorithm
        self.thumbprint = thumbprint
    }
}

/// What the authorization response is sent back in (OAuth 2.0 Multiple Response Types and Form Post Response Mode).
public enum ResponseMode: String, Sendable, CaseIterable {
    case query, fragment
    case formPost = "form_post"

    /// By the parameter's value; nil for another.
    public init?(_ name: Bytes) {
        guard let mode = Self.allCases.first(where: { Bytes($0.rawValue) == name }) else { return nil }
        self = mode
    }
}

/// What the person must be asked (OpenID Connect Core §3.1.2.1, and `create` of its Initiating User Registration).
public enum AuthorizationPrompt: String, Sendable, CaseIterable {
    case none, login, consent, create
    case selectAccount = "select_account"

    /// By the parameter's value; nil for another.
    public init?(_ name: Bytes) {
        guard let prompt = Self.allCases.first(where: { Bytes($0.rawValue) == name }) else { return nil }
        self = prompt
    }
}

/// What a client asks for, as it pushed it (RFC 9126).
///
/// Whoever makes one has checked it against the client's metadata: this type knows sizes and characters alone.
public struct GrantRequest: Sendable, Equatable {
    /// Bytes of `client_id`, of `redirect_uri`, and of `state`.
    public static let textSizeMax = 2_048
    /// Bytes of `scope`: what a client's metadata may declare is no longer.
    public static let scopeSizeMax = 8_192
    /// Bytes of `login_hint`: an e-mail address takes 254, a DID 2,048 (DID syntax of the protocol).
    public static let loginHintSizeMax = 2_048

    public let clientID: Bytes
    public let redirectURI: Bytes
    /// The scopes that were asked for, or, in what comes with a code, that were granted.
    public let scope: Bytes
    public let state: Bytes
    public let challenge: PKCEChallenge
    /// The DPoP key that the code will be bound to (RFC 9449 §10), when the client named one.
    public let thumbprint: Bytes?
    public let loginHint: Bytes?
    public let prompt: AuthorizationPrompt?
    public let responseMode: ResponseMode
    /// Nil for a public client.
    public let key: ClientKeyPin?
    /// A digest of the client's metadata as it was then: what a person consented to was said by these
    /// (specs/reliability.md §1.D, D7).
    public let metadataDigest: Bytes

    /// Throws `invalid_request`, or `invalid_scope`, for what is empty, too long or has other than printable ASCII
    /// (RFC 6749 appendix A).
    public init(
        clientID: Bytes, redirectURI: Bytes, scope: Bytes, state: Bytes, challenge: PKCEChallenge,
        thumbprint: Bytes? = nil, loginHint: Bytes? = nil, prompt: AuthorizationPrompt? = nil,
        responseMode: ResponseMode = .query, key: ClientKeyPin? = nil, metadataDigest: Bytes
    ) throws(AuthorizationError) {
        try Self.check(clientID, "client_id", Self.textSizeMax)
        try Self.check(redirectURI, "redirect_uri", Self.textSizeMax)
        try Self.check(state, "state", Self.textSizeMax)
        try Self.check(scope: scope)
        if let loginHint { try Self.check(loginHint, "login_hint", Self.loginHintSizeMax) }
        if let thumbprint {
            guard thumbprint.count == 43, RadixEncoding.base64URL.decode(thumbprint) != nil else {
                throw AuthorizationError(.invalidRequest, "dpop_jkt is no SHA-256 in base64url")
            }
        }
        self.clientID = clientID
        self.redirectURI = redirectURI
        self.scope = scope
        self.state = state
        self.challenge = challenge
        self.thumbprint = thumbprint
        self.loginHint = loginHint
        self.prompt = prompt
        self.responseMode = responseMode
        self.key = key
        self.metadataDigest = metadataDigest
    }

    /// Throws `invalid_scope` for what is empty, too long or has other than printable ASCII.
    static func check(scope: Bytes) throws(AuthorizationError) {
        guard !scope.isEmpty, isPrintable(scope) else {
            throw AuthorizationError(.invalidScope, "scope is empty or not printable ASCII")
        }
        guard scope.count <= scopeSizeMax else {
            throw AuthorizationError(.invalidScope, Bytes("scope is longer than \(scopeSizeMax) bytes"))
        }
    }

    private static func check(_ text: Bytes, _ name: Bytes, _ sizeMax: Int) throws(AuthorizationError) {
        guard !text.isEmpty else { throw AuthorizationError(.invalidRequest, name + " is missing") }
        guard text.count <= sizeMax else {
            throw AuthorizationError(.invalidRequest, name + Bytes(" is longer than \(sizeMax) bytes"))
        }
        guard isPrintable(text) else { throw AuthorizationError(.invalidRequest, name + " is not printable ASCII") }
    }

    static func isPrintable(_ text: Bytes) -> Bool { text.allSatisfy { $0 >= 0x20 && $0 <= 0x7E } }
}
