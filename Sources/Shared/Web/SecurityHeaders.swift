public import Base

/// The response headers that keep a page or a file of one person from acting for another.
extension Response {
    /// For pages of the service itself: no scripts but its own, no frames, no guessing of types, no referrer.
    ///
    /// `formAction` are the hosts that a form may be sent to besides this one (an OAuth client's redirect), as
    /// origins; a value with a character that no origin has is left out.
    public static func page(status: Int, _ html: HTML, formAction: [Bytes] = []) -> Response {
        var response = Response(status: status, body: .bytes(html.bytes))
        response.append("Content-Type", "text/html; charset=utf-8")
        response.append("Cache-Control", "no-store")
        var policy: Bytes = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        policy = policy + "connect-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
        for origin in formAction where isOrigin(origin) { policy = policy + " " + origin }
        if let value = HeaderValue(policy) { response.append("Content-Security-Policy", value) }
        response.append("X-Frame-Options", "DENY")
        response.append("Cross-Origin-Opener-Policy", "same-origin")
        response.append("Cross-Origin-Resource-Policy", "same-origin")
        // With `no-referrer` a browser says `Origin: null` of this page's own forms (Fetch standard §3.2).
        response.appendCommonSecurity(referrers: "same-origin")
        return response
    }

    /// For bytes that a user uploaded, served from the service's own host: a browser shows them in a sandbox without
    /// an origin, or saves them.
    public mutating func appendUploadedContentSecurity() {
        append("Content-Security-Policy", "default-src 'none'; sandbox")
        append("X-Content-Type-Options", "nosniff")
    }

    /// For every response. `referrers` is whom the browser tells where a request comes from.
    public mutating func appendCommonSecurity(referrers: HeaderValue = "no-referrer") {
        append("X-Content-Type-Options", "nosniff")
        append("Referrer-Policy", referrers)
    }

    private static func isOrigin(_ origin: Bytes) -> Bool {
        origin.count <= 300 && (origin.starts(with: "https://") || origin.starts(with: "http://"))
            && origin.allSatisfy { byte in
                switch byte {
                case 0x30...0x3A, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x2F, 0x5B, 0x5D: true
                default: false
                }
            }
    }
}
