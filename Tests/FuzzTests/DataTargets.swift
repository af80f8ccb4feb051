import ATProto
import Base
import Crypto

extension FuzzTarget {
    private static let link = "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm"
    private static let posts = [
        #"{"$type":"app.bsky.feed.post","text":"caf\u00e9 \ud83d\ude00","createdAt":"2024-05-01T12:34:56.789Z"}"#,
        #"{"a":[1,-1,0,9007199254740991,true,false,null],"b":{"c":{"d":[[[]]]}},"":""}"#,
        #"{"l":{"$link":"\#(link)"},"b":{"$bytes":"AAECAw"}}"#,
        #"{"embed":{"$type":"blob","ref":{"$link":"bafkreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm"},"#
            + #""mimeType":"image/png","size":12}}"#,
        " [ 1 , 2.0 , 1e3 , \"\\u0000\\\"\\\\\\/\" ] ",
    ]

    /// The encodings of the data model and the identifiers in it.
    static let data: [FuzzTarget] = [
        FuzzTarget("cbor", corpus: blocks) { input in
            guard let value = try? DAGCBOR.decode(input) else { return nil }
            if DAGCBOR.encode(value) != input { return "encodes to other bytes" }
            var writer = JSONWriter()
            do { try writer.cbor(Bytes(input)) } catch { return "cannot be written as JSON: \(error)" }
            let json = JSON.encode(value)
            if writer.finish() != json { return "two writers of JSON differ" }
            // A link is an object in JSON, one level deeper.
            let isJSON = (try? JSON.parsePlain(Bytes(json), depthMax: 40)) != nil
            return isJSON ? nil : "its JSON is refused"
        },
        FuzzTarget("cbor-reader", corpus: blocks) { input in
            input.withUnsafeBytes { raw in
                var reader = CBORReader(raw)
                while !reader.isAtEnd {
                    let before = reader.offset
                    var other = reader
                    _ = try? other.string(.bytes)
                    other = reader
                    _ = try? other.optionalLink()
                    guard (try? reader.head()) != nil else { return nil }
                    if reader.offset <= before || reader.offset > raw.count { return "the cursor moved wrongly" }
                }
                return nil
            }
        },
        FuzzTarget("json", texts: posts) { input in
            guard let value = try? JSON.parse(Bytes(input)) else { return nil }
            let json = JSON.encode(value)
            guard let again = try? JSON.parse(Bytes(json)) else { return "its own JSON is refused" }
            if again != value { return "its own JSON is another value" }
            let block = DAGCBOR.encode(value)
            guard let decoded = try? DAGCBOR.decode(block) else { return "its own CBOR is refused" }
            if decoded != value { return "its own CBOR is another value" }
            _ = try? value.blobReferences
            return nil
        },
        FuzzTarget("json-plain", texts: posts) { input in
            guard let value = try? JSON.parsePlain(Bytes(input)) else { return nil }
            guard let again = try? JSON.parsePlain(Bytes(JSON.encode(value))) else { return "its own JSON is refused" }
            return again == value ? nil : "its own JSON is another value"
        },
        FuzzTarget("identifiers", texts: names, fault: faultOfIdentifiers),
        FuzzTarget("cid", texts: [link, "bafkreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm"]) { input in
            if let cid = CID(text: Bytes(input)), cid.text != input { return "the text comes back changed" }
            if let cid = CID(Bytes(input)), cid.bytes != input { return "the bytes come back changed" }
            return nil
        },
        FuzzTarget("encodings", texts: ["", "aGVsbG8", "aGVsbG8=", "nbswy3dp", "68656c6c6f", "1zQ3sh"]) { input in
            let rows: [(String, RadixEncoding)] = [
                ("base32", .base32), ("base64url", .base64URL), ("base64", .base64), ("base64 padded", .base64Padded),
            ]
            for (name, encoding) in rows {
                if let decoded = encoding.decode(input), encoding.encode(decoded) != input { return name }
                if encoding.decode(encoding.encode(input)) != input { return "\(name) of the input" }
            }
            if let decoded = Base58.decode(input), Base58.encode(decoded) != input { return "base58" }
            if let decoded = Hex.decode(input), Bytes(Hex.encode(decoded)) != Bytes(input).lowercasedASCII {
                return "hex"
            }
            return nil
        },
    ]

    private static let blocks: [[UInt8]] =
        posts.compactMap { (try? JSON.parse(Bytes($0))).map(DAGCBOR.encode) } + [bytes(hex: "a0"), bytes(hex: "8020")]

    private static let names = [
        "did:plc:yk4dd2qkboz2yv6tpubpc6co", "did:web:example.com%3A8080", "alice.example.com", "XN--ls8h.test",
        "com.atproto.repo.createRecord", "self", "3jzfcijpj2z2a", "~x:y_z-.", "2024-05-01T12:34:56.789Z",
        "1985-04-12T23:20:50.123456+01:45", "at://did:plc:yk4dd2qkboz2yv6tpubpc6co/app.bsky.feed.post/3jzfcijpj2z2a",
        "at://alice.test", "app.bsky.feed.post/3jzfcijpj2z2a", "https://example.com/a?b#c", "en-GB-x-a",
    ]

    @Sendable private static func faultOfIdentifiers(_ input: [UInt8]) -> String? {
        let bytes = Bytes(input)
        if let did = DID(bytes), "did:" + did.method + ":" + did.methodSpecific != bytes { return "DID" }
        if let handle = Handle(bytes) {
            if handle.bytes != bytes.lowercasedASCII || Handle(handle.bytes) != handle { return "handle" }
            if handle.isReserved, handle.topLevelDomain.isEmpty { return "handle's top-level domain" }
        }
        if let nsid = NSID(bytes) {
            // The authority may be written in capitals, which canonical form is without.
            if NSID(nsid.bytes) != nsid || (nsid.authority + "." + nsid.name) != nsid.bytes { return "NSID" }
            if nsid.authorityDomain.count != nsid.authority.count { return "NSID's domain" }
        }
        if let key = RecordKey(bytes), key.bytes != bytes { return "record key" }
        if let tid = TID(bytes), tid.bytes != bytes { return "TID" }
        if let path = RepoPath(bytes), RepoPath(path.collection, path.rkey) != path { return "repository path" }
        if let uri = ATURI(bytes), ATURI(uri.bytes) != uri { return "AT URI" }
        if let time = Datetime(bytes) {
            if !Datetime.isSyntax(bytes) { return "datetime" }
            if time.timestamp.microseconds >= 0, Datetime(Bytes(time.timestamp.iso8601Bytes)) == nil {
                return "the time comes back as no datetime"
            }
        }
        _ = (StringFormat.isURI(bytes), StringFormat.isLanguage(bytes), StringFormat.isCID(bytes))
        return nil
    }
}
