extension Migration {
    /// Codes by mail, and the mail itself.
    static let mail = Migration(
        name: "mail, codes by mail",
        statements: [
            // Whether signing in with the account's password also wants a code by mail.
            "ALTER TABLE account ADD COLUMN email_auth_factor {integer} NOT NULL DEFAULT 0",
            // One code for each purpose of an account. digest is a keyed one, so that whoever reads the database learns
            // no code; sealed is the code for the operator. guesses counts what was tried, right or wrong.
            """
            CREATE TABLE account_token (
                did {text} NOT NULL REFERENCES account (did) ON DELETE CASCADE, purpose {text} NOT NULL,
                digest {bytes} NOT NULL, sealed {bytes} NOT NULL, created_at {integer} NOT NULL,
                expires_at {integer} NOT NULL, guesses {integer} NOT NULL DEFAULT 0, PRIMARY KEY (did, purpose)
            ) {strict}
            """,
            "CREATE INDEX account_token_by_digest ON account_token (digest)",
            // Mail that waits, was handed over or was given up. kind and did are what it is about; content is sealed,
            // and gone once it was handed over. A claimed row has a lease, and is due again when next_at comes without
            // an answer from who claimed it.
            """
            CREATE TABLE mail (
                id {text} PRIMARY KEY, kind {text} NOT NULL, did {text}, recipient {text} NOT NULL,
                subject {text} NOT NULL, content {bytes}, created_at {integer} NOT NULL, state {text} NOT NULL,
                attempts {integer} NOT NULL DEFAULT 0, next_at {integer} NOT NULL, give_up_at {integer} NOT NULL,
                lease {text}, last_error {text}, finished_at {integer}
            ) {strict}
            """,
            "CREATE INDEX mail_due ON mail (next_at) WHERE state = 'queued'",
            "CREATE INDEX mail_by_account ON mail (did)",
        ])
}
