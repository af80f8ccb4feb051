public import Base
internal import CCares
internal import Glibc

/// Why a name has no answer. That it has no texts is an answer, and none of these.
public enum DNSError: Error, Equatable, Sendable {
    /// Not a name that can be asked.
    case invalidName
    /// No server to ask, or an address of one that is none.
    case configuration
    /// Nobody answered in time.
    case timeout
    /// The servers answered that they can't or won't, or did not let us connect.
    case serverFailure
    /// An answer that breaks RFC 1035, or aliases without end.
    case malformed
    /// More or longer texts than the limits.
    case tooLarge
}

/// Look-ups of texts and addresses by c-ares: random ids and ports, retries, TCP when an answer is truncated. Blocking;
/// a channel for each call, so that any number of threads may call at once and nothing is kept between two calls.
public struct DNSResolver: Sendable {
    /// `address` or `address:port` (`[address]:port` for IPv6). Empty: the system's (resolv.conf).
    public var servers: [Bytes] = []
    /// The whole look-up.
    public var deadlineMilliseconds = 5_000
    /// One attempt at one server; later attempts wait longer.
    public var attemptMilliseconds = 1_200
    public var attempts = 3

    public init(servers: [Bytes] = []) { self.servers = servers }

    /// The texts of `name`, each with its strings joined (RFC 1035 §3.3.14), at most `DNSMessage.recordsMax` of them;
    /// none when the name does not exist or has none. No search list, no hosts file.
    public func txt(_ name: Bytes) throws(DNSError) -> [Bytes] {
        guard let wire = DNSMessage.wire(name) else { throw .invalidName }
        let channel = try Channel(self)
        guard let response = try channel.query(name, .texts, deadlineMilliseconds: deadlineMilliseconds) else {
            return []
        }
        return try DNSMessage.texts(of: wire, in: response)
    }

    /// The addresses of `name` as text, IPv4 first; none when the name does not exist or has none. For looks at what
    /// DNS says: an address that is connected to is decided on in `HTTPClient`.
    public func addresses(_ name: Bytes) throws(DNSError) -> [Bytes] {
        guard let wire = DNSMessage.wire(name) else { throw .invalidName }
        var found: [Bytes] = []
        for kind in [DNSMessage.Kind.address4, .address6] {
            let channel = try Channel(self)
            guard let response = try channel.query(name, kind, deadlineMilliseconds: deadlineMilliseconds) else {
                continue
            }
            for address in try DNSMessage.addresses(of: wire, kind, in: response) {
                var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
                let isWritten = address.withUnsafeBytes { raw in
                    inet_ntop(
                        kind == .address4 ? AF_INET : AF_INET6, raw.baseAddress, &text, socklen_t(text.count)) != nil
                }
                if isWritten { found.append(Bytes(text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) })) }
            }
        }
        return found
    }
}

/// One c-ares channel, for one look-up.
private final class Channel {
    private var channel: ares_channel?
    /// What the callback brings: c-ares calls it exactly once, at the latest when the channel is destroyed.
    final class Reply {
        var status: Int32?
        var response: [UInt8] = []
    }
    private let reply = Reply()

    init(_ resolver: DNSResolver) throws(DNSError) {
        guard Self.isReady else { throw .configuration }
        var options = ares_options()
        options.flags = Int32(ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES)
        options.timeout = Int32(clamping: resolver.attemptMilliseconds)
        options.tries = Int32(clamping: resolver.attempts)
        let mask = Int32(ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES)
        guard ares_init_options(&channel, &options, mask) == ARES_SUCCESS else { throw .configuration }
        if !resolver.servers.isEmpty {
            var list: [UInt8] = []
            for server in resolver.servers {
                guard Self.hasGoodPort(server) else { throw .configuration }
                if !list.isEmpty { list.append(0x2C) }
                list.append(contentsOf: server)
            }
            guard ares_set_servers_ports_csv(channel, String(decoding: list, as: UTF8.self)) == ARES_SUCCESS
            else { throw .configuration }
        }
    }

    /// c-ares takes a port modulo 2¹⁶.
    private static func hasGoodPort(_ server: Bytes) -> Bool {
        guard let colon = server.lastIndex(of: 0x3A) else { return true }
        let isBracketed = server.first == 0x5B
        // An IPv6 address has colons of its own: only one in brackets has a port.
        if isBracketed, server.last == 0x5D { return true }
        guard isBracketed || server.firstIndex(of: 0x3A) == colon else { return true }
        guard let port = server.from(colon + 1).decimal else { return false }
        return port > 0 && port < 65_536
    }

    deinit {
        // Calls back for what is still open; `reply` is alive until this object is gone.
        if let channel { ares_destroy(channel) }
    }

    /// The whole response, or nil when the name has no such records.
    func query(_ name: Bytes, _ kind: DNSMessage.Kind, deadlineMilliseconds: Int) throws(DNSError) -> [UInt8]? {
        let deadline = Clock.monotonicNanoseconds() &+ UInt64(max(1, deadlineMilliseconds)) &* 1_000_000
        let text = name.array + [0]
        text.withUnsafeBytes { raw in
            ares_query(
                channel, raw.bindMemory(to: CChar.self).baseAddress, 1, kind.rawValue, takeReply,
                Unmanaged.passUnretained(reply).toOpaque())
        }
        while reply.status == nil {
            let now = Clock.monotonicNanoseconds()
            guard now < deadline else { throw .timeout }
            wait(milliseconds: Int((deadline - now) / 1_000_000) + 1)
        }
        switch reply.status {
        case ARES_SUCCESS: return reply.response
        case ARES_ENODATA, ARES_ENOTFOUND: return nil
        case ARES_ETIMEOUT: throw .timeout
        case ARES_EBADRESP, ARES_EBADNAME: throw .malformed
        default: throw .serverFailure
        }
    }

    /// Waits for the sockets of the channel, or for its next retry, and lets it work.
    private func wait(milliseconds: Int) {
        var sockets = [ares_socket_t](repeating: -1, count: Int(ARES_GETSOCK_MAXNUM))
        let bits = ares_getsock(channel, &sockets, ARES_GETSOCK_MAXNUM)
        var waiting: [pollfd] = []
        for place in 0..<Int32(ARES_GETSOCK_MAXNUM) {
            var events: Int32 = 0
            if CCares_isReadable(bits, place) != 0 { events |= POLLIN }
            if CCares_isWritable(bits, place) != 0 { events |= POLLOUT }
            if events != 0 { waiting.append(pollfd(fd: sockets[Int(place)], events: Int16(events), revents: 0)) }
        }
        var longest = timeval(tv_sec: milliseconds / 1_000, tv_usec: milliseconds % 1_000 * 1_000)
        var next = timeval()
        ares_timeout(channel, &longest, &next)
        let count = poll(
            &waiting, nfds_t(waiting.count), Int32(clamping: next.tv_sec * 1_000 + next.tv_usec / 1_000 + 1))
        guard count > 0 else { return ares_process_fd(channel, -1, -1) }
        for socket in waiting where socket.revents != 0 {
            let readable = socket.revents & Int16(POLLIN | POLLERR | POLLHUP) != 0
            let writable = socket.revents & Int16(POLLOUT | POLLERR) != 0
            ares_process_fd(channel, readable ? socket.fd : -1, writable ? socket.fd : -1)
        }
    }

    /// Once in a process. c-ares writes to TCP sockets without MSG_NOSIGNAL.
    private static let isReady: Bool = {
        signal(SIGPIPE, SIG_IGN)
        return ares_library_init(ARES_LIB_INIT_ALL) == ARES_SUCCESS
    }()
}

private func takeReply(
    _ context: UnsafeMutableRawPointer?, _ status: Int32, _ timeouts: Int32,
    _ response: UnsafeMutablePointer<UInt8>?, _ count: Int32
) {
    guard let context else { return }
    let reply = Unmanaged<Channel.Reply>.fromOpaque(context).takeUnretainedValue()
    reply.status = status
    if let response, count > 0 { reply.response = [UInt8](UnsafeBufferPointer(start: response, count: Int(count))) }
}
