public import ATProto
public import Base
internal import Storage

/// One record with all that is kept of it.
public struct StoredRecord: Sendable, Equatable {
    public let path: RepoPath
    public let cid: CID
    /// The commit that wrote it last; its moment is when the record came to be here.
    public let rev: TID
    public let value: Value

    fileprivate init(_ row: any Row) throws {
        guard let path = RepoPath(try row.bytes(0)) else { throw RepoError.corrupt("record key") }
        self.path = path
        cid = try row.cid(1)
        rev = try row.tid(2)
        value = try DAGCBOR.decode(try row.bytes(3))
    }
}

/// What an account wrote that a service which follows it may not have seen yet.
public struct RecentRecords: Sendable {
    /// The profile record, whether recent or not.
    public let profile: StoredRecord?
    public let isProfileRecent: Bool
    /// Recent posts, the newest first, at most `RecordStore.recentPostsMax`.
    public let posts: [StoredRecord]

    /// When the oldest recent record of these was written, or nil when there is none.
    public var oldest: Timestamp? {
        let profile = isProfileRecent ? profile.map { [$0] } ?? [] : []
        return (posts + profile).map(\.rev.timestamp).min()
    }
}

extension RecordStore {
    /// Recent posts that are looked for (specs/pds.md §2.3, read after write).
    public static let recentPostsMax = 10
    /// Posts that are looked at to find them, the greatest keys first, and records that are looked at to see whether
    /// the repository had any at all by then.
    static let recentScanMax = 100

    /// The profile and the posts of `did` that commits after `rev` wrote; nil when there are none, and when the
    /// repository is not active.
    ///
    /// Keys of posts are TIDs of about the time of their commit, so the recent ones have the greatest keys and no index
    /// by revision is needed, which every commit would pay for. A post under another key is missed, which only means
    /// that its author sees it when the other service does. Also nil when nothing here is as old as `rev`: then it
    /// is of the repository's life on another server, and everything would count as recent.
    public func recent(of did: DID, after rev: TID) throws -> RecentRecords? {
        try database.read { reader in
            let state = try RepoState.find(did, reader)
            guard state.status == .active, state.rev > rev else { return nil }
            let profile = try Self.find(Collections.profile + "/self", in: state.id, reader)
            var isAnyOld = profile.map { $0.rev <= rev } ?? false
            var keys: [Bytes] = []
            let (first, last) = (Collections.post + "/", Collections.post + "0")
            let statement: SQL = """
                SELECT key, rev FROM record WHERE repo = \(state.id) AND key > \(first) AND key < \(last)
                ORDER BY key DESC LIMIT \(Self.recentScanMax)
                """
            try reader.each(statement) { row in
                if try row.tid(1) <= rev {
                    isAnyOld = true
                } else {
                    keys.append(try row.bytes(0))
                }
                return keys.count < Self.recentPostsMax
            }
            let posts = try keys.compactMap { try Self.find($0, in: state.id, reader) }
            let isProfileRecent = profile.map { $0.rev > rev } ?? false
            guard isProfileRecent || !posts.isEmpty else { return nil }
            guard try isAnyOld || Self.isAnyRecord(of: state.id, asOldAs: rev, reader) else { return nil }
            return RecentRecords(profile: profile, isProfileRecent: isProfileRecent, posts: posts)
        }
    }

    /// The record at `path` with its revision, or nil when there is none or the repository is not active.
    public func find(_ path: RepoPath, of did: DID) throws -> StoredRecord? {
        try database.read { reader in
            let state = try RepoState.find(did, reader)
            return state.status == .active ? try Self.find(path.bytes, in: state.id, reader) : nil
        }
    }

    private static func find(_ key: Bytes, in repo: Int, _ reader: any Reader) throws -> StoredRecord? {
        try reader.first(
            "SELECT key, cid, rev, value FROM record WHERE repo = \(repo) AND key = \(key)", StoredRecord.init)
    }

    private static func isAnyRecord(of repo: Int, asOldAs rev: TID, _ reader: any Reader) throws -> Bool {
        var isFound = false
        try reader.each("SELECT rev FROM record WHERE repo = \(repo) ORDER BY key LIMIT \(recentScanMax)") { row in
            isFound = try row.tid(0) <= rev
            return !isFound
        }
        return isFound
    }
}
