import ATProto
import Base
import Crypto
import Testing

@testable import Authorization

/// What a client's document must be, and the reason for every one that is not.
@Suite struct ClientMetadataTests {
    struct Row: Sendable, CustomTestStringConvertible {
        let name: String
        let json: Bytes
        /// What the reason says; nil for a document that is taken.
        let reason: String?
        let code: AuthorizationError.Code
        var testDescription: String { name }

        init(
            _ name: String, _ document: Document, _ reason: String? = nil,
            _ code: AuthorizationError.Code = .invalidClientMetadata
        ) {
            self.init(name, text: document.json, reason, code)
        }

        init(
            _ name: String, text: Bytes, _ reason: String? = nil,
            _ code: AuthorizationError.Code = .invalidClientMetadata
        ) {
            (self.name, json, self.reason, self.code) = (name, text, reason, code)
        }
    }

    static let web = Document.web
    static let confidential = Document.confidential

    static func keys(_ keys: String...) -> Document {
        confidential.with("jwks", "{\"keys\":[\(keys.joined(separator: ","))]}")
    }

    static func redirects(_ count: Int) -> String {
        "[" + (0..<count).map { "\"https://app.example.com/\($0)\"" }.joined(separator: ",") + "]"
    }

    static func scopes(_ count: Int) -> String {
        "\"atproto " + (1..<count).map { "s\($0)" }.joined(separator: " ") + "\""
    }

    static let taken: [Row] = [
        Row("web", web), Row("native", Document.native), Row("confidential", confidential),
        Row("keys elsewhere", Document.remote), Row("type left out", web.without("application_type")),
        Row("grants left out", web.without("grant_types")), Row("responses left out", web.without("response_types")),
        Row("no name", web.without("client_name").without("client_uri")),
        Row("unknown members", web.with("contacts", #"["a@example.com"]"#).with("x", #"{"y":[null,{"z":-7}]}"#)),
        Row("a translated name", web.with("client_name#de", #""Beispiel""#)),
        Row("blanks", text: Bytes(" \n\(web.text)\t")),
        Row("a public client with keys", web.with("jwks", #"{"keys":[\#(Document.key)]}"#)),
        Row("other response types too", web.with("response_types", #"["code","code id_token"]"#)),
        Row("home page at the document", web.with("client_uri", "\"\(Document.webID)\"")),
        Row("home page at the root", web.with("client_uri", #""https://app.example.com/""#)),
        Row(
            "pages elsewhere",
            web.with("logo_uri", #""https://cdn.example.net/l.png""#)
                .with("tos_uri", #""https://example.net/t""#).with("policy_uri", #""https://example.net/p?a=b""#)),
        Row("subject type", web.with("subject_type", #""public""#)),
        Row("no mutual TLS", web.with("tls_client_certificate_bound_access_tokens", "false")),
        Row("no details", web.with("authorization_details_types", "[]")),
        Row("32 addresses", web.with("redirect_uris", redirects(32))),
        Row("256 scopes", web.with("scope", scopes(256))),
        Row(
            "an address twice",
            web.with(
                "redirect_uris",
                #"["https://app.example.com/cb","https://app.example.com/cb"]"#)),
        Row("K-256", confidential.with("token_endpoint_auth_signing_alg", #""ES256K""#)),
        Row("two keys", keys(Document.key, Document.otherKey)),
        Row("an RSA key beside", keys(Document.key, #"{"kty":"RSA","kid":"r","n":"AQAB","e":"AQAB"}"#)),
        Row(
            "a key with a chain", keys(String(Document.key.dropLast()) + #","x5c":["\#(long("A", 5_000))"],"x5u":"a"}"#)
        ),
        Row("a key of a kind to come", keys(Document.key, #"{"kty":"AKP","kid":"q","pub":"\#(long("A", 4_000))"}"#)),
        Row("a key without a name", keys(#"{"kty":"EC","crv":"P-256","x":"A","y":"A"}"#)),
        Row("Persian", web.with("client_name", "\"می\u{200c}خواهم\"")),
        Row("emoji", web.with("client_name", "\"\u{1F468}\u{200D}\u{1F469} \u{2764}\u{FE0F}\"")),
        Row("escapes", web.with("scope", #""\u0061tproto""#)),
    ]

    static let refused: [Row] = [
        // The text.
        Row("empty", text: "", "invalid JSON"), Row("an array", text: "[]", "not a JSON object"),
        Row("null", text: "null", "not a JSON object"), Row("a string", text: "\"a\"", "not a JSON object"),
        Row("HTML", text: "<html></html>", "invalid JSON"), Row("two objects", text: "{}{}", "invalid JSON"),
        Row("cut", text: web.json.upTo(web.json.count - 1), "invalid JSON"),
        Row("a comma too much", text: "{\"a\":1,}", "invalid JSON"),
        Row("a byte order mark", text: "\u{FEFF}" + web.json, "invalid JSON"),
        Row("a comment", text: "/**/" + web.json, "invalid JSON"),
        Row("a member twice", text: Bytes(web.text.dropLast() + ",\"scope\":\"atproto\"}"), "duplicate key scope"),
        Row("a member twice inside", web.with("x", #"{"a":1,"\u0061":2}"#), "duplicate key a"),
        Row("not UTF-8", text: Bytes(web.json.array + [0xFF]), "invalid JSON"),
        Row(
            "not UTF-8 in a name", text: Bytes(Array("{\"client_name\":\"".utf8) + [0xFF] + Array("\"}".utf8)),
            "not valid Unicode"),
        Row("half a pair", web.with("client_name", #""\ud800""#), "not valid Unicode"),
        Row("deep", text: Bytes(long("[", 10_000)), "nesting deeper"),
        Row("deep inside", web.with("x", long("[", 16) + long("]", 16)), "nesting deeper"),
        Row(
            "512 KB and a byte", text: Bytes(web.text + long(" ", 524_289 - web.text.utf8.count)), "larger than 524288"),
        Row(
            "many members", text: Bytes("{" + (0..<257).map { "\"m\($0)\":0" }.joined(separator: ",") + "}"),
            "256 members"),

        // Who it is.
        Row("no id", web.without("client_id"), "client_id is missing"),
        Row("another id", web.with("client_id", #""https://app.example.com/other.json""#), "not the address"),
        Row("an id with a slash", web.with("client_id", "\"\(Document.webID)/\""), "not the address"),
        Row("an id in another case", web.with("client_id", "\"\(Document.webID.uppercased())\""), "not the address"),
        Row("an id that is no text", web.with("client_id", "1"), "client_id must be a string"),
        Row("an id that is null", web.with("client_id", "null"), "client_id must be a string"),
        Row("a secret", web.with("client_secret", #""x""#), "client_secret is not supported"),
        Row("a secret's end", web.with("client_secret_expires_at", "0"), "client_secret_expires_at is not"),
        Row("another type", web.with("application_type", #""browser""#), "application_type"),
        Row("a type in capitals", web.with("application_type", #""Web""#), "application_type"),
        Row("a type that is a list", web.with("application_type", #"["web"]"#), "application_type must be a string"),

        // What it may do.
        Row("implicit", web.with("grant_types", #"["authorization_code","implicit"]"#), "must not have implicit"),
        Row("password", web.with("grant_types", #"["authorization_code","password"]"#), "must not have password"),
        Row("only refresh", web.with("grant_types", #"["refresh_token"]"#), "must have authorization_code"),
        Row("no grants", web.with("grant_types", "[]"), "must have authorization_code"),
        Row("a grant twice", web.with("grant_types", #"["authorization_code","authorization_code"]"#), "twice"),
        Row("grants as text", web.with("grant_types", #""authorization_code""#), "must be a list"),
        Row("a grant that is a number", web.with("grant_types", #"["authorization_code",1]"#), "list of strings"),
        Row("a hostile grant", web.with("grant_types", #"["\"\\\u0000\u00e4"]"#), "must not have ????"),
        Row("a long grant", web.with("grant_types", "[\"\(long("a", 129))\"]"), "longer than 128"),
        Row("many grants", web.with("grant_types", "[" + long("\"a\",", 80) + "\"a\"]"), "more than 16"),
        Row("no code", web.with("response_types", #"["token"]"#), "must have code"),
        Row("a response twice", web.with("response_types", #"["code","code"]"#), "twice"),
        Row("responses that are null", web.with("response_types", "null"), "must be a list"),
        Row("no DPoP", web.without("dpop_bound_access_tokens"), "dpop_bound_access_tokens must be true"),
        Row("DPoP false", web.with("dpop_bound_access_tokens", "false"), "dpop_bound_access_tokens must be true"),
        Row("DPoP as text", web.with("dpop_bound_access_tokens", #""true""#), "true or false"),
        Row("no scope", web.without("scope"), "scope is missing"),
        Row("empty scope", web.with("scope", "\"\""), "scope"),
        Row("without atproto", web.with("scope", #""transition:generic""#), "must have atproto"),
        Row("atproto in capitals", web.with("scope", #""Atproto""#), "must have atproto"),
        Row("scope twice", web.with("scope", #""atproto a a""#), "value twice"),
        Row("scope with two blanks", web.with("scope", #""atproto  a""#), "one space"),
        Row("scope with a blank at its end", web.with("scope", #""atproto ""#), "one space"),
        Row("scope with a tab", web.with("scope", #""atproto\ta""#), "one space"),
        Row("scope with a quote", web.with("scope", #""atproto a\"""#), "one space"),
        Row("scope beyond ASCII", web.with("scope", #""atproto ä""#), "one space"),
        Row("scope as a list", web.with("scope", #"["atproto"]"#), "scope must be a string"),
        Row("257 scopes", web.with("scope", scopes(257)), "more than 256"),
        Row("a long scope", web.with("scope", "\"atproto \(long("a", 8_185))\""), "longer than 8192"),
        Row("OpenID's age", web.with("default_max_age", "1"), "default_max_age is not supported"),
        Row("OpenID's token", web.with("id_token_signed_response_alg", #""ES256""#), "is not supported"),
        Row("encrypted", web.with("authorization_encrypted_response_enc", #""A128CBC-HS256""#), "is not supported"),
        Row("pairwise", web.with("subject_type", #""pairwise""#), "subject_type must be public"),
        Row("mutual TLS", web.with("tls_client_certificate_bound_access_tokens", "true"), "is not supported"),
        Row("details", web.with("authorization_details_types", #"["a"]"#), "is not supported"),

        // How it proves who it is.
        Row("no method", web.without("token_endpoint_auth_method"), "must be none or private_key_jwt"),
        Row("a secret's method", web.with("token_endpoint_auth_method", #""client_secret_basic""#), "must be none or"),
        Row("a method that is null", web.with("token_endpoint_auth_method", "null"), "must be a string"),
        Row("none with an algorithm", web.with("token_endpoint_auth_signing_alg", #""ES256""#), "must be absent"),
        Row("no keys", confidential.without("jwks"), "needs jwks or jwks_uri"),
        Row("both", confidential.with("jwks_uri", #""https://app.example.com/k""#), "exclude each other"),
        Row(
            "both of a public client", web.with("jwks_uri", #""https://app.example.com/k""#).with("jwks", "{}"),
            "exclude each other"),
        Row("no algorithm", confidential.without("token_endpoint_auth_signing_alg"), "signing_alg is missing"),
        Row("algorithm none", confidential.with("token_endpoint_auth_signing_alg", #""none""#), "must be ES256"),
        Row("algorithm HS256", confidential.with("token_endpoint_auth_signing_alg", #""HS256""#), "must be ES256"),
        Row("algorithm RS256", confidential.with("token_endpoint_auth_signing_alg", #""RS256""#), "must be ES256"),
        Row("algorithm in a list", confidential.with("token_endpoint_auth_signing_alg", #"["ES256"]"#), "a string"),
        Row("native and confidential", confidential.with("application_type", #""native""#), "none for a native client"),
        Row("keys that are a list", confidential.with("jwks", "[\(Document.key)]"), "object with a list of keys"),
        Row("keys that are null", confidential.with("jwks", "null"), "object with a list of keys"),
        Row("an empty key set", keys(), "must have a key"),
        Row("33 keys", confidential.with("jwks", "{\"keys\":[\(long("{},", 96)){}]}"), "more than 32 keys"),
        Row("a key that is text", keys(#""a""#), "a key is no object"), Row("a key without type", keys("{}"), "no kty"),
        Row("a symmetric key", keys(#"{"kty":"oct","k":"AQ","kid":"a"}"#), "not public"),
        Row("a private key", keys(String(Document.key.dropLast()) + #","d":"AQ"}"#), "not public"),
        Row("a private RSA key", keys(#"{"kty":"RSA","kid":"r","n":"AQAB","e":"AQAB","p":"AQ"}"#), "not public"),
        Row(
            "a private key beside", keys(Document.otherKey, String(Document.key.dropLast()) + #","d":null}"#),
            "not public"),
        Row("a key's name is a number", keys(#"{"kty":"EC","kid":1}"#), "wrong kid"),
        Row("a key's name is empty", keys(#"{"kty":"EC","kid":""}"#), "wrong kid"),
        Row("a key's name is long", keys(#"{"kty":"EC","kid":"\#(long("a", 513))"}"#), "wrong kid"),
        Row("one name for two", keys(Document.key, Document.key), "one kid"),
        Row("a long key", keys(#"{"kty":"EC","x":"\#(long("A", 8_192))"}"#), "longer than 2048"),
        Row(
            "keys by http", Document.remote.with("jwks_uri", #""http://app.example.com/k""#), "jwks_uri: https required"
        ),
        Row("keys at an address", Document.remote.with("jwks_uri", #""https://127.0.0.1/k""#), "public DNS name"),
        Row("keys at the cloud's address", Document.remote.with("jwks_uri", #""https://169.254.169.254/k""#), "public"),
        Row("keys at home", Document.remote.with("jwks_uri", #""https://localhost/k""#), "public DNS name"),
        Row("keys at a port", Document.remote.with("jwks_uri", #""https://app.example.com:22/k""#), "a port"),
        Row(
            "keys with credentials", Document.remote.with("jwks_uri", #""https://a@app.example.com/k""#), "credentials"),
        Row("keys in a file", Document.remote.with("jwks_uri", #""file:///etc/passwd""#), "https required"),
        Row("keys nowhere", Document.remote.with("jwks_uri", #""""#), "jwks_uri: invalid URL"),

        // Where answers go. (All the spellings are in the redirect URIs' own tables.)
        Row("no addresses", web.without("redirect_uris"), "must have an address"),
        Row("an empty list", web.with("redirect_uris", "[]"), "must have an address"),
        Row("one address as text", web.with("redirect_uris", #""https://app.example.com/cb""#), "must be a list"),
        Row("an address that is null", web.with("redirect_uris", "[null]"), "list of strings"),
        Row("33 addresses", web.with("redirect_uris", redirects(33)), "more than 32"),
        Row("1,000 addresses", web.with("redirect_uris", redirects(1_000)), "more than 32"),
        Row(
            "one wrong of two", web.with("redirect_uris", #"["https://app.example.com/cb","javascript:alert(1)"]"#),
            "private-use scheme", .invalidRedirectURI),
        Row(
            "loopback of a web client", web.with("redirect_uris", #"["http://127.0.0.1/cb"]"#), "native clients only",
            .invalidRedirectURI),
        Row(
            "an app of a web client", web.with("redirect_uris", #"["com.example.app:/cb"]"#), "native clients only",
            .invalidRedirectURI),
        Row(
            "another's app", Document.native.with("redirect_uris", #"["com.evil:/cb"]"#), "in reverse",
            .invalidRedirectURI),
        Row(
            "another's page of a native client", Document.native.with("redirect_uris", #"["https://b.example.org/"]"#),
            "origin of the client_id", .invalidRedirectURI),
        Row(
            "CR LF", web.with("redirect_uris", #"["https://app.example.com/\r\nX: y"]"#), "printable",
            .invalidRedirectURI),

        // What people are shown.
        Row("a name from right to left", web.with("client_name", "\"\u{202e}knaB\""), "invisible"),
        Row("an isolated name", web.with("client_name", "\"\u{2066}a\u{2069}\""), "invisible"),
        Row("a name with a mark", web.with("client_name", "\"a\u{200f}\""), "invisible"),
        Row("a name without width", web.with("client_name", "\"Bl\u{200b}uesky\""), "invisible"),
        Row("a name with a joiner of words", web.with("client_name", "\"a\u{2060}b\""), "invisible"),
        Row("a name with a byte order mark", web.with("client_name", "\"\u{feff}a\""), "invisible"),
        Row("a name with a soft hyphen", web.with("client_name", "\"a\u{ad}b\""), "invisible"),
        Row("a name with tags", web.with("client_name", "\"a\u{e0041}\""), "invisible"),
        Row("a name of fillers", web.with("client_name", "\"\u{3164}\""), "invisible"),
        Row("a name of empty Braille", web.with("client_name", "\"\u{2800}\""), "invisible"),
        Row("a name on two lines", web.with("client_name", #""a\nb""#), "invisible"),
        Row("a name with a line separator", web.with("client_name", "\"a\u{2028}b\""), "invisible"),
        Row("a name with a bell", web.with("client_name", #""a\u0007""#), "invisible"),
        Row("a name of private use", web.with("client_name", "\"\u{e000}\""), "invisible"),
        Row("a name that is a number", web.with("client_name", "1"), "client_name must be a string"),
        Row("a long name", web.with("client_name", "\"\(long("a", 513))\""), "longer than 512"),
        Row("another's home page", web.with("client_uri", #""https://bank.example.com/""#), "origin of the client_id"),
        Row("a home page elsewhere", web.with("client_uri", #""https://app.example.com/a""#), "parent"),
        Row("half a path", web.with("client_uri", #""https://app.example.com/oauth""#), "parent"),
        Row("a home page by http", web.with("client_uri", #""http://app.example.com""#), "https required"),
        Row("a script for a logo", web.with("logo_uri", #""javascript:alert(1)""#), "logo_uri: https required"),
        Row("data for a logo", web.with("logo_uri", #""data:image/png;base64,AA""#), "logo_uri: https required"),
        Row("a logo at home", web.with("logo_uri", #""https://192.168.0.1/l.png""#), "public DNS name"),
        Row("a logo that is empty", web.with("logo_uri", #""""#), "logo_uri: invalid URL"),
        Row("terms by http", web.with("tos_uri", #""http://app.example.com/t""#), "tos_uri: https required"),
        Row("a policy with a user", web.with("policy_uri", #""https://a@app.example.com/""#), "policy_uri: must not"),
    ]

    @Test(arguments: taken) func isTaken(_ row: Row) throws {
        let id = try ClientID(Bytes(Document.webID))
        let metadata = try ClientMetadata(json: row.json, of: id)
        #expect(metadata.id == id)
        // What is kept of it means the same.
        let again = try ClientMetadata(json: metadata.json, of: id)
        #expect(again == metadata)
        #expect(again.json == metadata.json)
        #expect(again.digest == metadata.digest)
    }

    @Test(arguments: refused) func isRefused(_ row: Row) throws {
        let id = try ClientID(Bytes(Document.webID))
        let error = refusal { _ = try ClientMetadata(json: row.json, of: id) }
        #expect(error?.code == row.code)
        #expect(error?.description.description.contains(row.reason ?? "-") == true, "\(String(describing: error))")
        #expect(isDescription(error?.description ?? ""))
    }

    @Test func thereAreEnoughOfThem() { #expect(Self.refused.count >= 60) }

    @Test func whatWasRead() throws {
        let metadata = try Document.remote.metadata()
        #expect(metadata.applicationType == .web)
        #expect(!metadata.isPublic)
        #expect(
            metadata.authentication
                == .privateKeyJWT(algorithm: "ES256", keys: .at("https://app.example.com/jwks.json")))
        #expect(metadata.redirectURIs.map(\.bytes) == ["https://app.example.com/callback"])
        #expect(metadata.scope == "atproto transition:generic")
        #expect(metadata.scopes == ["atproto", "transition:generic"])
        #expect(metadata.mayRefresh)
        #expect(try !Document.web.without("grant_types").metadata().mayRefresh)
        let keys = try Document.confidential.client().keys
        #expect(keys.map(\.id) == ["one"])
        #expect(keys.first?.value?["crv"]?.text == "P-256")
        let chained = Self.keys(String(Document.key.dropLast()) + #","x5c":["AAAA"],"x5u":"https://127.0.0.1/"}"#)
        #expect(try chained.client().keys == keys)
        #expect(try Document.web.with("jwks", #"{"keys":[\#(Document.key)]}"#).client().keys.isEmpty)
    }

    @Test func aDevelopmentClientHasNoDocument() throws {
        let id = try ClientID("http://localhost")
        let error = refusal {
            _ = try ClientMetadata(json: Document.web.with("client_id", "\"http://localhost\"").json, of: id)
        }
        #expect(error?.code == .invalidClientMetadata)
    }

    @Test func hostsThatTheOperatorNamed() throws {
        let rules = ClientRules(privateHosts: ["app.test:8443", "127.0.0.1:9000"])
        let document = Document.remote.with("client_id", #""http://app.test:8443/c.json""#)
            .with("client_uri", #""http://app.test:8443""#).with("redirect_uris", #"["https://app.test:8443/cb"]"#)
            .with("jwks_uri", #""http://127.0.0.1:9000/jwks""#)
        let id = try ClientID("http://app.test:8443/c.json", rules: rules)
        #expect(try ClientMetadata(json: document.json, of: id, rules: rules).redirectURIs.count == 1)
        #expect(refusal { _ = try ClientMetadata(json: document.json, of: id) } != nil)
    }

    // MARK: Digests

    static let sameConsent: [(String, Document, Document)] = [
        ("order and blanks", web, Document(members: web.members.reversed())),
        ("an unknown member", web, web.with("x", "1")),
        ("scopes in another order", web, web.with("scope", #""transition:generic atproto""#)),
        ("other keys", confidential, keys(Document.otherKey)),
    ]
    static let otherConsent: [(String, Document, Document)] = [
        ("another address", web, web.with("redirect_uris", #"["https://app.example.com/other"]"#)),
        (
            "one more address", web,
            web.with(
                "redirect_uris",
                #"["https://app.example.com/callback","https://evil.example.org/"]"#)
        ),
        ("more scope", web, web.with("scope", #""atproto transition:generic transition:email""#)),
        ("less scope", web, web.with("scope", #""atproto""#)),
        ("another name", web, web.with("client_name", #""Bank""#)),
        ("a logo", web, web.with("logo_uri", #""https://app.example.com/l.png""#)),
        ("another method", web, confidential), ("keys elsewhere", confidential, Document.remote),
        ("keys at another place", Document.remote, Document.remote.with("jwks_uri", #""https://evil.example.org/k""#)),
        ("no refresh", web, web.with("grant_types", #"["authorization_code"]"#)),
        ("another type", web, web.with("application_type", #""native""#)),
    ]

    @Test func aConsentIsBoundToWhatWasShown() throws {
        for (name, one, other) in Self.sameConsent {
            #expect(try one.metadata().digest == other.metadata().digest, "\(name)")
        }
        for (name, one, other) in Self.otherConsent {
            #expect(try one.metadata().digest != other.metadata().digest, "\(name)")
        }
    }
}
