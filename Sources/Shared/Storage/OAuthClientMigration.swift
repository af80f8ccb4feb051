extension Migration {
    /// Documents of OAuth clients.
    static let oauthClients = Migration(
        name: "documents of OAuth clients",
        statements: [
            // A cache of what clients say of themselves (kind 0) and of their keys (kind 1), by address: the document
            // as last read and when; and what was wrong with the last try, if something was. touched_at is that try.
            """
            CREATE TABLE oauth_client_document (
                address {text} NOT NULL, kind {integer} NOT NULL, document {bytes}, fetched_at {integer},
                failure_code {text}, failure_text {text}, failed_at {integer}, touched_at {integer} NOT NULL,
                PRIMARY KEY (address, kind)
            ) {strict}
            """,
            "CREATE INDEX oauth_client_document_by_touch ON oauth_client_document (touched_at)",
        ])
}
