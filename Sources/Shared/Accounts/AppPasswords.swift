public import ATProto
public import Base
internal import Crypto
public import Storage

/// A password for one app, that can be taken back alone.
public struct AppPassword: Sendable, Equatable {
    public let name: Bytes
    /// Whether it reaches chat and account creation elsewhere.
    public let isPrivileged: Bool
    public let createdAt: Timestamp
}

public enum AppPasswordError: Error, Equatable, Sendable {
    case nameTaken
    case invalidName
    case tooMany
}

/// The app passwords of every account.
public struct AppPasswordStore: Sendable {
    public static let nameSizeMax = 256
    public static let countMax = 256

    private let database: any Database
    private let entropy: Entropy

    public init(database: any Database, entropy: Entropy) {
        self.database = database
        self.entropy = entropy
    }

    /// Makes one and returns its text, which is kept nowhere. Throws `AppPasswordError`.
    public func create(
        _ name: Bytes, of did: DID, privileged: Bool, now: Timestamp
    ) throws -> (AppPassword, text: Bytes) {
        guard !name.isEmpty, name.count <= Self.nameSizeMax else { throw AppPasswordError.invalidName }
        let text = try Self.generate(entropy)
        let hash = try Self.hash(text, of: did, entropy: entropy)
        let made = AppPassword(name: name, isPrivileged: privileged, createdAt: now)
        try database.write { writer in
            let names = try writer.all("SELECT name FROM app_password WHERE did = \(did.sql)") { try $0.text(0) }
            guard !names.contains(name) else { throw AppPasswordError.nameTaken }
            guard names.count < Self.countMax else { throw AppPasswordError.tooMany }
            try writer.run(
                """
                INSERT INTO app_password (did, name, password, privileged, created_at)
                VALUES (\(did.sql), \(name.asText), \(hash.asText), \(privileged), \(now))
                """)
        }
        return (made, text)
    }

    /// Newest first.
    public func list(of did: DID) throws -> [AppPassword] {
        try database.read { reader in
            try reader.all(
                """
                SELECT name, privileged, created_at FROM app_password WHERE did = \(did.sql)
                ORDER BY created_at DESC, name
                """
            ) { row in
                AppPassword(
                    name: try row.text(0), isPrivileged: try row.bool(1), createdAt: try row.timestamp(2))
            }
        }
    }

    /// Takes it back and ends its sessions. Nothing happens when there is none.
    public func revoke(_ name: Bytes, of did: DID) throws {
        try database.write { writer in
            try writer.run("DELETE FROM app_password WHERE did = \(did.sql) AND name = \(name.asText)")
            try writer.run("DELETE FROM refresh_token WHERE did = \(did.sql) AND app_password = \(name.asText)")
        }
    }

    /// The app password whose text is `text`, or nil. One derivation whether there are any or not.
    func match(_ text: Bytes, of did: DID) throws -> AppPassword? {
        let hash = try Self.hash(text, of: did, entropy: entropy)
        return try database.read { reader in
            var match: AppPassword?
            try reader.each(
                "SELECT name, privileged, created_at, password FROM app_password WHERE did = \(did.sql)"
            ) { row in
                if constantTimeEqual(try row.text(3), hash) {
                    match = AppPassword(
                        name: try row.text(0), isPrivileged: try row.bool(1), createdAt: try row.timestamp(2))
                }
                return true
            }
            return match
        }
    }

    /// All of an account's share one salt, so that a login costs one derivation however many there are; they have 80
    /// random bits, so a shared salt helps nobody who guesses (specs/pds.md §2.1).
    static func hash(_ text: Bytes, of did: DID, entropy: Entropy) throws -> Bytes {
        let salt = Array(SHA256.hash(did.bytes).bytes.prefix(Password.saltSize))
        return try Password.hash(text, salt: salt, entropy: entropy)
    }

    /// `xxxx-xxxx-xxxx-xxxx` in base 32.
    static func generate(_ entropy: Entropy) throws -> Bytes {
        let characters = RadixEncoding.base32.encode(try entropy.bytes(10))
        var text: [UInt8] = []
        for (index, character) in characters.enumerated() {
            if index > 0, index % 4 == 0 { text.append(0x2D) }
            text.append(character)
        }
        return Bytes(text)
    }

    /// Whether `text` has the form of an app password.
    static func hasForm(_ text: Bytes) -> Bool {
        guard text.count == 19 else { return false }
        for (index, byte) in text.enumerated() {
            let isHyphen = index % 5 == 4
            guard isHyphen ? byte == 0x2D : (byte >= 0x61 && byte <= 0x7A) || (byte >= 0x32 && byte <= 0x37)
            else { return false }
        }
        return true
    }
}
