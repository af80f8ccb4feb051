public import ATProto
public import Base

/// How much a server asks of the records of each collection.
public struct LexiconPolicy: Sendable, Equatable {
    public enum Demand: String, Sendable, CaseIterable {
        /// Nothing is checked, whoever asks.
        case off
        /// What is known is checked; what isn't is taken.
        case optimistic
        /// Everything is checked, and what isn't known is refused, whatever the caller asks.
        case require
    }

    private let rules: [(prefix: Bytes, demand: Demand)]

    /// `prefix=demand` rules, such as `com.example=require`; `*` stands for every collection. Of several prefixes the
    /// longest counts, of none `optimistic`. Throws for what is no such rule, and for a prefix that is there twice.
    public init(_ rules: [Bytes]) throws(Malformed) {
        var parsed: [(prefix: Bytes, demand: Demand)] = []
        for rule in rules {
            guard let equals = rule.position(of: 0x3D),
                let demand = Demand(rawValue: rule.from(equals + 1).description),
                Self.isPrefix(rule.upTo(equals)), !parsed.contains(where: { $0.prefix == rule.upTo(equals) })
            else { throw Malformed(rule: rule) }
            parsed.append((rule.upTo(equals), demand))
        }
        self.rules = parsed.sorted { $0.prefix.count > $1.prefix.count }
    }

    public struct Malformed: Error, Equatable, Sendable { public let rule: Bytes }

    /// `optimistic` everywhere.
    public static let standard = LexiconPolicy()
    private init() { rules = [] }

    /// An NSID or the first segments of one.
    private static func isPrefix(_ prefix: Bytes) -> Bool {
        prefix == "*" || NSID(prefix) != nil || NSID(prefix + ".a") != nil || NSID(prefix + ".a.a") != nil
    }

    public func demand(for collection: NSID) -> Demand {
        for rule in rules where Self.covers(rule.prefix, collection.bytes) { return rule.demand }
        return .optimistic
    }

    /// Whole segments only: `com.example` is no prefix of `com.examples.thing`.
    private static func covers(_ prefix: Bytes, _ name: Bytes) -> Bool {
        prefix == "*" || prefix == name
            || (name.count > prefix.count && name[prefix.count] == 0x2E && name.starts(with: prefix))
    }

    public static func == (left: LexiconPolicy, right: LexiconPolicy) -> Bool {
        left.rules.elementsEqual(right.rules) { $0.prefix == $1.prefix && $0.demand == $1.demand }
    }
}
