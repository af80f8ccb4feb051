import ATProto
import Base
import Testing

@testable import Lexicons

/// Every type and constraint of the language, against values. Half of the rows are wrong.
@Suite struct SchemaTests {
    struct Row: Sendable, CustomTestStringConvertible {
        let schema: String
        let value: String
        /// After `Value`; nil: taken.
        let problem: String?
        var testDescription: String { "\(schema.prefix(80)) \(value.prefix(40))" }

        init(_ schema: String, _ value: String, _ problem: String? = nil) {
            (self.schema, self.value, self.problem) = ("{\"type\":\(schema)}", value, problem)
        }
    }

    static let link = #"{"$link":"bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm"}"#
    static func blob(_ type: String = "image/png", _ size: Int = 9) -> String {
        "{\"$type\":\"blob\",\"ref\":\(link),\"mimeType\":\"\(type)\",\"size\":\(size)}"
    }
    static let family = "👨‍👩‍👧‍👦"
    static let ring = ##""object","required":["next"],"properties":{"next":{"type":"ref","ref":"#node"}}"##

    static func format(_ name: String, _ good: String, _ bad: String, _ problem: String) -> [Row] {
        let schema = "\"string\",\"format\":\"\(name)\""
        return [Row(schema, "\"\(good)\""), Row(schema, "\"\(bad)\"", " \(problem)")]
    }

    static let scalars: [Row] = [
        Row(#""boolean""#, "true"), Row(#""boolean""#, "1", " must be a boolean"),
        Row(#""boolean","const":true"#, "true"), Row(#""boolean","const":true"#, "false", " must be true"),
        Row(#""boolean","default":true"#, "null", " must be a boolean"),
        Row(#""integer""#, "-9223372036854775808"), Row(#""integer""#, "\"1\"", " must be an integer"),
        Row(#""integer","minimum":1,"maximum":3"#, "3"),
        Row(#""integer","minimum":1,"maximum":3"#, "4", " can not be greater than 3"),
        Row(#""integer","minimum":1,"maximum":3"#, "1"),
        Row(#""integer","minimum":1,"maximum":3"#, "0", " can not be less than 1"),
        Row(#""integer","enum":[4,9]"#, "9"), Row(#""integer","enum":[4,9]"#, "5", " must be one of (4|9)"),
        Row(#""integer","const":42"#, "42"), Row(#""integer","const":42"#, "41", " must be 42"),
        Row(#""string""#, "\"\""), Row(#""string""#, "null", " must be a string"),
        Row(#""string","maxLength":2"#, "\"é\""),
        Row(#""string","maxLength":2"#, "\"éa\"", " must not be longer than 2 bytes"),
        Row(#""string","minLength":2"#, "\"é\""),
        Row(#""string","minLength":2"#, "\"a\"", " must not be shorter than 2 bytes"),
        Row(#""string","maxGraphemes":1"#, "\"\(family)\""),
        Row(#""string","maxGraphemes":1"#, "\"\(family)a\"", " must not be longer than 1 graphemes"),
        Row(#""string","maxGraphemes":1"#, #""\r\n""#),
        Row(#""string","maxGraphemes":2"#, #""e\u0301e\u0301""#),
        Row(#""string","minGraphemes":2"#, "\"ab\""),
        Row(#""string","minGraphemes":2"#, "\"\(family)\"", " must not be shorter than 2 graphemes"),
        Row(#""string","enum":["a","b"]"#, "\"b\""),
        Row(#""string","enum":["a","b"]"#, "\"c\"", " must be one of (a|b)"),
        // The same text to people, other bytes.
        Row(#""string","enum":["é"]"#, #""e\u0301""#, " must be one of (é)"),
        Row(#""string","knownValues":["a"]"#, "\"b\""),
        Row(#""string","const":"a""#, "\"a\""), Row(#""string","const":"a""#, "\"A\"", " must be a"),
        Row(#""bytes","minLength":1,"maxLength":2"#, #"{"$bytes":"AAA"}"#),
        Row(#""bytes","minLength":1,"maxLength":2"#, #"{"$bytes":"AAAA"}"#, " must not be larger than 2 bytes"),
        Row(#""bytes","minLength":1,"maxLength":2"#, #"{"$bytes":""}"#, " must not be smaller than 1 bytes"),
        Row(#""bytes""#, "\"AAA\"", " must be a byte array"), Row(#""bytes""#, link, " must be a byte array"),
        Row(#""cid-link""#, link), Row(#""cid-link""#, "\"bafy\"", " must be a CID"),
        Row(#""token""#, "\"a.b.c#d\"", " must not be there: a token is no value"),
    ]

    static let formats: [Row] =
        format("did", "did:web:a.b", "a.b", "must be a valid did")
        + format("handle", "a.b", "a", "must be a valid handle")
        + format("at-identifier", "did:web:a.b", "@a.b", "must be a valid did or a handle")
        + format("at-identifier", "a.b", "", "must be a valid did or a handle")
        + format("nsid", "a.b.c", "a.b", "must be a valid nsid")
        + format("at-uri", "at://a.b/c.d.e/f", "https://a.b", "must be a valid at-uri")
        + format(
            "cid", "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm", "bafy!", "must be a cid string")
        + format("datetime", "2025-01-01T00:00:00Z", "2025-01-01", "must be a valid atproto datetime")
        + format("tid", "3jzfcijpj2z2a", "3jzfcijpj2z2", "must be a valid TID")
        + format("record-key", "self", ".", "must be a valid record key")
        + format("uri", "https://a.b", "a.b", "must be a uri")
        + format("language", "pt-BR", "-", "must be a well-formed BCP 47 language tag")

    static let containers: [Row] = [
        Row(#""blob","accept":["image/*"],"maxSize":9"#, blob()),
        Row(#""blob","accept":["image/*"]"#, blob("imagen/png"), " must not have the media type imagen/png"),
        Row(#""blob","accept":["*/*"]"#, blob("a/b")), Row(#""blob""#, blob("a/b")),
        Row(#""blob","accept":["image/png"]"#, blob("image/gif"), " must not have the media type image/gif"),
        Row(#""blob","maxSize":8"#, blob(), " must not be larger than 8 bytes"),
        Row(#""blob""#, link, " should be a blob ref"), Row(#""blob""#, "{}", " should be a blob ref"),
        Row(#""blob""#, #"{"$type":"blob","mimeType":"a/b","size":1}"#, " should be a blob ref"),
        Row(#""array","items":{"type":"integer"},"minLength":1,"maxLength":2"#, "[1,2]"),
        Row(#""array","items":{"type":"integer"},"minLength":1"#, "[]", " must not have fewer than 1 elements"),
        Row(#""array","items":{"type":"integer"},"maxLength":2"#, "[1,2,3]", " must not have more than 2 elements"),
        Row(#""array","items":{"type":"integer"}"#, "[1,\"2\"]", "/1 must be an integer"),
        Row(#""array","items":{"type":"integer"}"#, "{}", " must be an array"),
        Row(#""object","properties":{"a":{"type":"integer"}}"#, #"{"b":"more"}"#),
        Row(#""object","properties":{"a":{"type":"integer"}}"#, #"{"a":null}"#, "/a must be an integer"),
        Row(#""object","nullable":["a"],"properties":{"a":{"type":"integer"}}"#, #"{"a":null}"#),
        Row(
            #""object","nullable":["a"],"properties":{"a":{"type":"integer"}}"#, #"{"a":"x"}"#, "/a must be an integer"),
        Row(#""object","required":["a"],"properties":{"a":{"type":"integer"}}"#, "{}", " must have the property \"a\""),
        Row(
            #""object","required":["bb","a"],"properties":{"bb":{"type":"integer"},"a":{"type":"integer"}}"#, "{}",
            " must have the property \"a\""),
        Row(#""object""#, "[]", " must be an object"), Row(#""object""#, link, " must be an object"),
        Row(#""object","properties":{"a":{"type":"unknown"}}"#, #"{"a":{"b":[1]}}"#),
        Row(#""object","properties":{"a":{"type":"unknown"}}"#, #"{"a":1}"#, "/a must be an object"),
        Row(#""object","properties":{"a":{"type":"unknown"}}"#, "{\"a\":\(blob())}", "/a must be an object"),
        Row(#""object","properties":{"a":{"type":"unknown"}}"#, #"{"a":{"$bytes":"AAA"}}"#, "/a must be an object"),
        Row(##""object","properties":{"a":{"type":"ref","ref":"#small"}}"##, #"{"a":7}"#),
        Row(
            ##""object","properties":{"a":{"type":"ref","ref":"#small"}}"##, #"{"a":8}"#, "/a can not be greater than 7"
        ),
        Row(
            ##""object","properties":{"a":{"type":"union","refs":["#x","#y"]}}"##,
            #"{"a":{"$type":"com.example.thing#x","n":1}}"#),
        Row(
            ##""object","properties":{"a":{"type":"union","refs":["#x","#y"]}}"##,
            #"{"a":{"$type":"com.example.thing#x","n":"1"}}"#, "/a/n must be an integer"),
        Row(##""object","properties":{"a":{"type":"union","refs":["#x"]}}"##, #"{"a":{"$type":"com.example.other"}}"#),
        Row(
            ##""object","properties":{"a":{"type":"union","refs":["#x"],"closed":true}}"##,
            #"{"a":{"$type":"com.example.other"}}"#, "/a $type must be one of com.example.thing#x"),
        Row(
            ##""object","properties":{"a":{"type":"union","refs":["#x"],"closed":true}}"##, ##"{"a":{"$type":"#x"}}"##,
            "/a $type must be one of com.example.thing#x"),
        Row(
            ##""object","properties":{"a":{"type":"union","refs":["#x"]}}"##, #"{"a":{"n":1}}"#,
            "/a must be an object which includes the \"$type\" property"),
        Row(
            ##""object","properties":{"a":{"type":"union","refs":["#x"]}}"##, #"{"a":[]}"#,
            "/a must be an object which includes the \"$type\" property"),
        Row(#""object","properties":{"a":{"type":"union","refs":[]}}"#, #"{"a":{"$type":"x"}}"#),
        // A definition that has itself inside, and a value that goes down as far as values can.
        Row(ring, #"{"next":{"next":{"next":{}}}}"#, "/next/next/next must have the property \"next\""),
        Row(##""object","properties":{"next":{"type":"ref","ref":"#thing"}}"##, #"{"next":{"next":{"next":{}}}}"#),
        Row(
            ##""object","properties":{"next":{"type":"ref","ref":"#thing"}}"##, #"{"next":{"next":{"next":1}}}"#,
            "/next/next/next must be an object"),
    ]

    @Test(arguments: scalars + formats + containers) func checked(_ row: Row) throws {
        let lexicon = try Lexicon(
            """
            {"lexicon":1,"id":"com.example.thing","defs":{"thing":\(row.schema),
            "small":{"type":"integer","maximum":7},"node":{"type":\(Self.ring)},
            "x":{"type":"object","properties":{"n":{"type":"integer"}}},"y":{"type":"object"}}}
            """)
        let schema =
            switch try #require(lexicon.definitions["thing"]) {
            case .schema(let schema): schema
            default: throw SchemaProblem("is no schema")
            }
        let closed = Oracle.closed(schema, in: [lexicon.id.bytes: lexicon])
        #expect(closed.missing == [])
        #expect(closed.problem(try JSON.parse(Bytes(row.value)))?.sentence("Value") == row.problem.map { "Value\($0)" })
    }

    /// What nobody has a definition for makes a value neither right nor wrong; what is known of it still counts.
    @Test func aMissingDefinitionIsTold() throws {
        let lexicon = try Lexicon(
            """
            {"lexicon":1,"id":"com.example.thing","defs":{"main":{"type":"record","key":"any","record":{"type":"object",
            "properties":{"a":{"type":"ref","ref":"com.example.other#thing"},"b":{"type":"integer"},
            "c":{"type":"union","refs":["com.example.else"]}}}}}}
            """)
        let closed = Oracle.closed(try #require(lexicon.main?.schema), in: [lexicon.id.bytes: lexicon])
        #expect(closed.missing == ["com.example.other#thing", "com.example.else"])
        func check(_ json: String) throws -> ClosedSchema.Outcome { closed.check(try JSON.parse(Bytes(json))) }
        #expect(try check("{}") == .valid)
        #expect(try check(#"{"b":1,"c":{"$type":"a.b.c"}}"#) == .valid)
        #expect(try check(#"{"a":1}"#) == .unknown("com.example.other#thing"))
        #expect(try check(#"{"c":{"$type":"com.example.else"}}"#) == .unknown("com.example.else"))
        #expect(try check(#"{"a":1,"b":"x"}"#) == .invalid(SchemaProblem("must be an integer").inside("b")))
    }

    /// Definitions that each bring another along end at the limit.
    @Test func aChainOfDefinitionsEnds() {
        let start = Schema.reference("com.example.n0")
        var asked = 0
        let closed = ClosedSchema(start) { reference in
            asked += 1
            let next = (Int(reference.from(13).description) ?? 0) + 1
            return .fields(["next": .reference(Bytes("com.example.n\(next)"))])
        }
        #expect(asked == ClosedSchema.definitionsMax)
        #expect(closed.missing.count == 1)
        var value = Value.map([])
        for _ in 0..<100 { value = .map([Value.Entry(key: "next", value: value)]) }
        #expect(closed.problem(value)?.message == "must have the property \"next\"")
        for _ in 0..<400 { value = .map([Value.Entry(key: "next", value: value)]) }
        #expect(closed.problem(value)?.message == "must not be nested so deep")
    }

    @Test func aGiantEnumIsNotRepeatedInItsMessage() throws {
        let words = (0..<1_000).map { "\"w\($0)\"" }.joined(separator: ",")
        let lexicon = try Lexicon(ParserTests.document("\"thing\":{\"type\":\"string\",\"enum\":[\(words)]}"))
        let schema = try #require(lexicon.definitions["thing"]?.schema)
        let problem = try #require(ClosedSchema(schema).problem(.text("x")))
        #expect(problem.message.count < 100 && problem.message.hasSuffix("|w15|…)"))
    }
}
