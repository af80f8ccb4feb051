public import Base

extension Failure.Kind {
    /// The status that HTTP has for it (RFC 9110 §15, RFC 6585, RFC 4918). A protocol that differs says where.
    public var status: Int {
        switch self {
        case .invalid: 400
        case .unauthenticated: 401
        case .forbidden: 403
        case .notFound: 404
        case .methodNotAllowed: 405
        case .conflict: 409
        case .tooLarge: 413
        case .unsupportedMedia: 415
        case .misdirected: 421
        case .limited: 429
        case .internal: 500
        case .unsupported: 501
        case .upstream: 502
        case .unavailable: 503
        case .upstreamTimeout: 504
        case .storageFull: 507
        }
    }
}
