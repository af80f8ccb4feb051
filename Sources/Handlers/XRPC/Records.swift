internal import ATProto
internal import Accounts
internal import Authorization
internal import Base
internal import Hosting
internal import Identity
internal import Lexicons
internal import Repos
internal import Web

extension XRPCResponder {
    static let records: [XRPCRoute] = [
        XRPCRoute(CreateRecord.self), XRPCRoute(PutRecord.self), XRPCRoute(DeleteRecord.self),
        XRPCRoute(ApplyWrites.self), XRPCRoute(GetRecord.self), XRPCRoute(ListRecords.self),
        XRPCRoute(DescribeRepo.self),
    ]
}

extension BodyRule {
    /// What a record may take as JSON: as much as its block may.
    static let record = BodyRule.json(sizeMax: RecordBlock.sizeMax)
}

/// Points of the repository-write budget (specs/pds.md §2.4).
enum WriteCost {
    static let create = 3
    static let update = 2
    static let delete = 1
}

extension XRPCApp {
    /// Does `writes` to the caller's own repository, and pays for them in the same transaction.
    func apply(
        _ writes: [RecordWrite], _ grant: WriteGrant, expecting commit: CID?, _ bill: Bill
    ) throws -> WriteOutcome {
        try repos.apply(writes, to: grant.did, expecting: commit, alongside: { try bill.pay(in: $0) })
    }

    /// Where a new record goes when its caller leaves the key open: under the one that its type has, else a new one.
    func path(_ collection: NSID, _ key: RecordKey?) throws -> RepoPath {
        RepoPath(collection, try key ?? lexicons.onlyKey(of: collection) ?? repos.newRecordKey())
    }

    /// Whose records `repo` names. A DID is not looked up: the stores show those of active repositories only.
    func did(of repo: ATIdentifier) throws -> DID? {
        if case .did(let did) = repo { return did }
        return try accounts.find(repo)?.did
    }
}

/// What a write answers: the record's place, and the commit unless nothing changed.
struct WrittenRecord: XRPCOutput {
    let uri: ATURI
    let cid: CID
    let commit: CommitInfo?
    let validation: LexiconCatalog.Outcome

    func write(to writer: inout JSONWriter) {
        writer.beginObject()
        writer.field("uri", uri.bytes)
        writer.field("cid", cid)
        writer.commit(commit)
        writer.field("validationStatus", optional: validation.status)
        writer.endObject()
    }
}

extension LexiconCatalog.Outcome {
    /// `validationStatus`; none when there was no check.
    var status: Bytes? {
        switch self {
        case .valid: "valid"
        case .unknown: "unknown"
        case .skipped: nil
        }
    }
}

extension JSONWriter {
    /// The member `commit`, or nothing.
    mutating func commit(_ commit: CommitInfo?) {
        guard let commit else { return }
        beginObject("commit")
        field("cid", commit.cid)
        field("rev", commit.rev.bytes)
        endObject()
    }
}

/// `com.atproto.repo.createRecord`: one new record, under a key that is given or made.
struct CreateRecord: Method {
    static let nsid: Bytes = "com.atproto.repo.createRecord"
    static let kind = MethodKind.procedure
    static let access = XRPCAccess.writer(.any)
    static let paysInRun = true
    static let scope = OAuthRule.repo([.create])
    static let body = BodyRule.record

    struct Input: XRPCInput {
        let repo: ATIdentifier
        let collection: NSID
        let rkey: RecordKey?
        let validate: Bool?
        let record: Value
        let swapCommit: CID?

        init(_ fields: Fields) throws(Failure) {
            repo = try fields.required("repo")
            collection = try fields.required("collection")
            rkey = try fields.optional("rkey")
            validate = try fields.optionalBool("validate")
            record = try fields.record("record")
            swapCommit = try fields.optional("swapCommit")
        }
    }

    static func charges(_ call: Call<Self>) -> [Charge] {
        [.repoWrites(call.caller.did.bytes, cost: WriteCost.create)]
    }

    static func run(_ call: Call<Self>) throws -> WrittenRecord {
        let input = call.input
        let grant = try call.caller.grant(input.repo, call.app)
        let path = try call.app.path(input.collection, input.rkey)
        let validation = try call.app.lexicons.check(input.record, at: path, asked: input.validate)
        let record = try RecordBlock(path, input.record)
        let outcome = try call.app.apply(
            [RecordWrite(path, .create(record))], grant, expecting: input.swapCommit, call.bill)
        return WrittenRecord(
            uri: ATURI(grant.did, path), cid: record.cid, commit: outcome.commit, validation: validation)
    }
}

/// `com.atproto.repo.putRecord`: creates a record or replaces it. The same record again makes no commit.
struct PutRecord: Method {
    static let nsid: Bytes = "com.atproto.repo.putRecord"
    static let kind = MethodKind.procedure
    static let access = XRPCAccess.writer(.any)
    static let paysInRun = true
    static let scope = OAuthRule.repo([.create, .update])
    static let body = BodyRule.record

    struct Input: XRPCInput {
        let repo: ATIdentifier
        let path: RepoPath
        let validate: Bool?
        let record: Value
        let expectation: RecordWrite.Expectation
        let swapCommit: CID?

        init(_ fields: Fields) throws(Failure) {
            repo = try fields.required("repo")
            path = RepoPath(try fields.required("collection"), try fields.required("rkey"))
            validate = try fields.optionalBool("validate")
            record = try fields.record("record")
            let swap: CID?? = try fields.nullable("swapRecord")
            expectation = swap.map { $0.map { .record($0) } ?? .nothing } ?? .anything
            swapCommit = try fields.optional("swapCommit")
        }
    }

    static func charges(_ call: Call<Self>) -> [Charge] {
        [.repoWrites(call.caller.did.bytes, cost: WriteCost.update)]
    }

    static func run(_ call: Call<Self>) throws -> WrittenRecord {
        let input = call.input
        let grant = try call.caller.grant(input.repo, call.app)
        let validation = try call.app.lexicons.check(input.record, at: input.path, asked: input.validate)
        let record = try RecordBlock(input.path, input.record)
        let outcome = try call.app.apply(
            [RecordWrite(input.path, .put(record), expecting: input.expectation)], grant,
            expecting: input.swapCommit, call.bill)
        return WrittenRecord(
            uri: ATURI(grant.did, input.path), cid: record.cid, commit: outcome.commit, validation: validation)
    }
}

/// `com.atproto.repo.deleteRecord`: removes one record, or does nothing when it is not there.
struct DeleteRecord: Method {
    static let nsid: Bytes = "com.atproto.repo.deleteRecord"
    static let kind = MethodKind.procedure
    static let access = XRPCAccess.writer(.any)
    static let paysInRun = true
    static let scope = OAuthRule.repo([.delete])

    struct Input: XRPCInput {
        let repo: ATIdentifier
        let path: RepoPath
        let swapRecord: CID?
        let swapCommit: CID?

        init(_ fields: Fields) throws(Failure) {
            repo = try fields.required("repo")
            path = RepoPath(try fields.required("collection"), try fields.required("rkey"))
            swapRecord = try fields.optional("swapRecord")
            swapCommit = try fields.optional("swapCommit")
        }
    }

    struct Output: XRPCOutput {
        let commit: CommitInfo?

        func write(to writer: inout JSONWriter) {
            writer.beginObject()
            writer.commit(commit)
            writer.endObject()
        }
    }

    static func charges(_ call: Call<Self>) -> [Charge] {
        [.repoWrites(call.caller.did.bytes, cost: WriteCost.delete)]
    }

    static func run(_ call: Call<Self>) throws -> Output {
        let input = call.input
        let grant = try call.caller.grant(input.repo, call.app)
        let write = RecordWrite(
            input.path, .deleteIfPresent, expecting: input.swapRecord.map { .record($0) } ?? .anything)
        return Output(commit: try call.app.apply([write], grant, expecting: input.swapCommit, call.bill).commit)
    }
}

// MARK: Reading

/// `com.atproto.repo.getRecord`: one record of an account of this server; those of others are the AppView's to give.
struct GetRecord: Method {
    static let nsid: Bytes = "com.atproto.repo.getRecord"
    static let kind = MethodKind.query
    static let access = XRPCAccess.anyone
    static let scope = OAuthRule.none

    struct Input: XRPCInput {
        let repo: ATIdentifier
        let path: RepoPath
        let cid: CID?

        init(_ fields: Fields) throws(Failure) {
            repo = try fields.required("repo")
            path = RepoPath(try fields.required("collection"), try fields.required("rkey"))
            cid = try fields.optional("cid")
        }
    }

    static func run(_ call: Call<Self>) throws -> Response {
        let input = call.input
        guard let did = try call.app.did(of: input.repo) else { return try foreign(call) }
        let uri = ATURI(did, input.path)
        let found = try call.app.records.get(input.path, of: did) { cid, value -> JSONWriter? in
            if let wanted = input.cid, wanted != cid { return nil }
            var writer = JSONWriter(capacity: value.count * 2 + 512)
            writer.beginObject()
            writer.field("uri", uri.bytes)
            writer.field("cid", cid)
            writer.key("value")
            try writer.cbor(value)
            writer.endObject()
            return writer
        }
        guard let writer = found ?? nil else { return try foreign(call) }
        return .json(writer)
    }

    /// What the AppView has, when the repository is none of this server's active ones. What is not in one of those is
    /// nowhere, and said here: clients know `RecordNotFound`, and nothing of an AppView.
    private static func foreign(_ call: Call<Self>) throws -> Response {
        let (repo, app) = (call.input.repo, call.app)
        let isOwnName = repo.handle.map { app.handlePolicy.domain(of: $0) != nil } ?? false
        guard let appView = app.upstream.appView, !isOwnName, try app.accounts.find(repo)?.state.isActive != true
        else { throw absent(call.input) }
        return try Forwarding(request: call.request, method: nsid, app: app).foreignRecord(at: appView)
    }

    private static func absent(_ input: Input) -> Failure {
        Failure(.notFound, "RecordNotFound", "Could not locate record: at://\(input.repo)/\(input.path)")
    }
}

/// `com.atproto.repo.listRecords`: the records of one collection, the newest key first.
struct ListRecords: Method {
    static let nsid: Bytes = "com.atproto.repo.listRecords"
    static let kind = MethodKind.query
    static let access = XRPCAccess.anyone
    static let scope = OAuthRule.none

    struct Input: XRPCInput {
        let repo: ATIdentifier
        let collection: NSID
        let limit: Int
        let cursor: Bytes?
        let isReversed: Bool

        init(_ fields: Fields) throws(Failure) {
            repo = try fields.required("repo")
            collection = try fields.required("collection")
            limit = try fields.integer("limit", in: 1...RecordStore.limitMax, default: 50)
            cursor = try fields.optionalText("cursor", sizeMax: RecordKey.sizeMax)
            isReversed = try fields.bool("reverse", default: false)
        }
    }

    static func run(_ call: Call<Self>) throws -> Response {
        let input = call.input
        guard let did = try call.app.did(of: input.repo) else { throw unknown(input.repo) }
        let prefix = "at://" + did.bytes + "/" + input.collection.bytes + "/"
        var last: [UInt8] = []
        last.reserveCapacity(64)
        var writer = JSONWriter(capacity: 32_768)
        writer.beginObject()
        writer.beginArray("records")
        do {
            try call.app.records.list(
                input.collection, of: did, limit: input.limit, cursor: input.cursor, ascending: input.isReversed
            ) { rkey, cid, value in
                last.removeAll(keepingCapacity: true)
                last.append(contentsOf: rkey)
                writer.beginObject()
                writer.key("uri")
                writer.string(prefix, rkey)
                writer.field("cid", cid)
                writer.key("value")
                try writer.cbor(value)
                writer.endObject()
            }
        } catch RepoError.repoNotFound, RepoError.notActive {
            throw unknown(input.repo)
        }
        writer.endArray()
        if !last.isEmpty { writer.field("cursor", Bytes(last)) }
        writer.endObject()
        return .json(writer)
    }

    private static func unknown(_ repo: ATIdentifier) -> Failure {
        .invalidRequest("Could not find repo: \(repo)")
    }
}

/// `com.atproto.repo.describeRepo`: whose repository it is and which collections it has.
struct DescribeRepo: Method {
    static let nsid: Bytes = "com.atproto.repo.describeRepo"
    static let kind = MethodKind.query
    static let access = XRPCAccess.anyone
    static let scope = OAuthRule.none

    struct Input: XRPCInput {
        let repo: ATIdentifier

        init(_ fields: Fields) throws(Failure) { repo = try fields.required("repo") }
    }

    struct Output: XRPCOutput {
        let did: DID
        let handle: Handle
        let document: Bytes
        let collections: [NSID]
        let isHandleCorrect: Bool

        func write(to writer: inout JSONWriter) {
            writer.beginObject()
            writer.field("handle", handle.bytes)
            writer.field("did", did.bytes)
            writer.field("didDoc", raw: document)
            writer.field("collections", collections.map(\.bytes))
            writer.field("handleIsCorrect", isHandleCorrect)
            writer.endObject()
        }
    }

    static func run(_ call: Call<Self>) throws -> Output {
        let app = call.app
        guard let account = try app.accounts.find(call.input.repo) else {
            throw Failure.invalidRequest("Could not find repo: \(call.input.repo)")
        }
        guard account.state.isActive else { throw RepoError.notActive(account.did, account.state.repoStatus) }
        guard let document = app.documentIfKnown(account) else {
            throw Failure.invalidRequest("Could not resolve DID: \(account.did)")
        }
        return Output(
            did: account.did, handle: account.shownHandle, document: document,
            collections: try app.records.collections(of: account.did),
            isHandleCorrect: DocumentHandle.first(in: document) == account.handle)
    }
}

/// The handle that a DID document claims: the first `at://` name of `alsoKnownAs`.
enum DocumentHandle {
    static func first(in document: Bytes) -> Handle? {
        guard let value = try? JSON.parsePlain(document) else { return nil }
        for name in value["alsoKnownAs"]?.array ?? [] {
            guard let text = name.text, text.starts(with: "at://") else { continue }
            return Handle(text.from(5))
        }
        return nil
    }
}

extension Response {
    static func json(_ text: JSONWriter) -> Response {
        var writer = text
        var response = Response(status: 200, body: .bytes(writer.finish()))
        response.append("Content-Type", "application/json; charset=utf-8")
        return response
    }
}
