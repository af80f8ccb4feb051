import ATProto
import Base
import Testing

@testable import Lexicons

/// The protocol's own vectors and every lexicon that the network has published.
@Suite(.enabled(if: Oracle.isThere)) struct VectorTests {
    static func rows(_ name: String) throws -> [Value] {
        // Plain, so that a wrong row can hold what the data model's own parser would refuse.
        let value = try JSON.parsePlain(Oracle.bytes("vectors/lexicon/\(name).json"), depthMax: 64)
        return try #require(value.array)
    }

    @Test func validLexiconsAreTaken() throws {
        let rows = try Self.rows("lexicon-valid")
        #expect(rows.count >= 3)
        for row in rows {
            let document = try #require(row["lexicon"])
            #expect(throws: Never.self, "\(row["name"]?.text?.description ?? "")") { try Lexicon(document) }
        }
    }

    @Test func invalidLexiconsAreRefused() throws {
        let rows = try Self.rows("lexicon-invalid")
        #expect(rows.count >= 7)
        for row in rows {
            let document = try #require(row["lexicon"])
            #expect(throws: SchemaProblem.self, "\(row["name"]?.text?.description ?? "")") { try Lexicon(document) }
        }
    }

    @Test(arguments: ["permission-set", "procedure", "query", "record", "subscription"])
    func theCatalogIsTaken(_ name: String) throws {
        let lexicon = try Lexicon(json: Oracle.bytes("vectors/lexicon/catalog/\(name).json"))
        switch (name, try #require(lexicon.main)) {
        case ("permission-set", .permissionSet(let set)):
            #expect(set.title.translations["fr"] == "Example for Modération")
            #expect(set.permissions.count == 6)
            #expect(
                set.permissions.first
                    == .repo(
                        collections: [nsid("com.example.calendar.event"), nsid("com.example.calendar.rsvp")],
                        actions: ["delete", "create"]))
            #expect(set.permissions[3] == .rpc(methods: ["com.example.calendar.listEvents"], audience: "*"))
            #expect(set.permissions[5] == .rpc(methods: ["com.example.calendar.listEvents"], audience: nil))
        case ("procedure", .procedure(let rule)):
            #expect(rule.input?.encoding == "application/json" && rule.input?.schema != nil)
        case ("query", .query(let rule)):
            #expect(rule.errors == ["DemoError", "AnotherDemoError"])
            #expect(rule.parameters?["stringField"]?.isRequired == true)
            #expect(rule.parameters?["boolean"]?.isRequired == false)
        case ("record", .record(let rule)): #expect(rule.key == .literal("demo"))
        case ("subscription", .subscription(let rule)): #expect(rule.output?.schema != nil)
        default: Issue.record("of another type")
        }
    }

    static func demo() throws -> (RecordRule, ClosedSchema) {
        let lexicon = try Lexicon(json: Oracle.bytes("vectors/lexicon/catalog/record.json"))
        guard case .record(let rule) = lexicon.main else { throw SchemaProblem("is no record's") }
        return (rule, Oracle.closed(.object(rule.object), in: [lexicon.id.bytes: lexicon]))
    }

    /// `{"$bytes": "123"}` of the vectors has bits to spare, which the data model's strict base 64 refuses.
    static func record(_ row: Value) throws -> Value {
        let text = String(decoding: JSON.encode(try #require(row["data"])), as: UTF8.self)
        return try JSON.parse(Bytes(text.replacing(#"{"$bytes":"123"}"#, with: #"{"$bytes":"1234"}"#)))
    }

    @Test func validRecordsAreTaken() throws {
        let (rule, closed) = try Self.demo()
        let rows = try Self.rows("record-data-valid")
        #expect(rows.count >= 3)
        for row in rows {
            #expect(closed.check(try Self.record(row)) == .valid, "\(row["name"]?.text?.description ?? "")")
            let key = try #require(row["rkey"]?.text.flatMap { RecordKey($0) })
            #expect(rule.key.accepts(key))
        }
    }

    @Test func invalidRecordsAreRefused() throws {
        let (_, closed) = try Self.demo()
        let rows = try Self.rows("record-data-invalid")
        #expect(rows.count >= 50)
        for row in rows {
            // Some don't even come past the data model.
            guard let record = try? Self.record(row) else { continue }
            #expect(closed.problem(record) != nil, "\(row["name"]?.text?.description ?? "")")
        }
    }

    @Test func publishedLexiconsAreTaken() throws {
        #expect(Oracle.files.count >= 320)
        for file in Oracle.files {
            let lexicon = try Lexicon(json: Oracle.bytes("lexicons/\(file)"))
            #expect(file == lexicon.id.bytes.description.replacing(".", with: "/") + ".json")
        }
    }

    /// Whatever one refers to is there, but for what its neighbours' repositories publish.
    @Test func publishedReferencesLead() throws {
        var missing: Set<String> = []
        for lexicon in Oracle.all.values {
            for definition in lexicon.definitions.values {
                guard let schema = definition.schema else { continue }
                missing.formUnion(Oracle.closed(schema).missing.map(\.description))
            }
        }
        #expect(missing.filter { !$0.hasPrefix("tools.ozone.") && !$0.hasPrefix("site.") } == [])
    }
}
