internal import Base
internal import Testing
internal import Web

@Suite struct HostNameTests {
    struct Case: CustomTestStringConvertible, Sendable {
        let name: Bytes
        let canonical: Bytes?
        init(_ name: Bytes, _ canonical: Bytes?) {
            self.name = name
            self.canonical = canonical
        }
        var testDescription: String { "\(name)" }
    }

    static let label63 = Bytes([UInt8](repeating: 0x61, count: 63))

    static let cases: [Case] = [
        Case("pds.example", "pds.example"), Case("PDS.Example.", "pds.example"), Case("a:80", "a"), Case("a:", "a"),
        Case("a.:65535", "a"), Case("1.2.3.4", "1.2.3.4"), Case("xn--bcher-kva.example", "xn--bcher-kva.example"),
        Case("a-b.c--d", "a-b.c--d"), Case(label63 + ".a", label63 + ".a"),
        Case("", nil), Case(".", nil), Case("..", nil), Case("a..b", nil), Case(".a", nil), Case("a..", nil),
        Case("-a", nil), Case("a-", nil), Case("a-.b", nil), Case("a.-b", nil), Case("a_b", nil), Case("a b", nil),
        Case("a:65536", nil), Case("a:99999", nil), Case("a:0x50", nil), Case("a:+80", nil), Case("a:80:80", nil),
        Case("a:080", nil), Case(":80", nil), Case("[::1]", nil), Case("u@a", nil), Case("a/b", nil),
        Case("a%00b", nil),
        Case("bücher.example", nil), Case("\u{212A}.example", nil), Case("a\n", nil), Case("a\u{0}", nil),
        Case(label63 + "a.b", nil),
        Case(label63 + "." + label63 + "." + label63 + "." + label63, nil),
    ]

    @Test(arguments: cases) func canonical(_ item: Case) {
        #expect(HostName.canonical(item.name) == item.canonical)
        // Canonical is a fixed point.
        if let canonical = item.canonical { #expect(HostName.canonical(canonical) == canonical) }
    }
}
