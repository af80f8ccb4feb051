internal import ATProto
internal import Accounts
internal import Base
internal import Hosting
internal import Moderation
internal import Repos

extension XRPCResponder {
    static let subjects: [XRPCRoute] = [XRPCRoute(GetSubjectStatus.self), XRPCRoute(UpdateSubjectStatus.self)]
}

extension Subject {
    /// The subject of a request's body: an object with its type, of the kinds that the method takes.
    init(_ fields: Fields, blobs takesBlobs: Bool) throws(Failure) {
        let subject = try fields.object("subject")
        switch try subject.text("$type") {
        case WireType.account:
            self = .account(try subject.required("did"))
        case WireType.record:
            let uri: ATURI = try subject.required("uri")
            self = try Self.record(uri, try subject.required("cid"))
        case WireType.blob where takesBlobs:
            // Which record shows it does not matter: the blob is taken down wherever it is shown.
            let _: ATURI? = try subject.optional("recordUri")
            self = .blob(try subject.required("did"), try subject.required("cid"))
        default:
            throw .invalidRequest("Invalid subject")
        }
    }

    /// The record that a URI with a DID names.
    static func record(_ uri: ATURI, _ cid: CID?) throws(Failure) -> Subject {
        guard case .did(let did) = uri.authority, let collection = uri.collection, let rkey = uri.rkey else {
            throw .invalidRequest("The URI of a record begins with a DID and has a collection and a key")
        }
        return .record(did, RepoPath(collection, rkey), cid)
    }
}

/// `com.atproto.admin.defs#statusAttr`.
struct StatusAttribute: Sendable {
    let isApplied: Bool
    let reference: Bytes?

    /// Bytes of a reference that is kept.
    static let referenceSizeMax = AccountStore.noteSizeMax

    init(isApplied: Bool, reference: Bytes?) {
        self.isApplied = isApplied
        self.reference = reference
    }

    init?(_ name: StaticString, in fields: Fields) throws(Failure) {
        guard let object = try fields.optionalObject(name) else { return nil }
        guard let isApplied = try object.optionalBool("applied") else { throw object.missing("applied") }
        self.isApplied = isApplied
        reference = try object.optionalText("ref", sizeMax: Self.referenceSizeMax)
    }

    func write(to writer: inout JSONWriter) {
        writer.beginObject()
        writer.field("applied", isApplied)
        writer.field("ref", optional: reference)
        writer.endObject()
    }
}

/// What both methods answer; `deactivated` in one of them only.
struct SubjectStatus: XRPCOutput {
    let subject: Subject
    let takedown: StatusAttribute?
    var deactivated: StatusAttribute?

    func write(to writer: inout JSONWriter) {
        writer.beginObject()
        writer.key("subject" as StaticString)
        subject.write(to: &writer)
        if let takedown {
            writer.key("takedown" as StaticString)
            takedown.write(to: &writer)
        }
        if let deactivated {
            writer.key("deactivated" as StaticString)
            deactivated.write(to: &writer)
        }
        writer.endObject()
    }
}

/// `com.atproto.admin.getSubjectStatus`: whether an account, a record or a blob is taken down.
struct GetSubjectStatus: Method {
    static let nsid: Bytes = "com.atproto.admin.getSubjectStatus"
    static let kind = MethodKind.query
    static let access = XRPCAccess.moderator(nsid)
    static let scope = OAuthRule.none

    struct Input: XRPCInput {
        let did: DID?
        let uri: ATURI?
        let blob: CID?

        init(_ fields: Fields) throws(Failure) {
            did = try fields.optional("did")
            uri = try fields.optional("uri")
            blob = try fields.optional("blob")
        }
    }

    static func run(_ call: Call<Self>) throws -> SubjectStatus {
        let (input, app) = (call.input, call.app)
        func attribute(_ takedown: ContentTakedown?) -> StatusAttribute {
            StatusAttribute(isApplied: takedown != nil, reference: takedown?.reference)
        }
        if let cid = input.blob {
            guard let did = input.did else { throw Failure.invalidRequest("Must provide a did to request blob state") }
            _ = try app.subject(.did(did))
            let takedown = try app.takedowns.find(cid, of: did)
            guard try takedown != nil || app.blobs.isKnown(cid, of: did) else { throw absent }
            return SubjectStatus(subject: .blob(did, cid), takedown: attribute(takedown))
        }
        if let uri = input.uri {
            guard case .record(let did, let path, _) = try Subject.record(uri, nil) else { throw absent }
            _ = try app.subject(.did(did))
            let takedown = try app.takedowns.find(path, of: did)
            guard let cid = try app.takedowns.current(path, of: did) ?? takedown?.cid else { throw absent }
            return SubjectStatus(subject: .record(did, path, cid), takedown: attribute(takedown))
        }
        guard let did = input.did else { throw Failure.invalidRequest("No provided subject") }
        guard let details = try app.accounts.details(of: did) else { throw Failure.noAccount }
        return SubjectStatus(
            subject: .account(did),
            takedown: StatusAttribute(isApplied: details.takenDownAt != nil, reference: details.takedownReference),
            deactivated: StatusAttribute(isApplied: details.deactivatedAt != nil, reference: nil))
    }

    private static let absent = Failure.notFound("Subject not found")
}

/// `com.atproto.admin.updateSubjectStatus`: takes an account, a record or a blob down, or lifts that; deactivates an
/// account, or activates it.
struct UpdateSubjectStatus: Method {
    static let nsid: Bytes = "com.atproto.admin.updateSubjectStatus"
    static let kind = MethodKind.procedure
    static let access = XRPCAccess.moderator(nsid)
    static let scope = OAuthRule.none

    struct Input: XRPCInput {
        let subject: Subject
        let takedown: StatusAttribute?
        let deactivated: StatusAttribute?

        init(_ fields: Fields) throws(Failure) {
            subject = try Subject(fields, blobs: true)
            takedown = try StatusAttribute("takedown", in: fields)
            deactivated = try StatusAttribute("deactivated", in: fields)
        }
    }

    static func run(_ call: Call<Self>) throws -> SubjectStatus {
        let (input, administration) = (call.input, call.app.administration)
        _ = try call.app.subject(.did(input.subject.did))
        if let takedown = input.takedown {
            do {
                try administration.setTakedown(
                    takedown.isApplied, of: input.subject, reference: takedown.reference, by: call.caller.actor)
            } catch RepoError.recordNotFound, RepoError.blobNotFound {
                throw Failure.notFound("Subject not found")
            }
        }
        if let deactivated = input.deactivated {
            guard case .account(let did) = input.subject else {
                throw Failure.invalidRequest("Only an account can be deactivated")
            }
            try administration.setDeactivated(deactivated.isApplied, of: did, by: call.caller.actor)
        }
        return SubjectStatus(subject: input.subject, takedown: input.takedown)
    }
}
