public import ATProto
internal import Base
internal import Storage

extension RepoStore {
    /// Repositories that one call of `list(having:)` looks at: an index seek for each.
    public static let searchedMax = 5_000

    /// Active repositories with a record in `collection`, in the order of their making, after `cursor`, at most
    /// `limit`.
    ///
    /// Without an index by collection, which would cost every write: one seek for each repository, and no more of those
    /// than `searchedMax` a call. `next` is where to go on, nil when there is nothing more; there may be fewer than
    /// `limit` before.
    public func list(
        having collection: NSID, after cursor: Int, limit: Int
    ) throws -> (dids: [DID], next: Int?) {
        let start = collection.bytes + "/"
        // 0 is the byte after the slash.
        let end = collection.bytes + "0"
        let searchedMax = Self.searchedMax
        var dids: [DID] = []
        var last = cursor
        var count = 0
        try database.read { reader in
            try reader.each(
                """
                SELECT id, did, CASE WHEN status = 'active' AND EXISTS (
                    SELECT 1 FROM record WHERE record.repo = repo.id AND record.key > \(start) AND record.key < \(end)
                ) THEN 1 ELSE 0 END FROM repo WHERE id > \(cursor) ORDER BY id LIMIT \(searchedMax)
                """
            ) { row in
                last = try row.integer(0)
                count += 1
                if try row.bool(2) { dids.append(try row.did(1)) }
                return dids.count < limit
            }
        }
        return (dids, dids.count == limit || count == searchedMax ? last : nil)
    }
}
