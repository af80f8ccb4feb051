internal import Base

/// Markup of somebody else's as text, for readers of mail that show no markup.
///
/// Not a parser of documents: what is no tag or character reference stays as it is, and nothing fails. Takes time in
/// proportion to the size, whatever it is given.
struct PlainText {
    private let markup: Bytes
    private var out: [UInt8] = []
    /// White space came, which is one space if a word follows.
    private var isSpaceDue = false
    /// Where the links go that are open.
    private var links: [Bytes] = []

    private init(_ markup: Bytes) { self.markup = markup }

    /// Whether `text` has a tag of HTML that has no attributes, as every end tag is one: an address or a comparison in
    /// plain text is none.
    static func isMarkup(_ text: Bytes) -> Bool {
        var at = 0
        while let open = position(of: 0x3C, in: text, from: at) {
            let tag = tag(in: text, at: open + 1)
            if elements.contains(tag.name), tag.end < text.count, [0x2F, 0x3E].contains(text[tag.end]) { return true }
            at = open + 1
        }
        return false
    }

    /// The text of `markup`, with LF lines, empty lines between paragraphs, and the targets of links after their words.
    static func of(_ markup: Bytes) -> Bytes {
        var text = PlainText(markup)
        text.read()
        return Bytes(text.out).trimming(" \n") + "\n"
    }

    private static func position(of byte: UInt8, in text: Bytes, from start: Int) -> Int? {
        text.from(start).position(of: byte).map { start + $0 }
    }

    // MARK: Names

    private static let blocks: Set<Bytes> = [
        "p", "div", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "table", "blockquote", "pre", "section", "article",
    ]
    private static let lines: Set<Bytes> = ["br", "hr", "li", "tr"]
    /// What is in these is not for reading.
    private static let hidden: Set<Bytes> = ["head", "style", "script", "title"]
    private static let elements: Set<Bytes> = blocks.union(lines).union(hidden).union([
        "a", "b", "body", "code", "em", "html", "i", "img", "small", "span", "strong", "td", "th", "u", "!doctype",
    ])

    /// Bytes of a name; the longest of HTML is `blockquote`.
    private static let nameSizeMax = 16

    /// The lower-case name of the tag whose `<` is before `start`, empty for none, where it ends, and whether it is an
    /// end tag's.
    private static func tag(in text: Bytes, at start: Int) -> (name: Bytes, end: Int, isEnd: Bool) {
        let isEnd = start < text.count && text[start] == 0x2F
        let begin = isEnd ? start + 1 : start
        var end = begin
        while end < text.count, end - begin <= nameSizeMax,
            isLetterOrDigit(text[end]) || (end == begin && text[end] == 0x21)
        {
            end += 1
        }
        guard end < text.count, end > begin, [0x20, 0x09, 0x0A, 0x0D, 0x2F, 0x3E].contains(text[end]) else {
            return (Bytes(), end, isEnd)
        }
        return (text.slice(begin..<end).lowercasedASCII, end, isEnd)
    }

    private static func isLetterOrDigit(_ byte: UInt8) -> Bool {
        (byte | 0x20 >= 0x61 && byte | 0x20 <= 0x7A) || (byte >= 0x30 && byte <= 0x39)
    }

    // MARK: Reading

    private mutating func read() {
        var at = 0
        // What begins behind it is no tag.
        let lastEnd = markup.lastIndex(of: 0x3E) ?? 0
        while at < markup.count {
            let byte = markup[at]
            if byte == 0x3C, at < lastEnd, let next = skip(at) {
                at = next
                continue
            }
            if byte == 0x26, let (character, next) = reference(at) {
                write(character)
                at = next
            } else {
                write(byte)
                at += 1
            }
        }
    }

    /// Behind the tag or comment at `open`, having done what it says; nil when there is none.
    private mutating func skip(_ open: Int) -> Int? {
        if markup.slice(open..<min(open + 4, markup.count)) == "<!--" {
            return end(of: "-->", from: open + 4)
        }
        let (name, _, isEnd) = Self.tag(in: markup, at: open + 1)
        guard !name.isEmpty, let close = Self.position(of: 0x3E, in: markup, from: open) else { return nil }
        if Self.hidden.contains(name), !isEnd {
            let end = end(of: "</" + name, from: close)
            return Self.position(of: 0x3E, in: markup, from: end).map { $0 + 1 } ?? markup.count
        }
        if name == "a" { link(markup.slice(open..<close), isEnd: isEnd) }
        if Self.blocks.contains(name) { breakLine(empty: true) }
        if Self.lines.contains(name) { breakLine(empty: false) }
        if name == "li", !isEnd { out.append(contentsOf: "- ".utf8) }
        return close + 1
    }

    /// Behind `words`, in any case of letters, or the end.
    private func end(of words: Bytes, from start: Int) -> Int {
        var at = start
        while let first = Self.position(of: words[0], in: markup, from: at) {
            if markup.slice(first..<min(first + words.count, markup.count)).lowercasedASCII == words {
                return first + words.count
            }
            at = first + 1
        }
        return markup.count
    }

    private mutating func link(_ tag: Bytes, isEnd: Bool) {
        guard !isEnd else {
            guard let target = links.popLast(), !target.isEmpty, !out.suffix(target.count).elementsEqual(target) else {
                return
            }
            for byte in " (" + target + ")" { write(byte) }
            return
        }
        var target = Bytes()
        for mark in [0x22, 0x27] as [UInt8] {
            let parts = tag.split(on: mark)
            let index = parts.firstIndex { $0.lowercasedASCII.ends(with: "href=") }
            guard let index, index + 2 < parts.count else { continue }
            target = parts[index + 1]
            break
        }
        links.append(target.lowercasedASCII.starts(with: "http") ? target : Bytes())
    }

    // MARK: Writing

    private mutating func breakLine(empty: Bool) {
        isSpaceDue = false
        if out.isEmpty { return }
        if out.last != 0x0A { out.append(0x0A) }
        if empty, !out.suffix(2).elementsEqual([0x0A, 0x0A]) { out.append(0x0A) }
    }

    private mutating func write(_ byte: UInt8) {
        if byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D {
            isSpaceDue = true
            return
        }
        if isSpaceDue, let last = out.last, last != 0x0A, last != 0x20 { out.append(0x20) }
        isSpaceDue = false
        out.append(byte)
    }

    private mutating func write(_ character: Unicode.Scalar) {
        isSpaceDue = isSpaceDue || character == " "
        if character != " " { for byte in String(character).utf8 { write(byte) } }
    }

    private static let names: [Bytes: Unicode.Scalar] = [
        "amp": "&", "lt": "<", "gt": ">", "quot": "\"", "apos": "'", "nbsp": " ",
    ]

    /// The character of the reference at `start`, and where it ends. Nil for none; no control characters.
    private func reference(_ start: Int) -> (Unicode.Scalar, Int)? {
        // The longest is `&#x10FFFF;`.
        let piece = markup.slice(start..<min(start + 12, markup.count))
        guard let end = piece.position(of: 0x3B) else { return nil }
        let word = piece.slice(1..<end)
        if let known = Self.names[word] { return (known, start + end + 1) }
        guard word.first == 0x23, word.count > 1 else { return nil }
        let isHexadecimal = word[1] | 0x20 == 0x78
        let digits = word.from(isHexadecimal ? 2 : 1).description
        guard digits.first?.isHexDigit == true, let number = UInt32(digits, radix: isHexadecimal ? 16 : 10),
            let character = Unicode.Scalar(number), number >= 0x20, !(0x7F...0x9F ~= number)
        else { return nil }
        return (character == "\u{A0}" ? " " : character, start + end + 1)
    }
}
