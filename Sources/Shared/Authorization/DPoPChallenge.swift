public import Base
internal import Crypto

extension DPoPProof {
    /// The algorithms of proofs: `dpop_signing_alg_values_supported` (RFC 9449 §5.1).
    public static let algorithms: [Bytes] = KeyAlgorithm.allCases.map(\.jwsName)
}

extension AuthorizationError {
    /// The value of `WWW-Authenticate` with which a resource server says 401 (RFC 9449 §7.1), also to who sends a bound
    /// token as `Bearer`. The error comes first: there are clients that look for it with one comparison.
    public var challenge: Bytes {
        let algorithms = DPoPProof.algorithms.reduce(Bytes()) { $0.isEmpty ? $1 : $0 + " " + $1 }
        return "DPoP error=\"" + Bytes(code.rawValue) + "\", error_description=\"" + description + "\", algs=\""
            + algorithms + "\""
    }
}
