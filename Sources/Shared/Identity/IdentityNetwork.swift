public import Base
public import Net

/// What identity work asks of the network: two requests and one kind of DNS record, as values, so that tests answer.
public struct IdentityNetwork: Sendable {
    public struct Answer: Sendable {
        public let status: Int
        public let body: Bytes

        public init(status: Int, body: Bytes) {
            self.status = status
            self.body = body
        }
    }

    /// A DID resolver that does not answer in three seconds is as good as down (specs/pds.md §2.4).
    public static let deadlineMilliseconds = 3_000
    /// Submitting an operation is worth more patience: it may have been taken.
    public static let submitDeadlineMilliseconds = 10_000

    private let send: @Sendable (HTTPRequest) throws -> Answer
    private let lookUp: @Sendable (Bytes) throws -> [Bytes]

    /// `send` answers any status; `lookUp` gives the texts of a name's TXT records, none when there are none.
    public init(
        send: @escaping @Sendable (HTTPRequest) throws -> Answer,
        lookUp: @escaping @Sendable (Bytes) throws -> [Bytes]
    ) {
        self.send = send
        self.lookUp = lookUp
    }

    /// The network itself.
    public init(http: HTTPClient, dns: DNSResolver) {
        self.init(
            send: { request in
                let response = try http.send(request)
                return Answer(status: response.status, body: Bytes(response.body))
            }, lookUp: { name in try dns.txt(name) })
    }

    func get(_ url: Bytes, redirects: HTTPRequest.Redirects = .refused) throws(IdentityError) -> Answer {
        var request = HTTPRequest(.get, url, sizeMax: DIDDocument.sizeMax, redirects: redirects)
        request.deadlineMilliseconds = Self.deadlineMilliseconds
        return try answer(request)
    }

    func post(_ url: Bytes, _ json: Bytes) throws(IdentityError) -> Answer {
        var request = HTTPRequest(
            .post, url, headers: [("Content-Type", "application/json")], body: json, sizeMax: 65_536)
        request.deadlineMilliseconds = Self.submitDeadlineMilliseconds
        return try answer(request)
    }

    func texts(_ name: Bytes) throws(IdentityError) -> [Bytes] {
        do { return try lookUp(name) } catch { throw .unreachable }
    }

    private func answer(_ request: HTTPRequest) throws(IdentityError) -> Answer {
        do { return try send(request) } catch { throw .unreachable }
    }
}
