internal import Assembly
internal import Base
internal import Net
internal import Repos

/// Where the bytes of blobs are.
extension Outside {
    var storage: [Look] { [Look(name: "object storage", look: bucket)] }

    private func bucket() -> Finding {
        guard let database, let blobs = try? BlobParts.store(settings, paths, database, clock, into: .s3) else {
            return .skipped("the database does not open")
        }
        do {
            guard settings[Settings.s3Endpoint] != nil else {
                let count = try blobs.objectCount(in: .s3)
                if count == 0 { return .fine("blobs are on the disk") }
                return .wrong("\(count) blobs are in S3, and SKYSTEAD_S3_ENDPOINT is not set", "set it again")
            }
            try blobs.probe(entropy: .system)
            return .fine("an object was stored, read and removed")
        } catch let error as S3Error {
            return .wrong("the bucket: \(error)", error.remedy)
        } catch {
            return .wrong("the bucket: \(error)", "run this as the user of the service; see docs/blobs.md")
        }
    }
}

extension S3Error {
    /// What the operator should do about it.
    var remedy: String {
        switch self {
        case .network(.invalidURL), .network(.addressNotAllowed):
            "SKYSTEAD_S3_ENDPOINT must be https and public, or its host:port in SKYSTEAD_ALLOW_PRIVATE_HOSTS"
        case .network: "see that SKYSTEAD_S3_ENDPOINT is right and answers"
        case .refused(_, "SignatureDoesNotMatch"): "SKYSTEAD_S3_SECRET_ACCESS_KEY is another one's"
        case .refused(_, "InvalidAccessKeyId"): "there is no such SKYSTEAD_S3_ACCESS_KEY_ID"
        case .refused(_, "NoSuchBucket"): "make the bucket, or see to SKYSTEAD_S3_BUCKET"
        case .refused(_, "AuthorizationHeaderMalformed"), .refused(_, "PermanentRedirect"):
            "SKYSTEAD_S3_REGION or SKYSTEAD_S3_ENDPOINT is that of another region"
        case .refused(_, "RequestTimeTooSkewed"): "set the clock"
        case .refused(_, "AccessDenied"): "let the access key get, put, delete and list the bucket's objects"
        case .refused: "ask whoever runs the storage"
        case .invalidKey: "tell the authors"
        }
    }
}
