internal import ATProto
public import Base
public import Net

/// A relay, as a server asks one. https://atproto.com/specs/sync
public struct Relay: Sendable {
    /// Without a slash at the end.
    public let url: Bytes
    private let send: @Sendable (HTTPRequest) throws(HTTPClientError) -> HTTPResponse

    static let requestCrawlNSID: Bytes = "com.atproto.sync.requestCrawl"
    static let hostStatusNSID: Bytes = "com.atproto.sync.getHostStatus"
    /// The longest answer that is read.
    static let answerSizeMax = 16_384
    /// The most of a relay's own words that is kept.
    static let wordsSizeMax = 200

    public init(url: Bytes, client: HTTPClient) {
        self.url = url
        send = { request throws(HTTPClientError) in try client.send(request) }
    }

    /// Asks it to crawl the server at `hostname`. Never throws: whatever happens is an answer.
    public func requestCrawl(hostname: Bytes) -> CrawlAnswer {
        var body = JSONWriter()
        body.beginObject()
        body.key("hostname")
        body.string(hostname)
        body.endObject()
        let request = HTTPRequest(
            .post, url + "/xrpc/" + Self.requestCrawlNSID, headers: [("Content-Type", "application/json")],
            body: Bytes(body.finish()), sizeMax: Self.answerSizeMax, redirects: .returned)
        do throws(HTTPClientError) {
            let response = try send(request)
            guard response.status >= 200, response.status < 300 else {
                return .refused(status: response.status, error: Self.words(of: response))
            }
            return .accepted(status: response.status)
        } catch {
            return .unreachable(error: Bytes("\(error)"))
        }
    }

    /// What a relay knows of a server that it crawls.
    public struct HostStatus: Sendable, Equatable {
        /// The last event that it has taken; nil when it does not say.
        public let seq: Int?
        public let accountCount: Int?
        /// `active`, `idle`, `offline`, `throttled`, `banned`.
        public let status: Bytes?
        /// When it answered, by its own clock (`Date`).
        public let date: Bytes?
    }

    /// Why a relay's view of a server is not known.
    public enum StatusError: Error, Equatable, Sendable {
        /// It does not crawl that server.
        case unknownHost
        case refused(status: Int)
        case unreachable(HTTPClientError)
        case malformed
    }

    public func status(of hostname: Bytes) throws(StatusError) -> HostStatus {
        let request = HTTPRequest(
            .get, url + "/xrpc/" + Self.hostStatusNSID + "?hostname=" + hostname, sizeMax: Self.answerSizeMax,
            redirects: .returned)
        let response: HTTPResponse
        do throws(HTTPClientError) { response = try send(request) } catch { throw .unreachable(error) }
        guard response.status == 200 else {
            throw Self.errorName(of: response) == "HostNotFound" ? .unknownHost : .refused(status: response.status)
        }
        guard let value = try? JSON.parsePlain(Bytes(response.body)), case .map = value else { throw .malformed }
        return HostStatus(
            seq: value["seq"]?.integer.flatMap { Int(exactly: $0) },
            accountCount: value["accountCount"]?.integer.flatMap { Int(exactly: $0) },
            status: value["status"]?.text, date: response["date"])
    }

    private static func errorName(of response: HTTPResponse) -> Bytes? {
        (try? JSON.parsePlain(Bytes(response.body)))?["error"]?.text
    }

    /// The error and the message of an answer, or the beginning of its text.
    private static func words(of response: HTTPResponse) -> Bytes {
        if let value = try? JSON.parsePlain(Bytes(response.body)), let name = value["error"]?.text {
            guard let message = value["message"]?.text else { return name.upTo(wordsSizeMax) }
            return (name + ": " + message).upTo(wordsSizeMax)
        }
        return "HTTP " + Bytes(String(response.status))
    }
}
