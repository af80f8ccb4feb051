/// Where mail is handed over: `smtps://user%40example.com:password@smtp.example.com:465` with TLS from the first byte,
/// or `smtp://…:587` with STARTTLS. User and password are percent-encoded, and there are both or none.
public struct MailServer: Sendable {
    /// TLS before anything is said (RFC 8314 §3.3); otherwise STARTTLS (RFC 3207).
    public let isImplicitTLS: Bool
    /// A name or an address, in lower case; an IPv6 address in brackets.
    public let host: Bytes
    public let port: Int
    public let credentials: Credentials?

    /// What to sign in with.
    public struct Credentials: Sendable {
        public let user: Bytes
        public let password: Secret
    }

    /// Bytes of a URL.
    static let sizeMax = 1_024
    /// The ports that RFC 8314 gives the two ways. Mixed up, either side waits for the other to speak.
    static let implicitTLSPort = 465
    static let submissionPort = 587

    /// nil when `url` is not of this form.
    public init?(_ url: Bytes) {
        let implicit: Bytes = "smtps://"
        let explicit: Bytes = "smtp://"
        guard url.count <= Self.sizeMax, url.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else { return nil }
        isImplicitTLS = url.starts(with: implicit)
        guard isImplicitTLS || url.starts(with: explicit) else { return nil }
        var authority = url.from(isImplicitTLS ? implicit.count : explicit.count)
        if authority.last == 0x2F { authority = authority.upTo(authority.count - 1) }
        guard !authority.contains(where: { $0 == 0x2F || $0 == 0x3F || $0 == 0x23 || $0 == 0x5C }) else { return nil }

        if let at = authority.position(of: 0x40) {
            guard let credentials = Self.credentials(authority.upTo(at)) else { return nil }
            self.credentials = credentials
            authority = authority.from(at + 1)
        } else {
            credentials = nil
        }
        guard let (host, given) = Self.hostAndPort(authority.lowercasedASCII) else { return nil }
        let port = given ?? (isImplicitTLS ? Self.implicitTLSPort : Self.submissionPort)
        guard port != (isImplicitTLS ? Self.submissionPort : Self.implicitTLSPort) else { return nil }
        (self.host, self.port) = (host, port)
    }

    private static func credentials(_ text: Bytes) -> Credentials? {
        guard let colon = text.position(of: 0x3A), let user = decoded(text.upTo(colon)), !user.isEmpty,
            let password = decoded(text.from(colon + 1)), !password.isEmpty
        else { return nil }
        return Credentials(user: user, password: Secret(password.array))
    }

    /// `%XX` decoded; nil for a `%` that begins no such thing, and for control characters, which no login has.
    private static func decoded(_ text: Bytes) -> Bytes? {
        var out: [UInt8] = []
        var at = 0
        while at < text.count {
            if text[at] != 0x25 {
                out.append(text[at])
                at += 1
                continue
            }
            guard at + 2 < text.count, let byte = Hex.decode(text.slice((at + 1)..<(at + 3)))?.first else { return nil }
            out.append(byte)
            at += 3
        }
        return out.allSatisfy { $0 >= 0x20 && $0 != 0x7F } ? Bytes(out) : nil
    }

    private static func hostAndPort(_ text: Bytes) -> (Bytes, Int?)? {
        var host = text
        var port: Int?
        if text.last != 0x5D, let colon = text.lastIndex(of: 0x3A) {
            guard let number = text.from(colon + 1).decimal, (1...65_535).contains(number) else { return nil }
            host = text.upTo(colon)
            port = number
        }
        if host.first == 0x5B {
            let inside = host.slice(1..<max(1, host.count - 1))
            guard host.last == 0x5D, inside.contains(0x3A),
                inside.allSatisfy({ ($0 >= 0x30 && $0 <= 0x3A) || ($0 >= 0x61 && $0 <= 0x66) || $0 == 0x2E })
            else { return nil }
            return (host, port)
        }
        return host.isHostName ? (host, port) : nil
    }
}
