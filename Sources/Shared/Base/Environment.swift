internal import CSystem
internal import Glibc

/// The process's environment, as it was given. Only for `Settings` and for handing it on to children.
public enum Environment {
    /// Names and values as bytes. Call it before any other thread runs.
    static var pairs: [(Bytes, Bytes)] {
        guard var entry = csystem_environment() else { return [] }
        var found: [(Bytes, Bytes)] = []
        while let text = entry.pointee {
            let bytes = Bytes(UnsafeRawBufferPointer(start: text, count: strlen(text)))
            if let equals = bytes.position(of: 0x3D) { found.append((bytes.upTo(equals), bytes.from(equals + 1))) }
            entry += 1
        }
        return found
    }

    /// By name, for posix_spawn(3).
    public static var ofProcess: [String: String] {
        var variables: [String: String] = [:]
        for (name, value) in pairs { variables[name.description] = value.description }
        return variables
    }
}
