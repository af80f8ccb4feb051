public import ATProto
public import Base

/// The record types that this server can check: built in, given by the operator, resolved from the network; in this
/// order, and each made ready once in a process.
public final class LexiconCatalog: Sendable {
    /// Record types that one process keeps ready, beside those that are built in.
    public static let readyMax = 512
    /// How long a process takes it for given that a type is unknown, without noting again that it is wanted.
    public static let unknownSeconds: Int64 = 3_600

    private struct Ready {
        var revision = -1
        var schemas: [Bytes: (schema: RecordSchema?, until: Timestamp)] = [:]
    }

    private let store: LexiconStore
    private let given: [Bytes: Lexicon]
    private let policy: LexiconPolicy
    private let clock: Clock
    private let ready = Guarded(Ready())

    /// `given` are the operator's own.
    public init(store: LexiconStore, given: [Lexicon] = [], policy: LexiconPolicy = .standard, clock: Clock) {
        self.store = store
        self.given = Dictionary(given.map { ($0.id.bytes, $0) }) { first, _ in first }
        self.policy = policy
        self.clock = clock
    }

    /// What a check came to.
    public enum Outcome: Sendable, Equatable {
        case valid
        /// Nobody here knows all of its definitions; the name of one that isn't known.
        case unknown(Bytes)
        /// The caller asked for no check.
        case skipped
    }

    /// Checks `record` and its key. With `asked` true, or where the policy says so, what isn't known is refused; with
    /// false nothing is checked, unless the policy says so.
    ///
    /// Throws `RecordInvalid` and `UnknownLexicon`. Asks nobody but the database.
    public func check(_ record: Value, at path: RepoPath, asked: Bool?) throws -> Outcome {
        let demand = policy.demand(for: path.collection)
        if asked == false, demand != .require { return .skipped }
        let outcome = demand == .off ? .unknown(path.collection.bytes) : try check(record, at: path)
        if case .unknown(let name) = outcome, asked == true || demand == .require { throw UnknownLexicon(name: name) }
        return outcome
    }

    private func check(_ record: Value, at path: RepoPath) throws -> Outcome {
        let collection = path.collection
        guard let schema = try schema(of: collection) else { return .unknown(collection.bytes) }
        guard schema.key.accepts(path.rkey) else {
            throw RecordInvalid(collection: collection.bytes, problem: "Record key \(schema.key.expectation)")
        }
        switch schema.closed.check(record) {
        case .valid: return .valid
        case .unknown(let reference): return .unknown(reference)
        case .invalid(let problem):
            throw RecordInvalid(collection: collection.bytes, problem: problem.sentence("Record"))
        }
    }

    /// The one key that a record of `collection` can have; nil when it can have others, or nobody here knows.
    public func onlyKey(of collection: NSID) throws -> RecordKey? {
        guard policy.demand(for: collection) != .off, case .literal(let key) = try schema(of: collection)?.key else {
            return nil
        }
        return RecordKey(key)
    }

    /// The type of `collection`'s records, or nil when nobody here knows it: it is noted as wanted then.
    func schema(of collection: NSID) throws -> RecordSchema? {
        if let schema = RecordSchema.builtIn(collection) { return schema }
        let revision = try store.revision()
        let now = clock.now()
        let found = ready.withLock { ready -> RecordSchema?? in
            guard ready.revision == revision, let entry = ready.schemas[collection.bytes], now < entry.until else {
                return nil
            }
            return .some(entry.schema)
        }
        if let found { return found }
        let (schema, until) = try load(collection, now: now)
        ready.withLock { ready in
            // A thread that has read an older revision must not put back what it made of it.
            if ready.revision < revision { ready = Ready(revision: revision) }
            guard ready.revision == revision else { return }
            if ready.schemas.count >= Self.readyMax { ready.schemas = [:] }
            ready.schemas[collection.bytes] = (schema, until)
        }
        return schema
    }

    private func load(_ collection: NSID, now: Timestamp) throws -> (RecordSchema?, until: Timestamp) {
        var until = now.adding(seconds: Self.unknownSeconds)
        var documents: [Bytes: Lexicon?] = [:]
        func document(_ name: Bytes) throws -> Lexicon? {
            if let known = documents[name] { return known }
            guard documents.count <= LexiconStore.companionsMax, let nsid = NSID(name) else { return nil }
            let lexicon = try given[name] ?? self.stored(nsid, now: now, until: &until)
            documents[name] = lexicon
            return lexicon
        }
        guard case .record(let rule) = try document(collection.bytes)?.main else {
            // A lexicon that is known and is no record's type needs no asking.
            if documents[collection.bytes] == .some(nil) { try store.note([collection], for: collection, now: now) }
            return (nil, until)
        }
        let closed = try ClosedSchema(.object(rule.object)) { reference in
            if let schema = BuiltIn.definitions[reference] { return schema }
            let hash = reference.position(of: 0x23)
            let lexicon = try document(reference.upTo(hash ?? reference.count))
            return lexicon?.definitions[hash.map { reference.from($0 + 1) } ?? "main"]?.schema
        }
        let wanted = Lexicon.documents(of: closed.missing, besides: nil).filter { documents[$0.bytes] == .some(nil) }
        try store.note(wanted, for: collection, now: now)
        return (RecordSchema(key: rule.key, closed: closed), until)
    }

    private func stored(_ nsid: NSID, now: Timestamp, until: inout Timestamp) throws -> Lexicon? {
        guard let known = try store.find(nsid) else { return nil }
        let expiry = known.fetchedAt.adding(seconds: LexiconStore.ageMaxSeconds)
        guard now < expiry else { return nil }
        until = min(until, expiry)
        // One that this program can't read (a newer one has put it there) is one that it doesn't know.
        return try? known.published.lexicon()
    }
}

/// The caller or the operator wants a check, and nobody here knows a definition that it needs.
public struct UnknownLexicon: Error, Equatable, Sendable {
    public let name: Bytes
}
