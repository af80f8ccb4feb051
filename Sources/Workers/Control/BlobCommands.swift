internal import ATProto
internal import Accounts
internal import Assembly
internal import Base
internal import Repos

extension Command {
    static let blobsCheck = Command(
        "blobs check",
        options: [Option(name: "quick", value: nil, help: "look at names and lengths, and read no file")],
        summary: "holds the blobs' rows against their files, and reads and hashes each file"
    ) { invocation in
        let service = try AccountTool.service()
        let output = invocation.output
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
        case .missing(let did, let cid): "missing: \(cid) of \(did) (skystead blobs restore, or a backup)"
        case .damaged(let cid): "damaged: \(cid) is not what its name says (a backup, or its owner, has it)"
        case .size(let did, let cid): "wrong length: \(cid) of \(did)"
        case .unnamed(let path): "of nobody: blobs/\(path) may be removed"
        case .storageUse(let did, let stored, let counted):
            "\(did) is said to take up \(stored) bytes with blobs, which are \(counted)"
        }
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
