import ATProto
import Base
import Testing

@Suite struct IdentifierTests {
    @Test("the parts of identifiers")
    func parts() throws {
        let did = try #require(DID("did:web:localhost%3A1234"))
        #expect(did.method == "web")
        #expect(did.methodSpecific == "localhost%3A1234")
        let nsid = try #require(NSID("app.Bsky.feed.postV2"))
        #expect(nsid.authority == "app.Bsky.feed")
        #expect(nsid.name == "postV2")
        #expect(nsid.authorityDomain == "feed.bsky.app")
        let handle = try #require(Handle("Alice.Example.COM"))
        #expect(handle.bytes == "alice.example.com")
        #expect(handle.topLevelDomain == "com")
        #expect(handle == Handle("alice.example.com"))
        #expect(Handle.invalid.bytes == "handle.invalid")
    }

    static let reserved: [(Bytes, Bool)] = [
        ("a.local", true), ("a.ARPA", true), ("a.onion", true), ("a.invalid", true), ("a.internal", true),
        ("a.test", false), ("local.com", false), ("a.localx", false),
    ]

    @Test("reserved top-level domains", arguments: reserved)
    func reservedDomains(_ text: Bytes, _ isReserved: Bool) throws {
        #expect(try #require(Handle(text)).isReserved == isReserved)
    }

    struct Refusal: Sendable, CustomTestStringConvertible {
        let name: String
        let isRefused: @Sendable () -> Bool
        var testDescription: String { name }
        init(_ name: String, _ isRefused: @escaping @Sendable () -> Bool) {
            self.name = name
            self.isRefused = isRefused
        }
    }

    static func long(_ count: Int) -> Bytes { Bytes([UInt8](repeating: 0x61, count: count)) }

    static let refusals: [Refusal] = [
        Refusal("DID of 2,049 bytes") { DID("did:a:" + long(2_043)) == nil },
        Refusal("DID with a line feed") { DID("did:a:b\n") == nil },
        Refusal("DID with a NUL") { DID("did:a:b\u{0}") == nil },
        Refusal("DID with a letter that is no ASCII") { DID("did:a:é") == nil },
        Refusal("J010 record key .") { RecordKey(".") == nil },
        Refusal("J010 record key ..") { RecordKey("..") == nil },
        Refusal("J010 record key a/b") { RecordKey("a/b") == nil },
        Refusal("J010 record key of 513") { RecordKey(long(513)) == nil },
        Refusal("J010 record key %41") { RecordKey("%41") == nil },
        Refusal("J010 record key with NUL") { RecordKey("a\u{0}") == nil },
        Refusal("J010 record key é") { RecordKey("é") == nil },
        Refusal("record key of nothing") { RecordKey(Bytes()) == nil },
        Refusal("J011 NSID of two") { NSID("app.bsky") == nil },
        Refusal("J011 NSID with an empty segment") { NSID("APP..x") == nil },
        Refusal("J011 NSID of 318") {
            NSID("com." + Bytes([[UInt8]](repeating: Array("middle.".utf8), count: 44).joined() + []) + long(6)) == nil
        },
        Refusal("NSID with a combining mark") { NSID("com.example.fo\u{301}o") == nil },
        Refusal("J012 handle of 254") {
            Handle(Bytes([[UInt8]](repeating: Array("abcdefghi.".utf8), count: 25).joined() + []) + "test") == nil
        },
        Refusal("J012 handle with a leading hyphen") { Handle("-a.test") == nil },
        Refusal("J012 handle with a last dot") { Handle("a.b.") == nil },
        Refusal("J012 IPv4") { Handle("127.0.0.1") == nil },
        Refusal("J012 Kelvin sign") { Handle("\u{212A}.test") == nil },
        Refusal("handle with CR LF") { Handle("a.test\r\n") == nil },
        Refusal("J016 query") { ATURI("at://did:a:b/com.example.foo/a?x") == nil },
        Refusal("J016 fragment") { ATURI("at://did:a:b/com.example.foo/a#x") == nil },
        Refusal("at-uri of nothing") { ATURI("at://") == nil },
        Refusal("C048 a//b") { RepoPath("com.example.foo//b") == nil },
        Refusal("C048 a/b/c") { RepoPath("com.example.foo/b/c") == nil },
        Refusal("C048 ../x") { RepoPath("../x") == nil },
        Refusal("C048 no slash") { RepoPath("com.example.foo") == nil },
        Refusal("C048 not ASCII") { RepoPath("com.example.foo/é") == nil },
        Refusal("C048 1,025 bytes") { RepoPath("com.example.foo/" + long(1_009)) == nil },
        Refusal("uri with a blank") { !StringFormat.isURI("https://a b") },
        Refusal("uri with a line feed") { !StringFormat.isURI("https://a\n") },
        Refusal("language with a variant twice") { !StringFormat.isLanguage("de-DE-1901-1901") },
        Refusal("language of nothing") { !StringFormat.isLanguage(Bytes()) },
        Refusal("language private use of nothing") { !StringFormat.isLanguage("x") },
    ]

    @Test("refused", arguments: refusals)
    func refused(_ row: Refusal) { #expect(row.isRefused()) }

    @Test("the longest of each is accepted")
    func longest() {
        #expect(DID("did:a:" + Self.long(2_042)) != nil)
        #expect(RecordKey(Self.long(512)) != nil)
        #expect(
            Handle(Bytes([[UInt8]](repeating: Array("abcdefghi.".utf8), count: 24).joined() + []) + "abcdefgh.test")?
                .bytes.count == 253)
    }

    @Test("AT URIs, put together and taken apart")
    func atURI() throws {
        let did = try #require(DID("did:plc:asdf123"))
        let collection = try #require(NSID("com.example.foo"))
        let rkey = try #require(RecordKey("self"))
        let uri = ATURI(.did(did), collection, rkey)
        #expect(uri.bytes == "at://did:plc:asdf123/com.example.foo/self")
        #expect(ATURI(uri.bytes) == uri)
        #expect(uri.authority.did == did)
        #expect(uri.collection == collection)
        #expect(uri.rkey == rkey)
        #expect(ATURI(did, RepoPath(collection, rkey)) == uri)
        #expect(ATURI(.did(did)).bytes == "at://did:plc:asdf123")
        let other = try #require(ATURI("at://Alice.test/com.example.foo"))
        #expect(other.authority.handle == Handle("alice.test"))
        #expect(other.rkey == nil)
    }

    @Test("repository paths, and their order")
    func repoPath() throws {
        let path = try #require(RepoPath("com.example.foo/self"))
        #expect(path.collection == NSID("com.example.foo"))
        #expect(path.rkey == RecordKey("self"))
        #expect(RepoPath(path.collection, path.rkey) == path)
        #expect(try #require(RepoPath("com.example.foo/-")) < path)
        #expect(try #require(RepoPath("com.example.foo-a.x/a")) < path)
    }
}

@Suite struct TIDTests {
    @Test("a moment and a clock, there and back")
    func roundTrip() throws {
        let tid = TID(timestamp: Timestamp(microseconds: 1_700_000_000_123_456), clockID: 1_023)
        #expect(tid.timestamp.microseconds == 1_700_000_000_123_456)
        #expect(tid.clockID == 1_023)
        #expect(TID(tid.bytes) == tid)
        #expect(tid.bytes == "3ke6kg42cm2zz")
        #expect(RecordKey(tid).bytes == tid.bytes)
        #expect(TID(timestamp: Timestamp(microseconds: -5), clockID: 0).bytes == "2222222222222")
        #expect(TID(timestamp: Timestamp(microseconds: .max), clockID: 1_023).bytes == "jzzzzzzzzzzzz")
    }

    @Test("the order of values is the order of texts")
    func order() throws {
        let texts: [Bytes] = [
            "2222222222222", "2222222222223", "222222222222a", "3jzfcijpj2z2a", "bzzzzzzzzzzzz", "jzzzzzzzzzzzz",
        ]
        let tids = try texts.map { try #require(TID($0)) }
        #expect(tids == tids.sorted())
        #expect(texts == texts.sorted())
        #expect(tids.map(\.bytes) == texts)
    }

    @Test("a maker only goes up: with a still clock, one that goes back, and after a revision in the future")
    func maker() throws {
        let maker = TIDMaker(clockID: 7)
        let now = Timestamp(microseconds: 1_000_000)
        var last = maker.next(now: now)
        #expect(last == TID(timestamp: now, clockID: 7))
        for moment: Int64 in [1_000_000, 1_000_000, 5, -9, 1_000_001] {
            let next = maker.next(now: Timestamp(microseconds: moment))
            #expect(next > last)
            #expect(next.clockID == 7)
            last = next
        }
        let future = TID(timestamp: Timestamp(microseconds: 9_000_000), clockID: 1_000)
        let after = maker.next(now: now, after: future)
        #expect(after > future)
        #expect(after.timestamp.microseconds == 9_000_001)
        // The forged revision didn't move the maker.
        #expect(maker.next(now: now).timestamp.microseconds < 1_000_100)
        // A revision of the same microsecond with a larger clock id.
        let same = TID(timestamp: Timestamp(microseconds: 20_000_000), clockID: 8)
        #expect(maker.next(now: Timestamp(microseconds: 20_000_000), after: same) > same)
        // The very TID that the clock would give.
        #expect(TIDMaker(clockID: 7).next(now: now, after: TID(timestamp: now, clockID: 7)).timestamp > now)
        let largest = try #require(TID("jzzzzzzzzzzzz"))
        #expect(maker.next(now: now, after: largest) == largest)
    }

    @Test("threads get different ones")
    func threads() async {
        let maker = TIDMaker(clockID: 1)
        let made = await withTaskGroup(of: [TID].self) { group in
            for _ in 0..<4 {
                group.addTask { (0..<500).map { _ in maker.next(now: Timestamp(microseconds: 1)) } }
            }
            return await group.reduce(into: []) { $0 += $1 }
        }
        #expect(Set(made).count == 2_000)
    }
}

@Suite struct DatetimeTests {
    static let moments: [(Bytes, Int64)] = [
        ("1970-01-01T00:00:00Z", 0), ("1985-04-12T23:20:50.123Z", 482_196_050_123_000),
        ("1969-12-31T23:59:59.999999Z", -1), ("2024-02-29T00:00:00.5+00:00", 1_709_164_800_500_000),
        ("2000-02-29T12:00:00-07:00", 951_850_800_000_000), ("2024-05-01T12:34:56.1234567Z", 1_714_566_896_123_456),
        ("0001-01-01T00:00:00Z", -62_135_596_800_000_000), ("9999-12-31T23:59:59Z", 253_402_300_799_000_000),
    ]

    @Test("moments", arguments: moments)
    func names(_ text: Bytes, _ microseconds: Int64) {
        #expect(Datetime(text)?.timestamp.microseconds == microseconds)
        #expect(Datetime(text)?.bytes == text)
    }

    static let notMoments: [Bytes] = [
        "2024-02-30T00:00:00Z", "2023-02-29T00:00:00Z", "1900-02-29T00:00:00Z", "2024-04-31T00:00:00Z",
        "0000-01-01T00:00:00Z", "2016-12-31T23:59:60Z", "2024-01-01T24:00:00Z", "2024-01-01T00:00:00+24:00",
        "2024-01-01T00:00:00+01:60", "0001-01-01T00:00:00+00:01",
    ]

    @Test("J015 the form without a moment", arguments: notMoments)
    func namesNone(_ text: Bytes) {
        #expect(Datetime.isSyntax(text))
        #expect(Datetime(text) == nil)
    }

    @Test(
        "J015 not the form",
        arguments: [
            "2024-01-01T00:00:00", "2024-01-01T00:00:00.Z", "2024-01-01 00:00:00Z", "2024-01-01T00:00:00-00:00", "",
            "2024-01-01T00:00:00Z\n", "2024-01-01T00:00:00+0100", "2024-01-01T00:00:00.123",
            "2024-01-01T00:00:00.1234567890123456789012345678901234567890123456Z",
        ] as [Bytes])
    func notSyntax(_ text: Bytes) {
        #expect(!Datetime.isSyntax(text))
        #expect(Datetime(text) == nil)
    }

    @Test("what the clock writes is read back")
    func ofTheClock() {
        for microseconds: Int64 in [0, 1_714_566_896_123_000, 951_850_800_000_000, 4_102_444_799_999_000] {
            let text = Bytes(Timestamp(microseconds: microseconds).iso8601Bytes)
            #expect(Datetime(text)?.timestamp.microseconds == microseconds)
        }
    }
}
