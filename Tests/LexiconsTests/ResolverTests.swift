import ATProto
import Base
import Crypto
import Testing

@testable import Lexicons

/// From a name to a proved document, and everything that is none.
@Suite struct ResolverTests {
    static let name = nsid("com.example.cal.event")
    static let document = recordType("com.example.cal.event", #""n":{"type":"integer"}"#)

    @Test func resolved() throws {
        let authority = Authority()
        try authority.publish(["com.example.cal.event": Self.document])
        let (published, lexicon) = try LexiconResolver(network: authority.network).resolve(Self.name)
        #expect(lexicon == (try Lexicon(Self.document)))
        #expect(
            published.uri.bytes
                == "at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/com.atproto.lexicon.schema/com.example.cal.event")
        #expect(published.cid == CID(hashing: published.document))
        #expect(
            authority.asked == [
                "TXT _lexicon.cal.example.com", "DID",
                "GET https://pds.example.org/xrpc/com.atproto.sync.getRecord?did=did:plc:ewvi7nxzyoun6zhxrhs64oiz"
                    + "&collection=com.atproto.lexicon.schema&rkey=com.example.cal.event",
            ])
    }

    struct Row: Sendable, CustomTestStringConvertible {
        let name: String
        let error: LexiconError
        let change: @Sendable (Authority) throws -> Void
        var testDescription: String { name }

        init(_ name: String, _ error: LexiconError, _ change: @escaping @Sendable (Authority) throws -> Void) {
            (self.name, self.error, self.change) = (name, error, change)
        }

        /// A proof that is made otherwise.
        init(
            _ name: String, _ error: LexiconError, document: String = ResolverTests.document,
            making change: @escaping @Sendable (inout Authority.Making) -> Void
        ) {
            self.init(name, error) { authority in
                var making = Authority.Making()
                change(&making)
                let proof = try Authority.proof(of: ResolverTests.name, Authority.record(document), making)
                authority.set { $0.proofs[ResolverTests.name.bytes] = .init(status: 200, body: proof) }
            }
        }

        /// Another answer of the server.
        init(_ name: String, _ error: LexiconError, status: Int, body: Bytes = "{}") {
            self.init(name, error) { authority in
                authority.set { $0.proofs[ResolverTests.name.bytes] = .init(status: status, body: body) }
            }
        }
    }

    static let domain: Bytes = "_lexicon.cal.example.com"
    static let mine = "did=\(Authority.did)"

    static let rows: [Row] = [
        Row("no TXT", .notFound(name)) { $0.set { $0.texts = [:] } },
        Row("TXT of the domain above", .notFound(name)) {
            $0.set { $0.texts = ["_lexicon.example.com": [Bytes(mine)]] }
        },
        Row("TXT of something else", .notFound(name)) { $0.set { $0.texts[domain] = ["v=spf1", "DID=x"] } },
        Row("TXT that is no DID", .notFound(name)) { $0.set { $0.texts[domain] = ["did=me"] } },
        Row("two accounts", .ambiguous(name)) { $0.set { $0.texts[domain] = [Bytes(mine), "did=did:web:b.example"] } },
        Row("two accounts, one of them none", .ambiguous(name)) {
            $0.set { $0.texts[domain] = [Bytes(mine), "did="] }
        },
        Row("an account that isn't there", .notFound(name)) { $0.set { $0.texts[domain] = ["did=did:web:b.example"] } },
        Row("an account without a key", .notFound(name)) { $0.set { $0.key = nil } },
        Row("nobody answers", .unreachable(name)) { $0.set { $0.isDown = true } },
        Row("the server refuses", .unreachable(name), status: 500),
        Row("the server limits", .unreachable(name), status: 429),
        Row("no such record", .notFound(name), status: 400), Row("no such repository", .notFound(name), status: 404),
        Row(
            "an answer without end", .unreachable(name), status: 200,
            body: Bytes([UInt8](repeating: 0, count: (2 << 20) + 1))),
        Row("no CAR", .unproved(name), status: 200, body: "{}"),
        Row("an empty answer", .unproved(name), status: 200, body: ""),
        Row("another account's commit", .unproved(name)) { $0.did = DID("did:web:b.example")! },
        Row("signed by another", .unproved(name)) { $0.key = Authority.other },
        Row("the record stayed out", .unproved(name)) { $0.withoutRecord = true },
        Row("the tree stayed out", .unproved(name)) { $0.withoutTree = true },
        Row("too many blocks", .unproved(name)) { $0.padding = 200 },
        Row("a record of another name", .notFound(name)) { $0.name = "com.example.cal.other" },
        Row("a record of another collection", .notFound(name)) { $0.collection = "com.example.lexicon" },
        Row(
            "another id inside", .invalid(name, SchemaProblem("must be com.example.cal.event").inside("id")),
            document: recordType("com.example.cal.other")
        ) { _ in },
        Row("no lexicon", .invalid(name, SchemaProblem("must be 1").inside("lexicon")), document: "{}") { _ in },
        Row("a changed record", .unproved(name)) { authority in
            var proof = try Authority.proof(of: name, Authority.record(document)).array
            let place = try #require(Bytes(proof).description.utf8.count > 0 ? proof.count - 5 : nil)
            proof[place] ^= 1
            let changed = Bytes(proof)
            authority.set { $0.proofs[name.bytes] = .init(status: 200, body: changed) }
        },
        Row("a proof cut short", .unproved(name)) { authority in
            let proof = try Authority.proof(of: name, Authority.record(document))
            authority.set { $0.proofs[name.bytes] = .init(status: 200, body: proof.upTo(proof.count - 1)) }
        },
    ]

    @Test(arguments: rows) func refused(_ row: Row) throws {
        let authority = Authority()
        try authority.publish(["com.example.cal.event": Self.document])
        try row.change(authority)
        #expect(throws: row.error) { try LexiconResolver(network: authority.network).resolve(Self.name) }
    }

    /// A key that has changed since the account's document was cached costs one more try.
    @Test func aNewKeyIsAskedFor() throws {
        let authority = Authority()
        try authority.publish(["com.example.cal.event": Self.document])
        authority.set { $0.key = Authority.other.publicKey }
        #expect(try LexiconResolver(network: authority.network).resolve(Self.name).lexicon.id == Self.name)
        #expect(authority.asked.filter { $0.hasPrefix("GET") }.count == 2)
    }

    /// The same name twice in DNS is one answer.
    @Test func theSameTextTwice() throws {
        let authority = Authority()
        try authority.publish(["com.example.cal.event": Self.document])
        authority.set { $0.texts[Self.domain] = [Bytes(Self.mine), "other", Bytes(Self.mine)] }
        #expect(throws: Never.self) { try LexiconResolver(network: authority.network).resolve(Self.name) }
    }
}
