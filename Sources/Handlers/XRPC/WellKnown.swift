internal import ATProto
internal import Accounts
internal import Base
internal import Hosting
internal import Identity
public import Web

/// What the server answers outside of `/xrpc/`: who lives at a host, who the server is, words for people and robots.
public struct HomeResponder: Sendable {
    private let xrpc: XRPCResponder
    private let app: XRPCApp

    public init(app: XRPCApp) {
        self.app = app
        xrpc = XRPCResponder(app: app)
    }

    public func respond(to request: Request) -> Response {
        if request.path.starts(with: XRPCResponder.prefix) { return xrpc.respond(to: request) }
        guard request.method == .get || request.method == .head else {
            var response = Self.text(405, "Method not allowed")
            response.append("Allow", "GET, HEAD")
            return response
        }
        do {
            var response = try answer(request)
            response.append("Access-Control-Allow-Origin", "*")
            return response
        } catch {
            app.log.error(
                "home", ["request": .bytes(request.id), "path": .bytes(request.path), "cause": .text("\(error)")])
            return Self.text(500, "Internal Server Error")
        }
    }

    private func answer(_ request: Request) throws -> Response {
        switch request.path {
        case "/": Self.text(200, Self.greeting)
        case "/robots.txt": Self.text(200, Self.robots)
        case "/.well-known/atproto-did": try handle(request)
        case "/.well-known/did.json": try document(request)
        case "/tls-check": try tlsCheck(request)
        default: Self.text(404, "Not found")
        }
    }

    /// The DID of the account whose handle is the host that was asked (specs/handle, HTTPS well-known).
    private func handle(_ request: Request) throws -> Response {
        guard let handle = Handle(request.host), let account = try app.accounts.find(handle),
            account.state.isActive
        else { return Self.text(404, "User not found") }
        return Self.text(200, account.did.bytes.description)
    }

    /// The document of the server's own did:web, or of an account whose did:web is the host (specs/did).
    private func document(_ request: Request) throws -> Response {
        let json: Bytes
        if app.settings.serviceDID.bytes == "did:web:" + request.host {
            json = DIDDocument.json(
                of: app.settings.serviceDID, handle: nil, signingKey: nil, pds: app.life.settings.publicURL)
        } else if let did = DID("did:web:" + request.host), app.life.isServedHere(did),
            let account = try app.accounts.find(did), account.state.isActive
        {
            json = try app.life.document(of: account)
        } else {
            return Self.text(404, "Not found")
        }
        var response = Response(status: 200, body: .bytes(json.array))
        response.append("Content-Type", "application/json; charset=utf-8")
        return response
    }

    /// Whether a web server should get a certificate for `domain`: the server's own host and the handles in use. Not
    /// those of anybody's wishes: certificates are rationed.
    private func tlsCheck(_ request: Request) throws -> Response {
        guard let query = try? request.parseQuery(), let asked = try? query.single("domain"), let name = Handle(asked)
        else { return Self.text(400, "bad or missing domain") }
        if app.settings.serviceDID.bytes == "did:web:" + name.bytes { return Self.text(200, "ok") }
        guard app.handlePolicy.domain(of: name) != nil, try app.accounts.find(name) != nil else {
            return Self.text(404, "handle not found")
        }
        return Self.text(200, "ok")
    }

    static let greeting = """
        This is an AT Protocol home (https://atproto.com), kept by Skystead.

        Most of what it says is under /xrpc/.

        """
    static let robots = """
        # Hello, friend. Crawling this host's public API is welcome.
        User-agent: *
        Allow: /

        """

    private static func text(_ status: Int, _ text: String) -> Response {
        var response = Response(status: status, body: .bytes(Array(text.utf8)))
        response.append("Content-Type", "text/plain; charset=utf-8")
        return response
    }
}
