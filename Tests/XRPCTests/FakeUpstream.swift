import Base
import Net
import XRPCHandlers

/// Other services, for one test: answers by URL without its query, and every request that came.
final class FakeUpstream: Sendable {
    struct Answer: Sendable {
        var status = 200
        var headers: [(name: Bytes, value: Bytes)] = [("content-type", "application/json")]
        var body: Bytes = "{}"
        /// Thrown in place of the head.
        var error: HTTPClientError?
        /// Thrown after the body.
        var bodyError: HTTPClientError?
    }

    struct State {
        var answers: [Bytes: Answer] = [:]
        var requests: [HTTPRequest] = []
    }

    static let did: Bytes = "did:web:appview.test"
    static let origin: Bytes = "https://appview.test"
    let state = Guarded(State())

    func answer(_ url: String, _ answer: Answer) { state.withLock { $0.answers[Bytes(url)] = answer } }
    var requests: [HTTPRequest] { state.withLock { $0.requests } }

    func open(_ request: HTTPRequest) throws(HTTPClientError) -> HTTPIncoming {
        let found = state.withLock { state in
            state.requests.append(request)
            let mark = request.url.position(of: 0x3F) ?? request.url.count
            return state.answers[request.url.upTo(mark)]
        }
        guard let answer = found else { throw .unreachable }
        if let error = answer.error { throw error }
        return HTTPIncoming(head: HTTPResponseHead(status: answer.status, headers: answer.headers)) { sink in
            // In two pieces, as a body may come.
            let half = answer.body.count / 2
            for piece in [answer.body.upTo(half), answer.body.from(half)] where !piece.isEmpty {
                try piece.withUnsafeBytes { try sink($0) }
            }
            if let error = answer.bodyError { throw error }
        }
    }
}
