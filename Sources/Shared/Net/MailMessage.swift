public import Base

/// A mail: one sender, one receiver, a subject, and its text as plain text and as HTML (RFC 5322, RFC 2046 §5.1.4).
///
/// Everything that goes into a header field has a type that holds no line end, so no field can be slipped in.
public struct MailMessage: Sendable {
    public let from: MailSender
    public let to: MailAddress
    public let subject: MailHeaderText
    /// UTF-8 with LF at the end of lines.
    public let text: Bytes
    public let html: Bytes
    public let date: Timestamp
    /// The part of the Message-ID before the `@`: letters and digits. The same mail has the same one however often
    /// it is sent, so that a receiver can tell a second copy.
    let id: Bytes
    let domain: Bytes

    /// `id` and `domain` make the Message-ID; nil when either has other characters than letters, digits, hyphens and
    /// dots (RFC 5322 §3.6.4).
    public init?(
        from: MailSender, to: MailAddress, subject: MailHeaderText, text: Bytes, html: Bytes, date: Timestamp,
        id: Bytes, domain: Bytes
    ) {
        guard Self.isPlain(id), Self.isPlain(domain) else { return nil }
        (self.from, self.to, self.subject, self.text, self.html) = (from, to, subject, text, html)
        (self.date, self.id, self.domain) = (date, id, domain)
    }

    private static func isPlain(_ text: Bytes) -> Bool {
        !text.isEmpty && text.count <= 255
            && text.allSatisfy {
                ($0 >= 0x30 && $0 <= 0x39) || ($0 | 0x20 >= 0x61 && $0 | 0x20 <= 0x7A) || $0 == 0x2D || $0 == 0x2E
            }
    }

    /// The whole message with CR LF. Dots at the beginning of a line are the transport's to double (RFC 5321 §4.5.2).
    public var rfc5322: Bytes {
        var out: [UInt8] = []
        func line(_ parts: Bytes...) {
            for part in parts { out.append(contentsOf: part) }
            out.append(contentsOf: [0x0D, 0x0A])
        }
        // Quoted-printable never has `=_`, so no line of a part can be the boundary (RFC 2045 §6.7).
        let boundary: Bytes = "=_" + id
        line("Date: ", Self.date(date))
        line("From: ", Self.mailbox(from))
        line("To: <", to.bytes, ">")
        line("Subject: ", Self.encodedWords(subject))
        line("Message-ID: <", id, "@", domain, ">")
        // RFC 3834 §5: no machine should answer.
        line("Auto-Submitted: auto-generated")
        line("MIME-Version: 1.0")
        line("Content-Type: multipart/alternative; boundary=\"", boundary, "\"")
        line()
        for (type, content) in [("text/plain" as Bytes, text), ("text/html", html)] {
            line("--", boundary)
            line("Content-Type: ", type, "; charset=utf-8")
            line("Content-Transfer-Encoding: quoted-printable")
            line()
            out.append(contentsOf: Self.quotedPrintable(content))
            line()
        }
        line("--", boundary, "--")
        return Bytes(out)
    }

    private static let days: [Bytes] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]
    private static let months: [Bytes] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]

    /// `Tue, 24 Nov 2026 06:12:18 +0000` (RFC 5322 §3.3).
    static func date(_ moment: Timestamp) -> Bytes {
        let iso = Bytes(moment.iso8601Bytes)  // 2026-11-24T06:12:18.000Z
        // 1970-01-01 was a Thursday.
        let weekday = Int((moment.seconds.quotientAndRemainder(dividingBy: 86_400).quotient) % 7)
        let month = Int(iso[5] - 0x30) * 10 + Int(iso[6] - 0x30)
        guard (0..<7).contains(weekday), (1...12).contains(month) else { return iso }
        return days[weekday] + ", " + iso.slice(8..<10) + " " + months[month - 1] + " " + iso.slice(0..<4) + " "
            + iso.slice(11..<19) + " +0000"
    }

    private static func mailbox(_ sender: MailSender) -> Bytes {
        guard let name = sender.name else { return "<" + sender.address.bytes + ">" }
        return phrase(name) + " <" + sender.address.bytes + ">"
    }

    /// A display name: a quoted string (RFC 5322 §3.2.4), or encoded words when it is not plain ASCII.
    static func phrase(_ name: MailHeaderText) -> Bytes {
        guard isASCII(name) else { return encodedWords(name) }
        var out: [UInt8] = [0x22]
        for byte in name.bytes {
            if byte == 0x22 || byte == 0x5C { out.append(0x5C) }
            out.append(byte)
        }
        return Bytes(out + [0x22])
    }

    /// Plain ASCII that no reader takes for an encoded word.
    private static func isASCII(_ text: MailHeaderText) -> Bool {
        text.bytes.allSatisfy { $0 < 0x80 } && !zip(text.bytes, text.bytes.dropFirst()).contains { $0 == (0x3D, 0x3F) }
    }

    /// Bytes of UTF-8 in one encoded word, which has 75 characters at most (RFC 2047 §2).
    private static let wordSizeMax = 45

    /// `text` as it is, or as encoded words of whole characters, each on a line of its own (RFC 2047).
    static func encodedWords(_ text: MailHeaderText) -> Bytes {
        if isASCII(text) { return text.bytes }
        var words: [Bytes] = []
        var start = 0
        while start < text.bytes.count {
            var end = min(start + wordSizeMax, text.bytes.count)
            // Not inside of a character: continuation bytes of UTF-8 are 10xxxxxx.
            while end < text.bytes.count, end > start, text.bytes[end] & 0xC0 == 0x80 { end -= 1 }
            let encoded = RadixEncoding.base64Padded.encode(text.bytes.slice(start..<end))
            words.append("=?utf-8?B?" + Bytes(encoded) + "?=")
            start = end
        }
        return words.dropFirst().reduce(words.first ?? Bytes()) { $0 + "\r\n " + $1 }
    }

    /// Characters of a line with its soft line break (RFC 2045 §6.7).
    private static let lineSizeMax = 76

    /// Text with LF lines in quoted-printable with CR LF lines. A CR alone is encoded like any other control.
    static func quotedPrintable(_ text: Bytes) -> [UInt8] {
        let digits = Array("0123456789ABCDEF".utf8)
        var out: [UInt8] = []
        var column = 0
        for (index, byte) in text.enumerated() {
            if byte == 0x0A {
                out.append(contentsOf: [0x0D, 0x0A])
                column = 0
                continue
            }
            let endsLine = index + 1 == text.count || text[index + 1] == 0x0A
            let isBlankAtEnd = (byte == 0x20 || byte == 0x09) && endsLine
            let isPlain = (byte >= 0x20 && byte < 0x7F && byte != 0x3D || byte == 0x09) && !isBlankAtEnd
            let piece = isPlain ? [byte] : [0x3D, digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            if column + piece.count > lineSizeMax - 1 {
                out.append(contentsOf: [0x3D, 0x0D, 0x0A])
                column = 0
            }
            out.append(contentsOf: piece)
            column += piece.count
        }
        return out
    }
}
