public import ATProto
internal import Base

/// The records that this server knows the shape of: those that clients write most.
///
/// The facts are those of the published lexicons; any other collection is taken as it is.
public enum KnownRecords {
    /// Whether a record of `collection` can be checked.
    public static func isKnown(_ collection: NSID) -> Bool { shape(of: collection) != nil }

    /// Throws when `record` is not what its collection's lexicon says. Says nothing about an unknown collection.
    public static func check(_ record: Value, in collection: NSID) throws(RecordInvalid) {
        guard let shape = shape(of: collection) else { return }
        if let problem = shape.problem(record, at: "Record") {
            throw RecordInvalid(collection: collection.bytes, problem: problem)
        }
    }

    private static func shape(of collection: NSID) -> RecordShape? {
        switch collection.bytes {
        case Collections.post: post
        case Collections.like, Collections.repost: reaction
        case Collections.follow: follow
        case Collections.block: block
        case Collections.profile: profile
        default: nil
        }
    }

    private typealias Property = RecordShape.Property

    // MARK: Parts

    private static let createdAt = Property("createdAt", .text(.datetime))

    private static let strongRef = RecordShape.object(
        required: [Property("uri", .text(.atURI)), Property("cid", .text(.cid))])

    private static let labels = RecordShape.union([
        (
            type: "com.atproto.label.defs#selfLabels",
            shape: .object(required: [
                Property(
                    "values",
                    .array(.object(required: [Property("val", .text(sizeMax: 128))]), countMax: 10))
            ])
        )
    ])

    private static let facet = RecordShape.object(required: [
        Property(
            "index",
            .object(required: [Property("byteStart", .integer(min: 0)), Property("byteEnd", .integer(min: 0))])),
        Property(
            "features",
            .array(
                .union([
                    (type: "app.bsky.richtext.facet#mention", shape: .object(required: [Property("did", .text(.did))])),
                    (type: "app.bsky.richtext.facet#link", shape: .object(required: [Property("uri", .text(.uri))])),
                    (
                        type: "app.bsky.richtext.facet#tag",
                        shape: .object(required: [Property("tag", .text(sizeMax: 640, graphemesMax: 64))])
                    ),
                ]))),
    ])

    /// What came before facets; old clients still write it.
    private static let entity = RecordShape.object(required: [
        Property("index", .object(required: [Property("start", .integer(min: 0)), Property("end", .integer(min: 0))])),
        Property("type", .text()), Property("value", .text()),
    ])

    // MARK: Embeds

    private static let aspectRatio = RecordShape.object(
        required: [Property("width", .integer(min: 1)), Property("height", .integer(min: 1))])
    private static let picture = RecordShape.blob(accept: ["image/*"], sizeMax: 2_000_000)

    private static let images = RecordShape.object(required: [
        Property(
            "images",
            .array(
                .object(
                    required: [Property("image", picture), Property("alt", .text())],
                    optional: [Property("aspectRatio", aspectRatio)]), countMax: 4))
    ])

    private static let gallery = RecordShape.object(required: [
        Property(
            "items",
            .array(
                .union([
                    (
                        type: "app.bsky.embed.gallery#image",
                        shape: .object(required: [
                            Property("image", picture), Property("alt", .text()), Property("aspectRatio", aspectRatio),
                        ])
                    )
                ]), countMax: 20))
    ])

    private static let video = RecordShape.object(
        required: [Property("video", .blob(accept: ["video/mp4"], sizeMax: 300_000_000))],
        optional: [
            Property(
                "captions",
                .array(
                    .object(required: [
                        Property("lang", .text(.language)),
                        Property("file", .blob(accept: ["text/vtt"], sizeMax: 20_000)),
                    ]), countMax: 20)),
            Property("alt", .text()), Property("aspectRatio", aspectRatio), Property("presentation", .text()),
        ])

    private static let external = RecordShape.object(required: [
        Property(
            "external",
            .object(
                required: [
                    Property("uri", .text(.uri)), Property("title", .text()), Property("description", .text()),
                ],
                optional: [
                    Property("thumb", .blob(accept: ["image/*"], sizeMax: 1_000_000)),
                    Property("associatedRefs", .array(strongRef)),
                ]))
    ])

    private static let quote = RecordShape.object(required: [Property("record", strongRef)])

    private static let media: [(type: Bytes, shape: RecordShape)] = [
        (type: Embeds.images, shape: images), (type: Embeds.video, shape: video),
        (type: Embeds.gallery, shape: gallery), (type: Embeds.external, shape: external),
    ]

    private static let embed = RecordShape.union(
        media + [
            (type: Embeds.record, shape: quote),
            (
                type: Embeds.recordWithMedia,
                shape: .object(required: [Property("record", quote), Property("media", .union(media))])
            ),
        ])

    // MARK: Records

    private static let post = RecordShape.object(
        required: [Property("text", .text(sizeMax: 3_000, graphemesMax: 300)), createdAt],
        optional: [
            Property("entities", .array(entity)), Property("facets", .array(facet)),
            Property("reply", .object(required: [Property("root", strongRef), Property("parent", strongRef)])),
            Property("embed", embed), Property("langs", .array(.text(.language), countMax: 3)),
            Property("labels", labels),
            Property("tags", .array(.text(sizeMax: 640, graphemesMax: 64), countMax: 8)),
        ])

    private static let reaction = RecordShape.object(
        required: [Property("subject", strongRef), createdAt], optional: [Property("via", strongRef)])

    private static let follow = RecordShape.object(
        required: [Property("subject", .text(.did)), createdAt], optional: [Property("via", strongRef)])

    private static let block = RecordShape.object(required: [Property("subject", .text(.did)), createdAt])

    private static let portrait = RecordShape.blob(accept: ["image/png", "image/jpeg"], sizeMax: 1_000_000)

    private static let profile = RecordShape.object(
        required: [],
        optional: [
            Property("displayName", .text(sizeMax: 640, graphemesMax: 64)),
            Property("description", .text(sizeMax: 2_560, graphemesMax: 256)),
            Property("pronouns", .text(sizeMax: 200, graphemesMax: 20)), Property("website", .text(.uri)),
            Property("avatar", portrait), Property("banner", portrait), Property("labels", labels),
            Property("joinedViaStarterPack", strongRef), Property("pinnedPost", strongRef), createdAt,
        ])
}
