public import Base

/// The string formats of the Lexicon specification that have no type of their own here.
/// https://atproto.com/specs/lexicon (string formats)
public enum StringFormat {
    /// The most bytes of a `uri`.
    public static let uriSizeMax = 8_192
    /// The most bytes of a `language`.
    public static let languageSizeMax = 128

    /// A `uri`: a scheme of RFC 3986 §3.1, a colon and at least one more character, none of them blank or control.
    /// What follows the scheme is the scheme's business.
    public static func isURI(_ bytes: Bytes) -> Bool {
        guard bytes.count <= uriSizeMax, let colon = bytes.position(of: 0x3A), colon >= 1, colon < 81,
            colon + 1 < bytes.count, ByteClass.isLetter(bytes[0])
        else { return false }
        let scheme = bytes.upTo(colon).allSatisfy {
            ByteClass.isAlphanumeric($0) || $0 == 0x2B || $0 == 0x2D || $0 == 0x2E
        }
        return scheme && bytes.from(colon + 1).allSatisfy { $0 > 0x20 && $0 != 0x7F }
    }

    /// A `cid` as the format has it: any version 1 CID in any multibase, by its looks. For what is stored or served
    /// here, parse a `CID`.
    public static func isCID(_ bytes: Bytes) -> Bool {
        bytes.count >= 8 && bytes.count <= 256 && !bytes.starts(with: "Qm")
            && bytes.allSatisfy { ByteClass.isAlphanumeric($0) || $0 == 0x2B || $0 == 0x3D }
    }

    /// A `language`: a well-formed tag of RFC 5646 §2.1 with its primary subtag in lower case, no variant and no
    /// extension twice.
    public static func isLanguage(_ bytes: Bytes) -> Bool {
        guard bytes.count <= languageSizeMax else { return false }
        let irregular: [Bytes] = ["en-GB-oed", "sgn-BE-FR", "sgn-BE-NL", "sgn-CH-DE"]
        if irregular.contains(bytes) { return true }
        let subtags = bytes.split(on: 0x2D)
        guard
            subtags.allSatisfy({ $0.count >= 1 && $0.count <= 8 && $0.allSatisfy(ByteClass.isAlphanumeric) })
        else { return false }
        let first = subtags[0]
        if first == "x" || first == "X" || first == "i" { return subtags.count > 1 }
        guard first.count == 2 || first.count == 3, first.allSatisfy(ByteClass.isLower) else { return false }
        var tags = LanguageTags(rest: subtags[1...])
        return tags.isWellFormed()
    }
}

/// The subtags after the primary one, taken in the order of the grammar.
private struct LanguageTags {
    var rest: ArraySlice<Bytes>

    mutating func take(_ isWanted: (Bytes) -> Bool) -> Bytes? {
        guard let first = rest.first, isWanted(first) else { return nil }
        rest.removeFirst()
        return first
    }

    mutating func isWellFormed() -> Bool {
        for _ in 0..<3 where take({ $0.count == 3 && $0.allSatisfy(ByteClass.isLetter) }) == nil { break }
        _ = take { $0.count == 4 && $0.allSatisfy(ByteClass.isLetter) }
        _ = take {
            $0.count == 2 && $0.allSatisfy(ByteClass.isLetter) || $0.count == 3 && $0.allSatisfy(ByteClass.isDigit)
        }
        var seen: [Bytes] = []
        while let variant = take({ $0.count >= 5 || $0.count == 4 && ByteClass.isDigit($0[0]) }) {
            let folded = variant.lowercasedASCII
            if seen.contains(folded) { return false }
            seen.append(folded)
        }
        var singletons: [Bytes] = []
        while let singleton = take({ $0.count == 1 && $0[0] | 0x20 != 0x78 }) {
            let folded = singleton.lowercasedASCII
            if singletons.contains(folded) { return false }
            singletons.append(folded)
            guard take({ $0.count >= 2 }) != nil else { return false }
            while take({ $0.count >= 2 }) != nil {}
        }
        if take({ $0.count == 1 }) != nil { return !rest.isEmpty }
        return rest.isEmpty
    }
}
