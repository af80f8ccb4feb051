internal import ATProto
internal import Base

/// Short words for the schemas that are built in.
extension Schema {
    static func text(
        _ format: TextFormat? = nil, sizeMin: Int = 0, sizeMax: Int = .max, graphemesMax: Int = .max
    ) -> Schema {
        .string(
            StringRule(
                format, size: SizeRule(min: sizeMin, max: sizeMax), graphemes: SizeRule(max: graphemesMax)))
    }

    static func number(min: Int64) -> Schema { .integer(IntegerRule(min: min)) }

    static func list(of items: Schema, countMax: Int = .max) -> Schema {
        .array(ArrayRule(items, count: SizeRule(max: countMax)))
    }

    static func file(_ accept: [Bytes], sizeMax: Int64) -> Schema {
        .blob(BlobRule(accept: accept, sizeMax: sizeMax))
    }

    static func fields(
        _ required: KeyValuePairs<Bytes, Schema> = [:], optional: KeyValuePairs<Bytes, Schema> = [:]
    ) -> Schema { .object(ObjectRule(required, optional: optional)) }

    static func one(of variants: [BuiltIn.Named]) -> Schema {
        .union(UnionRule(variants.map { UnionRule.Variant(type: $0.name, schema: $0.schema) }))
    }
}

extension ObjectRule {
    init(_ required: KeyValuePairs<Bytes, Schema>, optional: KeyValuePairs<Bytes, Schema> = [:]) {
        self.init(
            required.map { Property(name: $0.key, schema: $0.value, isRequired: true, isNullable: false) }
                + optional.map { Property(name: $0.key, schema: $0.value, isRequired: false, isNullable: false) })
    }
}

/// What this program knows without asking anyone: the records that clients write most, and what these are made of.
///
/// The facts are those of the published lexicons, in words of our own; a test holds each against its lexicon. Parts
/// stand inside of what uses them: a check looks nothing up.
enum BuiltIn {
    /// A definition, and the name by which other lexicons may refer to it.
    struct Named: Sendable {
        let name: Bytes
        let schema: Schema

        init(_ name: Bytes, _ schema: Schema) {
            self.name = name
            self.schema = schema
        }
    }

    // MARK: Everywhere

    static let createdAt = Schema.text(.datetime)

    static let strongRef = Named(
        References.strongRef, .fields(["uri": .text(.atURI), "cid": .text(.cid)]))

    static let selfLabel = Named("com.atproto.label.defs#selfLabel", .fields(["val": .text(sizeMax: 128)]))
    static let selfLabels = Named(
        "com.atproto.label.defs#selfLabels", .fields(["values": .list(of: selfLabel.schema, countMax: 10)]))
    static let labels = Schema.one(of: [selfLabels])

    static let portrait = Schema.file(["image/png", "image/jpeg"], sizeMax: 1_000_000)

    // MARK: Rich text

    static let mention = Named("app.bsky.richtext.facet#mention", .fields(["did": .text(.did)]))
    static let link = Named("app.bsky.richtext.facet#link", .fields(["uri": .text(.uri)]))
    static let tag = Named(
        "app.bsky.richtext.facet#tag", .fields(["tag": .text(sizeMax: 640, graphemesMax: 64)]))
    static let byteSlice = Named(
        "app.bsky.richtext.facet#byteSlice", .fields(["byteStart": .number(min: 0), "byteEnd": .number(min: 0)]))
    static let facet = Named(
        "app.bsky.richtext.facet",
        .fields(["index": byteSlice.schema, "features": .list(of: .one(of: [mention, link, tag]))]))
    static let facets = Schema.list(of: facet.schema)

    // MARK: Embeds

    static let aspectRatio = Named(
        "app.bsky.embed.defs#aspectRatio", .fields(["width": .number(min: 1), "height": .number(min: 1)]))
    private static let picture = Schema.file(["image/*"], sizeMax: 2_000_000)

    static let image = Named(
        Embeds.images + "#image",
        .fields(["image": picture, "alt": .text()], optional: ["aspectRatio": aspectRatio.schema]))
    static let images = Named(
        Embeds.images, .fields(["images": .list(of: image.schema, countMax: 4)]))

    static let galleryImage = Named(
        Embeds.gallery + "#image",
        .fields(["image": picture, "alt": .text(), "aspectRatio": aspectRatio.schema]))
    static let gallery = Named(
        Embeds.gallery, .fields(["items": .list(of: .one(of: [galleryImage]), countMax: 20)]))

    static let caption = Named(
        Embeds.video + "#caption",
        .fields(["lang": .text(.language), "file": .file(["text/vtt"], sizeMax: 20_000)]))
    static let video = Named(
        Embeds.video,
        .fields(
            ["video": .file(["video/mp4"], sizeMax: 300_000_000)],
            optional: [
                "captions": .list(of: caption.schema, countMax: 20), "alt": .text(),
                "aspectRatio": aspectRatio.schema, "presentation": .text(),
            ]))

    static let card = Named(
        Embeds.external + "#external",
        .fields(
            ["uri": .text(.uri), "title": .text(), "description": .text()],
            optional: [
                "thumb": .file(["image/*"], sizeMax: 1_000_000), "associatedRefs": .list(of: strongRef.schema),
            ]))
    static let external = Named(Embeds.external, .fields(["external": card.schema]))

    static let quote = Named(Embeds.record, .fields(["record": strongRef.schema]))
    private static let media = [images, video, gallery, external]
    static let quoteWithMedia = Named(
        Embeds.recordWithMedia, .fields(["record": quote.schema, "media": .one(of: media)]))
    static let embed = Schema.one(of: media + [quote, quoteWithMedia])

    // MARK: Posts and what goes with them

    static let textSlice = Named(
        Collections.post + "#textSlice", .fields(["start": .number(min: 0), "end": .number(min: 0)]))
    /// What came before facets; old clients still write it.
    static let entity = Named(
        Collections.post + "#entity",
        .fields(["index": textSlice.schema, "type": .text(), "value": .text()]))
    static let replyRef = Named(
        Collections.post + "#replyRef", .fields(["root": strongRef.schema, "parent": strongRef.schema]))

    static let disableRule = Named(postgate + "#disableRule", .fields())
    static let mentionRule = Named(threadgate + "#mentionRule", .fields())
    static let followerRule = Named(threadgate + "#followerRule", .fields())
    static let followingRule = Named(threadgate + "#followingRule", .fields())
    static let listRule = Named(threadgate + "#listRule", .fields(["list": .text(.atURI)]))
    static let feedItem = Named(starterPack + "#feedItem", .fields(["uri": .text(.atURI)]))

    // MARK: Labelers

    static let labelStrings = Named(
        "com.atproto.label.defs#labelValueDefinitionStrings",
        .fields([
            "lang": .text(.language), "name": .text(sizeMax: 640, graphemesMax: 64),
            "description": .text(sizeMax: 100_000, graphemesMax: 10_000),
        ]))
    static let labelDefinition = Named(
        "com.atproto.label.defs#labelValueDefinition",
        .fields(
            [
                "identifier": .text(sizeMax: 100, graphemesMax: 100), "severity": .text(), "blurs": .text(),
                "locales": .list(of: labelStrings.schema),
            ], optional: ["defaultSetting": .text(), "adultOnly": .boolean(BooleanRule())]))
    static let labelerPolicies = Named(
        "app.bsky.labeler.defs#labelerPolicies",
        .fields(
            ["labelValues": .list(of: .text())],
            optional: ["labelValueDefinitions": .list(of: labelDefinition.schema)]))

    /// Every part that has a name of its own.
    static let parts: [Named] = [
        strongRef, selfLabel, selfLabels, mention, link, tag, byteSlice, facet, aspectRatio, image, images,
        galleryImage, gallery, caption, video, card, external, quote, quoteWithMedia, textSlice, entity, replyRef,
        disableRule, mentionRule, followerRule, followingRule, listRule, feedItem, labelStrings, labelDefinition,
        labelerPolicies,
    ]
}
