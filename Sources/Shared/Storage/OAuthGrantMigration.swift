extension Migration {
    /// What OAuth clients ask for and what accounts have let them do.
    static let oauthGrants = Migration(
        name: "OAuth requests and sessions",
        statements: [
            // A pushed request by the SHA-256 of its id. Once it is authorized it has its code's SHA-256, the account,
            // and in scope what was granted. key_*: the confidential client's key.
            """
            CREATE TABLE oauth_request (
                digest {bytes} PRIMARY KEY, code_digest {bytes} UNIQUE, client_id {text} NOT NULL,
                redirect_uri {text} NOT NULL, scope {text} NOT NULL, state {text} NOT NULL, challenge {bytes} NOT NULL,
                dpop_jkt {text}, login_hint {text}, prompt {text}, response_mode {text} NOT NULL, key_id {bytes},
                key_algorithm {text}, key_thumbprint {text}, metadata_digest {bytes} NOT NULL, device_id {bytes},
                did {text} REFERENCES account (did) ON DELETE CASCADE, created_at {integer} NOT NULL,
                expires_at {integer} NOT NULL
            ) {strict}
            """,
            "CREATE INDEX oauth_request_by_expiry ON oauth_request (expires_at)",
            "CREATE INDEX oauth_request_by_account ON oauth_request (did) WHERE did IS NOT NULL",
            // PKCE challenges that were used: each once a day.
            """
            CREATE TABLE oauth_challenge (
                challenge {bytes} PRIMARY KEY, expires_at {integer} NOT NULL
            ) {clustered}
            """,
            "CREATE INDEX oauth_challenge_by_expiry ON oauth_challenge (expires_at)",
            // One sign-in of an app. Tokens are not here: they are made of id, seed, generation and the server's key.
            // code_digest is of the code that began it, to know the code when it comes again.
            """
            CREATE TABLE oauth_session (
                id {text} PRIMARY KEY, did {text} NOT NULL REFERENCES account (did) ON DELETE CASCADE,
                client_id {text} NOT NULL, scope {text} NOT NULL, dpop_jkt {text} NOT NULL, key_id {bytes},
                key_algorithm {text}, key_thumbprint {text}, metadata_digest {bytes} NOT NULL, device_id {bytes},
                code_digest {bytes} NOT NULL UNIQUE, seed {bytes} NOT NULL, generation {integer} NOT NULL,
                created_at {integer} NOT NULL, refreshed_at {integer} NOT NULL, expires_at {integer} NOT NULL
            ) {strict}
            """,
            "CREATE INDEX oauth_session_by_account ON oauth_session (did, refreshed_at)",
            "CREATE INDEX oauth_session_by_expiry ON oauth_session (expires_at)",
        ])
}
