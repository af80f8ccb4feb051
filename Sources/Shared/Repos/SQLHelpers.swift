internal import ATProto
internal import Base
internal import Storage

extension Identifier {
    /// An identifier as a statement's argument: text.
    var sql: SQL.Value { .text(bytes) }
}

extension CID {
    /// The 36 bytes of the binary form.
    var sql: SQL.Value { .bytes(Bytes(bytes)) }
}

extension RepoStatus {
    var sql: SQL.Value { .text(Bytes(rawValue)) }

    /// A status as it is stored. Throws `RepoError.corrupt`.
    init(stored text: Bytes) throws {
        guard let status = RepoStatus(rawValue: text.description) else {
            throw RepoError.corrupt("status of a repository")
        }
        self = status
    }
}

extension Row {
    func cid(_ column: Int) throws -> CID {
        guard let cid = try withBytes(column, { CID($0) }) else { throw RepoError.corrupt("CID") }
        return cid
    }

    func tid(_ column: Int) throws -> TID {
        guard let tid = TID(try text(column)) else { throw RepoError.corrupt("revision") }
        return tid
    }

    func did(_ column: Int) throws -> DID {
        guard let did = DID(try text(column)) else { throw RepoError.corrupt("DID") }
        return did
    }
}
