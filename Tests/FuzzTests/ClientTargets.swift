import Authorization
import Base

extension FuzzTarget {
    private static let clientID = "https://app.example.com/oauth-client-metadata.json"
    private static let rules = ClientRules(privateHosts: ["app.test", "127.0.0.1:8080"])
    private static let key = #"{"kty":"EC","crv":"P-256","kid":"one","x":"f83OJ3D2","y":"x_FEzRu9"}"#

    /// The words of an error go into answers as they are.
    private static func fault(of error: any Error) -> String? {
        guard let error = error as? AuthorizationError else { return "throws \(error)" }
        let isPlain = error.description.allSatisfy { $0 >= 0x20 && $0 < 0x7F && $0 != 0x22 && $0 != 0x5C }
        return isPlain && error.description.count <= 300 ? nil : "an error_description that may not be"
    }

    /// What OAuth clients say of themselves.
    static let clients: [FuzzTarget] = [
        FuzzTarget(
            "client-id",
            texts: [
                clientID, "https://app.example.com/a?b=c", "http://app.test:81/a", "http://127.0.0.1:8080/a",
                "http://localhost", "http://localhost/?redirect_uri=http%3A%2F%2F127.0.0.1%3A3000%2Fcb&scope=atproto+b",
                "http://localhost?redirect_uri=http://[::1]/cb&redirect_uri=http://127.0.0.1",
            ]
        ) { input in
            let id: ClientID
            do { id = try ClientID(Bytes(input), rules: rules) } catch { return fault(of: error) }
            if id.bytes != Bytes(input) { return "comes back changed" }
            guard let development = ClientMetadata(development: id) else {
                return id.isLoopback ? "a development client without metadata" : nil
            }
            if development.redirectURIs.isEmpty || !development.scopes.contains("atproto") { return "not a client" }
            return development.redirectURIs.allSatisfy { $0.kind == .loopback } ? nil : "a redirect elsewhere"
        },
        FuzzTarget(
            "redirect-uri",
            texts: [
                "https://app.example.com/cb?a=b", "https://app.test:8443", "http://127.0.0.1:3000/cb", "http://[::1]/",
                "com.example.app:/cb?a",
            ]
        ) { input in
            let uri: RedirectURI
            do { uri = try RedirectURI(Bytes(input), rules: rules) } catch { return fault(of: error) }
            if uri.bytes != Bytes(input) { return "comes back changed" }
            if !uri.bytes.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != 0x23 && $0 != 0x22 && $0 != 0x5C }) {
                return "a character that is none of a URL"
            }
            if !uri.matches(uri) { return "is not itself" }
            switch uri.kind {
            case .web: return uri.bytes.starts(with: "https://") ? nil : "a page by another scheme"
            case .loopback:
                let isLoopback = uri.bytes.starts(with: "http://127.0.0.1") || uri.bytes.starts(with: "http://[::1]")
                return isLoopback ? nil : "no loopback address"
            case .privateUse:
                let scheme = uri.bytes.upTo(uri.bytes.position(of: 0x3A) ?? 0)
                return scheme.contains(0x2E) ? nil : "a scheme that is nobody's"
            }
        },
        FuzzTarget(
            "client-metadata",
            texts: [
                #"{"client_id":"\#(clientID)","redirect_uris":["https://app.example.com/cb"],"scope":"atproto a","#
                    + #""token_endpoint_auth_method":"none","dpop_bound_access_tokens":true,"client_name":"A","#
                    + #""client_uri":"https://app.example.com/","logo_uri":"https://app.example.com/l.png"}"#,
                #"{"client_id":"\#(clientID)","redirect_uris":["com.example.app:/cb","http://127.0.0.1/"],"#
                    + #""scope":"atproto","token_endpoint_auth_method":"none","dpop_bound_access_tokens":true,"#
                    + #""application_type":"native","grant_types":["authorization_code","refresh_token"]}"#,
                #"{"client_id":"\#(clientID)","redirect_uris":["https://b.example.org/"],"scope":"atproto","#
                    + #""token_endpoint_auth_method":"private_key_jwt","token_endpoint_auth_signing_alg":"ES256","#
                    + #""dpop_bound_access_tokens":true,"jwks":{"keys":[\#(key)]},"response_types":["code"]}"#,
                #"{"client_id":"\#(clientID)","redirect_uris":["https://b.example.org/"],"scope":"atproto","#
                    + #""token_endpoint_auth_method":"private_key_jwt","token_endpoint_auth_signing_alg":"ES256K","#
                    + #""dpop_bound_access_tokens":true,"jwks_uri":"https://app.example.com/k"}"#,
            ]
        ) { input in
            guard let id = try? ClientID(Bytes(clientID)) else { return "the id is refused" }
            let metadata: ClientMetadata
            do { metadata = try ClientMetadata(json: Bytes(input), of: id) } catch { return fault(of: error) }
            if metadata.redirectURIs.isEmpty || !metadata.scopes.contains("atproto") { return "not a client" }
            guard let again = try? ClientMetadata(json: metadata.json, of: id) else { return "its own JSON is refused" }
            if again != metadata { return "its own JSON says something else" }
            return again.digest == metadata.digest ? nil : "another digest"
        },
        FuzzTarget("client-keys", texts: [#"{"keys":[\#(key),{"kty":"RSA","n":"AQAB","e":"AQAB"}]}"#]) { input in
            let set: ClientKeySet
            do { set = try ClientKeySet(json: Bytes(input)) } catch { return fault(of: error) }
            guard let again = try? ClientKeySet(json: set.json) else { return "its own JSON is refused" }
            return again == set ? nil : "its own JSON says something else"
        },
    ]
}
