internal import Base
internal import Web

/// Makes a request from the web server's parameters, or says why it is refused.
struct RequestHead {
    var request: Request

    /// A CONTENT_LENGTH of -1 (Caddy, chunked body) is a body of unknown length.
    static let unknownLength = Bytes("-1")

    init(_ parameters: Parameters, body: any RequestBody, makeID: () -> Bytes) throws(Refusal) {
        let method = try Self.method(parameters)
        guard let peer = parameters.bytes(parameters.peer), Self.isAddress(peer),
            let givenTarget = parameters.bytes(parameters.target)
        else { throw .edge }
        guard let givenHost = parameters.bytes(parameters.host) else { throw .invalid("the request has no Host") }
        guard let host = HostName.canonical(givenHost) else { throw .invalid("the Host is not a host name") }
        let target = try Self.originForm(givenTarget, host: host)
        let path: Bytes
        let query: Bytes
        do throws(RequestTargetError) {
            (path, query) = try RequestTarget.split(target)
        } catch {
            throw error.refusal
        }
        let (headers, length) = try Self.fields(parameters)
        request = Request(
            method: method, path: path, query: query, headers: headers, host: host,
            isSecure: parameters.bytes(parameters.scheme) == "https", peer: peer,
            id: Self.id(parameters) ?? makeID(), contentLength: length, body: body)
    }

    /// The web server's id for a request, when it is 32 lower-case hexadecimal digits (nginx's `$request_id`).
    static func id(_ parameters: Parameters) -> Bytes? {
        guard let id = parameters.bytes(parameters.requestID), id.count == 32 else { return nil }
        for byte in id {
            guard (byte >= 0x30 && byte <= 0x39) || (byte >= 0x61 && byte <= 0x66) else { return nil }
        }
        return id
    }

    private static let get = Bytes("GET")
    private static let head = Bytes("HEAD")
    private static let post = Bytes("POST")
    private static let options = Bytes("OPTIONS")

    private static func method(_ parameters: Parameters) throws(Refusal) -> HTTPMethod {
        guard let name = parameters.bytes(parameters.method) else { throw .edge }
        if name == get { return .get }
        if name == post { return .post }
        if name == head { return .head }
        if name == options { return .options }
        throw .methodNotAllowed
    }

    static let peerSizeMax = 64

    /// An address as nginx and Caddy write it, or nginx's `unix:`. Only its characters are checked: it is the web
    /// server's word, and it is used as a key and in the log.
    private static func isAddress(_ peer: Bytes) -> Bool {
        guard !peer.isEmpty, peer.count <= peerSizeMax else { return false }
        for byte in peer {
            switch byte {
            case 0x30...0x3A, 0x41...0x5A, 0x61...0x7A, 0x2E, 0x25, 0x2D, 0x5F: continue
            default: return false
            }
        }
        return true
    }

    /// An absolute-form target (RFC 9112 §3.2.2) without its scheme and authority, which must name `host`.
    private static func originForm(_ target: Bytes, host: Bytes) throws(Refusal) -> Bytes {
        if target.first == 0x2F { return target }
        let scheme: Int
        let lower = target.upTo(8).lowercasedASCII
        if lower.starts(with: "https://") {
            scheme = 8
        } else if lower.starts(with: "http://") {
            scheme = 7
        } else {
            throw .invalid("the request target is not a path")
        }
        let rest = target.from(scheme)
        let end = rest.firstIndex { $0 == 0x2F || $0 == 0x3F || $0 == 0x23 } ?? rest.count
        guard let authority = HostName.canonical(rest.upTo(end)) else {
            throw .invalid("the request target's authority is not a host name")
        }
        guard authority == host else { throw .misdirected }
        let path = rest.from(end)
        return path.isEmpty || path.first == 0x3F ? "/" + path : path
    }

    private static func fields(_ parameters: Parameters) throws(Refusal) -> (Headers, Int?) {
        var slots = parameters.headers
        let headers = Headers(storage: parameters.storage, slots: slots)
        var types = 0
        var drops: [Int] = []
        for index in slots.indices {
            let (name, value) = headers[index]
            switch name.count {
            case 4 where name == dpop:
                // Caddy joins two fields with a comma; a proof (a JWS) has none.
                if value.contains(0x2C) { throw .manyProofs }
            case 13 where name == authorization:
                // Bearer, DPoP and Basic credentials are token68 (RFC 9110 §11.2): without commas.
                if value.contains(0x2C) { throw .invalid("duplicate Authorization") }
            case 12 where name == contentType:
                if value.contains(0x2C) { throw .invalid("duplicate Content-Type") }
                if types > 0 {
                    guard value == headers[contentType] else { throw .invalid("duplicate Content-Type") }
                    drops.append(index)
                }
                types &+= 1
            case 14 where name == contentLength:
                if let declared = parameters.bytes(parameters.contentLength), declared != value {
                    throw .invalid("the Content-Length is ambiguous")
                }
                drops.append(index)
            default: break
            }
        }
        for index in drops.reversed() { slots.remove(at: index) }
        return (
            drops.isEmpty ? headers : Headers(storage: parameters.storage, slots: slots), try length(parameters)
        )
    }

    private static let dpop = Bytes("dpop")
    private static let authorization = Bytes("authorization")
    private static let contentType = Bytes("content-type")
    private static let contentLength = Bytes("content-length")

    private static func length(_ parameters: Parameters) throws(Refusal) -> Int? {
        guard let text = parameters.bytes(parameters.contentLength), text != unknownLength else { return nil }
        guard let length = text.decimal else { throw .invalid("the Content-Length is not a number") }
        return length
    }
}
