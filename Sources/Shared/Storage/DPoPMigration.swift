extension Migration {
    /// Which proofs of keys and assertions of clients were used already.
    static let dpop = Migration(
        name: "used DPoP proofs and client assertions",
        statements: proofStatements + [
            // The same for client assertions, which no epoch invalidates: these are as durable as everything else.
            """
            CREATE TABLE assertion_replay (
                space {integer} NOT NULL, id {integer} NOT NULL, digest {bytes} NOT NULL UNIQUE,
                expires_at {integer} NOT NULL, PRIMARY KEY (space, id)
            ) {clustered}
            """
        ])

    /// The schema of a SQLite file that holds used proofs alone (`SQLiteDurability.process`), so that a request that
    /// reads needs no sync.
    public static let usedProofs: [Migration] = [Migration(name: "used DPoP proofs", statements: proofStatements)]

    private static let proofStatements = [
        // One row: what the nonces of proofs are made with. It is lost together with dpop_replay and never without it,
        // and then every nonce that was given out before is unknown: what was forgotten can't be used again.
        """
        CREATE {unlogged} TABLE dpop_epoch (
            one {integer} PRIMARY KEY CHECK (one = 1), epoch {bytes} NOT NULL
        ) {strict}
        """,
        // id grows within a space, so that the count of rows is known without counting them. digest is of the space,
        // the key's thumbprint and the jti.
        """
        CREATE {unlogged} TABLE dpop_replay (
            space {integer} NOT NULL, id {integer} NOT NULL, digest {bytes} NOT NULL UNIQUE,
            expires_at {integer} NOT NULL, PRIMARY KEY (space, id)
        ) {clustered}
        """,
    ]
}
