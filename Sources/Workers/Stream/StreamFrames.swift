internal import ATProto
internal import Base
internal import Net

/// The frames that are no events (https://atproto.com/specs/event-stream), whole, with their WebSocket header.
enum StreamFrames {
    /// `{op: -1}` and `{error, message}`.
    static func error(_ name: StaticString, _ message: StaticString) -> [UInt8] {
        var writer = CBORWriter()
        writer.map(1)
        write("op", to: &writer)
        writer.integer(-1)
        writer.map(2)
        write("error", name, "message", message, to: &writer)
        return WebSocketFrame.encode(.binary, Bytes(writer.out))
    }

    /// `{op: 1, t: "#info"}` and `{name, message}`.
    static func info(_ name: StaticString, _ message: StaticString) -> [UInt8] {
        var writer = CBORWriter()
        writer.map(2)
        write("t", "#info", "op", to: &writer)
        writer.integer(1)
        writer.map(2)
        write("name", name, "message", message, to: &writer)
        return WebSocketFrame.encode(.binary, Bytes(writer.out))
    }

    private static func write(_ texts: StaticString..., to writer: inout CBORWriter) {
        for text in texts { writer.text(text) }
    }

    static let futureCursor = error("FutureCursor", "Cursor in the future.")
    static let consumerTooSlow = error("ConsumerTooSlow", "Stream consumer too slow")
    static let outdatedCursor = info("OutdatedCursor", "Requested cursor exceeded limit. Possibly missing events")
}

/// The `cursor` of a subscription.
enum StreamCursor {
    /// Event numbers are integers of the data model: below 2⁵³.
    static let max = 9_007_199_254_740_991

    struct Invalid: Error {}

    /// nil when the query has none; throws for more than one, and for all that is no number of 0 to 2⁵³ − 1 in digits.
    static func parse(query: Bytes) throws(Invalid) -> Int? {
        var cursor: Int?
        for part in query.split(on: 0x26) {
            let mark = part.position(of: 0x3D) ?? part.count
            guard decoded(part.upTo(mark)) == "cursor" else { continue }
            guard cursor == nil, let number = decoded(part.from(mark + 1))?.decimal, number <= max else {
                throw Invalid()
            }
            cursor = number
        }
        return cursor
    }

    /// Without percent-encoding, or nil when it is broken.
    private static func decoded(_ text: Bytes) -> Bytes? {
        guard text.contains(0x25) else { return text }
        var out: [UInt8] = []
        var position = 0
        while position < text.count {
            if text[position] == 0x25 {
                guard position + 2 < text.count, let byte = Hex.decode(text.slice(position + 1..<position + 3)) else {
                    return nil
                }
                out.append(contentsOf: byte)
                position += 3
            } else {
                out.append(text[position])
                position += 1
            }
        }
        return Bytes(out)
    }
}

/// The plain HTTP answers: whoever does not become a subscriber gets one of these, and then the end.
enum HandshakeAnswer {
    case malformed, tooLarge, notFound, methodNotAllowed, upgradeRequired, otherVersion, invalidUpgrade
    case invalidCursor, unavailable

    var bytes: [UInt8] {
        let (line, fields, code, message) = parts
        let body: Bytes = "{\"error\":\"" + code + "\",\"message\":\"" + message + "\"}"
        let head: Bytes =
            "HTTP/1.1 " + line + "\r\nContent-Type: application/json\r\nConnection: "
            + (fields.isEmpty ? "close" : fields) + "\r\nContent-Length: " + Bytes(String(body.count)) + "\r\n\r\n"
        return (head + body).array
    }

    /// Status line, value of `Connection` with the fields after it, error, message.
    private var parts: (Bytes, Bytes, Bytes, Bytes) {
        switch self {
        case .malformed: ("400 Bad Request", "", "InvalidRequest", "The request is not HTTP.")
        case .tooLarge:
            ("431 Request Header Fields Too Large", "", "InvalidRequest", "The request's head is too large.")
        case .notFound: ("404 Not Found", "", "MethodNotImplemented", "Only subscribeRepos is served here.")
        case .methodNotAllowed:
            ("405 Method Not Allowed", "close\r\nAllow: GET", "InvalidRequest", "Use GET with a WebSocket upgrade.")
        case .upgradeRequired:
            (
                "426 Upgrade Required", "close, Upgrade\r\nUpgrade: websocket", "UpgradeRequired",
                "This method is a WebSocket subscription."
            )
        case .otherVersion:
            (
                "426 Upgrade Required", "close, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13",
                "UpgradeRequired", "Only WebSocket version 13 is spoken here."
            )
        case .invalidUpgrade: ("400 Bad Request", "", "InvalidRequest", "The WebSocket key or the host is missing.")
        case .invalidCursor: ("400 Bad Request", "", "InvalidRequest", "cursor must be one non-negative integer.")
        case .unavailable:
            ("503 Service Unavailable", "close\r\nRetry-After: 5", "ServiceUnavailable", "The server is busy.")
        }
    }
}
