internal import ATProto
internal import Base

/// The operator's own lexicons: every `.json` file under a directory, wherever it lies there.
public enum LexiconDirectory {
    /// Files that are read.
    public static let filesMax = 10_000
    /// Directories inside each other.
    public static let depthMax = 32

    /// A file that is no lexicon, or one that says what another has said already.
    public struct Invalid: Error, Equatable, Sendable, CustomStringConvertible {
        public let path: String
        public let problem: String
        public var description: String { "\(path): \(problem)" }
    }

    /// Reads all of them, in the order of their paths. Throws `Invalid`, and `SystemError` from the file system.
    public static func load(_ path: String) throws -> [Lexicon] {
        var lexicons: [Lexicon] = []
        var paths: [Bytes: String] = [:]
        for file in try Files.list(path, ending: ".json", countMax: filesMax, depthMax: depthMax) {
            let bytes = try Files.read(file, sizeMax: Lexicon.sizeMax)
            do throws(SchemaProblem) {
                let lexicon = try Lexicon(json: Bytes(bytes))
                if let other = paths[lexicon.id.bytes] { throw SchemaProblem("is in \(other) already").inside("id") }
                paths[lexicon.id.bytes] = file
                lexicons.append(lexicon)
            } catch {
                throw Invalid(path: file, problem: error.sentence("Lexicon"))
            }
        }
        return lexicons
    }
}
