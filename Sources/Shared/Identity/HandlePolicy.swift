public import ATProto
public import Base

/// Why a handle can't be given out.
public enum HandleError: Error, Equatable, Sendable {
    /// Not a name that may stand for an account: a reserved top-level domain.
    case disallowed(Handle)
    case tooShort, tooLong
    /// More than one label before the server's domain.
    case hasDots
    case reservedWord
    /// Not under a domain of this server.
    case foreign(Handle)
}

/// Which handles this server gives out, under which domains.
public struct HandlePolicy: Sendable {
    /// Characters of the first label (specs/pds.md §2.4): what fits into a list of posts.
    public static let labelSizeMin = 3
    public static let labelSizeMax = 18
    /// `_atproto.<handle>` must still be a DNS name (specs/handle).
    public static let sizeMax = 244

    /// Without leading dots, lower case.
    public let domains: [Bytes]

    public init(domains: [Bytes]) { self.domains = domains }

    /// The domain of this server that `handle` is directly or further under, or nil.
    public func domain(of handle: Handle) -> Bytes? {
        domains.first { handle.bytes.ends(with: "." + $0) }
    }

    /// Throws unless `handle` may be given out here to one who asks; an administrator may give out reserved names.
    public func checkLocal(_ handle: Handle, allowReserved: Bool = false) throws(HandleError) {
        try Self.checkAllowed(handle, domains: domains)
        guard let domain = domain(of: handle) else { throw .foreign(handle) }
        let label = handle.bytes.upTo(handle.bytes.count - domain.count - 1)
        guard !label.contains(0x2E) else { throw .hasDots }
        guard label.count >= Self.labelSizeMin else { throw .tooShort }
        guard label.count <= Self.labelSizeMax else { throw .tooLong }
        guard allowReserved || !ReservedNames.all.contains(label) else { throw .reservedWord }
    }

    /// Throws when no account anywhere may have `handle`.
    public func checkForeign(_ handle: Handle) throws(HandleError) {
        try Self.checkAllowed(handle, domains: domains)
        guard handle.bytes.count <= Self.sizeMax else { throw .tooLong }
    }

    private static func checkAllowed(_ handle: Handle, domains: [Bytes]) throws(HandleError) {
        // `.test` is for development: only where the server's own domain is under it.
        let isDevelopment = domains.contains { $0 == "test" || $0.ends(with: ".test") }
        if handle.isReserved || (handle.topLevelDomain == "test" && !isDevelopment) { throw .disallowed(handle) }
    }
}

/// First labels that nobody gets by asking: names of services and roles that a stranger could act under, and words
/// of the protocol and of this server's own hosts.
enum ReservedNames {
    static let all = Set(words.split(on: 0x20))

    private static let words: Bytes = """
        about abuse access account accounts activate admin administrator admins advertising affiliate alerts alias \
        anonymous api apidocs app apps archive ask assets atp atproto auth authentication authority authorize \
        autoconfig autodiscover avatar backup banner billing blob blobs blog board bot bots broadcasthost bsky \
        business careers cdn certificate chat checkout ci cloud cname code comment community compliance config \
        connect contact contacts console copyright core credentials data database db debug default delete demo \
        dashboard design dev developer developers device devices devnull did directory dist dns doc docs domain \
        download downloads edge edit email employment error errors event events everyone example explore export \
        faq favicon feed feedback feeds file files finance firehose follow follower followers following font fonts \
        forgot forum forums ftp git github gitlab graph graphql group groups guest guide handle health help helpdesk \
        home host hosting hostmaster html http https hub icon icons image images imap img inbox info internal invite \
        invites ipfs isatap issues jobs json jwt label labeler labels lexicon license list lists local localdomain \
        localhost log login logout logs mail mailer mailerdaemon mailserver management manager marketing master media \
        member members message messages metrics mobile mod moderation moderator monitor mssql mx my mysql name news \
        newsletter nobody noc node none noreply notification notifications null oauth official oidc ops operator \
        organization owner page pages passwd password pay payment payments pds phishing phone photo photos ping plc \
        policies policy pop pop3 popular portal post postfix postgres postmaster posts preferences premium press \
        pricing privacy private prod product production products profile profiles project projects proxy public \
        register registrar relay remove report reports repo repos repository reset resolve robots root rss \
        sales sample save search secure security server servers service services session sessions settings setup \
        share shop sign signin signout signup site sitemap sites skystead smtp source spam sphere spheres sql ssh ssl \
        ssladmin sso staff stage staging star start stat static statistics stats status storage store subscribe \
        suggest support survey sync sysadmin sysadministrator system team teams telnet terms test testing thread \
        threads tls token tokens tools topic topics tos translate trending trust tutorial undefined unsubscribe update \
        upload uploads usenet user username users uucp verification verified verify version video videos vpn web \
        webadmin webhook webhooks webmail webmaster websocket websockets widget wiki wikis wpad write www www1 www2 \
        xml xmpp xrpc you your
        """
}
