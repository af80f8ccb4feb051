internal import Base
internal import CFCGI
internal import Web

/// The body of the request that its thread is serving, straight from libfcgi's stream.
///
/// One object serves all requests of a thread. Whoever keeps it past its request reads nothing.
final class FastCGIBody: RequestBody {
    private var stream: UnsafeMutablePointer<FCGX_Stream>?
    private var declared: Int?
    private var received = 0
    private var deadline: UInt64 = 0

    func begin(_ stream: UnsafeMutablePointer<FCGX_Stream>?, declared: Int?, deadline: UInt64) {
        self.stream = stream
        self.declared = declared
        self.deadline = deadline
        received = 0
    }

    func end() { stream = nil }

    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        guard let stream, let base = buffer.baseAddress, !buffer.isEmpty else { return 0 }
        guard Clock.monotonicNanoseconds() < deadline else { throw Self.late }
        let wanted = Int32(clamping: buffer.count)
        let count = Int(FCGX_GetStr(base.assumingMemoryBound(to: CChar.self), wanted, stream))
        received = received &+ count
        if let declared, received > declared { throw Self.longer }
        if count < Int(wanted) {
            guard FCGX_GetError(stream) == 0 else { throw Self.broken }
            if let declared, received < declared { throw Self.shorter }
        }
        return count
    }

    static let late = Failure(.invalid, "InvalidRequest", "the request body took too long")
    static let longer = Failure(.invalid, "InvalidRequest", "the request body is longer than its Content-Length")
    static let shorter = Failure(.invalid, "InvalidRequest", "the request body is shorter than its Content-Length")
    static let broken = Failure(.invalid, "InvalidRequest", "the request body broke off")
}
