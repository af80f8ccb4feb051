extension Migration {
    /// Accounts, repositories, blobs, the firehose.
    static let core = Migration(
        name: "accounts, repositories, events",
        statements: [
            // Counters that never go back: `event` is the last seq given out, `repo` the last repo id.
            "CREATE TABLE counter (name {text} PRIMARY KEY, value {integer} NOT NULL) {strict}",
            "INSERT INTO counter (name, value) VALUES ('event', 0), ('repo', 0)",

            // Accounts. handle and email are lower case; email is unique when it is not null.
            """
            CREATE TABLE account (
                did {text} PRIMARY KEY, handle {text} UNIQUE, email {text} UNIQUE,
                email_confirmed_at {integer}, password {text} NOT NULL, created_at {integer} NOT NULL,
                deactivated_at {integer}, delete_after {integer}, taken_down_at {integer}, suspended_at {integer},
                invite_code {text}, invites_disabled {integer} NOT NULL DEFAULT 0
            ) {strict}
            """,
            // The repository signing key of an account, sealed under the key file.
            """
            CREATE TABLE signing_key (
                did {text} PRIMARY KEY REFERENCES account (did) ON DELETE CASCADE, did_key {text} NOT NULL,
                sealed {bytes} NOT NULL
            ) {strict}
            """,
            // Keys given out by reserveSigningKey before there is an account.
            """
            CREATE TABLE reserved_key (
                did_key {text} PRIMARY KEY, did {text} UNIQUE, sealed {bytes} NOT NULL,
                created_at {integer} NOT NULL
            ) {strict}
            """,
            """
            CREATE TABLE app_password (
                did {text} NOT NULL REFERENCES account (did) ON DELETE CASCADE, name {text} NOT NULL,
                password {text} NOT NULL, privileged {integer} NOT NULL, created_at {integer} NOT NULL,
                PRIMARY KEY (did, name)
            ) {strict}
            """,
            // One row a refresh token; id is its jti. next_id is set by rotation, expires_at then shortened.
            """
            CREATE TABLE refresh_token (
                id {text} PRIMARY KEY, did {text} NOT NULL REFERENCES account (did) ON DELETE CASCADE,
                app_password {text}, expires_at {integer} NOT NULL, next_id {text}
            ) {strict}
            """,
            "CREATE INDEX refresh_token_by_account ON refresh_token (did, app_password)",
            """
            CREATE TABLE invite_code (
                code {text} PRIMARY KEY, uses_left {integer} NOT NULL, disabled {integer} NOT NULL DEFAULT 0,
                for_account {text} NOT NULL, created_by {text} NOT NULL, created_at {integer} NOT NULL
            ) {strict}
            """,
            """
            CREATE TABLE invite_code_use (
                code {text} NOT NULL REFERENCES invite_code (code) ON DELETE CASCADE, used_by {text} NOT NULL,
                used_at {integer} NOT NULL, PRIMARY KEY (code, used_by)
            ) {strict}
            """,
            // value is the item's DAG-CBOR; position keeps the order in which the items were put.
            """
            CREATE TABLE preference (
                did {text} NOT NULL REFERENCES account (did) ON DELETE CASCADE, position {integer} NOT NULL,
                type {text} NOT NULL, value {bytes} NOT NULL, PRIMARY KEY (did, position)
            ) {strict}
            """,
            // DID documents of others, and when they were fetched.
            """
            CREATE TABLE did_document (
                did {text} PRIMARY KEY, document {bytes} NOT NULL, fetched_at {integer} NOT NULL
            ) {strict}
            """,
            // Spent points of a rate limit (`name`) for one caller (`key`) in the window that began at started_at.
            """
            CREATE TABLE budget (
                name {text} NOT NULL, key {text} NOT NULL, started_at {integer} NOT NULL, points {integer} NOT NULL,
                PRIMARY KEY (name, key)
            ) {strict}
            """,

            // Repositories. commit_block is the signed commit; status copies what the account's state means for
            // sync.
            """
            CREATE TABLE repo (
                id {integer} PRIMARY KEY, did {text} NOT NULL UNIQUE, rev {text} NOT NULL,
                commit_cid {bytes} NOT NULL,
                data_cid {bytes} NOT NULL, commit_block {bytes} NOT NULL, status {text} NOT NULL DEFAULT 'active'
            ) {strict}
            """,
            // key is `collection/rkey`; clustered, so that listRecords is one range scan.
            """
            CREATE TABLE record (
                repo {integer} NOT NULL, key {bytes} NOT NULL, cid {bytes} NOT NULL, rev {text} NOT NULL,
                value {bytes} NOT NULL, PRIMARY KEY (repo, key)
            ) {clustered}
            """,
            // MST nodes that have been folded out of packs. rev is the commit that made them.
            """
            CREATE TABLE mst_node (
                repo {integer} NOT NULL, cid {bytes} NOT NULL, rev {text} NOT NULL, bytes {bytes} NOT NULL,
                PRIMARY KEY (repo, cid)
            ) {clustered}
            """,
            // The MST changes of one recent commit: new nodes and the CIDs of those it made obsolete, in one row.
            // Not clustered: beyond 1,000 bytes each such row takes an overflow page of its own in SQLite, which
            // doubled the cost of a whole commit (124 µs of CPU against 62, in C, with the same rows).
            """
            CREATE TABLE mst_pack (
                repo {integer} NOT NULL, rev {text} NOT NULL, bytes {bytes} NOT NULL, PRIMARY KEY (repo, rev)
            ) {strict}
            """,
            // Which record of a repository points at which subject (like, repost, follow, block).
            """
            CREATE TABLE backlink (
                repo {integer} NOT NULL, collection {text} NOT NULL, subject {text} NOT NULL, key {bytes} NOT NULL,
                PRIMARY KEY (repo, collection, subject, key)
            ) {clustered}
            """,
            // Blobs of an account. A file is at blobs/; it is temporary until a record names it.
            """
            CREATE TABLE blob (
                did {text} NOT NULL, cid {bytes} NOT NULL, mime_type {text} NOT NULL, size {integer} NOT NULL,
                created_at {integer} NOT NULL, temporary {integer} NOT NULL, PRIMARY KEY (did, cid)
            ) {strict}
            """,
            """
            CREATE TABLE blob_reference (
                repo {integer} NOT NULL, cid {bytes} NOT NULL, key {bytes} NOT NULL, rev {text} NOT NULL,
                PRIMARY KEY (repo, cid, key)
            ) {clustered}
            """,
            "CREATE INDEX blob_reference_by_key ON blob_reference (repo, key)",
            // The firehose: payload is the whole frame (header and body) as it is sent. No index by account: it
            // would cost every commit an eighth of its time in the database, and only a deletion asks for it.
            """
            CREATE TABLE event (
                seq {integer} PRIMARY KEY, did {text} NOT NULL, kind {text} NOT NULL, created_at {integer} NOT NULL,
                payload {bytes} NOT NULL
            ) {strict}
            """,
        ])
}
