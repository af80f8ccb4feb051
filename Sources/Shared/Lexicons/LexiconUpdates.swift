public import ATProto
public import Base

/// Lexicons from the network, kept for a time. Nothing here is on the way of a write.
public struct LexiconUpdates: Sendable {
    /// Lexicons that one run of the worker asks for. Each may take 13 seconds (DNS 5, the account 3, the proof 5).
    public static let perRunMax = 128

    private let store: LexiconStore
    private let resolver: LexiconResolver
    private let clock: Clock

    public init(store: LexiconStore, resolver: LexiconResolver, clock: Clock) {
        self.store = store
        self.resolver = resolver
        self.clock = clock
    }

    /// The published lexicon of this name: as it is kept while it is a day old at most, else asked for; for up to 90
    /// days as it is kept when nobody answers. Throws `LexiconError`.
    public func published(_ nsid: NSID) throws -> PublishedLexicon {
        let known = try store.find(nsid)
        let now = clock.now()
        if let known, now < known.fetchedAt.adding(seconds: LexiconStore.staleSeconds) { return known.published }
        do {
            return try update(nsid)
        } catch LexiconError.unreachable {
            guard let known, now < known.fetchedAt.adding(seconds: LexiconStore.ageMaxSeconds) else {
                throw LexiconError.unreachable(nsid)
            }
            return known.published
        }
    }

    /// What is kept of it and is still good, without asking anyone.
    public func cached(_ nsid: NSID) throws -> PublishedLexicon? {
        guard let known = try store.find(nsid),
            clock.now() < known.fetchedAt.adding(seconds: LexiconStore.staleSeconds)
        else { return nil }
        return known.published
    }

    /// What one run came to.
    public struct Report: Sendable, Equatable {
        public var resolved = 0
        public var failed: [LexiconError] = []
    }

    /// Asks for what is due, and for what that refers to, `perRunMax` of them at most; then drops what is too old.
    public func run() throws -> Report {
        var report = Report()
        var left = Self.perRunMax
        while left > 0 {
            let due = try store.due(now: clock.now(), limit: min(left, 32))
            if due.isEmpty { break }
            for nsid in due {
                do {
                    _ = try update(nsid)
                    report.resolved += 1
                } catch let error as LexiconError {
                    report.failed.append(error)
                }
            }
            left -= due.count
        }
        try store.trim(now: clock.now())
        return report
    }

    /// Asks for `nsid` and keeps the answer, or that there was none.
    private func update(_ nsid: NSID) throws -> PublishedLexicon {
        do {
            let (published, lexicon) = try resolver.resolve(nsid)
            try store.save(published, references: lexicon.documentsReferredTo, now: clock.now())
            return published
        } catch let error as LexiconError {
            try store.saveFailure(nsid, now: clock.now())
            throw error
        }
    }
}

extension Lexicon {
    /// The documents that checking what this one defines needs besides, apart from what is built in.
    var documentsReferredTo: [NSID] {
        var references: [Bytes] = []
        for definition in definitions.values { definition.schema?.addReferences(to: &references) }
        return Self.documents(of: references, besides: id)
    }

    /// The documents of `references`, each once, in byte order.
    static func documents(of references: some Sequence<Bytes>, besides id: NSID?) -> [NSID] {
        var seen: Set<Bytes> = []
        var documents: [NSID] = []
        for reference in references where BuiltIn.definitions[reference] == nil {
            let name = reference.upTo(reference.position(of: 0x23) ?? reference.count)
            guard name != id?.bytes, seen.insert(name).inserted, let nsid = NSID(name) else { continue }
            documents.append(nsid)
        }
        return documents.sorted()
    }
}
