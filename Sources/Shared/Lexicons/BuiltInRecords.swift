internal import ATProto
internal import Base

extension BuiltIn {
    static let postgate: Bytes = "app.bsky.feed.postgate"
    static let threadgate: Bytes = "app.bsky.feed.threadgate"
    static let starterPack: Bytes = "app.bsky.graph.starterpack"

    /// A type of records.
    struct Record: Sendable {
        let id: Bytes
        let rule: RecordRule

        init(
            _ id: Bytes, _ key: KeyRule = .tid, _ required: KeyValuePairs<Bytes, Schema> = [:],
            optional: KeyValuePairs<Bytes, Schema> = [:]
        ) {
            self.id = id
            rule = RecordRule(key: key, object: ObjectRule(required, optional: optional))
        }
    }

    private static let own = KeyRule.literal("self")

    static let records: [Record] = [
        Record(
            Collections.post, .tid,
            ["text": .text(sizeMax: 3_000, graphemesMax: 300), "createdAt": createdAt],
            optional: [
                "entities": .list(of: entity.schema), "facets": facets, "reply": replyRef.schema, "embed": embed,
                "langs": .list(of: .text(.language), countMax: 3), "labels": labels,
                "tags": .list(of: .text(sizeMax: 640, graphemesMax: 64), countMax: 8),
            ]),
        Record(
            Collections.like, .tid, ["subject": strongRef.schema, "createdAt": createdAt],
            optional: ["via": strongRef.schema]),
        Record(
            Collections.repost, .tid, ["subject": strongRef.schema, "createdAt": createdAt],
            optional: ["via": strongRef.schema]),
        Record(
            postgate, .tid, ["post": .text(.atURI), "createdAt": createdAt],
            optional: [
                "detachedEmbeddingUris": .list(of: .text(.atURI), countMax: 50),
                "embeddingRules": .list(of: .one(of: [disableRule]), countMax: 5),
            ]),
        Record(
            threadgate, .tid, ["post": .text(.atURI), "createdAt": createdAt],
            optional: [
                "allow": .list(
                    of: .one(of: [mentionRule, followerRule, followingRule, listRule]), countMax: 5),
                "hiddenReplies": .list(of: .text(.atURI), countMax: 300),
            ]),
        Record(
            "app.bsky.feed.generator", .any,
            [
                "did": .text(.did), "displayName": .text(sizeMax: 240, graphemesMax: 24), "createdAt": createdAt,
            ],
            optional: [
                "description": .text(sizeMax: 3_000, graphemesMax: 300), "descriptionFacets": facets,
                "avatar": portrait, "acceptsInteractions": .boolean(BooleanRule()), "labels": labels,
                "contentMode": .text(),
            ]),

        Record(
            Collections.follow, .tid, ["subject": .text(.did), "createdAt": createdAt],
            optional: ["via": strongRef.schema]),
        Record(Collections.block, .tid, ["subject": .text(.did), "createdAt": createdAt]),
        Record(
            "app.bsky.graph.list", .tid,
            ["name": .text(sizeMin: 1, sizeMax: 64), "purpose": .text(), "createdAt": createdAt],
            optional: [
                "description": .text(sizeMax: 3_000, graphemesMax: 300), "descriptionFacets": facets,
                "avatar": portrait, "labels": labels,
            ]),
        Record("app.bsky.graph.listblock", .tid, ["subject": .text(.atURI), "createdAt": createdAt]),
        Record(
            "app.bsky.graph.listitem", .tid,
            ["subject": .text(.did), "list": .text(.atURI), "createdAt": createdAt]),
        Record(
            starterPack, .tid,
            [
                "name": .text(sizeMin: 1, sizeMax: 500, graphemesMax: 50), "list": .text(.atURI),
                "createdAt": createdAt,
            ],
            optional: [
                "description": .text(sizeMax: 3_000, graphemesMax: 300), "descriptionFacets": facets,
                "feeds": .list(of: feedItem.schema, countMax: 3),
            ]),
        Record(
            "app.bsky.graph.verification", .tid,
            [
                "subject": .text(.did), "handle": .text(.handle), "displayName": .text(), "createdAt": createdAt,
            ]),

        Record(
            Collections.profile, own,
            optional: [
                "displayName": .text(sizeMax: 640, graphemesMax: 64),
                "description": .text(sizeMax: 2_560, graphemesMax: 256),
                "pronouns": .text(sizeMax: 200, graphemesMax: 20), "website": .text(.uri), "avatar": portrait,
                "banner": portrait, "labels": labels, "joinedViaStarterPack": strongRef.schema,
                "pinnedPost": strongRef.schema, "createdAt": createdAt,
            ]),
        Record(
            "app.bsky.actor.status", own, ["status": .text(), "createdAt": createdAt],
            optional: ["embed": .one(of: [external]), "durationMinutes": .number(min: 1)]),
        Record(
            "app.bsky.actor.contentVisibilityDeclaration", own,
            ["hideFromAlgorithmicRecommendations": .boolean(BooleanRule())]),
        Record(
            "app.bsky.labeler.service", own, ["policies": labelerPolicies.schema, "createdAt": createdAt],
            optional: [
                "labels": labels, "reasonTypes": .list(of: .text()), "subjectTypes": .list(of: .text()),
                "subjectCollections": .list(of: .text(.nsid)),
            ]),
        Record("app.bsky.notification.declaration", own, ["allowSubscriptions": .text()]),
        Record(
            "chat.bsky.actor.declaration", own, ["allowIncoming": .text()],
            optional: ["allowGroupInvites": .text()]),
        Record(Collections.lexicon, .nsid, ["lexicon": .integer(IntegerRule())]),
    ]

    /// By collection.
    static let schemas: [Bytes: RecordSchema] = {
        var schemas: [Bytes: RecordSchema] = [:]
        for record in records {
            schemas[record.id] = RecordSchema(key: record.rule.key, closed: ClosedSchema(.object(record.rule.object)))
        }
        return schemas
    }()

    /// What other lexicons may refer to, by its whole name.
    static let definitions: [Bytes: Schema] = {
        var definitions: [Bytes: Schema] = [:]
        for part in parts { definitions[part.name] = part.schema }
        for record in records { definitions[record.id] = .object(record.rule.object) }
        return definitions
    }()
}
