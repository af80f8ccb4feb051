import ATProto
import Base
import Lexicons
import Testing
import Web

@testable import XRPCHandlers

/// Each method's type is held against its lexicon: kind, body, parameters, which fields it needs, and their types – by
/// what it takes and what it refuses. The inputs are made from the lexicon.
@Suite struct LexiconTests {
    static let routes = XRPCResponder.routes.map { $0.nsid.description }

    /// Fields of a lexicon that a method refuses whatever they are, and why.
    static let unsupported: [String: [Bytes: String]] = [
        "com.atproto.server.createAccount": ["plcOp": "this server makes the operations of its accounts"]
    ]
    /// Required in the lexicon, with a default there as well: the default wins.
    static let defaulted: [String: Set<String>] = ["com.atproto.server.createInviteCodes": ["codeCount"]]
    private static let didKey = Value.text("did:key:zQ3shmHbSYMDjbn39JXWvhLUGf9ggNztXFAm4iVnDLyd7rGSi")

    /// What a field's schema does not say of it.
    static let known: [Bytes: Value] = [
        "recoveryKey": didKey, "rotationKeys": .array([didKey]),
        "verificationMethods": .object([Value.Entry(key: "atproto", value: didKey)]),
        "services": .object([
            Value.Entry(
                key: "atproto_pds",
                value: .object([
                    Value.Entry(key: "type", value: .text("AtprotoPersonalDataServer")),
                    Value.Entry(key: "endpoint", value: .text("https://home.test")),
                ]))
        ]),
        "aud": .text("did:web:other.example.com#service"),
    ]

    static func route(_ nsid: String) -> XRPCRoute { XRPCResponder.table[Bytes(nsid)]! }

    @Test func namesAreDistinct() {
        #expect(Published.lexicons.count >= 320, "set SKYSTEAD_SHARED_DIR")
        #expect(Set(Self.routes).count == Self.routes.count)
        #expect(Self.routes.allSatisfy { NSID($0) != nil })
        #expect(XRPCResponder.table.count == Self.routes.count)
    }

    @Test(arguments: routes) func kindAndBody(_ nsid: String) throws {
        let method = try Published.method(nsid)
        let route = Self.route(nsid)
        #expect(method.isQuery == (route.kind == .query))
        // None of the published procedures has parameters that this server would have to read.
        #expect(method.isQuery || method.rule.parameters == nil)
        switch route.body {
        case .none: #expect(method.rule.input == nil)
        case .json: #expect(method.rule.input?.encoding == "application/json")
        case .stream: #expect(method.rule.input.map { $0.encoding != "application/json" } == true)
        }
    }

    @Test(arguments: routes) func rightInputsAreTaken(_ nsid: String) throws {
        let input = try Published.method(nsid).input
        let route = Self.route(nsid)
        for variant in 0..<Samples.variantCount(.object(input)) {
            let samples = Samples(variant: variant, inQuery: route.kind == .query, known: Self.known)
            let fullest = samples.fullest(input).filter { Self.unsupported[nsid]?[$0.key] == nil }
            for (name, entries) in [("least", samples.least(input)), ("fullest", fullest)] {
                // The samples themselves are held against the schema.
                #expect(Published.closed(.object(input)).problem(.object(entries)) == nil, "the \(name) sample")
                do throws(Failure) {
                    try route.decode(try Self.made(entries, route))
                } catch {
                    Issue.record("the \(name) input, variant \(variant): \(error.message)")
                }
            }
        }
    }

    @Test(arguments: routes) func wrongInputsAreRefused(_ nsid: String) throws {
        let input = try Published.method(nsid).input
        let route = Self.route(nsid)
        let samples = Samples(inQuery: route.kind == .query, known: Self.known)
        let unsupported = Self.unsupported[nsid] ?? [:]
        let whole = samples.fullest(input)
        let fullest = whole.filter { unsupported[$0.key] == nil }
        func isTaken(_ entries: [Value.Entry]) -> Bool { (try? route.decode(Self.made(entries, route))) != nil }
        for entry in whole where unsupported[entry.key] != nil {
            #expect(!isTaken(fullest + [entry]), "\(entry.key) is not supported")
        }
        for property in input.properties {
            let others = fullest.filter { $0.key != property.name }
            if property.isRequired, !(Self.defaulted[nsid] ?? []).contains(property.name.description) {
                #expect(!isTaken(others), "\(property.name) is required")
            }
            for (why, value) in samples.wrong(property.schema) where !value.isNull || !property.isNullable {
                #expect(
                    !isTaken(others + [Value.Entry(key: property.name, value: value)]), "\(property.name): \(why)")
            }
            if route.kind == .query, case .array = property.schema { continue }
            if route.kind == .query, let twice = fullest.first(where: { $0.key == property.name }) {
                #expect(!isTaken(fullest + [twice]), "\(property.name) twice")
            }
        }
    }

    @Test func exceptionsAreNeeded() {
        for (nsid, fields) in Self.unsupported {
            for field in fields.keys { #expect((try? Published.method(nsid))?.input[field] != nil, "\(field)") }
        }
        for (nsid, fields) in Self.defaulted {
            for field in fields {
                #expect((try? Published.method(nsid))?.input[Bytes(field)]?.isRequired == true)
            }
        }
    }

    /// A query has texts only; a body has values.
    static func made(_ entries: [Value.Entry], _ route: XRPCRoute) throws(Failure) -> Fields {
        guard route.kind == .query else { return Fields(nsid: route.nsid, body: .object(entries)) }
        var query: [String] = []
        for entry in entries {
            for item in entry.value.array ?? [entry.value] {
                let text =
                    switch item {
                    case .bool(let bool): "\(bool)"
                    case .integer(let integer): "\(integer)"
                    default: item.text?.description ?? "?"
                    }
                query.append(entry.key.description + "=" + PercentCoding.encode(Bytes(text)).description)
            }
        }
        return try Fields(nsid: route.nsid, query: Bytes(query.joined(separator: "&")))
    }
}
