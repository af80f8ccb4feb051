extension Migration {
    /// What the operator and moderators decide, and what people report to them.
    static let administration = Migration(
        name: "takedowns, reports, the log of administration",
        statements: [
            // What the moderation service calls its decision.
            "ALTER TABLE account ADD COLUMN takedown_ref {text}",
            "ALTER TABLE account ADD COLUMN invite_note {text}",
            // Records that are not shown, by path: a takedown outlives a change of the record. Almost always empty,
            // which is what the reads of records count on.
            """
            CREATE TABLE record_takedown (
                repo {integer} NOT NULL, key {bytes} NOT NULL, cid {bytes}, ref {text},
                created_at {integer} NOT NULL, PRIMARY KEY (repo, key)
            ) {clustered}
            """,
            """
            CREATE TABLE blob_takedown (
                did {text} NOT NULL, cid {bytes} NOT NULL, ref {text}, created_at {integer} NOT NULL,
                PRIMARY KEY (did, cid)
            ) {clustered}
            """,
            // Labels that takedowns of accounts and records make, and their negations, in order.
            """
            CREATE TABLE label (
                id {integer} PRIMARY KEY, did {text} NOT NULL, uri {text} NOT NULL, cid {bytes}, value {text} NOT NULL,
                negated {integer} NOT NULL, created_at {integer} NOT NULL
            ) {strict}
            """,
            "CREATE INDEX label_by_uri ON label (uri, value)",
            // Reports of accounts and records. reported_by and reason go with the reporter's account. forward_after is
            // when a report is to be passed on (again); null when there is nothing to do.
            """
            CREATE TABLE report (
                id {integer} PRIMARY KEY, created_at {integer} NOT NULL, reason_type {text} NOT NULL, reason {text},
                subject_did {text} NOT NULL, subject_uri {text}, subject_cid {bytes}, reported_by {text},
                closed_at {integer}, closed_by {text}, note {text}, forward_to {text}, forwarded_at {integer},
                forward_after {integer}, forward_attempts {integer} NOT NULL DEFAULT 0
            ) {strict}
            """,
            "CREATE INDEX report_by_subject ON report (subject_did)",
            "CREATE INDEX report_by_reporter ON report (reported_by)",
            "CREATE INDEX report_by_forwarding ON report (forward_after)",
            // What was done by whom to what. Append only.
            """
            CREATE TABLE admin_action (
                id {integer} PRIMARY KEY, created_at {integer} NOT NULL, actor {text} NOT NULL, action {text} NOT NULL,
                subject {text} NOT NULL, detail {text}
            ) {strict}
            """,
            "CREATE INDEX admin_action_by_subject ON admin_action (subject)",
            // Whose codes these are, and which codes somebody used: for administrators, and for deletions.
            "CREATE INDEX invite_code_by_account ON invite_code (for_account)",
            "CREATE INDEX invite_code_use_by_user ON invite_code_use (used_by)",
            // First labels, or whole handles, that nobody gets by asking, beside those of the program.
            "CREATE TABLE reserved_handle (name {text} PRIMARY KEY, created_at {integer} NOT NULL) {strict}",
            "INSERT INTO counter (name, value) VALUES ('report', 0), ('admin_action', 0), ('label', 0)",
        ])
}
