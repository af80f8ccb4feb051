internal import ATProto
internal import Base
internal import Hosting
public import Web

/// `/xrpc/<nsid>`: finds the method, checks the caller, decodes, charges, runs, encodes. What no method here answers is
/// passed on to another service.
public struct XRPCResponder: Sendable {
    /// Every method: one list per file. No registration by side effect; a test holds it against the lexicons.
    public static let routes: [XRPCRoute] =
        server + accounts + sessions + email + appPasswords + invites + identity + plcOperations + preferences + records
        + blobs + sync + admin + subjects + moderation + temporary + lexicons

    static let table: [Bytes: XRPCRoute] = {
        var table: [Bytes: XRPCRoute] = [:]
        for route in routes { table[route.nsid] = route }
        return table
    }()

    /// The method that answers `request` here. Labels are every labeler's: asked of another by name, they are the
    /// other's.
    private static func route(_ name: Bytes, _ request: Request) -> XRPCRoute? {
        let isOthersToo = name == QueryLabels.nsid || name == FetchLabels.nsid
        return isOthersToo && request.headers[UpstreamTarget.header] != nil ? nil : table[name]
    }

    public let app: XRPCApp

    public init(app: XRPCApp) { self.app = app }

    static let prefix: Bytes = "/xrpc/"

    public func respond(to request: Request) -> Response {
        if request.method == .options { return Self.preflight(request) }
        let name = request.path.starts(with: Self.prefix) ? request.path.from(Self.prefix.count) : Bytes()
        var report: BudgetState?
        if name == "_health" { return shared(health()) }
        let route = Self.route(name, request)
        let isForwarded = route == nil && NSID(name) != nil
        var response: Response
        var calls: BudgetState?
        do {
            calls = try app.calls?.charge(request, name, now: app.clock.now())
            if let route {
                try Self.check(request, route)
                response = try route.run(request, app, &report)
            } else {
                guard isForwarded else { throw Failure.invalidRequest("invalid xrpc path") }
                response = try Forwarding(request: request, method: name, app: app).answer()
            }
        } catch {
            response = self.response(for: error, request: request, method: name)
            // It brings the state of the budget that is spent, which need not be the tightest of those that were paid.
            if error is BudgetExceeded { (report, calls) = (nil, nil) }
        }
        if route?.isPrivate ?? isForwarded {
            response.append("Cache-Control", "private")
            response.append("Vary", "Authorization")
        }
        // What is particular to the call counts more.
        (report ?? calls)?.append(to: &response)
        if let route { response.route = route.nsid }
        if isForwarded { response.route = Forwarding.route }
        return shared(response)
    }

    /// What every answer carries: any origin may read it, with the headers that clients look at.
    private func shared(_ answer: Response) -> Response {
        var response = answer
        response.append("Access-Control-Allow-Origin", "*")
        response.append(
            "Access-Control-Expose-Headers",
            """
            DPoP-Nonce, WWW-Authenticate, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, RateLimit-Policy, \
            Retry-After, Atproto-Repo-Rev, Atproto-Content-Labelers, X-Request-Id
            """)
        return response
    }

    // MARK: Before the method

    private static func check(_ request: Request, _ route: XRPCRoute) throws(Failure) {
        switch (route.kind, request.method) {
        case (.query, .get), (.query, .head), (.procedure, .post): break
        default:
            throw .invalidRequest(
                "Incorrect HTTP method (\(request.method.rawValue)) expected "
                    + (route.kind == .query ? "GET" : "POST"))
        }
        if let encoding = request.headers["content-encoding"], encoding.lowercasedASCII != "identity" {
            throw Failure(.unsupportedMedia, "UnsupportedMediaType", "unsupported content-encoding")
        }
        switch route.body {
        case .none:
            if (request.contentLength ?? 0) > 0 {
                throw .invalidRequest("A request body was provided when none was expected")
            }
        case .json:
            if request.contentLength == 0 || (request.contentLength == nil && request.headers["content-type"] == nil) {
                throw Self.bodyMissing
            }
            guard let type = request.headers["content-type"] else {
                throw .invalidRequest("Request encoding (Content-Type) required but not provided")
            }
            guard Self.mediaType(type) == "application/json" else {
                throw .invalidRequest("Wrong request encoding (Content-Type): \(type.upTo(128))")
            }
        case .stream:
            if request.contentLength == 0 { throw Self.bodyMissing }
        }
    }

    static let bodyMissing = Failure.invalidRequest("A request body is expected but none was provided")

    /// `type/subtype` in lower case, without parameters.
    static func mediaType(_ value: Bytes) -> Bytes {
        let type = value.upTo(value.position(of: 0x3B) ?? value.count)
        return Bytes(type.filter { $0 != 0x20 && $0 != 0x09 }).lowercasedASCII
    }

    // MARK: Answers of its own

    /// For a host where the service is not (RFC 9110 §15.5.20).
    var misdirected: Response {
        let failure = Failure(
            .misdirected, "MisdirectedRequest",
            "This is the host of a handle. The service is at \(app.life.settings.publicURL)")
        return shared(Self.json(failure.xrpcStatus, Self.body(failure)))
    }

    /// CORS (Fetch standard §3.2): any origin, the headers that were asked for, a day.
    private static func preflight(_ request: Request) -> Response {
        var response = Response(status: 204)
        response.append("Access-Control-Allow-Origin", "*")
        response.append("Access-Control-Allow-Methods", "GET, HEAD, POST, OPTIONS")
        if let asked = request.headers["access-control-request-headers"], asked.count <= 2_048,
            let headers = HeaderValue(asked)
        {
            response.append("Access-Control-Allow-Headers", headers)
        }
        response.append("Access-Control-Max-Age", "86400")
        response.append("Vary", "Access-Control-Request-Headers")
        return response
    }

    private func health() -> Response {
        var writer = JSONWriter()
        writer.beginObject()
        writer.field("version", app.settings.version)
        var status = 200
        do {
            try app.checkHealth()
        } catch {
            app.log.error("health", ["cause": .text("\(error)")])
            status = 503
            writer.field("error", "Service Unavailable")
        }
        writer.endObject()
        return Self.json(status, writer)
    }

    /// When to come back to a server that is busy: as the web server says of one that starts.
    private static let retryAfterSeconds = 1

    private func response(for error: any Error, request: Request, method: Bytes) -> Response {
        let failure =
            switch error {
            case let failure as Failure: failure
            case let error as any XRPCReportable: error.failure
            case let error as any Reportable: error.failure
            default: Failure.internalError
            }
        // What others do to us is no error of ours: errors are reported and wake somebody.
        let level: Log.Level?
        switch failure.kind {
        case .internal, .storageFull: level = .error
        case .unavailable, .upstream, .upstreamTimeout: level = .warning
        default: level = nil
        }
        if let level {
            app.log.line(
                level, "xrpc", ["request": .bytes(request.id), "method": .bytes(method), "cause": .text("\(error)")])
        }
        var response = Self.json(failure.xrpcStatus, Self.body(failure))
        if let limited = error as? BudgetExceeded {
            limited.state.append(to: &response)
            response.append("Retry-After", HeaderValue(limited.retryAfterSeconds))
        } else if failure.kind == .unavailable {
            response.append("Retry-After", HeaderValue(Self.retryAfterSeconds))
        }
        return response
    }

    private static func body(_ failure: Failure) -> JSONWriter {
        var writer = JSONWriter()
        writer.beginObject()
        writer.field("error", Bytes(failure.code))
        writer.field("message", Bytes(failure.message))
        writer.endObject()
        return writer
    }

    private static func json(_ status: Int, _ text: JSONWriter) -> Response {
        var writer = text
        var response = Response(status: status, body: .bytes(writer.finish()))
        response.append("Content-Type", "application/json; charset=utf-8")
        return response
    }
}

extension Fields {
    /// The input of `request`: its query, or its body once read and parsed.
    static func of(_ request: Request, nsid: Bytes, kind: MethodKind, body rule: BodyRule) throws -> Fields {
        if kind == .query { return try Fields(nsid: nsid, query: request.query) }
        guard case .json(let sizeMax) = rule else { return Fields(nsid: nsid, body: .map([])) }
        let bytes = try request.collectBody(sizeMax: sizeMax)
        guard !bytes.isEmpty else { throw XRPCResponder.bodyMissing }
        let value = try JSON.parse(Bytes(bytes))
        guard case .map = value else { throw Failure.invalidRequest("Invalid \(nsid) body: Input must be an object") }
        return Fields(nsid: nsid, body: value)
    }
}
