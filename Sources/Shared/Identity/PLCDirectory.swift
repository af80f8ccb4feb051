public import ATProto
public import Base
public import Crypto

/// The registry of did:plc identities. https://web.plc.directory
public struct PLCDirectory: Sendable {
    /// Without a trailing slash.
    public let url: Bytes
    private let network: IdentityNetwork

    public init(url: Bytes, network: IdentityNetwork) {
        self.url = url.last == 0x2F ? url.upTo(url.count - 1) : url
        self.network = network
    }

    /// Submits an operation. Throws `directoryRefused` or `unreachable`; after the latter it may have been taken.
    public func submit(_ operation: SignedPLCOperation, for did: DID) throws(IdentityError) {
        let answer = try network.post(url + "/" + did.bytes, operation.json)
        guard answer.status >= 200, answer.status < 300 else { throw .directoryRefused(status: answer.status) }
    }

    /// The newest operation of an identity. Throws `notFound`, and `tombstoned` for one that was given up.
    public func last(of did: DID) throws(IdentityError) -> SignedPLCOperation {
        let answer = try network.get(url + "/" + did.bytes + "/log/last")
        switch answer.status {
        case 200: break
        case 404: throw .notFound(did)
        case 410: throw .tombstoned(did)
        default: throw .directoryRefused(status: answer.status)
        }
        guard let value = try? JSON.parsePlain(answer.body), case .map = value else {
            throw .invalidDocument(.notJSON)
        }
        if value["type"]?.text == "plc_tombstone" { throw .tombstoned(did) }
        return SignedPLCOperation(value)
    }

    /// Changes an identity: reads its newest operation, lets `change` edit it, signs it and submits it.
    public func update(
        _ did: DID, signedBy key: SigningKey, _ change: (inout PLCOperation) -> Void
    ) throws {
        let last = try last(of: did)
        guard var operation = PLCOperation(last.value) else { throw IdentityError.notFound(did) }
        let before = operation
        change(&operation)
        if operation == before { return }
        operation.previous = Bytes(last.cid.text)
        try submit(try operation.signed(by: key), for: did)
    }

    /// The DID document of an identity, in JSON.
    func document(of did: DID) throws(IdentityError) -> Bytes {
        let answer = try network.get(url + "/" + did.bytes)
        switch answer.status {
        case 200: return answer.body
        case 404, 410: throw .notFound(did)
        default: throw .unreachable
        }
    }
}
