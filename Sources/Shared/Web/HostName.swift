public import Base

/// The one spelling of a host name: lower case, `[a-z0-9.-]`, no port, no trailing dot.
public enum HostName {
    /// RFC 1035 §2.3.4, without the root's dot.
    public static let sizeMax = 253
    public static let labelSizeMax = 63

    /// The canonical form of a `Host` value, or nil when it is not a name: an address literal, user information,
    /// a port above 65535, an empty label, a label that begins or ends with `-`, or any other byte.
    ///
    /// A value that is canonical already is returned as it is, without a copy.
    public static func canonical(_ value: Bytes) -> Bytes? {
        var name = value
        if let colon = value.position(of: 0x3A) {
            let port = value.from(colon + 1)
            // "host:" (an empty port) is allowed by RFC 3986 §3.2.3.
            guard port.isEmpty || (port.count <= 5 && (port.decimal ?? 65_536) <= 65_535) else { return nil }
            name = value.upTo(colon)
        }
        if name.count > 1, name[name.count - 1] == 0x2E { name = name.upTo(name.count - 1) }
        guard !name.isEmpty, name.count <= sizeMax else { return nil }
        var hasUpperCase = false
        let isName = name.withUnsafeBytes { isValid($0, hasUpperCase: &hasUpperCase) }
        guard isName else { return nil }
        return hasUpperCase ? name.lowercasedASCII : name
    }

    private static func isValid(_ name: UnsafeRawBufferPointer, hasUpperCase: inout Bool) -> Bool {
        var labelSize = 0
        var previous: UInt8 = 0x2E
        for byte in name {
            switch byte {
            case 0x61...0x7A, 0x30...0x39: break
            case 0x41...0x5A: hasUpperCase = true
            case 0x2D: if previous == 0x2E { return false }
            case 0x2E: if previous == 0x2E || previous == 0x2D { return false }
            default: return false
            }
            labelSize = byte == 0x2E ? 0 : labelSize &+ 1
            if labelSize > labelSizeMax { return false }
            previous = byte
        }
        return previous != 0x2D && previous != 0x2E
    }
}
