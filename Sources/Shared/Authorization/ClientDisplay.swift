public import Base

/// What people may be shown of a client. https://atproto.com/specs/oauth (Security Considerations), reliability D9
///
/// Anybody can call a client anything. So the id and its host are always shown, and name, logo and pages only when the
/// operator trusts this very id.
public struct ClientDisplay: Sendable, Equatable {
    /// The whole id.
    public let id: Bytes
    public let host: Bytes
    /// The operator has named the client. Never true of the development client, which is anybody's.
    public let isTrusted: Bool
    /// Nobody answers for it: it runs on the developer's own machine.
    public let isDevelopment: Bool
    public let name: Bytes?
    public let uri: Bytes?
    public let logoURI: Bytes?
    public let policyURI: Bytes?
    public let termsURI: Bytes?
    /// Whether people are asked each time, so that `prompt=none` can't be: a public client that is not trusted proves
    /// by nothing that it is the one that was consented to.
    public let asksEveryTime: Bool

    /// `trusted` are the ids of the setting `Settings.oauthTrustedClients`.
    public init(_ client: Client, trusted: some Collection<Bytes>) {
        let metadata = client.metadata
        id = client.id.bytes
        host = client.id.host
        isDevelopment = client.id.isLoopback
        isTrusted = !client.id.isLoopback && trusted.contains(client.id.bytes)
        name = isTrusted ? metadata.name.flatMap(ClientName.cleaned) : nil
        uri = isTrusted ? metadata.uri : nil
        logoURI = isTrusted ? metadata.logoURI : nil
        policyURI = isTrusted ? metadata.policyURI : nil
        termsURI = isTrusted ? metadata.termsURI : nil
        asksEveryTime = client.id.isLoopback || client.isPublic && !isTrusted
    }
}

/// Names that clients give themselves.
enum ClientName {
    /// Throws `invalid_client_metadata` for a name with what can't be seen and changes what is seen: controls, marks of
    /// direction, tags, fillers (Unicode TR 36 §2.5, TR 55).
    static func check(_ name: Bytes) throws(AuthorizationError) {
        guard String(decoding: name, as: UTF8.self).unicodeScalars.allSatisfy(isAllowed) else {
            throw AuthorizationError(.invalidClientMetadata, "client_name must not have invisible characters")
        }
    }

    /// A name as it is shown: without joiners, which are invisible but belong to Persian and to emoji, and without
    /// blanks at its ends. Nil when nothing is left.
    static func cleaned(_ name: Bytes) -> Bytes? {
        var cleaned = ""
        for scalar in String(decoding: name, as: UTF8.self).unicodeScalars where !joiners.contains(scalar) {
            // Blanks of every width become one kind.
            cleaned.unicodeScalars.append(scalar.properties.generalCategory == .spaceSeparator ? " " : scalar)
        }
        let trimmed = Bytes(cleaned).trimming(" ")
        return trimmed.isEmpty ? nil : trimmed
    }

    private static let joiners: Set<Unicode.Scalar> = ["\u{200C}", "\u{200D}"]
    /// They choose between the coloured and the plain form of a character.
    private static let selectors: Set<Unicode.Scalar> = ["\u{FE0E}", "\u{FE0F}"]
    /// The pattern of Braille without dots: it looks like a blank and counts as a symbol.
    private static let blanks: Set<Unicode.Scalar> = ["\u{2800}"]

    private static func isAllowed(_ scalar: Unicode.Scalar) -> Bool {
        if joiners.contains(scalar) || selectors.contains(scalar) { return true }
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .privateUse: return false
        default: return !scalar.properties.isDefaultIgnorableCodePoint && !blanks.contains(scalar)
        }
    }
}
