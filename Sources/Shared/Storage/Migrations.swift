/// One step of the schema: statements for both engines. Append only; a released step is never edited.
public struct Migration: Sendable {
    /// What the step is for, shown by `skystead migrate`.
    public let name: String
    /// Statements in order. `{integer}`, `{text}`, `{bytes}` stand for each engine's column type, `{strict}`,
    /// `{clustered}` and `{unlogged}` for the table options: PostgreSQL's INTEGER holds 32 bits and a SQLite STRICT
    /// table refuses BIGINT; PostgreSQL orders text by locale unless told not to (COLLATE "C").
    public let statements: [String]
}

extension Migration {
    /// Every step since the beginning, each in a file of its own: the schema's version is their count.
    ///
    /// Times are microseconds since 1970, booleans 0 or 1, DIDs their text, CIDs their 36 bytes, record keys
    /// `collection/rkey` as bytes in byte order.
    public static let all: [Migration] = [
        core, adminWeb, administration, crawlers, imports, storageUse, mail, lexicons, blobObjects, oauthClients, dpop,
        oauthGrants,
    ]
}
