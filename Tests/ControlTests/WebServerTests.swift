import Foundation
import Testing

@testable import Assembly
@testable import Base
@testable import skystead

/// The shipped configuration, as `up` puts its values in.
@Suite struct WebServerTests {
    static let conf = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../conf").standardized

    static func values(_ environment: [String: String] = [:], user: String? = nil) throws -> WebServerValues {
        let given = environment.merging(["SKYSTEAD_SETTINGS_FILE": "", "SKYSTEAD_DATA_DIR": "/d"]) { mine, _ in mine }
        let settings = try Settings.load(environment: given.map { (Bytes($0.key), Bytes($0.value)) }) {
            (path) throws(SystemError) in throw SystemError("open \(path)", errno: ENOENT)
        }
        return WebServerValues(
            names: Names(settings), paths: Paths(settings), port: settings[Settings.port], workerUser: user)
    }

    static func rendered(_ path: String, _ values: WebServerValues) throws -> String {
        values.rendered(try String(contentsOf: conf.appending(path: path), encoding: .utf8))
    }

    @Test func nothingOfTheShippedPlacesIsLeft() throws {
        let values = try Self.values()
        for server in WebServer.allCases {
            for file in server.files {
                let text = try Self.rendered("\(server.rawValue)/\(file)", values)
                let lines = text.split(separator: "\n").filter { !$0.drop { $0 == " " || $0 == "\t" }.hasPrefix("#") }
                for line in lines {
                    for place in ["/run/skystead", "/var/lib/skystead", "home.example", "/etc/letsencrypt", "443"] {
                        #expect(!line.contains(place), "\(file): \(line)")
                    }
                }
            }
        }
    }

    @Test func nginxListensOnOnePlainPort() throws {
        let text = try Self.rendered("nginx/skystead.conf", try Self.values(["SKYSTEAD_PORT": "8123"]))
        let listens = text.split(separator: "\n").filter { $0.contains("listen ") }.map { $0.drop { $0 == " " } }
        #expect(listens == ["listen 127.0.0.1:8123 default_server;", "listen 127.0.0.1:8123;"])
        let active = text.split(separator: "\n").filter { !$0.drop { $0 == " " }.hasPrefix("#") }
        #expect(!active.contains { $0.contains("ssl") })
        #expect(text.contains("    server_name localhost *.localhost 127.0.0.1 *.test;\n"))
        #expect(text.contains("access_log /d/log/skystead.log skystead;"))
        #expect(text.contains("server unix:/d/run/xrpc.sock;"))
    }

    @Test func namesComeFromTheSettings() throws {
        let values = try Self.values([
            "SKYSTEAD_HOST": "my.example", "SKYSTEAD_HANDLE_DOMAINS": "my.example,other.example",
        ])
        #expect(
            try Self.rendered("nginx/skystead.conf", values)
                .contains("server_name my.example *.my.example 127.0.0.1 *.other.example;"))
        #expect(
            try Self.rendered("caddy/skystead.caddy", values)
                .contains(
                    "http://my.example:8080, http://*.my.example:8080, http://127.0.0.1:8080, "
                        + "http://*.other.example:8080 {\n"))
    }

    @Test func onlyRootNamesAUser() throws {
        let file = "nginx/standalone.conf"
        #expect(try Self.rendered(file, try Self.values(user: "root")).contains("\nuser root;\n"))
        #expect(try !Self.rendered(file, try Self.values()).contains("\nuser "))
    }

    /// X-Accel-Redirect is heard where blobs and repositories are asked for, and only for the names of their files.
    @Test func onlyGetBlobAndGetRepoMayNameAFile() throws {
        let text = try String(contentsOf: Self.conf.appending(path: "nginx/skystead_locations.conf"), encoding: .utf8)
        let ignoring = text.split(separator: "\n").filter { $0.contains("fastcgi_ignore_headers") }
        #expect(ignoring.count == 3)
        #expect(ignoring.filter { !$0.contains("X-Accel-Redirect") }.count == 2)
        #expect(text.contains("internal;\n    alias /var/lib/skystead/blobs/$skystead_blob;"))
        #expect(text.contains("internal;\n    alias /var/lib/skystead/cars/$skystead_car;"))
        #expect(text.split(separator: "\n").filter { $0.contains("alias ") }.count == 2)
        for line in text.split(separator: "\n") { #expect(!line.contains("fastcgi_keep_conn on")) }
    }
}
