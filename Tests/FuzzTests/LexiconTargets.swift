import ATProto
import Base
import Crypto
import Lexicons

extension FuzzTarget {
    private static let documents = [
        #"{"lexicon":1,"id":"com.example.thing","defs":{"main":{"type":"record","key":"literal:self","record":{"#
            + #""type":"object","required":["a"],"nullable":["b"],"properties":{"a":{"type":"ref","ref":"#
            + ##""#part"},"b":{"type":"union","refs":["#part","com.example.other"],"closed":true}}}},"##
            + ##""part":{"type":"object","properties":{"a":{"type":"ref","ref":"#part"},"b":{"type":"array","##
            + ##""items":{"type":"string","format":"did","maxGraphemes":2,"minLength":1,"enum":["x","y"]}}}}}}"##,
        #"{"lexicon":1,"id":"com.example.ask","defs":{"main":{"type":"procedure","parameters":{"type":"params","#
            + #""properties":{"n":{"type":"integer","minimum":1,"default":2}}},"input":{"encoding":"*/*"},"#
            + #""output":{"encoding":"application/json","schema":{"type":"object","properties":{"f":{"type":"blob","#
            + #""accept":["image/*"],"maxSize":9}}}},"errors":[{"name":"Bad"}]}}}"#,
        #"{"lexicon":1,"id":"com.example.set","defs":{"main":{"type":"permission-set","title":"A","title:lang":{"#
            + #""fr":"B"},"permissions":[{"type":"permission","resource":"repo","collection":["a.b.c"]}]}}}"#,
    ]

    private static let records = [
        #"{"$type":"app.bsky.feed.post","text":"caf\u00e9","createdAt":"2024-05-01T12:34:56Z","langs":["en"],"#
            + #""facets":[{"index":{"byteStart":0,"byteEnd":1},"features":[{"$type":"app.bsky.richtext.facet#tag","#
            + #""tag":"x"}]}],"tags":["a"]}"#,
        #"{"text":"","createdAt":"2024-05-01T12:34:56Z","embed":{"$type":"app.bsky.embed.images","images":[{"alt":"","#
            + #""image":{"$type":"blob","mimeType":"image/png","size":1,"ref":{"$link":"#
            + #""bafkreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm"}}}]}}"#,
    ]

    private static let name = NSID("com.example.thing")
    private static let authority = DID("did:plc:yk4dd2qkboz2yv6tpubpc6co")
    private static let key = try? SigningKey(algorithm: .k256, secret: Secret([UInt8](repeating: 6, count: 32)))

    /// A CAR that proves a lexicon; empty when it can't be made, which the tests of the corpus see.
    private static let proof: [UInt8] = {
        guard let name, let authority, let key, let record = try? JSON.parsePlain(Bytes(documents[0])) else {
            return []
        }
        let document = DAGCBOR.encode(record)
        let path = Bytes("com.atproto.lexicon.schema/") + name.bytes
        var car: [UInt8] = []
        do {
            var blocks: [(CID, [UInt8])] = [(CID(hashing: document), document)]
            let builder = MSTBuilder { blocks.append(($0, [UInt8]($1))) }
            try builder.append(path, CID(hashing: document))
            let rev = TIDMaker(clockID: 1).next(now: Timestamp(seconds: 1_700_000_000))
            let commit = try Commit(did: authority, rev: rev, data: try builder.finish(), signedBy: key).encoded()
            CARWriter.appendHeader(CID(hashing: commit), to: &car)
            CARWriter.append(CID(hashing: commit), commit, to: &car)
            for (cid, block) in blocks { CARWriter.append(cid, block, to: &car) }
            return car
        } catch {
            return []
        }
    }()

    private static func closed(_ schema: Schema, _ lexicon: Lexicon) -> ClosedSchema {
        ClosedSchema(schema) { reference in
            let name = reference.position(of: 0x23).map { reference.from($0 + 1) } ?? "main"
            return lexicon.definitions[name]?.schema
        }
    }

    /// What other people's domains and servers say that records must be.
    static let lexicons: [FuzzTarget] = [
        FuzzTarget("lexicon", texts: documents) { input in
            guard let lexicon = try? Lexicon(json: Bytes(input)) else { return nil }
            guard let value = try? JSON.parsePlain(Bytes(input)), (try? Lexicon(value)) == lexicon else {
                return "its value is another"
            }
            for definition in lexicon.definitions.values {
                guard let schema = definition.schema else { continue }
                // Whatever the schema says, checking ends; the document itself is as good a value as any.
                _ = closed(schema, lexicon).check(value)
                _ = closed(schema, lexicon).check(.text(lexicon.id.bytes))
            }
            return nil
        },
        FuzzTarget("record-check", texts: records) { input in
            guard let value = try? JSON.parse(Bytes(input)), let post = NSID("app.bsky.feed.post"),
                let schema = RecordSchema.builtIn(post)
            else { return nil }
            let outcome = schema.closed.check(value)
            guard let again = try? DAGCBOR.decode(DAGCBOR.encode(value)), schema.closed.check(again) == outcome else {
                return "its DAG-CBOR is judged otherwise"
            }
            guard outcome == .valid else { return nil }
            guard let text = value["text"]?.text, text.count <= 3_000, text.description.count <= 300,
                value["createdAt"]?.text != nil, value["langs"]?.array?.count ?? 0 <= 3
            else { return "a post that is none is taken" }
            return nil
        },
        FuzzTarget("lexicon-proof", corpus: [proof]) { input in
            guard let name, let authority, let key else { return "no key" }
            let network = LexiconNetwork(
                texts: { _ in ["did=" + authority.bytes] },
                authority: { _, _ in .init(pds: "https://pds.example", key: key.publicKey) },
                get: { _, _ in .init(status: 200, body: Bytes(input)) })
            guard let found = try? LexiconResolver(network: network).resolve(name) else { return nil }
            // What is believed is what was signed.
            guard let record = try? JSON.parsePlain(Bytes(documents[0])) else { return "no document" }
            return found.published.document.array == DAGCBOR.encode(record) ? nil : "another document is believed"
        },
    ]
}
