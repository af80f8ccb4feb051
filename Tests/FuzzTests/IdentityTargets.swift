import ATProto
import Base
import Crypto
import Identity

extension FuzzTarget {
    private static let did = "did:plc:yk4dd2qkboz2yv6tpubpc6co"
    private static let didKey = "did:key:zQ3shqwJEJyMBsBXCWyCBpUBMqxcon9oHB7mCvx4sSpMdLJwc"
    private static let rotationKey = try? SigningKey(
        algorithm: .k256, secret: Secret([UInt8](repeating: 5, count: 32)))

    /// What directories and other hosts say of accounts.
    static let identity: [FuzzTarget] = [
        FuzzTarget(
            "did-document",
            texts: [
                ##"{"id":"\##(did)","alsoKnownAs":["at://alice.example.com"],"verificationMethod":["##
                    + ##"{"id":"\##(did)#atproto","type":"Multikey","controller":"\##(did)","##
                    + ##""publicKeyMultibase":"\##(didKey.dropFirst(8))"}],"service":[{"id":"#atproto_pds","##
                    + ##""type":"AtprotoPersonalDataServer","serviceEndpoint":"https://pds.example.com"}]}"##,
                ##"{"id":"\##(did)","verificationMethod":[{"id":"#atproto","controller":"\##(did)","##
                    + ##""type":"EcdsaSecp256k1VerificationKey2019","##
                    + ##""publicKeyMultibase":"z25z9DTpsiYYJKGsWmSPJK2NFN8PcJtZig12K59UgW7q5t"}]}"##,
            ]
        ) { input in
            guard let did = DID(did), let document = try? DIDDocument(json: Bytes(input), of: did) else { return nil }
            if document.did != did { return "the document of another" }
            guard let key = try? document.signingKey, let pds = try? document.pds else { return nil }
            let json = DIDDocument.json(of: did, handle: document.handle, signingKey: key, pds: pds)
            guard let again = try? DIDDocument(json: json, of: did) else { return "its own JSON is refused" }
            let isSame = again.handle == document.handle && (try? again.signingKey) == key && (try? again.pds) == pds
            return isSame ? nil : "its own JSON says something else"
        },
        FuzzTarget(
            "plc-operation",
            texts: [
                #"{"type":"plc_operation","rotationKeys":["\#(didKey)"],"verificationMethods":{"#
                    + #""atproto":"\#(didKey)"},"alsoKnownAs":["at://alice.example.com"],"services":{"#
                    + #""atproto_pds":{"type":"AtprotoPersonalDataServer","endpoint":"https://pds.example.com"}},"#
                    + #""prev":null,"sig":"AA"}"#,
                #"{"type":"create","signingKey":"\#(didKey)","recoveryKey":"\#(didKey)","handle":"alice.example.com","#
                    + #""service":"https://pds.example.com","prev":null,"sig":"AA"}"#,
                #"{"type":"plc_tombstone","prev":"bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm","#
                    + #""sig":"AA"}"#,
            ]
        ) { input in
            guard let value = try? JSON.parsePlain(Bytes(input)), let operation = PLCOperation(value), let rotationKey
            else { return nil }
            guard let signed = try? operation.signed(by: rotationKey) else { return "it can't be signed" }
            guard let again = try? JSON.parsePlain(signed.json) else { return "its own JSON is refused" }
            if PLCOperation(again) != operation { return "its own JSON says something else" }
            return signed.did == nil ? "it makes no DID" : nil
        },
    ]
}
