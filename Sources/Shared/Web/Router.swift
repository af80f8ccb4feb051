public import Base

/// What a router does with a path.
public enum RouteMatch {
    /// `values` are the segments that stand where the pattern has `{name}`, as sent, in order.
    case found(Responder, route: Bytes, values: [Bytes])
    /// The path is known, the method is not: 405 with these in `Allow`.
    case methodNotAllowed([HTTPMethod])
    case notFound
}

/// One row of a router's table.
public struct Route: Sendable {
    public let method: HTTPMethod
    /// Such as `/xrpc/{nsid}`: whole segments, `{…}` for one segment of any value, which is never empty.
    public let pattern: Bytes
    let segments: [Bytes]
    let respond: @Sendable (Request, [Bytes]) -> Response

    public init(
        _ method: HTTPMethod, _ pattern: StaticString, _ respond: @escaping @Sendable (Request, [Bytes]) -> Response
    ) {
        self.method = method
        self.pattern = Bytes(stringLiteral: pattern)
        segments = self.pattern.split(on: 0x2F)
        self.respond = respond
    }

    static func isPlaceholder(_ segment: Bytes) -> Bool { segment.first == 0x7B && segment.last == 0x7D }

    /// The values of the placeholders, or nil when the path does not fit. Paths are compared as sent: an encoded
    /// letter is another path (RFC 3986 §6.2.2.2 lets a server be strict), so each resource has one spelling.
    func match(_ path: [Bytes]) -> [Bytes]? {
        guard path.count == segments.count else { return nil }
        var values: [Bytes] = []
        for (segment, wanted) in zip(path, segments) {
            if Self.isPlaceholder(wanted) {
                guard !segment.isEmpty else { return nil }
                values.append(segment)
            } else if segment != wanted {
                return nil
            }
        }
        return values
    }
}

/// A table of routes, looked through in order: the first pattern that fits the path and has the method wins.
public struct Router: Sendable {
    public let routes: [Route]
    /// Paths with more segments than this fit nothing.
    public static let segmentsMax = 32

    public init(_ routes: [Route]) { self.routes = routes }

    /// The table, one `METHOD pattern` a route: what documents and tests are compared with.
    public var list: [String] { routes.map { "\($0.method.rawValue) \($0.pattern)" } }

    public func match(_ method: HTTPMethod, _ path: Bytes) -> RouteMatch {
        let segments = path.split(on: 0x2F)
        guard segments.count <= Self.segmentsMax else { return .notFound }
        var allowed: [HTTPMethod] = []
        for route in routes {
            guard let values = route.match(segments) else { continue }
            // HEAD is GET without the body, which the host leaves out.
            if route.method == method || (method == .head && route.method == .get) {
                let found: Responder = { request in route.respond(request, values) }
                return .found(found, route: route.pattern, values: values)
            }
            if !allowed.contains(route.method) { allowed.append(route.method) }
            if route.method == .get, !allowed.contains(.head) { allowed.append(.head) }
        }
        return allowed.isEmpty ? .notFound : .methodNotAllowed(allowed)
    }

    /// Answers with the route that fits; `otherwise` makes the 404 and the 405 (its failure's kind says which), to
    /// which `Allow` is added.
    public func respond(to request: Request, otherwise: (Failure) -> Response) -> Response {
        switch match(request.method, request.path) {
        case .found(let responder, let route, _):
            var response = responder(request)
            if response.route.isEmpty { response.route = route }
            return response
        case .methodNotAllowed(let methods):
            var response = otherwise(Failure(.methodNotAllowed, "InvalidRequest", "method not allowed"))
            response.append("Allow", Self.allow(methods))
            return response
        case .notFound:
            return otherwise(.notFound("not found"))
        }
    }

    static func allow(_ methods: [HTTPMethod]) -> HeaderValue {
        let names = methods.map { Bytes($0.rawValue) }
        let list = names.dropFirst().reduce(names.first ?? Bytes()) { $0 + ", " + $1 }
        // Method names are ASCII letters.
        return HeaderValue(list) ?? "GET"
    }
}
