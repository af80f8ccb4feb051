internal import ATProto
internal import Accounts
internal import Assembly
internal import Base
internal import Glibc
internal import Net
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
    /// The most of an upload that is really sent, and how long that may take.
    static let sentBodySizeMax = 128 << 20
    static let sentBodyMilliseconds = 60_000

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
    static func example(of domain: Bytes) -> Bytes { "skystead-doctor." + domain }

    /// For each handle domain the name of an account there, or else of nobody.
    static func handleHosts(_ names: Names, _ accounts: [Account]) -> [Bytes] {
        names.handleDomains.flatMap { domain in
            let handle = accounts.first { $0.state.isActive && $0.handle?.bytes.ends(with: "." + domain) == true }
            return [handle?.handle?.bytes, example(of: domain)].compactMap { $0 }
        }
    }

    func url(_ path: Bytes, host: Bytes? = nil) -> Bytes {
        guard let host else { return front + path }
        let origin = Origin(front)
        return origin.scheme + host + origin.port + path
    }

    func lines(_ fault: WebFault) -> WebLines {
        WebLines(fault, names, paths, blobSizeMax: settings[Settings.blobSizeMax])
    }

    func get(
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
}
