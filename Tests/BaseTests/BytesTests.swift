import Testing

@testable import Base

@Suite struct BytesTests {
    @Test func equalityIsByBytesAndNotByUnicode() {
        #expect(Bytes("\u{E9}") != Bytes("e\u{301}"))
        #expect("\u{E9}" == "e\u{301}", "the trap that Bytes is there for")
        #expect(Bytes("a\r\nb").split(on: 0x0A).count == 2)
    }

    @Test func orderIsByBytesAndAPrefixComesFirst() {
        let sorted = [Bytes("a"), Bytes("B"), Bytes("_"), Bytes("aa"), Bytes(), Bytes([0xFF]), Bytes("-")].sorted()
        #expect(sorted == [Bytes(), Bytes("-"), Bytes("B"), Bytes("_"), Bytes("a"), Bytes("aa"), Bytes([0xFF])])
    }

    @Test func slicesShareAndCompareLikeCopies() {
        let whole = Bytes("/xrpc/a.b.c")
        #expect(whole.slice(6..<11) == Bytes("a.b.c"))
        #expect(whole.slice(6..<11).hashValue == Bytes("a.b.c").hashValue)
        #expect(whole.slice(6..<11).slice(2..<3).array == [0x62])
        #expect(whole.from(100).isEmpty)
        #expect(whole.upTo(100) == whole)
        #expect(whole.starts(with: "/xrpc/") && !whole.starts(with: "/xrpc/a.b.c.d"))
        #expect(whole.ends(with: ".c") && !whole.ends(with: "x"))
    }

    @Test(
        arguments: [
            ("0", 0), ("7", 7), ("999999999999999999", 999_999_999_999_999_999), ("", nil), ("+5", nil), ("-5", nil),
            ("05", nil),
            ("5 ", nil), ("٥", nil), ("1000000000000000000", nil), ("0x5", nil), ("5,5", nil),
        ] as [(String, Int?)]) func decimal(_ text: String, _ value: Int?)
    {
        #expect(Bytes(text).decimal == value)
    }

    @Test func lowerCaseIsASCIIOnly() {
        #expect(Bytes("ÀB\u{212A}").lowercasedASCII == Bytes("Àb\u{212A}"))
    }

    @Test func textIsNilWhenItIsNotUTF8() {
        #expect(Bytes([0xC0, 0xAF]).text == nil)
        #expect(Bytes("é").text == "é")
    }

    @Test(arguments: [
        (" a b ", "a b"), ("\t a", "a"), ("a", "a"), ("", ""), (" \t ", ""), ("\u{A0}a", "\u{A0}a"), ("\na", "\na"),
    ])
    func trimmingTakesOnlyTheBlanksThatAreNamed(_ input: String, _ want: String) {
        #expect(Bytes(input).trimming(" \t") == Bytes(want))
    }
}
