public import Base

/// Why the `Cookie` header is refused.
public enum CookieError: Error, Equatable, Sendable {
    /// The header is longer than `Cookies.sizeMax` or has more than `Cookies.countMax` cookies.
    case tooLarge
    /// A name that begins with `__Host-` occurs twice.
    case duplicate(name: Bytes)
    /// Two `Cookie` headers joined with a comma by a proxy (Caddy 2.6.2 does it): what follows the comma could be
    /// anybody's.
    case joined
}

/// A client's mistake or an attack on one: 400.
extension CookieError: Reportable {
    public var failure: Failure {
        switch self {
        case .tooLarge: Failure(.invalid, "InvalidRequest", "too many cookies")
        case .duplicate: Failure(.invalid, "InvalidRequest", "duplicate cookie")
        case .joined: Failure(.invalid, "InvalidRequest", "joined Cookie headers")
        }
    }
}

/// The cookies of one request (RFC 6265 §5.4: `name=value` pairs between semicolons). Only cookies with the `__Host-`
/// prefix are kept: a browser stores those only when this very host set them, over HTTPS.
public struct Cookies: Sendable {
    public static let sizeMax = 8_192
    public static let countMax = 100
    static let prefix = Bytes("__Host-")

    private var kept: [(name: Bytes, value: Bytes)] = []

    public init(_ headers: Headers) throws(CookieError) {
        guard let header = headers["cookie"] else { return }
        guard header.count <= Self.sizeMax else { throw .tooLarge }
        let parts = header.split(on: 0x3B)
        guard parts.count <= Self.countMax else { throw .tooLarge }
        for part in parts {
            let pair = part.trimming(" ")
            // A proxy that joins fields writes ", name=". Commas inside values without a cookie after them do occur
            // (other software of the same site), and are not ours to refuse.
            if Self.containsJoinedPair(pair) { throw .joined }
            guard let mark = pair.position(of: 0x3D) else { continue }
            let name = pair.upTo(mark)
            guard name.starts(with: Self.prefix) else { continue }
            guard self[name] == nil else { throw .duplicate(name: name) }
            kept.append((name, pair.from(mark + 1)))
        }
    }

    /// The value of a cookie whose name begins with `__Host-`.
    public subscript(_ name: Bytes) -> Bytes? {
        for cookie in kept where cookie.name == name { return cookie.value }
        return nil
    }

    /// True for `a=b, c=d`: a comma, optional spaces, a token and `=`.
    private static func containsJoinedPair(_ pair: Bytes) -> Bool {
        for part in pair.split(on: 0x2C).dropFirst() {
            let rest = part.trimming(" ")
            guard let mark = rest.position(of: 0x3D), mark > 0 else { continue }
            if rest.upTo(mark).allSatisfy(HTTPToken.isCharacter) { return true }
        }
        return false
    }
}

/// A cookie to set: always `__Host-`, `Secure`, `HttpOnly`, `Path=/`, without `Domain` (RFC 6265bis §4.1.3.2), so that
/// no other host can set or read it.
public struct SetCookie: Sendable {
    /// When a browser sends the cookie on requests that another site caused.
    public enum SameSite: Sendable { case strict, lax }

    public let value: HeaderValue

    /// `name` without its prefix. nil when name or value has a character that a cookie can't hold.
    public init?(_ name: StaticString, _ content: Bytes, maxAgeSeconds: Int, sameSite: SameSite = .lax) {
        let name = Bytes(stringLiteral: name)
        guard !name.isEmpty, name.allSatisfy(HTTPToken.isCharacter), content.allSatisfy(Self.isValueByte) else {
            return nil
        }
        let tail: Bytes = sameSite == .strict ? "; SameSite=Strict" : "; SameSite=Lax"
        let age = Bytes("; Max-Age=\(max(0, maxAgeSeconds))")
        let text = Cookies.prefix + name + "=" + content + age + "; Path=/; Secure; HttpOnly" + tail
        guard let value = HeaderValue(text) else { return nil }
        self.value = value
    }

    /// Takes the cookie away from the browser.
    public static func clearing(_ name: StaticString) -> SetCookie? { SetCookie(name, Bytes(), maxAgeSeconds: 0) }

    /// RFC 6265 §4.1.1, `cookie-octet`.
    private static func isValueByte(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x21, 0x23...0x2B, 0x2D...0x3A, 0x3C...0x5B, 0x5D...0x7E: true
        default: false
        }
    }
}
