internal import ATProto
internal import Base
internal import Hosting
internal import Moderation
internal import Web

extension XRPCResponder {
    static let moderation: [XRPCRoute] = [
        XRPCRoute(CreateReport.self), XRPCRoute(QueryLabels.self), XRPCRoute(FetchLabels.self),
    ]
}

/// `com.atproto.moderation.createReport`: keeps a report for the operator, and passes it on to a labeler: the one of
/// the header `atproto-proxy`, else the operator's.
struct CreateReport: Method {
    static let nsid = ReportStore.method
    static let kind = MethodKind.procedure
    /// Also for those who are taken down: it is how they appeal.
    static let access = XRPCAccess.account(.any, even: [.deactivated, .takenDown])
    static let scope = OAuthRule.rpcItself

    struct Input: XRPCInput {
        let reasonType: Bytes
        let reason: Bytes?
        let subject: Subject

        init(_ fields: Fields) throws(Failure) {
            guard let type = try fields.optionalText("reasonType", sizeMax: ReportStore.reasonTypeSizeMax),
                !type.isEmpty
            else { throw fields.missing("reasonType") }
            reasonType = type
            reason = try fields.optionalText("reason", sizeMax: ReportStore.reasonSizeMax)
            subject = try Subject(fields, blobs: false)
            // Which app it came from decides nothing here.
            _ = try fields.optionalObject("modTool")
        }
    }

    struct Output: XRPCOutput {
        let report: Report

        func write(to writer: inout JSONWriter) {
            writer.beginObject()
            writer.field("id", report.id)
            writer.field("reasonType", report.reasonType)
            writer.field("reason", optional: report.reason)
            writer.key("subject" as StaticString)
            report.subject.write(to: &writer)
            writer.field("reportedBy", optional: report.reportedBy?.bytes)
            writer.field("createdAt", report.createdAt)
            writer.endObject()
        }
    }

    static func charges(_ call: Call<Self>) -> [Charge] {
        [Charge(RateLimit.createReport, key: call.caller.did.bytes)]
    }

    static func run(_ call: Call<Self>) throws -> Output {
        let input = call.input
        return Output(
            report: try call.app.reports.file(
                NewReport(
                    subject: input.subject, reasonType: input.reasonType, reason: input.reason,
                    reportedBy: call.caller.did, forwardTo: try labeler(call))))
    }

    /// `did#service` of the header, whose form the protocol fixes. https://atproto.com/specs/xrpc (service proxying)
    private static func labeler(_ call: Call<Self>) throws(Failure) -> Bytes? {
        guard let header = call.request.headers[UpstreamTarget.header] else { return nil }
        let hash = header.position(of: 0x23) ?? header.count
        guard DID(header.upTo(hash)) != nil, header.count > hash + 1,
            header.count <= UpstreamTarget.headerSizeMax,
            header.allSatisfy({ $0 > 0x20 && $0 < 0x7F })
        else { throw .invalidRequest("Invalid atproto-proxy header") }
        return header
    }
}

extension JSONWriter {
    /// `com.atproto.label.defs#label`, unsigned.
    fileprivate mutating func label(_ label: Label, by source: DID) {
        beginObject()
        field("ver", 1)
        field("src", source.bytes)
        field("uri", label.uri)
        if let cid = label.cid { field("cid", cid) }
        field("val", label.value)
        field("cts", label.createdAt)
        endObject()
    }
}

/// `com.atproto.label.queryLabels`: what this server itself has taken down, as labels.
struct QueryLabels: Method {
    static let nsid: Bytes = "com.atproto.label.queryLabels"
    static let kind = MethodKind.query
    static let access = XRPCAccess.anyone
    static let scope = OAuthRule.none

    /// Labels that one call looks at. A page may be short, or empty, and have a cursor.
    static let searchedMax = 2_000

    struct Input: XRPCInput {
        let patterns: [Bytes]
        let sources: [DID]
        let limit: Int
        let cursor: Bytes?

        init(_ fields: Fields) throws(Failure) {
            patterns = try fields.list("uriPatterns", countMax: 100)
            if patterns.isEmpty { throw fields.missing("uriPatterns") }
            sources = try fields.list("sources", countMax: 100)
            limit = try fields.integer("limit", in: 1...250, default: 50)
            cursor = try fields.optionalText("cursor")
        }

        /// A pattern is a URI, or with `*` at its end all that begin so.
        func matches(_ uri: Bytes) -> Bool {
            patterns.contains { $0.last == 0x2A ? uri.starts(with: $0.upTo($0.count - 1)) : uri == $0 }
        }
    }

    struct Output: XRPCOutput {
        let labels: [Label]
        let source: DID
        let next: Int?

        func write(to writer: inout JSONWriter) {
            writer.beginObject()
            if let next { writer.field("cursor", Bytes(String(next))) }
            writer.beginArray("labels")
            for label in labels { writer.label(label, by: source) }
            writer.endArray()
            writer.endObject()
        }
    }

    static func run(_ call: Call<Self>) throws -> Output {
        let (input, app) = (call.input, call.app)
        let source = app.settings.serviceDID
        guard !input.patterns.contains(where: { $0.dropLast().contains(0x2A) }) else {
            throw Failure.invalidRequest("Only the end of a pattern can be *")
        }
        guard input.sources.isEmpty || input.sources.contains(source) else {
            return Output(labels: [], source: source, next: nil)
        }
        let labels = try app.labels.list(after: try NumberCursor.read(input.cursor) ?? 0, limit: searchedMax)
        var found: [Label] = []
        for label in labels where input.matches(label.uri) {
            found.append(label)
            if found.count == input.limit { return Output(labels: found, source: source, next: label.id) }
        }
        return Output(labels: found, source: source, next: labels.count == searchedMax ? labels.last?.id : nil)
    }
}

/// `com.atproto.temp.fetchLabels`: deprecated; the same labels from a moment on, in microseconds since 1970.
struct FetchLabels: Method {
    static let nsid: Bytes = "com.atproto.temp.fetchLabels"
    static let kind = MethodKind.query
    static let access = XRPCAccess.anyone
    static let scope = OAuthRule.none

    struct Input: XRPCInput {
        let since: Int
        let limit: Int

        init(_ fields: Fields) throws(Failure) {
            since = try fields.integer("since", in: .min ... .max, default: 0)
            limit = try fields.integer("limit", in: 1...250, default: 50)
        }
    }

    static func run(_ call: Call<Self>) throws -> QueryLabels.Output {
        let since = Timestamp(microseconds: Int64(call.input.since))
        return QueryLabels.Output(
            labels: try call.app.labels.list(since: since, limit: call.input.limit),
            source: call.app.settings.serviceDID, next: nil)
    }
}
