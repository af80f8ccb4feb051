public import Base

/// Markup that is safe by construction: text goes in escaped, and only constants of the source code go in as they are.
///
/// ```
/// var page = HTML()
/// page.element("a", ["href": url, "class": "name"]) { $0.text(displayName) }
/// ```
public struct HTML: Sendable {
    public private(set) var bytes: [UInt8] = []

    public init() {}

    /// Markup from the source code, as it is.
    public mutating func raw(_ markup: StaticString) { markup.withUTF8Buffer { bytes.append(contentsOf: $0) } }

    /// Markup that another builder made.
    public mutating func append(_ other: HTML) { bytes.append(contentsOf: other.bytes) }

    /// Text, escaped. Bytes that are not UTF-8, and control characters that no text has, become U+FFFD.
    public mutating func text(_ text: Bytes) { escape(text) }

    public mutating func text(_ text: String) { escape(Bytes(text)) }

    /// `<name a="…">content</name>`. An attribute whose value is nil is left out; an empty value stays.
    ///
    /// Values are quoted and escaped, which is enough for everything but URLs: use `Link` for those.
    public mutating func element(
        _ name: StaticString, _ attributes: KeyValuePairs<StaticString, Bytes?> = [:],
        _ content: (inout HTML) throws -> Void
    ) rethrows {
        open(name, attributes)
        try content(&self)
        raw("</")
        raw(name)
        raw(">")
    }

    /// An element without content, with an end tag, such as `textarea`.
    public mutating func element(_ name: StaticString, _ attributes: KeyValuePairs<StaticString, Bytes?> = [:]) {
        element(name, attributes) { _ in }
    }

    /// An element without content and end tag, such as `input`.
    public mutating func void(_ name: StaticString, _ attributes: KeyValuePairs<StaticString, Bytes?> = [:]) {
        open(name, attributes)
    }

    private mutating func open(_ name: StaticString, _ attributes: KeyValuePairs<StaticString, Bytes?>) {
        raw("<")
        raw(name)
        for case (let attribute, let value?) in attributes {
            raw(" ")
            raw(attribute)
            raw("=\"")
            escape(value)
            raw("\"")
        }
        raw(">")
    }

    /// A block of JSON for a script to read: `<script type="application/json" id="…">`. Inside a script element only
    /// `<` can end it, and in JSON a `<` only occurs in strings, where `\u003c` is the same.
    public mutating func json(id: StaticString, _ json: Bytes) {
        raw("<script type=\"application/json\" id=\"")
        raw(id)
        raw("\">")
        for byte in json {
            switch byte {
            case 0x3C: raw("\\u003c")
            case 0x3E: raw("\\u003e")
            case 0x26: raw("\\u0026")
            default: bytes.append(byte)
            }
        }
        raw("</script>")
    }

    private mutating func escape(_ text: Bytes) {
        // The repaired text: `String` is for display, and this is display.
        for scalar in text.description.unicodeScalars {
            switch scalar.value {
            case 0x26: raw("&amp;")
            case 0x3C: raw("&lt;")
            case 0x3E: raw("&gt;")
            case 0x22: raw("&quot;")
            case 0x27: raw("&#39;")
            case 0x09, 0x0A: bytes.append(UInt8(scalar.value))
            case 0x00..<0x20, 0x7F..<0xA0: raw("\u{FFFD}")
            default: bytes.append(contentsOf: UTF8.encode(scalar).map { Array($0) } ?? [])
            }
        }
    }
}

/// A URL that may stand in `href`, `src` or `action`.
public enum Link {
    /// `url` when it is a path on this host (`/…`, not `//…`) or begins with `https://` or `http://`; else nil: no
    /// `javascript:`, `data:` or anything else that a browser runs, and nothing that it would repair into one.
    public static func checked(_ url: Bytes) -> Bytes? {
        for byte in url where byte <= 0x20 || byte == 0x7F || byte == 0x5C { return nil }
        if url.first == 0x2F { return url.count > 1 && url[1] == 0x2F ? nil : url }
        let lower = url.upTo(8).lowercasedASCII
        return lower.starts(with: "https://") || lower.starts(with: "http://") ? url : nil
    }
}
