extension Migration {
    /// Who is signed in to the administrator's pages.
    static let adminWeb = Migration(
        name: "sessions of the administrator's pages",
        statements: [
            // digest is an HMAC of the cookie's value under a key derived from the administrator's password: the row
            // opens nothing, and another password makes every row unknown.
            """
            CREATE TABLE admin_session (
                digest {bytes} PRIMARY KEY, created_at {integer} NOT NULL, seen_at {integer} NOT NULL
            ) {strict}
            """
        ])
}
