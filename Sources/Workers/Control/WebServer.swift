internal import Assembly
internal import Base
internal import Glibc

/// A web server that `up` starts with the shipped configuration.
enum WebServer: String, CaseIterable {
    case nginx
    case caddy

    /// Where Debian puts the program. Not looked for in PATH: /usr/sbin is not in an ordinary user's.
    var program: String {
        switch self {
        case .nginx: "/usr/sbin/nginx"
        case .caddy: "/usr/bin/caddy"
        }
    }

    /// The shipped files that make up its configuration, the main one first.
    var files: [String] {
        switch self {
        case .nginx: ["standalone.conf", "skystead.conf", "skystead_locations.conf", "skystead_fastcgi_params"]
        case .caddy: ["Caddyfile", "skystead.caddy"]
        }
    }

    /// The command that serves from the configuration in `directory`.
    func command(_ directory: String) -> [String] {
        switch self {
        case .nginx: [program, "-p", directory, "-e", "stderr", "-c", "\(directory)/standalone.conf"]
        case .caddy: [program, "run", "--config", "\(directory)/Caddyfile", "--adapter", "caddyfile"]
        }
    }
}

/// What of the shipped configuration is replaced, and nothing more. docs/web-servers.md lists the same.
struct WebServerValues {
    var names: Names
    var paths: Paths
    var port: Int
    /// The user that nginx's workers run as; nil when nginx is not started by root.
    var workerUser: String?

    /// A shipped file as it is used: directories, names, and the part between `tls: begin` and `tls: end`.
    func rendered(_ text: String) -> String {
        var out = ""
        var inTLS = false
        var pendingListen = false
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            let word = line.drop { $0 == " " }
            if word == "# tls: begin" {
                inTLS = true
                pendingListen = line.first == " "
            } else if word == "# tls: end" {
                inTLS = false
                out += pendingListen ? "    \(listen)\n" : "\(reject)\n"
            } else if !inTLS {
                out += "\(replaced(String(line)))\n"
            }
        }
        out.removeLast()
        return out
    }

    private var listen: String { "listen 127.0.0.1:\(port);" }

    /// In place of the servers that answer for names that are not ours.
    private var reject: String {
        """
        server {
            listen 127.0.0.1:\(port) default_server;
            server_name _;
            access_log off;
            return 421;
        }
        """
    }

    /// The hosts of the service: on localhost those that a browser resolves to this machine, and the handles' names.
    private var hosts: [String] {
        let service = names.host.description
        let handles = names.handleDomains.map { "*.\($0)" }
        // The address itself is how `check` asks when no name leads here.
        let own = [service, "*.\(service)", "127.0.0.1"]
        return own + handles.filter { !own.contains($0) }
    }

    private func replaced(_ line: String) -> String {
        if line.hasPrefix("user ") { return workerUser.map { "user \($0);" } ?? "" }
        if line.hasPrefix("home.example, *.home.example {") {
            return hosts.map { "http://\($0):\(port)" }.joined(separator: ", ") + " {"
        }
        return
            line
            .replacingAll(
                "server_name home.example *.home.example;", by: "server_name \(hosts.joined(separator: " "));"
            )
            .replacingAll("http:// {", by: "http://:\(port) {")
            .replacingAll("/run/skystead", by: paths.run)
            .replacingAll("/var/lib/skystead", by: paths.data)
            .replacingAll("/var/log/nginx", by: paths.logs)
    }
}

extension String {
    /// `self` with every `part` replaced. The standard library's `replacing` would link its regular expressions.
    fileprivate func replacingAll(_ part: String, by other: String) -> String {
        let bytes = Array(utf8)
        let wanted = Array(part.utf8)
        guard !wanted.isEmpty, bytes.count >= wanted.count else { return self }
        var out: [UInt8] = []
        var index = 0
        while index < bytes.count {
            if index + wanted.count <= bytes.count, bytes[index..<(index + wanted.count)].elementsEqual(wanted) {
                out.append(contentsOf: other.utf8)
                index += wanted.count
            } else {
                out.append(bytes[index])
                index += 1
            }
        }
        return String(decoding: out, as: UTF8.self)
    }
}

extension WebServer {
    /// The largest shipped file.
    static let fileSizeMax = 1 << 20

    /// Writes the shipped configuration from `conf` into `directory`, with `values` put in.
    func writeConfiguration(from conf: String, to directory: String, _ values: WebServerValues) throws {
        try Files.makeDirectory(directory, mode: 0o755)
        if self == .nginx { try Files.makeDirectory("\(values.paths.run)/nginx", mode: 0o755) }
        for file in files {
            let shipped = try Files.read("\(conf)/\(rawValue)/\(file)", sizeMax: Self.fileSizeMax)
            let text = values.rendered(String(decoding: shipped, as: UTF8.self))
            try Files.write(Array(text.utf8), to: "\(directory)/\(file)", mode: 0o644)
        }
    }
}
