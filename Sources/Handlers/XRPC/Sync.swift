internal import ATProto
internal import Base
internal import Repos
internal import Web

extension XRPCResponder {
    static let sync: [XRPCRoute] = [
        XRPCRoute(GetRepo.self), XRPCRoute(GetCheckout.self), XRPCRoute(GetRecordProof.self),
        XRPCRoute(GetBlocks.self), XRPCRoute(GetLatestCommit.self), XRPCRoute(GetHead.self),
        XRPCRoute(GetRepoStatus.self), XRPCRoute(ListRepos.self), XRPCRoute(ListReposByCollection.self),
    ]
}

extension XRPCApp {
    /// Where the repository of `did` stands, if `viewer` may see it. Throws `RepoError`.
    func readable(_ did: DID, by viewer: Viewer) throws -> RepoState {
        let state = try repos.state(of: did)
        guard state.status == .active || viewer.mayRead(inactive: did) else {
            throw RepoError.notActive(did, state.status)
        }
        return state
    }
}

extension Response {
    /// The media type of a CAR (https://www.iana.org/assignments/media-types).
    static let carType: HeaderValue = "application/vnd.ipld.car"

    static func car(_ bytes: [UInt8]) -> Response {
        var response = Response(status: 200, body: .bytes(bytes))
        response.append("Content-Type", carType)
        return response
    }

    /// A repository as it stands when the body begins, streamed; or, when all of `state` was sent before and kept, the
    /// web server sends that.
    static func repository(_ state: RepoState, since: TID?, _ app: XRPCApp) -> Response {
        var response = Response(status: 200)
        response.append("Content-Type", carType)
        let (did, repos) = (state.did, app.repos)
        if let since {
            response.body = .stream { sink in try repos.export(did, since: since) { try sink($0) } }
        } else if let prefix = app.settings.archiveInternalPath,
            let name = repos.archive?.find(did, at: state.commit), let path = HeaderValue(prefix + Bytes(name))
        {
            response.body = .file(internalPath: path)
        } else {
            response.body = .stream { sink in try repos.exportKeeping(did) { try sink($0) } }
        }
        return response
    }
}

/// The one parameter of many methods.
struct RepoParameters: XRPCInput, Sendable {
    let did: DID

    init(_ fields: Fields) throws(Failure) { did = try fields.required("did") }
}

/// `com.atproto.sync.getRepo`: the whole repository as a CAR in stream order, or what came after a revision.
struct GetRepo: Method {
    static let nsid: Bytes = "com.atproto.sync.getRepo"
    static let kind = MethodKind.query
    static let access = XRPCAccess.viewer
    static let scope = OAuthRule.any

    struct Input: XRPCInput {
        let did: DID
        let since: TID?

        init(_ fields: Fields) throws(Failure) {
            did = try fields.required("did")
            since = try fields.optional("since")
        }
    }

    static func run(_ call: Call<Self>) throws -> Response {
        let state = try call.app.readable(call.input.did, by: call.caller)
        return .repository(state, since: call.input.since, call.app)
    }
}

/// `com.atproto.sync.getCheckout`: deprecated; the same as getRepo without `since`. Old crawlers ask for it.
struct GetCheckout: Method {
    static let nsid: Bytes = "com.atproto.sync.getCheckout"
    static let kind = MethodKind.query
    static let access = XRPCAccess.viewer
    static let scope = OAuthRule.any
    typealias Input = RepoParameters

    static func run(_ call: Call<Self>) throws -> Response {
        let state = try call.app.readable(call.input.did, by: call.caller)
        return .repository(state, since: nil, call.app)
    }
}

/// `com.atproto.sync.getRecord`: a CAR that proves that a record is there, or that it is not.
struct GetRecordProof: Method {
    static let nsid: Bytes = "com.atproto.sync.getRecord"
    static let kind = MethodKind.query
    static let access = XRPCAccess.viewer
    static let scope = OAuthRule.any

    struct Input: XRPCInput {
        let did: DID
        let path: RepoPath

        init(_ fields: Fields) throws(Failure) {
            did = try fields.required("did")
            path = RepoPath(try fields.required("collection"), try fields.required("rkey"))
        }
    }

    static func run(_ call: Call<Self>) throws -> Response {
        _ = try call.app.readable(call.input.did, by: call.caller)
        return .car(try call.app.repos.exportRecord(call.input.path, of: call.input.did))
    }
}

/// `com.atproto.sync.getBlocks`: blocks of a repository by CID, as a CAR without a root.
struct GetBlocks: Method {
    static let nsid: Bytes = "com.atproto.sync.getBlocks"
    static let kind = MethodKind.query
    static let access = XRPCAccess.viewer
    static let scope = OAuthRule.any

    struct Input: XRPCInput {
        let did: DID
        let cids: [CID]

        init(_ fields: Fields) throws(Failure) {
            did = try fields.required("did")
            cids = try fields.list("cids", countMax: RepoStore.blocksMax)
            if cids.isEmpty { throw fields.missing("cids") }
        }
    }

    static func run(_ call: Call<Self>) throws -> Response {
        let (did, cids) = (call.input.did, call.input.cids)
        _ = try call.app.readable(did, by: call.caller)
        let blocks = try call.app.repos.blocks(cids, of: did)
        let absent = cids.filter { blocks[$0] == nil }
        guard absent.isEmpty else {
            let names = absent.prefix(20).map(\.description).joined(separator: ",")
            throw Failure(.notFound, "BlockNotFound", "Could not find cids: \(names)")
        }
        var car: [UInt8] = []
        CARWriter.appendHeader(nil, to: &car)
        var seen: Set<CID> = []
        for cid in cids where seen.insert(cid).inserted {
            blocks[cid]?.withUnsafeBytes { CARWriter.append(cid, $0, to: &car) }
        }
        return .car(car)
    }
}

/// `com.atproto.sync.getLatestCommit`: the commit that a repository is at.
struct GetLatestCommit: Method {
    static let nsid: Bytes = "com.atproto.sync.getLatestCommit"
    static let kind = MethodKind.query
    static let access = XRPCAccess.viewer
    static let scope = OAuthRule.any
    typealias Input = RepoParameters

    struct Output: XRPCOutput {
        let state: RepoState

        func write(to writer: inout JSONWriter) {
            writer.beginObject()
            writer.field("cid", state.commit)
            writer.field("rev", state.rev.bytes)
            writer.endObject()
        }
    }

    static func run(_ call: Call<Self>) throws -> Output {
        Output(state: try call.app.readable(call.input.did, by: call.caller))
    }
}

/// `com.atproto.sync.getHead`: deprecated; the commit's CID alone.
struct GetHead: Method {
    static let nsid: Bytes = "com.atproto.sync.getHead"
    static let kind = MethodKind.query
    static let access = XRPCAccess.viewer
    static let scope = OAuthRule.any
    typealias Input = RepoParameters

    struct Output: XRPCOutput {
        let state: RepoState

        func write(to writer: inout JSONWriter) {
            writer.beginObject()
            writer.field("root", state.commit)
            writer.endObject()
        }
    }

    static func run(_ call: Call<Self>) throws -> Output {
        do {
            return Output(state: try call.app.readable(call.input.did, by: call.caller))
        } catch RepoError.repoNotFound(let did) {
            throw Failure(.notFound, "HeadNotFound", "Could not find root for DID: \(did)")
        }
    }
}

extension JSONWriter {
    /// The members `active` and, when it is not, `status`.
    mutating func status(_ status: RepoStatus) {
        field("active", status == .active)
        if status != .active { field("status", Bytes(status.rawValue)) }
    }
}

/// `com.atproto.sync.getRepoStatus`: whether a repository is served, and where it stands when it is.
struct GetRepoStatus: Method {
    static let nsid: Bytes = "com.atproto.sync.getRepoStatus"
    static let kind = MethodKind.query
    static let access = XRPCAccess.anyone
    static let scope = OAuthRule.none
    typealias Input = RepoParameters

    struct Output: XRPCOutput {
        let state: RepoState

        func write(to writer: inout JSONWriter) {
            writer.beginObject()
            writer.field("did", state.did.bytes)
            writer.status(state.status)
            if state.status == .active { writer.field("rev", state.rev.bytes) }
            writer.endObject()
        }
    }

    static func run(_ call: Call<Self>) throws -> Output {
        Output(state: try call.app.repos.state(of: call.input.did))
    }
}

/// `com.atproto.sync.listRepos`: every repository of this server, in the order of their making.
struct ListRepos: Method {
    static let nsid: Bytes = "com.atproto.sync.listRepos"
    static let kind = MethodKind.query
    static let access = XRPCAccess.anyone
    static let scope = OAuthRule.none

    struct Input: XRPCInput {
        let limit: Int
        let cursor: Bytes?

        init(_ fields: Fields) throws(Failure) {
            limit = try fields.integer("limit", in: 1...1_000, default: 500)
            cursor = try fields.optionalText("cursor")
        }
    }

    struct Output: XRPCOutput {
        let repos: [(state: RepoState, cursor: Int)]
        let isMore: Bool

        func write(to writer: inout JSONWriter) {
            writer.beginObject()
            if isMore, let last = repos.last { writer.field("cursor", Bytes(String(last.cursor))) }
            writer.beginArray("repos")
            for (state, _) in repos {
                writer.beginObject()
                writer.field("did", state.did.bytes)
                writer.field("head", state.commit)
                writer.field("rev", state.rev.bytes)
                writer.status(state.status)
                writer.endObject()
            }
            writer.endArray()
            writer.endObject()
        }
    }

    static func run(_ call: Call<Self>) throws -> Output {
        let after = try NumberCursor.read(call.input.cursor) ?? 0
        let repos = try call.app.repos.list(after: after, limit: call.input.limit)
        return Output(repos: repos, isMore: repos.count == call.input.limit)
    }
}

/// The cursor of a listing that is ordered by number.
enum NumberCursor {
    static func read(_ cursor: Bytes?) throws(Failure) -> Int? {
        guard let cursor else { return nil }
        guard let place = cursor.decimal else { throw .invalidRequest("Invalid cursor") }
        return place
    }
}

/// `com.atproto.sync.listReposByCollection`: the active repositories with records of one collection. A page may be
/// short, or empty, and have a cursor: one call looks at a limited count of repositories.
struct ListReposByCollection: Method {
    static let nsid: Bytes = "com.atproto.sync.listReposByCollection"
    static let kind = MethodKind.query
    static let access = XRPCAccess.anyone
    static let scope = OAuthRule.none

    struct Input: XRPCInput {
        let collection: NSID
        let limit: Int
        let cursor: Bytes?

        init(_ fields: Fields) throws(Failure) {
            collection = try fields.required("collection")
            limit = try fields.integer("limit", in: 1...2_000, default: 500)
            cursor = try fields.optionalText("cursor")
        }
    }

    struct Output: XRPCOutput {
        let dids: [DID]
        let next: Int?

        func write(to writer: inout JSONWriter) {
            writer.beginObject()
            if let next { writer.field("cursor", Bytes(String(next))) }
            writer.beginArray("repos")
            for did in dids {
                writer.beginObject()
                writer.field("did", did.bytes)
                writer.endObject()
            }
            writer.endArray()
            writer.endObject()
        }
    }

    static func run(_ call: Call<Self>) throws -> Output {
        let page = try call.app.repos.list(
            having: call.input.collection, after: try NumberCursor.read(call.input.cursor) ?? 0,
            limit: call.input.limit)
        return Output(dids: page.dids, next: page.next)
    }
}
