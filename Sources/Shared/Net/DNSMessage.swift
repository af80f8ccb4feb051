internal import Base

/// Reads the texts or the addresses out of a DNS response (RFC 1035 §4). Bounded everywhere: a response is at most
/// 65,535 bytes, and a compressed name may only point backwards.
struct DNSMessage {
    /// Records of one name.
    static let recordsMax = 64
    /// One text, its strings joined.
    static let textSizeMax = 8_192
    /// Aliases from the name that was asked to the one that has texts.
    static let aliasesMax = 8
    static let nameSizeMax = 255

    /// The kinds of records that are asked for, by their number (RFC 1035 §3.2.2, RFC 3596 §2.1).
    enum Kind: Int32 {
        case address4 = 1
        case texts = 16
        case address6 = 28
    }

    private static let typeCNAME = 5
    private static let classInternet = 1

    private let bytes: [UInt8]
    private var position = 0

    private init(_ bytes: [UInt8]) { self.bytes = bytes }

    /// The texts of `name` (in wire form) in the answer section, aliases followed; records of other names don't count.
    static func texts(of name: [UInt8], in response: [UInt8]) throws(DNSError) -> [Bytes] {
        var message = DNSMessage(response)
        return try message.records(of: name, .texts)
    }

    /// The addresses of `name`, each as its 4 or 16 bytes; aliases followed.
    static func addresses(of name: [UInt8], _ kind: Kind, in response: [UInt8]) throws(DNSError) -> [Bytes] {
        var message = DNSMessage(response)
        return try message.records(of: name, kind)
    }

    /// A name in lower-case wire form, labels with their lengths and the root's 0; nil when it is no name that can be
    /// asked: letters, digits, hyphens and underscores, at most 63 a label and 253 in all.
    static func wire(_ name: Bytes) -> [UInt8]? {
        guard !name.isEmpty, name.count <= 253 else { return nil }
        var out: [UInt8] = []
        for label in name.lowercasedASCII.split(on: 0x2E) {
            guard label.count >= 1, label.count <= 63 else { return nil }
            for byte in label {
                switch byte {
                case 0x61...0x7A, 0x30...0x39, 0x2D, 0x5F: continue
                default: return nil
                }
            }
            out.append(UInt8(label.count))
            out.append(contentsOf: label)
        }
        out.append(0)
        return out
    }

    private mutating func records(of asked: [UInt8], _ wanted: Kind) throws(DNSError) -> [Bytes] {
        guard bytes.count >= 12 else { throw .malformed }
        position = 4
        let questions = try number()
        let answers = try number()
        position = 12
        for _ in 0..<questions {
            _ = try name(at: &position)
            try skip(4)
        }
        var aliases: [[UInt8]: [UInt8]] = [:]
        var records: [(owner: [UInt8], data: Bytes)] = []
        for _ in 0..<answers {
            let owner = try name(at: &position)
            let type = try number()
            let kind = try number()
            try skip(4)
            let end = try number() + position
            guard end <= bytes.count else { throw .malformed }
            if kind == Self.classInternet, type == Int(wanted.rawValue) {
                guard records.count < Self.recordsMax else { throw .tooLarge }
                records.append((owner, try data(wanted, to: end)))
            } else if kind == Self.classInternet, type == Self.typeCNAME {
                guard aliases.count < Self.aliasesMax else { throw .malformed }
                var start = position
                aliases[owner] = try self.name(at: &start)
                guard start == end else { throw .malformed }
            }
            position = end
        }
        var current = asked
        for _ in 0...Self.aliasesMax {
            let found = records.filter { $0.owner == current }.map(\.data)
            if !found.isEmpty { return found }
            guard let next = aliases[current] else { return [] }
            current = next
        }
        throw .malformed
    }

    private mutating func data(_ kind: Kind, to end: Int) throws(DNSError) -> Bytes {
        switch kind {
        case .texts: return try text(to: end)
        case .address4, .address6:
            guard end - position == (kind == .address4 ? 4 : 16) else { throw .malformed }
            return Bytes(Array(bytes[position..<end]))
        }
    }

    /// The strings of one record, joined without anything between them.
    private mutating func text(to end: Int) throws(DNSError) -> Bytes {
        var joined: [UInt8] = []
        while position < end {
            let count = Int(bytes[position])
            guard position + 1 + count <= end else { throw .malformed }
            joined.append(contentsOf: bytes[position + 1..<position + 1 + count])
            guard joined.count <= Self.textSizeMax else { throw .tooLarge }
            position += 1 + count
        }
        return Bytes(joined)
    }

    private mutating func number() throws(DNSError) -> Int {
        guard position + 2 <= bytes.count else { throw .malformed }
        defer { position += 2 }
        return Int(bytes[position]) << 8 | Int(bytes[position + 1])
    }

    private mutating func skip(_ count: Int) throws(DNSError) {
        guard position + count <= bytes.count else { throw .malformed }
        position += count
    }

    /// The name at `start`, in lower-case wire form; moves `start` behind it.
    private func name(at start: inout Int) throws(DNSError) -> [UInt8] {
        var out: [UInt8] = []
        var place = start
        var next: Int?
        while true {
            guard place < bytes.count else { throw .malformed }
            let length = Int(bytes[place])
            switch length {
            case 0:
                out.append(0)
                start = next ?? place + 1
                return out
            case 1...63:
                guard place + 1 + length <= bytes.count, out.count + length + 2 <= Self.nameSizeMax else {
                    throw .malformed
                }
                out.append(UInt8(length))
                for byte in bytes[place + 1..<place + 1 + length] {
                    out.append(byte >= 0x41 && byte <= 0x5A ? byte | 0x20 : byte)
                }
                place += 1 + length
            case 0xC0...0xFF:
                guard place + 1 < bytes.count else { throw .malformed }
                let target = (length & 0x3F) << 8 | Int(bytes[place + 1])
                // Backwards only, so that it ends.
                guard target < place else { throw .malformed }
                next = next ?? place + 2
                place = target
            default: throw .malformed
            }
        }
    }
}
