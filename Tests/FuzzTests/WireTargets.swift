import Base
import Web

@testable import FastCGI
@testable import Net

extension FuzzTarget {
    /// What peers send: WebSocket frames, handshakes, URLs.
    static let wire: [FuzzTarget] = [
        FuzzTarget(
            "websocket",
            corpus: [
                bytes(hex: "8185000000006162636465"), bytes(hex: "818061626364"),
                bytes(hex: "018100000000618081000000006288820000000003e8"),
                bytes(hex: "8903616263"), bytes(hex: "820548656c6c6f"),
                bytes(hex: "827e0080") + [UInt8](repeating: 1, count: 128),
            ]
        ) { input in
            for role in [WebSocketFrames.Role.server, .client] {
                let whole = events(role, input, step: max(input.count, 1))
                // Byte by byte is slow and shows nothing more in a long input.
                for step in input.count <= 256 ? [1, 7] : [113] where events(role, input, step: step) != whole {
                    return "depends on the pieces"
                }
            }
            return nil
        },
        FuzzTarget(
            "handshake",
            texts: [
                "GET /xrpc/com.atproto.sync.subscribeRepos?cursor=1 HTTP/1.1\r\nHost: pds.test\r\n"
                    + "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                    + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    + "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
            ]
        ) { input in
            _ = WebSocketHandshake.isAccepted(Bytes(input), key: "dGhlIHNhbXBsZSBub25jZQ==")
            guard let end = try? HandshakeRequest.end(of: input) else { return nil }
            if end > input.count { return "an end past the end" }
            guard let request = try? HandshakeRequest(Bytes(input).upTo(end)) else { return nil }
            _ = request.upgrade
            return request.path.first == 0x2F ? nil : "a path without its slash"
        },
        FuzzTarget(
            "outbound-url",
            texts: [
                "https://example.com/a?b=c", "https://plc.test:2582/did:plc:x", "http://127.0.0.1:80/",
                "https://[::1]/",
                "https://a.b@c.d/", "https://example.com%2f/", "https://xn--ls8h.example.com:443",
            ]
        ) { input in
            guard let url = try? OutboundURL.parse(Bytes(input), privateHosts: ["plc.test"]) else { return nil }
            if url.host == "plc.test" { return nil }
            if !url.isSecure || url.port != 443 { return "not https on port 443" }
            let isName = url.host.allSatisfy {
                $0 == 0x2D || $0 == 0x2E || ($0 >= 0x30 && $0 <= 0x39) || ($0 >= 0x61 && $0 <= 0x7A)
            }
            return isName ? nil : "a host that is no name"
        },
    ]

    /// What happened when `input` came in pieces of `step` bytes.
    private static func events(_ role: WebSocketFrames.Role, _ input: [UInt8], step: Int) -> [String] {
        let frames = WebSocketFrames(role, messageSizeMax: 4_096)
        var seen: [String] = []
        var at = 0
        while at < input.count {
            let end = min(at + step, input.count)
            do throws(WebSocketError) {
                for event in try frames.feed(Array(input[at..<end])) { seen.append("\(event)") }
            } catch {
                // Events of the piece that held the fault are lost with it, so only the fault is compared.
                return ["\(error)"]
            }
            at = end
        }
        return seen
    }
}

extension FuzzTarget {
    private final class NoBody: RequestBody {
        func read(into buffer: UnsafeMutableRawBufferPointer) -> Int { 0 }
    }

    private static let environment = [
        "REQUEST_METHOD=POST", "REQUEST_URI=/xrpc/a.b.c?x=%20y", "SKYSTEAD_PEER=192.0.2.1", "SKYSTEAD_HOST=pds.test",
        "SKYSTEAD_SCHEME=https", "SKYSTEAD_REQ_ID=0123456789abcdef0123456789abcdef", "CONTENT_LENGTH=12",
        "CONTENT_TYPE=application/json", "HTTP_AUTHORIZATION=Bearer x", "HTTP_COOKIE=__Host-a=b; c=d", "HTTP_X_Y=z",
    ].joined(separator: "\n")

    /// What a browser or an app sends through the web server.
    static let requests: [FuzzTarget] = [
        FuzzTarget(
            "fastcgi-parameters", texts: [environment, "REQUEST_METHOD=GET\nREQUEST_URI=http://a.b/\nHTTP_=\n="]
        ) { input in
            guard let request = request(input) else { return nil }
            if request.path.first != 0x2F { return "a path without its slash" }
            if HostName.canonical(request.host) != request.host { return "a host that is not canonical" }
            if request.headers["host"] != nil || request.headers["proxy"] != nil {
                return "a header that must be hidden"
            }
            let names = request.headers.fields.map(\.name)
            if names.contains(where: { $0 != $0.lowercasedASCII }) { return "a header name in capitals" }
            _ = (try? request.parseQuery(), try? Cookies(request.headers))
            return nil
        },
        FuzzTarget("target", texts: ["/xrpc/a.b.c?x=y", "/%2e%2e/", "/a/..;x/b", "/\u{E9}%C3%A9", "*", "/?#"]) {
            input in
            guard let (path, query) = try? RequestTarget.split(Bytes(input)) else { return nil }
            let whole = path.count == input.count ? path : path + "?" + query
            if whole != Bytes(input) { return "the parts are not the whole" }
            guard let decoded = try? PercentCoding.decode(path) else { return "an accepted path does not decode" }
            let segments = decoded.split(on: 0x2F)
            return segments.contains(".") || segments.contains("..") ? "a dot segment" : nil
        },
        FuzzTarget("form", texts: ["a=b&c=%C3%A9+x&&d", "a[]=1&a[]=2", "%00=1", "=&=="]) { input in
            _ = try? Form(parsing: Bytes(input))
            guard let query = try? Query(parsing: Bytes(input)) else { return nil }
            for parameter in query.parameters where parameter.value.contains(0) || parameter.value.text == nil {
                return "a value with NUL or no UTF-8"
            }
            for parameter in query.parameters {
                let encoded = PercentCoding.encode(parameter.value)
                if (try? PercentCoding.decode(encoded)) != parameter.value { return "a value does not come back" }
            }
            return nil
        },
        FuzzTarget("cookies", texts: ["__Host-a=b; c=d", "a=b, __Host-c=d", "__Host-a=1; __Host-a=2", ";;= ;"]) {
            input in
            var headers = Headers()
            headers.append("cookie", Bytes(input))
            _ = try? Cookies(headers)
            return nil
        },
        FuzzTarget("host", texts: ["PDS.Example.com:443", "a.b.", "127.0.0.1", "[::1]", "a..b", "-a.b"]) { input in
            guard let host = HostName.canonical(Bytes(input)) else { return nil }
            return HostName.canonical(host) == host ? nil : "the canonical form is not canonical"
        },
    ]

    /// The request of `NAME=value` lines, handed over as libfcgi does: C strings that all have their `=`.
    private static func request(_ input: [UInt8]) -> Request? {
        let lines = input.split(separator: 0x0A).map { line -> [UInt8] in
            let text = line.filter { $0 != 0 }
            return (text.contains(0x3D) ? text : text + [0x3D]) + [0]
        }
        let pointers = lines.map { line in
            let copy = UnsafeMutablePointer<CChar>.allocate(capacity: line.count)
            for (index, byte) in line.enumerated() { copy[index] = CChar(bitPattern: byte) }
            return copy
        }
        defer { for pointer in pointers { pointer.deallocate() } }
        var environment: [UnsafeMutablePointer<CChar>?] = pointers + [nil]
        return environment.withUnsafeMutableBufferPointer { buffer -> Request? in
            guard let base = buffer.baseAddress, let parameters = try? Parameters(base) else { return nil }
            return try? RequestHead(parameters, body: NoBody()) { "0" }.request
        }
    }
}
