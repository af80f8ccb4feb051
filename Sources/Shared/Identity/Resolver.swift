public import ATProto
public import Base
internal import Net
public import Storage

/// From DIDs to documents and from handles to DIDs.
public struct Resolver: Sendable {
    /// A document older than this is asked for again.
    public static let staleSeconds: Int64 = 3_600
    /// Until this age it still serves when nobody answers.
    public static let ageMaxSeconds: Int64 = 86_400
    /// Hops that a handle's well-known file may be away.
    static let redirectsMax = 3

    private let database: any Database
    private let directory: PLCDirectory
    private let network: IdentityNetwork
    private let clock: Clock

    public init(database: any Database, directory: PLCDirectory, network: IdentityNetwork, clock: Clock) {
        self.database = database
        self.directory = directory
        self.network = network
        self.clock = clock
    }

    // MARK: DIDs

    /// The document of `did`: from the cache while it is an hour old at most, else fetched; a day old at most when
    /// nobody answers. `fresh` asks in any case: for decisions that an old key must not make.
    public func document(of did: DID, fresh: Bool = false) throws -> DIDDocument {
        try DIDDocument(json: try json(of: did, fresh: fresh), of: did)
    }

    /// The same as JSON, as it came.
    public func json(of did: DID, fresh: Bool = false) throws -> Bytes {
        let url = try Self.webURL(of: did)
        let now = clock.now()
        let cached = fresh ? nil : try self.cached(did)
        if let cached, now < cached.fetchedAt.adding(seconds: Self.staleSeconds) { return cached.json }
        do {
            let json = if let url { try fetch(url, of: did) } else { try directory.document(of: did) }
            // Checked before it is kept: one wrong answer must not stay for a day.
            _ = try DIDDocument(json: json, of: did)
            try store(json, of: did)
            return json
        } catch IdentityError.unreachable {
            guard let cached, now < cached.fetchedAt.adding(seconds: Self.ageMaxSeconds) else {
                throw IdentityError.unreachable
            }
            return cached.json
        }
    }

    /// What the cache has for `did`, a day old at most, without asking anyone.
    public func cachedJSON(of did: DID) throws -> Bytes? {
        guard let cached = try cached(did),
            clock.now() < cached.fetchedAt.adding(seconds: Self.ageMaxSeconds)
        else { return nil }
        return cached.json
    }

    /// Keeps a document that is known to be right: one that was just fetched or has just been made here.
    public func store(_ json: Bytes, of did: DID) throws {
        let now = clock.now()
        try database.write { writer in
            _ = try writer.run(
                """
                INSERT INTO did_document (did, document, fetched_at)
                VALUES (\(SQL.Value.text(did.bytes)), \(json), \(now))
                ON CONFLICT (did) DO UPDATE SET document = excluded.document, fetched_at = excluded.fetched_at
                """)
        }
    }

    /// Forgets what is known of `did`: it has changed.
    public func forget(_ did: DID) throws { try database.write { try Self.forget(did, in: $0) } }

    /// The same as part of a transaction.
    public static func forget(_ did: DID, in writer: any Writer) throws {
        try writer.run("DELETE FROM did_document WHERE did = \(SQL.Value.text(did.bytes))")
    }

    private func cached(_ did: DID) throws -> (json: Bytes, fetchedAt: Timestamp)? {
        try database.read { reader in
            try reader.first("SELECT document, fetched_at FROM did_document WHERE did = \(SQL.Value.text(did.bytes))") {
                (try $0.bytes(0), try $0.timestamp(1))
            }
        }
    }

    private func fetch(_ url: Bytes, of did: DID) throws(IdentityError) -> Bytes {
        let answer = try network.get(url)
        switch answer.status {
        case 200: return answer.body
        case 404, 410: throw .notFound(did)
        default: throw .unreachable
        }
    }

    /// Where the document of a did:web is; nil for a did:plc. Throws `unsupportedDID` for other methods and for what
    /// the protocol leaves out of these two: paths, ports and addresses (specs/did, reliability F024).
    static func webURL(of did: DID) throws(IdentityError) -> Bytes? {
        switch did.method {
        case "plc":
            let isValid =
                did.methodSpecific.count == 24
                && did.methodSpecific.allSatisfy { ($0 >= 0x61 && $0 <= 0x7A) || ($0 >= 0x32 && $0 <= 0x37) }
            guard isValid else { throw .unsupportedDID(did) }
            return nil
        case "web":
            // A host is what a handle is: a domain name of two labels or more whose last begins with a letter.
            guard let host = Handle(did.methodSpecific), host.bytes == did.methodSpecific else {
                throw .unsupportedDID(did)
            }
            return "https://" + host.bytes + "/.well-known/did.json"
        default: throw .unsupportedDID(did)
        }
    }

    // MARK: Handles

    /// The DID that `handle` names on the network: by DNS, else by its well-known file. Throws `handleNotFound`.
    ///
    /// It is a claim in one direction: `verify` asks in both.
    public func resolve(_ handle: Handle) throws(IdentityError) -> DID {
        if handle.isReserved { throw .handleNotFound(handle) }
        // DNS that does not answer is no reason not to ask the host.
        if let texts = try? network.texts("_atproto." + handle.bytes) {
            let claims = texts.filter { $0.starts(with: "did=") }.map { $0.from(4) }
            // Two claims, and one that is none, are for whoever keeps the zone to mend: whoever keeps the host does not
            // get to answer in their place (reliability F025).
            if let claim = claims.first {
                guard Set(claims).count == 1, let did = DID(claim) else { throw .handleNotFound(handle) }
                return did
            }
        }
        let url = "https://" + handle.bytes + "/.well-known/atproto-did"
        guard let answer = try? network.get(url, redirects: .followed(max: Self.redirectsMax)), answer.status == 200,
            answer.body.count <= DID.sizeMax + 64, let did = DID(answer.body.trimming(" \n\r\t"))
        else { throw .handleNotFound(handle) }
        return did
    }

    /// Whether `handle` names `did` and the document of `did` names `handle`.
    public func verify(_ handle: Handle, of did: DID) throws -> Bool {
        do {
            return try document(of: did).handle == handle && (try resolve(handle)) == did
        } catch is IdentityError {
            return false
        }
    }
}
