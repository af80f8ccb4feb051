import Testing

@testable import ATProto
@testable import Base
@testable import Crypto

@Suite struct CommitTests {
    static func fields(_ body: (inout CBORWriter) -> Void) -> [UInt8] {
        var out = CBORWriter()
        body(&out)
        return out.out
    }

    /// A commit's block in which one thing may be other than it should.
    static func block(
        did: Bytes = "did:plc:abcdefghijklmnopqrstuvwx", rev: Bytes = "3jzfcijpj2z2a", signature: [UInt8]? = nil,
        data: CID = cid(1), prev: CID?? = .some(nil), version: Int64 = 3, extra: Bool = false
    ) -> [UInt8] {
        fields { out in
            out.map(prev == nil ? 5 : extra ? 7 : 6)
            out.key("did")
            out.text(did)
            out.key("rev")
            out.text(rev)
            out.key("sig")
            out.bytes(Bytes(signature ?? [UInt8](repeating: 9, count: 64)))
            out.key("data")
            out.link(data)
            if let prev {
                out.key("prev")
                out.optionalLink(prev)
            }
            out.key("version")
            out.integer(version)
            if extra {
                out.key("whatever")
                out.null()
            }
        }
    }

    @Test(arguments: KeyAlgorithm.allCases) func signAndVerify(_ algorithm: KeyAlgorithm) throws {
        let key = try SigningKey.generate(algorithm, entropy: .system)
        let did = try #require(DID("did:plc:abcdefghijklmnopqrstuvwx"))
        let rev = try #require(TID("3jzfcijpj2z2a"))
        let commit = try Commit(did: did, rev: rev, data: cid(1), signedBy: key)
        #expect(commit.signature.count == 64)
        let block = Bytes(commit.encoded())
        #expect(try Commit.decode(block) == commit)
        #expect(Self.block(signature: commit.signature.array) == commit.encoded())
        try commit.verify(did: did, key: key.publicKey)

        let other = try #require(DID("did:plc:abcdefghijklmnopqrstuvwy"))
        #expect(throws: CommitError.invalidField(.did)) { try commit.verify(did: other, key: key.publicKey) }
        for wrong in KeyAlgorithm.allCases {
            let stranger = try SigningKey.generate(wrong, entropy: .system).publicKey
            #expect(throws: CommitError.invalidSignature) { try commit.verify(did: did, key: stranger) }
        }
        var tampered = commit.signature.array
        tampered[40] ^= 1
        let changed: [(String, Commit)] = [
            ("signature", Commit(did: did, rev: rev, data: cid(1), signature: Bytes(tampered))),
            (
                "r is 0",
                Commit(
                    did: did, rev: rev, data: cid(1),
                    signature: Bytes([UInt8](repeating: 0, count: 32) + tampered[32...]))
            ),
            (
                "s is 0",
                Commit(
                    did: did, rev: rev, data: cid(1),
                    signature: Bytes(tampered[..<32] + [UInt8](repeating: 0, count: 32)))
            ),
            ("data", Commit(did: did, rev: rev, data: cid(2), signature: commit.signature)),
            (
                "rev",
                Commit(did: did, rev: try #require(TID("3jzfcijpj2z2b")), data: cid(1), signature: commit.signature)
            ),
        ]
        for (name, commit) in changed {
            #expect(throws: CommitError.invalidSignature, "\(name)") { try commit.verify(did: did, key: key.publicKey) }
        }
    }

    @Test func fieldsAreExact() throws {
        let good = Self.block()
        #expect(try Commit.decode(Bytes(good)).encoded() == good)
        let raw = CID(hashing: [1], codec: .raw)
        let rows: [(String, [UInt8], CommitError)] = [
            ("63 bytes of signature", Self.block(signature: [UInt8](repeating: 1, count: 63)), .invalidField(.sig)),
            ("65 bytes of signature", Self.block(signature: [UInt8](repeating: 1, count: 65)), .invalidField(.sig)),
            ("DER", Self.block(signature: [0x30, 0x44] + [UInt8](repeating: 1, count: 68)), .invalidField(.sig)),
            ("version 2", Self.block(version: 2), .invalidField(.version)),
            ("version -3", Self.block(version: -3), .invalidField(.version)),
            ("prev is a link", Self.block(prev: .some(cid(3))), .invalidField(.prev)),
            ("no prev", Self.block(prev: .none), .malformed(.mapKeys)),
            ("data is raw", Self.block(data: raw), .invalidField(.data)),
            ("one field more", Self.block(extra: true), .malformed(.mapKeys)),
            ("trailing byte", good + [0], .malformed(.trailingData)),
            ("cut off", Array(good.dropLast()), .malformed(.truncated)),
            ("empty", [], .malformed(.truncated)),
            ("an array", [0x86], .malformed(.unexpectedType)),
        ]
        for (name, block, wanted) in rows {
            #expect(throws: wanted, "\(name)") { try Commit.decode(Bytes(block)) }
        }
        for count in 0..<good.count {
            #expect(throws: CommitError.self) { try Commit.decode(Bytes(Array(good[..<count]))) }
        }
    }

    @Test func commitsOfOtherServers() throws {
        let key = try SigningKey.generate(.k256, entropy: .system)
        let other = try SigningKey.generate(.p256, entropy: .system)
        func signed(_ fields: [(Bytes, Value)], by key: SigningKey) throws -> Bytes {
            let entries = fields.map { Value.Entry(key: $0.0, value: $0.1) }
            let signature = try key.sign(SHA256.hash(DAGCBOR.encode(.object(entries))))
            return Bytes(
                DAGCBOR.encode(.object(entries + [Value.Entry(key: "sig", value: .bytes(Bytes(signature)))])))
        }
        let did = ("did" as Bytes, Value.text("did:plc:abcdefghijklmnopqrstuvwx"))
        let data = ("data" as Bytes, Value.link(cid(1)))
        let rev = ("rev" as Bytes, Value.text("3jzfcijpj2z2a"))
        let prev = ("prev" as Bytes, Value.link(cid(2)))
        let rows: [(String, [(Bytes, Value)], TID?)] = [
            ("version 3", [did, data, rev, ("prev", .null), ("version", .integer(3))], TID("3jzfcijpj2z2a")),
            ("version 3 with a prev", [did, data, rev, prev, ("version", .integer(3))], TID("3jzfcijpj2z2a")),
            ("version 3 without prev", [did, data, rev, ("version", .integer(3))], TID("3jzfcijpj2z2a")),
            ("version 2", [did, data, prev, ("version", .integer(2))], nil),
            ("version 2 with a rev", [did, data, rev, prev, ("version", .integer(2))], TID("3jzfcijpj2z2a")),
            ("more fields", [did, data, rev, ("more", .integer(1)), ("version", .integer(3))], TID("3jzfcijpj2z2a")),
        ]
        for (name, fields, rev) in rows {
            let commit = try ForeignCommit(signed(fields, by: key))
            #expect(commit.rev == rev && commit.data == cid(1), "\(name)")
            #expect(commit.isSigned(by: key.publicKey) && !commit.isSigned(by: other.publicKey), "\(name)")
        }
        // A signature holds for what was signed, and for nothing else.
        let first = try signed(rows[0].1, by: key)
        var changed = try #require(try DAGCBOR.decode(first).entries)
        for index in changed.indices where changed[index].key == "data" {
            changed[index] = Value.Entry(key: "data", value: .link(cid(3)))
        }
        #expect(try !ForeignCommit(Bytes(DAGCBOR.encode(.map(changed)))).isSigned(by: key.publicKey))
        // The strict form is one of these.
        let strict = try Commit(
            did: #require(DID("did:plc:abcdefghijklmnopqrstuvwx")), rev: #require(TID("3jzfcijpj2z2a")),
            data: cid(1), signedBy: key)
        #expect(try ForeignCommit(Bytes(strict.encoded())).isSigned(by: key.publicKey))
    }
}
