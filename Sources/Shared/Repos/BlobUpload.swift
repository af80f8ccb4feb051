internal import ATProto
internal import Base
internal import Crypto
internal import Glibc

/// Why an upload was not taken.
public enum BlobUploadError: Error, Equatable, Sendable {
    case tooLarge(max: Int)
    case empty
    /// This account's blob with these bytes is taken down.
    case takenDown
}

/// A blob that is being taken, piece by piece: written to a temporary file and hashed on the way.
public final class BlobUpload {
    /// Write-back is started each time this many bytes have come, so that the last sync finds little to do.
    private static let writeBackSize = 1 << 20

    /// The file's name in `directory`, which no other upload has: letters and digits.
    let name: Bytes
    let path: String
    let file: FileHandle
    private let sizeMax: Int
    private var hash = SHA256()
    private var size = 0
    private var writtenBack = 0
    private var isDiscarded = false
    /// The first bytes, to recognise the type by.
    private(set) var prefix = Bytes()

    init(in directory: String, sizeMax: Int, entropy: Entropy) throws {
        self.sizeMax = sizeMax
        name = Bytes(Hex.encode(try entropy.bytes(16)))
        path = "\(directory)/\(name)"
        file = try FileHandle.create(path, mode: 0o640)
    }

    deinit { discard() }

    /// Takes the next piece. Throws `BlobUploadError.tooLarge` as soon as there is more than the limit.
    public func write(_ bytes: UnsafeRawBufferPointer) throws {
        guard bytes.count <= sizeMax - size else { throw BlobUploadError.tooLarge(max: sizeMax) }
        if prefix.count < MediaType.prefixSize {
            let more = UnsafeRawBufferPointer(rebasing: bytes.prefix(MediaType.prefixSize - prefix.count))
            prefix = prefix + Bytes(more)
        }
        hash.update(bytes)
        try file.write(bytes)
        size += bytes.count
        if size - writtenBack >= Self.writeBackSize {
            file.startWriteBack(offset: writtenBack, count: size - writtenBack)
            writtenBack = size
        }
    }

    /// The whole blob's CID and size.
    func seal() throws(BlobUploadError) -> (cid: CID, size: Int) {
        guard size > 0 else { throw .empty }
        return (CID(codec: .raw, digest: hash.finish()), size)
    }

    /// Removes the temporary file.
    func discard() {
        if isDiscarded { return }
        isDiscarded = true
        unlink(path)
    }
}

/// The CID of a blob whose bytes come in pieces.
struct BlobHash {
    private var hash = SHA256()

    mutating func update(_ bytes: UnsafeRawBufferPointer) { hash.update(bytes) }

    var cid: CID {
        mutating get { CID(codec: .raw, digest: hash.finish()) }
    }
}

extension BlobFile {
    init(_ upload: BlobUpload, size: Int, mimeType: Bytes) {
        self.init(handle: upload.file, path: upload.path, size: size, mimeType: mimeType)
    }
}
