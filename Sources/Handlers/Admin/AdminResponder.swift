internal import Accounts
internal import Base
public import Web

/// `/admin…`: the administrator's pages. Server-rendered, without scripts.
public struct AdminResponder: Sendable {
    private let app: AdminApp
    private let router: Router

    public init(app: AdminApp) {
        self.app = app
        let endpoints =
            SignInPages.endpoints + OverviewPage.endpoints + AccountPages.endpoints + ReportPages.endpoints
            + InvitePages.endpoints + MailPages.endpoints + NetworkPages.endpoints + LogPage.endpoints
        router = Router(
            endpoints.map { endpoint in
                Route(endpoint.method, endpoint.pattern) { request, values in
                    Self.answer(endpoint, request, values, app)
                }
            })
    }

    /// `METHOD pattern`, one a line.
    public var list: [String] { router.list }

    public func respond(to request: Request) -> Response {
        // A cookie of the service's host must never be asked for on the host of somebody's handle.
        guard request.host == app.settings.host || request.host == "localhost" || request.host == "127.0.0.1" else {
            return AdminLayout.failure(AdminFailures.absent, app)
        }
        return router.respond(to: request) { AdminLayout.failure(AdminFailures.unrouted($0), app) }
    }

    private static func answer(_ endpoint: AdminEndpoint, _ request: Request, _ values: [Bytes], _ app: AdminApp)
        -> Response
    {
        do {
            return try endpoint.run(request, values, app)
        } catch is SignInNeeded {
            return SeeOther.response(to: SignInPages.path)
        } catch {
            let failure = AdminFailures.failure(error)
            if failure.kind == .internal || failure.kind == .unavailable || failure.kind == .upstream {
                app.log.error(
                    "admin",
                    ["request": .bytes(request.id), "path": .bytes(request.path), "cause": .text("\(error)")])
            }
            return AdminLayout.failure(failure, app, id: request.id)
        }
    }
}

/// One row of the table of pages and actions.
struct AdminEndpoint: Sendable {
    let method: HTTPMethod
    let pattern: StaticString
    let run: @Sendable (Request, [Bytes], AdminApp) throws -> Response

    /// Open to all: the sign-in page and its style.
    static func open(
        _ method: HTTPMethod, _ pattern: StaticString,
        _ run: @escaping @Sendable (Request, AdminApp) throws -> Response
    ) -> AdminEndpoint {
        AdminEndpoint(method: method, pattern: pattern) { request, _, app in try run(request, app) }
    }

    /// A page that the administrator reads.
    static func page(
        _ pattern: StaticString, _ tab: AdminTab, _ make: @escaping @Sendable (AdminCall, inout HTML) throws -> Void
    ) -> AdminEndpoint {
        AdminEndpoint(method: .get, pattern: pattern) { request, values, app in
            let caller = try Access.administrator(app).check(request)
            let call = AdminCall(request: request, values: values, app: app, caller: caller)
            var content = HTML()
            try make(call, &content)
            return AdminLayout.page(tab, content, call)
        }
    }

    /// Something that the administrator does. Answers the path to go to.
    static func action(
        _ pattern: StaticString, _ run: @escaping @Sendable (AdminCall, AdminForm) throws -> Bytes
    ) -> AdminEndpoint {
        AdminEndpoint(method: .post, pattern: pattern) { request, values, app in
            let caller = try Access.administrator(app).check(request)
            let form = try AdminForms.read(request, of: caller)
            let call = AdminCall(request: request, values: values, app: app, caller: caller)
            return SeeOther.response(to: try run(call, form))
        }
    }
}

/// What a page or an action is given.
struct AdminCall {
    let request: Request
    /// The values of the pattern's placeholders, as sent.
    let values: [Bytes]
    let app: AdminApp
    let caller: Administrator

    /// The placeholder at `index`, decoded. Throws `Failure(.notFound)` when it is not well-formed.
    func value(_ index: Int) throws -> Bytes {
        guard index < values.count, let value = try? PercentCoding.decode(values[index]) else {
            throw AdminFailures.absent
        }
        return value
    }
}

/// 303 (RFC 9110 §15.4.4): what was posted is done, go and look.
enum SeeOther {
    static func response(to path: Bytes) -> Response {
        var response = Response(status: 303)
        response.append("Cache-Control", "no-store")
        // Paths of this surface only; a handle or DID in one was percent-encoded.
        if let location = HeaderValue(path) { response.append("Location", location) }
        return response
    }
}
