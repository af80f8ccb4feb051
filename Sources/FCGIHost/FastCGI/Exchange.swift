internal import Base
internal import CFCGI
internal import Web

/// One request and its response.
struct Exchange {
    let server: Server
    let request: UnsafeMutablePointer<FCGX_Request>
    let started: UInt64
    private(set) var outcome = WriteOutcome.complete
    private(set) var mayHaveBody = true
    private var status = 500
    private var route = Bytes()
    private var bodySize = 0

    init(server: Server, request: UnsafeMutablePointer<FCGX_Request>, started: UInt64) {
        self.server = server
        self.request = request
        self.started = started
    }

    mutating func run(body: FastCGIBody, ids: inout RequestIDs) {
        var parameters: Parameters?
        do throws(Refusal) {
            let parsed = try Parameters(request.pointee.envp)
            parameters = parsed
            let head = try RequestHead(parsed, body: body, makeID: { ids.next() }).request
            let (deadline, overflow) = started.addingReportingOverflow(
                UInt64(clamping: server.configuration.bodyDeadlineSeconds).multipliedReportingOverflow(
                    by: 1_000_000_000
                )
                .partialValue)
            body.begin(request.pointee.in, declared: head.contentLength, deadline: overflow ? .max : deadline)
            mayHaveBody = parsed.contentLength != nil && head.contentLength != 0
            respond(to: head)
        } catch {
            refuse(error, parameters, id: parameters.flatMap(RequestHead.id) ?? ids.next())
        }
    }

    private mutating func respond(to head: Request) {
        let response = server.responder(head)
        send(response, method: head.method, id: head.id)
        if server.configuration.logsRequests {
            log(method: Bytes(head.method.rawValue), path: head.path, peer: head.peer, id: head.id)
        }
    }

    private mutating func refuse(_ refusal: Refusal, _ parameters: Parameters?, id: Bytes) {
        if refusal == .edge { server.log.error("fcgi.edge-parameters-missing", ["id": .bytes(id)]) }
        let method: HTTPMethod = parameters?.bytes(parameters?.method) == "HEAD" ? .head : .get
        send(refusal.response, method: method, id: id)
        guard server.configuration.logsRequests else { return }
        let target = parameters?.bytes(parameters?.target) ?? Bytes()
        let path = target.upTo(target.firstIndex(of: 0x3F) ?? target.count)
        log(
            method: parameters?.bytes(parameters?.method) ?? Bytes(), path: path,
            peer: parameters?.bytes(parameters?.peer) ?? Bytes(), id: id)
    }

    private mutating func send(_ response: Response, method: HTTPMethod, id: Bytes) {
        var writer = ResponseWriter(request)
        let log = server.log
        outcome = writer.write(response, method: method, id: id) { error in
            log.error("response.broken", ["id": .bytes(id), "error": .text(String(describing: error))])
        }
        status = response.status
        route = response.route
        bodySize = writer.bodySize
    }

    private var microseconds: Int { Int(clamping: (Clock.monotonicNanoseconds() &- started) / 1_000) }

    private func log(method: Bytes, path: Bytes, peer: Bytes, id: Bytes) {
        server.log.info(
            "request",
            [
                "method": .bytes(method), "path": .bytes(path), "status": .integer(status), "bytes": .integer(bodySize),
                "us": .integer(microseconds), "peer": .bytes(peer), "id": .bytes(id),
                "end": .text(outcome == .complete ? "complete" : outcome == .gone ? "gone" : "broken"),
            ])
    }

    func record(in metrics: RequestMetrics) {
        metrics.record(route: route, status: status, microseconds: microseconds, isComplete: outcome == .complete)
    }
}
