internal import ATProto
internal import Base
internal import Lexicons
internal import Repos
internal import Web

/// `com.atproto.repo.applyWrites`: several changes in one commit, all of them or none.
struct ApplyWrites: Method {
    static let nsid: Bytes = "com.atproto.repo.applyWrites"
    static let kind = MethodKind.procedure
    static let access = XRPCAccess.writer(.any)
    static let paysInRun = true
    static let scope = OAuthRule.eachWrite
    static let body = BodyRule.record

    struct Input: XRPCInput {
        let repo: ATIdentifier
        let validate: Bool?
        let writes: [Write]
        let swapCommit: CID?

        init(_ fields: Fields) throws(Failure) {
            repo = try fields.required("repo")
            validate = try fields.optionalBool("validate")
            let objects = try fields.objects("writes")
            guard objects.count <= RepoStore.writesMax else {
                throw .invalidRequest("Too many writes. Max: \(RepoStore.writesMax)")
            }
            var writes: [Write] = []
            writes.reserveCapacity(objects.count)
            for object in objects { writes.append(try Write(object)) }
            self.writes = writes
            swapCommit = try fields.optional("swapCommit")
        }
    }

    /// One member of the union `writes`.
    enum Write: Sendable {
        case create(NSID, RecordKey?, Value)
        case update(RepoPath, Value)
        case delete(RepoPath)

        init(_ fields: Fields) throws(Failure) {
            let type = try fields.text("$type")
            let collection: NSID = try fields.required("collection")
            switch type {
            case ApplyWrites.nsid + "#create":
                self = .create(collection, try fields.optional("rkey"), try fields.record("value"))
            case ApplyWrites.nsid + "#update":
                self = .update(RepoPath(collection, try fields.required("rkey")), try fields.record("value"))
            case ApplyWrites.nsid + "#delete":
                self = .delete(RepoPath(collection, try fields.required("rkey")))
            default: throw fields.wrong("$type", "must be #create, #update or #delete of \(ApplyWrites.nsid)")
            }
        }

        var cost: Int {
            switch self {
            case .create: WriteCost.create
            case .update: WriteCost.update
            case .delete: WriteCost.delete
            }
        }
    }

    struct Output: XRPCOutput {
        struct Result {
            let type: StaticString
            let uri: ATURI
            let cid: CID?
            let validation: LexiconCatalog.Outcome
        }

        let commit: CommitInfo?
        let results: [Result]

        func write(to writer: inout JSONWriter) {
            writer.beginObject()
            writer.commit(commit)
            writer.beginArray("results")
            for result in results {
                writer.beginObject()
                writer.field("$type", ApplyWrites.nsid + Bytes(stringLiteral: result.type))
                if let cid = result.cid {
                    writer.field("uri", result.uri.bytes)
                    writer.field("cid", cid)
                    writer.field("validationStatus", optional: result.validation.status)
                }
                writer.endObject()
            }
            writer.endArray()
            writer.endObject()
        }
    }

    static func charges(_ call: Call<Self>) -> [Charge] {
        let cost = call.input.writes.reduce(0) { $0 + $1.cost }
        return cost == 0 ? [] : [.repoWrites(call.caller.did.bytes, cost: cost)]
    }

    static func run(_ call: Call<Self>) throws -> Output {
        let grant = try call.caller.grant(call.input.repo, call.app)
        var writes: [RecordWrite] = []
        var results: [Output.Result] = []
        for write in call.input.writes {
            let (prepared, result) = try prepare(write, grant, call)
            writes.append(prepared)
            results.append(result)
        }
        let outcome = try call.app.apply(writes, grant, expecting: call.input.swapCommit, call.bill)
        return Output(commit: outcome.commit, results: results)
    }

    private static func prepare(
        _ write: Write, _ grant: WriteGrant, _ call: Call<Self>
    ) throws -> (RecordWrite, Output.Result) {
        let path: RepoPath
        let value: Value
        switch write {
        case .delete(let gone):
            let result = Output.Result(
                type: "#deleteResult", uri: ATURI(grant.did, gone), cid: nil, validation: .skipped)
            return (RecordWrite(gone, .delete), result)
        case .create(let collection, let rkey, let record):
            path = try call.app.path(collection, rkey)
            value = record
        case .update(let place, let record):
            path = place
            value = record
        }
        let validation = try call.app.lexicons.check(value, at: path, asked: call.input.validate)
        let record = try RecordBlock(path, value)
        var isCreation = false
        if case .create = write { isCreation = true }
        let result = Output.Result(
            type: isCreation ? "#createResult" : "#updateResult", uri: ATURI(grant.did, path), cid: record.cid,
            validation: validation)
        return (RecordWrite(path, isCreation ? .create(record) : .update(record)), result)
    }
}
