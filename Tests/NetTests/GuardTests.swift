import Base
import ChildProcess
import Foundation
import Glibc
import Testing

@testable import Net

private func addressBytes(_ text: String) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: text.contains(":") ? 16 : 4)
    #expect(inet_pton(bytes.count == 16 ? AF_INET6 : AF_INET, text, &bytes) == 1, "\(text)")
    return bytes
}

/// Reliability rows C1 and F001–F014.
@Suite struct AddressTests {
    static let refused = [
        "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255", "127.0.0.1",
        "127.255.255.254", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.8", "192.0.2.1", "192.88.99.1",
        "192.168.0.1", "192.168.255.255", "198.18.0.1", "198.19.255.255", "198.51.100.7", "203.0.113.9", "224.0.0.1",
        "239.255.255.255", "240.0.0.1", "255.255.255.255",
        "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "64:ff9b::7f00:1", "64:ff9b:1::1", "100::1",
        "2001::1", "2001:0:4137:9e76::1", "2001:2::1", "2001:10::1", "2001:20::1", "2001:db8::1", "2002:7f00:1::",
        "2002:0808:0808::1", "3fff::1", "3fff:0fff::1", "4000::1", "5f00::1", "fc00::1", "fdff::1", "fe80::1",
        "fec0::1", "ff02::1",
    ]
    static let allowed = [
        "1.0.0.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255",
        "128.0.0.1", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.1", "192.0.3.0",
        "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "203.0.112.255", "223.255.255.255",
        "2000::1", "2001:200::1", "2001:4860:4860::8888", "2003::1", "2606:4700::1111", "2a00::1", "3ffe::1",
        "3fff:1000::1",
    ]

    @Test(arguments: refused) func isRefused(_ text: String) { #expect(!GlobalAddress.allows(addressBytes(text))) }
    @Test(arguments: allowed) func isAllowed(_ text: String) { #expect(GlobalAddress.allows(addressBytes(text))) }
    @Test func otherLengthsAreRefused() {
        #expect(!GlobalAddress.allows([]))
        #expect(!GlobalAddress.allows([8, 8, 8]))
        #expect(!GlobalAddress.allows([UInt8](repeating: 0x20, count: 17)))
    }

    /// The same through the client: a public name that leads there. Nothing is connected.
    @Test(arguments: refused) func theClientDoesNotConnect(_ address: String) {
        var configuration = HTTPClient.Configuration()
        configuration.hostOverrides = ["target.skystead.dev": Bytes(address)]
        let client = HTTPClient(configuration)
        #expect(throws: HTTPClientError.addressNotAllowed) {
            try client.send(HTTPRequest(.get, "https://target.skystead.dev/"))
        }
    }

    /// F013: one private address among the answers is enough.
    @Test(arguments: ["127.0.0.1,10.0.0.1", "::1,127.0.0.1"]) func mixedAnswers(_ addresses: String) {
        var configuration = HTTPClient.Configuration()
        configuration.hostOverrides = ["target.skystead.dev": Bytes(addresses)]
        let client = HTTPClient(configuration)
        #expect(throws: HTTPClientError.addressNotAllowed) {
            try client.send(HTTPRequest(.get, "https://target.skystead.dev/"))
        }
    }

    @Test func aNamedHostIsAdmittedAndItsNeighbourIsNot() throws {
        let server = try LoopbackServer { connection in
            _ = connection.readHead()
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        }
        var configuration = HTTPClient.Configuration()
        configuration.privateHostsAllowed = [Bytes("LocalHost:\(server.port)")]
        let client = HTTPClient(configuration)
        #expect(try client.send(HTTPRequest(.get, Bytes("http://localhost:\(server.port)/"))).status == 200)
        #expect(throws: HTTPClientError.invalidURL(.httpsRequired)) {
            try client.send(HTTPRequest(.get, Bytes("http://127.0.0.1:\(server.port)/")))
        }
        #expect(throws: HTTPClientError.invalidURL(.hostNotPublic)) {
            try client.send(HTTPRequest(.get, "https://localhost:443/"))
        }
        #expect(server.acceptedCount == 1)
    }
}

/// Reliability rows F015–F017 and finding 13.
@Suite struct URLTests {
    struct Row: Sendable, CustomTestStringConvertible {
        let url: String
        let fault: URLFault?
        var testDescription: String { url.count > 60 ? "\(url.prefix(60))…" : url }
    }

    static let rows: [Row] =
        [
            "https://good.example.com/", "https://GOOD.Example.COM/x?y=z", "https://good.example.com",
            "https://good.example.com:443/", "https://xn--bcher-kva.example.net/", "https://1a.de/", "HTTPS://a.de/",
            "https://good.example.com/a%00b/../c;d=e:f@g", "https://good.example.com?x=@y",
        ].map { Row(url: $0, fault: nil) }
        + [
            "https://2130706433/", "https://0x7f000001/", "https://0177.0.0.1/", "https://127.1/", "https://127.0.0.1/",
            "https://127。0。0。1/", "https://ⓛocalhost/", "https://localhost./", "https://localhost/",
            "https://foo.localhost/", "https://good.example.com./", "https://8.8.8.8/", "https://0x7f.0.0.0x1/",
            "https://[::1]/", "https://[2606:4700::1111]/", "https://single/", "https://a..b.com/", "https://.a.com/",
            "https://-a.com/", "https://a-.com/", "https://a_b.com/", "https://x.local/", "https://x.internal/",
            "https://x.onion/", "https://1.0.0.127.in-addr.arpa/", "https://x.test/", "https://good.example/",
            "https://bücher.example.net/", "https://1.2.3.4.5/", "https://\(String(repeating: "a", count: 64)).com/",
            "https://\(String(repeating: "a.", count: 127))com/", "https://good.example.com\u{3000}/",
        ].map { Row(url: $0, fault: .hostNotPublic) }
        + [
            "https://good.example.com%00.evil.com/", "https://good%2eexample.com/",
            "https://good.example.com\\@evil.com/",
            "https://user@good.example.com/", "https://user:pass@good.example.com/", "https://@good.example.com/",
            "https://good.example.com#@evil.com/", "https://good.example.com/#x", "https://good.example.com:99999/",
            "https://good.example.com:8443/", "https://good.example.com:0/", "https://good.example.com:/",
            "https://good.example.com:0443/", "https://good.example.com:+443/", "//good.example.com/",
            "https:good.example.com", "https:/good.example.com/", "https:///good.example.com/", "good.example.com", "",
            "https://", "https:///", "https://good.example.com/a b", "https://good.example.com/\r\nHost: evil",
            "https://good.example.com/\0", " https://good.example.com/", "https://good.example.com/é",
            "https://good.example.com/\"", ":https://good.example.com/", "https ://good.example.com/",
            "https://good.example.com/\(String(repeating: "a", count: 2_048))", "https://good.example.com:443:443/",
        ].map { Row(url: $0, fault: .malformed) }
        + [
            "file:///etc/passwd", "gopher://good.example.com/", "smb://good.example.com/", "dict://good.example.com/",
            "ftp://good.example.com/", "http://good.example.com/", "javascript:alert(1)", "data:,x", "ws://a.de/",
            "http://127.0.0.1/",
        ].map { Row(url: $0, fault: .httpsRequired) }

    @Test(arguments: rows) func check(_ row: Row) {
        let fault = Result<Void, HTTPClientError> { () throws(HTTPClientError) in
            try HTTPClient().check(Bytes(row.url))
        }
        if let expected = row.fault {
            #expect(throws: HTTPClientError.invalidURL(expected)) { try fault.get() }
        } else {
            #expect(throws: Never.self) { try fault.get() }
        }
    }

    @Test func texts() {
        #expect("\(URLFault.malformed)" == "invalid URL")
        #expect("\(URLFault.httpsRequired)" == "https required")
        #expect("\(URLFault.hostNotPublic)" == "host must be a public DNS name")
    }

    /// Whatever is accepted is asked at exactly the host that was checked: a walk over mutations of good URLs.
    @Test func acceptedHostsArePublicNames() throws {
        var state: UInt64 = 0x9E37_79B9_7F4A_7C15
        func next(_ bound: Int) -> Int {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return Int(state % UInt64(bound))
        }
        let seeds = Self.rows.filter { $0.fault == nil }.map { Array($0.url.utf8) }
        let alphabet = Array("htps:/.@#?%[]\\0123456789abcxX-_~\r\n\t é\u{3002}".utf8) + [0]
        var accepted = 0
        for _ in 0..<50_000 {
            var url = seeds[next(seeds.count)]
            for _ in 0...next(3) {
                let place = next(url.count)
                switch next(3) {
                case 0: url[place] = alphabet[next(alphabet.count)]
                case 1: url.insert(alphabet[next(alphabet.count)], at: place)
                default: if url.count > 1 { url.remove(at: place) }
                }
            }
            let text = Bytes(url)
            guard let parsed = try? OutboundURL.parse(text, privateHosts: []) else { continue }
            accepted += 1
            let rest = text.from(8)
            let authority = rest.upTo(rest.firstIndex { $0 == 0x2F || $0 == 0x3F } ?? rest.count).lowercasedASCII
            try #require(authority == parsed.host || authority == parsed.host + ":443", "\(text)")
            try #require(OutboundURL.isPublicName(parsed.host) && parsed.port == 443 && parsed.isSecure, "\(text)")
        }
        #expect(accepted > 1_000)
    }
}

/// One HTTPS server (python3) with a certificate of a private authority.
@Suite struct TLSTests {
    static let server = Result { try TLSServer() }

    private func client(_ server: TLSServer, trusted: Bool) -> HTTPClient {
        var configuration = HTTPClient.Configuration()
        configuration.hostOverrides = ["tls.test": "127.0.0.1", "other.test": "127.0.0.1"]
        configuration.privateHostsAllowed = ["tls.test", "other.test"]
        if trusted { configuration.extraCAFile = Bytes(server.authorityFile) }
        return HTTPClient(configuration)
    }

    @Test func theExtraAuthorityIsTrusted() throws {
        let server = try Self.server.get()
        let response = try client(server, trusted: true).send(
            HTTPRequest(.get, Bytes("https://tls.test:\(server.port)/")))
        #expect(response.status == 200)
    }

    @Test(arguments: [("unknown authority", "tls.test", false), ("other name", "other.test", true)])
    func refused(_ row: (name: String, host: String, trusted: Bool)) throws {
        let server = try Self.server.get()
        #expect(throws: HTTPClientError.tls) {
            try client(server, trusted: row.trusted).send(
                HTTPRequest(.get, Bytes("https://\(row.host):\(server.port)/")))
        }
    }

    @Test func plainTextIsNotTLS() throws {
        let server = try Self.server.get()
        let plain = try LoopbackServer { $0.send("HTTP/1.1 200 OK\r\n\r\n") }
        #expect(throws: HTTPClientError.tls) {
            try client(server, trusted: true).send(HTTPRequest(.get, Bytes("https://tls.test:\(plain.port)/")))
        }
    }

    @Test func aMissingAuthorityFileIsAnError() throws {
        let server = try Self.server.get()
        var configuration = HTTPClient.Configuration()
        configuration.hostOverrides = ["tls.test": "127.0.0.1"]
        configuration.privateHostsAllowed = ["tls.test"]
        configuration.extraCAFile = "/nonexistent/ca.pem"
        #expect(throws: HTTPClientError.tls) {
            try HTTPClient(configuration).send(HTTPRequest(.get, Bytes("https://tls.test:\(server.port)/")))
        }
    }
}

/// Lives as long as the test process: its child ends when the pipe to it closes.
final class TLSServer: Sendable {
    let port: Int
    let authorityFile: String
    private let input = Pipe()
    private let process: ChildProcess

    init() throws {
        let directory = NSTemporaryDirectory() + "skystead-tls-\(getpid())"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        authorityFile = directory + "/ca.pem"
        let output = Pipe()
        process = try ChildProcess(
            ["python3", "-c", Self.script, directory], environment: ProcessInfo.processInfo.environment,
            input: input.fileHandleForReading.fileDescriptor, output: output.fileHandleForWriting.fileDescriptor)
        try output.fileHandleForWriting.close()
        // The first line is the port; it is written when the server listens.
        var line: [UInt8] = []
        while let byte = try output.fileHandleForReading.read(upToCount: 1)?.first, byte != 10 { line.append(byte) }
        guard let port = Int(String(decoding: line, as: UTF8.self)) else { throw ServerFault() }
        self.port = port
    }

    static let script = """
        import http.server, os, ssl, subprocess, sys, threading
        os.chdir(sys.argv[1])
        def run(*words): subprocess.run(["openssl", *words], check=True, stderr=subprocess.DEVNULL)
        run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key",
            "-out", "ca.pem", "-days", "2", "-subj", "/CN=test authority")
        run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "key.pem",
            "-out", "csr.pem", "-subj", "/CN=tls.test")
        open("ext", "w").write("subjectAltName=DNS:tls.test")
        run("x509", "-req", "-in", "csr.pem", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out",
            "cert.pem", "-days", "2", "-extfile", "ext")
        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200); self.send_header("Content-Length", "0"); self.end_headers()
            def log_message(self, *words): pass
        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, *words): pass
        server = Server(("127.0.0.1", 0), Answer)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain("cert.pem", "key.pem")
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        print(server.server_address[1], flush=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sys.stdin.read()
        """
}
