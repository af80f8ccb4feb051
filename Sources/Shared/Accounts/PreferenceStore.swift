public import ATProto
public import Base
public import Storage

public enum PreferenceError: Error, Equatable, Sendable {
    /// An item has no `$type`, or one outside of the namespace.
    case wrongNamespace
    /// The session may not set this type.
    case notAllowed(Bytes)
    case tooMany
}

/// The private settings of apps: typed objects in the order in which they were put.
public struct PreferenceStore: Sendable {
    /// Items of one account. The body of putPreferences has a limit in bytes as well.
    public static let countMax = 1_000
    /// What only a session with the account's own password reads and sets: birth dates.
    static let personal: Bytes = "app.bsky.actor.defs#personalDetailsPref"
    /// What is computed from the birth date, so that apps without access to it can still ask for an age.
    static let declaredAge: Bytes = "app.bsky.actor.defs#declaredAgePref"
    static let namespace: Bytes = "app.bsky"

    private let database: any Database

    public init(database: any Database) { self.database = database }

    /// The items of an account as they were put, without those that `full` access would need; the declared age after.
    public func get(of did: DID, full: Bool, now: Timestamp) throws -> [Value] {
        var items: [Value] = []
        var birthDate: Bytes?
        try database.read { reader in
            try reader.each("SELECT type, value FROM preference WHERE did = \(did.sql) ORDER BY position") { row in
                let value = try DAGCBOR.decode(try row.bytes(1))
                let isPersonal = try row.text(0) == Self.personal
                if isPersonal { birthDate = value["birthDate"]?.text }
                if full || !isPersonal { items.append(value) }
                return true
            }
        }
        if let birthDate, let age = Self.age(born: birthDate, now: now) {
            items.append(
                .map([
                    Value.Entry(key: "$type", value: .text(Self.declaredAge)),
                    Value.Entry(key: "isOverAge13", value: .bool(age >= 13)),
                    Value.Entry(key: "isOverAge16", value: .bool(age >= 16)),
                    Value.Entry(key: "isOverAge18", value: .bool(age >= 18)),
                ]))
        }
        return items
    }

    /// Replaces the items of an account. Without `full` access its personal items stay as they are and can't be set.
    /// What is computed is dropped, so that a client may put back all that it got. Throws `PreferenceError`.
    public func put(_ items: [Value], of did: DID, full: Bool) throws {
        guard items.count <= Self.countMax else { throw PreferenceError.tooMany }
        var rows: [(type: Bytes, value: [UInt8])] = []
        for item in items {
            guard case .map = item, let type = item["$type"]?.text, Self.isInNamespace(type) else {
                throw PreferenceError.wrongNamespace
            }
            if type == Self.declaredAge { continue }
            if type == Self.personal, !full { throw PreferenceError.notAllowed(type) }
            rows.append((type, DAGCBOR.encode(item)))
        }
        let inserted = rows
        try database.write { writer in
            var kept: [(type: Bytes, value: [UInt8])] = []
            if !full {
                kept = try writer.all(
                    """
                    SELECT value FROM preference WHERE did = \(did.sql) AND type = \(Self.personal.asText)
                    ORDER BY position
                    """
                ) { (Self.personal, try $0.bytes(0).array) }
            }
            try writer.run("DELETE FROM preference WHERE did = \(did.sql)")
            for (position, row) in (kept + inserted).enumerated() {
                try writer.run(
                    """
                    INSERT INTO preference (did, position, type, value)
                    VALUES (\(did.sql), \(position), \(row.type.asText), \(row.value))
                    """)
            }
        }
    }

    /// Count of items that are not public records: `privateStateValues` of checkAccountStatus.
    public func count(of did: DID) throws -> Int {
        try database.read {
            try $0.first("SELECT COUNT(*) FROM preference WHERE did = \(did.sql)") { try $0.integer(0) } ?? 0
        }
    }

    private static func isInNamespace(_ type: Bytes) -> Bool {
        type == namespace || type.starts(with: namespace + ".")
    }

    /// Whole years from `YYYY-MM-DD…` to now; nil when the text does not begin with a date.
    static func age(born: Bytes, now: Timestamp) -> Int? {
        func date(_ text: Bytes) -> (year: Int, ofYear: Int)? {
            guard text.count >= 10, text[4] == 0x2D, text[7] == 0x2D,
                let year = number(text.slice(0..<4)), let month = number(text.slice(5..<7)),
                let day = number(text.slice(8..<10)), (1...12).contains(month), (1...31).contains(day)
            else { return nil }
            return (year, month * 100 + day)
        }
        guard let born = date(born), let today = date(Bytes(now.iso8601Bytes)) else { return nil }
        return today.year - born.year - (today.ofYear < born.ofYear ? 1 : 0)
    }

    private static func number(_ digits: Bytes) -> Int? {
        var value = 0
        for digit in digits {
            guard digit >= 0x30, digit <= 0x39 else { return nil }
            value = value * 10 + Int(digit - 0x30)
        }
        return value
    }
}
