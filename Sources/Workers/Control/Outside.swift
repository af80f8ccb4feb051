internal import ATProto
internal import Accounts
internal import Assembly
internal import Base
internal import Glibc
internal import Net
internal import Relays
internal import Repos
internal import Storage

/// The looks of `skystead doctor` that go beyond this machine: the service as others meet it.
///
/// Names are looked up in DNS as others do it, and what DNS says is connected to. Certificates are judged in looks of
/// their own and nowhere else, so that a bad one does not hide what is behind it: nothing secret is sent.
struct Outside {
    static let uploadPath: Bytes = "/xrpc/com.atproto.repo.uploadBlob"
    static let adminPath: Bytes = "/admin"
    /// The certificate's last days, in which there is a warning.
    static let certificateWarningDays: Int64 = 14
    /// Handles that are not under this server's domains and are looked up one by one.
    static let outsideHandlesMax = 50
    /// Accounts among which examples are looked for.
    static let accountsMax = 1_000
    /// The longest answer that is read.
    static let answerSizeMax = 65_536
    static let deadlineMilliseconds = 5_000
    /// A body of this size is really sent: more than web servers take unless they are told (nginx: 1 MiB).
    static let sentBodySize = 2 << 20

    let settings: Settings
    let names: Names
    let paths: Paths
    let clock: Clock
    /// Scheme, host and port.
    let front: Bytes
    let dns: DNSResolver
    /// Believes every certificate.
    let client: HTTPClient
    /// Asks for certificates that hold.
    let strictClient: HTTPClient
    let accounts: [Account]
    let database: (any MigratableDatabase)?

    init(_ checks: Checks) {
        settings = checks.settings
        names = checks.names
        paths = checks.paths
        clock = checks.clock
        front = checks.front
        var dns = DNSResolver(servers: settings[Settings.dnsServers])
        dns.deadlineMilliseconds = Self.deadlineMilliseconds
        self.dns = dns
        let opened = try? Databases.openForService(settings, paths, log: .silent)
        database = opened
        accounts = (try? opened.map { try AccountStore(database: $0).list(after: nil, limit: Self.accountsMax) }) ?? []

        let origin = Origin(front)
        let hosts = [origin.host] + Self.handleHosts(names, accounts)
        var configuration = Outbound.configuration(settings, also: hosts.map { $0 + origin.port })
        if !names.isLocal {
            for host in hosts where configuration.hostOverrides[host] == nil {
                // A name without an address has a finding of its own; what is behind it is looked at all the same.
                configuration.hostOverrides[host] =
                    (try? dns.addresses(host))?.first ?? configuration.hostOverrides[origin.host]
            }
        }
        strictClient = HTTPClient(configuration)
        configuration.verifiesCertificates = false
        client = HTTPClient(configuration)
    }

    /// `https://home.example:444` in its parts.
    struct Origin {
        /// `https://`
        let scheme: Bytes
        let host: Bytes
        /// With its colon; empty when it is the scheme's own.
        let port: Bytes

        init(_ url: Bytes) {
            let start = (url.position(of: 0x2F) ?? 0) + 2
            scheme = url.upTo(start)
            let authority = url.from(start)
            let isBracketed = authority.last == 0x5D
            let colon = isBracketed ? nil : authority.lastIndex(of: 0x3A)
            host = authority.upTo(colon ?? authority.count)
            port = colon.map { authority.from($0) } ?? Bytes()
        }

        var isSecure: Bool { scheme == "https://" }
    }

    /// The name under a handle domain that is asked when nobody there has an account: it is nobody's.
    private static func example(of domain: Bytes) -> Bytes { "skystead-doctor." + domain }

    /// For each handle domain the name of an account there, or else of nobody.
    private static func handleHosts(_ names: Names, _ accounts: [Account]) -> [Bytes] {
        names.handleDomains.flatMap { domain in
            let handle = accounts.first { $0.state.isActive && $0.handle?.bytes.ends(with: "." + domain) == true }
            return [handle?.handle?.bytes, example(of: domain)].compactMap { $0 }
        }
    }

    private func url(_ path: Bytes, host: Bytes? = nil) -> Bytes {
        guard let host else { return front + path }
        let origin = Origin(front)
        return origin.scheme + host + origin.port + path
    }

    private func lines(_ fault: WebFault) -> WebLines {
        WebLines(fault, names, paths, blobSizeMax: settings[Settings.blobSizeMax])
    }

    private func get(
        _ url: Bytes, headers: [(name: Bytes, value: Bytes)] = []
    ) throws(HTTPClientError) -> HTTPResponse {
        var request = HTTPRequest(.get, url, headers: headers, sizeMax: Self.answerSizeMax, redirects: .returned)
        request.deadlineMilliseconds = Self.deadlineMilliseconds
        return try client.send(request)
    }

    /// The web server in front, when it says what it is.
    var webServer: WebServer? {
        guard let name = (try? get(front + "/"))?["server"]?.lowercasedASCII else { return nil }
        return WebServer.allCases.first { name.starts(with: Bytes($0.rawValue)) }
    }

    // MARK: This machine, closer

    /// What is slower than `check` should be, or asks for more rights.
    var machine: [Look] {
        [Look(name: "secret files", look: secretFiles), Look(name: "database integrity", look: integrity)]
    }

    private func secretFiles() -> Finding {
        var checked = 0
        // The sealing key is not read at all when others can: see `keys`.
        let own: [(String, mode_t)] = [(paths.keys, 0o077), (paths.rotationKey, 0o077)]
        for (path, others) in own + settings.filesWithSecrets.map({ ($0, 0o007) }) {
            var status = stat()
            guard stat(path, &status) == 0 else { continue }
            checked += 1
            if status.st_mode & others != 0 {
                let mode = String(status.st_mode & 0o777, radix: 8)
                return .wrong(
                    "\(path) can be read by others (mode 0\(mode))",
                    "chmod go-rwx \(path); if others had access, think of what is in it as known")
            }
        }
        return .fine("\(checked) files and directories, for nobody else to read")
    }

    private func integrity() -> Finding {
        guard let database else { return .skipped("the database does not open") }
        do {
            guard let sqlite = database as? SQLite else {
                let setting: SQL = "SELECT setting FROM pg_settings WHERE name = 'data_checksums'"
                let checksums = try database.read { try $0.first(setting) { try $0.text(0) } }
                guard checksums == "on" else {
                    return .warning(
                        "PostgreSQL keeps no checksums: a bad disk is not noticed",
                        "pg_checksums --enable, with the server stopped")
                }
                return .fine("PostgreSQL keeps checksums of its pages")
            }
            let problems = try sqlite.quickProblems()
            guard let first = problems.first else { return .fine("quick_check finds nothing") }
            return .wrong(
                "\(problems.count) problems, the first: \(first)", "restore a backup: skystead restore-finish")
        } catch {
            return .wrong("the database cannot be read: \(error)", "restore a backup: skystead restore-finish")
        }
    }

    // MARK: The front door

    /// DNS, certificates, the web server's paths.
    var world: [Look] {
        let host = Origin(front).host
        var looks = [Look(name: "address of \(names.host)") { self.address(names.host) }]
        looks += names.handleDomains.map { domain in
            Look(name: "addresses under \(domain)") { self.wildcard(domain) }
        }
        looks += outsideHandles.map { account, handle in
            Look(name: "handle \(handle)") { self.proof(of: handle, account.did) }
        }
        looks.append(Look(name: "certificate of \(host)") { self.certificate(of: host) })
        looks += names.handleDomains.map { domain in
            Look(name: "certificate under \(domain)") { self.certificate(of: self.handleHost(of: domain)) }
        }
        looks += Self.pathsOfService.map { path, asked, meaning in
            Look(name: "path \(path)") { self.path(path, asked, meaning) }
        }
        looks.append(Look(name: "host name", look: hostName))
        looks += names.handleDomains.map { domain in
            Look(name: "handle hosts of \(domain)") { self.handleHosts(domain) }
        }
        looks += [
            Look(name: "firehose", look: firehose), Look(name: "upload size", look: uploadSize),
            Look(name: "compression", look: compression), Look(name: "cross-origin access", look: crossOrigin),
        ]
        return looks
    }

    private static let localOnly = "SKYSTEAD_HOST is localhost: nobody else can reach this server by a name"

    private func lookUp(_ name: Bytes) -> Result<[Bytes], DNSError> {
        Result { () throws(DNSError) -> [Bytes] in try dns.addresses(name) }
    }

    private func address(_ name: Bytes) -> Finding {
        if names.isLocal { return .skipped(Self.localOnly) }
        switch lookUp(name) {
        case .success(let found) where found.isEmpty:
            return .wrong(
                "\(name) has no address in DNS", "at your DNS provider: \(name). A (this machine's IPv4 address)")
        case .success(let found): return .fine(found.map(\.description).joined(separator: ", "))
        case .failure(let error): return Self.dnsFailure(name, error)
        }
    }

    private func wildcard(_ domain: Bytes) -> Finding {
        if names.isLocal { return .skipped(Self.localOnly) }
        let name = Self.example(of: domain)
        switch lookUp(name) {
        case .success(let found) where found.isEmpty:
            let own = (try? dns.addresses(names.host))?.first?.description ?? "(this machine's address)"
            return .wrong(
                "there is no wildcard: \(name) has no address, so handles under \(domain) are not found",
                "at your DNS provider: *.\(domain). \(own.contains(":") ? "AAAA" : "A") \(own)")
        case .success(let found):
            let own = (try? dns.addresses(names.host)) ?? []
            guard !Set(found).isDisjoint(with: own) else {
                return .warning(
                    "*.\(domain) leads to \(found[0]), \(names.host) elsewhere", "is that address this server's too?")
            }
            return .fine("*.\(domain) leads to \(found.map(\.description).joined(separator: ", "))")
        case .failure(let error): return Self.dnsFailure(name, error)
        }
    }

    private static func dnsFailure(_ name: Bytes, _ error: DNSError) -> Finding {
        .wrong("\(name) cannot be looked up: \(error)", "look at /etc/resolv.conf, or SKYSTEAD_DNS_SERVERS")
    }

    /// Accounts whose handle is a name of their own.
    private var outsideHandles: [(Account, Handle)] {
        let found = accounts.compactMap { account -> (Account, Handle)? in
            guard account.state.isActive, let handle = account.handle,
                !names.handleDomains.contains(where: { handle.bytes == $0 || handle.bytes.ends(with: "." + $0) })
            else { return nil }
            return (account, handle)
        }
        return Array(found.prefix(Self.outsideHandlesMax))
    }

    /// A handle must name its account by a text in DNS or by a file (specs/handle).
    private func proof(of handle: Handle, _ did: DID) -> Finding {
        let record = "_atproto.\(handle). TXT \"did=\(did)\""
        do throws(DNSError) {
            let claims = try dns.txt("_atproto." + handle.bytes).filter { $0.starts(with: "did=") }
            if claims == ["did=" + did.bytes] { return .fine("_atproto.\(handle) names \(did)") }
            if !claims.isEmpty {
                return .wrong(
                    "_atproto.\(handle) says \(claims.map(\.description).joined(separator: " and ")), not did=\(did)",
                    "at its DNS provider, this alone: \(record)")
            }
        } catch {
            return Self.dnsFailure("_atproto." + handle.bytes, error)
        }
        var request = HTTPRequest(
            .get, "https://" + handle.bytes + "/.well-known/atproto-did", sizeMax: 4_096,
            redirects: .followed(max: 3))
        request.deadlineMilliseconds = Self.deadlineMilliseconds
        if let answer = try? strictClient.send(request), answer.status == 200,
            Bytes(answer.body).trimming(" \n\r\t") == did.bytes
        {
            return .fine("https://\(handle)/.well-known/atproto-did names \(did)")
        }
        return .wrong("nothing says that \(handle) is \(did)", "at its DNS provider: \(record)")
    }

    // MARK: Certificates

    private func handleHost(of domain: Bytes) -> Bytes {
        Self.handleHosts(names, accounts).first { $0.ends(with: "." + domain) } ?? Self.example(of: domain)
    }

    private func certificate(of host: Bytes) -> Finding {
        guard Origin(front).isSecure else { return .skipped("\(front) is plain HTTP") }
        let found: PeerCertificate
        do throws(HTTPClientError) {
            guard let shown = try client.connect(url("/", host: host)).certificate else {
                return .wrong("\(host) shows no certificate", "see docs/install.md", lines(.certificate))
            }
            found = shown
        } catch {
            return .wrong(
                "no TLS connection to \(host): \(error)",
                "does the web server listen there, and has it a certificate for this name?", lines(.certificate))
        }
        guard found.holds(for: host) else {
            let listed = found.names.map(\.description).joined(separator: ", ")
            return .wrong(
                "the certificate that \(host) gets is for other names (\(listed))",
                "get one for this name too, and give it to the web server", lines(.certificate))
        }
        guard let notAfter = Self.openSSLDate(found.notAfter) else {
            return .warning("its last day is not known (\(found.notAfter))", "look at it with openssl s_client")
        }
        let days = (notAfter.seconds - clock.now().seconds) / 86_400
        if notAfter < clock.now() {
            return .wrong(
                "the certificate expired at \(notAfter.iso8601)", "renew it (certbot renew) and reload the web server",
                lines(.certificate))
        }
        do throws(HTTPClientError) {
            _ = try strictClient.connect(url("/", host: host))
        } catch {
            return .wrong(
                "the certificate of \(host) is not trusted (issuer \(found.issuer))",
                "give the web server the whole chain (fullchain.pem) of an authority that browsers know",
                lines(.certificate))
        }
        if days < Self.certificateWarningDays {
            return .warning(
                "the certificate expires in \(days) days", "is its renewal working? certbot renew --dry-run")
        }
        return .fine("good for \(days) days, for \(found.names.map(\.description).joined(separator: ", "))")
    }

    /// `Nov  4 06:06:44 2026 GMT`, as OpenSSL writes it, by way of the form that HTTP has.
    static func openSSLDate(_ text: Bytes) -> Timestamp? {
        let parts = text.split(on: 0x20).filter { !$0.isEmpty }
        guard parts.count == 5, parts[4] == "GMT" else { return nil }
        return HTTPDate.parse("Day, " + parts[1] + " " + parts[0] + " " + parts[3] + " " + parts[2] + " GMT")
    }

    // MARK: Paths

    /// Each path that belongs to the responder, one address under it, and who misses it when it leads elsewhere. What
    /// it answers does not matter here: that it answers does.
    static let pathsOfService: [(path: Bytes, asked: Bytes, meaning: String)] = [
        ("/xrpc", "/xrpc/_health", "nothing works without it"),
        ("/oauth", "/oauth/jwks", "nobody can sign in with OAuth, and links to other services fail"),
        ("/@atproto", "/@atproto/doctor", "the pages of OAuth sign-in miss their parts"),
        ("/account", "/account", "nobody gets at the pages of their account"),
        (adminPath, "/admin", "the operator doesn't get at the administration"),
        (
            "/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource",
            "OAuth clients don't find the server"
        ),
        (
            "/.well-known/oauth-authorization-server", "/.well-known/oauth-authorization-server",
            "OAuth clients don't find the server"
        ),
        ("/.well-known/did.json", "/.well-known/did.json", "other services can't check what this one signs"),
        ("/.well-known/atproto-did", "/.well-known/atproto-did", "handles under this server's domains don't resolve"),
        ("/.well-known/change-password", "/.well-known/change-password", "password managers don't find the page"),
    ]

    /// The responder names each answer; a web server that answers by itself does not.
    private static func isOurs(_ response: HTTPResponse) -> Bool { response["x-request-id"]?.isEmpty == false }

    private func path(_ path: Bytes, _ asked: Bytes, _ meaning: String) -> Finding {
        let url = url(asked)
        do throws(HTTPClientError) {
            let response = try get(url)
            if Self.isOurs(response) { return .fine("reaches the responder (\(response.status))") }
            switch response.status {
            case 502, 503, 504:
                return .wrong(
                    "\(url) answers \(response.status): the web server does not reach the responder",
                    "is \(paths.xrpcSocket) the socket in its configuration, and is its user in the socket's group?")
            default:
                return .wrong(
                    "\(url) answers \(response.status), and not from the responder: \(meaning)",
                    "let the web server hand this path on", lines(.path(path)))
            }
        } catch {
            return .wrong(
                "\(url) is not answered: \(error)",
                "does the web server run? If only this machine can't reach it (no hairpin NAT): --front URL, "
                    + "or SKYSTEAD_HOST_OVERRIDES")
        }
    }

    /// The responder must be told the host that was asked: by it, it knows whose document is wanted.
    private func hostName() -> Finding {
        if names.isLocal { return .skipped(Self.localOnly) }
        let url = url("/.well-known/did.json")
        guard let response = try? get(url), Self.isOurs(response) else {
            return .skipped("\(url) does not reach the responder: see its path")
        }
        let wanted = "\"" + names.serviceDID + "\""
        guard response.status == 200, Bytes(response.body).contains(wanted) else {
            return .wrong(
                "\(url) answers \(response.status): the responder was not told the host \(names.host)",
                "hand the host on as it was asked", lines(.host))
        }
        return .fine("the responder is told the host")
    }

    private func handleHosts(_ domain: Bytes) -> Finding {
        if names.isLocal { return .skipped(Self.localOnly) }
        let account = accounts.first { $0.state.isActive && $0.handle?.bytes.ends(with: "." + domain) == true }
        let host = account?.handle?.bytes ?? Self.example(of: domain)
        let url = url("/.well-known/atproto-did", host: host)
        let response: HTTPResponse
        do throws(HTTPClientError) {
            response = try get(url)
        } catch {
            return .wrong(
                "\(url) is not answered: \(error)", "serve the names of the handles too", lines(.handleHosts))
        }
        guard Self.isOurs(response) else {
            return .wrong(
                "\(url) answers \(response.status), and not from the responder: handles don't resolve",
                "serve the names of the handles too", lines(.handleHosts))
        }
        guard let account else { return .fine("\(host) reaches the responder; there is no account to ask for yet") }
        guard response.status == 200, Bytes(response.body).trimming(" \n\r\t") == account.did.bytes else {
            return .wrong(
                "\(url) answers \(response.status), not \(account.did): the responder was not told the host",
                "hand the host on as it was asked", lines(.host))
        }
        return .fine("\(host) is \(account.did)")
    }

    private func firehose() -> Finding {
        let url = url(Firehose.path)
        let head: Bytes
        let key: Bytes
        do {
            key = try WebSocketHandshake.key(entropy: .system)
            let connection = try client.connect(url, deadlineMilliseconds: Self.deadlineMilliseconds)
            let origin = Origin(front)
            try connection.send(
                WebSocketHandshake.request(host: origin.host + origin.port, target: Firehose.path, key: key))
            let received = try connection.receive { $0.range(of: "\r\n\r\n") != nil }
            head = received.upTo(received.range(of: "\r\n\r\n").map { $0 + 4 } ?? received.count)
        } catch {
            return .wrong("\(url) is not answered: \(error)", "see the path /xrpc above", lines(.webSocket))
        }
        if WebSocketHandshake.isAccepted(head, key: key) { return .fine("a WebSocket is opened") }
        let answer = head.upTo(head.position(of: 0x0D) ?? min(head.count, 60))
        return .wrong(
            "\(url) does not become a WebSocket (\(answer)): no relay can follow this server",
            "hand this one path to \(paths.streamSocket), with its Upgrade", lines(.webSocket))
    }

    // MARK: Bodies

    private func uploadSize() -> Finding {
        let size = settings[Settings.blobSizeMax]
        let url = url(Self.uploadPath)
        do throws(HTTPClientError) {
            // The largest is only announced: whoever would not take it says so before it comes (RFC 9110 §10.1.1).
            let connection = try client.connect(url, deadlineMilliseconds: Self.deadlineMilliseconds)
            let origin = Origin(front)
            let head: Bytes =
                "POST " + Self.uploadPath + " HTTP/1.1\r\nHost: " + origin.host + origin.port
                + "\r\nContent-Type: application/octet-stream\r\nExpect: 100-continue\r\nContent-Length: "
                + Bytes(String(size)) + "\r\n\r\n"
            try connection.send(head.array)
            let answer = try connection.receive { $0.position(of: 0x0A) != nil }
            if answer.starts(with: "HTTP/1.1 413") { return tooSmall(size) }
            // A smaller one is sent: some find out only then.
            var request = HTTPRequest(
                .post, url, headers: [("Content-Type", "application/octet-stream")],
                body: Bytes([UInt8](repeating: 0, count: min(size, Self.sentBodySize))), sizeMax: Self.answerSizeMax,
                redirects: .returned)
            request.deadlineMilliseconds = Self.deadlineMilliseconds * 4
            let response = try client.send(request)
            if response.status == 413 { return tooSmall(min(size, Self.sentBodySize)) }
            guard Self.isOurs(response) else {
                return .wrong(
                    "\(url) answers \(response.status), and not from the responder", "let the web server hand it on",
                    lines(.bodySize))
            }
            // Caddy 2.6.2 cuts a body at its limit and refuses nothing: only an upload with an account would show that.
            return .fine("\(size) bytes were announced and not refused (SKYSTEAD_BLOB_SIZE_MAX)")
        } catch {
            return .wrong("an upload breaks off: \(error)", "let the web server take it whole", lines(.bodySize))
        }
    }

    private func tooSmall(_ size: Int) -> Finding {
        .wrong(
            "the web server refuses an upload of \(size) bytes, which SKYSTEAD_BLOB_SIZE_MAX allows",
            "raise its limit for this path", lines(.bodySize))
    }

    private func compression() -> Finding {
        guard let database, let account = accounts.first(where: { $0.state.isActive }) else {
            return .skipped("there is no account yet whose repository could be asked for")
        }
        var asked: [Bytes] = ["/xrpc/com.atproto.sync.getRepo?did=" + account.did.bytes]
        if let blobs = try? BlobParts.store(settings, paths, database, clock),
            let (owner, cid) = accounts.lazy.compactMap({ account in
                (try? blobs.list(of: account.did, limit: 1))?.first.map { (account.did, $0) }
            }).first
        {
            asked.append("/xrpc/com.atproto.sync.getBlob?did=" + owner.bytes + "&cid=" + Bytes(cid.text))
        }
        for path in asked {
            var request = HTTPRequest(
                .get, url(path), headers: [("Accept-Encoding", "gzip, br, zstd, deflate")], sizeMax: .max / 2,
                redirects: .returned)
            request.deadlineMilliseconds = Self.deadlineMilliseconds
            let head: HTTPResponseHead
            do throws(HTTPClientError) {
                // The rest of it is not wanted.
                head = try client.open(request).head
            } catch {
                return .wrong("\(url(path)) is not answered: \(error)", "see /xrpc above")
            }
            if let encoding = head["content-encoding"], encoding != "identity" {
                return .wrong(
                    "\(url(path)) comes compressed (\(encoding)): others hand it on as it is, and images break",
                    "compress nothing of this service", lines(.compression))
            }
        }
        return .fine(asked.count == 2 ? "repositories and blobs come as they are" : "repositories come as they are")
    }

    private func crossOrigin() -> Finding {
        let url = url("/xrpc/_health")
        guard let response = try? get(url), Self.isOurs(response) else {
            return .skipped("\(url) does not reach the responder: see its path")
        }
        let values = response.headers.filter { $0.name == "access-control-allow-origin" }.map(\.value)
        guard values == ["*"] else {
            let shown = values.map(\.description).joined(separator: " and ")
            return .wrong(
                "\(url) allows origins as '\(shown)', not once as '*': clients in browsers fail",
                "leave these headers to the responder", lines(.crossOrigin))
        }
        return .fine("clients in browsers may ask")
    }
}

extension Bytes {
    /// Where `part` begins, or nil.
    fileprivate func range(of part: Bytes) -> Int? {
        guard count >= part.count else { return nil }
        return (0...(count - part.count)).first { slice($0..<($0 + part.count)) == part }
    }

    fileprivate func contains(_ part: Bytes) -> Bool { range(of: part) != nil }
}
