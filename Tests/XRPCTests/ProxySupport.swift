import ATProto
import Accounts
import Base
import Crypto
import Foundation
import Identity
import Net
import TestSupport
import Testing
import Web
import XRPCHandlers

/// A server with an AppView and one account, and what its calls come to.
struct ProxyWorld {
    let world: World
    let did: String
    let token: String

    static let appView = Upstream.AppView(did: DID(FakeUpstream.did)!, origin: FakeUpstream.origin)
    /// A service whose document `init` publishes: `#chat`, `#bsky_notif` and some wrong ones.
    static let service = "did:web:service.example.com"

    init(_ engine: Engine, appView: Upstream.AppView? = appView, lanes: Int = 4) throws {
        world = try World(engine, appView: appView, lanes: lanes)
        let made = try world.call(
            .post, "com.atproto.server.createAccount",
            json: #"{"handle":"alice.home.test","email":"alice@example.com","password":"correct horse"}"#)
        let session = try Self.object(made.body)
        did = try #require(session["did"] as? String)
        token = try #require(session["accessJwt"] as? String)
        let services = [
            ##"{"id":"#chat","type":"Chat","serviceEndpoint":"https://chat.service.example.com"}"##,
            """
            {"id":"\(Self.service)#bsky_notif","type":"BskyNotificationService",\
            "serviceEndpoint":"https://push.service.example.com/"}
            """,
            ##"{"id":"#path","type":"X","serviceEndpoint":"https://service.example.com/a?b"}"##,
            ##"{"id":"#user","type":"X","serviceEndpoint":"https://a:b@service.example.com"}"##,
            ##"{"id":"#six","type":"X","serviceEndpoint":"https://[::1]"}"##,
            ##"{"id":"#refused","type":"X","serviceEndpoint":"https://refused.example.com"}"##,
        ]
        let document = Bytes(#"{"id":"\#(Self.service)","service":[\#(services.joined(separator: ","))]}"#)
        world.network.set {
            $0.pages["https://service.example.com/.well-known/did.json"] = .init(status: 200, body: document)
        }
    }

    static func object(_ text: String) throws -> [String: Any] {
        try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any], "\(text)")
    }

    struct Result {
        let status: Int
        let headers: [String: String]
        let body: String
        /// What a streamed body threw.
        let broken: (any Error)?

        var json: [String: Any] { (try? ProxyWorld.object(body)) ?? [:] }
        var error: String? { json["error"] as? String }
        var message: String? { json["message"] as? String }
    }

    func respond(
        _ method: HTTPMethod, _ target: String, token: String?, _ headers: [(String, String)] = [], body: String? = nil
    ) throws -> Response {
        var headers = headers
        if let token { headers.append(("authorization", "Bearer \(token)")) }
        if body != nil, !headers.contains(where: { $0.0 == "content-type" }) {
            headers.append(("content-type", "application/json"))
        }
        return world.respond(
            try world.request(method, "/xrpc/" + target, headers: headers, body: Array((body ?? "").utf8)))
    }

    func call(
        _ method: HTTPMethod, _ target: String, _ headers: [(String, String)] = [], body: String? = nil,
        token: String? = nil, isAnonymous: Bool = false
    ) throws -> Result {
        let response = try respond(
            method, target, token: isAnonymous ? nil : token ?? self.token, headers, body: body)
        var bytes: [UInt8] = []
        var broken: (any Error)?
        switch response.body {
        case .bytes(let all): bytes = all
        case .stream(let produce):
            do { try produce { bytes.append(contentsOf: $0) } } catch { broken = error }
        case .file: Issue.record("a file")
        }
        let fields = response.headers.map { ("\($0.name)".lowercased(), "\($0.value.bytes)") }
        return Result(
            status: response.status, headers: Dictionary(fields) { $0 + "," + $1 },
            body: String(decoding: bytes, as: UTF8.self), broken: broken)
    }

    /// A session with an app password.
    func appToken(privileged: Bool) throws -> String {
        let made = try world.call(
            .post, "com.atproto.server.createAppPassword", token: token,
            json: #"{"name":"app \#(privileged)","privileged":\#(privileged)}"#)
        let password = try #require(try Self.object(made.body)["password"] as? String)
        return try login(#"{"identifier":"\#(did)","password":"\#(password)"}"#)
    }

    func login(_ json: String) throws -> String {
        let session = try world.call(.post, "com.atproto.server.createSession", json: json)
        return try #require(try Self.object(session.body)["accessJwt"] as? String)
    }

    /// Writes a record; answers its key and the revision.
    @discardableResult func write(
        _ collection: String, _ record: String, rkey: String? = nil
    ) throws -> (rkey: String, rev: String) {
        world.advance(1)
        let made = try world.call(
            .post, "com.atproto.repo.putRecord", token: token,
            json: """
                {"repo":"\(did)","collection":"\(collection)","rkey":"\(rkey ?? self.key())","record":\(record)}
                """)
        let answer = try Self.object(made.body)
        let commit = try #require(answer["commit"] as? [String: Any], "\(made.body)")
        let uri = try #require(answer["uri"] as? String)
        return (String(uri.split(separator: "/").last!), try #require(commit["rev"] as? String))
    }

    private func key() -> String {
        TID(timestamp: world.moment.withLock { $0 }, clockID: 3).bytes.description
    }

    @discardableResult func post(_ text: String, more: String = "") throws -> (rkey: String, rev: String) {
        try write(
            "app.bsky.feed.post",
            #"{"$type":"app.bsky.feed.post","text":"\#(text)","createdAt":"2025-06-15T15:00:00Z"\#(more)}"#)
    }

    func uri(_ rkey: String) -> String { "at://\(did)/app.bsky.feed.post/\(rkey)" }

    /// The last request that went out, and what its token says once the account's key has verified it.
    func lastRequest() throws -> (url: String, headers: [String: String], body: String?, claims: [String: String]) {
        let request = try #require(world.upstream.requests.last)
        let headers = Dictionary(request.headers.map { ("\($0.name)", "\($0.value)") }) { $0 + "," + $1 }
        var claims: [String: String] = [:]
        if let header = headers["authorization"] {
            let jwt = try JWT(parsing: Bytes(String(header.dropFirst(7))))
            try jwt.verify(try world.app.keys.key(of: DID(did)!).publicKey)
            for name in ["iss", "aud", "lxm", "jti"] { claims[name] = jwt.claims.text(Bytes(name))?.description }
            let (issued, expires) = (jwt.claims.integer("iat"), jwt.claims.integer("exp"))
            claims["seconds"] = expires.flatMap { end in issued.map { "\(end - $0)" } }
        }
        return ("\(request.url)", headers, request.body.map { "\($0)" }, claims)
    }
}
