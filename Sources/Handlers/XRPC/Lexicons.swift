internal import ATProto
internal import Base
internal import Lexicons
internal import Web

extension XRPCResponder {
    static let lexicons: [XRPCRoute] = [XRPCRoute(ResolveLexicon.self)]
}

/// `com.atproto.lexicon.resolveLexicon`: the lexicon that its authority has published under a name, proved.
struct ResolveLexicon: Method {
    static let nsid: Bytes = "com.atproto.lexicon.resolveLexicon"
    static let kind = MethodKind.query
    static let access = XRPCAccess.anyone
    static let scope = OAuthRule.none

    struct Input: XRPCInput {
        let nsid: NSID
        init(_ fields: Fields) throws(Failure) { nsid = try fields.required("nsid") }
    }

    struct Output: MethodOutput {
        let lexicon: PublishedLexicon

        func response() throws -> Response {
            var writer = JSONWriter(capacity: lexicon.document.count * 2 + 512)
            writer.beginObject()
            writer.field("cid", lexicon.cid)
            writer.key("schema")
            try writer.cbor(lexicon.document)
            writer.field("uri", lexicon.uri.bytes)
            writer.endObject()
            return .json(writer)
        }
    }

    /// Free when it can be answered from here.
    static func charges(_ call: Call<Self>) -> [Charge] {
        let isHere = (try? call.app.lexiconUpdates.cached(call.input.nsid)) ?? nil != nil
        return isHere ? [] : [.resolve(call.request.peer)]
    }

    static func run(_ call: Call<Self>) throws -> Output {
        Output(lexicon: try call.app.lexiconUpdates.published(call.input.nsid))
    }
}

extension LexiconError: XRPCReportable {
    var failure: Failure {
        switch self {
        case .notFound(let nsid): Self.notFound("No lexicon was found for \(nsid)")
        case .ambiguous(let nsid): Self.notFound("The domain of \(nsid) names more than one account")
        case .unproved(let nsid): Self.notFound("The lexicon of \(nsid) is not signed by its authority")
        case .rolledBack(let nsid): Self.notFound("The lexicon of \(nsid) is of an older revision than before")
        case .invalid(let nsid, let problem):
            Self.notFound("The record of \(nsid) is no lexicon: \(problem.sentence("Lexicon"))")
        case .unreachable: .upstream("Could not reach the lexicon's authority")
        }
    }

    private static func notFound(_ message: String) -> Failure { Failure(.notFound, "LexiconNotFound", message) }
}

extension RecordInvalid: XRPCReportable {
    var failure: Failure { .invalidRequest("Invalid \(collection) record: \(problem)") }
}

extension UnknownLexicon: XRPCReportable {
    var failure: Failure { .invalidRequest("Unknown lexicon type: \(name)") }
}
