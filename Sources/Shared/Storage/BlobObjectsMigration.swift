extension Migration {
    /// Where the bytes of blobs are kept.
    static let blobObjects = Migration(
        name: "blob objects",
        statements: [
            // The one object that has a blob's bytes, whatever number of accounts has the blob. place: disk or s3.
            // Before this there were files without a generation.
            """
            CREATE TABLE blob_object (
                cid {bytes} PRIMARY KEY, place {text} NOT NULL, generation {text} NOT NULL
            ) {strict}
            """,
            "INSERT INTO blob_object (cid, place, generation) SELECT DISTINCT cid, 'disk', '' FROM blob",
            // Objects that no blob has: those that are just being stored (doomed 0), which become somebody's or are
            // doomed when due; and those that are to be removed once due (doomed 1), which nothing brings back.
            """
            CREATE TABLE blob_leftover (
                place {text} NOT NULL, cid {bytes} NOT NULL, generation {text} NOT NULL, due_at {integer} NOT NULL,
                doomed {integer} NOT NULL, PRIMARY KEY (place, cid, generation)
            ) {strict}
            """,
            "CREATE INDEX blob_leftover_by_due ON blob_leftover (due_at)",
            // The trash was a directory, and is rows alone now.
            "DELETE FROM blob_trash WHERE cid NOT IN (SELECT cid FROM blob_object)",
            // Whether anybody else has the same bytes.
            "CREATE INDEX blob_by_cid ON blob (cid)",
            "CREATE INDEX blob_trash_by_cid ON blob_trash (cid)",
        ])
}
