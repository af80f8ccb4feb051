public import ATProto
public import Base
internal import Identity
public import Net

/// The services that calls are passed on to, and the way there.
public struct Upstream: Sendable {
    /// The AppView of the settings.
    public struct AppView: Sendable {
        public let did: DID
        /// Scheme, host, and port if any; no slash at the end.
        public let origin: Bytes
        /// Where it has pictures, with `{size}`, `{did}` and `{cid}` in it.
        public let imageURL: Bytes?

        public init(did: DID, origin: Bytes, imageURL: Bytes? = nil) {
            self.did = did
            self.origin = origin
            self.imageURL = imageURL
        }

        /// Its name as a service.
        var service: Bytes { did.bytes + "#bsky_appview" }
    }

    /// Sends a request and returns when the head of its response is there: `HTTPClient.open`, or a test's double.
    public typealias Open = @Sendable (HTTPRequest) throws(HTTPClientError) -> HTTPIncoming

    public let appView: AppView?
    public let metrics = UpstreamMetrics()
    let lanes: Lanes
    private let open: Open

    /// `lanes`: how many calls may be under way at once.
    public init(appView: AppView?, lanes: Int, open: @escaping Open) {
        self.appView = appView
        self.lanes = Lanes(lanes)
        self.open = open
    }

    /// Bytes of a request's body that is passed on: what the web server lets in.
    static let requestSizeMax = 1_048_576
    /// Bytes of a response (specs/pds.md §2.3).
    static let responseSizeMax = 10_485_760
    /// Bytes of an error's body that is passed on.
    static let errorSizeMax = 65_536
    /// Bytes of a URL: what the web server lets in, and the service's origin.
    static let urlSizeMax = 20_480
    /// Until the head, and then for the body (specs/pds.md §2.3).
    static let headMilliseconds = 10_000
    static let bodyMilliseconds = 30_000
    /// For the whole of a query that only helps to answer another.
    static let asideMilliseconds = 5_000
    /// For all that passing one call on may wait for: the service's document, the call, and two queries beside it. A
    /// process that was asked to stop must have time for that (SKYSTEAD_DRAIN_SECONDS), and the web server, too.
    static let longestMilliseconds =
        IdentityNetwork.deadlineMilliseconds + headMilliseconds + bodyMilliseconds + 2 * asideMilliseconds

    /// Sends `request` under this server's limits for other services: no redirects, no second try. `isAside`: it only
    /// helps to answer another.
    func send(_ request: HTTPRequest, isAside: Bool = false) throws(HTTPClientError) -> HTTPIncoming {
        var request = request
        request.sizeMax = Self.responseSizeMax
        request.urlSizeMax = Self.urlSizeMax
        request.headMilliseconds = isAside ? nil : Self.headMilliseconds
        request.deadlineMilliseconds =
            isAside ? Self.asideMilliseconds : Self.headMilliseconds + Self.bodyMilliseconds
        request.slowSeconds = Self.headMilliseconds / 1_000
        request.redirects = .refused
        let start = Clock.monotonicNanoseconds()
        defer { metrics.durations.add(microseconds: Int((Clock.monotonicNanoseconds() &- start) / 1_000)) }
        do throws(HTTPClientError) {
            let incoming = try open(request)
            metrics.count(UpstreamMetrics.Outcome(status: incoming.head.status))
            return incoming
        } catch {
            metrics.count(UpstreamMetrics.Outcome(error))
            throw error
        }
    }
}

/// Bounds how many threads wait for other services, so that one which hangs leaves this server's own methods alone.
final class Lanes: Sendable {
    /// One place, until nobody holds it any more.
    final class Lane {
        private let free: Guarded<Int>
        fileprivate init(_ free: Guarded<Int>) { self.free = free }
        deinit { free.withLock { $0 += 1 } }
    }

    private let free: Guarded<Int>

    init(_ count: Int) { free = Guarded(max(1, count)) }

    /// Takes a place. Throws `NotEnoughResources` when there is none.
    func enter() throws(Failure) -> Lane {
        let isFree = free.withLock { free in
            guard free > 0 else { return false }
            free -= 1
            return true
        }
        guard isFree else {
            throw Failure(.unavailable, "NotEnoughResources", "Too many calls to other services are under way")
        }
        return Lane(free)
    }
}

/// Counts of calls to other services, by how they ended.
public final class UpstreamMetrics: Sendable {
    enum Outcome: String, CaseIterable {
        case answered, refused, failed, timeout, unreachable
        case notAllowed = "not_allowed"
        /// The body broke off after the head was passed on: counted beside `answered`.
        case broken
        /// Refused here, as too many were under way.
        case busy

        init(status: Int) {
            switch status {
            case 200..<300: self = .answered
            case 400..<500: self = .refused
            default: self = .failed
            }
        }

        init(_ error: HTTPClientError) {
            switch error {
            case .timeout: self = .timeout
            case .invalidURL, .addressNotAllowed, .redirectNotAllowed: self = .notAllowed
            case .invalidRequest, .tooLarge, .tls, .unreachable, .malformedResponse: self = .unreachable
            }
        }
    }

    /// Until the head of an answer, or the failure.
    let durations = DurationHistogram()
    private let counters = Outcome.allCases.map { (outcome: $0, counter: Counter()) }

    func count(_ outcome: Outcome) { counters.first { $0.outcome == outcome }?.counter.add() }

    public func write(to text: inout MetricsText) {
        let name: StaticString = "skystead_upstream_calls_total"
        text.family(name, .counter, help: "Calls passed on to other services, by outcome.")
        for (outcome, counter) in counters {
            text.sample(name, ["outcome": Bytes(outcome.rawValue)], value: counter.value)
        }
        durations.write(
            "skystead_upstream_duration_seconds", help: "Until another service began its answer, or failed.", to: &text)
    }
}

/// Another service did not answer as it should.
struct UpstreamError: Error, XRPCReportable {
    let cause: HTTPClientError
    /// The caller chose the service, so that an address which may not be asked is the caller's mistake.
    let isNamedByCaller: Bool

    var failure: Failure {
        switch cause {
        case .timeout: Failure(.upstreamTimeout, "UpstreamTimeout", "Upstream service timed out")
        case .invalidURL, .addressNotAllowed:
            isNamedByCaller ? .noServiceURL : .upstream("Upstream service address not allowed")
        case .invalidRequest: .invalidRequest("The request can't be passed on")
        case .tooLarge: .upstream("Upstream response too large")
        case .redirectNotAllowed: .upstream("Upstream service redirects")
        case .tls, .unreachable, .malformedResponse: .upstream("Upstream service unreachable")
        }
    }
}

extension Failure {
    static let noServiceURL = invalidRequest("could not resolve proxy did service url")
    static let badMethod = invalidToken("Bad token method")
}
