import Base
import Testing

@testable import Authorization

/// What RFC 6749 §5.2 lets an `error_description` hold.
func isDescription(_ text: Bytes) -> Bool {
    !text.isEmpty && text.count <= 300 && text.allSatisfy { $0 >= 0x20 && $0 < 0x7F && $0 != 0x22 && $0 != 0x5C }
}

/// What `body` was refused with, or nil.
func refusal(_ body: () throws -> Void) -> AuthorizationError? {
    do {
        try body()
        return nil
    } catch {
        return error as? AuthorizationError
    }
}

/// `text` as often as it takes to be `count` bytes long.
func long(_ text: String, _ count: Int) -> String { String(String(repeating: text, count: count).prefix(count)) }

/// The metadata of the tests, as members with JSON for values. Changing one makes a row.
struct Document {
    var members: [(name: String, json: String)]

    static let webID = "https://app.example.com/oauth-client-metadata.json"

    static let key =
        #"{"kty":"EC","crv":"P-256","kid":"one","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","#
        + #""y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#
    static let otherKey =
        #"{"kty":"EC","crv":"P-256","kid":"two","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","#
        + #""y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}"#

    /// A public web client.
    static let web = Document(members: [
        ("client_id", #""\#(webID)""#), ("client_name", #""Example""#), ("client_uri", #""https://app.example.com""#),
        ("redirect_uris", #"["https://app.example.com/callback"]"#), ("scope", #""atproto transition:generic""#),
        ("grant_types", #"["authorization_code","refresh_token"]"#), ("response_types", #"["code"]"#),
        ("token_endpoint_auth_method", #""none""#), ("application_type", #""web""#),
        ("dpop_bound_access_tokens", "true"),
    ])

    /// A public native client.
    static let native = web.with("application_type", #""native""#)
        .with("redirect_uris", #"["com.example.app:/callback","http://127.0.0.1/cb"]"#)

    /// A confidential client with its keys in the document.
    static let confidential = web.with("token_endpoint_auth_method", #""private_key_jwt""#)
        .with("token_endpoint_auth_signing_alg", #""ES256""#).with("jwks", #"{"keys":[\#(key)]}"#)

    /// A confidential client with its keys elsewhere.
    static let remote = confidential.without("jwks").with("jwks_uri", #""https://app.example.com/jwks.json""#)

    func with(_ name: String, _ json: String) -> Document {
        var changed = without(name)
        changed.members.append((name, json))
        return changed
    }

    func without(_ name: String) -> Document { Document(members: members.filter { $0.name != name }) }

    var text: String { "{" + members.map { "\"\($0.name)\":\($0.json)" }.joined(separator: ",") + "}" }
    var json: Bytes { Bytes(text) }

    func metadata() throws -> ClientMetadata { try ClientMetadata(json: json, of: try ClientID(Bytes(Self.webID))) }
    func client() throws -> Client { Client(try metadata()) }
}
