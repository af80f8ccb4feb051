public import Base

/// The address that a DPoP proof is for, `htu` of RFC 9449 §4.2: without query and fragment, in normal form.
///
/// It comes from the service's configuration and the request's path, never from `Host` or a forwarded header: whoever
/// chooses those would choose what a proof is good for.
public struct DPoPTarget: Sendable, Equatable {
    /// The longest address, in bytes.
    public static let sizeMax = 2_048

    /// The address in normal form.
    public let address: Bytes

    /// `publicURL` is the service's own (`https://pds.example.com`), `path` that of the request as it was sent, without
    /// its query. Nil when the two do not make an http or https address.
    public init?(publicURL: Bytes, path: Bytes) {
        guard path.first == 0x2F else { return nil }
        let base = publicURL.last == 0x2F ? publicURL.upTo(publicURL.count - 1) : publicURL
        guard let normalized = Self.normalize(base + path) else { return nil }
        address = normalized
    }

    /// Whether `htu` names this address after the normalisations of RFC 3986 §6.2.2 and §6.2.3, which RFC 9449 §4.3
    /// asks for. A query, a fragment or user information makes it another address.
    func isNamed(by htu: Bytes) -> Bool { Self.normalize(htu) == address }

    /// `address` in normal form; nil for what is no http or https address, or has a query, a fragment or a user.
    static func normalize(_ address: Bytes) -> Bytes? {
        guard address.count <= sizeMax, address.allSatisfy(isPlain), let colon = address.position(of: 0x3A) else {
            return nil
        }
        let scheme = address.upTo(colon).lowercasedASCII
        guard scheme == "https" || scheme == "http", address.from(colon).starts(with: "://") else { return nil }
        let rest = address.from(colon + 3)
        let slash = rest.position(of: 0x2F) ?? rest.count
        guard let authority = authority(rest.upTo(slash).lowercasedASCII, defaultPort: scheme == "https" ? 443 : 80),
            let path = path(rest.from(slash))
        else { return nil }
        return scheme + "://" + authority + path
    }

    /// What may stand in an address (RFC 3986 §2) without query, fragment and user information.
    private static func isPlain(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x22, 0x23, 0x3C, 0x3E, 0x3F, 0x5C, 0x5E, 0x60, 0x7B, 0x7C, 0x7D: false
        default: byte > 0x20 && byte < 0x7F
        }
    }

    /// Host and port, without a port that goes without saying.
    private static func authority(_ text: Bytes, defaultPort: Int) -> Bytes? {
        var host = text
        var port: Int?
        if text.last != 0x5D, let separator = text.lastIndex(of: 0x3A) {
            host = text.upTo(separator)
            let written = text.from(separator + 1)
            if !written.isEmpty {
                guard let number = written.decimal, number <= 65_535 else { return nil }
                port = number
            }
        }
        guard isHost(host) else { return nil }
        if let port, port != defaultPort { return host + ":" + Bytes(String(port)) }
        return host
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        byte >= 0x61 && byte <= 0x7A || byte >= 0x30 && byte <= 0x39 || byte == 0x2D || byte == 0x2E || byte == 0x5F
    }

    /// RFC 3986 §2.3.
    private static func isUnreserved(_ byte: UInt8) -> Bool {
        isNameByte(byte) || byte >= 0x41 && byte <= 0x5A || byte == 0x7E
    }

    /// A name, an IPv4 address, or an IPv6 address in brackets.
    private static func isHost(_ host: Bytes) -> Bool {
        guard host.first == 0x5B else { return !host.isEmpty && host.allSatisfy(isNameByte) }
        return host.count > 3 && host.last == 0x5D
            && host.slice(1..<host.count - 1).allSatisfy { isNameByte($0) || $0 == 0x3A }
    }

    /// Escapes of unreserved characters decoded, the others in upper case, dot segments removed; nil for a broken
    /// escape.
    private static func path(_ text: Bytes) -> Bytes? {
        if text.isEmpty { return "/" }
        var out: [UInt8] = []
        var at = 0
        while at < text.count {
            if text[at] != 0x25 {
                out.append(text[at])
                at += 1
                continue
            }
            guard text.count - at >= 3, let decoded = Hex.decode(text.slice(at + 1..<at + 3))?.first else { return nil }
            if isUnreserved(decoded) {
                out.append(decoded)
            } else {
                out.append(0x25)
                out.append(contentsOf: Hex.encode(CollectionOfOne(decoded)).map { $0 >= 0x61 ? $0 - 0x20 : $0 })
            }
            at += 3
        }
        return withoutDotSegments(Bytes(out))
    }

    /// RFC 3986 §5.2.4 for a path that begins with a slash.
    private static func withoutDotSegments(_ path: Bytes) -> Bytes {
        guard path.split(on: 0x2F).contains(where: { $0 == "." || $0 == ".." }) else { return path }
        let segments = path.split(on: 0x2F).dropFirst()
        var kept: [Bytes] = []
        for (index, segment) in segments.enumerated() {
            let isLast = index == segments.count - 1
            switch segment {
            case ".": if isLast { kept.append("") }
            case "..":
                _ = kept.popLast()
                if isLast { kept.append("") }
            default: kept.append(segment)
            }
        }
        return kept.reduce(Bytes()) { $0 + "/" + $1 }
    }
}
