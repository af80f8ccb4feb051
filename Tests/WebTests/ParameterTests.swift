internal import Base
internal import Testing
internal import Web

@Suite struct ParameterTests {
    struct Case: CustomTestStringConvertible, Sendable {
        let query: Bytes
        let pairs: [String]?
        let error: ParametersError?
        init(_ query: Bytes, _ pairs: [String]) {
            self.query = query
            self.pairs = pairs
            error = nil
        }
        init(_ query: Bytes, _ error: ParametersError) {
            self.query = query
            pairs = nil
            self.error = error
        }
        var testDescription: String { String("\(query)".prefix(60)) }
    }

    static let many = Bytes((0..<100_000).map { "a=\($0)" }.joined(separator: "&"))

    static let cases: [Case] = [
        Case("", []), Case("a=b", ["a=b"]), Case("a", ["a="]), Case("a=", ["a="]), Case("=b", ["=b"]),
        Case("a=b&c=d", ["a=b", "c=d"]), Case("a=1&a=2", ["a=1", "a=2"]), Case("a=b=c", ["a=b=c"]),
        Case("&&a=b&", ["a=b"]), Case("a+b=c+d", ["a b=c d"]), Case("a%2Bb=%3d%26", ["a+b==&"]),
        Case("a=%C3%A9", ["a=é"]), Case("a=é", ["a=é"]), Case("a[]=1", ["a[]=1"]), Case("a=%2525", ["a=%25"]),
        Case("a;b=c", ["a;b=c"]), Case("a=%0A", ["a=\n"]),
        Case("a=%", .brokenEscape), Case("a=%2", .brokenEscape), Case("%zz=1", .brokenEscape),
        Case("a=%2&b=1", .brokenEscape), Case("a=%00", .control), Case("%00", .control), Case("a=\u{0}", .control),
        Case("a=%ff", .notUTF8), Case("a=%c3", .notUTF8), Case("%ed%a0%80=1", .notUTF8),
        Case(Bytes([0x61, 0x3D, 0xFF]), .notUTF8),
        // H031
        Case(many, .tooLong(sizeMax: 16_384)),
        Case(many.upTo(2_000), .tooMany(countMax: 100)),
        Case(Bytes([UInt8](repeating: 0x61, count: 1 << 20)), .tooLong(sizeMax: 16_384)),
    ]

    @Test(arguments: cases) func query(_ item: Case) {
        do throws(ParametersError) {
            let query = try Query(parsing: item.query)
            #expect(query.parameters.map { "\($0.name)=\($0.value)" } == item.pairs)
        } catch {
            #expect(error == item.error)
            #expect(error.failure.kind == .invalid)
            #expect(error.failure.code == "InvalidRequest")
        }
    }

    @Test func oneAndMany() throws {
        let query = try Query(parsing: "a=1&b=2&a=3&c")
        #expect(try query.single("b") == "2")
        #expect(try query.single("c") == "")
        #expect(try query.single("d") == nil)
        #expect(throws: ParametersError.duplicate(name: "a")) { try query.single("a") }
        #expect(query.all("a") == ["1", "3"])
        #expect(query.all("a[]") == [])
    }

    static let forms: [Case] = [
        Case("a=b&c=d", ["a=b", "c=d"]), Case("", []), Case("a=b+c%20d", ["a=b c d"]),
        Case("client_id=a&client_id=a", .duplicate(name: "client_id")),
        Case("client_id=a&client%5Fid=b", .duplicate(name: "client_id")), Case("a&a", .duplicate(name: "a")),
        Case("a=%", .brokenEscape), Case("a=%00", .control), Case("a=%ff", .notUTF8),
        Case(many.upTo(2_000), .tooMany(countMax: 100)), Case(many, .tooLong(sizeMax: 65_536)),
    ]

    @Test(arguments: forms) func form(_ item: Case) {
        do throws(ParametersError) {
            let form = try Form(parsing: item.query)
            #expect(form.parameters.map { "\($0.name)=\($0.value)" } == item.pairs)
        } catch {
            #expect(error == item.error)
        }
    }

    @Test(arguments: [
        ("application/x-www-form-urlencoded" as Bytes, true),
        ("Application/X-WWW-Form-Urlencoded; charset=utf-8", true),
        ("application/x-www-form-urlencoded ;a", true), ("application/json", false), ("", false),
        ("multipart/form-data", false),
        ("application/x-www-form-urlencoded/x", false), ("text/plain, application/x-www-form-urlencoded", false),
    ])
    func formType(type: Bytes, isForm: Bool) throws {
        var headers = Headers()
        headers.append("content-type", type)
        let request = Request(
            method: .post, path: "/", headers: headers, host: "a", peer: "b", id: "c", body: BytesBody("a=b"))
        if isForm {
            #expect(try Form(body: request)["a"] == "b")
        } else {
            let failure = #expect(throws: Failure.self) { try Form(body: request) }
            #expect(failure?.kind == .unsupportedMedia)
        }
    }

    @Test func formTooLong() {
        var headers = Headers()
        headers.append("content-type", "application/x-www-form-urlencoded")
        let body = BytesBody(Bytes([UInt8](repeating: 0x61, count: Form.sizeMax + 1)))
        let request = Request(method: .post, path: "/", headers: headers, host: "a", peer: "b", id: "c", body: body)
        let failure = #expect(throws: Failure.self) { try Form(body: request) }
        #expect(failure?.kind == .tooLarge)
    }

    @Test func percentEncoding() throws {
        let all = Bytes((1...255).map { UInt8($0) }.filter { $0 < 0x80 })
        #expect(try PercentCoding.decode(PercentCoding.encode(all)) == all)
        #expect(PercentCoding.encode("a/b ?é~") == "a%2Fb%20%3F%C3%A9~")
        #expect(try PercentCoding.decode("a+b") == "a+b")
    }
}
