public import Base
internal import Net

/// What about clients is the operator's to say.
public struct ClientRules: Sendable {
    /// Hosts (`name`, `address`, or either with `:port`) whose documents may be asked for by http, at any port and
    /// address, and which redirects may lead to: those that outbound requests may reach though they are private.
    public let privateHosts: Set<Bytes>

    public init(privateHosts: some Sequence<Bytes>) { self.privateHosts = Set(privateHosts.map(\.lowercasedASCII)) }

    /// Public names only.
    public static let strict = ClientRules(privateHosts: [])

    func isPrivate(_ url: WebURL) -> Bool {
        if privateHosts.isEmpty { return false }
        let port = url.port ?? (url.isSecure ? 443 : 80)
        return privateHosts.contains(url.host) || privateHosts.contains(url.host + ":" + Bytes(String(port)))
    }
}

/// What is wrong with an address in an OAuth request or a client's metadata.
enum URLProblem: Error, Equatable {
    case tooLong(Int), malformed, httpsRequired, credentials, fragment, port, defaultPort, privateHost, notCanonical
    case pathRequired, trailingSlash

    /// Follows the name of what it is about, which is why it stands without a subject.
    var words: Bytes {
        switch self {
        case .tooLong(let max): Bytes("must not be longer than \(max) bytes")
        case .malformed: "invalid URL"
        case .httpsRequired: "https required"
        case .credentials: "must not contain credentials"
        case .fragment: "must not contain a fragment"
        case .port: "must not contain a port"
        case .defaultPort: "must not contain the default port"
        case .privateHost: "host must be a public DNS name"
        case .notCanonical: "must be in canonical form"
        case .pathRequired: "must contain a path"
        case .trailingSlash: "must not end with a slash"
        }
    }
}

/// An absolute http or https URL in the one spelling that is taken: what two parsers could read in two ways is refused.
///
/// Scheme and host are in lower case, the host is a name or an address as written, the port is no default port and has
/// no leading zeros, the path has no dot segments, percent signs begin two hexadecimal digits that spell no control.
struct WebURL: Sendable, Hashable {
    let isSecure: Bool
    let host: Bytes
    /// The port that is written, which is not the scheme's own.
    let port: Int?
    /// Empty or beginning with a slash.
    let path: Bytes
    /// What follows the question mark; nil without one.
    let query: Bytes?

    /// The longest URL here, as in outbound requests. Bytes.
    static let sizeMax = 2_048

    init(_ text: Bytes, sizeMax: Int = Self.sizeMax) throws(URLProblem) {
        guard text.count <= sizeMax else { throw .tooLong(sizeMax) }
        let scheme: Bytes = text.starts(with: "https://") ? "https://" : "http://"
        guard text.starts(with: scheme) else { throw Self.problem(ofScheme: text) }
        isSecure = scheme.count == 8
        let rest = text.from(scheme.count)
        let authorityEnd = rest.firstIndex { $0 == 0x2F || $0 == 0x3F || $0 == 0x23 || $0 == 0x5C } ?? rest.count
        let authority = rest.upTo(authorityEnd)
        // A name that needs mapping before it is a DNS name is not one.
        guard authority.allSatisfy({ $0 < 0x80 }) else { throw .privateHost }
        guard !authority.contains(0x40) else { throw .credentials }
        guard !rest.contains(0x23) else { throw .fragment }
        (host, port) = try Self.hostAndPort(authority, isSecure: isSecure)
        let tail = rest.from(authorityEnd)
        let pathEnd = tail.position(of: 0x3F) ?? tail.count
        path = tail.upTo(pathEnd)
        query = pathEnd < tail.count ? tail.from(pathEnd + 1) : nil
        guard Self.isText(path, slash: true), query.map({ Self.isText($0, slash: true, questionMark: true) }) ?? true
        else { throw .malformed }
        guard !Self.hasDotSegments(path) else { throw .notCanonical }
    }

    /// `https://host`, and the port where there is one.
    var origin: Bytes {
        let origin = (isSecure ? "https://" : "http://") + host
        return if let port { origin + ":" + Bytes(String(port)) } else { origin }
    }

    /// Checks what a document may be asked for at: https, port 443, a public name; or a host that the operator named.
    func checkFetchable(_ rules: ClientRules) throws(URLProblem) {
        if rules.isPrivate(self) { return }
        guard isSecure else { throw .httpsRequired }
        try checkHost(rules)
        guard port == nil else { throw .port }
    }

    /// Checks what a browser may be sent to: a public name; or a host that the operator named.
    func checkHost(_ rules: ClientRules) throws(URLProblem) {
        guard rules.isPrivate(self) || PublicName.isPublic(host) else { throw .privateHost }
    }

    private static func problem(ofScheme text: Bytes) -> URLProblem {
        guard let colon = text.position(of: 0x3A), colon > 0, text.upTo(colon).allSatisfy(isScheme) else {
            return .malformed
        }
        let scheme = text.upTo(colon).lowercasedASCII
        guard scheme == "https" || scheme == "http" else { return .httpsRequired }
        return text.from(colon).starts(with: "://") ? .notCanonical : .malformed
    }

    private static func hostAndPort(_ authority: Bytes, isSecure: Bool) throws(URLProblem) -> (Bytes, Int?) {
        let isBracketed = authority.last == 0x5D
        let separator = isBracketed ? nil : authority.lastIndex(of: 0x3A)
        let host = authority.upTo(separator ?? authority.count)
        guard !host.isEmpty, host.count <= 253 else { throw .malformed }
        if host.first == 0x5B {
            let isAddress =
                host.count > 2 && host.last == 0x5D
                && host.slice(1..<host.count - 1).allSatisfy {
                    ($0 >= 0x30 && $0 <= 0x3A) || ($0 >= 0x61 && $0 <= 0x66) || $0 == 0x2E
                }
            guard isAddress else { throw .malformed }
        } else {
            let isUpper = host.contains { $0 >= 0x41 && $0 <= 0x5A }
            let isName = host.lowercasedASCII.allSatisfy {
                ($0 >= 0x61 && $0 <= 0x7A) || ($0 >= 0x30 && $0 <= 0x39) || $0 == 0x2D || $0 == 0x2E || $0 == 0x5F
            }
            guard isName else { throw .malformed }
            guard !isUpper else { throw .notCanonical }
        }
        guard let separator else { return (host, nil) }
        guard let port = authority.from(separator + 1).decimal, port > 0, port < 65_536 else { throw .malformed }
        guard port != (isSecure ? 443 : 80) else { throw .defaultPort }
        return (host, port)
    }

    static func isScheme(_ byte: UInt8) -> Bool {
        (byte | 0x20 >= 0x61 && byte | 0x20 <= 0x7A) || (byte >= 0x30 && byte <= 0x39)
            || byte == 0x2B || byte == 0x2D || byte == 0x2E
    }

    /// Whether `text` is made of the characters of a path (RFC 3986 §3.3), with slashes and question marks as asked.
    /// Encoded controls are refused: nothing legitimate holds them, and who decodes carelessly splits at them.
    static func isText(_ text: Bytes, slash: Bool, questionMark: Bool = false) -> Bool {
        var at = 0
        while at < text.count {
            switch text[at] {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F, 0x7E, 0x21, 0x24, 0x26...0x2C, 0x3A, 0x3B,
                0x3D, 0x40:
                at += 1
            case 0x2F where slash, 0x3F where questionMark: at += 1
            case 0x25:
                guard text.count - at >= 3, let decoded = Hex.decode(text.slice(at + 1..<at + 3))?.first,
                    decoded >= 0x20, decoded != 0x7F
                else { return false }
                at += 3
            default: return false
            }
        }
        return true
    }

    /// Whether a segment of `path` is `.` or `..`, plain or encoded: parsers drop such, or not.
    static func hasDotSegments(_ path: Bytes) -> Bool {
        path.split(on: 0x2F).contains { segment in
            var dots = 0
            var at = 0
            while at < segment.count {
                if segment[at] == 0x2E {
                    at += 1
                } else if segment.from(at).upTo(3).lowercasedASCII == "%2e" {
                    at += 3
                } else {
                    return false
                }
                dots += 1
            }
            return dots == 1 || dots == 2
        }
    }
}

/// Words of errors that hold something from outside.
enum Quoted {
    /// The longest part of it that is shown. Bytes.
    static let sizeMax = 100

    /// `text` in the characters of an `error_description` (RFC 6749 §5.2), the others as question marks, cut.
    static func text(_ text: Bytes) -> Bytes {
        let shown = Bytes(text.upTo(sizeMax).map { ($0 >= 0x20 && $0 < 0x7F && $0 != 0x22 && $0 != 0x5C) ? $0 : 0x3F })
        return text.count > sizeMax ? shown + "..." : shown
    }
}
