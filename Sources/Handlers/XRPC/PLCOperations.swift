internal import ATProto
internal import Accounts
internal import Authorization
internal import Base
internal import Crypto
internal import Hosting
internal import Identity
internal import Web

extension XRPCResponder {
    static let plcOperations: [XRPCRoute] = [
        XRPCRoute(RequestPlcOperationSignature.self), XRPCRoute(SignPlcOperation.self),
        XRPCRoute(SubmitPlcOperation.self),
    ]
}

/// `com.atproto.identity.requestPlcOperationSignature`: mails the code that signing needs.
struct RequestPlcOperationSignature: Method {
    static let nsid: Bytes = "com.atproto.identity.requestPlcOperationSignature"
    static let kind = MethodKind.procedure
    static let access = XRPCAccess.account(.full, even: [.deactivated, .takenDown])
    static let scope = OAuthRule.identity(.everything)

    static func charges(_ call: Call<Self>) -> [Charge] {
        Charge.mail(RateLimit.requestPlcOperationSignature, to: call.caller.account)
    }

    static func run(_ call: Call<Self>) throws -> NoOutput {
        try call.app.mail.send(.plcOperation, to: call.caller.account)
        return NoOutput()
    }
}

/// `com.atproto.identity.signPlcOperation`: an operation with the wanted changes, signed by this server's rotation key.
struct SignPlcOperation: Method {
    static let nsid: Bytes = "com.atproto.identity.signPlcOperation"
    static let kind = MethodKind.procedure
    static let access = XRPCAccess.account(.full, even: [.deactivated, .takenDown])
    static let scope = OAuthRule.identity(.everything)

    /// Keys, names or services in one operation; the directory itself takes ten at most.
    static let countMax = 10
    /// Bytes of one of them: the directory takes 512 for a service, less for the others.
    static let entrySizeMax = 512

    struct Input: XRPCInput {
        let token: Bytes?
        let change: PLCChange

        init(_ fields: Fields) throws(Failure) {
            token = try fields.optionalCode("token")
            var change = PLCChange()
            let keys: [Bytes] = try fields.list("rotationKeys", countMax: countMax)
            if try fields.optionalValue("rotationKeys") != nil {
                guard keys.allSatisfy({ (try? VerificationKey(didKey: $0)) != nil }) else {
                    throw fields.wrong("rotationKeys", "must be did:keys of P-256 or K-256")
                }
                change.rotationKeys = keys
            }
            let aliases: [Bytes] = try fields.list("alsoKnownAs", countMax: countMax)
            if try fields.optionalValue("alsoKnownAs") != nil {
                guard aliases.allSatisfy({ $0.count <= entrySizeMax }) else {
                    throw fields.wrong("alsoKnownAs", "must not have names longer than \(entrySizeMax) bytes")
                }
                change.alsoKnownAs = aliases
            }
            change.verificationMethods = try Self.methods(fields)
            change.services = try Self.services(fields)
            self.change = change
        }

        private static func entries(_ fields: Fields, _ name: StaticString) throws(Failure) -> [Value.Entry]? {
            guard let value = try fields.optionalValue(name) else { return nil }
            guard case .map(let entries) = value else { throw fields.wrong(name, "must be an object") }
            guard entries.count <= countMax, entries.allSatisfy({ $0.key.count <= entrySizeMax }) else {
                throw fields.wrong(name, "must not have more than \(countMax) properties")
            }
            return entries
        }

        private static func methods(_ fields: Fields) throws(Failure) -> [PLCOperation.Method]? {
            let name: StaticString = "verificationMethods"
            guard let entries = try entries(fields, name) else { return nil }
            var methods: [PLCOperation.Method] = []
            for entry in entries {
                guard let key = entry.value.text, key.starts(with: "did:key:"), key.count <= entrySizeMax else {
                    throw fields.wrong(name, "must have did:keys")
                }
                methods.append(PLCOperation.Method(id: entry.key, didKey: key))
            }
            return methods
        }

        private static func services(_ fields: Fields) throws(Failure) -> [PLCOperation.Service]? {
            let name: StaticString = "services"
            guard let entries = try entries(fields, name) else { return nil }
            var services: [PLCOperation.Service] = []
            for entry in entries {
                guard case .map(let members) = entry.value, members.count == 2, let type = entry.value["type"]?.text,
                    let endpoint = entry.value["endpoint"]?.text, type.count <= entrySizeMax,
                    endpoint.count <= entrySizeMax
                else { throw fields.wrong(name, "must have a type and an endpoint each, and nothing else") }
                services.append(PLCOperation.Service(id: entry.key, type: type, endpoint: endpoint))
            }
            return services
        }
    }

    struct Output: XRPCOutput {
        let operation: SignedPLCOperation

        func write(to writer: inout JSONWriter) {
            writer.beginObject()
            writer.field("operation", raw: operation.json)
            writer.endObject()
        }
    }

    static func run(_ call: Call<Self>) throws -> Output {
        guard let code = call.input.token else {
            throw Failure.invalidRequest("email confirmation token required to sign PLC operations")
        }
        let (app, did) = (call.app, call.caller.did)
        let token = try app.mail.tokens.check(code, .plcOperation, of: did, now: app.clock.now())
        return Output(operation: try app.life.signOperation(call.input.change, token: token))
    }
}

/// `com.atproto.identity.submitPlcOperation`: passes a signed operation on to the directory, if it leaves the account
/// here.
struct SubmitPlcOperation: Method {
    static let nsid: Bytes = "com.atproto.identity.submitPlcOperation"
    static let kind = MethodKind.procedure
    static let access = XRPCAccess.account(.any, even: .deactivated)
    static let scope = OAuthRule.identity(.everything)

    struct Input: XRPCInput {
        let operation: Value

        init(_ fields: Fields) throws(Failure) {
            _ = try fields.object("operation")
            operation = try fields.value("operation")
        }
    }

    static func charges(_ call: Call<Self>) -> [Charge] {
        [Charge(RateLimit.submitPlcOperation, key: call.caller.did.bytes)]
    }

    static func run(_ call: Call<Self>) throws -> NoOutput {
        try call.app.life.submit(call.input.operation, for: call.caller.account)
        return NoOutput()
    }
}
