import ATProto
import Base
import Crypto
import Foundation
import Identity
import Lexicons
import Net

/// The network of one test: a PLC directory in memory, well-known files and TXT records, and nothing else.
final class FakeNetwork: Sendable {
    struct State {
        /// Operations of each DID, oldest first.
        var log: [Bytes: [Value]] = [:]
        var pages: [Bytes: IdentityNetwork.Answer] = [:]
        var texts: [Bytes: [Bytes]] = [:]
        var isDown = false
        var refuses = false
        var requests: [String] = []
        /// Requests to others than the directory, whole, and the status that answers them; nil is no answer.
        var sent: [HTTPRequest] = []
        var answers: [Bytes: Int] = [:]
    }

    struct Unreachable: Error {}

    static let directory: Bytes = "https://plc.test"
    let state = Guarded(State())

    var network: IdentityNetwork {
        IdentityNetwork(
            send: { [state] request in try state.withLock { try Self.answer(request, &$0) } },
            lookUp: { [state] name in
                try state.withLock { state in
                    if state.isDown { throw Unreachable() }
                    return state.texts[name] ?? []
                }
            })
    }

    /// The same network for lexicons; proofs are pages.
    func lexicons(_ resolver: Resolver) -> LexiconNetwork {
        let network = state
        return LexiconNetwork(
            texts: { name in
                try network.withLock { state in
                    if state.isDown { throw Unreachable() }
                    return state.texts[name] ?? []
                }
            },
            authority: { did, fresh in
                do {
                    let document = try resolver.document(of: did, fresh: fresh)
                    return LexiconNetwork.Authority(pds: try document.pds, key: try document.signingKey)
                } catch IdentityError.notFound {
                    return nil
                }
            },
            get: { url, sizeMax in
                let answer = try network.withLock { try Self.answer(HTTPRequest(.get, url, sizeMax: sizeMax), &$0) }
                return LexiconNetwork.Answer(status: answer.status, body: answer.body)
            })
    }

    /// A request of a client that looks at the status only.
    func send(_ request: HTTPRequest) throws -> Int {
        try state.withLock { state in
            state.sent.append(request)
            guard !state.isDown, let status = state.answers[request.url] else { throw Unreachable() }
            return status
        }
    }

    func set(_ change: (inout State) -> Void) { state.withLock { change(&$0) } }

    private static func answer(_ request: HTTPRequest, _ state: inout State) throws -> IdentityNetwork.Answer {
        state.requests.append("\(request.method.rawValue) \(request.url)")
        if state.isDown { throw Unreachable() }
        if let page = state.pages[request.url] { return page }
        guard request.url.starts(with: directory + "/") else { throw Unreachable() }
        let path = request.url.from(directory.count + 1)
        let did = path.upTo(path.position(of: 0x2F) ?? path.count)
        if request.method == .post {
            if state.refuses { return IdentityNetwork.Answer(status: 400, body: "{\"message\":\"no\"}") }
            state.log[did, default: []].append(try JSON.parsePlain(request.body ?? Bytes()))
            return IdentityNetwork.Answer(status: 200, body: "{}")
        }
        guard let last = state.log[did]?.last else { return IdentityNetwork.Answer(status: 404, body: "{}") }
        if path.ends(with: "/log/last") { return IdentityNetwork.Answer(status: 200, body: Bytes(JSON.encode(last))) }
        if last["type"]?.text == "plc_tombstone" { return IdentityNetwork.Answer(status: 410, body: "{}") }
        return IdentityNetwork.Answer(status: 200, body: document(DID(did)!, last))
    }

    private static func document(_ did: DID, _ last: Value) -> Bytes {
        let operation = PLCOperation(last)!
        let key = operation.verificationMethods.first.flatMap { try? VerificationKey(didKey: $0.didKey) }
        return DIDDocument.json(
            of: did, handle: operation.alsoKnownAs.first.flatMap { Handle($0.from(5)) }, signingKey: key,
            pds: operation.services.first?.endpoint ?? Bytes())
    }
}
