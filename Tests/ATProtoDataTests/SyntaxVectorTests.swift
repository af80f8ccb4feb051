import ATProto
import Base
import Testing

@Suite("Syntax vectors", .enabled(if: Vectors.areThere, "the shared vectors are not beside the checkout"))
struct SyntaxVectorTests {
    struct Row: Sendable, CustomTestStringConvertible {
        let file: String
        let isValid: Bool
        /// The least lines that the file must have, so that an empty one can't pass.
        let atLeast: Int
        let accepts: @Sendable (Bytes) -> Bool
        var testDescription: String { file }

        init(_ file: String, _ isValid: Bool, _ atLeast: Int, _ accepts: @escaping @Sendable (Bytes) -> Bool) {
            self.file = file
            self.isValid = isValid
            self.atLeast = atLeast
            self.accepts = accepts
        }
    }

    static let rows: [Row] = [
        Row("did_syntax_valid.txt", true, 20) { DID($0)?.bytes == $0 },
        Row("did_syntax_invalid.txt", false, 15) { DID($0) != nil },
        Row("handle_syntax_valid.txt", true, 60) { Handle($0)?.bytes == $0.lowercasedASCII },
        Row("handle_syntax_invalid.txt", false, 40) { Handle($0) != nil },
        Row("nsid_syntax_valid.txt", true, 20) { NSID($0)?.bytes == $0 },
        Row("nsid_syntax_invalid.txt", false, 20) { NSID($0) != nil },
        Row("recordkey_syntax_valid.txt", true, 14) { RecordKey($0)?.bytes == $0 },
        Row("recordkey_syntax_invalid.txt", false, 11) { RecordKey($0) != nil },
        Row("tid_syntax_valid.txt", true, 4) { TID($0)?.bytes == $0 },
        Row("tid_syntax_invalid.txt", false, 8) { TID($0) != nil },
        Row("aturi_syntax_valid.txt", true, 20) { ATURI($0)?.bytes == $0 },
        Row("aturi_syntax_invalid.txt", false, 60) { ATURI($0) != nil },
        Row("atidentifier_syntax_valid.txt", true, 10) { ATIdentifier($0) != nil },
        Row("atidentifier_syntax_invalid.txt", false, 20) { ATIdentifier($0) != nil },
        Row("datetime_syntax_valid.txt", true, 30, Datetime.isSyntax),
        Row("datetime_syntax_invalid.txt", false, 35, Datetime.isSyntax),
        Row("datetime_parse_invalid.txt", false, 7) { Datetime($0) != nil },
        Row("language_syntax_valid.txt", true, 15, StringFormat.isLanguage),
        Row("language_syntax_invalid.txt", false, 6, StringFormat.isLanguage),
        Row("language_parse_invalid.txt", false, 4, StringFormat.isLanguage),
        Row("uri_syntax_valid.txt", true, 8, StringFormat.isURI),
        Row("uri_syntax_invalid.txt", false, 10, StringFormat.isURI),
        Row("cid_syntax_valid.txt", true, 7, StringFormat.isCID),
        Row("cid_syntax_invalid.txt", false, 8, StringFormat.isCID),
    ]

    @Test("every line of every file", arguments: rows)
    func everyLine(_ row: Row) throws {
        let lines = try Vectors.lines(row.file)
        #expect(lines.count >= row.atLeast, "only \(lines.count) lines")
        for line in lines {
            #expect(row.accepts(line) == row.isValid, "\(line.description.prefix(120))")
        }
    }
}
