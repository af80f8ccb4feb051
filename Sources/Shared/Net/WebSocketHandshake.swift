public import Base
internal import Crypto

/// An HTTP/1.1 request head without a body, as the opening of a WebSocket needs it (RFC 9112, RFC 6455 §4).
public struct HandshakeRequest: Sendable {
    public let method: Bytes
    /// As sent, before `?`.
    public let path: Bytes
    /// As sent, without `?`.
    public let query: Bytes
    public let isHTTP11: Bool
    public let headers: [(name: Bytes, value: Bytes)]

    /// The longest head in bytes, its empty line included.
    public static let sizeMax = 16_384
    public static let headerCountMax = 64

    /// Why a head is no request. Both are answered with 400, or 431 for `tooLarge`.
    public enum Fault: Error, Equatable, Sendable { case malformed, tooLarge }

    /// Where the head in `bytes` ends (after its empty line), or nil when more must come. `start`: what was looked at
    /// in an earlier call, so that a head that comes byte by byte costs no more.
    public static func end(of bytes: [UInt8], from start: Int = 0) throws(Fault) -> Int? {
        var position = max(3, start)
        while position < bytes.count {
            if bytes[position] == 0x0A, bytes[position - 1] == 0x0D, bytes[position - 2] == 0x0A,
                bytes[position - 3] == 0x0D
            {
                guard position < sizeMax else { throw .tooLarge }
                return position + 1
            }
            position += 1
        }
        guard bytes.count < sizeMax else { throw .tooLarge }
        return nil
    }

    /// Parses a whole head. Lenience is refused: bare LF or CR, folded fields, white space before the colon, a body,
    /// and a second one of the fields that decide.
    public init(_ head: Bytes) throws(Fault) {
        guard head.count <= Self.sizeMax else { throw .tooLarge }
        guard head.ends(with: "\r\n\r\n") else { throw .malformed }
        var lines = head.upTo(head.count - 4).split(on: 0x0A)
        guard lines.count <= Self.headerCountMax + 1 else { throw .tooLarge }
        for index in lines.indices.dropLast() {
            guard lines[index].last == 0x0D else { throw .malformed }
            lines[index] = lines[index].upTo(lines[index].count - 1)
        }
        let isPlain = lines.allSatisfy { $0.allSatisfy { ($0 >= 0x20 && $0 != 0x7F) || $0 == 0x09 } }
        guard isPlain, let first = lines.first else { throw .malformed }
        let words = first.split(on: 0x20)
        guard words.count == 3, !words[0].isEmpty, words[0].allSatisfy({ HTTPSyntax.isToken($0) }),
            words[2] == "HTTP/1.1" || words[2] == "HTTP/1.0", words[1].first == 0x2F,
            words[1].allSatisfy({ $0 > 0x20 && $0 < 0x7F })
        else { throw .malformed }
        method = words[0]
        isHTTP11 = words[2] == "HTTP/1.1"
        let mark = words[1].position(of: 0x3F) ?? words[1].count
        path = words[1].upTo(mark)
        query = words[1].from(mark + 1)
        headers = try Self.fields(lines.dropFirst())
    }

    private static let singleFields: Set<Bytes> = [
        "host", "content-length", "sec-websocket-key", "sec-websocket-version", "transfer-encoding",
    ]

    static func fields(_ lines: ArraySlice<Bytes>) throws(Fault) -> [(name: Bytes, value: Bytes)] {
        var fields: [(name: Bytes, value: Bytes)] = []
        for line in lines {
            guard let colon = line.position(of: 0x3A), colon > 0,
                line.upTo(colon).allSatisfy({ HTTPSyntax.isToken($0) })
            else { throw .malformed }
            let name = line.upTo(colon).lowercasedASCII
            if singleFields.contains(name), fields.contains(where: { $0.name == name }) { throw .malformed }
            let value = line.from(colon + 1).trimming(HTTPSyntax.optionalWhitespace)
            if name == "transfer-encoding" || (name == "content-length" && value != "0") { throw .malformed }
            fields.append((name, value))
        }
        return fields
    }

    /// The first value of `name` (lower case), or nil.
    public subscript(_ name: Bytes) -> Bytes? { headers.first { $0.name == name }?.value }

    /// What the request asks of a WebSocket server.
    public enum Upgrade: Equatable, Sendable {
        /// It does not ask for a WebSocket: 426 (RFC 9110 §15.5.22).
        case none
        /// It asks for another version than 13: 426 with `Sec-WebSocket-Version: 13`.
        case otherVersion
        /// It asks wrongly: 400.
        case invalid
        case webSocket(key: Bytes)
    }

    public var upgrade: Upgrade {
        guard isHTTP11, lists("upgrade", "websocket"), lists("connection", "upgrade") else { return .none }
        guard self["sec-websocket-version"] == "13" else { return .otherVersion }
        guard self["host"] != nil, let key = self["sec-websocket-key"], key.count == 24,
            RadixEncoding.base64Padded.decode(key)?.count == 16
        else { return .invalid }
        return .webSocket(key: key)
    }

    /// True when one of the comma-separated members of the fields `name` is `token`, in any case.
    private func lists(_ name: Bytes, _ token: Bytes) -> Bool {
        headers.contains { field in
            field.name == name
                && field.value.split(on: 0x2C).contains {
                    $0.trimming(HTTPSyntax.optionalWhitespace).lowercasedASCII == token
                }
        }
    }
}

/// The two texts of the opening handshake.
public enum WebSocketHandshake {
    /// `Sec-WebSocket-Accept` for a key (RFC 6455 §4.2.2).
    public static func accept(key: Bytes) -> Bytes {
        let text = key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        return Bytes(RadixEncoding.base64Padded.encode(SHA1.hash(text.array)))
    }

    /// The server's answer: 101.
    public static func response(key: Bytes) -> [UInt8] {
        let head: Bytes =
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
        return (head + accept(key: key) + "\r\n\r\n").array
    }

    /// A fresh key for a client.
    public static func key(entropy: Entropy) throws(EntropyError) -> Bytes {
        Bytes(RadixEncoding.base64Padded.encode(try entropy.bytes(16)))
    }

    /// The client's request. `host` and `target` are the caller's, checked by it.
    public static func request(host: Bytes, target: Bytes, key: Bytes) -> [UInt8] {
        let first: Bytes = "GET " + target + " HTTP/1.1\r\nHost: " + host
        return
            (first + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
            + key + "\r\n\r\n").array
    }

    /// True when `head` (with its empty line) accepts the client's `key` and nothing else: status 101, the fields of
    /// RFC 6455 §4.1, no extension and no protocol, since none was asked for.
    public static func isAccepted(_ head: Bytes, key: Bytes) -> Bool {
        guard head.count <= HandshakeRequest.sizeMax, head.ends(with: "\r\n\r\n") else { return false }
        var lines = head.upTo(head.count - 4).split(on: 0x0A)
        for index in lines.indices.dropLast() {
            guard lines[index].last == 0x0D else { return false }
            lines[index] = lines[index].upTo(lines[index].count - 1)
        }
        guard let first = lines.first, first.starts(with: "HTTP/1.1 101"), first.count == 12 || first[12] == 0x20,
            lines.count <= HandshakeRequest.headerCountMax + 1,
            let fields = try? HandshakeRequest.fields(lines.dropFirst())
        else { return false }
        func values(_ name: Bytes) -> [Bytes] { fields.filter { $0.name == name }.map(\.value) }
        return values("upgrade").map(\.lowercasedASCII) == ["websocket"]
            && values("connection").contains {
                $0.split(on: 0x2C).contains { $0.trimming(HTTPSyntax.optionalWhitespace).lowercasedASCII == "upgrade" }
            }
            && values("sec-websocket-accept") == [accept(key: key)] && values("sec-websocket-extensions").isEmpty
            && values("sec-websocket-protocol").isEmpty
    }
}
