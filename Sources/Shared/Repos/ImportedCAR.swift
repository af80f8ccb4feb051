internal import ATProto
internal import Base

/// A CAR that has been taken in whole: every block checked against its CID, and found again by it.
///
/// The bytes are in a file without a name and so is what an index of many blocks needs: memory stays bounded whatever
/// the size, and a process that ends leaves nothing.
public final class ImportedCAR {
    let root: CID
    /// Bytes of the CAR.
    public let size: Int
    /// Bytes of all its blocks with their CIDs.
    let blockSize: Int

    private let file: FileHandle
    private let index: BlockIndex

    /// Reads all of `source`, which reads up to as many bytes as its buffer has and returns 0 at the end.
    ///
    /// `directory` is for the files. Throws `RepoImportError`, `SystemError`, and what `source` throws.
    public init(
        directory: String, sizeMax: Int, from source: @escaping (UnsafeMutableRawBufferPointer) throws -> Int
    ) throws {
        let file = try FileHandle.temporary(in: directory)
        let index = BlockIndex(directory: directory)
        var (received, blockSize) = (0, 0)
        do {
            let reader = try CARReader { buffer in
                let count = try source(buffer)
                guard count <= sizeMax - received else { throw RepoImportError.tooLarge(max: sizeMax) }
                received += count
                try file.write(UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(buffer)[..<count]))
                return count
            }
            try reader.each { cid, block in
                try index.add(cid, BlockIndex.Place(offset: reader.offset - block.count, count: block.count))
                blockSize += Self.size(of: block.count)
            }
            root = reader.root
        } catch let error as CARError {
            throw RepoImportError.car(error)
        }
        try index.seal()
        self.file = file
        self.index = index
        size = received
        self.blockSize = blockSize
    }

    /// Bytes of a block of `count` bytes with its CID.
    static func size(of count: Int) -> Int { CID.byteCount + count }

    /// The bytes of a block. Throws `RepoImportError.missingBlock`.
    func block(_ cid: CID) throws -> Bytes {
        guard let place = try index.find(cid) else { throw RepoImportError.missingBlock(cid) }
        let bytes = try [UInt8](unsafeUninitializedCapacity: place.count) { buffer, count in
            count = try file.read(at: place.offset, into: UnsafeMutableRawBufferPointer(buffer))
        }
        guard bytes.count == place.count else { throw RepoError.corrupt("the file of an import") }
        return Bytes(bytes)
    }
}
