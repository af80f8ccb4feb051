public import ATProto
public import Base

/// Where the bytes of blobs can be kept.
public enum BlobPlace: String, Sendable, Hashable, CaseIterable {
    /// Files under the data directory, which the web server sends itself.
    case disk
    /// A bucket of S3-compatible object storage, whose bytes pass through the responder.
    case s3
}

/// The stored bytes of one blob.
///
/// Whoever stores a blob's bytes gives them a generation of their own, so that what one process removes is never what
/// another has just stored, and no name is ever used for a second time.
public struct BlobObject: Hashable, Sendable {
    /// The longest generation in bytes.
    static let generationSizeMax = 64

    public let cid: CID
    /// Lower-case letters and digits; empty for a file from before there were generations.
    public let generation: Bytes

    public init(cid: CID, generation: Bytes) {
        self.cid = cid
        self.generation = generation
    }

    /// `<last two characters of the CID>/<CID>.<generation>`: its path under the directory, and its key in a bucket.
    public var name: Bytes {
        let text = Bytes(cid.text)
        let name = text.from(max(0, text.count - 2)) + "/" + text
        return generation.isEmpty ? name : name + "." + generation
    }

    /// What `name` is the name of, or nil for any other text.
    public init?(name: Bytes) {
        guard let slash = name.position(of: 0x2F) else { return nil }
        let parts = name.from(slash + 1).split(on: 0x2E)
        guard parts.count <= 2, let text = parts.first, let cid = CID(text: text) else { return nil }
        self.init(cid: cid, generation: parts.count == 2 ? parts[1] : Bytes())
        guard generation.count <= Self.generationSizeMax, name == self.name else { return nil }
    }
}

/// A whole file that is to become an object.
public struct BlobFile {
    public let handle: FileHandle
    public let path: String
    /// In bytes.
    public let size: Int
    public let mimeType: Bytes
}

/// One place for the bytes of blobs. None of these is ever called inside a transaction.
public protocol BlobStorage: Sendable {
    /// Stores the bytes of `file` as `object`, durably once this returns. Nothing has that name yet.
    func put(_ object: BlobObject, _ file: BlobFile) throws

    /// Opens an object's bytes, or those of `range`, or returns nil when there is none.
    func open(_ object: BlobObject, range: Range<Int>?) throws -> BlobContent?

    /// The object's size in bytes, or nil when there is none.
    func size(of object: BlobObject) throws -> Int?

    /// Removes an object; nothing happens when there is none.
    func remove(_ object: BlobObject) throws

    /// Hands over the name of everything that is stored here.
    func eachName(_ body: (Bytes) throws -> Void) throws
}

/// The bytes of one object, on their way.
public struct BlobContent {
    /// How many there will be, as the place says.
    public let size: Int
    private let body: ((UnsafeRawBufferPointer) throws -> Void) throws -> Void

    /// `body` hands over all bytes in pieces, or throws.
    public init(size: Int, body: @escaping ((UnsafeRawBufferPointer) throws -> Void) throws -> Void) {
        self.size = size
        self.body = body
    }

    /// Hands over the bytes, in pieces; call it once. Throws when they can't all be had, and what `sink` throws.
    public func read(into sink: (UnsafeRawBufferPointer) throws -> Void) throws { try body(sink) }
}

/// Why the bytes of a blob can't be reached.
public enum BlobStorageError: Error, Equatable, Sendable, CustomStringConvertible {
    /// Blobs are there, and the settings don't say how to reach it.
    case notConfigured(BlobPlace)
    /// What is stored has another size than the blob.
    case wrongSize(CID)
    /// Storing it took longer than its reservation held.
    case tooLate(CID)

    public var description: String {
        switch self {
        case .notConfigured(let place): "blobs are in \(place.rawValue), which the settings don't say how to reach"
        case .wrongSize(let cid): "what is stored of the blob \(cid) has another size"
        case .tooLate(let cid): "storing the blob \(cid) took too long"
        }
    }
}

/// Every place that is known, and the one for new blobs.
struct BlobPlaces: Sendable {
    let disk: BlobDisk
    let s3: (any BlobStorage)?
    let target: BlobPlace

    /// Throws `BlobStorageError.notConfigured`.
    subscript(_ place: BlobPlace) -> any BlobStorage {
        get throws {
            switch place {
            case .disk: return disk
            case .s3:
                guard let s3 else { throw BlobStorageError.notConfigured(.s3) }
                return s3
            }
        }
    }

    /// Those that can be reached.
    var reachable: [BlobPlace] { s3 == nil ? [.disk] : BlobPlace.allCases }
}
