internal import CSystem
internal import Glibc

/// The web server's side of FastCGI, for tests: it sends exactly the records that it is told to, right or wrong.
public final class FCGIConnection {
    private let descriptor: Int32
    private var received: [UInt8] = []
    /// Whether the other side has said that nothing more comes, and that was read.
    public private(set) var isClosed = false

    public struct Failed: Error {
        public let what: String
        public let errno: Int32
    }

    /// Connects to a unix socket; nothing on it may take longer than `timeoutSeconds`.
    public init(unix path: String, timeoutSeconds: Int32 = 20) throws {
        descriptor = csystem_connect_unix(path)
        guard descriptor >= 0 else { throw Failed(what: "connect", errno: Glibc.errno) }
        csystem_set_timeouts(descriptor, timeoutSeconds)
    }

    deinit { close(descriptor) }

    /// Sends raw bytes. Throws when the other side has closed.
    public func send(_ bytes: [UInt8]) throws {
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress.map { $0 + sent }, bytes.count - sent, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { throw Failed(what: "send", errno: Glibc.errno) }
            sent += count
        }
    }

    /// Says that nothing more will be sent.
    public func finishSending() { shutdown(descriptor, Int32(SHUT_WR)) }

    /// Reads records until END_REQUEST of `id` or the end of the connection.
    public func receive(id: UInt16 = 1) -> FCGIAnswer {
        var answer = FCGIAnswer()
        while let record = nextRecord() {
            if record.version != 1 {
                answer.isSpoilt = true
                return answer
            }
            switch record.kind {
            case FCGIRecord.Kind.stdout.rawValue where record.id == id: answer.output += record.content
            case FCGIRecord.Kind.endRequest.rawValue where record.id == id:
                answer.isEnded = true
                answer.protocolStatus = record.content.count > 4 ? record.content[4] : nil
                return answer
            default: answer.others.append(record)
            }
        }
        return answer
    }

    private func nextRecord() -> FCGIRecord? {
        while true {
            if received.count >= 8 {
                let size = Int(received[4]) << 8 | Int(received[5])
                let whole = 8 + size + Int(received[6])
                if received[0] != 1 || received.count >= whole {
                    let record = FCGIRecord(
                        version: received[0], kind: received[1], id: UInt16(received[2]) << 8 | UInt16(received[3]),
                        content: received[0] == 1 ? Array(received[8..<8 + size]) : [])
                    received.removeFirst(min(whole, received.count))
                    return record
                }
            }
            var buffer = [UInt8](repeating: 0, count: 65_536)
            let count = buffer.withUnsafeMutableBytes { recv(descriptor, $0.baseAddress, $0.count, 0) }
            guard count > 0 else {
                isClosed = count == 0
                return nil
            }
            received += buffer[..<count]
        }
    }
}

/// A FastCGI record (FastCGI specification, section 3.3).
public struct FCGIRecord {
    public enum Kind: UInt8 {
        case beginRequest = 1, abortRequest, endRequest, params, stdin, stdout, stderr, data, getValues,
            getValuesResult, unknownType
    }

    public var version: UInt8 = 1
    public var kind: UInt8
    public var id: UInt16
    public var content: [UInt8]

    public init(version: UInt8 = 1, kind: UInt8, id: UInt16, content: [UInt8]) {
        self.version = version
        self.kind = kind
        self.id = id
        self.content = content
    }

    public init(_ kind: Kind, id: UInt16 = 1, _ content: [UInt8] = []) {
        self.init(kind: kind.rawValue, id: id, content: content)
    }

    public static func begin(id: UInt16 = 1, role: UInt16 = 1, keep: Bool = false) -> FCGIRecord {
        FCGIRecord(.beginRequest, id: id, [UInt8(role >> 8), UInt8(role & 0xFF), keep ? 1 : 0, 0, 0, 0, 0, 0])
    }

    public var bytes: [UInt8] {
        let size = UInt16(content.count)
        return [version, kind, UInt8(id >> 8), UInt8(id & 0xFF), UInt8(size >> 8), UInt8(size & 0xFF), 0, 0] + content
    }

    /// `content` in records of at most `size` bytes, and the empty record that ends the stream.
    public static func stream(_ kind: Kind, id: UInt16 = 1, _ content: [UInt8], size: Int) -> [UInt8] {
        var out: [UInt8] = []
        var rest = content[...]
        while !rest.isEmpty {
            out += FCGIRecord(kind, id: id, Array(rest.prefix(size))).bytes
            rest = rest.dropFirst(size)
        }
        return out + FCGIRecord(kind, id: id).bytes
    }

    /// Name-value pairs (section 3.4).
    public static func pairs(_ pairs: [(String, [UInt8])]) -> [UInt8] {
        var out: [UInt8] = []
        for (name, value) in pairs {
            out += size(name.utf8.count) + size(value.count) + Array(name.utf8) + value
        }
        return out
    }

    public static func size(_ size: Int) -> [UInt8] {
        size < 128
            ? [UInt8(size)]
            : [
                UInt8(size >> 24 & 0x7F) | 0x80, UInt8(size >> 16 & 0xFF), UInt8(size >> 8 & 0xFF), UInt8(size & 0xFF),
            ]
    }
}

/// What came back for one request.
public struct FCGIAnswer {
    public var output: [UInt8] = []
    /// END_REQUEST has come.
    public var isEnded = false
    /// A record of an unknown version has come: the sign that a response broke off.
    public var isSpoilt = false
    public var protocolStatus: UInt8?
    public var others: [FCGIRecord] = []

    private var headSize: Int? {
        guard output.count >= 4 else { return nil }
        for index in 0...(output.count - 4) where Array(output[index..<index + 4]) == [13, 10, 13, 10] { return index }
        return nil
    }

    /// The header fields in order, `Status` among them.
    public var fields: [(name: String, value: String)] {
        guard let headSize else { return [] }
        return String(decoding: output[..<headSize], as: UTF8.self).components(at: "\r\n").map { line in
            let parts = line.components(at: ": ")
            return (parts[0], parts.dropFirst().joined(separator: ": "))
        }
    }

    public subscript(_ name: String) -> String? { fields.first { $0.name == name }?.value }

    public var status: Int? { self["Status"].flatMap { Int($0.prefix(3)) } }

    public var body: [UInt8] { headSize.map { Array(output[($0 + 4)...]) } ?? [] }

    public var text: String { String(decoding: body, as: UTF8.self) }
}

extension String {
    /// The parts between occurrences of `separator`, compared as bytes.
    func components(at separator: String) -> [String] {
        let bytes = Array(utf8)
        let mark = Array(separator.utf8)
        var parts: [String] = []
        var start = 0
        var index = 0
        while index + mark.count <= bytes.count {
            if Array(bytes[index..<index + mark.count]) == mark {
                parts.append(String(decoding: bytes[start..<index], as: UTF8.self))
                index += mark.count
                start = index
            } else {
                index += 1
            }
        }
        return parts + [String(decoding: bytes[start...], as: UTF8.self)]
    }
}
