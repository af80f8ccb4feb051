public import Base

/// What an authorization server answers instead of what was asked for.
///
/// The codes are those of RFC 6749 §5.2 and §4.1.2.1, RFC 7009, RFC 9126, RFC 9449 §5 and RFC 7591 §3.2.2.
public struct AuthorizationError: Error, Equatable, Sendable {
    public enum Code: String, Sendable, CaseIterable {
        case invalidRequest = "invalid_request"
        case invalidClient = "invalid_client"
        case invalidClientMetadata = "invalid_client_metadata"
        case invalidRedirectURI = "invalid_redirect_uri"
        case invalidGrant = "invalid_grant"
        case invalidScope = "invalid_scope"
        case unauthorizedClient = "unauthorized_client"
        case unsupportedGrantType = "unsupported_grant_type"
        case unsupportedResponseType = "unsupported_response_type"
        case accessDenied = "access_denied"
        case loginRequired = "login_required"
        case consentRequired = "consent_required"
        case accountSelectionRequired = "account_selection_required"
        case invalidDPoPProof = "invalid_dpop_proof"
        case invalidDPoPKeyBinding = "invalid_dpop_key_binding"
        case useDPoPNonce = "use_dpop_nonce"
        case invalidToken = "invalid_token"
        case temporarilyUnavailable = "temporarily_unavailable"
    }

    public let code: Code
    /// For the client's developer: ASCII without quotes and backslashes (RFC 6749 §5.2), and nothing secret.
    public let description: Bytes

    public init(_ code: Code, _ description: Bytes) {
        self.code = code
        self.description = description
    }
}
