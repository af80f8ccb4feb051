internal import Base
internal import CCurl

/// A URL that may be fetched: parsed once, by the parser that fetches it (curl's CURLU), so that the host that is
/// checked is the host that is asked. https, port 443, a public DNS name, no user, no fragment.
///
/// Two parsers disagree on 13 of 32 hostile URLs, so beside the parser's answer the authority must be, byte for
/// byte, the host and port that the parser found: what it would decode, map or skip is refused.
final class OutboundURL {
    let handle: OpaquePointer
    /// Lower case.
    let host: Bytes
    let port: Int
    let isSecure: Bool
    /// The operator named this host: any address, any port, and http are admitted.
    let isPrivateAllowed: Bool

    static let hostCountMax = 253

    deinit { curl_url_cleanup(handle) }

    private init(handle: OpaquePointer, host: Bytes, port: Int, isSecure: Bool, isPrivateAllowed: Bool) {
        self.handle = handle
        self.host = host
        self.port = port
        self.isSecure = isSecure
        self.isPrivateAllowed = isPrivateAllowed
    }

    /// Whether the operator named this host (`plc.test`, an address, or either with `:port`) among `privateHosts`.
    static func isPrivateAllowed(_ host: Bytes, port: Int, _ privateHosts: Set<Bytes>) -> Bool {
        privateHosts.contains(host) || privateHosts.contains(host + ":" + Bytes(String(port)))
    }

    /// Parses and checks `text`, at most `sizeMax` bytes of it. `privateHosts` are those that `isPrivateAllowed` asks.
    static func parse(
        _ text: Bytes, privateHosts: Set<Bytes>, sizeMax: Int = 2_048
    ) throws(URLFault) -> OutboundURL {
        guard text.count <= sizeMax else { throw .malformed }
        let written = try Written(text)
        let flags = UInt32(CURLU_PATH_AS_IS | CURLU_DISALLOW_USER)
        guard let handle = curl_url() else { throw .malformed }
        var owned: OpaquePointer? = handle
        defer { if let owned { curl_url_cleanup(owned) } }
        let isPrivateAllowed = isPrivateAllowed(written.host, port: written.port, privateHosts)
        if !isPrivateAllowed {
            guard written.isSecure else { throw .httpsRequired }
            guard isPublicName(written.host) else { throw .hostNotPublic }
            guard written.port == 443 else { throw .malformed }
        }
        guard set(text, in: handle, flags), part(CURLUPART_SCHEME, of: handle) == (written.isSecure ? "https" : "http"),
            part(CURLUPART_HOST, of: handle)?.lowercasedASCII == written.host,
            part(CURLUPART_PORT, of: handle, UInt32(CURLU_DEFAULT_PORT))?.decimal == written.port,
            part(CURLUPART_USER, of: handle) == nil, part(CURLUPART_PASSWORD, of: handle) == nil,
            part(CURLUPART_FRAGMENT, of: handle) == nil
        else { throw .malformed }
        owned = nil
        return OutboundURL(
            handle: handle, host: written.host, port: written.port, isSecure: written.isSecure,
            isPrivateAllowed: isPrivateAllowed)
    }

    /// What a URL says before any parser has interpreted it: scheme, `//`, host, and a port in digits.
    private struct Written {
        let isSecure: Bool
        let host: Bytes
        let port: Int

        init(_ text: Bytes) throws(URLFault) {
            guard let colon = text.position(of: 0x3A), colon > 0 else { throw .malformed }
            let scheme = text.upTo(colon).lowercasedASCII
            guard scheme.allSatisfy({ isLetter($0) || ($0 >= 0x2B && $0 <= 0x39 && $0 != 0x2C && $0 != 0x2F) }) else {
                throw .malformed
            }
            guard scheme == "https" || scheme == "http" else { throw .httpsRequired }
            isSecure = scheme == "https"
            guard text.from(colon).starts(with: "://") else { throw .malformed }
            let rest = text.from(colon + 3)
            let authority = rest.upTo(rest.firstIndex { $0 == 0x2F || $0 == 0x3F || $0 == 0x23 } ?? rest.count)
                .lowercasedASCII
            // A name that needs mapping before it is a DNS name is not one.
            guard authority.allSatisfy({ $0 < 0x80 }) else { throw .hostNotPublic }
            guard hasPlainCharacters(text), !authority.isEmpty, !authority.contains(0x40), !authority.contains(0x25)
            else { throw .malformed }
            let isBracketed = authority.last == 0x5D
            guard !isBracketed, let separator = authority.lastIndex(of: 0x3A) else {
                host = authority
                port = isSecure ? 443 : 80
                return
            }
            guard let written = authority.from(separator + 1).decimal, written > 0, written < 65_536 else {
                throw .malformed
            }
            host = authority.upTo(separator)
            port = written
            guard host.last == 0x5D || !host.contains(0x3A) else { throw .malformed }
        }
    }

    /// The absolute URL that a `Location` of this URL's response names, without its fragment, or nil.
    func resolving(_ location: Bytes) -> Bytes? {
        guard Self.hasPlainCharacters(location, fragment: true), let copy = curl_url_dup(handle) else { return nil }
        defer { curl_url_cleanup(copy) }
        let flags = UInt32(CURLU_NON_SUPPORT_SCHEME | CURLU_PATH_AS_IS | CURLU_DISALLOW_USER)
        guard Self.set(location, in: copy, flags), curl_url_set(copy, CURLUPART_FRAGMENT, nil, 0) == CURLUE_OK else {
            return nil
        }
        return Self.part(CURLUPART_URL, of: copy)
    }

    /// Printable ASCII without space, quotes, backslash and angle brackets: what else stands in a URL is an attack
    /// or must have been percent-encoded (RFC 3986 §2).
    private static func hasPlainCharacters(_ text: Bytes, fragment: Bool = false) -> Bool {
        text.allSatisfy {
            switch $0 {
            case 0x22, 0x3C, 0x3E, 0x5C, 0x5E, 0x60, 0x7B, 0x7C, 0x7D: false
            case 0x23: fragment
            default: $0 > 0x20 && $0 < 0x7F
            }
        }
    }

    private static func set(_ text: Bytes, in handle: OpaquePointer, _ flags: UInt32) -> Bool {
        (text.array + [0]).withUnsafeBytes { raw in
            curl_url_set(handle, CURLUPART_URL, raw.bindMemory(to: CChar.self).baseAddress, flags) == CURLUE_OK
        }
    }

    private static func part(_ part: CURLUPart, of handle: OpaquePointer, _ flags: UInt32 = 0) -> Bytes? {
        var text: UnsafeMutablePointer<CChar>?
        guard curl_url_get(handle, part, &text, flags) == CURLUE_OK, let text else { return nil }
        defer { curl_free(text) }
        return Bytes(String(cString: text))
    }

    /// Top-level names that are not in the public DNS (RFC 6761 and its registry, RFC 9476, ICANN's `internal`).
    static let specialNames: Set<Bytes> = [
        "alt", "arpa", "corp", "example", "home", "internal", "invalid", "lan", "local", "localdomain", "localhost",
        "mail", "onion", "test",
    ]

    /// True for a DNS name of two or more labels under a name of the public DNS, without a trailing dot.
    static func isPublicName(_ host: Bytes) -> Bool {
        let labels = host.split(on: 0x2E)
        guard host.count <= hostCountMax, labels.count >= 2, let last = labels.last else { return false }
        let wellFormed = labels.allSatisfy { label in
            label.count >= 1 && label.count <= 63 && label.first != 0x2D && label.last != 0x2D
                && label.allSatisfy { isLetter($0) || ($0 >= 0x30 && $0 <= 0x39) || $0 == 0x2D }
        }
        // A last label that begins with a letter is no part of any form of IPv4 address.
        guard wellFormed, let initial = last.first else { return false }
        return isLetter(initial) && !specialNames.contains(last)
    }

    private static func isLetter(_ byte: UInt8) -> Bool { byte >= 0x61 && byte <= 0x7A }
}
