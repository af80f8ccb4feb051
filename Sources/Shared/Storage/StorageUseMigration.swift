extension Migration {
    /// What accounts take up, and blobs that are on their way out.
    static let storageUse = Migration(
        name: "storage use",
        statements: [
            // Bytes of an account's records (their blocks) and of its blobs, where every write changes a row anyway.
            "ALTER TABLE repo ADD COLUMN record_bytes {integer} NOT NULL DEFAULT 0",
            "ALTER TABLE repo ADD COLUMN blob_bytes {integer} NOT NULL DEFAULT 0",
            """
            UPDATE repo SET
                record_bytes = (SELECT coalesce(sum(length(value)), 0) FROM record WHERE record.repo = repo.id),
                blob_bytes = (SELECT coalesce(sum(size), 0) FROM blob WHERE blob.did = repo.did)
            """,
            // Blobs that were removed and can be brought back for a while.
            """
            CREATE TABLE blob_trash (
                did {text} NOT NULL, cid {bytes} NOT NULL, mime_type {text} NOT NULL, size {integer} NOT NULL,
                trashed_at {integer} NOT NULL, PRIMARY KEY (did, cid)
            ) {strict}
            """,
        ])
}
