internal import Accounts
internal import Base
internal import Web

/// Signing in and out.
enum SignInPages {
    static let path: Bytes = "/admin/sign-in"
    static let signOutPath: Bytes = "/admin/sign-out"

    /// Attempts from one address, and from anywhere: the password is all that stands between a stranger and every
    /// account.
    private static let attempts = [
        RateLimit("adminSignIn-5min", points: 10, seconds: 300),
        RateLimit("adminSignIn-day", points: 50, seconds: 86_400),
    ]
    private static let allAttempts = [RateLimit("adminSignInAll-hour", points: 100, seconds: 3_600)]
    private static let everyone: Bytes = "all"

    static let endpoints: [AdminEndpoint] = [
        .open(.get, "/admin/sign-in") { request, app in
            if let token = try AdminCookie.token(request), try app.sessions.find(token) != nil {
                return SeeOther.response(to: AdminTab.overview.path)
            }
            return page(status: 200, problem: nil, app)
        },
        .open(.post, "/admin/sign-in") { request, app in
            let form = try AdminForms.readSignIn(request)
            let now = app.clock.now()
            do {
                _ = try app.budgets?.charge(attempts, key: request.peer, now: now)
                _ = try app.budgets?.charge(allAttempts, key: everyone, now: now)
            } catch let error as BudgetExceeded {
                let minutes = (error.retryAfterSeconds + 59) / 60
                return page(status: 429, problem: "Too many attempts. Try again in \(minutes) min.", app)
            }
            guard let session = try app.sessions.begin(password: form["password"] ?? Bytes()) else {
                app.log.warning("admin.sign-in-refused", ["peer": .bytes(request.peer), "request": .bytes(request.id)])
                return page(status: 401, problem: "That is not the password.", app)
            }
            app.log.info("admin.sign-in", ["peer": .bytes(request.peer), "request": .bytes(request.id)])
            var response = SeeOther.response(to: AdminTab.overview.path)
            let seconds = Int(AdminSessionStore.secondsMax)
            if let cookie = SetCookie(AdminCookie.name, session.token, maxAgeSeconds: seconds, sameSite: .strict) {
                response.append("Set-Cookie", cookie.value)
            }
            return response
        },
        AdminEndpoint(method: .post, pattern: "/admin/sign-out") { request, _, app in
            let caller = try Access.administrator(app).check(request)
            _ = try AdminForms.read(request, of: caller)
            try app.sessions.end(caller.session)
            var response = SeeOther.response(to: path)
            if let cookie = SetCookie.clearing(AdminCookie.name) { response.append("Set-Cookie", cookie.value) }
            return response
        },
        .open(.get, "/admin/style.css") { _, _ in AdminStyle.response() },
    ]

    private static func page(status: Int, problem: String?, _ app: AdminApp) -> Response {
        AdminLayout.plain(status: status, title: "Administration", app) { html in
            guard app.sessions.isOpen else {
                return html.element("p", ["class": "note"]) { html in
                    html.raw("Nobody can sign in here: set ")
                    html.element("code") { $0.text(Settings.adminPassword.key) }
                    html.raw(" and restart the service.")
                }
            }
            if let problem { html.element("p", ["class": "problem", "role": "alert"]) { $0.text(problem) } }
            html.element("form", ["method": "post", "action": path]) { html in
                // There is one administrator; the field is for password managers.
                html.void(
                    "input",
                    ["name": "user", "value": "admin", "autocomplete": "username", "hidden": "", "readonly": ""])
                html.field(
                    "Administrator's password", name: "password", type: "password", autocomplete: "current-password")
                html.button("Sign in")
            }
        }
    }
}
