import ATProto
import Base
import Lexicons
import Testing
import Web

@testable import XRPCHandlers

/// What every answer of a method must be by its lexicon. `World.respond` holds each answer of each test against it.
enum Contract {
    /// Errors that any method may answer with, and when.
    static let general: [String: String] = [
        "InvalidRequest": "the input is not what the lexicon says, or can't be done",
        "InvalidRecord": "a value that is none of the data model",
        "AuthMissing": "no credentials", "InvalidToken": "a token that is none, or of another kind",
        "ExpiredToken": "a token that was good once", "AuthenticationRequired": "credentials that prove nothing",
        "AccountNotFound": "the account is gone", "AccountTakedown": "the account is taken down",
        "AccountDeactivated": "the account is deactivated", "RateLimitExceeded": "the caller's budget is spent",
        "MethodNotImplemented": "nobody here answers", "InternalServerError": "a fault of this server",
        "ServiceUnavailable": "the database is busy", "InsufficientStorage": "the disk is full",
        "UpstreamFailure": "another server does not answer", "PayloadTooLarge": "the body is too large",
        "MisdirectedRequest": "asked of the host of a handle",
        "UnsupportedMediaType": "the body is encoded in a way that is not offered",
        // Of tokens of OAuth clients.
        "ScopeMissingError": "one that lacks a permission", "Forbidden": "one where none would do",
        // Of tokens that other services sign.
        "BadJwt": "none", "BadJwtType": "one of another kind", "JwtExpired": "one that was good once",
        "BadJwtAudience": "one for another server", "BadJwtLexiconMethod": "one for another method",
        "BadJwtIss": "one by nobody who can be found", "UntrustedIss": "one by somebody who may not",
        "BadJwtSignature": "one that was not signed by its issuer",
    ]

    private static let repoStates = [
        "RepoTakendown": "as getRepo has it", "RepoSuspended": "as getRepo has it",
        "RepoDeactivated": "as getRepo has it",
    ]
    private static let nobody = ["NotFound": "of a subject that is not there (specs/pds.md §1.5)"]

    /// Errors beyond that and beyond its lexicon's that one method has, and why.
    static let further: [String: [String: String]] = [
        "com.atproto.repo.describeRepo": repoStates, "com.atproto.sync.getHead": repoStates,
        "com.atproto.sync.getCheckout": repoStates.merging(["RepoNotFound": "as getRepo has it"]) { $1 },
        "com.atproto.admin.getAccountInfo": nobody, "com.atproto.admin.getSubjectStatus": nobody,
        "com.atproto.admin.updateSubjectStatus": nobody, "com.atproto.admin.deleteAccount": nobody,
        "com.atproto.admin.disableAccountInvites": nobody, "com.atproto.temp.revokeAccountCredentials": nobody,
        "com.atproto.admin.updateAccountPassword": nobody.merging(["InvalidPassword": "as createAccount has it"]) {
            $1
        },
        "com.atproto.admin.updateAccountHandle": nobody.merging([
            "InvalidHandle": "as createAccount has it", "HandleNotAvailable": "as createAccount has it",
        ]) { $1 },
        "com.atproto.admin.updateAccountEmail": ["InvalidEmail": "an address that is none"],
        "com.atproto.temp.addReservedHandle": ["InvalidHandle": "as createAccount has it"],
        "com.atproto.temp.checkHandleAvailability": [
            "InvalidHandle": "as createAccount has it", "UnsupportedDomain": "as createAccount has it",
        ],
        "com.atproto.identity.resolveDid": [
            "InvalidDid": "of a method, or of a form, that is not resolved here",
            "IncompatibleDidDoc": "what was found is no document of it",
        ],
        "com.atproto.identity.updateHandle": [
            "InvalidHandle": "as createAccount has it", "HandleNotAvailable": "as createAccount has it",
        ],
        "com.atproto.server.createAccount": ["InvalidEmail": "an address that is none"],
        "com.atproto.server.updateEmail": ["InvalidEmail": "an address that is none"],
        "com.atproto.server.resetPassword": ["InvalidPassword": "as createAccount has it"],
        "com.atproto.server.activateAccount": ["IncompatibleDidDoc": "as createAccount has it"],
        "com.atproto.repo.createRecord": [
            "BlobNotFound": "of a blob that was never uploaded (specs/pds.md §7.2, row 34)",
            "InvalidMimeType": "of a blob that is of another type", "InvalidSize": "of a blob that is of another size",
        ],
    ]

    /// What is wrong with an answer of `nsid`; nil when it is as its lexicon says.
    static func fault(_ nsid: Bytes, _ response: Response) -> String? {
        guard XRPCResponder.table[nsid] != nil else { return nil }
        guard let method = try? Published.method(nsid.description) else { return "has no lexicon" }
        let type = response.headers.first { $0.name.description.lowercased() == "content-type" }?.value.bytes
        guard response.status < 300 else { return errorFault(nsid.description, method.rule, response) }
        guard response.status == 200 else { return nil }
        guard let output = method.rule.output else {
            guard case .bytes(let body) = response.body, body.isEmpty else { return "an answer where none is foreseen" }
            return nil
        }
        let encoding = type.map { XRPCResponder.mediaType($0) } ?? Bytes()
        if output.encoding != "*/*", encoding != output.encoding {
            return "of the type \(encoding), not \(output.encoding)"
        }
        guard output.encoding == "application/json", let schema = output.schema else { return nil }
        // What another server has answered is passed on as it comes.
        guard case .bytes(let body) = response.body else { return nil }
        guard let value = try? JSON.parse(Bytes(body)) else { return "no JSON of the data model" }
        return Published.closed(schema).problem(value)?.sentence("Output")
    }

    private static func errorFault(_ nsid: String, _ rule: MethodRule, _ response: Response) -> String? {
        guard case .bytes(let body) = response.body, let value = try? JSON.parsePlain(Bytes(body)),
            let name = value["error"]?.text?.description, let message = value["message"]?.text, !message.isEmpty
        else { return "an error without name and message" }
        let isForeseen =
            rule.errors.contains(Bytes(name)) || general[name] != nil || further[nsid]?[name] != nil
        return isForeseen ? nil : "answers \(name), which is in neither its lexicon nor the general table"
    }
}

/// The contract is held, and a breach of it is seen.
@Suite struct ContractTests {
    struct Row: Sendable, CustomTestStringConvertible {
        let name: String
        let nsid: Bytes
        let status: Int
        let text: String
        var type: HeaderValue = "application/json"
        let fault: String?
        var testDescription: String { name }
    }

    static let resolve: Bytes = "com.atproto.identity.resolveHandle"

    static let rows: [Row] = [
        Row(name: "right", nsid: resolve, status: 200, text: #"{"did":"did:web:a.b"}"#, fault: nil),
        Row(
            name: "a field is missing", nsid: resolve, status: 200, text: "{}",
            fault: "Output must have the property \"did\""),
        Row(
            name: "a field of another form", nsid: resolve, status: 200, text: #"{"did":"a.b"}"#,
            fault: "Output/did must be a valid did"),
        Row(name: "no JSON", nsid: resolve, status: 200, text: "{", fault: "no JSON of the data model"),
        Row(
            name: "another type", nsid: resolve, status: 200, text: "{}", type: "text/html",
            fault: "of the type text/html, not application/json"),
        Row(
            name: "its own error", nsid: resolve, status: 400, text: #"{"error":"HandleNotFound","message":"x"}"#,
            fault: nil),
        Row(
            name: "another's error", nsid: resolve, status: 400, text: #"{"error":"InvalidSwap","message":"x"}"#,
            fault: "answers InvalidSwap, which is in neither its lexicon nor the general table"),
        Row(
            name: "an error without words", nsid: resolve, status: 400, text: #"{"error":"InvalidRequest"}"#,
            fault: "an error without name and message"),
        Row(
            name: "words after nothing", nsid: "com.atproto.identity.updateHandle", status: 200, text: "{}",
            fault: "an answer where none is foreseen"),
        Row(name: "no method", nsid: "_health", status: 200, text: "{", fault: nil),
    ]

    @Test(arguments: rows) func breachesAreSeen(_ row: Row) {
        var response = Response(status: row.status, body: .bytes(Array(row.text.utf8)))
        response.append("Content-Type", row.type)
        #expect(Contract.fault(row.nsid, response) == row.fault)
    }

    @Test func furtherErrorsAreNeeded() {
        for (nsid, errors) in Contract.further {
            let rule = (try? Published.method(nsid))?.rule
            #expect(rule != nil, "\(nsid) is no method")
            for name in errors.keys {
                #expect(rule?.errors.contains(Bytes(name)) == false && Contract.general[name] == nil, "\(nsid) \(name)")
            }
        }
    }
}
