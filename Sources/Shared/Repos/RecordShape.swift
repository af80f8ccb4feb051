internal import ATProto
public import Base

/// A record is not what its collection's lexicon says.
public struct RecordInvalid: Error, Equatable, Sendable {
    public let collection: Bytes
    /// Such as `Record must have the property "text"`.
    public let problem: String
}

/// The part of the Lexicon language that the built-in records need. https://atproto.com/specs/lexicon
///
/// Properties that a shape does not name are let be: lexicons grow.
indirect enum RecordShape: Sendable {
    /// Lengths in bytes and in grapheme clusters.
    case text(sizeMax: Int? = nil, graphemesMax: Int? = nil, TextFormat? = nil)
    case integer(min: Int64)
    case array(RecordShape, countMax: Int? = nil)
    case object(required: [Property], optional: [Property] = [])
    /// An object with a `$type`: one of those named must have its shape, others are let be.
    case union([(type: Bytes, shape: RecordShape)])
    /// Media types, of which `type/*` stands for all of a kind, and the longest blob in bytes.
    case blob(accept: [Bytes], sizeMax: Int64)

    enum TextFormat: Sendable { case datetime, did, atURI, cid, uri, language }

    struct Property: Sendable {
        let name: Bytes
        let shape: RecordShape

        init(_ name: Bytes, _ shape: RecordShape) {
            self.name = name
            self.shape = shape
        }
    }
}

extension RecordShape {
    /// The first way in which `value`, at `path`, is not of this shape; nil when it is.
    func problem(_ value: Value, at path: String) -> String? {
        switch self {
        case .text(let sizeMax, let graphemesMax, let format):
            guard let text = value.text else { return "\(path) must be a string" }
            return Self.problem(text, sizeMax, graphemesMax, format, at: path)
        case .integer(let min):
            guard let integer = value.integer else { return "\(path) must be an integer" }
            return integer < min ? "\(path) can not be less than \(min)" : nil
        case .array(let shape, let countMax):
            guard let items = value.array else { return "\(path) must be an array" }
            if let countMax, items.count > countMax { return "\(path) must not have more than \(countMax) elements" }
            for (index, item) in items.enumerated() {
                if let problem = shape.problem(item, at: "\(path)/\(index)") { return problem }
            }
            return nil
        case .object(let required, let optional):
            return Self.problem(value, required, optional, at: path)
        case .union(let members):
            guard case .map = value, let type = value["$type"]?.text else {
                return "\(path) must be an object which includes the \"$type\" property"
            }
            for member in members where member.type == type { return member.shape.problem(value, at: path) }
            return nil
        case .blob(let accept, let sizeMax):
            return Self.problem(value, accept, sizeMax, at: path)
        }
    }

    private static func problem(
        _ value: Value, _ required: [Property], _ optional: [Property], at path: String
    ) -> String? {
        guard case .map = value else { return "\(path) must be an object" }
        for property in required {
            guard let found = value[property.name] else {
                return "\(path) must have the property \"\(property.name)\""
            }
            if let problem = property.shape.problem(found, at: "\(path)/\(property.name)") { return problem }
        }
        for property in optional {
            guard let found = value[property.name] else { continue }
            if let problem = property.shape.problem(found, at: "\(path)/\(property.name)") { return problem }
        }
        return nil
    }

    private static func problem(
        _ text: Bytes, _ sizeMax: Int?, _ graphemesMax: Int?, _ format: TextFormat?, at path: String
    ) -> String? {
        if let sizeMax, text.count > sizeMax { return "\(path) must not be longer than \(sizeMax) bytes" }
        // No text has more graphemes than bytes: most need no count.
        if let graphemesMax, text.count > graphemesMax, text.description.count > graphemesMax {
            return "\(path) must not be longer than \(graphemesMax) graphemes"
        }
        switch format {
        case nil: return nil
        case .datetime: return Datetime.isSyntax(text) ? nil : "\(path) must be a valid atproto datetime"
        case .did: return DID(text) == nil ? "\(path) must be a valid did" : nil
        case .atURI: return ATURI(text) == nil ? "\(path) must be a valid at-uri" : nil
        case .cid: return StringFormat.isCID(text) ? nil : "\(path) must be a cid string"
        case .uri: return StringFormat.isURI(text) ? nil : "\(path) must be a uri"
        case .language: return StringFormat.isLanguage(text) ? nil : "\(path) must be a well-formed BCP 47 language tag"
        }
    }

    private static func problem(_ value: Value, _ accept: [Bytes], _ sizeMax: Int64, at path: String) -> String? {
        guard let blob = (try? value.blobReferences)?.first, value["$type"]?.text == "blob" else {
            return "\(path) should be a blob ref"
        }
        guard blob.size <= sizeMax else { return "\(path) must not be larger than \(sizeMax) bytes" }
        let isAccepted = accept.contains { pattern in
            pattern == blob.mimeType
                || (pattern.ends(with: "/*") && blob.mimeType.starts(with: pattern.upTo(pattern.count - 1)))
        }
        return isAccepted ? nil : "\(path) must not have the media type \(blob.mimeType)"
    }
}
