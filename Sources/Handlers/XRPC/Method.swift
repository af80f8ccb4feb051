public import ATProto
public import Authorization
public import Base
public import Web

/// One lexicon method: its id, who may call it, what it costs, its types, and what it does.
///
/// Add a method in two places: its type, in the file of its resource, and its line in that file's list. `XRPCTests`
/// then wants the lexicon to agree with it and an exchange in `Tests/Fixtures/http/xrpc`.
public protocol Method: Sendable {
    associatedtype Caller: Sendable
    associatedtype Input: XRPCInput = NoInput
    associatedtype Output: MethodOutput = NoOutput

    static var nsid: Bytes { get }
    static var kind: MethodKind { get }
    static var access: XRPCAccess<Caller> { get }
    /// What an OAuth client's token must grant. Without a default: each method says it.
    static var scope: OAuthRule { get }
    static var body: BodyRule { get }

    /// What the call costs, known once caller and input are. Charged before `run`, or by it.
    static func charges(_ call: Call<Self>) -> [Charge]
    /// Whether `run` pays by `Call.bill`, in its own transaction. What is still owed at its end is charged then.
    static var paysInRun: Bool { get }
    static func run(_ call: Call<Self>) throws -> Output
}

extension Method {
    /// A query has no body; a procedure has JSON, unless it has no input.
    public static var body: BodyRule {
        kind == .query || Input.self == NoInput.self ? .none : .json(sizeMax: BodyRule.jsonSizeMax)
    }
    public static func charges(_ call: Call<Self>) -> [Charge] { [] }
    public static var paysInRun: Bool { false }
}

public enum MethodKind: Sendable { case query, procedure }

/// What a method takes as a request body.
public enum BodyRule: Sendable, Equatable {
    case none
    case json(sizeMax: Int)
    /// Any content type. The method reads `call.request.body` itself, with its own cap.
    case stream

    /// Bytes of a JSON body unless the method says otherwise: what the reference takes.
    public static let jsonSizeMax = 153_600
}

/// Parameters of a query or the body of a procedure, made from fields. Shape errors are `Failure`s with the path.
public protocol XRPCInput {
    init(_ fields: Fields) throws(Failure)
}

/// For methods without parameters or body.
public struct NoInput: XRPCInput, Sendable {
    public init(_ fields: Fields) {}
}

/// What a method answers: JSON, nothing, or a response of its own.
public protocol MethodOutput {
    func response() throws -> Response
}

/// An answer in JSON.
public protocol XRPCOutput: MethodOutput {
    /// Writes one object.
    func write(to writer: inout JSONWriter)
}

extension XRPCOutput {
    public func response() -> Response {
        var writer = JSONWriter()
        write(to: &writer)
        var response = Response(status: 200, body: .bytes(writer.finish()))
        response.append("Content-Type", "application/json; charset=utf-8")
        return response
    }
}

/// 200 with an empty body: procedures without output.
public struct NoOutput: MethodOutput {
    public init() {}
    public func response() -> Response { Response(status: 200) }
}

/// A CAR stream or a blob's file: the method makes the whole response.
extension Response: MethodOutput {
    public func response() -> Response { self }
}

/// What a running method is given.
public struct Call<M: Method> {
    public let input: M.Input
    public let caller: M.Caller
    public let app: XRPCApp
    /// The request, for the stream of a body and for the peer's address.
    public let request: Request
    /// What the call owes to budgets.
    let bill: Bill
}

/// Who may call a method, and what the method is then told about them.
///
/// The type is the point: a method whose access is `XRPCAccess<Anonymous>` has no account to read, so it can't use one
/// by mistake, and one that needs an account can't be declared without saying how that is proved.
public struct XRPCAccess<Caller: Sendable>: Sendable {
    /// For the generated list of methods, such as `account(any, deactivated)`.
    public let rule: String
    /// Whether the answer depends on the credentials: it is then private to them in every cache.
    public let isPrivate: Bool
    let check: @Sendable (Request, XRPCApp) throws -> Caller
    /// Asked when a call has failed: throws when the caller should not have got that far, whatever else was wrong.
    let settle: @Sendable (Caller, XRPCApp) throws -> Void

    init(
        rule: String, isPrivate: Bool = true, check: @escaping @Sendable (Request, XRPCApp) throws -> Caller,
        settle: @escaping @Sendable (Caller, XRPCApp) throws -> Void = { _, _ in }
    ) {
        self.rule = rule
        self.isPrivate = isPrivate
        self.check = check
        self.settle = settle
    }
}

extension XRPCAccess where Caller == Anonymous {
    /// Open to all; credentials are not looked at.
    public static var anyone: XRPCAccess { XRPCAccess(rule: "anyone", isPrivate: false) { _, _ in Anonymous() } }
}

/// What the access token of an OAuth client must grant for a method to take it, beyond `atproto`.
/// https://atproto.com/specs/permission; the rows are those of specs/pds.md §1.
///
/// Declared here so that a method's whole row is in one place. Such tokens are not issued yet, so that nothing asks.
public enum OAuthRule: Sendable, Equatable {
    /// No account is asked for, and no token looked at.
    case none
    /// Any token.
    case any
    /// No token: only who has the account's password may.
    case refused
    /// `repo:<collection>` with each of these actions, for the collection of the call.
    case repo([RepoAction])
    /// The same for every write in the call, with its own action.
    case eachWrite
    /// `blob:<type>` for the type of what is uploaded.
    case blob
    /// `rpc:<method>?aud=<service>` for this method, at the service that it is passed on to otherwise.
    case rpcItself
    /// The same for the method and the audience that the call asks a token for.
    case rpcAskedFor
    /// `account:<part>?action=<action>`.
    case account(AccountPart, AccountAction)
    /// `identity:<part>`.
    case identity(IdentityPart)
}

/// A method with its types erased, as the table holds it.
public struct XRPCRoute: Sendable {
    public let nsid: Bytes
    public let kind: MethodKind
    /// Who may call it, in words.
    public let rule: String
    /// What an OAuth client's token must grant.
    public let scope: OAuthRule
    public let body: BodyRule
    let isPrivate: Bool
    /// Makes the input and drops it: what the tests use to hold the types against the lexicons.
    let decode: @Sendable (Fields) throws(Failure) -> Void
    /// Checks, decodes, charges, runs and encodes. The HTTP method and the body's presence were checked before.
    let run: @Sendable (Request, XRPCApp, inout BudgetState?) throws -> Response

    public init<M: Method>(_ method: M.Type) {
        nsid = M.nsid
        kind = M.kind
        rule = M.access.rule
        scope = M.scope
        body = M.body
        isPrivate = M.access.isPrivate
        decode = { (fields) throws(Failure) in _ = try M.Input(fields) }
        run = { request, app, report in
            let bill = Bill(app.limits, now: app.clock.now())
            defer { report = bill.state }
            // The caller before the body: a stranger must not make the server read and parse a megabyte.
            let caller = try M.access.check(request, app)
            do {
                let input = try M.Input(Fields.of(request, nsid: M.nsid, kind: M.kind, body: M.body))
                let call = Call<M>(input: input, caller: caller, app: app, request: request, bill: bill)
                bill.charges = M.charges(call)
                if !M.paysInRun || bill.isDoubtful { try bill.pay() }
                let answer = try M.run(call).response()
                try bill.pay()
                return answer
            } catch {
                try M.access.settle(caller, app)
                // A call that came to nothing costs the same, or refusals were free.
                if !(error is BudgetExceeded) { try bill.payAgain() }
                throw error
            }
        }
    }
}
