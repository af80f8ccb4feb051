public import ATProto
public import Base

/// Members of the object that is being written, a name and a value in one line.
extension JSONWriter {
    public mutating func field(_ name: StaticString, _ text: Bytes) {
        key(name)
        string(text)
    }

    /// Nothing when `text` is nil.
    public mutating func field(_ name: StaticString, optional text: Bytes?) {
        if let text { field(name, text) }
    }

    public mutating func field(_ name: StaticString, _ bool: Bool) {
        key(name)
        self.bool(bool)
    }

    public mutating func field(_ name: StaticString, _ integer: Int) {
        key(name)
        self.integer(integer)
    }

    public mutating func field(_ name: StaticString, _ moment: Timestamp) {
        key(name)
        timestamp(moment)
    }

    /// A CID as a string, not as a link.
    public mutating func field(_ name: StaticString, _ cid: CID) {
        key(name)
        self.cid(cid)
    }

    public mutating func field(_ name: StaticString, _ value: Value) {
        key(name)
        self.value(value)
    }

    /// A member that is an array of texts.
    public mutating func field(_ name: StaticString, _ texts: [Bytes]) {
        beginArray(name)
        for text in texts { string(text) }
        endArray()
    }

    public mutating func beginArray(_ name: StaticString) {
        key(name)
        beginArray()
    }

    public mutating func beginObject(_ name: StaticString) {
        key(name)
        beginObject()
    }

    /// A member that is JSON already.
    public mutating func field(_ name: StaticString, raw json: Bytes) {
        key(name)
        raw(json)
    }
}
