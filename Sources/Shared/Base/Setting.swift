/// The grammar of a setting's value: what is written, and the value that it means.
public struct SettingKind<Value: Sendable>: Sendable {
    /// For people, such as "a whole number from 1 to 65535".
    let description: String
    let parse: @Sendable (Bytes) -> Value?

    init(_ description: String, parse: @escaping @Sendable (Bytes) -> Value?) {
        self.description = description
        self.parse = parse
    }
}

/// One setting: a row of the table from which come the parser, `skystead settings`, the example file and the manual.
///
/// The default is written as an operator would write it, and parsed by the same grammar; nil means that there is none.
public struct Setting<Value: Sendable>: Sendable {
    public let key: String
    let kind: SettingKind<Value>
    let fallback: String?
    let help: String
    let secret: Bool
    let reserved: Bool

    init(
        _ key: String, _ kind: SettingKind<Value>, default fallback: String?, secret: Bool = false,
        reserved: Bool = false, help: String
    ) {
        self.key = key
        self.kind = kind
        self.fallback = fallback
        self.help = help
        self.secret = secret
        self.reserved = reserved
    }
}

/// A setting without its value's type: what the parser and the documents need of it.
protocol SettingRow: Sendable {
    var key: String { get }
    /// The default as text, or nil.
    var fallback: String? { get }
    var help: String { get }
    /// Secrets are shown as `•••` and may come from a file or a systemd credential.
    var secret: Bool { get }
    /// Kept for a part of the product that is not there yet: accepted, checked, and read by nothing.
    var reserved: Bool { get }
    var grammar: String { get }
    func accepts(_ value: Bytes) -> Bool
}

extension Setting: SettingRow {
    var grammar: String { kind.description }
    func accepts(_ value: Bytes) -> Bool { kind.parse(value) != nil }
}

extension SettingKind where Value == Int {
    static func integer(_ range: ClosedRange<Int>) -> SettingKind {
        SettingKind("a whole number from \(range.lowerBound) to \(range.upperBound)") { bytes in
            bytes.decimal.flatMap { range.contains($0) ? $0 : nil }
        }
    }

    /// A count of bytes: digits, or digits and one of K, M, G (powers of 1,024).
    static func size(_ range: ClosedRange<Int>) -> SettingKind {
        SettingKind("a size in bytes, or with K, M or G, from \(range.lowerBound) to \(range.upperBound)") { bytes in
            let shifts: [UInt8: Int] = [0x4B: 10, 0x4D: 20, 0x47: 30]
            guard let last = bytes.last else { return nil }
            let shift = shifts[last] ?? 0
            guard let number = bytes.upTo(shift == 0 ? bytes.count : bytes.count - 1).decimal,
                number <= Int.max >> shift, range.contains(number << shift)
            else { return nil }
            return number << shift
        }
    }
}

extension SettingKind where Value == Bool {
    static var flag: SettingKind {
        SettingKind("yes or no") { bytes in
            if bytes == "yes" { return true }
            return bytes == "no" ? false : nil
        }
    }
}

extension SettingKind where Value == Bytes? {
    /// Printable text; empty means none.
    static var text: SettingKind {
        SettingKind("text") { bytes in
            if bytes.isEmpty { return .some(nil) }
            return bytes.text != nil && bytes.allSatisfy { $0 >= 0x20 && $0 != 0x7F } ? .some(bytes) : nil
        }
    }

    /// A host name: letters, digits, hyphens and dots, lower case, no port.
    static var host: SettingKind {
        SettingKind("a host name in lower case, without port") { bytes in
            if bytes.isEmpty { return .some(nil) }
            return bytes.isHostName ? .some(bytes) : nil
        }
    }

    /// An absolute URL of one of `schemes`, without a trailing slash.
    static func url(_ schemes: [StaticString]) -> SettingKind {
        let prefixes = schemes.map { Bytes(stringLiteral: $0) + "://" }
        let names = prefixes.map { "\($0)…" }.joined(separator: " or ")
        return SettingKind("a URL, \(names), without a slash at the end") { bytes in
            if bytes.isEmpty { return .some(nil) }
            guard let prefix = prefixes.first(where: { bytes.starts(with: $0) }), bytes.count > prefix.count,
                bytes.allSatisfy({ $0 > 0x20 && $0 < 0x7F }), !bytes.ends(with: "/")
            else { return nil }
            return .some(bytes)
        }
    }

    /// A bucket of S3 (its rules for names; an address has it as a part of the path).
    static var bucket: SettingKind {
        SettingKind("a bucket's name: 3 to 63 lower-case letters, digits, dots and hyphens") { bytes in
            if bytes.isEmpty { return .some(nil) }
            guard (3...63).contains(bytes.count), bytes.first?.isLowercaseOrDigit == true,
                bytes.allSatisfy({ $0.isLowercaseOrDigit || $0 == 0x2D || $0 == 0x2E })
            else { return nil }
            return .some(bytes)
        }
    }

    static var did: SettingKind {
        SettingKind("a DID") { bytes in
            if bytes.isEmpty { return .some(nil) }
            return bytes.starts(with: "did:") && bytes.count > 6 && bytes.allSatisfy({ $0 > 0x20 && $0 < 0x7F })
                ? .some(bytes) : nil
        }
    }
}

extension SettingKind where Value == Bytes {
    /// A path of the file system.
    static var path: SettingKind {
        SettingKind("a path") { bytes in
            !bytes.isEmpty && bytes.text != nil && bytes.allSatisfy { $0 >= 0x20 && $0 != 0x7F } ? bytes : nil
        }
    }

    /// A region of S3: what stands in a signature's scope.
    static var region: SettingKind {
        SettingKind("a region: lower-case letters, digits and hyphens") { bytes in
            (1...64).contains(bytes.count) && bytes.allSatisfy({ $0.isLowercaseOrDigit || $0 == 0x2D }) ? bytes : nil
        }
    }

    static var hostName: SettingKind {
        SettingKind("a host name in lower case, without port") { $0.isHostName ? $0 : nil }
    }

    static var requiredURL: SettingKind {
        let kind = SettingKind<Bytes?>.url(["https", "http"])
        return SettingKind(kind.description) { kind.parse($0) ?? nil }
    }

    static func word(_ words: [StaticString]) -> SettingKind {
        let words = words.map { Bytes(stringLiteral: $0) }
        return SettingKind("one of \(words.map(\.description).joined(separator: ", "))") {
            words.contains($0) ? $0 : nil
        }
    }
}

extension SettingKind where Value == [Bytes] {
    /// Values between commas; empty means none.
    static func list(of item: String, _ accepts: @escaping @Sendable (Bytes) -> Bool) -> SettingKind {
        SettingKind("\(item), with commas between") { bytes in
            if bytes.isEmpty { return [] }
            let parts = bytes.split(on: 0x2C)
            return parts.allSatisfy(accepts) ? parts : nil
        }
    }

    static var hosts: SettingKind { list(of: "host names") { $0.isHostName } }
    /// Host names or addresses, each with an optional port.
    static var hostsAndPorts: SettingKind {
        list(of: "host names or addresses, each with an optional :port") { host in
            let name = host.upTo(host.position(of: 0x3A) ?? host.count)
            let port = host.from(name.count)
            if host.first == 0x5B {
                return host.count > 2 && host.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != 0x2A }
            }
            return name.isHostName && (port.isEmpty || port.from(1).decimal.map { $0 >= 1 && $0 <= 65_535 } == true)
        }
    }
    static var urls: SettingKind {
        let one = SettingKind<Bytes?>.url(["https", "http"])
        return list(of: "URLs") { !$0.isEmpty && one.accepts($0) }
    }
    /// Names of OAuth clients: https URLs with a path. (What else such a name must be is for those who use it: one that
    /// is none is no client's.)
    static var clientIDs: SettingKind {
        let one = SettingKind<Bytes?>.url(["https"])
        return list(of: "client ids (https://host/path)") { id in
            one.accepts(id) && id.from(8).position(of: 0x2F).map { $0 > 0 } == true
        }
    }
    /// `prefix=demand` rules about collections.
    static var demands: SettingKind {
        list(of: "collection=off, =optimistic or =require") { rule in
            let parts = rule.split(on: 0x3D)
            let words: [Bytes] = ["off", "optimistic", "require"]
            return parts.count == 2 && !parts[0].isEmpty && parts[0].allSatisfy { $0 > 0x20 && $0 < 0x7F }
                && words.contains(parts[1])
        }
    }
    /// `name=address` pairs, for tests and for split DNS.
    static var overrides: SettingKind {
        list(of: "name=address") { pair in
            let parts = pair.split(on: 0x3D)
            return parts.count == 2 && parts[0].isHostName && !parts[1].isEmpty
                && parts[1].allSatisfy { $0 > 0x20 && $0 < 0x7F }
        }
    }
    static var addresses: SettingKind {
        list(of: "addresses, each with an optional :port") { address in
            !address.isEmpty
                && address.allSatisfy { byte in
                    (byte >= 0x30 && byte <= 0x3A) || (byte >= 0x61 && byte <= 0x66)
                        || [0x2E, 0x5B, 0x5D].contains(byte)
                }
        }
    }
}

extension SettingKind where Value == Secret? {
    static var secret: SettingKind {
        SettingKind("a secret") { bytes in bytes.isEmpty ? .some(nil) : .some(Secret(bytes.array)) }
    }
}

extension SettingKind where Value == MailServer? {
    /// The value is secret, so a problem with it can say only what is right.
    static var mailServer: SettingKind {
        SettingKind(
            """
            smtps://USER:PASSWORD@HOST:465 or smtp://USER:PASSWORD@HOST:587 (USER and PASSWORD percent-encoded: \
            an @ is %40, a / is %2F, a % is %25; both or neither)
            """
        ) { bytes in
            if bytes.isEmpty { return .some(nil) }
            return MailServer(bytes).map { .some($0) }
        }
    }
}

extension SettingKind where Value == MailSender? {
    static var mailSender: SettingKind {
        SettingKind("an address, or NAME <ADDRESS>") { bytes in
            if bytes.isEmpty { return .some(nil) }
            return MailSender(bytes).map { .some($0) }
        }
    }
}

extension SettingKind {
    func accepts(_ value: Bytes) -> Bool { parse(value) != nil }
}

extension Bytes {
    /// Labels of 1 to 63 letters, digits and hyphens in lower case, 253 bytes in all (RFC 1123 §2.1).
    var isHostName: Bool {
        guard !isEmpty, count <= 253 else { return false }
        return split(on: 0x2E).allSatisfy { label in
            !label.isEmpty && label.count <= 63 && label[0] != 0x2D && label[label.count - 1] != 0x2D
                && label.allSatisfy { ($0 >= 0x61 && $0 <= 0x7A) || ($0 >= 0x30 && $0 <= 0x39) || $0 == 0x2D }
        }
    }
}

extension UInt8 {
    fileprivate var isLowercaseOrDigit: Bool { (0x61...0x7A).contains(self) || (0x30...0x39).contains(self) }
}
