/// An e-mail address as far as a server should judge one: one `@`, no quoting, no control characters, no display name,
/// and a domain of two labels or more (RFC 5321 §4.1.2; UTF-8 in the local part, RFC 6531).
///
/// What holds for the type holds for the header field and the SMTP command that it is written into: no byte of it
/// ends a line, an angle bracket or a list.
public struct MailAddress: Sendable, Hashable {
    /// RFC 5321 §4.5.3.1.3.
    public static let sizeMax = 254
    static let localPartSizeMax = 64

    /// As it was written.
    public let bytes: Bytes

    /// nil when `address` is none.
    public init?(_ address: Bytes) {
        guard address.count <= Self.sizeMax, let characters = address.text?.unicodeScalars,
            !characters.contains(where: { 0x80...0x9F ~= $0.value }), let at = address.position(of: 0x40), at > 0,
            at <= Self.localPartSizeMax, address.upTo(at).allSatisfy(Self.isLocal),
            Self.isDomain(address.from(at + 1))
        else { return nil }
        bytes = address
    }

    /// Printable ASCII without the characters that need quoting, or a byte of UTF-8.
    private static func isLocal(_ byte: UInt8) -> Bool {
        if byte >= 0x80 { return true }
        guard byte > 0x20, byte < 0x7F else { return false }
        let special: [UInt8] = [0x22, 0x28, 0x29, 0x2C, 0x3A, 0x3B, 0x3C, 0x3E, 0x40, 0x5B, 0x5C, 0x5D]
        return !special.contains(byte)
    }

    /// Two labels or more, each of letters, digits and inner hyphens.
    private static func isDomain(_ domain: Bytes) -> Bool {
        let labels = domain.split(on: 0x2E)
        guard labels.count >= 2 else { return false }
        return labels.allSatisfy { label in
            guard let first = label.first, let last = label.last, label.count <= 63 else { return false }
            return first != 0x2D && last != 0x2D
                && label.allSatisfy {
                    ($0 >= 0x30 && $0 <= 0x39) || ($0 | 0x20 >= 0x61 && $0 | 0x20 <= 0x7A) || $0 == 0x2D
                }
        }
    }
}

/// One line of text for a header field of a mail: UTF-8 without control characters, so that it can neither end the
/// field nor begin another.
public struct MailHeaderText: Sendable, Hashable {
    /// Bytes; a line of a mail has 998 at most (RFC 5322 §2.1.1), and in base 64 text grows by a third.
    public static let sizeMax = 500

    public let bytes: Bytes

    /// nil when `text` is not such a line.
    public init?(_ text: Bytes) {
        guard text.count <= Self.sizeMax, let characters = text.text,
            characters.unicodeScalars.allSatisfy({ $0.value >= 0x20 && !(0x7F...0x9F ~= $0.value) })
        else { return nil }
        bytes = text
    }
}

/// Who a mail is from: `home@example.com`, or with a name, `The home server <home@example.com>`.
public struct MailSender: Sendable, Hashable {
    public let name: MailHeaderText?
    public let address: MailAddress

    /// nil when `text` is neither form.
    public init?(_ text: Bytes) {
        guard text.last == 0x3E, let open = text.lastIndex(of: 0x3C) else {
            guard let address = MailAddress(text) else { return nil }
            (name, self.address) = (nil, address)
            return
        }
        let shown = text.upTo(open).trimming(" ")
        guard let address = MailAddress(text.slice((open + 1)..<(text.count - 1))), !shown.isEmpty,
            let name = MailHeaderText(shown)
        else { return nil }
        (self.name, self.address) = (name, address)
    }
}
