public import Base
internal import Crypto
public import Storage

/// A session of the administrator's pages, as its browser proves it.
public struct AdminSession: Sendable {
    /// The cookie's value.
    public let token: Bytes
    /// What every form of this session must send back: a page of another site can send the cookie, but not this.
    public let formToken: Bytes
}

/// Who is signed in to the administrator's pages: there is one administrator, who proves it with the password of the
/// settings.
public struct AdminSessionStore: Sendable {
    /// A session ends so long after signing in, whatever was done since.
    public static let secondsMax: Int64 = 43_200
    /// And so long after its last request.
    public static let idleSecondsMax: Int64 = 3_600
    /// Sessions at the same time; one more ends the oldest.
    public static let countMax = 20
    /// A request writes when it was seen only if that is so long ago: reading a page should not be a durable write.
    static let seenStepSeconds: Int64 = 60
    private static let tokenSize = 32

    private let database: any Database
    private let clock: Clock
    private let entropy: Entropy
    private let key: Secret?
    private let password: Secret?

    /// Without a password nobody signs in.
    public init(database: any Database, password: Secret?, clock: Clock, entropy: Entropy) {
        self.database = database
        self.clock = clock
        self.entropy = entropy
        self.password = password
        key = password.map {
            Secret(HMACSHA256.authenticate("skystead administrator's sessions, version 1", key: $0).bytes)
        }
    }

    /// Whether there is a password at all.
    public var isOpen: Bool { password != nil }

    /// A new session, or nil when `given` is not the password.
    public func begin(password given: Bytes) throws -> AdminSession? {
        guard let password, let key else { return nil }
        // Digests have one length, so that the comparison does not tell the password's.
        let digests = (SHA256.hash(given).bytes, password.withBytes { SHA256.hash($0).bytes })
        guard constantTimeEqual(Bytes(digests.0), Bytes(digests.1)) else { return nil }
        let token = Bytes(RadixEncoding.base64URL.encode(try entropy.bytes(Self.tokenSize)))
        let now = clock.now()
        let digest = Self.digest(token, key)
        try database.write { writer in
            try Self.removeOver(now, in: writer)
            let kept = Self.countMax - 1
            try writer.run(
                """
                DELETE FROM admin_session WHERE digest NOT IN
                    (SELECT digest FROM admin_session ORDER BY created_at DESC, digest LIMIT \(kept))
                """)
            try writer.run(
                "INSERT INTO admin_session (digest, created_at, seen_at) VALUES (\(digest), \(now), \(now))")
        }
        return Self.session(token, key)
    }

    /// The session whose cookie has `token`, or nil when it is unknown or over.
    public func find(_ token: Bytes) throws -> AdminSession? {
        guard let key, !token.isEmpty, token.count <= 64 else { return nil }
        let now = clock.now()
        let digest = Self.digest(token, key)
        let row = try database.read { reader in
            try reader.first("SELECT created_at, seen_at FROM admin_session WHERE digest = \(digest)") {
                (created: try $0.timestamp(0), seen: try $0.timestamp(1))
            }
        }
        guard let row, row.created > now.adding(seconds: -Self.secondsMax),
            row.seen > now.adding(seconds: -Self.idleSecondsMax)
        else { return nil }
        if row.seen <= now.adding(seconds: -Self.seenStepSeconds) {
            try database.write { _ = try $0.run("UPDATE admin_session SET seen_at = \(now) WHERE digest = \(digest)") }
        }
        return Self.session(token, key)
    }

    /// Ends a session.
    public func end(_ session: AdminSession) throws {
        guard let key else { return }
        let digest = Self.digest(session.token, key)
        try database.write { _ = try $0.run("DELETE FROM admin_session WHERE digest = \(digest)") }
    }

    private static func removeOver(_ now: Timestamp, in writer: any Writer) throws {
        let (oldest, idle) = (now.adding(seconds: -secondsMax), now.adding(seconds: -idleSecondsMax))
        try writer.run("DELETE FROM admin_session WHERE created_at <= \(oldest) OR seen_at <= \(idle)")
    }

    private static func digest(_ token: Bytes, _ key: Secret) -> Bytes {
        Bytes(HMACSHA256.authenticate("session " + token, key: key).bytes)
    }

    private static func session(_ token: Bytes, _ key: Secret) -> AdminSession {
        let form = HMACSHA256.authenticate("form " + token, key: key)
        return AdminSession(token: token, formToken: Bytes(RadixEncoding.base64URL.encode(form.bytes)))
    }
}
