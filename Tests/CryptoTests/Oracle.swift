import Foundation
import Testing

/// The published vectors, which lie beside the checkout and are never part of the project.
enum Oracle {
    /// `SKYSTEAD_SHARED_DIR`, or `shared` beside the checkout.
    static let directory: URL = {
        if let path = ProcessInfo.processInfo.environment["SKYSTEAD_SHARED_DIR"] { return URL(filePath: path) }
        return URL(filePath: #filePath).appending(path: "../../../../shared").standardized
    }()

    /// True where the vectors are, and in CI, where a test that needs them must fail rather than be passed over.
    static let isExpected =
        FileManager.default.fileExists(atPath: directory.appending(path: "vectors").path())
        || ProcessInfo.processInfo.environment["CI"] != nil

    static func rows<Row: Decodable>(_ path: String, as type: Row.Type) throws -> [Row] {
        try JSONDecoder().decode([Row].self, from: Data(contentsOf: directory.appending(path: path)))
    }
}
