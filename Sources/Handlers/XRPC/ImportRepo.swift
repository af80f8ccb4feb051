internal import ATProto
internal import Authorization
internal import Base
internal import Hosting
internal import Repos
internal import Web

/// `com.atproto.repo.importRepo`: a CAR in the place of the caller's repository, all of it or nothing.
struct ImportRepo: Method {
    static let nsid: Bytes = "com.atproto.repo.importRepo"
    static let kind = MethodKind.procedure
    static let access = XRPCAccess.account(.full, even: .deactivated)
    static let scope = OAuthRule.account(.repo, .manage)
    static let body = BodyRule.stream

    static func charges(_ call: Call<Self>) -> [Charge] {
        [Charge(RateLimit.importRepo, key: call.caller.did.bytes)]
    }

    static func run(_ call: Call<Self>) throws -> NoOutput {
        let (app, did, body) = (call.app, call.caller.did, call.request.body)
        guard let type = call.request.headers["content-type"] else {
            throw Failure.invalidRequest("Request encoding (Content-Type) required but not provided")
        }
        guard XRPCResponder.mediaType(type) == Response.carType.bytes else {
            throw Failure.invalidRequest("Wrong request encoding (Content-Type): \(type.upTo(128))")
        }
        if let declared = call.request.contentLength, declared > app.imports.sizeMax {
            throw RepoImportError.tooLarge(max: app.imports.sizeMax)
        }
        let car = try app.imports.receive { try body.read(into: $0) }
        let outcome = try app.imports.replace(did, with: car, signers: app.life.signers(of: did))
        app.log.info(
            "import.done",
            [
                "did": .bytes(did.bytes), "size": .integer(car.size), "records": .integer(outcome.records),
                "nodes": .integer(outcome.nodes), "rev": .bytes(outcome.commit.rev.bytes),
                // The owner said that this is theirs, and the records are signed anew: not a reason to refuse. After a
                // move the reference hands out a commit that the key before its own had signed.
                "signed": .text(outcome.isSigned ? "yes" : "no"),
            ])
        return NoOutput()
    }
}
