import ATProto
import Base
import Testing

@testable import Lexicons

/// What is a lexicon and what is none.
@Suite struct ParserTests {
    struct Row: Sendable, CustomTestStringConvertible {
        let name: String
        let json: String
        let problem: String?
        var testDescription: String { name }

        init(_ name: String, _ json: String, _ problem: String? = nil) {
            (self.name, self.json, self.problem) = (name, json, problem)
        }

        /// One definition, called `thing`.
        init(_ name: String, thing: String, _ problem: String? = nil) {
            self.init(name, ParserTests.document("\"thing\":\(thing)"), problem.map { "Lexicon/defs/thing\($0)" })
        }

        /// The definition `main`.
        init(_ name: String, main: String, _ problem: String? = nil) {
            self.init(name, ParserTests.document("\"main\":\(main)"), problem.map { "Lexicon/defs/main\($0)" })
        }
    }

    static func document(_ definitions: String) -> String {
        "{\"lexicon\":1,\"id\":\"com.example.thing\",\"defs\":{\(definitions)}}"
    }

    static func object(_ properties: String, _ rest: String = "") -> String {
        "{\"type\":\"object\",\"properties\":{\(properties)}\(rest)}"
    }

    static let rows: [Row] = [
        Row("token", thing: #"{"type":"token"}"#),
        Row(
            "members of the future",
            #"{"$type":"x","lexicon":1,"id":"a.b.c","revision":9,"defs":{"t":{"type":"token"}}}"#),
        Row("no JSON", "{", "Lexicon invalid JSON at byte 1"),
        Row("an array", "[]", "Lexicon must be an object"),
        Row("version 2", #"{"lexicon":2,"id":"a.b.c","defs":{"t":{"type":"token"}}}"#, "Lexicon/lexicon must be 1"),
        Row("no version", #"{"id":"a.b.c","defs":{"t":{"type":"token"}}}"#, "Lexicon/lexicon must be 1"),
        Row("version as text", #"{"lexicon":"1","id":"a.b.c","defs":{"t":{}}}"#, "Lexicon/lexicon must be 1"),
        Row("id with a fragment", #"{"lexicon":1,"id":"a.b.c#d","defs":{}}"#, "Lexicon/id must be a valid nsid"),
        Row(
            "no definitions", #"{"lexicon":1,"id":"a.b.c","defs":{}}"#,
            "Lexicon/defs must be an object with at least one definition"),
        Row("definition is text", thing: "\"x\"", " must be an object"),
        Row("definition without a type", thing: "{}", " must have the property \"type\""),
        Row("type is a number", thing: #"{"type":1}"#, " must have the property \"type\""),
        Row("type from the future", thing: #"{"type":"map"}"#, " must be of a type that lexicons have, not map"),
        Row(
            "a name with a hash", document(##""#thing":{"type":"token"}"##),
            "Lexicon/defs/#thing must have a name of letters and digits"),
        Row(
            "named reference", thing: ##"{"type":"ref","ref":"#a"}"##,
            " must not be of type ref, which can't have a name"),
        Row(
            "named union", thing: #"{"type":"union","refs":[]}"#, " must not be of type union, which can't have a name"),
        Row("named unknown", thing: #"{"type":"unknown"}"#, " must not be of type unknown, which can't have a name"),
        Row("named params", thing: #"{"type":"params"}"#, " must be of a type that lexicons have, not params"),

        Row("record", main: #"{"type":"record","key":"tid","record":{"type":"object"}}"#),
        Row("record of a literal key", main: #"{"type":"record","key":"literal:self","record":{"type":"object"}}"#),
        Row(
            "record elsewhere", thing: #"{"type":"record","key":"tid","record":{"type":"object"}}"#,
            " must be called main, to be of type record"),
        Row(
            "record without a key", main: #"{"type":"record","record":{"type":"object"}}"#,
            " must have the property \"key\""),
        Row(
            "record of an unknown key", main: #"{"type":"record","key":"uuid","record":{"type":"object"}}"#,
            "/key must be tid, nsid, any or literal: with a record key"),
        Row(
            "record of a literal that is no key",
            main: #"{"type":"record","key":"literal:a/b","record":{"type":"object"}}"#,
            "/key must be tid, nsid, any or literal: with a record key"),
        Row(
            "record of text", main: #"{"type":"record","key":"any","record":{"type":"string"}}"#,
            "/record must be of type object"),
        Row("record of nothing", main: #"{"type":"record","key":"any"}"#, " must have the property \"record\""),

        Row("object", thing: object(#""a":{"type":"string"}"#, #","required":["a"],"nullable":["a"]"#)),
        Row("object without properties", thing: #"{"type":"object"}"#),
        Row("properties are a list", thing: #"{"type":"object","properties":[]}"#, "/properties must be an object"),
        Row(
            "required without a property", thing: object("", #","required":["a"]"#),
            "/required/0 must be the name of a property"),
        Row(
            "nullable without a property", thing: object("", #","nullable":["a"]"#),
            "/nullable/0 must be the name of a property"),
        Row(
            "required is text", thing: object(#""a":{"type":"string"}"#, #","required":"a""#),
            "/required must be an array"),
        Row(
            "property of type token", thing: object(#""a":{"type":"token"}"#),
            "/properties/a must not be of type token, which is no value"),
        Row(
            "property of type record", thing: object(#""a":{"type":"record"}"#),
            "/properties/a must be of a type that lexicons have, not record"),
        Row(
            "a fault deep inside", thing: object(#""a":{"type":"array","items":{"type":"integer","minimum":"1"}}"#),
            "/properties/a/items/minimum must be an integer"),

        Row("array", thing: #"{"type":"array","items":{"type":"unknown"},"minLength":1,"maxLength":1}"#),
        Row("array of nothing", thing: #"{"type":"array"}"#, " must have the property \"items\""),
        Row(
            "array of tokens", thing: #"{"type":"array","items":{"type":"token"}}"#,
            "/items must not be of type token, which is no value"),
        Row(
            "more at least than at most",
            thing: #"{"type":"array","items":{"type":"link"},"minLength":2,"maxLength":1}"#,
            "/items must be of a type that lexicons have, not link"),
        Row(
            "bounds the wrong way round", thing: #"{"type":"bytes","minLength":2,"maxLength":1}"#,
            " must not have a minLength above its maxLength"),
        Row("negative bound", thing: #"{"type":"bytes","minLength":-1}"#, "/minLength can not be less than 0"),

        Row("boolean", thing: #"{"type":"boolean","const":true}"#),
        Row("boolean by default", thing: #"{"type":"boolean","default":false}"#),
        Row(
            "const and default", thing: #"{"type":"boolean","const":true,"default":true}"#,
            " must not have both const and default"),
        Row("const of another type", thing: #"{"type":"boolean","const":1}"#, "/const must be a boolean"),
        Row("integer", thing: #"{"type":"integer","minimum":-5,"maximum":5,"enum":[1,2],"default":1}"#),
        Row(
            "minimum above maximum", thing: #"{"type":"integer","minimum":5,"maximum":4}"#,
            " must not have a minimum above its maximum"),
        Row("empty enum", thing: #"{"type":"integer","enum":[]}"#, "/enum must not be empty"),
        Row("enum of texts", thing: #"{"type":"integer","enum":["1"]}"#, "/enum/0 must be an integer"),
        Row("string", thing: #"{"type":"string","format":"did","knownValues":[],"enum":["a"],"minGraphemes":1}"#),
        Row(
            "format from the future", thing: #"{"type":"string","format":"uuid"}"#,
            "/format must be a string format that lexicons have"),
        Row(
            "graphemes the wrong way round", thing: #"{"type":"string","minGraphemes":2,"maxGraphemes":1}"#,
            " must not have a minGraphemes above its maxGraphemes"),
        Row(
            "known values are numbers", thing: #"{"type":"string","knownValues":[1]}"#,
            "/knownValues/0 must be a string"),
        Row(
            "a giant enum",
            thing: "{\"type\":\"string\",\"enum\":[\(Array(repeating: "\"a\"", count: 1_025).joined(separator: ","))]}",
            "/enum must not have more than 1024 elements"),

        Row("blob", thing: #"{"type":"blob","accept":["image/*","*/*","text/vtt"],"maxSize":1}"#),
        Row(
            "blob of a partial glob", thing: #"{"type":"blob","accept":["text/ht*"]}"#,
            "/accept/0 must be a media type, type/* or */*"),
        Row(
            "blob of a lone star", thing: #"{"type":"blob","accept":["*"]}"#,
            "/accept/0 must be a media type, type/* or */*"),
        Row(
            "blob of */html", thing: #"{"type":"blob","accept":["*/html"]}"#,
            "/accept/0 must be a media type, type/* or */*"),
        Row("blob of less than nothing", thing: #"{"type":"blob","maxSize":-1}"#, "/maxSize can not be less than 0"),

        Row(
            "references",
            thing: object(
                ##""a":{"type":"ref","ref":"#x"},"b":{"type":"ref","ref":"a.b.c"},"c":{"type":"ref","ref":"a.b.c#d"}"##)
        ),
        Row(
            "reference to nothing", thing: object(##""a":{"type":"ref","ref":"#"}"##),
            "/properties/a/ref must be a reference to a definition"),
        Row(
            "reference to two", thing: object(##""a":{"type":"ref","ref":"a.b.c#d#e"}"##),
            "/properties/a/ref must be a reference to a definition"),
        Row(
            "reference to no NSID", thing: object(##""a":{"type":"ref","ref":"c#d"}"##),
            "/properties/a/ref must be a reference to a definition"),
        Row(
            "reference is missing", thing: object(##""a":{"type":"ref"}"##),
            "/properties/a/ref must be a reference to a definition"),
        Row("union", thing: object(##""a":{"type":"union","refs":["#x"],"closed":true}"##)),
        Row("open union of nothing", thing: object(##""a":{"type":"union","refs":[]}"##)),
        Row(
            "closed union of nothing", thing: object(##""a":{"type":"union","refs":[],"closed":true}"##),
            "/properties/a must not be closed and without refs"),
        Row(
            "union without refs", thing: object(##""a":{"type":"union"}"##),
            "/properties/a must have the property \"refs\""),
        Row(
            "union of a number", thing: object(##""a":{"type":"union","refs":[1]}"##),
            "/properties/a/refs/0 must be a reference to a definition"),

        Row(
            "query",
            main:
                #"{"type":"query","parameters":{"type":"params","properties":{"a":{"type":"array","items":{"type":"string"}}}}}"#
        ),
        Row(
            "query with an input", main: #"{"type":"query","input":{"encoding":"*/*"}}"#,
            " must not have the property \"input\""),
        Row(
            "parameters that are an object", main: #"{"type":"query","parameters":{"type":"object"}}"#,
            "/parameters must be of type params"),
        Row(
            "a parameter that is an object",
            main: #"{"type":"query","parameters":{"type":"params","properties":{"a":{"type":"object"}}}}"#,
            "/parameters/properties/a must be a boolean, an integer, a string or an array of one of these"),
        Row(
            "a parameter of arrays",
            main:
                #"{"type":"query","parameters":{"type":"params","properties":{"a":{"type":"array","items":{"type":"array","items":{"type":"string"}}}}}}"#,
            "/parameters/properties/a must be a boolean, an integer, a string or an array of one of these"),
        Row(
            "output without an encoding", main: #"{"type":"query","output":{"schema":{"type":"object"}}}"#,
            "/output must have the property \"encoding\""),
        Row(
            "output of text", main: #"{"type":"query","output":{"encoding":"a/b","schema":{"type":"string"}}}"#,
            "/output/schema must be of type object, ref or union"),
        Row(
            "an error with a blank", main: #"{"type":"query","errors":[{"name":"a b"}]}"#,
            "/errors/0 must have a name without blanks"),
        Row("procedure", main: #"{"type":"procedure","input":{"encoding":"*/*"},"errors":[{"name":"A"}]}"#),
        Row("subscription", main: ##"{"type":"subscription","message":{"schema":{"type":"union","refs":["#a"]}}}"##),
        Row(
            "subscription of objects", main: #"{"type":"subscription","message":{"schema":{"type":"object"}}}"#,
            "/message/schema must be of type union"),
        Row("subscription of nothing", main: #"{"type":"subscription"}"#, " must have the property \"message\""),
        Row(
            "permission set of nothing", main: #"{"type":"permission-set"}"#, " must have the property \"permissions\""),
        Row(
            "permission of another type", main: #"{"type":"permission-set","permissions":[{"type":"object"}]}"#,
            "/permissions/0 must be of type permission, with a resource"),
        Row(
            "a title in no language", main: #"{"type":"permission-set","permissions":[],"title:lang":{"!":"x"}}"#,
            "/title:lang must be a text under a language"),
    ]

    @Test(arguments: rows) func parsed(_ row: Row) throws {
        var problem: String?
        do throws(SchemaProblem) {
            _ = try Lexicon(json: Bytes(row.json))
        } catch {
            problem = error.sentence("Lexicon")
        }
        #expect(problem == row.problem)
    }

    @Test func sizesAreBounded() {
        let long = Self.document(
            "\"thing\":{\"type\":\"token\",\"description\":\"\(String(repeating: "x", count: 262_144))\"}")
        #expect(throws: SchemaProblem.self) { try Lexicon(long) }
        let many = (0...512).map { "\"d\($0)\":{\"type\":\"token\"}" }.joined(separator: ",")
        #expect(throws: SchemaProblem.self) { try Lexicon(Self.document(many)) }
        let schemas = (0..<10_001).map { "\"p\($0)\":{\"type\":\"link\"}" }.joined(separator: ",")
            .replacing("link", with: "unknown")
        #expect(throws: SchemaProblem.self) { try Lexicon(Self.document("\"thing\":\(Self.object(schemas))")) }
        let deep = String(repeating: #"{"type":"array","items":"#, count: 40) + "{}" + String(repeating: "}", count: 40)
        #expect(throws: SchemaProblem.self) { try Lexicon(Self.document("\"thing\":\(deep)")) }
    }

    struct Permission: Sendable, CustomTestStringConvertible {
        let json: String
        let permission: PermissionSet.Permission
        var testDescription: String { json }
    }

    static let permissions: [Permission] = [
        Permission(
            json: #""resource":"repo","collection":["a.b.c"]"#,
            permission: .repo(collections: [nsid("a.b.c")], actions: ["create", "update", "delete"])),
        Permission(json: #""resource":"repo","collection":["*"]"#, permission: .notUnderstood),
        Permission(json: #""resource":"repo","collection":["a.b.c"],"action":["read"]"#, permission: .notUnderstood),
        Permission(json: #""resource":"repo","collection":["a.b.c"],"rkey":"self""#, permission: .notUnderstood),
        Permission(json: #""resource":"repo""#, permission: .notUnderstood),
        Permission(
            json: #""resource":"rpc","lxm":["a.b.c"],"aud":"*""#, permission: .rpc(methods: ["a.b.c"], audience: "*")),
        Permission(
            json: #""resource":"rpc","lxm":["a.b.c"],"inheritAud":true"#,
            permission: .rpc(methods: ["a.b.c"], audience: nil)),
        Permission(json: #""resource":"rpc","lxm":["*"],"aud":"*""#, permission: .notUnderstood),
        Permission(json: #""resource":"rpc","lxm":["a.b.c"],"aud":"did:web:a.b#c""#, permission: .notUnderstood),
        Permission(json: #""resource":"rpc","lxm":["a.b.c"]"#, permission: .notUnderstood),
        Permission(json: #""resource":"blob","accept":["*/*"]"#, permission: .notUnderstood),
        Permission(json: #""resource":"account","attr":"email""#, permission: .notUnderstood),
    ]

    @Test(arguments: permissions) func permission(_ row: Permission) throws {
        let set = "{\"type\":\"permission-set\",\"permissions\":[{\"type\":\"permission\",\(row.json)}]}"
        let lexicon = try Lexicon(Self.document("\"main\":\(set)"))
        guard case .permissionSet(let read) = lexicon.main else { throw SchemaProblem("no set") }
        #expect(read.permissions == [row.permission])
    }
}
