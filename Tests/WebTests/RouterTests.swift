internal import Base
internal import Testing
internal import Web

@Suite struct RouterTests {
    static let router = Router([
        Route(.get, "/") { _, _ in .init(status: 200, body: .bytes(Array("root".utf8))) },
        Route(.get, "/xrpc/_health") { _, _ in .init(status: 200, body: .bytes(Array("health".utf8))) },
        Route(.get, "/xrpc/{nsid}") { _, values in .init(status: 200, body: .bytes(values[0].array)) },
        Route(.post, "/xrpc/{nsid}") { _, _ in .init(status: 201) },
        Route(.post, "/a/{x}/b/{y}") { _, values in
            .init(status: 200, body: .bytes((values[0] + "-" + values[1]).array))
        },
    ])

    struct Case: CustomTestStringConvertible, Sendable {
        let method: HTTPMethod
        let path: Bytes
        let want: String
        init(_ method: HTTPMethod, _ path: Bytes, _ want: String) {
            self.method = method
            self.path = path
            self.want = want
        }
        var testDescription: String { "\(method.rawValue) \(path)" }
    }

    static let cases: [Case] = [
        Case(.get, "/", "200 root"), Case(.get, "/xrpc/_health", "200 health"), Case(.get, "/xrpc/a.b.c", "200 a.b.c"),
        Case(.head, "/xrpc/a.b.c", "200 a.b.c"), Case(.post, "/xrpc/a.b.c", "201 "), Case(.post, "/a/1/b/2", "200 1-2"),
        Case(.get, "/xrpc/%61", "200 %61"),
        Case(.options, "/xrpc/a.b.c", "405 Allow=GET, HEAD, POST"), Case(.post, "/", "405 Allow=GET, HEAD"),
        Case(.get, "/a/1/b/2", "405 Allow=POST"), Case(.head, "/a/1/b/2", "405 Allow=POST"),
        Case(.get, "", "404 "), Case(.get, "//", "404 "), Case(.get, "/xrpc", "404 "), Case(.get, "/xrpc/", "404 "),
        Case(.get, "/xrpc/a/", "404 "), Case(.get, "//xrpc//a", "404 "), Case(.get, "/XRPC/a", "404 "),
        Case(.get, "/xrpc/a/b", "404 "), Case(.post, "/a//b/2", "404 "), Case(.get, "xrpc/a", "404 "),
        Case(.get, "/%78rpc/a", "404 "),
        Case(.get, Bytes([UInt8](repeating: 0x2F, count: 10_000)), "404 "),
    ]

    @Test(arguments: cases) func respond(_ item: Case) {
        let request = Request(method: item.method, path: item.path, host: "a", peer: "b", id: "c")
        let response = Self.router.respond(to: request) { failure in
            Response(status: failure.kind == .methodNotAllowed ? 405 : 404)
        }
        var got = "\(response.status) "
        if case .bytes(let bytes) = response.body { got += String(decoding: bytes, as: UTF8.self) }
        for (name, value) in response.headers { got += "\(name)=\(value.bytes)" }
        #expect(got == item.want)
    }

    @Test func labels() {
        func label(_ method: HTTPMethod, _ path: Bytes) -> Bytes {
            Self.router.respond(to: Request(method: method, path: path, host: "a", peer: "b", id: "c")) { _ in
                Response(status: 404)
            }.route
        }
        #expect(label(.get, "/xrpc/anything") == "/xrpc/{nsid}")
        #expect(label(.get, "/xrpc/_health") == "/xrpc/_health")
        #expect(label(.get, "/nothing") == "")
    }

    @Test func list() {
        #expect(
            Self.router.list == [
                "GET /", "GET /xrpc/_health", "GET /xrpc/{nsid}", "POST /xrpc/{nsid}", "POST /a/{x}/b/{y}",
            ])
    }
}
