internal import ATProto
public import Base
internal import Crypto
internal import Net
public import Repos
public import Storage

/// Blobs and where they are kept, put together from the settings.
public enum BlobParts {
    /// `place` is where new ones go, in place of the setting; nobody waits for an answer then. Throws `SystemError`
    /// when the directory can't be made.
    public static func store(
        _ settings: Settings, _ paths: Paths, _ database: any Database, _ clock: Clock, into place: BlobPlace? = nil
    ) throws(SystemError) -> BlobStore {
        try BlobStore(
            database: database, clock: clock, directory: paths.blobs, sizeMax: settings[Settings.blobSizeMax],
            quota: Service.quota(settings), s3: bucket(settings, isPatient: place != nil).map { S3Blobs(client: $0) },
            target: place ?? BlobPlace(rawValue: settings[Settings.blobPlace].description) ?? .disk)
    }

    /// The bucket of the settings, or nil when there is none.
    static func bucket(_ settings: Settings, isPatient: Bool) -> S3Client? {
        // `Settings` has seen to it that all of them are there when one is.
        guard let endpoint = settings[Settings.s3Endpoint], let name = settings[Settings.s3Bucket],
            let accessKeyID = settings[Settings.s3AccessKeyID], let secret = settings[Settings.s3SecretAccessKey]
        else { return nil }
        let bucket = S3Client.Bucket(
            endpoint: endpoint, name: name, region: settings[Settings.s3Region], accessKeyID: accessKeyID,
            secretAccessKey: secret)
        return S3Client(client: Outbound.client(settings), bucket: bucket, isPatient: isPatient)
    }
}

/// Blobs as objects of a bucket: `blobs/` and the object's name.
struct S3Blobs: BlobStorage {
    private static let prefix: Bytes = "blobs/"

    let client: S3Client

    private func key(_ object: BlobObject) -> Bytes { Self.prefix + object.name }

    func put(_ object: BlobObject, _ file: BlobFile) throws {
        // A blob's CID is the SHA-256 of its bytes, and the storage holds them to it.
        try client.put(
            key(object), path: file.path, size: file.size, digest: Bytes(Hex.encode(object.cid.digest.bytes)),
            contentType: file.mimeType)
    }

    func open(_ object: BlobObject, range: Range<Int>?) throws -> BlobContent? {
        guard let (size, incoming) = try client.get(key(object), range: range) else { return nil }
        return BlobContent(size: size) { try incoming.read(into: $0) }
    }

    func size(of object: BlobObject) throws -> Int? { try client.size(of: key(object)) }

    func remove(_ object: BlobObject) throws { try client.delete(key(object)) }

    func eachName(_ body: (Bytes) throws -> Void) throws {
        var last = Bytes()
        while true {
            let keys = try client.list(prefix: Self.prefix, after: last)
            for key in keys { try body(key.from(Self.prefix.count)) }
            guard keys.count == S3Client.listCountMax, let end = keys.last else { return }
            last = end
        }
    }
}
