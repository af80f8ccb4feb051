extension Migration {
    /// Repositories that are built aside.
    static let imports = Migration(
        name: "imports",
        statements: [
            // Ids whose rows (record, mst_node, mst_pack, backlink, blob_reference) belong to no repository: an import
            // puts them there under a new id and gives that to the repository in one step, which leaves the old id
            // here. A row that is due is removed with what has its id; 0: nothing of it may be used any more.
            """
            CREATE TABLE repo_part (
                repo {integer} PRIMARY KEY, did {text} NOT NULL, due_at {integer} NOT NULL
            ) {strict}
            """
        ])
}
