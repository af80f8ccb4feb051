internal import ATProto
internal import Accounts
internal import Assembly
internal import Base
internal import Net

/// What the names of this server lead to: DNS, handles, certificates.
extension Outside {
    static let localOnly = "SKYSTEAD_HOST is localhost: nobody else can reach this server by a name"

    private func lookUp(_ name: Bytes) -> Result<[Bytes], DNSError> {
        Result { () throws(DNSError) -> [Bytes] in try dns.addresses(name) }
    }

    func address(_ name: Bytes) -> Finding {
        if names.isLocal { return .skipped(Self.localOnly) }
        switch lookUp(name) {
        case .success(let found) where found.isEmpty:
            return .wrong(
                "\(name) has no address in DNS", "at your DNS provider: \(name). A (this machine's IPv4 address)")
        case .success(let found): return .fine(found.map(\.description).joined(separator: ", "))
        case .failure(let error): return Self.dnsFailure(name, error)
        }
    }

    func wildcard(_ domain: Bytes) -> Finding {
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
    var outsideHandles: [(Account, Handle)] {
        let found = accounts.compactMap { account -> (Account, Handle)? in
            guard account.state.isActive, let handle = account.handle,
                !names.handleDomains.contains(where: { handle.bytes == $0 || handle.bytes.ends(with: "." + $0) })
            else { return nil }
            return (account, handle)
        }
        return Array(found.prefix(Self.outsideHandlesMax))
    }

    /// A handle must name its account by a text in DNS or by a file (specs/handle).
    func proof(of handle: Handle, _ did: DID) -> Finding {
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

    func handleHost(of domain: Bytes) -> Bytes {
        Self.handleHosts(names, accounts).first { $0.ends(with: "." + domain) } ?? Self.example(of: domain)
    }

    func certificate(of host: Bytes) -> Finding {
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
}
