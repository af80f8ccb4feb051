import Base
import Testing

@testable import skystead

/// Columns for a terminal, and what must not reach it.
@Suite struct TableTests {
    private func written(_ table: Table, empty: String = "none") -> String {
        let text = Guarded("")
        let output = Output(coloured: false) { _, bytes in
            text.withLock { $0 += String(decoding: bytes, as: UTF8.self) }
        }
        table.write(to: output, empty: empty)
        return text.withLock { $0 }
    }

    @Test func columnsAreAsWideAsTheirWidestWord() {
        var table = Table("A", "LONGER", "LAST")
        table.add("wide word", "x", "y")
        table.add("z", "", "")
        #expect(written(table) == "A          LONGER  LAST\nwide word  x       y\nz\n")
    }

    @Test func nothingIsSaidInWords() { #expect(written(Table("A"), empty: "no reports") == "no reports\n") }

    @Test(arguments: [
        ("plain", "plain"), ("a\u{1B}[31mred", "a [31mred"), ("two\nlines", "two lines"), ("a\u{9B}31m", "a 31m"),
        ("del\u{7F}", "del "), ("é \u{1F600}", "é \u{1F600}"), ("cr\r\nlf", "cr  lf"),
    ]) func controlsAreBlanks(_ text: String, _ shown: String) { #expect(Table.plain(text) == shown) }

    @Test(
        arguments: [
            ("com.atproto.moderation.defs#reasonSpam", "spam"),
            ("tools.ozone.report.defs#reasonHarassmentTroll", "harassmenttroll"),
            ("com.example.x", "com.example.x"), ("#", ""), ("x#reason", "reason"),
        ] as [(Bytes, String)]) func reasonsInAWord(_ type: Bytes, _ word: String)
    {
        #expect(ModerationTool.shortReason(type) == word)
    }
}
