import ATProto
import Base
import Testing

@testable import XRPCHandlers

/// What each getter takes and what it says of the rest.
@Suite struct FieldsTests {
    struct Row: Sendable, CustomTestStringConvertible {
        let name: String
        let input: String
        /// The message's end; nil: taken.
        let problem: String?
        let read: @Sendable (Fields) throws -> Void
        var testDescription: String { name }

        init(_ name: String, _ input: String, _ problem: String, _ read: @escaping @Sendable (Fields) throws -> Void) {
            self.name = name
            self.input = input
            self.problem = problem
            self.read = read
        }

        /// Taken.
        init(_ name: String, _ input: String, _ read: @escaping @Sendable (Fields) throws -> Void) {
            self.name = name
            self.input = input
            problem = nil
            self.read = read
        }
    }

    @Sendable static func did(_ fields: Fields) throws { let _: DID = try fields.required("x") }
    @Sendable static func handle(_ fields: Fields) throws { let _: Handle? = try fields.optional("x") }
    @Sendable static func cid(_ fields: Fields) throws { let _: CID = try fields.required("x") }
    @Sendable static func rkey(_ fields: Fields) throws { let _: RecordKey = try fields.required("x") }
    @Sendable static func swap(_ fields: Fields) throws { let _: CID?? = try fields.nullable("x") }
    @Sendable static func list(_ fields: Fields) throws { let _: [CID] = try fields.list("x", countMax: 2) }
    @Sendable static func limit(_ fields: Fields) throws { _ = try fields.integer("x", in: 1...100, default: 50) }
    @Sendable static func bool(_ fields: Fields) throws { _ = try fields.bool("x", default: false) }
    @Sendable static func text(_ fields: Fields) throws { _ = try fields.text("x", sizeMax: 4) }
    @Sendable static func objects(_ fields: Fields) throws {
        for object in try fields.objects("x", countMax: 2) { _ = try object.text("y") }
    }

    static let cidText = "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm"

    static let queries: [Row] = [
        Row("did", "x=did:web:a.example", did), Row("did, escaped", "x=did%3Aweb%3Aa.example", did),
        Row("other fields", "y=1&x=did:web:a.example&&z", did),
        Row("did missing", "", "Params must have the property \"x\"", did),
        Row("did escaped twice", "x=did%253Aweb%253Aa.example", "Params/x must be a valid did", did),
        Row("did twice", "x=did:web:a.example&x=did:web:a.example", "Params/x must not be repeated", did),
        Row("name in capitals", "X=did:web:a.example", "Params must have the property \"x\"", did),
        Row("no handle", "", handle), Row("handle empty", "x=", "Params/x must be a valid handle", handle),
        Row("rkey", "x=3jzfcijpj2z2a", rkey), Row("rkey .", "x=.", "Params/x must be a valid record key", rkey),
        Row("rkey ..", "x=..", "Params/x must be a valid record key", rkey),
        Row("rkey a/b", "x=a%2Fb", "Params/x must be a valid record key", rkey),
        Row("rkey of 513", "x=" + String(repeating: "a", count: 513), "Params/x must be a valid record key", rkey),
        Row("rkey with an escape in it", "x=%2541", "Params/x must be a valid record key", rkey),
        Row("rkey é", "x=%C3%A9", "Params/x must be a valid record key", rkey),
        Row("limit", "x=100", limit), Row("limit absent", "", limit),
        Row("limit 0", "x=0", "Params/x can not be less than 1", limit),
        Row("limit 101", "x=101", "Params/x can not be greater than 100", limit),
        Row("limit -1", "x=-1", "Params/x can not be less than 1", limit),
        Row("limit 1e2", "x=1e2", "Params/x must be an integer", limit),
        Row("limit +5", "x=%2B5", "Params/x must be an integer", limit),
        Row("limit 05", "x=05", "Params/x must be an integer", limit),
        Row("limit of 20 digits", "x=99999999999999999999", "Params/x must be an integer", limit),
        Row("limit in other digits", "x=%D9%A5", "Params/x must be an integer", limit),
        Row("true", "x=true", bool), Row("false", "x=false", bool),
        Row("TRUE", "x=TRUE", "Params/x must be a boolean", bool), Row("1", "x=1", "Params/x must be a boolean", bool),
        Row("two CIDs", "x=\(cidText)&x=\(cidText)", list), Row("none", "", list),
        Row("three", "x=\(cidText)&x=\(cidText)&x=\(cidText)", "Params/x must not have more than 2 elements", list),
        Row("one is wrong", "x=\(cidText)&x=b", "Params/x/1 must be a cid string", list),
        Row("plus is a space", "x=a+b", text), Row("five bytes", "x=abcde", "must not be longer than 4 bytes", text),
        Row("broken escape", "x=%4", "broken percent escape", text),
        Row("101 parameters", String(repeating: "y=1&", count: 101), "too many parameters: at most 100", text),
    ]

    static let bodies: [Row] = [
        Row("did", #"{"x":"did:web:a.example"}"#, did),
        Row("did is a number", #"{"x":1}"#, "Input/x must be a valid did", did),
        Row("did is null", #"{"x":null}"#, "Input/x must be a valid did", did),
        Row("did missing", "{}", "Input must have the property \"x\"", did),
        Row("cid", "{\"x\":\"\(cidText)\"}", cid),
        Row("cid as a link", "{\"x\":{\"$link\":\"\(cidText)\"}}", "Input/x must be a cid string", cid),
        Row("swap null", #"{"x":null}"#, swap), Row("swap absent", "{}", swap),
        Row("swap", "{\"x\":\"\(cidText)\"}", swap),
        Row("swap wrong", #"{"x":""}"#, "Input/x must be a cid string", swap),
        Row("integer", #"{"x":7}"#, limit), Row("integer as text", #"{"x":"7"}"#, "Input/x must be an integer", limit),
        Row("boolean", #"{"x":true}"#, bool), Row("boolean as text", #"{"x":"true"}"#, "must be a boolean", bool),
        Row("boolean as 1", #"{"x":1}"#, "Input/x must be a boolean", bool),
        Row("text", #"{"x":"abcd"}"#, text), Row("four bytes, two characters", #"{"x":"éé"}"#, text),
        Row("five bytes", #"{"x":"abcde"}"#, "Input/x must not be longer than 4 bytes", text),
        Row("NUL", #"{"x":"a\u0000"}"#, "Input/x must not contain NUL", text),
        Row("text is an array", #"{"x":["a"]}"#, "Input/x must be a string", text),
        Row("objects", #"{"x":[{"y":"a"},{"y":"b"}]}"#, objects), Row("no objects", #"{"x":[]}"#, objects),
        Row("objects missing", "{}", "Input must have the property \"x\"", objects),
        Row("one is text", #"{"x":[{"y":"a"},"b"]}"#, "Input/x/1 must be an object", objects),
        Row("three", #"{"x":[{},{},{}]}"#, "Input/x must not have more than 2 elements", objects),
        Row("a field of one is missing", #"{"x":[{"y":"a"},{}]}"#, "Input/x/1 must have the property \"y\"", objects),
        Row("an object instead", #"{"x":{"y":"a"}}"#, "Input/x must be an array", objects),
    ]

    @Test(arguments: queries) func query(_ row: Row) throws {
        try check(row, "params") { try Fields(nsid: "com.example.get", query: Bytes(row.input)) }
    }

    @Test(arguments: bodies) func body(_ row: Row) throws {
        let value = try JSON.parse(Bytes(row.input))
        try check(row, "body") { Fields(nsid: "com.example.do", body: value) }
    }

    private func check(_ row: Row, _ part: String, _ fields: () throws -> Fields) throws {
        guard let problem = row.problem else { return try row.read(try fields()) }
        let failure = #expect(throws: Failure.self) { try row.read(try fields()) }
        #expect(failure?.code == "InvalidRequest" && failure?.xrpcStatus == 400)
        #expect(failure?.message.hasSuffix(problem) == true, "\(failure?.message ?? "")")
        if problem.hasPrefix("Params") || problem.hasPrefix("Input") {
            #expect(failure?.message.contains(part + ": ") == true)
        }
    }
}
