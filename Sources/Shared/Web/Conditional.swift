public import Base

/// An entity tag (RFC 9110 §8.8.3) of our own making.
public struct EntityTag: Sendable, Hashable {
    /// Without quotes: visible ASCII without `"`.
    public let opaque: Bytes

    /// nil when a byte can't stand in an entity tag. CIDs and hexadecimal digests always can.
    public init?(_ opaque: Bytes) {
        guard !opaque.isEmpty, opaque.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != 0x22 }) else { return nil }
        self.opaque = opaque
    }

    /// The `ETag` field: a strong validator.
    public var value: HeaderValue { HeaderValue("\"" + opaque + "\"") ?? "\"\"" }
}

/// Conditional requests (RFC 9110 §13).
public enum Conditional {
    /// More is cut: a client with more tags than this gets the whole answer, which is always right.
    public static let sizeMax = 8_192

    /// True when `If-None-Match` has `tag` (weak comparison, as §13.1.2 says) or `*`: the answer is then 304.
    /// A list that is malformed or too long matches nothing.
    public static func matchesNone(_ headers: Headers, _ tag: EntityTag) -> Bool {
        guard let list = headers["if-none-match"], list.count <= sizeMax else { return false }
        return contains(list, tag.opaque, weak: true)
    }

    /// False when `If-Match` is there and does not have `tag` (strong comparison, §13.1.1): the answer is then 412.
    public static func matches(_ headers: Headers, _ tag: EntityTag) -> Bool {
        guard let list = headers["if-match"] else { return true }
        return list.count <= sizeMax && contains(list, tag.opaque, weak: false)
    }

    private static func contains(_ list: Bytes, _ opaque: Bytes, weak: Bool) -> Bool {
        if list == "*" { return true }
        var index = 0
        while index < list.count {
            switch list[index] {
            case 0x20, 0x09, 0x2C:
                index &+= 1
                continue
            default: break
            }
            var isWeak = false
            if list[index] == 0x57, index &+ 1 < list.count, list[index &+ 1] == 0x2F {
                isWeak = true
                index &+= 2
            }
            guard index < list.count, list[index] == 0x22 else { return false }
            let rest = list.from(index &+ 1)
            guard let size = rest.position(of: 0x22) else { return false }
            if weak || !isWeak, rest.upTo(size) == opaque { return true }
            index = index &+ size &+ 2
        }
        return false
    }
}

/// What part of a body a request asks for.
public enum RangeRequest: Equatable, Sendable {
    /// All of it, 200: no range, one that this server does not serve (several ranges, another unit, a malformed one:
    /// RFC 9110 §14.2 lets a server ignore those), or a condition in `If-Range` that does not hold.
    case whole
    /// 206 with these bytes.
    case part(Range<Int>)
    /// 416: nothing of it exists.
    case unsatisfiable

    /// A `Range` value longer than this is ignored.
    public static let sizeMax = 128

    /// Reads `Range` and `If-Range` for a GET of a body of `size` bytes with the validator `tag`.
    public init(_ headers: Headers, size: Int, tag: EntityTag?) {
        guard let range = headers["range"], range.count <= Self.sizeMax, Self.holds(headers["if-range"], tag) else {
            self = .whole
            return
        }
        self = Self.read(range, size: size)
    }

    /// `If-Range` (§13.1.5): only a strong tag is compared, a date never holds (no `Last-Modified` is sent).
    private static func holds(_ condition: Bytes?, _ tag: EntityTag?) -> Bool {
        guard let condition else { return true }
        return tag.map { $0.value.bytes == condition } ?? false
    }

    private static func read(_ range: Bytes, size: Int) -> RangeRequest {
        let unit: Bytes = "bytes="
        guard range.upTo(unit.count).lowercasedASCII == unit else { return .whole }
        let spec = range.from(unit.count)
        guard !spec.contains(0x2C), let dash = spec.position(of: 0x2D) else { return .whole }
        let first = spec.upTo(dash)
        let last = spec.from(dash + 1)
        if first.isEmpty {
            // The last N bytes.
            guard isNumber(last) else { return .whole }
            let count = number(last)
            guard count > 0, size > 0 else { return .unsatisfiable }
            return .part(Swift.max(0, size - Swift.min(count, size))..<size)
        }
        guard isNumber(first), last.isEmpty || isNumber(last) else { return .whole }
        let start = number(first)
        let end = last.isEmpty ? Int.max : number(last)
        guard end >= start else { return .whole }
        guard start < size else { return .unsatisfiable }
        return .part(start..<(end >= size - 1 ? size : end + 1))
    }

    private static func isNumber(_ text: Bytes) -> Bool {
        !text.isEmpty && text.allSatisfy { $0 >= 0x30 && $0 <= 0x39 }
    }

    /// The value of a run of digits; one that is beyond any size is the largest.
    private static func number(_ digits: Bytes) -> Int {
        var value = 0
        for digit in digits {
            let (product, overflow) = value.multipliedReportingOverflow(by: 10)
            let (sum, carry) = product.addingReportingOverflow(Int(digit &- 0x30))
            if overflow || carry { return .max }
            value = sum
        }
        return value
    }

    /// The `Content-Range` field of a 206 or a 416.
    public func contentRange(size: Int) -> HeaderValue? {
        switch self {
        case .whole: nil
        case .part(let range): HeaderValue(Bytes("bytes \(range.lowerBound)-\(range.upperBound - 1)/\(size)"))
        case .unsatisfiable: HeaderValue(Bytes("bytes */\(size)"))
        }
    }
}
