internal import Base
internal import Web

/// A request that never reaches the responder: its form alone is wrong.
///
/// The body is the error shape that XRPC has (`error`, `message`) and any other client can read.
struct Refusal: Error, Equatable {
    let status: Int
    let code: Bytes
    let message: Bytes
    var allowsMethods = false

    static func invalid(_ message: StaticString) -> Refusal {
        Refusal(status: 400, code: "InvalidRequest", message: Bytes(stringLiteral: message))
    }
    static let misdirected = Refusal(
        status: 421, code: "MisdirectedRequest", message: "the request target and Host name different servers")
    static let methodNotAllowed = Refusal(
        status: 405, code: "MethodNotAllowed", message: "method not allowed", allowsMethods: true)
    static let targetTooLong = Refusal(
        status: 414, code: "InvalidRequest", message: "the request target is too long")
    static let headersTooLarge = Refusal(
        status: 431, code: "InvalidRequest", message: "Request Header Or Cookie Too Large")
    /// RFC 9449 §4.3, check 1.
    static let manyProofs = Refusal(
        status: 400, code: "invalid_dpop_proof", message: "exactly one DPoP header is allowed")
    /// The web server in front did not send what `conf/` makes it send: the operator's fault, so a 500.
    static let edge = Refusal(
        status: Failure.internalError.kind.status, code: Bytes(Failure.internalError.code),
        message: Bytes(Failure.internalError.message))

    var response: Response {
        var body: [UInt8] = []
        // Codes and messages are constants of this file without quotes or backslashes.
        body.append(contentsOf: Bytes("{\"error\":\""))
        body.append(contentsOf: code)
        body.append(contentsOf: Bytes("\",\"message\":\""))
        body.append(contentsOf: message)
        body.append(contentsOf: Bytes("\"}"))
        var response = Response(status: status, body: .bytes(body))
        response.append("Content-Type", "application/json")
        response.append("Cache-Control", "no-store")
        response.append("X-Content-Type-Options", "nosniff")
        if allowsMethods { response.append("Allow", "GET, HEAD, POST, OPTIONS") }
        response.route = "refused"
        return response
    }
}

extension RequestTargetError {
    var refusal: Refusal {
        switch self {
        case .tooLong: .targetTooLong
        case .empty, .notAPath: .invalid("the request target is not a path")
        case .control: .invalid("the request target has a control character or a space")
        case .backslash: .invalid("the path has a backslash")
        case .encodedSeparator: .invalid("the path has an encoded slash")
        case .dotSegment: .invalid("the path has a dot segment")
        case .notUTF8: .invalid("the path is not UTF-8")
        case .truncatedEscape: .invalid("the path has a broken percent escape")
        case .fragment: .invalid("the request target has a fragment")
        }
    }
}
