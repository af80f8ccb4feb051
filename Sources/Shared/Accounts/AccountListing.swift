public import ATProto
internal import Base
internal import Storage

extension AccountStore {
    /// Accounts with a DID after `after`, by DID, at most `limit` of them: for the operator's tool.
    public func list(after: DID?, limit: Int) throws -> [Account] {
        let start = SQL.Value.text(after?.bytes ?? Bytes())
        return try database.read { reader in
            let dids = try reader.all(
                "SELECT did FROM account WHERE did > \(start) ORDER BY did LIMIT \(limit)"
            ) { row in
                guard let did = DID(try row.text(0)) else { throw StorageError.unexpectedColumn(0) }
                return did
            }
            return try dids.compactMap { try Self.find($0, in: reader) }
        }
    }
}
