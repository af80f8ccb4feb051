public import Base

/// Recognises what bytes are by how they begin. https://mimesniff.spec.whatwg.org/ (the common formats of blobs)
///
/// A blob is served with the type that it is found to have: what calls itself an image and is a page must not be taken
/// for the image, and what is a page must be known as one.
public enum MediaType {
    /// Bytes from the beginning that `sniff` looks at.
    public static let prefixSize = 1_024

    private static let signatures: [(offset: Int, bytes: Bytes, type: Bytes)] = [
        (0, Bytes([0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]), "image/png"),
        (0, Bytes([0xFF, 0xD8, 0xFF]), "image/jpeg"),
        (0, "GIF87a", "image/gif"),
        (0, "GIF89a", "image/gif"),
        (0, "BM", "image/bmp"),
        (0, Bytes([0x49, 0x49, 0x2A, 0]), "image/tiff"),
        (0, Bytes([0x4D, 0x4D, 0, 0x2A]), "image/tiff"),
        (0, Bytes([0, 0, 1, 0]), "image/x-icon"),
        (0, "%PDF-", "application/pdf"),
        (0, "OggS", "application/ogg"),
        (0, "fLaC", "audio/x-flac"),
        (0, "ID3", "audio/mpeg"),
        (0, Bytes([0x1A, 0x45, 0xDF, 0xA3]), "video/webm"),
        (0, Bytes([0x1F, 0x8B]), "application/gzip"),
        (0, Bytes([0x28, 0xB5, 0x2F, 0xFD]), "application/zstd"),
        (0, Bytes([0x50, 0x4B, 3, 4]), "application/zip"),
        (0, "wOFF", "font/woff"),
        (0, "wOF2", "font/woff2"),
        (0, Bytes([0, 0x61, 0x73, 0x6D]), "application/wasm"),
        (0, Bytes([0xFF, 0x0A]), "image/jxl"),
        (0, Bytes([0, 0, 0, 0x0C, 0x4A, 0x58, 0x4C, 0x20]), "image/jxl"),
    ]

    /// The second word of a RIFF file, and the brand of an ISO base media file.
    private static let riff: [(Bytes, Bytes)] = [
        ("WEBP", "image/webp"), ("WAVE", "audio/wav"), ("AVI ", "video/x-msvideo"),
    ]
    private static let brands: [(Bytes, Bytes)] = [
        ("avif", "image/avif"), ("avis", "image/avif"), ("heic", "image/heic"), ("heix", "image/heic"),
        ("mif1", "image/heif"), ("qt  ", "video/quicktime"), ("M4A ", "audio/x-m4a"), ("M4V ", "video/x-m4v"),
    ]

    /// How a page begins, in lower case, after white space and a byte order mark.
    private static let markup: [(Bytes, Bytes)] = [
        ("<!doctype html", "text/html"), ("<html", "text/html"), ("<head", "text/html"), ("<body", "text/html"),
        ("<script", "text/html"), ("<iframe", "text/html"), ("<svg", "image/svg+xml"),
        ("<!doctype svg", "image/svg+xml"),
    ]

    /// The media type that `prefix` shows, or nil when it shows none.
    public static func sniff(_ prefix: Bytes) -> Bytes? {
        for signature in signatures where prefix.from(signature.offset).starts(with: signature.bytes) {
            // Two letters are little to go by: the header says its own length of reserved zeros too.
            if signature.type == "image/bmp" {
                guard prefix.count >= 10, prefix.slice(6..<10).allSatisfy({ $0 == 0 }) else { continue }
            }
            return signature.type
        }
        if prefix.count >= 12, prefix.starts(with: "RIFF") {
            for (word, type) in riff where prefix.slice(8..<12) == word { return type }
        }
        if prefix.count >= 12, prefix.slice(4..<8) == "ftyp" {
            for (brand, type) in brands where prefix.slice(8..<12) == brand { return type }
            return "video/mp4"
        }
        return sniffMarkup(prefix)
    }

    private static func sniffMarkup(_ prefix: Bytes) -> Bytes? {
        var text = prefix
        if text.starts(with: Bytes([0xEF, 0xBB, 0xBF])) { text = text.from(3) }
        text = text.from(text.firstIndex { !isSpace($0) } ?? text.count).upTo(prefixSize).lowercasedASCII
        for (start, type) in markup where text.starts(with: start) { return type }
        // A declaration or a comment can stand before the root of an SVG or of a page.
        guard text.starts(with: "<?xml") || text.starts(with: "<!--") else { return nil }
        if contains(text, "<svg") { return "image/svg+xml" }
        if contains(text, "<html") || contains(text, "<!doctype html") { return "text/html" }
        return text.starts(with: "<?xml") ? "application/xml" : nil
    }

    private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (byte >= 0x09 && byte <= 0x0D) }

    private static func contains(_ text: Bytes, _ part: Bytes) -> Bool {
        guard text.count >= part.count else { return false }
        for start in 0...(text.count - part.count) where text.slice(start..<start + part.count) == part { return true }
        return false
    }

    /// Bytes of which nothing is known.
    public static let unknown: Bytes = "application/octet-stream"

    /// The type to keep for a blob: what its bytes show; else what was declared, when that is a type and not a
    /// pattern; else `application/octet-stream`. Parameters and case of the declared one go.
    public static func decide(declared: Bytes?, prefix: Bytes) -> Bytes {
        if let sniffed = sniff(prefix) { return sniffed }
        guard let declared, isConcrete(essence(declared)) else { return unknown }
        return essence(declared)
    }

    private static func essence(_ declared: Bytes) -> Bytes {
        let part = declared.upTo(declared.position(of: 0x3B) ?? declared.count).lowercasedASCII
        let start = part.firstIndex { $0 != 0x20 && $0 != 0x09 } ?? part.count
        let end = part.lastIndex { $0 != 0x20 && $0 != 0x09 } ?? -1
        return start <= end ? part.slice(start..<(end + 1)) : Bytes()
    }

    /// `type/subtype` of RFC 6838 §4.2 characters, no asterisk, at most 127 bytes each.
    private static func isConcrete(_ type: Bytes) -> Bool {
        let parts = type.split(on: 0x2F)
        return parts.count == 2
            && parts.allSatisfy { part in
                part.count >= 1 && part.count <= 127
                    && part.allSatisfy { byte in
                        (byte >= 0x61 && byte <= 0x7A) || (byte >= 0x30 && byte <= 0x39)
                            || Bytes("!#$&-^_.+").contains(byte)
                    }
            }
    }
}
