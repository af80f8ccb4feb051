internal import ATProto
internal import Base
internal import CSystem
internal import Glibc
internal import Net
internal import Synchronization

/// Sends errors of the log to a service with Sentry's interface (envelopes), from a thread of its own: whoever logs
/// waits for nothing. https://develop.sentry.dev/sdk/data-model/envelopes/
///
/// A report holds what the line in the log holds. No request is at hand here, so none of its headers can be in it.
final class ErrorReports: Sendable {
    /// Reports that wait to be sent; what comes beyond that is only counted.
    static let waitingMax = 64
    /// Reports in a minute; an error that comes with every request says nothing new by then.
    static let perMinuteMax = 30
    /// How long an ending process waits for its last reports.
    static let flushMilliseconds = 2_000
    static let deadlineMilliseconds = 5_000
    private static let stackSize = 512 << 10

    /// Where reports go: `https://key@host/path/project`.
    struct Destination: Equatable {
        let url: Bytes
        let key: Bytes

        /// nil when `dsn` is none. Older ones have `key:secret`, of which only the key is sent.
        init?(_ dsn: Bytes) {
            guard let colon = dsn.position(of: 0x3A), dsn.from(colon).starts(with: "://") else { return nil }
            let scheme = dsn.upTo(colon)
            guard scheme == "https" || scheme == "http" else { return nil }
            let rest = dsn.from(colon + 3)
            guard let at = rest.position(of: 0x40), let slash = rest.lastIndex(of: 0x2F), slash > at + 1 else {
                return nil
            }
            let user = rest.upTo(at)
            key = user.upTo(user.position(of: 0x3A) ?? user.count)
            let place = rest.slice(at + 1..<slash)
            let project = rest.from(slash + 1)
            guard !key.isEmpty, key.allSatisfy(Self.isPlain), !project.isEmpty, project.allSatisfy(Self.isPlain) else {
                return nil
            }
            url = scheme + "://" + place + "/api/" + project + "/envelope/"
        }

        private static func isPlain(_ byte: UInt8) -> Bool {
            (byte >= 0x30 && byte <= 0x39) || (byte | 0x20 >= 0x61 && byte | 0x20 <= 0x7A)
        }
    }

    struct Report: Sendable {
        let error: Log.ErrorEvent
        let at: Timestamp
    }

    private struct State {
        var waiting: [Report] = []
        var isRunning = false
        var isSending = false
        /// Reports that were taken in the minute that began then.
        var minute: Int64 = 0
        var inMinute = 0
        /// The service asked for silence until then (429).
        var silentUntil = Timestamp(seconds: 0)
    }

    private let destination: Destination
    private let send: @Sendable (HTTPRequest) throws -> Int
    private let host: Bytes
    private let process: Bytes
    private let clock: Clock
    private let state = Guarded(State())
    private let bell: Int32
    /// Reports that were not sent, for whatever reason.
    let lost: Counter

    /// nil without SKYSTEAD_SENTRY_DSN. Throws `Settings.Invalid` when that is none.
    convenience init?(_ settings: Settings) throws {
        guard let secret = settings[Settings.sentryDSN] else { return nil }
        guard let destination = secret.withBytes({ Destination(Bytes($0)) }) else {
            throw Settings.Invalid(problems: ["\(Settings.sentryDSN.key) is not https://key@host/project"])
        }
        let client = Outbound.client(settings)
        try self.init(
            destination, host: Names(settings).host, process: Self.processName, clock: .system,
            lost: Observability.errors.lostReports, send: { try client.send($0).status })
    }

    /// `send` sends one request and gives the status of the answer.
    init(
        _ destination: Destination, host: Bytes, process: Bytes, clock: Clock, lost: Counter = Counter(),
        send: @escaping @Sendable (HTTPRequest) throws -> Int
    ) throws {
        self.destination = destination
        self.host = host
        self.process = process
        self.clock = clock
        self.lost = lost
        self.send = send
        bell = csystem_eventfd()
        if bell < 0 { throw SystemError("eventfd") }
    }

    /// `skystead-fcgi xrpc`, without the directory.
    private static var processName: Bytes {
        let words = CommandLine.arguments.prefix(2).map { Bytes($0) }
        guard let program = words.first else { return "skystead" }
        let name = program.from(program.lastIndex(of: 0x2F).map { $0 + 1 } ?? 0)
        return words.count == 2 ? name + " " + words[1] : name
    }

    /// Takes an error to be sent, or drops it when there are too many. Never waits.
    func add(_ error: Log.ErrorEvent) {
        let now = clock.now()
        let mustStart: Bool? = state.withLock { state in
            let minute = now.seconds / 60
            if state.minute != minute { (state.minute, state.inMinute) = (minute, 0) }
            guard state.waiting.count < Self.waitingMax, state.inMinute < Self.perMinuteMax,
                now >= state.silentUntil
            else { return nil }
            state.inMinute += 1
            state.waiting.append(Report(error: error, at: now))
            defer { state.isRunning = true }
            return !state.isRunning
        }
        guard let mustStart else { return lost.add() }
        if mustStart, Threads.start(stackSize: Self.stackSize, detached: true, { self.run() }) != 0 {
            state.withLock { $0.isRunning = false }
            return lost.add()
        }
        var one: UInt64 = 1
        _ = write(bell, &one, 8)
    }

    /// Waits until all are sent, for at most so long.
    func flush(milliseconds: Int) {
        let deadline = Clock.monotonicNanoseconds() &+ UInt64(clamping: milliseconds) &* 1_000_000
        while Clock.monotonicNanoseconds() < deadline {
            if state.withLock({ $0.waiting.isEmpty && !$0.isSending }) { return }
            usleep(5_000)
        }
    }

    private func run() {
        // Signals are for the threads that expect them.
        var all = sigset_t()
        sigfillset(&all)
        pthread_sigmask(SIG_SETMASK, &all, nil)
        while true {
            while let report = next() {
                deliver(report)
                state.withLock { $0.isSending = false }
            }
            _ = csystem_wait_readable(bell, -1)
            var count: UInt64 = 0
            _ = read(bell, &count, 8)
        }
    }

    private func next() -> Report? {
        state.withLock { state in
            guard !state.waiting.isEmpty else { return nil }
            state.isSending = true
            return state.waiting.removeFirst()
        }
    }

    /// How long nothing is sent after the service has said that it is too much.
    static let silenceSeconds: Int64 = 60

    private func deliver(_ report: Report) {
        guard let id = try? Entropy.system.bytes(16) else { return lost.add() }
        var request = HTTPRequest(
            .post, destination.url,
            headers: [
                ("Content-Type", "application/x-sentry-envelope"),
                (
                    "X-Sentry-Auth",
                    "Sentry sentry_version=7, sentry_client=skystead/" + Bytes(Version.text) + ", sentry_key="
                        + destination.key
                ),
            ], body: envelope(report, id: Bytes(Hex.encode(id))), sizeMax: 16_384, redirects: .returned)
        request.deadlineMilliseconds = Self.deadlineMilliseconds
        // Best effort: a report that can't be sent is in the log all the same.
        let status = (try? send(request)) ?? 0
        if status < 200 || status >= 300 { lost.add() }
        if status == 429 {
            let until = clock.now().adding(seconds: Self.silenceSeconds)
            state.withLock { state in
                state.silentUntil = until
                lost.add(state.waiting.count)
                state.waiting = []
            }
        }
    }

    /// One envelope with one event: three lines of JSON.
    func envelope(_ report: Report, id: Bytes) -> Bytes {
        var event = JSONWriter()
        event.beginObject()
        event.text("event_id", id)
        event.key("timestamp")
        event.timestamp(report.at)
        event.text("platform", "other")
        event.text("level", "error")
        event.text("logger", process)
        event.text("server_name", host)
        event.text("release", "skystead@" + Bytes(Version.text))
        let cause = report.error.fields.first { $0.name == "cause" || $0.name == "error" }?.value
        event.key("exception")
        event.beginObject()
        event.key("values")
        event.beginArray()
        event.beginObject()
        event.text("type", report.error.event)
        event.text("value", cause ?? "")
        event.endObject()
        event.endArray()
        event.endObject()
        event.key("extra")
        event.beginObject()
        for (name, value) in report.error.fields { event.text(name, Self.utf8(value)) }
        event.endObject()
        event.endObject()
        let payload = Bytes(event.finish())

        var head = JSONWriter()
        head.beginObject()
        head.text("event_id", id)
        head.key("sent_at")
        head.timestamp(clock.now())
        head.endObject()
        var item = JSONWriter()
        item.beginObject()
        item.text("type", "event")
        item.text("content_type", "application/json")
        item.key("length")
        item.integer(payload.count)
        item.endObject()
        return Bytes(head.finish()) + "\n" + Bytes(item.finish()) + "\n" + payload + "\n"
    }

    /// JSON is UTF-8: what is not becomes so.
    private static func utf8(_ bytes: Bytes) -> Bytes { bytes.text == nil ? Bytes(bytes.description) : bytes }
}

extension JSONWriter {
    fileprivate mutating func text(_ key: Bytes, _ value: Bytes) {
        self.key(key)
        string(value)
    }
}
