internal import Accounts
internal import Base
internal import Crypto
internal import Web

/// The administrator, by a session's cookie.
struct Administrator: Sendable {
    let session: AdminSession
}

/// Nobody is signed in: the answer is the way to the sign-in page.
struct SignInNeeded: Error {}

/// A form that this very session's page sent. Only `AdminForms` makes one, so that no action can be written that
/// forgets to ask.
struct AdminForm {
    private let form: Form

    fileprivate init(_ form: Form) { self.form = form }

    subscript(_ name: Bytes) -> Bytes? { form[name] }
}

enum AdminCookie {
    /// The cookie's name, without the prefix that `SetCookie` gives it.
    static let name: StaticString = "skystead-admin"
    private static let fullName: Bytes = "__Host-skystead-admin"

    static func token(_ request: Request) throws(CookieError) -> Bytes? {
        try Cookies(request.headers)[fullName]
    }
}

extension Access where Caller == Administrator {
    /// The administrator who signed in.
    static func administrator(_ app: AdminApp) -> Access {
        Access(rule: "administrator") { request in
            guard let token = try AdminCookie.token(request), let session = try app.sessions.find(token) else {
                throw SignInNeeded()
            }
            return Administrator(session: session)
        }
    }
}

enum AdminForms {
    static let tokenField: Bytes = "form_token"

    /// The posted form. Throws unless the browser says that a page of this host sent it, with the session's token.
    static func read(_ request: Request, of caller: Administrator) throws -> AdminForm {
        try checkOrigin(request)
        let form = try Form(body: request)
        guard let given = form[tokenField], constantTimeEqual(given, caller.session.formToken) else {
            throw Failure(.forbidden, "Forbidden", "This form is from another session. Go back, reload and try again.")
        }
        return AdminForm(form)
    }

    /// The form of the sign-in page, which has no session yet.
    static func readSignIn(_ request: Request) throws -> Form {
        try checkOrigin(request)
        return try Form(body: request)
    }

    /// A browser says with `Sec-Fetch-Site` where a form comes from; those that do not yet say it with `Origin`, which
    /// every browser sends with a POST (Fetch standard §3.2).
    private static func checkOrigin(_ request: Request) throws(Failure) {
        let isOwn: Bool
        if let site = request.headers["sec-fetch-site"] {
            isOwn = site == "same-origin"
        } else if let origin = request.headers["origin"], let slashes = origin.position(of: 0x2F) {
            isOwn = HostName.canonical(origin.from(slashes + 2)) == request.host
        } else {
            isOwn = false
        }
        guard isOwn else {
            throw Failure(.forbidden, "Forbidden", "This form was not sent from a page of this server.")
        }
    }
}
