import Base
import Storage
import TestSupport
import Testing

@testable import Mail

/// What people write: markup and plain text.
@Suite struct MessageTests {
    struct Row: Sendable {
        let name: String
        let markup: Bytes
        /// nil when it is plain text.
        let text: Bytes?

        init(_ name: String, _ markup: Bytes, _ text: Bytes?) {
            (self.name, self.markup, self.text) = (name, markup, text)
        }
    }

    static let rows = [
        Row("paragraphs", "<p>One\n two</p><p>Three</p>", "One two\n\nThree\n"),
        Row("lines", "a<br>b<BR/>c<br />d", "a\nb\nc\nd\n"),
        Row("a list", "<ul><li>one</li><li><b>two</b></li></ul>after", "- one\n- two\n\nafter\n"),
        Row(
            "a document", "<!DOCTYPE html><html><head><title>T</title><style>p{}</style></head><body>x</body></html>",
            "x\n"),
        Row("references", "<i>a &lt;b&gt; &amp;amp; &#65;&#x42;&quot;&nbsp;c</i>", "a <b> &amp; AB\" c\n"),
        Row("a link", #"<a class="x" href="https://example.com/?a=b">here</a>."#, "here (https://example.com/?a=b).\n"),
        Row(
            "a link that is its own word", "<a href='https://example.com/'>https://example.com/</a>",
            "https://example.com/\n"),
        Row("a comment", "<p>a<!-- <p>b</p> -->c</p>", "ac\n"),
        Row("an element of tomorrow", "<p>a<wobble x=1>b</wobble>c</p>", "abc\n"),
        Row("an attribute with a tag's end in a reference", "<p title=\"&gt;\">a</p>", "a\n"),
        // Wrong in one way or another.
        Row("a tag that never ends", "<p>a</p><b", "a\n\n<b\n"),
        Row("a comment that never ends", "<p>a<!-- b", "a<!-- b\n"),
        Row("one that never ends before a tag", "<p>a<!-- b</p>", "a\n"),
        Row("a style that never ends", "<p>a</p><style>b", "a\n"),
        Row("a style whose end never ends", "<p>a</p><style>b</style", "a\n"),
        Row("an end without a beginning", "a</a></p>b<br>", "a\n\nb\n"),
        Row("a link without a target", "<a>x</a><a href>y</a><a href=\">z</a>", "xyz\n"),
        Row("a link with a script", "<a href=\"javascript:alert(1)\">x</a>", "x\n"),
        Row(
            "references that are none", "<b>&; &x; &#; &#x; &#xD800; &#x110000; &#7; &#+5; &amp</b>",
            "&; &x; &#; &#x; &#xD800; &#x110000; &#7; &#+5; &amp\n"),
        Row("nothing", "<p></p>", "\n"),
        Row("a comparison", "if a <b or b> c", nil),
        Row("an address", "Write to Bob <b@example.com>", nil),
        Row("words", "5 < 6 && 7 > 6", nil),
        Row("an empty one", "", nil),
    ]

    @Test(arguments: rows) func text(_ row: Row) throws {
        let subject = try #require(MailHeaderText("Subject"))
        let made = MailText.message(subject, row.markup)
        if let text = row.text {
            #expect(made.text == text)
            #expect(made.html == row.markup)
        } else {
            #expect(made.text == row.markup + "\n")
            #expect(made.html.description.contains("pre-wrap"))
            #expect(!made.html.description.contains("<b ") && !made.html.description.contains("<b@"), "escaped")
        }
    }

    /// Whatever comes is read once: what took the square of a megabyte would never end.
    @Test(arguments: ["<", "<p ", "<a href=\"", "<!--", "<style>", "&", "&#", "</", "<a href='http'>"] as [Bytes])
    func beginnings(_ beginning: Bytes) throws {
        var all: [UInt8] = []
        while all.count < 1 << 20 { all.append(contentsOf: beginning) }
        let subject = try #require(MailHeaderText("Subject"))
        let made = MailText.message(subject, Bytes(all) + "<p>x</p>")
        #expect(made.text.count <= all.count * 2)
    }

    @Test(arguments: Engine.all) func noMessageTakesTheOthersPlace(_ engine: Engine) throws {
        let world = try World(engine)
        for text in ["one", "two"] as [Bytes] {
            try world.add(text, kind: MailQueue.message, account: "did:plc:one")
            world.advance(1)
        }
        try world.add("code", kind: "reset_password", account: "did:plc:one")
        let first = try #require(try world.queue.claim(now: world.now))
        #expect(first.text.text == "one")
        try world.queue.postponed(first, "451 later", until: world.now.adding(seconds: 10))
        #expect(try world.states() == ["queued", "queued", "queued"])
        // The account goes, and what was written to it.
        let account = try #require(first.account)
        try world.test.write { try MailQueue.remove(of: account, in: $0) }
        #expect(try world.states() == [])
    }
}
