extension Migration {
    /// What the relays that crawl this server were told, and what they answered.
    static let crawlers = Migration(
        name: "crawlers",
        statements: [
            // told_seq is the newest event when the crawler last accepted a notice; not_before, when it may be asked
            // again. status is that of its last HTTP answer, error what was wrong with the last attempt.
            """
            CREATE TABLE crawler (
                url {text} PRIMARY KEY, told_seq {integer} NOT NULL DEFAULT 0, requested {integer} NOT NULL DEFAULT 0,
                asked_at {integer}, accepted_at {integer}, status {integer}, error {text},
                failures {integer} NOT NULL DEFAULT 0, not_before {integer} NOT NULL DEFAULT 0
            ) {strict}
            """
        ])
}
