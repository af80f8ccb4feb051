internal import ATProto
internal import Accounts
internal import Base
internal import Net
internal import Repos
internal import Web

/// One call to another service.
struct UpstreamCall {
    let method: Bytes
    var verb = HTTPRequest.Method.get
    var query = Bytes()
    var headers: [(name: Bytes, value: Bytes)] = []
    var body: Bytes?
    let target: UpstreamTarget
    /// In whose name; nil: without a token.
    var caller: DID?
    /// What the token says, where that is not the service and the method.
    var audience: DID?
    var tokenMethod: Bytes?
    /// Whether the answer is for this server's own use.
    var isAside = false

    init(_ method: Bytes, at target: UpstreamTarget) {
        self.method = method
        self.target = target
    }
}

extension XRPCApp {
    /// Sends `call`, signed by the caller's key. Throws `UpstreamError`.
    func send(_ call: UpstreamCall) throws -> HTTPIncoming {
        var url = call.target.origin + XRPCResponder.prefix + call.method
        if !call.query.isEmpty { url = url + "?" + call.query }
        var request = HTTPRequest(call.verb, url, headers: call.headers, body: call.body)
        if let did = call.caller {
            let now = clock.now()
            // The bare DID as audience, as services expect it today (specs/pds.md §2.2).
            let token = try ServiceToken.make(
                did, audience: (call.audience ?? call.target.did).bytes, method: call.tokenMethod ?? call.method,
                expiresAt: now.seconds + ServiceToken.seconds, key: try keys.key(of: did), now: now, entropy: entropy)
            request.headers.append(("authorization", "Bearer " + token))
        }
        do throws(HTTPClientError) {
            return try upstream.send(request, isAside: call.isAside)
        } catch {
            throw UpstreamError(cause: error, isNamedByCaller: call.target.isNamedByCaller)
        }
    }

    /// A query of the AppView for this server's own use: its answer's JSON, or nil when it has no good one.
    func ask(_ method: Bytes, _ query: Bytes, at appView: Upstream.AppView, for caller: DID?) throws -> Value? {
        var call = UpstreamCall(method, at: UpstreamTarget(appView))
        call.query = query
        call.caller = caller
        call.isAside = true
        call.headers = [("accept-encoding", "identity")]
        let incoming = try send(call)
        guard incoming.head.status == 200 else { return nil }
        guard let bytes = try? incoming.collect() else { return nil }
        return try? JSON.parsePlain(Bytes(bytes), depthMax: DataLimits.depthCeiling)
    }
}

/// Passes calls on that no method here answers, in the caller's name (specs/pds.md §1.7, §2.3).
struct Forwarding {
    let request: Request
    /// An NSID.
    let method: Bytes
    let app: XRPCApp

    static let getFeed: Bytes = "app.bsky.feed.getFeed"
    static let getFeedSkeleton: Bytes = "app.bsky.feed.getFeedSkeleton"
    static let registerPush: Bytes = "app.bsky.notification.registerPush"
    static let unregisterPush: Bytes = "app.bsky.notification.unregisterPush"

    /// The name of all of these in the metrics.
    static let route: Bytes = "proxied"

    func answer() throws -> Response {
        if UpstreamTarget.isOfAHome(method), request.headers[UpstreamTarget.header] == nil {
            throw Failure.notImplemented
        }
        if GetServiceAuth.isProtected(method) { throw Failure.badMethod }
        // One that moves may look around.
        let caller = try XRPCAccess.account(.any, even: .deactivated).check(request, app)
        if caller.scope == .appPassword, GetServiceAuth.isPrivileged(method) { throw Failure.badMethod }
        let lane = try enter()
        switch method {
        case Self.registerPush, Self.unregisterPush: return try push(caller, lane)
        case Self.getFeed where app.upstream.appView != nil: return try feed(caller, lane)
        default: break
        }
        var call = try call(caller, at: try UpstreamTarget.of(request, method: method, app))
        guard request.method == .get, let mending = ReadAfterWrite.methods[method] else {
            return try response(to: call, lane)
        }
        // What may have to be read here must come as it is: nothing is decompressed.
        call.headers = headers(readable: true)
        return try ReadAfterWrite(forwarding: self, caller: caller, mending: mending).response(to: call, lane)
    }

    private func enter() throws -> Lanes.Lane {
        do {
            return try app.upstream.lanes.enter()
        } catch {
            app.upstream.metrics.count(.busy)
            throw error
        }
    }

    // MARK: Requests

    /// Header fields of the caller's that are passed on (specs/pds.md §2.3). No cookies, no addresses, no credentials.
    private static let requestHeaders: [Bytes] = ["accept-language", "atproto-accept-labelers", "x-bsky-topics"]
    private static let bodyHeaders: [Bytes] = ["content-type", "content-encoding"]

    func call(_ caller: AccountCaller?, at target: UpstreamTarget) throws -> UpstreamCall {
        var call = UpstreamCall(method, at: target)
        call.query = request.query
        call.caller = caller?.did
        call.headers = headers(readable: false)
        switch request.method {
        case .head: call.verb = .head
        case .post:
            call.verb = .post
            call.body = Bytes(try request.collectBody(sizeMax: Upstream.requestSizeMax))
            call.headers += fields(Self.bodyHeaders)
        case .get, .options: break
        }
        return call
    }

    private func headers(readable: Bool) -> [(name: Bytes, value: Bytes)] {
        let encodings = readable ? nil : request.headers["accept-encoding"]
        return [("accept-encoding", encodings ?? "identity")] + fields(Self.requestHeaders)
    }

    private func fields(_ names: [Bytes]) -> [(name: Bytes, value: Bytes)] {
        names.compactMap { name in request.headers[name].map { (name, $0) } }
    }

    // MARK: Responses

    /// Header fields of the service's that are passed on (specs/pds.md §2.3). No cookies, no policies.
    private static let responseHeaders: [(wire: Bytes, name: StaticString)] = [
        ("atproto-repo-rev", "Atproto-Repo-Rev"), ("atproto-content-labelers", "Atproto-Content-Labelers"),
        ("retry-after", "Retry-After"),
    ]
    private static let contentHeaders: [(wire: Bytes, name: StaticString)] = [
        ("content-type", "Content-Type"), ("content-encoding", "Content-Encoding"),
        ("content-language", "Content-Language"),
    ]

    /// Sends `call` and passes the answer on.
    func response(to call: UpstreamCall, _ lane: Lanes.Lane) throws -> Response {
        let incoming = try app.send(call)
        return try Self.isSuccess(incoming.head) ? stream(incoming, lane) : error(incoming)
    }

    static func isSuccess(_ head: HTTPResponseHead) -> Bool { head.status >= 200 && head.status < 300 }

    /// The body goes out as it comes, in the length that the service declared, so that a body which breaks off breaks
    /// off here too.
    func stream(_ incoming: HTTPIncoming, _ lane: Lanes.Lane) -> Response {
        let metrics = app.upstream.metrics
        var response = Response(
            status: incoming.head.status,
            body: .stream { sink in
                try withExtendedLifetime(lane) {
                    do {
                        try incoming.read(into: sink)
                    } catch let error as HTTPClientError {
                        metrics.count(.broken)
                        throw error
                    }
                }
            })
        if incoming.head["transfer-encoding"] == nil {
            response.streamLength = incoming.head["content-length"]?.decimal
        }
        Self.append(Self.contentHeaders + Self.responseHeaders, of: incoming.head, to: &response)
        Self.appendCautions(to: &response)
        return response
    }

    /// The whole of a body that was read here.
    func whole(_ head: HTTPResponseHead, _ body: [UInt8]) -> Response {
        var response = Response(status: head.status, body: .bytes(body))
        Self.append(Self.contentHeaders + Self.responseHeaders, of: head, to: &response)
        Self.appendCautions(to: &response)
        return response
    }

    /// An error of the service's: with its own body when that is JSON and not too long, else in our words. A 500 and
    /// what is no error of XRPC's are failures of the service.
    func error(_ incoming: HTTPIncoming) throws -> Response {
        let head = incoming.head
        guard head.status >= 400, head.status != 500, head.status < 600 else {
            throw Failure.upstream("Upstream service answered \(head.status)")
        }
        if Self.isJSON(head), let body = Self.bounded(incoming) { return whole(head, body) }
        let message = "Upstream service answered \(head.status)"
        let failure = head.status < 500 ? Failure.invalidRequest(message) : .upstream(message)
        var writer = JSONWriter()
        writer.beginObject()
        writer.field("error", Bytes(failure.code))
        writer.field("message", Bytes(failure.message))
        writer.endObject()
        var response = Response.json(writer)
        response.status = head.status
        Self.append(Self.responseHeaders, of: head, to: &response)
        return response
    }

    /// The body, or nil when it is longer than an error's or broken.
    static func bounded(_ incoming: HTTPIncoming) -> [UInt8]? {
        struct TooLong: Error {}
        var body: [UInt8] = []
        do {
            try incoming.read { piece in
                guard piece.count <= Upstream.errorSizeMax - body.count else { throw TooLong() }
                body.append(contentsOf: piece)
            }
        } catch {
            return nil
        }
        return body
    }

    static func isJSON(_ head: HTTPResponseHead) -> Bool {
        head["content-type"].map { XRPCResponder.mediaType($0) == "application/json" } ?? false
    }

    private static func append(
        _ fields: [(wire: Bytes, name: StaticString)], of head: HTTPResponseHead, to response: inout Response
    ) {
        for (wire, name) in fields {
            if let value = head[wire], let value = HeaderValue(value) { response.append(name, value) }
        }
    }

    /// Bytes of a stranger's under this origin are data, whatever type they claim.
    private static func appendCautions(to response: inout Response) {
        response.append("X-Content-Type-Options", "nosniff")
        response.append("Content-Security-Policy", "default-src 'none'; sandbox")
    }

    // MARK: Methods with a way of their own

    /// The AppView asks the feed's own service with our token, so that the token must be for that one
    /// (specs/pds.md §1.7).
    private func feed(_ caller: AccountCaller, _ lane: Lanes.Lane) throws -> Response {
        var call = try call(caller, at: try UpstreamTarget.of(request, method: method, app))
        let fields = try Fields(nsid: method, query: request.query)
        let feed: ATURI = try fields.required("feed")
        guard let did = try feedService(feed) else {
            throw Failure(.invalid, "UnknownFeed", "could not resolve feed did")
        }
        call.audience = did
        call.tokenMethod = Self.getFeedSkeleton
        return try response(to: call, lane)
    }

    /// The DID of the service that makes the feed: its record says so, here or at the AppView.
    private func feedService(_ feed: ATURI) throws -> DID? {
        guard let collection = feed.collection, let rkey = feed.rkey, let appView = app.upstream.appView else {
            return nil
        }
        let path = RepoPath(collection, rkey)
        if let did = try app.did(of: feed.authority) {
            let found = try app.records.get(path, of: did) { _, raw in try DAGCBOR.decode(Bytes(raw)) }
            if let text = found?["did"]?.text { return DID(text) }
        }
        let query =
            "repo=" + PercentCoding.encode(feed.authority.bytes) + "&collection=" + collection.bytes + "&rkey="
            + PercentCoding.encode(rkey.bytes)
        let answer = try app.ask(GetRecord.nsid, query, at: appView, for: nil)
        return answer?["value"]?["did"]?.text.flatMap { DID($0) }
    }

    /// Push tokens go to the notification service that the body names (specs/pds.md §1.7).
    private func push(_ caller: AccountCaller, _ lane: Lanes.Lane) throws -> Response {
        guard request.method == .post else {
            throw Failure.invalidRequest("Incorrect HTTP method (\(request.method.rawValue)) expected POST")
        }
        guard request.headers["content-encoding"] == nil else {
            throw Failure(.unsupportedMedia, "UnsupportedMediaType", "unsupported content-encoding")
        }
        let bytes = try request.collectBody(sizeMax: BodyRule.jsonSizeMax)
        guard !bytes.isEmpty else { throw XRPCResponder.bodyMissing }
        let service: DID = try Fields(nsid: method, body: try JSON.parse(Bytes(bytes))).required("serviceDid")
        let target = try UpstreamTarget.notifications(of: service, askedBy: request.peer, app)
        var call = UpstreamCall(method, at: target)
        call.verb = .post
        call.caller = caller.did
        call.body = Bytes(bytes)
        call.headers = headers(readable: false) + fields(Self.bodyHeaders)
        return try response(to: call, lane)
    }

    /// A record of somebody who does not live here, from the AppView. Anyone may ask, so that it costs the asker.
    func foreignRecord(at appView: Upstream.AppView) throws -> Response {
        _ = try app.limits.charge([.resolve(request.peer)], now: app.clock.now())
        let lane = try enter()
        return try response(to: try call(nil, at: UpstreamTarget(appView)), lane)
    }
}
