internal import ATProto
internal import Accounts
internal import Assembly
internal import Base
internal import Net
internal import Repos

/// The web server in front: does each path, host and answer come through as it should?
extension Outside {
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
    static func isOurs(_ response: HTTPResponse) -> Bool { response["x-request-id"]?.isEmpty == false }

    func path(_ path: Bytes, _ asked: Bytes, _ meaning: String) -> Finding {
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
    func hostName() -> Finding {
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

    func handleHosts(_ domain: Bytes) -> Finding {
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

    func firehose() -> Finding {
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

    func compression() -> Finding {
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

    func crossOrigin() -> Finding {
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
    func range(of part: Bytes) -> Int? {
        guard count >= part.count else { return nil }
        return (0...(count - part.count)).first { slice($0..<($0 + part.count)) == part }
    }

    fileprivate func contains(_ part: Bytes) -> Bool { range(of: part) != nil }
}
