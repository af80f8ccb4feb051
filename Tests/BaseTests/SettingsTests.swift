import Foundation
import Testing

@testable import Base

/// Settings: the parser against an environment and files given as values; the documents against the committed ones.
@Suite struct SettingsTests {
    /// Loads from text, as `KEY=value` lines, and files by path.
    static func load(
        _ environment: [String: String], files: [String: String] = [:]
    ) throws(Settings.Invalid) -> Settings {
        let pairs = environment.map { (Bytes($0.key), Bytes($0.value)) }.sorted { $0.0 < $1.0 }
        return try Settings.load(environment: pairs) { path throws(SystemError) in
            guard let text = files[path] else { throw SystemError("open \(path)", errno: ENOENT) }
            return Bytes(text)
        }
    }

    struct Bad: CustomTestStringConvertible, Sendable {
        let name: String
        var environment: [String: String] = [:]
        var files: [String: String] = [:]
        /// A part of the problem's sentence.
        let problem: String
        var testDescription: String { name }
    }

    static let file = ["SKYSTEAD_SETTINGS_FILE": "f"]
    static let bad: [Bad] = [
        Bad(
            name: "unknown key names the nearest", environment: ["SKYSTEAD_PROT": "1"],
            problem: "SKYSTEAD_PROT (environment) is not a setting. Did you mean SKYSTEAD_PORT?"),
        Bad(
            name: "unknown key in a file", environment: file, files: ["f": "PATH=/"], problem: "PATH (f) is not a"),
        Bad(name: "port 0", environment: ["SKYSTEAD_PORT": "0"], problem: "'0' is not a whole number from 1 to 65535"),
        Bad(name: "port with a sign", environment: ["SKYSTEAD_PORT": "+80"], problem: "'+80' is not a whole number"),
        Bad(
            name: "port past 64 bits", environment: ["SKYSTEAD_PORT": "99999999999999999999"], problem: "is not a whole"
        ),
        Bad(
            name: "flag in another word", environment: ["SKYSTEAD_INVITE_REQUIRED": "true"], problem: "is not yes or no"
        ),
        Bad(
            name: "size that overflows", environment: ["SKYSTEAD_BLOB_SIZE_MAX": "99999999999999999G"],
            problem: "is not a size"),
        Bad(name: "size without digits", environment: ["SKYSTEAD_BLOB_SIZE_MAX": "M"], problem: "is not a size"),
        Bad(name: "host with a port", environment: ["SKYSTEAD_HOST": "a.example:80"], problem: "is not a host name"),
        Bad(name: "host in upper case", environment: ["SKYSTEAD_HOST": "A.example"], problem: "is not a host name"),
        Bad(
            name: "URL with a slash at the end", environment: ["SKYSTEAD_PLC_URL": "https://a/"],
            problem: "is not a URL"),
        Bad(name: "URL of another scheme", environment: ["SKYSTEAD_PLC_URL": "file:///etc"], problem: "is not a URL"),
        Bad(
            name: "http in public",
            environment: ["SKYSTEAD_HOST": "a.example", "SKYSTEAD_PUBLIC_URL": "http://a.example"],
            problem: "SKYSTEAD_PUBLIC_URL must be https://"),
        Bad(
            name: "override without an address", environment: ["SKYSTEAD_HOST_OVERRIDES": "a.example="],
            problem: "is not name=address"),
        Bad(
            name: "a client by http", environment: ["SKYSTEAD_OAUTH_TRUSTED_CLIENTS": "http://a.example.com/c"],
            problem: "is not client ids"),
        Bad(
            name: "a client without a path", environment: ["SKYSTEAD_OAUTH_TRUSTED_CLIENTS": "https://a.example.com"],
            problem: "is not client ids"),
        Bad(
            name: "no second client",
            environment: ["SKYSTEAD_OAUTH_TRUSTED_CLIENTS": "https://a.example.com/c,"], problem: "is not client ids"),
        Bad(
            name: "wildcard among private hosts", environment: ["SKYSTEAD_ALLOW_PRIVATE_HOSTS": "*"],
            problem: "is not host names"),
        Bad(
            name: "private host with port 0", environment: ["SKYSTEAD_ALLOW_PRIVATE_HOSTS": "a.example:0"],
            problem: "is not host names"),
        Bad(
            name: "mail without a sender", environment: ["SKYSTEAD_SMTP_URL": "smtp://x.example"],
            problem: "SKYSTEAD_SMTP_URL needs SKYSTEAD_MAIL_FROM"),
        Bad(
            name: "mail address with an @ in the user",
            environment: [
                "SKYSTEAD_SMTP_URL": "smtps://me@example.com:hunter2@smtp.example.com",
                "SKYSTEAD_MAIL_FROM": "a@example.com",
            ], problem: "its value is not smtps://USER:PASSWORD@HOST:465 or"),
        Bad(
            name: "sender that is no address", environment: ["SKYSTEAD_MAIL_FROM": "home"],
            problem: "'home' is not an address, or NAME <ADDRESS>"),
        Bad(
            name: "AppView without a DID", environment: ["SKYSTEAD_APPVIEW_URL": "https://a.example"],
            problem: "SKYSTEAD_APPVIEW_URL needs SKYSTEAD_APPVIEW_DID"),
        Bad(
            name: "AppView without a URL", environment: ["SKYSTEAD_APPVIEW_DID": "did:web:a.example"],
            problem: "SKYSTEAD_APPVIEW_DID needs SKYSTEAD_APPVIEW_URL"),
        Bad(
            name: "AppView's pictures alone",
            environment: ["SKYSTEAD_APPVIEW_IMAGE_URL": "https://a.example/{size}/{did}/{cid}"],
            problem: "SKYSTEAD_APPVIEW_IMAGE_URL needs SKYSTEAD_APPVIEW_URL"),
        Bad(
            name: "one picture for all",
            environment: [
                "SKYSTEAD_APPVIEW_URL": "https://a.example", "SKYSTEAD_APPVIEW_DID": "did:web:a.example",
                "SKYSTEAD_APPVIEW_IMAGE_URL": "https://a.example/{did}",
            ], problem: "SKYSTEAD_APPVIEW_IMAGE_URL must have {did} and {cid} in it"),
        Bad(
            name: "short sealing key", environment: ["SKYSTEAD_SEALING_KEY": "00ff"],
            problem: "SKYSTEAD_SEALING_KEY must be 64 hexadecimal digits"),
        Bad(name: "file that is not there", environment: file, problem: "SKYSTEAD_SETTINGS_FILE: open f: No such file"),
        Bad(
            name: "line without =", environment: file, files: ["f": "\nSKYSTEAD_PORT"],
            problem: "f line 2: expected KEY=value"),
        Bad(
            name: "open quote", environment: file, files: ["f": "SKYSTEAD_HOST=\"a"], problem: "quote is not closed"
        ),
        Bad(
            name: "lone quote", environment: file, files: ["f": "SKYSTEAD_HOST=\""], problem: "quote is not closed"),
        Bad(name: "expansion", environment: file, files: ["f": "SKYSTEAD_HOST=$HOME"], problem: "not read alike"),
        Bad(name: "continued line", environment: file, files: ["f": "SKYSTEAD_HOST=a\\\n"], problem: "not read alike"),
        Bad(
            name: "same key twice", environment: file, files: ["f": "SKYSTEAD_PORT=1\nSKYSTEAD_PORT=2"],
            problem: "f line 2: SKYSTEAD_PORT is there twice"),
        Bad(
            name: "a file that names a file", environment: file, files: ["f": "SKYSTEAD_SETTINGS_FILE=g"],
            problem: "can only be set in the environment"),
        Bad(
            name: "secret's file that is not there", environment: ["SKYSTEAD_ADMIN_PASSWORD_FILE": "s"],
            problem: "SKYSTEAD_ADMIN_PASSWORD_FILE: open s"),
        Bad(
            name: "_FILE of what is no secret", environment: ["SKYSTEAD_PORT_FILE": "s"], files: ["s": "1"],
            problem: "SKYSTEAD_PORT_FILE (environment) is not a setting"),
    ]

    @Test(arguments: bad) func isRefused(_ row: Bad) throws {
        let error = try #require(throws: Settings.Invalid.self) { try Self.load(row.environment, files: row.files) }
        #expect(error.problems.count == 1)
        #expect(error.problems.first?.contains(row.problem) == true, "\(error.problems)")
    }

    @Test func everyProblemIsTold() throws {
        let error = try #require(throws: Settings.Invalid.self) {
            try Self.load(["SKYSTEAD_PORT": "x", "SKYSTEAD_THREADS": "x", "SKYSTEAD_X": ""])
        }
        #expect(error.problems.count == 3)
    }

    @Test func aSecretIsNeverInAProblem() throws {
        let error = try #require(throws: Settings.Invalid.self) {
            try Self.load(["SKYSTEAD_SEALING_KEY": "hunter2", "SKYSTEAD_ADMIN_PASSWORDS": "hunter2"])
        }
        #expect(!error.problems.joined().contains("hunter2"))
    }

    @Test func theEnvironmentWinsOverTheFileOverTheDefault() throws {
        let settings = try Self.load(
            ["SKYSTEAD_SETTINGS_FILE": "f", "SKYSTEAD_PORT": "81"],
            files: ["f": "# a comment\n\nSKYSTEAD_PORT=82\r\n SKYSTEAD_THREADS = 7\n".replacing(" = ", with: "=")])
        #expect(settings[Settings.port] == 81)
        #expect(settings[Settings.threads] == 7)
        #expect(settings[Settings.drainSeconds] == 55)
        #expect(settings.source(of: "SKYSTEAD_PORT") == .environment)
        #expect(settings.source(of: "SKYSTEAD_THREADS") == .file("f"))
        #expect(settings.source(of: "SKYSTEAD_DRAIN_SECONDS") == .default)
    }

    @Test func theInstalledFileIsReadWhenItIsThere() throws {
        let settings = try Self.load([:], files: ["/etc/skystead/skystead.env": "SKYSTEAD_HOST='home.example'"])
        #expect(settings[Settings.host] == "home.example")
        let none = try Self.load(
            ["SKYSTEAD_SETTINGS_FILE": ""], files: ["/etc/skystead/skystead.env": "SKYSTEAD_HOST='home.example'"])
        #expect(none[Settings.host] == "localhost")
    }

    @Test func valuesHaveTheirMeaning() throws {
        let settings = try Self.load([
            "SKYSTEAD_BLOB_SIZE_MAX": "5M", "SKYSTEAD_INVITE_REQUIRED": "no",
            "SKYSTEAD_CRAWLERS": "https://a,https://b",
            "SKYSTEAD_HOST_OVERRIDES": "a.example=127.0.0.1:80", "SKYSTEAD_PUBLIC_URL": "http://localhost:1",
            "SKYSTEAD_CONTACT_EMAIL": "", "SKYSTEAD_THREADS": "", "SKYSTEAD_SHARED_DIR": "/x", "SKYSTEAD_TEST_X": "1",
            "SKYSTEAD_DNS_SERVERS": "127.0.0.1:53,[::1]:53",
            "SKYSTEAD_OAUTH_TRUSTED_CLIENTS": "https://a.example.com/c,https://b.example.com/d/e?f",
            "SKYSTEAD_ALLOW_PRIVATE_HOSTS": "localhost:2582,127.0.0.1,[::1]:9",
            "PATH": "/bin",
        ])
        #expect(settings[Settings.blobSizeMax] == 5 << 20)
        #expect(
            settings[Settings.oauthTrustedClients] == ["https://a.example.com/c", "https://b.example.com/d/e?f"])
        #expect(settings[Settings.inviteRequired] == false)
        #expect(settings[Settings.crawlers] == ["https://a", "https://b"])
        #expect(settings[Settings.hostOverrides] == ["a.example=127.0.0.1:80"])
        #expect(settings[Settings.publicURL] == "http://localhost:1")
        #expect(settings[Settings.contactEmail] == nil)
        #expect(settings[Settings.threads] == 24)
        #expect(settings[Settings.dnsServers].count == 2)
        #expect(settings[Settings.allowPrivateHosts] == ["localhost:2582", "127.0.0.1", "[::1]:9"])
        #expect(settings[Settings.databaseURL] == nil)
    }

    @Test func aSecretComesFromTheEnvironmentAFileOrACredential() throws {
        func password(_ settings: Settings) -> [UInt8]? { settings[Settings.adminPassword]?.withBytes { $0 } }
        let expected = Array("open sesame".utf8)
        #expect(try password(Self.load(["SKYSTEAD_ADMIN_PASSWORD": "open sesame"])) == expected)
        let fromFile = try Self.load(["SKYSTEAD_ADMIN_PASSWORD_FILE": "/s"], files: ["/s": "open sesame\n"])
        #expect(password(fromFile) == expected)
        #expect(fromFile.source(of: "SKYSTEAD_ADMIN_PASSWORD") == .file("/s"))
        let credential = try Self.load(
            ["CREDENTIALS_DIRECTORY": "/c"], files: ["/c/SKYSTEAD_ADMIN_PASSWORD": "open sesame\n"])
        #expect(password(credential) == expected)
        #expect(credential.dump.contains("SKYSTEAD_ADMIN_PASSWORD=•••  # credential /c/SKYSTEAD_ADMIN_PASSWORD\n"))
        #expect(!credential.dump.contains("sesame"))
    }

    @Test func theSettingsCanBeHandedOnAsAFile() throws {
        let given = try Self.load([
            "SKYSTEAD_PORT": "81", "SKYSTEAD_ADMIN_PASSWORD": "open sesame", "SKYSTEAD_CONTACT_EMAIL": "it's",
        ])
        let text = String(decoding: given.fileContents, as: UTF8.self)
        #expect(text == "SKYSTEAD_PORT='81'\nSKYSTEAD_ADMIN_PASSWORD='open sesame'\n")
        let again = try Self.load(Self.file, files: ["f": text])
        #expect(again[Settings.port] == 81)
        #expect(again[Settings.adminPassword]?.withBytes { $0 } == Array("open sesame".utf8))
    }

    @Test func theDumpHasEveryKeyOnce() throws {
        let lines = try Self.load(["SKYSTEAD_PORT": "81"]).dump.split(separator: "\n")
        #expect(lines.count == Settings.rows.count)
        #expect(lines.contains("SKYSTEAD_PORT=81  # environment"))
        #expect(lines.contains("SKYSTEAD_HOST=localhost  # default"))
    }

    @Test func everyRowIsSound() {
        #expect(Set(Settings.rows.map(\.key)).count == Settings.rows.count)
        for row in Settings.rows {
            #expect(
                row.key.hasPrefix("SKYSTEAD_") && !row.key.hasSuffix("_FILE") || row.key == "SKYSTEAD_SETTINGS_FILE"
                    || row.key == "SKYSTEAD_EXTRA_CA_FILE")
            #expect(!row.help.isEmpty && row.help.hasSuffix("."))
            #expect(row.accepts(Bytes(row.fallback ?? "")), "\(row.key): the default is not of its grammar")
        }
    }

    static let documents: [(path: String, text: String)] = [
        ("conf/skystead.env.example", Settings.exampleFile),
        ("docs/skystead-settings.md", Settings.manual),
        ("docs/skystead.env.5", Settings.manualPage),
    ]

    @Test(arguments: documents.map(\.path)) func theCommittedDocumentIsTheGeneratedOne(_ path: String) throws {
        let wanted = try #require(Self.documents.first { $0.path == path }?.text)
        let url = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../\(path)").standardized
        if ProcessInfo.processInfo.environment["UPDATE_GOLDEN"] == "1" {
            try Data(wanted.utf8).write(to: url)
        }
        #expect(try String(contentsOf: url, encoding: .utf8) == wanted, "UPDATE_GOLDEN=1 rewrites it")
    }

    /// Every key that the shipped configuration and scripts name is a setting.
    @Test func everyKeyThatTheConfigurationNamesExists() throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../..").standardized
        let known = Set(Settings.rows.map(\.key))
        // Parameters of FastCGI, which are no settings.
        let others: Set = ["SKYSTEAD_PEER", "SKYSTEAD_SCHEME", "SKYSTEAD_REQ_ID"]
        for folder in ["conf", "scripts", "docs"] {
            let base = root.appending(path: folder)
            let names = FileManager.default.enumerator(atPath: base.path)?.compactMap { $0 as? String } ?? []
            for name in names {
                guard let text = try? String(contentsOf: base.appending(path: name), encoding: .utf8) else { continue }
                for match in text.matches(of: /SKYSTEAD_[A-Z0-9_]*[A-Z0-9]/) {
                    var key = String(match.output)
                    if !known.contains(key), key.hasSuffix("_FILE") { key.removeLast(5) }
                    let isOther =
                        others.contains(key) || Settings.isScriptVariable(Bytes(key + "_"))
                        || Settings.isScriptVariable(Bytes(key))
                    #expect(known.contains(key) || isOther, "\(folder)/\(name) names \(key)")
                }
            }
        }
    }
}
