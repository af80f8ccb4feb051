import ATProto
import Accounts
import Base
import Foundation
import Hosting
import Moderation
import Repos
import Storage
import TestSupport
import Testing
import Web
import XRPCHandlers

/// What each state of an account does on each call, for each kind of caller (specs/pds.md §2.5).
@Suite struct AccountStateTests {
    enum State: String, CaseIterable { case active, deactivated, suspended, takendown, deleted }
    enum Caller: String, CaseIterable { case anyone, owner, admin }

    struct Row: Sendable {
        let name: String
        let method: HTTPMethod
        /// With `DID`, `CID` (of the commit), `BLOB` in it.
        let target: String
        var json: String?
        var body: String?
        let callers: [Caller]
        /// One for each state: a status, and the error's name.
        let wanted: [String]
    }

    private static let hidden = [
        "200", "400 RepoDeactivated", "400 RepoSuspended", "400 RepoTakendown", "400 RepoNotFound",
    ]
    private static let seen = ["200", "200", "200", "200", "400 RepoNotFound"]

    private static func sync(_ method: String, _ parameters: String, gone: String = "RepoNotFound") -> [Row] {
        let target = "/xrpc/com.atproto.sync.\(method)?\(parameters)"
        let last = "400 \(gone)"
        return [
            Row(name: method, method: .get, target: target, callers: [.anyone], wanted: hidden.dropLast() + [last]),
            Row(
                name: method, method: .get, target: target, callers: [.owner, .admin], wanted: seen.dropLast() + [last]),
        ]
    }

    static let rows: [Row] =
        sync("getRepo", "did=DID") + sync("getCheckout", "did=DID")
        + sync("getRecord", "did=DID&collection=com.example.thing&rkey=a") + sync("getBlocks", "did=DID&cids=CID")
        + sync("getLatestCommit", "did=DID") + sync("getHead", "did=DID", gone: "HeadNotFound")
        + sync("getBlob", "did=DID&cid=BLOB") + sync("listBlobs", "did=DID") + [
            Row(
                name: "getRepoStatus", method: .get, target: "/xrpc/com.atproto.sync.getRepoStatus?did=DID",
                callers: Caller.allCases, wanted: seen),
            Row(
                name: "repo.getRecord", method: .get,
                target: "/xrpc/com.atproto.repo.getRecord?repo=DID&collection=com.example.thing&rkey=a",
                callers: Caller.allCases,
                wanted: ["200"] + Array(repeating: "400 RecordNotFound", count: 4)),
            Row(
                name: "listRecords", method: .get,
                target: "/xrpc/com.atproto.repo.listRecords?repo=DID&collection=com.example.thing",
                callers: Caller.allCases, wanted: ["200"] + Array(repeating: "400 InvalidRequest", count: 4)),
            Row(
                name: "describeRepo", method: .get, target: "/xrpc/com.atproto.repo.describeRepo?repo=DID",
                callers: Caller.allCases, wanted: hidden.dropLast() + ["400 InvalidRequest"]),
            Row(
                name: "createSession", method: .post, target: "/xrpc/com.atproto.server.createSession",
                json: "{\"identifier\":\"DID\",\"password\":\"correct horse\"}", callers: [.anyone],
                wanted: ["200", "200", "401 AccountTakedown", "401 AccountTakedown", "401 AuthenticationRequired"]),
            Row(
                name: "createRecord", method: .post, target: "/xrpc/com.atproto.repo.createRecord",
                json: "{\"repo\":\"DID\",\"collection\":\"com.example.thing\",\"record\":{\"a\":1}}",
                callers: [.owner],
                wanted: [
                    "200", "401 AccountDeactivated", "401 AccountTakedown", "401 AccountTakedown",
                    "403 AccountNotFound",
                ]),
            Row(
                name: "uploadBlob", method: .post, target: "/xrpc/com.atproto.repo.uploadBlob", body: "text",
                callers: [.owner],
                wanted: ["200", "200", "401 AccountTakedown", "401 AccountTakedown", "403 AccountNotFound"]),
            Row(
                name: "activateAccount", method: .post, target: "/xrpc/com.atproto.server.activateAccount",
                callers: [.owner],
                wanted: ["200", "200", "401 AccountTakedown", "401 AccountTakedown", "403 AccountNotFound"]),
            Row(
                name: "getServiceAuth", method: .get,
                target: "/xrpc/com.atproto.server.getServiceAuth?aud=did:web:other.example.com&lxm=com.example.do",
                callers: [.owner],
                wanted: ["200", "200", "401 AccountTakedown", "401 AccountTakedown", "403 AccountNotFound"]),
            Row(
                name: "getSession", method: .get, target: "/xrpc/com.atproto.server.getSession", callers: [.owner],
                wanted: ["200", "200", "401 AccountTakedown", "401 AccountTakedown", "403 AccountNotFound"]),
            Row(
                name: "createReport", method: .post, target: "/xrpc/com.atproto.moderation.createReport",
                json: """
                    {"reasonType":"x","subject":{"$type":"com.atproto.admin.defs#repoRef","did":"DID"}}
                    """, callers: [.owner],
                wanted: [
                    "200", "200", "401 AccountTakedown", "401 AccountTakedown",
                    "403 AccountNotFound",
                ]),
            Row(
                name: "atproto-did", method: .get, target: "/.well-known/atproto-did", callers: Caller.allCases,
                wanted: ["200", "404", "404", "404", "404"]),
        ]

    @Test func everyRowHasEveryState() {
        #expect(Self.rows.allSatisfy { $0.wanted.count == State.allCases.count && !$0.callers.isEmpty })
        #expect(Self.rows.flatMap(\.callers).count >= 40)
    }

    @Test(arguments: State.allCases, Engine.all) func calls(_ state: State, _ engine: Engine) throws {
        let home = try Resident(engine)
        try home.put(into: state)
        let column = try #require(State.allCases.firstIndex(of: state))
        for row in Self.rows {
            for caller in row.callers {
                let got = try home.call(row, as: caller)
                #expect(got == row.wanted[column], "\(row.name) by \(caller) of a \(state) account")
                // What a call changes (activateAccount) must not help the next row.
                try home.put(into: state)
            }
        }
    }

    /// The lists that name accounts in every state.
    @Test(arguments: Engine.all) func lists(_ engine: Engine) throws {
        for state in State.allCases {
            let home = try Resident(engine)
            try home.put(into: state)
            let (status, repos) = try home.world.call(.get, "com.atproto.sync.listRepos")
            #expect(status == 200)
            let active = try home.world.call(
                .get, "com.atproto.sync.listReposByCollection?collection=com.example.thing")
            let words = repos.contains("\"status\":\"\(state)\"")
            switch state {
            case .active: #expect(repos.contains("\"active\":true") && active.body.contains("\(home.did)"))
            case .deleted: #expect(repos == "{\"repos\":[]}" && active.body == "{\"repos\":[]}")
            default: #expect(repos.contains("\"active\":false") && words && active.body == "{\"repos\":[]}")
            }
            let own = try home.world.call(.get, "com.atproto.sync.getRepoStatus?did=\(home.did)").body
            #expect(own.contains("\"rev\"") == (state == .active), "\(state): \(own)")
        }
    }

    @Test(arguments: Engine.all) func theStreamSaysEachState(_ engine: Engine) throws {
        let home = try Resident(engine)
        let start = try home.lastSeq()
        for state in [State.suspended, .active, .takendown, .active, .deactivated, .active] {
            try home.put(into: state)
        }
        let events = try home.events(after: start)
        // Activating by the owner is announced with identity and repository as well.
        #expect(
            events == [
                "account suspended", "account active", "account takendown", "account active", "account deactivated",
                "account active", "identity", "sync",
            ])
    }

    @Test(arguments: Engine.all) func aSuspensionKeepsSessionsAndATakedownEndsThem(_ engine: Engine) throws {
        let home = try Resident(engine)
        func refresh() throws -> Int {
            try home.world.call(.post, "com.atproto.server.refreshSession", token: home.refreshToken).status
        }
        try home.put(into: .suspended)
        #expect(try refresh() == 401)
        try home.put(into: .active)
        #expect(try refresh() == 200)
        try home.put(into: .takendown)
        try home.put(into: .active)
        #expect(try refresh() == 400)
    }
}

/// An account with a record and a blob on a server of its own.
struct Resident {
    let world: World
    let did: DID
    let token: String
    let refreshToken: String
    let blob: String

    static func made(_ world: World, _ name: String) throws -> [String: Any] {
        let json = """
            {"handle":"\(name).home.test","email":"\(name)@example.com","password":"correct horse"}
            """
        let made = try world.call(.post, "com.atproto.server.createAccount", json: json)
        return try #require(try JSONSerialization.jsonObject(with: Data(made.body.utf8)) as? [String: Any])
    }

    init(_ engine: Engine, world: World? = nil, name: String = "alice", picture: String = "a picture of a cat") throws {
        let world = try world ?? World(engine)
        self.world = world
        let made = try Self.made(world, name)
        did = try #require((made["did"] as? String).flatMap { DID($0) })
        token = try #require(made["accessJwt"] as? String)
        refreshToken = try #require(made["refreshJwt"] as? String)
        let upload = world.respond(
            try world.request(
                .post, "/xrpc/com.atproto.repo.uploadBlob",
                headers: [("authorization", "Bearer \(token)"), ("content-type", "text/plain")],
                body: Array(picture.utf8)))
        guard case .bytes(let bytes) = upload.body,
            let answer = try JSONSerialization.jsonObject(with: Data(bytes)) as? [String: Any],
            let reference = answer["blob"]
        else { throw Transcript.Malformed(description: "no blob") }
        let json = String(decoding: try JSONSerialization.data(withJSONObject: reference), as: UTF8.self)
        blob = try #require(
            ((reference as? [String: Any])?["ref"] as? [String: Any])?["$link"] as? String)
        let put = try world.call(
            .post, "com.atproto.repo.putRecord", token: token,
            json: """
                {"repo":"\(did)","collection":"com.example.thing","rkey":"a","record":{"image":\(json),"said":"canary-\(name)"}}
                """)
        #expect(put.status == 200, "\(put.body)")
    }

    /// Brings the account into a state, from whatever state it is in.
    func put(into state: AccountStateTests.State) throws {
        let life = world.app.life
        guard let details = try world.app.accounts.details(of: did) else { return }
        if state == .deleted {
            try life.delete(did)
            return
        }
        if details.takenDownAt != nil, state != .takendown { try life.setTakedown(false, of: did) }
        if details.suspendedAt != nil, state != .suspended { try life.setSuspension(false, of: did) }
        if details.deactivatedAt != nil, state != .deactivated { try life.activate(did) }
        switch state {
        case .takendown where details.takenDownAt == nil: try life.setTakedown(true, of: did)
        case .suspended where details.suspendedAt == nil: try life.setSuspension(true, of: did)
        case .deactivated where details.deactivatedAt == nil: try life.deactivate(did)
        default: break
        }
    }

    /// The status, and the name of the error when there is one.
    func call(_ row: AccountStateTests.Row, as caller: AccountStateTests.Caller) throws -> String {
        let commit = (try? world.app.repos.state(of: did).commit.description) ?? "\(CID(hashing: [1]))"
        func filled(_ text: String) -> String {
            text.replacing("DID", with: "\(did)").replacing("CID", with: commit).replacing("BLOB", with: blob)
        }
        var headers: [(String, String)] = []
        switch caller {
        case .anyone: break
        case .owner: headers.append(("authorization", "Bearer \(token)"))
        case .admin: headers.append(("authorization", "Basic YWRtaW46YWRtaW4gcGFzc3dvcmQ="))
        }
        if row.json != nil { headers.append(("content-type", "application/json")) }
        if row.body != nil { headers.append(("content-type", "text/plain")) }
        let body = row.json.map(filled) ?? row.body ?? ""
        let host = row.target.hasPrefix("/xrpc/") ? World.host : "alice.home.test"
        let response = world.respond(
            try world.request(row.method, filled(row.target), headers: headers, body: Array(body.utf8), host: host))
        guard response.status != 200, case .bytes(let bytes) = response.body,
            let json = try? JSONSerialization.jsonObject(with: Data(bytes)) as? [String: Any]
        else { return "\(response.status)" }
        return "\(response.status) \(json["error"] as? String ?? "?")"
    }

    func lastSeq() throws -> Int {
        try world.test.read { try $0.first("SELECT max(seq) FROM event") { try $0.integer(0) } } ?? 0
    }

    /// Kinds of events after `seq`, with the status of `#account`.
    func events(after seq: Int) throws -> [String] {
        let frames = try world.test.read { reader in
            try reader.all("SELECT kind, payload FROM event WHERE seq > \(seq) ORDER BY seq") {
                (kind: try $0.text(0).description, frame: try $0.bytes(1))
            }
        }
        return frames.map { kind, frame in
            guard kind == "account" else { return kind }
            let states: [Bytes] = ["suspended", "takendown", "deactivated", "deleted"]
            let state = states.first { state in
                (0...(frame.count - state.count)).contains { frame.from($0).starts(with: state) }
            }
            return "account \(state ?? "active")"
        }
    }
}
