internal import Base
internal import CFCGI
internal import Glibc
internal import Web

/// The web server closed the connection before the response was out: its client has gone.
struct ClientGone: Error {}

/// A stream was not as long as its response said.
struct WrongLength: Error {}

/// How a response ended.
enum WriteOutcome: Equatable {
    case complete
    /// The web server has gone: nothing can be said any more.
    case gone
    /// The body broke off on this side: the connection must be spoilt, so that nobody takes it for whole.
    case broken
}

/// Writes one response to libfcgi's output stream.
struct ResponseWriter {
    let raw: UnsafeMutablePointer<FCGX_Request>
    private(set) var bodySize = 0

    /// A streamed body is handed to the web server at the latest after this many bytes.
    static let flushSize = 16_384
    /// From here on a body is written around libfcgi's 8 KiB buffer, in records as large as the protocol has.
    static let directSize = 32_768

    init(_ raw: UnsafeMutablePointer<FCGX_Request>) { self.raw = raw }

    mutating func write(_ response: Response, method: HTTPMethod, id: Bytes, failed: (any Error) -> Void)
        -> WriteOutcome
    {
        let status = response.status >= 200 && response.status <= 599 ? response.status : 500
        var isOpen = head(response, status: status, id: id)
        // RFC 9110 §15.3.5 and §15.4.5: these have no body and no length.
        let hasBody = status != 204 && status != 304
        switch response.body {
        case .bytes(let bytes):
            if hasBody {
                isOpen = text("Content-Length: ") && put(bytes.count) && text("\r\n\r\n")
            } else {
                isOpen = text("\r\n")
            }
            if isOpen, hasBody, method != .head { isOpen = bytes.withUnsafeBytes { body($0) } }
        case .file(let path):
            isOpen = text("X-Accel-Redirect: ") && path.withUnsafeBytes { put($0) } && text("\r\n\r\n")
        case .stream(let produce):
            if hasBody, let length = response.streamLength {
                isOpen = isOpen && text("Content-Length: ") && put(max(0, length)) && text("\r\n")
            }
            isOpen = isOpen && text("\r\n")
            if isOpen, hasBody, method != .head {
                return stream(produce, length: response.streamLength, failed: failed)
            }
        }
        return isOpen ? .complete : .gone
    }

    private func head(_ response: Response, status: Int, id: Bytes) -> Bool {
        var isOpen =
            text("Status: ") && put(status) && text(Self.reason(status)) && text("\r\nX-Request-Id: ") && put(id)
        for (name, value) in response.headers {
            isOpen = isOpen && text("\r\n") && text(name) && text(": ") && value.withUnsafeBytes { put($0) }
        }
        return isOpen && text("\r\n")
    }

    private mutating func stream(
        _ produce: ((UnsafeRawBufferPointer) throws -> Void) throws -> Void, length: Int?,
        failed: (any Error) -> Void
    ) -> WriteOutcome {
        var size = 0
        var waiting = 0
        var isGone = false
        let writer = self
        let sink: BodySink = { piece in
            if isGone { throw ClientGone() }
            guard !piece.isEmpty else { return }
            size = size &+ piece.count
            // Bytes beyond the declared length would be the web server's to interpret: they are not sent.
            if let length, size > length { throw WrongLength() }
            let isOpen: Bool
            if piece.count >= Self.directSize {
                isOpen = writer.direct(piece)
                waiting = 0
            } else {
                waiting = waiting &+ piece.count
                let isDue = waiting >= Self.flushSize
                isOpen = writer.put(piece) && (!isDue || FCGX_FFlush(writer.raw.pointee.out) == 0)
                if isDue { waiting = 0 }
            }
            if !isOpen {
                isGone = true
                throw ClientGone()
            }
        }
        defer { bodySize = size }
        do {
            // The sink is for the duration of this call only; a body that keeps it breaks the contract of `.stream`.
            try withoutActuallyEscaping(sink) { try produce($0) }
        } catch {
            if isGone || error is ClientGone { return .gone }
            failed(error)
            return .broken
        }
        if let length, size != length {
            failed(WrongLength())
            return .broken
        }
        return isGone ? .gone : .complete
    }

    private mutating func body(_ bytes: UnsafeRawBufferPointer) -> Bool {
        bodySize = bytes.count
        return bytes.count >= Self.directSize ? direct(bytes) : put(bytes)
    }

    /// A multiple of 8, so that no record needs padding.
    private static let recordSizeMax = 65_528

    /// STDOUT records straight to the connection: one copy less and an eighth of the system calls for large bodies.
    private func direct(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard FCGX_FFlush(raw.pointee.out) == 0 else { return false }
        var rest = bytes
        while !rest.isEmpty {
            let content = UnsafeRawBufferPointer(rebasing: rest.prefix(Self.recordSizeMax))
            guard writeRecord(content) else { return false }
            rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(content.count))
        }
        return true
    }

    /// The record header of section 3.3 of the FastCGI specification, type 6, and its content.
    private func writeRecord(_ content: UnsafeRawBufferPointer) -> Bool {
        let padding = (8 &- content.count % 8) % 8
        return withUnsafeTemporaryAllocation(byteCount: 16, alignment: 8) { frame in
            frame.initializeMemory(as: UInt8.self, repeating: 0)
            frame[0] = 1
            frame[1] = 6
            frame[2] = UInt8(truncatingIfNeeded: raw.pointee.requestId >> 8)
            frame[3] = UInt8(truncatingIfNeeded: raw.pointee.requestId)
            frame[4] = UInt8(truncatingIfNeeded: content.count >> 8)
            frame[5] = UInt8(truncatingIfNeeded: content.count)
            frame[6] = UInt8(truncatingIfNeeded: padding)
            var parts = (
                iovec(iov_base: frame.baseAddress, iov_len: 8),
                iovec(iov_base: UnsafeMutableRawPointer(mutating: content.baseAddress), iov_len: content.count),
                iovec(iov_base: frame.baseAddress.map { $0 + 8 }, iov_len: padding)
            )
            return withUnsafeMutableBytes(of: &parts) { writeAll($0.assumingMemoryBound(to: iovec.self)) }
        }
    }

    private func writeAll(_ parts: UnsafeMutableBufferPointer<iovec>) -> Bool {
        var first = 0
        while first < parts.count {
            if parts[first].iov_len == 0 {
                first &+= 1
                continue
            }
            let left = UnsafeBufferPointer(rebasing: parts[first...])
            var written = writev(raw.pointee.ipcFd, left.baseAddress, Int32(left.count))
            if written < 0, SystemError.lastErrno == EINTR { continue }
            guard written > 0 else { return false }
            while written > 0, first < parts.count {
                let step = min(written, parts[first].iov_len)
                parts[first].iov_base = parts[first].iov_base.map { $0 + step }
                parts[first].iov_len -= step
                written -= step
                if parts[first].iov_len == 0 { first &+= 1 }
            }
        }
        return true
    }

    @inline(__always)
    private func put(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard let base = bytes.baseAddress, !bytes.isEmpty else { return true }
        var rest = bytes.count
        var next = base
        while rest > 0 {
            let count = Int32(clamping: rest)
            guard FCGX_PutStr(next.assumingMemoryBound(to: CChar.self), count, raw.pointee.out) == count else {
                return false
            }
            next += Int(count)
            rest = rest &- Int(count)
        }
        return true
    }

    private func put(_ bytes: Bytes) -> Bool { bytes.withUnsafeBytes { put($0) } }

    @inline(__always)
    private func text(_ text: StaticString) -> Bool {
        put(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    private func put(_ number: Int) -> Bool {
        withUnsafeTemporaryAllocation(byteCount: 20, alignment: 1) { buffer in
            var index = 20
            var rest = UInt(bitPattern: number)
            repeat {
                index &-= 1
                buffer[index] = 0x30 &+ UInt8(truncatingIfNeeded: rest % 10)
                rest /= 10
            } while rest > 0
            return put(UnsafeRawBufferPointer(rebasing: buffer[index...]))
        }
    }

    /// With its space: a status line needs no reason (RFC 9112 §4), but people read logs and Caddy passes it on.
    private static func reason(_ status: Int) -> StaticString {
        switch status {
        case 200: " OK"
        case 201: " Created"
        case 202: " Accepted"
        case 204: " No Content"
        case 206: " Partial Content"
        case 301: " Moved Permanently"
        case 302: " Found"
        case 303: " See Other"
        case 304: " Not Modified"
        case 307: " Temporary Redirect"
        case 308: " Permanent Redirect"
        case 400: " Bad Request"
        case 401: " Unauthorized"
        case 403: " Forbidden"
        case 404: " Not Found"
        case 405: " Method Not Allowed"
        case 408: " Request Timeout"
        case 409: " Conflict"
        case 410: " Gone"
        case 413: " Content Too Large"
        case 414: " URI Too Long"
        case 415: " Unsupported Media Type"
        case 416: " Range Not Satisfiable"
        case 421: " Misdirected Request"
        case 429: " Too Many Requests"
        case 431: " Request Header Fields Too Large"
        case 500: " Internal Server Error"
        case 501: " Not Implemented"
        case 502: " Bad Gateway"
        case 503: " Service Unavailable"
        case 504: " Gateway Timeout"
        case 507: " Insufficient Storage"
        default: " Status"
        }
    }
}
