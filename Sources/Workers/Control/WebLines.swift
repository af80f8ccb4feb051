internal import Assembly
internal import Base

/// What is missing or wrong in a web server's configuration: the one table of the lines that mend it. They are those of
/// conf/nginx and conf/caddy, with the names and paths of this server.
enum WebFault {
    /// Requests under this path don't reach the responder.
    case path(Bytes)
    case webSocket
    /// The responder is told another host than the one that was asked.
    case host
    /// The handles' names are not served.
    case handleHosts
    case bodySize
    case compression
    case certificate
    case crossOrigin
}

/// Lines for each web server.
struct WebLines: Equatable {
    private let nginx: [String]
    private let caddy: [String]

    subscript(server: WebServer) -> [String] {
        switch server {
        case .nginx: nginx
        case .caddy: caddy
        }
    }

    /// The lines that mend `fault` on the server of these settings.
    init(_ fault: WebFault, _ names: Names, _ paths: Paths, blobSizeMax: Int) {
        let hosts = ([names.host] + names.handleDomains.map { "*." + $0 }).map(\.description)
        let toResponder = ["include skystead_fastcgi_params;", "fastcgi_pass skystead_xrpc;"]
        func caddyProxy(_ matcher: String, _ inside: [String] = [], to socket: String? = nil) -> [String] {
            ["handle \(matcher) {"] + inside.map { "    \($0)" } + [
                "    reverse_proxy unix/\(socket ?? paths.xrpcSocket) {", "        import skystead_fastcgi", "    }",
                "}",
            ]
        }
        switch fault {
        case .path(let path) where path == Outside.adminPath:
            nginx = ["location \(path) { include skystead_fastcgi_params; fastcgi_pass skystead_admin; }"]
            caddy = caddyProxy("\(path)*", to: paths.adminSocket)
        case .path(let path):
            nginx = ["location \(path) { \(toResponder.joined(separator: " ")) }"]
            caddy = caddyProxy("\(path)*")
        case .webSocket:
            nginx = [
                "location = \(Firehose.path) {", "    proxy_pass http://skystead_stream;",
                "    proxy_http_version 1.1;", "    proxy_set_header Host $host;",
                "    proxy_set_header Upgrade $skystead_upgrade;",
                "    proxy_set_header Connection $skystead_connection;", "    proxy_buffering off;",
                "    proxy_read_timeout 1h;", "}",
            ]
            caddy = [
                "handle \(Firehose.path) {", "    reverse_proxy unix/\(paths.streamSocket) {",
                "        flush_interval -1", "    }", "}",
            ]
        case .host:
            nginx = ["fastcgi_param SKYSTEAD_HOST $host;", "fastcgi_param HTTP_HOST $host;"]
            caddy = ["env SKYSTEAD_HOST {http.request.host}"]
        case .handleHosts:
            nginx = ["server_name \(hosts.joined(separator: " "));"]
            caddy = ["\(hosts.joined(separator: ", ")) {"]
        case .bodySize:
            let megabytes = (blobSizeMax + (1 << 20) - 1) >> 20
            nginx =
                ["location = \(Outside.uploadPath) {", "    client_max_body_size \(megabytes)m;"]
                + toResponder.map { "    \($0)" } + ["}"]
            // Caddy cuts a chunked body at max_size, so the responder's limit must be met first.
            caddy = caddyProxy(
                Outside.uploadPath.description, ["request_body {", "    max_size \(megabytes + 1)MiB", "}"])
        case .compression:
            nginx = ["gzip off;"]
            caddy = ["# no `encode` in the site of \(names.host): take it out"]
        case .certificate:
            nginx = [
                "server_name \(hosts.joined(separator: " "));",
                "ssl_certificate     /etc/letsencrypt/live/\(names.host)/fullchain.pem;",
                "ssl_certificate_key /etc/letsencrypt/live/\(names.host)/privkey.pem;",
                "# made by: certbot certonly --preferred-challenges dns"
                    + hosts.map { " -d '\($0)'" }.joined(),
            ]
            caddy = [
                "\(hosts.joined(separator: ", ")) {",
                "    tls /etc/skystead/fullchain.pem /etc/skystead/privkey.pem  # or with a DNS plugin: tls { dns … }",
            ]
        case .crossOrigin:
            nginx = ["# no add_header Access-Control-… for \(names.host): take them out"]
            caddy = ["# no `header Access-Control-…` for \(names.host): take it out"]
        }
    }
}
