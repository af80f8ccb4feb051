internal import ATProto
internal import Accounts
internal import Assembly
internal import Base
internal import Net
internal import Repos

extension Command {
    static let blobsCheck = Command(
        "blobs check",
        options: [
            Option(name: "quick", value: nil, help: "look at names and lengths, and read no file"),
            Option(
                name: "recover", value: nil,
                help: "first give blobs without bytes those that are stored under another name (after a restore)"),
        ],
        summary: "holds the blobs' rows against their files, and reads and hashes each file"
    ) { invocation in
        let service = try AccountTool.service()
        let output = invocation.output
        if invocation.has("recover") { output.line("\(try service.blobs.recover()) blobs have their bytes again") }
        var (problems, last) = (0, 0)
        try service.blobs.check(hashing: !invocation.has("quick")) { done, all in
            // A line for every hundredth of them, at most.
            guard done == all || (done - last) * 100 >= all else { return }
            last = done
            output.line("\(done) of \(all)")
        } _: { problem in
            problems += 1
            output.line(sentence(problem))
        }
        output.line(problems == 0 ? "all blobs are what they should be" : "\(problems) problems")
        return problems == 0 ? 0 : 1
    }

    private static func sentence(_ problem: BlobStore.Problem) -> String {
        switch problem {
        case .missing(let did, let cid):
            "missing: \(cid) of \(did) (skystead blobs check --recover, a backup, or its owner)"
        case .damaged(let cid): "damaged: \(cid) is not what its name says (a backup, or its owner, has it)"
        case .size(let did, let cid): "wrong length: \(cid) of \(did)"
        case .unnamed(let place, let name): "of nobody: blobs/\(name) \(Self.place(place)) may be removed"
        case .storageUse(let did, let stored, let counted):
            "\(did) is said to take up \(stored) bytes with blobs, which are \(counted)"
        }
    }

    private static func place(_ place: BlobPlace) -> String {
        switch place {
        case .disk: "on the disk"
        case .s3: "in the bucket"
        }
    }

    /// Bytes of moved blobs after which the state is said anew.
    private static let moveStep = 256 << 20

    static let blobsMove = Command(
        "blobs move", arguments: ["disk|s3"],
        summary: "moves the bytes of all blobs to the disk or to S3, while the service runs"
    ) { invocation in
        guard let place = BlobPlace(rawValue: invocation.arguments[0]) else {
            throw ToolError.usage("'\(invocation.arguments[0])' is neither disk nor s3", command: "blobs move")
        }
        let output = invocation.output
        let service = try AccountTool.service()
        let blobs = try BlobParts.store(service.settings, service.paths, service.database, .system, into: place)
        var (said, last) = (0, 0)
        let done: BlobStore.MoveProgress
        do {
            done = try blobs.move(entropy: .system) { state in
                let count = state.moved + state.left
                guard (count - last) * 100 >= state.all || state.bytes - said >= moveStep else { return }
                (said, last) = (state.bytes, count)
                output.line("\(count) of \(state.all), \(state.bytes >> 20) MiB")
            } _: { problem in
                output.line(sentence(problem))
            }
        } catch BlobStorageError.notConfigured {
            throw ToolError("the settings name no bucket", remedy: "SKYSTEAD_S3_ENDPOINT and those beside it")
        } catch let error as S3Error {
            throw ToolError(
                "the bucket: \(error); what was moved so far stays moved", remedy: error.remedy + ", and begin again")
        }
        output.line("\(done.moved) moved\(done.left > 0 ? ", \(done.left) stay where they were" : "")")
        if done.moved > 0 { output.line("the old copies are removed by `collect`, an hour from now at the earliest") }
        if place.rawValue != service.settings[Settings.blobPlace].description {
            output.line("new blobs still go elsewhere: set \(Settings.blobPlace.key)=\(place.rawValue)")
        }
        return done.left == 0 ? 0 : 1
    }

    static let blobsRestore = Command(
        "blobs restore", arguments: ["HANDLE-OR-DID", "[CID]"],
        summary: "brings back an account's blobs that were removed in the last days: one, or all"
    ) { invocation in
        var cid: CID?
        if invocation.arguments.count > 1 {
            cid = CID(text: Bytes(invocation.arguments[1]))
            if cid == nil {
                throw ToolError.usage("'\(invocation.arguments[1])' is not a CID", command: "blobs restore")
            }
        }
        let service = try AccountTool.service()
        let account = try AccountTool.account(invocation.arguments[0], service, command: "blobs restore")
        do {
            let count = try service.blobs.restore(cid, of: account.did)
            guard cid == nil || count > 0 else { throw ToolError("there is no such blob in the trash") }
            invocation.output.line("\(count) blobs are back")
        } catch RepoError.blobNotFound(let cid) {
            throw ToolError("the file of \(cid) is gone", remedy: "a backup has it")
        } catch RepoError.quotaExceeded(let max) {
            throw ToolError("the account may take up \(max) bytes", remedy: "SKYSTEAD_QUOTA_HARD")
        }
        return 0
    }
}
