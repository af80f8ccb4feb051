extension Migration {
    /// Lexicons of the network.
    static let lexicons = Migration(
        name: "lexicons",
        statements: [
            // What is known of a lexicon: its record as last proved (document, cid, did, rev; NULL until then), when
            // that was (fetched_at), and when to ask next (due_at) after how many failures. wanted_by is the lexicon
            // for whose sake it is here ('' for one that a stranger asked for): each brings so many along and no more.
            """
            CREATE TABLE lexicon (
                nsid {text} PRIMARY KEY, wanted_by {text} NOT NULL, noted_at {integer} NOT NULL,
                due_at {integer} NOT NULL, failures {integer} NOT NULL DEFAULT 0, did {text}, rev {text}, cid {bytes},
                document {bytes}, fetched_at {integer}
            ) {strict}
            """,
            "CREATE INDEX lexicon_by_due ON lexicon (due_at)",
            "CREATE INDEX lexicon_by_wanted ON lexicon (wanted_by)",
            // Counts changes of documents: what a process has made of them is good while the count stays.
            "INSERT INTO counter (name, value) VALUES ('lexicon', 0)",
        ])
}
