public import Base

/// Writes JSON without blanks, appending only. It sets the commas; the caller pairs begin and end, and gives a key
/// before each value of an object.
public struct JSONWriter {
    /// Allocated to its end; only the first `length` bytes mean something.
    private var storage: [UInt8]
    private var length = 0
    private var needsComma = false

    /// `capacity`: bytes to make room for at once.
    public init(capacity: Int = 1_024) { storage = Self.room(max(capacity, 64)) }

    /// The text so far, as a copy.
    public var out: [UInt8] { [UInt8](storage[..<length]) }

    /// The count of bytes written so far.
    public var count: Int { length }

    /// The text, without a copy; the writer is empty afterwards.
    public mutating func finish() -> [UInt8] {
        var text: [UInt8] = []
        swap(&text, &storage)
        text.removeLast(text.count - length)
        length = 0
        needsComma = false
        return text
    }

    public mutating func beginObject() { open(0x7B) }
    public mutating func endObject() { close(0x7D) }
    public mutating func beginArray() { open(0x5B) }
    public mutating func endArray() { close(0x5D) }

    public mutating func key(_ key: StaticString) {
        key.withUTF8Buffer { text(UnsafeRawBufferPointer($0), isKey: true) }
    }
    // Of a literal the other one is meant; without the attribute it would be ambiguous.
    @_disfavoredOverload
    public mutating func key(_ key: Bytes) {
        key.withUnsafeBytes { text($0, isKey: true) }
    }

    /// A string of valid UTF-8; what JSON can't hold as it is, is escaped.
    @_disfavoredOverload
    public mutating func string(_ string: Bytes) {
        string.withUnsafeBytes { text($0, isKey: false) }
    }
    public mutating func string(_ string: StaticString) {
        string.withUTF8Buffer { text(UnsafeRawBufferPointer($0), isKey: false) }
    }
    public mutating func string(_ string: [UInt8]) { self.string(Bytes(string)) }

    /// One string of two parts, as `string` of both joined, without joining them.
    public mutating func string(_ first: Bytes, _ rest: UnsafeRawBufferPointer) {
        first.withUnsafeBytes { first in
            element(room: (first.count + rest.count) * 6) { out in
                out[0] = 0x22
                var out = out + 1
                if let base = first.baseAddress {
                    out = JSONText.escape(base, first.count, readable: first.count, to: out)
                }
                if let base = rest.baseAddress {
                    out = JSONText.escape(base, rest.count, readable: rest.count, to: out)
                }
                out[0] = 0x22
                return out + 1
            }
        }
    }

    public mutating func integer(_ value: Int64) {
        element { $0 + JSONText.integer(value, to: $0) }
    }
    public mutating func integer(_ value: Int) { integer(Int64(value)) }
    public mutating func bool(_ value: Bool) { element { JSONText.word(value ? "true" : "false", to: $0) } }
    public mutating func null() { element { JSONText.word("null", to: $0) } }

    /// `"bafy…"`: the text of a CID as a string.
    public mutating func cid(_ cid: CID) {
        element { out in
            out[0] = 0x22
            cid.writeText(to: out + 1)
            out[CID.textCount + 1] = 0x22
            return out + CID.textCount + 2
        }
    }

    /// `{"$link":"bafy…"}`.
    public mutating func link(_ cid: CID) { element { JSONText.link(cid, to: $0) } }

    /// `{"$bytes":"…"}`.
    public mutating func bytes(_ bytes: Bytes) {
        element(room: bytes.count * 2) { out in bytes.withUnsafeBytes { JSONText.bytes($0, to: out) } }
    }

    /// A timestamp in the protocol's form, `"2024-05-01T12:34:56.789Z"`.
    public mutating func timestamp(_ timestamp: Timestamp) { string(timestamp.iso8601Bytes) }

    /// A value of the data model.
    public mutating func value(_ value: Value) {
        switch value {
        case .null: null()
        case .bool(let bool): self.bool(bool)
        case .integer(let integer): self.integer(integer)
        case .text(let text): string(text)
        case .bytes(let bytes): self.bytes(bytes)
        case .link(let cid): link(cid)
        case .array(let items):
            beginArray()
            for index in items.indices { self.value(items[index]) }
            endArray()
        case .map(let entries):
            beginObject()
            for index in entries.indices {
                key(entries[index].key)
                self.value(entries[index].value)
            }
            endObject()
        }
    }

    /// A stored block as data model JSON, straight from its bytes: no tree, no allocation for an item.
    ///
    /// The block must have been decoded strictly before it was stored: UTF-8 and key order are not checked again.
    /// Throws where it is not even well-formed; the writer is as it was then.
    public mutating func cbor(_ raw: UnsafeRawBufferPointer) throws(CBORError) {
        // No byte of CBOR becomes more than 14 of JSON (`40` is `{"$bytes":""}` and a comma); words are stored whole.
        reserve(raw.count &* CBORTranscoder.expansionMax &+ CBORTranscoder.slack)
        let from = length
        let needsComma = needsComma
        let written: Result<Int, CBORError> = storage.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return .failure(CBORError(.truncated, at: 0)) }
            var out = base + from
            if needsComma {
                out[0] = 0x2C
                out += 1
            }
            var transcoder = CBORTranscoder(raw, out: out, end: base + buffer.count)
            do throws(CBORError) {
                try transcoder.item(depth: 0)
                try transcoder.end()
            } catch { return .failure(error) }
            return .success(transcoder.out - base)
        }
        length = try written.get()
        self.needsComma = true
    }

    public mutating func cbor(_ bytes: Bytes) throws(CBORError) {
        try bytes.withUnsafeBytes { (raw) throws(CBORError) in try cbor(raw) }
    }

    /// A JSON value that is encoded already.
    public mutating func raw(_ json: Bytes) {
        element(room: json.count) { out in
            json.withUnsafeBytes { raw in
                if let base = raw.baseAddress {
                    UnsafeMutableRawPointer(out).copyMemory(from: base, byteCount: raw.count)
                }
                return out + raw.count
            }
        }
    }

    // MARK: Memory

    /// Memory for `count` bytes that nobody reads before they are written.
    private static func room(_ count: Int) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: count) { _, initialized in initialized = count }
    }

    /// Makes sure that `room` bytes more fit.
    @inline(__always)
    private mutating func reserve(_ room: Int) {
        if storage.count &- length < room { grow(room) }
    }

    @inline(never)
    private mutating func grow(_ room: Int) {
        var larger = Self.room(max(length + room, storage.count * 2))
        larger.withUnsafeMutableBytes { new in
            storage.withUnsafeBytes { old in
                if let from = old.baseAddress { new.baseAddress?.copyMemory(from: from, byteCount: length) }
            }
        }
        storage = larger
    }

    /// Writes one value of at most 80 + `room` bytes, with the comma before it.
    @inline(__always)
    private mutating func element(
        room: Int = 0, _ body: (UnsafeMutablePointer<UInt8>) -> UnsafeMutablePointer<UInt8>
    ) {
        write(room: room &+ 96, body)
        needsComma = true
    }

    @inline(__always)
    private mutating func write(
        room: Int, _ body: (UnsafeMutablePointer<UInt8>) -> UnsafeMutablePointer<UInt8>
    ) {
        reserve(room)
        let from = length
        let comma = needsComma
        length = storage.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return from }
            var out = base + from
            if comma {
                out[0] = 0x2C
                out += 1
            }
            return body(out) - base
        }
    }

    private mutating func open(_ bracket: UInt8) {
        write(room: 8) { out in
            out[0] = bracket
            return out + 1
        }
        needsComma = false
    }

    private mutating func close(_ bracket: UInt8) {
        needsComma = false
        write(room: 8) { out in
            out[0] = bracket
            return out + 1
        }
        needsComma = true
    }

    private mutating func text(_ raw: UnsafeRawBufferPointer, isKey: Bool) {
        write(room: raw.count * 6 + 24) { out in
            out[0] = 0x22
            var out = out + 1
            if let base = raw.baseAddress { out = JSONText.escape(base, raw.count, readable: raw.count, to: out) }
            out[0] = 0x22
            out += 1
            if isKey {
                out[0] = 0x3A
                out += 1
            }
            return out
        }
        needsComma = !isKey
    }
}
