import Testing

@testable import ATProto
@testable import Base
@testable import Lexicons

/// What the built-in shapes take and refuse. Half of the rows are wrong.
@Suite struct BuiltInTests {
    struct Row: Sendable, CustomTestStringConvertible {
        let name: String
        let collection: String
        let json: String
        let problem: String?
        var testDescription: String { name }

        init(_ name: String, _ collection: String, _ json: String, _ problem: String? = nil) {
            (self.name, self.collection, self.json, self.problem) = (name, collection, json, problem)
        }
    }

    static let now = "\"createdAt\":\"2025-06-15T12:00:00.000Z\""
    static let target = "bafyreie5cvv4h45feadgeuwhbcutmh6t2ceseocckahdoe6uat64zmz454"
    static let ref = "{\"uri\":\"at://did:web:a.test/a.b.c/d\",\"cid\":\"\(target)\"}"

    static func post(_ rest: String) -> String { "{\"text\":\"x\",\(now)\(rest.isEmpty ? "" : ",")\(rest)}" }

    static func blob(_ type: String, _ size: Int) -> String {
        let link = "{\"$link\":\"bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku\"}"
        return "{\"$type\":\"blob\",\"ref\":\(link),\"mimeType\":\"\(type)\",\"size\":\(size)}"
    }

    static func images(_ images: [String]) -> String {
        "\"embed\":{\"$type\":\"app.bsky.embed.images\",\"images\":[\(images.joined(separator: ","))]}"
    }

    static func facet(_ feature: String, start: String = "0") -> String {
        "\"facets\":[{\"index\":{\"byteStart\":\(start),\"byteEnd\":1},\"features\":[\(feature)]}]"
    }

    static let image = "{\"image\":\(blob("image/png", 9)),\"alt\":\"\"}"
    static let family = "👨‍👩‍👧‍👦"

    static let rows: [Row] = [
        Row("post", "app.bsky.feed.post", post("")),
        Row("post with fields nobody knows", "app.bsky.feed.post", post("\"future\":{\"a\":[1]}")),
        Row("no text", "app.bsky.feed.post", "{\(now)}", "Record must have the property \"text\""),
        Row("text is a number", "app.bsky.feed.post", "{\"text\":1,\(now)}", "Record/text must be a string"),
        Row(
            "300 graphemes of 25 bytes are too many bytes", "app.bsky.feed.post",
            "{\"text\":\"\(String(repeating: family, count: 300))\",\(now)}",
            "Record/text must not be longer than 3000 bytes"),
        Row(
            "100 graphemes of 25 bytes", "app.bsky.feed.post",
            "{\"text\":\"\(String(repeating: family, count: 100))\",\(now)}"),
        Row(
            "301 letters", "app.bsky.feed.post", "{\"text\":\"\(String(repeating: "é", count: 301))\",\(now)}",
            "Record/text must not be longer than 300 graphemes"),
        Row("three languages", "app.bsky.feed.post", post("\"langs\":[\"en\",\"pt-BR\",\"de\"]")),
        Row(
            "four languages", "app.bsky.feed.post", post("\"langs\":[\"en\",\"pt\",\"de\",\"fr\"]"),
            "Record/langs must not have more than 3 elements"),
        Row(
            "no language", "app.bsky.feed.post", post("\"langs\":[\"en\",\"!\"]"),
            "Record/langs/1 must be a well-formed BCP 47 language tag"),
        Row("reply", "app.bsky.feed.post", post("\"reply\":{\"root\":\(ref),\"parent\":\(ref)}")),
        Row("reply is text", "app.bsky.feed.post", post("\"reply\":\"x\""), "Record/reply must be an object"),
        Row("four images", "app.bsky.feed.post", post(images([image, image, image, image]))),
        Row(
            "five images", "app.bsky.feed.post", post(images([image, image, image, image, image])),
            "Record/embed/images must not have more than 4 elements"),
        Row(
            "an image that is a video", "app.bsky.feed.post",
            post(images(["{\"image\":\(blob("video/mp4", 9)),\"alt\":\"\"}"])),
            "Record/embed/images/0/image must not have the media type video/mp4"),
        Row(
            "an image too large", "app.bsky.feed.post",
            post(images(["{\"image\":\(blob("image/png", 2_000_001)),\"alt\":\"\"}"])),
            "Record/embed/images/0/image must not be larger than 2000000 bytes"),
        Row(
            "an image without alt", "app.bsky.feed.post", post(images(["{\"image\":\(blob("image/png", 9))}"])),
            "Record/embed/images/0 must have the property \"alt\""),
        Row(
            "an image of no width", "app.bsky.feed.post",
            post(
                images([
                    "{\"image\":\(blob("image/png", 9)),\"alt\":\"\",\"aspectRatio\":{\"width\":0,\"height\":1}}"
                ])), "Record/embed/images/0/aspectRatio/width can not be less than 1"),
        Row(
            "quote with images", "app.bsky.feed.post",
            post(
                """
                "embed":{"$type":"app.bsky.embed.recordWithMedia","record":{"record":\(ref)},
                "media":{"$type":"app.bsky.embed.images","images":[\(image)]}}
                """)),
        Row(
            "quote of nothing with images", "app.bsky.feed.post",
            post(
                """
                "embed":{"$type":"app.bsky.embed.recordWithMedia","record":{},
                "media":{"$type":"app.bsky.embed.images","images":[\(image)]}}
                """), "Record/embed/record must have the property \"record\""),
        Row("an embed nobody knows", "app.bsky.feed.post", post("\"embed\":{\"$type\":\"com.example.embed\"}")),
        Row(
            "an embed that is a list", "app.bsky.feed.post", post("\"embed\":[]"),
            "Record/embed must be an object which includes the \"$type\" property"),
        Row(
            "mention", "app.bsky.feed.post",
            post(facet("{\"$type\":\"app.bsky.richtext.facet#mention\",\"did\":\"did:web:a.test\"}"))),
        Row(
            "mention of a handle", "app.bsky.feed.post",
            post(facet("{\"$type\":\"app.bsky.richtext.facet#mention\",\"did\":\"a.test\"}")),
            "Record/facets/0/features/0/did must be a valid did"),
        Row(
            "facet before the text", "app.bsky.feed.post", post(facet("{\"$type\":\"x.y.z\"}", start: "-1")),
            "Record/facets/0/index/byteStart can not be less than 0"),
        Row("like", "app.bsky.feed.like", "{\"subject\":\(ref),\(now)}"),
        Row(
            "like of a URI alone", "app.bsky.feed.like",
            "{\"subject\":{\"uri\":\"at://did:web:a.test/a.b.c/d\"},\(now)}",
            "Record/subject must have the property \"cid\""),
        Row("repost", "app.bsky.feed.repost", "{\"subject\":\(ref),\(now),\"via\":\(ref)}"),
        Row("follow", "app.bsky.graph.follow", "{\"subject\":\"did:web:a.test\",\(now)}"),
        Row(
            "follow of a handle", "app.bsky.graph.follow", "{\"subject\":\"a.test\",\(now)}",
            "Record/subject must be a valid did"),
        Row(
            "block without a time", "app.bsky.graph.block", "{\"subject\":\"did:web:a.test\"}",
            "Record must have the property \"createdAt\""),
        Row("empty profile", "app.bsky.actor.profile", "{}"),
        Row(
            "profile with a GIF", "app.bsky.actor.profile", "{\"avatar\":\(blob("image/gif", 9))}",
            "Record/avatar must not have the media type image/gif"),
        Row("anything of another collection", "com.example.thing", "{\"text\":1}"),
    ]

    @Test(arguments: rows) func checked(_ row: Row) throws {
        let value = try JSON.parse(Bytes(row.json))
        let schema = RecordSchema.builtIn(try #require(NSID(row.collection)))
        #expect(schema?.closed.problem(value)?.sentence("Record") == row.problem)
        #expect((schema != nil) == (row.collection != "com.example.thing"))
    }

    // MARK: Against what is published

    /// A schema without what a check does not ask for, its references put in their places.
    static func plain(_ schema: Schema) -> Schema {
        switch schema {
        case .boolean(var rule):
            rule.fallback = nil
            return .boolean(rule)
        case .integer(var rule):
            rule.fallback = nil
            return .integer(rule)
        case .string(var rule):
            rule.fallback = nil
            rule.known = []
            return .string(rule)
        case .array(let rule): return .array(ArrayRule(plain(rule.items), count: rule.count))
        case .object(let rule): return .object(plain(rule))
        case .union(let rule):
            return .union(
                UnionRule(
                    rule.variants.map { UnionRule.Variant(type: $0.type, schema: plain($0.schema)) },
                    isClosed: rule.isClosed))
        case .reference(let name): return Oracle.definition(name)?.schema.map(plain) ?? schema
        case .bytes, .link, .blob, .unknown, .token: return schema
        }
    }

    static func plain(_ rule: ObjectRule) -> ObjectRule {
        ObjectRule(
            rule.properties.map {
                ObjectRule.Property(
                    name: $0.name, schema: plain($0.schema), isRequired: $0.isRequired, isNullable: $0.isNullable)
            })
    }

    @Test(.enabled(if: Oracle.isThere), arguments: BuiltIn.records.map(\.id.description))
    func aRecordIsAsPublished(_ id: String) throws {
        let record = try #require(BuiltIn.records.first { $0.id == Bytes(id) })
        guard case .record(let published) = Oracle.all[record.id]?.main else {
            Issue.record("no such lexicon")
            return
        }
        #expect(record.rule.key == published.key)
        #expect(Self.plain(record.rule.object) == Self.plain(published.object))
    }

    @Test(.enabled(if: Oracle.isThere), arguments: BuiltIn.parts.map(\.name.description))
    func aPartIsAsPublished(_ name: String) throws {
        let part = try #require(BuiltIn.parts.first { $0.name == Bytes(name) })
        let published = try #require(Oracle.definition(part.name)?.schema)
        #expect(Self.plain(part.schema) == Self.plain(published))
    }

    /// Every type of records of the network's own applications is built in.
    @Test(.enabled(if: Oracle.isThere)) func allRecordsAreThere() {
        let published = Oracle.all.values.filter { if case .record = $0.main { true } else { false } }
        #expect(published.count >= 25)
        let missing = published.map(\.id.description).filter { RecordSchema.builtIn(nsid($0)) == nil }
        #expect(missing.filter { !$0.hasPrefix("site.standard.") } == [])
        #expect(BuiltIn.records.count == 20 && BuiltIn.definitions.count == BuiltIn.records.count + BuiltIn.parts.count)
    }

    /// The comparison sees a difference.
    @Test func aDifferenceIsSeen() {
        #expect(Self.plain(.text(sizeMax: 1)) != Self.plain(.text(sizeMax: 2)))
        #expect(Self.plain(.fields(["a": .link])) != Self.plain(.fields([:], optional: ["a": .link])))
    }
}
