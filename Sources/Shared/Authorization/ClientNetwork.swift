public import Base
public import Net

/// What reading clients' documents asks of the network: one kind of request, as a value, so that tests answer.
public struct ClientNetwork: Sendable {
    public struct Answer: Sendable {
        public let status: Int
        /// Names in lower case.
        public let headers: [(name: Bytes, value: Bytes)]
        public let body: Bytes

        public init(status: Int, headers: [(name: Bytes, value: Bytes)], body: Bytes) {
            self.status = status
            self.headers = headers
            self.body = body
        }
    }

    /// A person waits for it, and two documents may be needed.
    public static let deadlineMilliseconds = 5_000

    private let send: @Sendable (HTTPRequest) throws(HTTPClientError) -> Answer

    /// `send` answers any status. It is the guard against addresses that must not be asked (reliability C1 to C5).
    public init(send: @escaping @Sendable (HTTPRequest) throws(HTTPClientError) -> Answer) { self.send = send }

    /// The network itself.
    public init(http: HTTPClient) {
        self.init { (request) throws(HTTPClientError) in
            let response = try http.send(request)
            return Answer(status: response.status, headers: response.headers, body: Bytes(response.body))
        }
    }

    /// The JSON text at `url`: status 200, no redirect, one content type and a right one, no longer than
    /// `ClientMetadata.sizeMax` (draft-ietf-oauth-client-id-metadata-document §4). `name` begins the error's words.
    ///
    /// Throws `temporarily_unavailable` when another try may work, as nobody answers or the server says that it can't
    /// now, and `invalid_client_metadata` for everything else.
    func json(at url: Bytes, types: [Bytes], _ name: Bytes) throws(AuthorizationError) -> Bytes {
        var request = HTTPRequest(
            .get, url, headers: [("Accept", "application/json")], sizeMax: ClientMetadata.sizeMax, redirects: .refused)
        request.deadlineMilliseconds = Self.deadlineMilliseconds
        let answer: Answer
        do throws(HTTPClientError) { answer = try send(request) } catch { throw Self.refusal(error, name) }
        guard answer.status == 200 else {
            let words = name + Bytes(": status \(answer.status) instead of 200")
            let isPassing = (500...599).contains(answer.status) || answer.status == 429 || answer.status == 408
            throw AuthorizationError(isPassing ? .temporarilyUnavailable : .invalidClientMetadata, words)
        }
        let found = answer.headers.filter { $0.name == "content-type" }.map { Self.mediaType($0.value) }
        guard found.count == 1, types.contains(where: { $0 == found.first }) else {
            throw AuthorizationError(
                .invalidClientMetadata,
                name + ": content type " + Quoted.text(found.first ?? "missing") + " instead of application/json")
        }
        // The client holds the sender to it; other networks may not.
        guard answer.body.count <= ClientMetadata.sizeMax else { throw Self.refusal(.tooLarge, name) }
        return answer.body
    }

    private static func mediaType(_ value: Bytes) -> Bytes {
        value.upTo(value.position(of: 0x3B) ?? value.count).trimming(" \t").lowercasedASCII
    }

    private static func refusal(_ error: HTTPClientError, _ name: Bytes) -> AuthorizationError {
        let (code, words): (AuthorizationError.Code, Bytes) =
            switch error {
            case .invalidURL(let fault): (.invalidClientMetadata, Bytes(fault.description))
            case .addressNotAllowed: (.invalidClientMetadata, "address not allowed")
            case .redirectNotAllowed: (.invalidClientMetadata, "redirect not allowed")
            case .tooLarge: (.invalidClientMetadata, Bytes("larger than \(ClientMetadata.sizeMax) bytes"))
            case .timeout: (.temporarilyUnavailable, "took too long")
            case .tls: (.temporarilyUnavailable, "no valid certificate")
            case .unreachable: (.temporarilyUnavailable, "not reachable")
            case .malformedResponse: (.temporarilyUnavailable, "not an HTTP response")
            case .invalidRequest: (.temporarilyUnavailable, "could not be asked for")
            }
        return AuthorizationError(code, name + ": " + words)
    }
}
