public import Base
internal import Glibc
public import Web

/// A responder that shows what it was asked, for the tests of the host and of the web servers' configurations.
public struct DemoResponder: Sendable {
    /// Requests that reached the responder, refused ones not counted.
    public let served = Counter()

    public init() {}

    struct Broken: Error {}

    /// Below the limit of the web servers' configurations (1 MiB).
    static let echoSizeMax = 1_000_000

    public func respond(to request: Request) -> Response {
        served.add()
        do {
            var response = try answer(request)
            response.route = Bytes("demo")
            return response
        } catch let failure as Failure {
            return Self.text(failure.kind == .tooLarge ? 413 : 400, failure.message)
        } catch {
            return Self.text(500, "error")
        }
    }

    private func answer(_ request: Request) throws -> Response {
        let amount = (try? request.parseQuery().single("n"))??.decimal ?? 0
        switch request.path {
        case "/hello": return Self.text(200, "hello")
        case "/show": return Self.text(200, Self.description(of: request))
        case "/count": return Self.text(200, String(served.value))
        case "/echo":
            return Response(status: 200, body: .bytes(try request.collectBody(sizeMax: Self.echoSizeMax)))
        case "/length": return Self.text(200, String(try request.collectBody(sizeMax: 64 << 20).count))
        case "/ignore": return Self.text(413, "not read")
        case "/bytes": return Response(status: 200, body: .bytes([UInt8](repeating: 0x78, count: amount)))
        case "/slow":
            usleep(UInt32(clamping: amount) &* 1_000)
            return Self.text(200, "slow")
        case "/stream": return Response(status: 200, body: .stream { sink in try Self.pieces(amount, sink) })
        case "/broken":
            return Response(
                status: 200,
                body: .stream { sink in
                    try Self.pieces(amount, sink)
                    throw Broken()
                })
        case "/sized":
            // `m` thousand bytes are declared, `n` thousand sent.
            let declared = (try? request.parseQuery().single("m"))??.decimal ?? 0
            var response = Response(status: 200, body: .stream { sink in try Self.pieces(amount, sink) })
            response.streamLength = declared &* 1_000
            return response
        case "/file":
            return Response(status: 200, body: .file(internalPath: "/internal-blobs/demo"))
        case "/empty": return Response(status: 204)
        case "/unchanged": return Response(status: 304)
        case "/cookie":
            do throws(CookieError) {
                return Self.text(200, "session \(try Cookies(request.headers)["__Host-session"] ?? "none")")
            } catch {
                return Self.text(400, error.failure.message)
            }
        default: return Self.text(404, "path \(request.path)")
        }
    }

    /// `count` pieces of 1,000 bytes.
    private static func pieces(_ count: Int, _ sink: BodySink) throws {
        let piece = [UInt8](repeating: 0x79, count: 1_000)
        for _ in 0..<count { try piece.withUnsafeBytes { try sink($0) } }
    }

    static func text(_ status: Int, _ text: String) -> Response {
        var response = Response(status: status, body: .bytes(Array(text.utf8)))
        response.append("Content-Type", "text/plain; charset=utf-8")
        return response
    }

    static func description(of request: Request) -> String {
        var lines = [
            "method \(request.method.rawValue)", "path \(request.path)", "query \(request.query)",
            "host \(request.host)", "secure \(request.isSecure)", "peer \(request.peer)", "id \(request.id)",
            "length \(request.contentLength.map(String.init) ?? "unknown")",
        ]
        lines += request.headers.fields.map { "header \($0.name): \($0.value)" }
        return lines.joined(separator: "\n")
    }
}
