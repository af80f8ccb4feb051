public import Base
internal import CCurl
internal import Glibc

/// A server's reply: its code and the text of its last line.
public struct SMTPReply: Error, Equatable, Sendable, CustomStringConvertible {
    public let code: Int
    /// At most `SMTPClient.replySizeMax` bytes. May name the receiver: it is for the operator and not for the log.
    public let text: Bytes

    public init(code: Int, text: Bytes) {
        self.code = code
        self.text = text
    }

    public var description: String { "\(code) \(text)" }
}

/// Why a mail was not handed over.
public enum SMTPError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The server will never take this mail (5xx).
    case refused(SMTPReply)
    /// It may take it later (4xx), or it serves nobody now.
    case temporary(SMTPReply)
    /// User or password are wrong, or the server wants some and the URL has none.
    case authentication(SMTPReply?)
    /// No TLS where it must be, or a certificate that doesn't hold for the name.
    case tls
    /// The name is not in the public DNS, or led to an address that is not public, and the operator did not name it.
    case addressNotAllowed
    case unreachable
    /// After the whole mail was sent this may mean that it was taken.
    case timeout
    /// What came was no SMTP.
    case malformedReply

    /// One sentence for the operator.
    public var description: String {
        switch self {
        case .refused(let reply): "the mail server refused it: \(reply)"
        case .temporary(let reply): "the mail server does not take it now: \(reply)"
        case .authentication(let reply): "the mail server does not let us in: \(reply?.description ?? "no such login")"
        case .tls: "no TLS, or a certificate that does not hold for the name"
        case .addressNotAllowed: "the mail server's name or address is not public and not allowed"
        case .unreachable: "the mail server does not answer"
        case .timeout: "the mail server did not answer in time"
        case .malformedReply: "what answers there is no mail server"
        }
    }

    /// Whether it says nothing about the mail: the next one would fare no better now.
    public var isOfServer: Bool {
        switch self {
        case .refused, .temporary: false
        case .authentication, .tls, .addressNotAllowed, .unreachable, .timeout, .malformedReply: true
        }
    }
}

/// Hands mail to the operator's mail server (RFC 5321, RFC 6409), over libcurl with the guards of `HTTPClient`.
///
/// The server is the operator's own choice, so any port is admitted; its name must still be a public one that leads to
/// a public address, unless it is among the hosts that may be private: a name that was taken over must not send the
/// password to the machine's neighbours. TLS is required: from the first byte, or by STARTTLS before anything else is
/// said. Only a private host without a password may stay without, and gets TLS when it offers it.
///
/// Blocking; any number of threads may call at once, each with a connection of its own.
public final class SMTPClient: Sendable {
    /// The whole exchange. Servers look into a mail before they answer; RFC 5321 §4.5.3.2 would wait for ten minutes.
    public static let deadlineMilliseconds = 90_000
    /// For one reply, and for the server's goodbye, which the deadline does not cover.
    public static let replyMilliseconds = 60_000
    /// Bytes of a message, headers included.
    public static let messageSizeMax = 1 << 20
    /// Bytes of a reply's text that are kept.
    public static let replySizeMax = 400
    /// Lines that a server may send in one exchange.
    static let lineCountMax = 256

    private let server: MailServer
    private let name: Bytes
    private let configuration: HTTPClient.Configuration
    private let isPrivateAllowed: Bool
    private let deadlineMilliseconds: Int

    /// `name` is the host that we say we are (EHLO). Throws `addressNotAllowed` when the server's name is neither
    /// public nor among `configuration.privateHostsAllowed`.
    public init(
        _ server: MailServer, name: Bytes, _ configuration: HTTPClient.Configuration,
        deadlineMilliseconds: Int = SMTPClient.deadlineMilliseconds
    ) throws(SMTPError) {
        self.server = server
        self.name = name
        self.configuration = configuration.canonical
        self.deadlineMilliseconds = deadlineMilliseconds
        isPrivateAllowed = OutboundURL.isPrivateAllowed(
            server.host, port: server.port, self.configuration.privateHostsAllowed)
        guard isPrivateAllowed || OutboundURL.isPublicName(server.host) else { throw .addressNotAllowed }
    }

    /// Hands `message` over. When this returns, the server has taken it.
    public func send(_ message: MailMessage) throws(SMTPError) {
        try perform(SMTPExchange(message.rfc5322, isPrivateAllowed: isPrivateAllowed)) { options in
            options.set(CURLOPT_MAIL_FROM, "<" + message.from.address.bytes + ">")
            options.set(CURLOPT_MAIL_RCPT, ["<" + message.to.bytes + ">"])
            options.set(CURLOPT_UPLOAD, 1)
        }
    }

    /// Connects, signs in, asks whether a mail from `sender` would be taken, and says goodbye: whether `send` could
    /// work.
    public func check(_ sender: MailSender) throws(SMTPError) {
        try perform(SMTPExchange(nil, isPrivateAllowed: isPrivateAllowed)) { options in
            options.set(CURLOPT_NOBODY, 1)
            options.set(CURLOPT_CUSTOMREQUEST, "MAIL FROM:<" + sender.address.bytes + ">")
        }
    }

    private func perform(_ exchange: SMTPExchange, _ set: (CurlOptions) -> Void) throws(SMTPError) {
        guard exchange.content.count <= Self.messageSizeMax, let handle = CurlHandle() else { throw .unreachable }
        let options = SMTPOptions(handle: handle, configuration: configuration)
        defer { options.free() }
        options.apply(exchange, server, name: name, isPrivateAllowed: isPrivateAllowed, deadlineMilliseconds)
        set(options)
        guard options.isGood else { throw .malformedReply }
        let code = withExtendedLifetime(exchange) { curl_easy_perform(handle.easy) }
        // Some complaints are good answers in curl's eyes: 553 to a command of ours (RFC 5321 §3.5.3).
        if code == CURLE_OK, exchange.complaint == nil, !exchange.isMalformed { return }
        throw Self.error(for: code, exchange)
    }

    /// Codes that ask for another login, wherever they come (RFC 4954 §6).
    private static let authenticationCodes: Set<Int> = [530, 534, 535, 538]

    private static func error(for code: CURLcode, _ exchange: SMTPExchange) -> SMTPError {
        if exchange.addressRefused { return .addressNotAllowed }
        if exchange.isMalformed { return .malformedReply }
        let reply = exchange.complaint
        switch code {
        case CURLE_OPERATION_TIMEDOUT: return .timeout
        case CURLE_COULDNT_CONNECT, CURLE_COULDNT_RESOLVE_HOST: return .unreachable
        case CURLE_USE_SSL_FAILED: return .tls
        case _ where Transfer.tlsCodes.contains(code.rawValue): return .tls
        case CURLE_LOGIN_DENIED:
            if let reply, reply.code < 500 { return .temporary(reply) }
            return .authentication(reply)
        default: break
        }
        // Without a complaint the connection broke, or what came was never SMTP.
        guard let reply else { return exchange.wasGreeted ? .unreachable : .malformedReply }
        if authenticationCodes.contains(reply.code) { return .authentication(reply) }
        // A 5xx in the greeting says nothing about the mail (RFC 5321 §3.1), nor does one to EHLO, for which curl has
        // another code.
        let isAboutMail = exchange.wasGreeted && code != CURLE_REMOTE_ACCESS_DENIED
        return reply.code >= 500 && isAboutMail ? .refused(reply) : .temporary(reply)
    }
}

/// What the callbacks of one SMTP exchange read and fill.
final class SMTPExchange: GuardedConnection {
    let content: Bytes
    private var sent = 0
    private var lineCount = 0
    /// The reply of 400 and above that ended it.
    private(set) var complaint: SMTPReply?
    /// The greeting was one.
    private(set) var wasGreeted = false
    /// A line was no reply, or there were too many of them.
    private(set) var isMalformed = false

    init(_ content: Bytes?, isPrivateAllowed: Bool) {
        self.content = content ?? Bytes()
        super.init(isPrivateAllowed: isPrivateAllowed)
    }

    /// One line of a reply: `250-SIZE 1000` or `550 5.1.1 No such user`. False ends the exchange.
    func take(line: Bytes) -> Bool {
        lineCount += 1
        guard lineCount <= SMTPClient.lineCountMax, let code = line.upTo(3).decimal, (200...599).contains(code) else {
            isMalformed = true
            return false
        }
        if code == 220 { wasGreeted = true }
        if code >= 400 {
            let text = line.from(4).trimming(" \r\n")
            complaint = SMTPReply(code: code, text: Self.printable(text.upTo(SMTPClient.replySizeMax)))
        } else if code != Self.goodbyeCode {
            complaint = nil
        }
        return true
    }

    /// The answer to QUIT, which curl also sends after a complaint.
    private static let goodbyeCode = 221

    /// Text of a stranger's, for people: valid UTF-8 without controls.
    private static func printable(_ text: Bytes) -> Bytes {
        // Cut in the middle of a character, or of another encoding: then only ASCII is left.
        let characters = text.text ?? String(decoding: text.map { $0 < 0x80 ? $0 : 0x3F }, as: UTF8.self)
        var clean = String.UnicodeScalarView()
        for scalar in characters.unicodeScalars {
            clean.append(scalar.value < 0x20 || 0x7F...0x9F ~= scalar.value ? "?" : scalar)
        }
        return Bytes(String(clean))
    }

    /// Fills `buffer` with what comes next of the message.
    func give(_ buffer: UnsafeMutableRawBufferPointer) -> Int {
        let piece = content.slice(sent..<min(content.count, sent + buffer.count))
        piece.withUnsafeBytes { buffer.copyMemory(from: $0) }
        sent += piece.count
        return piece.count
    }
}

/// The options of one SMTP exchange.
private final class SMTPOptions: CurlOptions {
    func apply(
        _ exchange: SMTPExchange, _ server: MailServer, name: Bytes, isPrivateAllowed: Bool, _ milliseconds: Int
    ) {
        let scheme: Bytes = server.isImplicitTLS ? "smtps" : "smtp"
        setGuards(exchange, protocol: scheme, host: server.host, port: server.port, milliseconds: milliseconds)
        // Made of checked parts, not passed on: no second parser reads what the operator wrote.
        set(CURLOPT_URL, scheme + "://" + server.host + ":" + Bytes(String(server.port)) + "/" + name)
        let mayBePlain = isPrivateAllowed && server.credentials == nil
        set(CURLOPT_USE_SSL, Int((mayBePlain ? CURLUSESSL_TRY : CURLUSESSL_ALL).rawValue))
        if let credentials = server.credentials {
            // Over TLS these two are right, and every server has one of them (RFC 4954 §4).
            set(CURLOPT_LOGIN_OPTIONS, "AUTH=PLAIN;AUTH=LOGIN")
            set(CURLOPT_USERNAME, credentials.user)
            credentials.password.withBytes { set(CURLOPT_PASSWORD, Bytes($0)) }
        }
        set(CURLOPT_SERVER_RESPONSE_TIMEOUT, max(1, min(milliseconds, SMTPClient.replyMilliseconds) / 1_000))
        // No connection outlives its mail: they are rare, and servers close idle ones.
        set(CURLOPT_FRESH_CONNECT, 1)
        set(CURLOPT_FORBID_REUSE, 1)
        let context = Unmanaged.passUnretained(exchange).toOpaque()
        let results = [
            CCurl_setDataFunction(handle, CURLOPT_HEADERFUNCTION, takeReplyLine),
            CCurl_setPointer(handle, CURLOPT_HEADERDATA, context),
            CCurl_setDataFunction(handle, CURLOPT_WRITEFUNCTION, dropPiece),
            CCurl_setReadFunction(handle, giveMessage),
            CCurl_setPointer(handle, CURLOPT_READDATA, context),
            CCurl_setSize(handle, CURLOPT_INFILESIZE_LARGE, curl_off_t(exchange.content.count)),
        ]
        isGood = results.allSatisfy { $0 == CURLE_OK } && isGood
    }
}

private func takeReplyLine(
    _ bytes: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int, _ context: UnsafeMutableRawPointer?
) -> Int {
    guard let bytes, let context else { return 0 }
    let exchange = Unmanaged<SMTPExchange>.fromOpaque(context).takeUnretainedValue()
    // curl always passes size 1.
    return exchange.take(line: Bytes(UnsafeRawBufferPointer(start: bytes, count: count))) ? count : 0
}

private func dropPiece(
    _ bytes: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int, _ context: UnsafeMutableRawPointer?
) -> Int { count }

private func giveMessage(
    _ bytes: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int, _ context: UnsafeMutableRawPointer?
) -> Int {
    guard let bytes, let context else { return Int(CURL_READFUNC_ABORT) }
    let (room, overflow) = size.multipliedReportingOverflow(by: count)
    guard !overflow else { return Int(CURL_READFUNC_ABORT) }
    let exchange = Unmanaged<SMTPExchange>.fromOpaque(context).takeUnretainedValue()
    return exchange.give(UnsafeMutableRawBufferPointer(start: bytes, count: room))
}
