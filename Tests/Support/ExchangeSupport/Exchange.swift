public import Base
internal import Glibc
public import Web

/// A recorded exchange: a request, a line of ten hyphens, the whole response. Tests compare; `UPDATE_GOLDEN=1`
/// rewrites.
///
/// ```
/// POST /path?query
/// Header: value
///
/// body
/// ----------
/// 200
/// Content-Type: application/json
///
/// {}
/// ```
public struct GoldenExchange: Sendable {
    public let path: String
    public let method: HTTPMethod
    public let target: Bytes
    public let headers: [(name: String, value: String)]
    public let body: [UInt8]
    /// Everything above and below the line of hyphens.
    public let asked: String
    public let expected: String

    public struct Malformed: Error { public let path: String }

    public init(path: String) throws {
        self.path = path
        let text = String(decoding: try Self.read(path), as: UTF8.self)
        let halves = text.components(at: "----------\n")
        asked = halves[0]
        expected = halves.dropFirst().joined(separator: "----------\n")
        let parts = asked.components(at: "\n\n")
        let lines = parts[0].components(at: "\n").filter { !$0.isEmpty }
        let first = lines.first?.components(at: " ") ?? []
        guard first.count == 2, let method = HTTPMethod(rawValue: first[0]) else { throw Malformed(path: path) }
        self.method = method
        target = Bytes(first[1])
        headers = lines.dropFirst().map { line in
            let sides = line.components(at: ": ")
            return (sides[0], sides.dropFirst().joined(separator: ": "))
        }
        var content = Array(parts.dropFirst().joined(separator: "\n\n").utf8)
        if content.last == 0x0A { content.removeLast() }
        body = content
    }

    public static let host = "pds.test"

    /// The request, as the host would make it.
    public func request() throws -> Request {
        let (path, query) = try RequestTarget.split(target)
        var fields = Headers()
        for (name, value) in headers { fields.append(Bytes(name).lowercasedASCII, Bytes(value)) }
        return Request(
            method: method, path: path, query: query, headers: fields, host: Bytes(Self.host), isSecure: true,
            peer: "192.0.2.7", id: "0123456789abcdef0123456789abcdef",
            contentLength: body.isEmpty ? nil : body.count, body: BytesBody(Bytes(body)))
    }

    /// The response in the form of the file, from the responder in this process.
    public func inProcess(_ responder: Responder) throws -> String {
        let response = responder(try request())
        var lines = [String(response.status)]
        for (name, value) in response.headers { lines.append("\(name): \(value.bytes)") }
        var content: [UInt8] = []
        switch response.body {
        case .bytes(let bytes): content = bytes
        case .file(let path): lines.append("X-Accel-Redirect: \(path.bytes)")
        case .stream(let produce): try produce { content += $0 }
        }
        if method == .head { content = [] }
        return Self.render(lines, content)
    }

    /// The same over FastCGI. Fields that the host adds by itself (request id, length) are left out.
    public func overFastCGI(_ door: FastCGIDoor, recordSize: Int = 7) throws -> String {
        let answer = try door.exchange(
            FastCGIDoor.parameters(
                method.rawValue, String(decoding: target, as: UTF8.self), host: Self.host, headers: headers,
                contentLength: body.isEmpty ? nil : String(body.count)),
            body: body, recordSize: recordSize)
        guard answer.isEnded, let status = answer.status else { throw Malformed(path: path) }
        let own = ["Status", "X-Request-Id", "Content-Length"]
        let lines = answer.fields.filter { !own.contains($0.name) }.map { "\($0.name): \($0.value)" }
        return Self.render([String(status)] + lines, answer.body)
    }

    private static func render(_ head: [String], _ body: [UInt8]) -> String {
        head.joined(separator: "\n") + "\n\n" + String(decoding: body, as: UTF8.self) + "\n"
    }

    /// nil when `got` is what the file has; otherwise what differs. With `UPDATE_GOLDEN` set the file is rewritten.
    public func difference(from got: String) throws -> String? {
        if getenv("UPDATE_GOLDEN") != nil {
            try Self.write(path, asked + "----------\n" + got)
            return nil
        }
        return got == expected ? nil : "expected:\n\(expected)\ngot:\n\(got)"
    }

    /// The exchange files under `directory`, sorted by name.
    public static func all(under directory: String) throws -> [GoldenExchange] {
        guard let handle = opendir(directory) else { throw SystemError("opendir \(directory)") }
        defer { closedir(handle) }
        var names: [String] = []
        while let entry = readdir(handle) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name.hasSuffix(".http") { names.append(name) }
        }
        return try names.sorted().map { try GoldenExchange(path: directory + "/" + $0) }
    }

    private static func read(_ path: String) throws -> [UInt8] {
        let file = open(path, O_RDONLY)
        guard file >= 0 else { throw SystemError("open \(path)") }
        defer { close(file) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = buffer.withUnsafeMutableBytes { Glibc.read(file, $0.baseAddress, $0.count) }
            guard count > 0 else { return bytes }
            bytes += buffer[..<count]
        }
    }

    private static func write(_ path: String, _ text: String) throws {
        let file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o644)
        guard file >= 0 else { throw SystemError("open \(path)") }
        defer { close(file) }
        let bytes = Array(text.utf8)
        let count = bytes.withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) }
        guard count == bytes.count else { throw SystemError("write \(path)") }
    }
}
