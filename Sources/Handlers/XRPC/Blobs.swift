internal import ATProto
internal import Base
internal import Repos
internal import Web

extension XRPCResponder {
    static let blobs: [XRPCRoute] = [
        XRPCRoute(ImportRepo.self), XRPCRoute(UploadBlob.self), XRPCRoute(ListMissingBlobs.self),
        XRPCRoute(GetBlob.self), XRPCRoute(ListBlobs.self),
    ]
}

/// `com.atproto.repo.uploadBlob`: takes bytes as they come. They are kept for good once a record names them.
struct UploadBlob: Method {
    static let nsid: Bytes = "com.atproto.repo.uploadBlob"
    static let kind = MethodKind.procedure
    /// A service too, in the account's name: that is how processed video comes back.
    static let access = XRPCAccess.accountOrService(.any, even: .deactivated, method: nsid)
    static let scope = OAuthRule.blob
    static let body = BodyRule.stream

    /// Bytes that are read at once.
    private static let pieceSize = 65_536

    struct Output: XRPCOutput {
        let blob: BlobReference

        func write(to writer: inout JSONWriter) {
            writer.beginObject()
            writer.field("blob", blob.value)
            writer.endObject()
        }
    }

    static func charges(_ call: Call<Self>) -> [Charge] {
        [Charge(RateLimit.uploadBlob, key: call.caller.did.bytes)]
    }

    static func run(_ call: Call<Self>) throws -> Output {
        let store = call.app.blobs
        if let declared = call.request.contentLength, declared > store.sizeMax {
            throw BlobUploadError.tooLarge(max: store.sizeMax)
        }
        let upload = try store.begin(entropy: call.app.entropy)
        try withUnsafeTemporaryAllocation(byteCount: pieceSize, alignment: 16) { buffer in
            while true {
                let count = try call.request.body.read(into: buffer)
                if count == 0 { return }
                try upload.write(UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(buffer)[..<count]))
            }
        }
        let declared = call.request.headers["content-type"]
        return Output(blob: try store.finish(upload, of: call.caller.did, declared: declared))
    }
}

/// The cursor of a listing of blobs: the CID of the last one that was given.
enum BlobCursor {
    static func read(_ cursor: Bytes?) throws(Failure) -> CID? {
        guard let cursor else { return nil }
        guard let cid = CID(text: cursor) else { throw .invalidRequest("Invalid cursor") }
        return cid
    }
}

/// `com.atproto.repo.listMissingBlobs`: blobs that the caller's records name and that have not been uploaded.
struct ListMissingBlobs: Method {
    static let nsid: Bytes = "com.atproto.repo.listMissingBlobs"
    static let kind = MethodKind.query
    static let access = XRPCAccess.account(.any, even: .deactivated)
    static let scope = OAuthRule.any

    struct Input: XRPCInput {
        let limit: Int
        let cursor: Bytes?

        init(_ fields: Fields) throws(Failure) {
            limit = try fields.integer("limit", in: 1...1_000, default: 500)
            cursor = try fields.optionalText("cursor")
        }
    }

    struct Output: XRPCOutput {
        let did: DID
        let blobs: [(cid: CID, path: Bytes)]
        let isMore: Bool

        func write(to writer: inout JSONWriter) {
            writer.beginObject()
            if isMore, let last = blobs.last { writer.field("cursor", last.cid) }
            writer.beginArray("blobs")
            for blob in blobs {
                writer.beginObject()
                writer.field("cid", blob.cid)
                writer.field("recordUri", "at://" + did.bytes + "/" + blob.path)
                writer.endObject()
            }
            writer.endArray()
            writer.endObject()
        }
    }

    static func run(_ call: Call<Self>) throws -> Output {
        let input = call.input
        let blobs = try call.app.blobs.missing(
            of: call.caller.did, after: try BlobCursor.read(input.cursor), limit: input.limit)
        return Output(did: call.caller.did, blobs: blobs, isMore: blobs.count == input.limit)
    }
}

/// `com.atproto.sync.getBlob`: a blob's bytes, in headers that let no browser take them for a page.
struct GetBlob: Method {
    static let nsid: Bytes = "com.atproto.sync.getBlob"
    static let kind = MethodKind.query
    static let access = XRPCAccess.viewer
    static let scope = OAuthRule.any

    struct Input: XRPCInput {
        let did: DID
        let cid: CID

        init(_ fields: Fields) throws(Failure) {
            did = try fields.required("did")
            cid = try fields.required("cid")
        }
    }

    static func run(_ call: Call<Self>) throws -> Response {
        let input = call.input
        _ = try call.app.readable(input.did, by: call.caller)
        guard let blob = try call.app.blobs.find(input.cid, of: input.did) else {
            throw Failure(.notFound, "BlobNotFound", "Blob not found")
        }
        var response = headers(of: blob)
        // The same bytes for ever.
        if let tag = EntityTag(Bytes(blob.cid.text)) {
            response.append("ETag", tag.value)
            if Conditional.matchesNone(call.request.headers, tag) {
                response.status = 304
                return response
            }
        }
        if call.request.method != .head { call.app.blobs.bytesSent.add(blob.size) }
        if let prefix = call.app.settings.blobInternalPath, let file = blob.file,
            let path = HeaderValue(prefix + file)
        {
            response.body = .file(internalPath: path)
        } else {
            try stream(blob, call, &response)
        }
        return response
    }

    private static func headers(of blob: BlobStore.Entry) -> Response {
        var response = Response(status: 200)
        // A type that is no header value can't have come in by an upload; it is served as plain bytes all the same.
        response.append("Content-Type", HeaderValue(blob.mimeType) ?? "application/octet-stream")
        response.append("X-Content-Type-Options", "nosniff")
        response.append("Content-Security-Policy", "default-src 'none'; sandbox")
        let name = "attachment; filename=\"" + Bytes(blob.cid.text) + "\""
        if let disposition = HeaderValue(name) { response.append("Content-Disposition", disposition) }
        return response
    }

    /// What no web server can send: opened before the head goes out, so that bytes that can't be had are an error and
    /// no broken answer.
    private static func stream(
        _ blob: BlobStore.Entry, _ call: Call<Self>, _ response: inout Response
    ) throws {
        response.append("Accept-Ranges", "bytes")
        let wanted = RangeRequest(call.request.headers, size: blob.size, tag: EntityTag(Bytes(blob.cid.text)))
        if let range = wanted.contentRange(size: blob.size) { response.append("Content-Range", range) }
        var part: Range<Int>?
        switch wanted {
        case .whole: break
        case .unsatisfiable:
            response.status = 416
            return
        case .part(let range):
            response.status = 206
            part = range
        }
        response.append("Content-Length", HeaderValue(part?.count ?? blob.size))
        let content = call.request.method == .head ? nil : try call.app.blobs.open(blob, range: part)
        response.body = .stream { sink in try content?.read(into: sink) }
    }
}

/// `com.atproto.sync.listBlobs`: the CIDs of the blobs that a repository's records name.
struct ListBlobs: Method {
    static let nsid: Bytes = "com.atproto.sync.listBlobs"
    static let kind = MethodKind.query
    static let access = XRPCAccess.viewer
    static let scope = OAuthRule.any

    struct Input: XRPCInput {
        let did: DID
        let since: TID?
        let limit: Int
        let cursor: Bytes?

        init(_ fields: Fields) throws(Failure) {
            did = try fields.required("did")
            since = try fields.optional("since")
            limit = try fields.integer("limit", in: 1...1_000, default: 500)
            cursor = try fields.optionalText("cursor")
        }
    }

    struct Output: XRPCOutput {
        let cids: [CID]
        let isMore: Bool

        func write(to writer: inout JSONWriter) {
            writer.beginObject()
            if isMore, let last = cids.last { writer.field("cursor", last) }
            writer.field("cids", cids.map { Bytes($0.text) })
            writer.endObject()
        }
    }

    static func run(_ call: Call<Self>) throws -> Output {
        let input = call.input
        _ = try call.app.readable(input.did, by: call.caller)
        let cids = try call.app.blobs.list(
            of: input.did, since: input.since, after: try BlobCursor.read(input.cursor), limit: input.limit)
        return Output(cids: cids, isMore: cids.count == input.limit)
    }
}
