/// Rows of words under headings, in columns as wide as their widest word: for a person at a terminal. Two blanks
/// between columns; the last one is as long as it likes.
struct Table {
    private let headings: [String]
    private var rows: [[String]] = []

    init(_ headings: String...) { self.headings = headings }

    mutating func add(_ words: String...) { rows.append(words.map(Self.plain)) }

    /// Writes the headings and the rows; nothing but `empty` when there are none.
    func write(to output: Output, empty: String) {
        guard !rows.isEmpty else {
            output.line(empty)
            return
        }
        let widths = headings.indices.map { column in
            ([headings] + rows).map { $0[column].count }.max() ?? 0
        }
        func line(_ words: [String]) -> String {
            var text = ""
            for (column, word) in words.enumerated() {
                let isLast = column == words.count - 1
                text += isLast ? word : word + String(repeating: " ", count: widths[column] - word.count + 2)
            }
            return trimmed(text)
        }
        output.line(output.painted(line(headings), .bold))
        for row in rows { output.line(line(row)) }
    }

    /// Without blanks at the end: the last column may be empty.
    private func trimmed(_ text: String) -> String {
        String(text.reversed().drop { $0 == " " }.reversed())
    }

    /// Without control characters: what people wrote must not move the cursor of whoever reads it.
    static func plain(_ text: String) -> String {
        let scalars = text.unicodeScalars.map { scalar -> Unicode.Scalar in
            scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value) ? " " : scalar
        }
        return String(String.UnicodeScalarView(scalars))
    }
}

extension Output {
    /// One line of what is known of one thing: a name, and its value in a column of its own.
    func fact(_ name: String, _ value: String) {
        let width = 14
        line(name + String(repeating: " ", count: max(1, width - name.count)) + Table.plain(value))
    }
}
