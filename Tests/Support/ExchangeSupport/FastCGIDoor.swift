public import Base
internal import CSystem
public import FastCGI
internal import Glibc
public import Web

/// A responder behind a FastCGI socket, inside this process: the same threads and records as in the product.
public final class FastCGIDoor {
    public let path: String
    public let metrics = Metrics()
    private let directory: String
    private let server: Server
    private let descriptor: Int32

    /// FCGX_Init and the signal handlers are the process's: once is enough.
    private static let prepared: Void = Server.prepareProcess()

    public init(
        configuration: FastCGIConfiguration = FastCGIConfiguration(), log: Log = .silent,
        responder: @escaping Responder
    ) throws {
        _ = Self.prepared
        var template = Array("/tmp/skystead-fcgi-XXXXXX".utf8CString)
        guard let made = mkdtemp(&template) else { throw SystemError("mkdtemp") }
        directory = String(cString: made)
        path = directory + "/socket"
        descriptor = csystem_listen_unix(path, 511, 0o600)
        guard descriptor >= 0 else { throw SystemError("listen on \(path)") }
        server = Server(
            descriptor: descriptor, configuration: configuration, responder: responder, log: log, metrics: metrics)
        try server.start()
    }

    /// Stops the threads; returns how many were busy at the deadline. With 0 the door is gone; else stop it again.
    @discardableResult public func stop(deadlineSeconds: Int = 10) -> Int {
        let left = server.drain(deadlineSeconds: deadlineSeconds)
        guard left == 0 else { return left }
        close(descriptor)
        unlink(path)
        rmdir(directory)
        return left
    }

    /// The parameters that the shipped configurations of nginx and Caddy send, with `headers` as a client's.
    public static func parameters(
        _ method: String, _ target: String, host: String = "pds.test", headers: [(String, String)] = [],
        contentLength: String? = nil
    ) -> [(String, [UInt8])] {
        var parameters: [(String, [UInt8])] = [
            ("REQUEST_METHOD", Array(method.utf8)), ("REQUEST_URI", Array(target.utf8)),
            ("SKYSTEAD_HOST", Array(host.utf8)), ("SKYSTEAD_PEER", Array("192.0.2.7".utf8)),
            ("SKYSTEAD_SCHEME", Array("https".utf8)),
            ("SKYSTEAD_REQ_ID", Array("0123456789abcdef0123456789abcdef".utf8)),
        ]
        if let contentLength { parameters.append(("CONTENT_LENGTH", Array(contentLength.utf8))) }
        for (name, value) in headers {
            let upper = name.uppercased().map { $0 == "-" ? "_" : $0 }
            let bytes = Array(value.utf8)
            if upper == Array("CONTENT_TYPE") { parameters.append(("CONTENT_TYPE", bytes)) }
            parameters.append(("HTTP_" + String(upper), bytes))
        }
        return parameters
    }

    /// One whole request in records of at most `recordSize` bytes, and its answer.
    public func exchange(
        _ parameters: [(String, [UInt8])], body: [UInt8] = [], recordSize: Int = 65_535
    ) throws -> FCGIAnswer {
        let connection = try FCGIConnection(unix: path)
        try connection.send(Self.bytes(parameters, body: body, recordSize: recordSize))
        return connection.receive()
    }

    public static func bytes(
        _ parameters: [(String, [UInt8])], body: [UInt8] = [], recordSize: Int = 65_535, keep: Bool = false
    ) -> [UInt8] {
        FCGIRecord.begin(keep: keep).bytes
            + FCGIRecord.stream(.params, FCGIRecord.pairs(parameters), size: recordSize)
            + FCGIRecord.stream(.stdin, body, size: recordSize)
    }
}
