internal import ATProto
internal import Base
internal import Repos

/// What the caller's `validate` and the record's collection come to.
enum RecordCheck {
    enum Outcome: Sendable {
        /// The shape is known, and the record has it.
        case valid
        /// Nobody here knows the shape.
        case unknown
        /// The caller asked for no check.
        case skipped

        /// The word of the lexicons; none when there was no check.
        var status: Bytes? {
            switch self {
            case .valid: "valid"
            case .unknown: "unknown"
            case .skipped: nil
            }
        }
    }

    /// Checks `record`. With `asked` true an unknown collection is refused; false skips the check.
    static func check(_ record: Value, in collection: NSID, asked: Bool?) throws -> Outcome {
        if asked == false { return .skipped }
        guard KnownRecords.isKnown(collection) else {
            if asked == true { throw Failure.invalidRequest("Unknown lexicon type: \(collection)") }
            return .unknown
        }
        try KnownRecords.check(record, in: collection)
        return .valid
    }
}
