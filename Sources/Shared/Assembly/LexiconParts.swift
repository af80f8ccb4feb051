internal import ATProto
internal import Base
internal import Identity
internal import Lexicons
internal import Net
internal import Storage

/// What checks records and what fetches lexicons, from the settings.
enum LexiconParts {
    /// Throws `Settings.Invalid` for a file of the operator's that is no lexicon, and for a rule that is none.
    static func catalog(_ settings: Settings, _ database: any Database, _ clock: Clock) throws -> LexiconCatalog {
        let policy: LexiconPolicy
        do throws(LexiconPolicy.Malformed) {
            policy = try LexiconPolicy(settings[Settings.lexiconPolicy])
        } catch {
            throw Settings.Invalid(problems: ["\(Settings.lexiconPolicy.key): '\(error.rule)' is no rule"])
        }
        var given: [Lexicon] = []
        if let directory = settings[Settings.lexiconDirectory] {
            do {
                given = try LexiconDirectory.load(Files.absolute(directory.description))
            } catch {
                throw Settings.Invalid(problems: ["\(Settings.lexiconDirectory.key): \(error)"])
            }
        }
        return LexiconCatalog(
            store: LexiconStore(database: database), given: given, policy: policy, clock: clock)
    }

    static func updates(
        _ settings: Settings, _ database: any Database, _ resolver: Resolver, _ clock: Clock
    ) -> LexiconUpdates {
        let client = Outbound.client(settings)
        let dns = DNSResolver(servers: settings[Settings.dnsServers])
        let network = LexiconNetwork(
            texts: { name in try dns.txt(name) },
            authority: { did, fresh in try authority(did, resolver, fresh: fresh) },
            get: { url, sizeMax in
                var request = HTTPRequest(
                    .get, url, headers: [("Accept", "application/vnd.ipld.car")], sizeMax: sizeMax)
                request.deadlineMilliseconds = deadlineMilliseconds
                let response = try client.send(request)
                return LexiconNetwork.Answer(status: response.status, body: Bytes(response.body))
            })
        return LexiconUpdates(
            store: LexiconStore(database: database), resolver: LexiconResolver(network: network), clock: clock)
    }

    /// A proof comes from a stranger's server, while somebody may be waiting for it.
    private static let deadlineMilliseconds = 5_000

    /// What the account's document says; nil when there is none, or none that says it.
    private static func authority(
        _ did: DID, _ resolver: Resolver, fresh: Bool
    ) throws -> LexiconNetwork.Authority? {
        do {
            let document = try resolver.document(of: did, fresh: fresh)
            return LexiconNetwork.Authority(pds: try document.pds, key: try document.signingKey)
        } catch IdentityError.unreachable {
            throw IdentityError.unreachable
        } catch is IdentityError {
            return nil
        }
    }
}
