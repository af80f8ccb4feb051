import ATProto
import Base
import ExchangeSupport
import Foundation
import Hosting
import Identity
import Storage
import Web
import XRPCHandlers

/// A recorded conversation: exchanges in order against one server, each with its whole answer.
///
/// ```
/// # A sentence about what follows.
/// === alice
/// POST /xrpc/com.atproto.server.createSession
/// Content-Type: application/json
///
/// {"identifier":"alice.home.test","password":"…"}
/// ----------
/// 200
/// …
/// ```
///
/// `{{alice.accessJwt}}` in a later request is that member of the answer of `alice`. Lines with `@` between exchanges
/// change the world: `@advance <seconds>`, `@network down`, `@network up`, `@directory refuses`, `@takedown <did>`,
/// `@txt <name> <text>`, `@page <url> <status> <body>`, `@tombstone <did>`. `@code <purpose> <label> <did>` reads what
/// was mailed: `{{label.code}}`. Time, randomness and network are the test's own, so that the same bytes come out of
/// every run and of both databases. `UPDATE_GOLDEN=1` rewrites the answers.
struct Transcript {
    struct Malformed: Error, CustomStringConvertible { let description: String }

    enum Step {
        case comment(String)
        case directive(String)
        case exchange(label: String, asked: String, expected: String)
    }

    let url: URL
    let steps: [Step]

    init(_ url: URL) throws {
        self.url = url
        var steps: [Step] = []
        let text = try String(contentsOf: url, encoding: .utf8)
        for (index, part) in text.components(separatedBy: "=== ").enumerated() {
            var lines = part.components(separatedBy: "\n")
            var trailing: [String] = []
            if index == 0 {
                trailing = lines
            } else {
                let label = lines.removeFirst()
                // Comments and directives for the next exchange stand at the end of this one.
                while let last = lines.last, last.isEmpty || last.hasPrefix("#") || last.hasPrefix("@") {
                    trailing.insert(lines.removeLast(), at: 0)
                }
                let halves = lines.joined(separator: "\n").components(separatedBy: "\n----------")
                let answer = halves.count > 1 ? String(halves[1].drop { $0 == "\n" }) : ""
                steps.append(.exchange(label: label, asked: halves[0], expected: answer))
            }
            for line in trailing where !line.isEmpty {
                steps.append(line.hasPrefix("@") ? .directive(String(line.dropFirst())) : .comment(line))
            }
        }
        self.steps = steps
    }

    /// How the requests come to the responder.
    enum Door {
        case process
        case fastCGI(FastCGIDoor)
    }

    /// Plays it against `world`. Returns the transcript with the answers that came, and the labels of wrong ones.
    func play(_ world: World, through door: Door = .process) throws -> (text: String, wrong: [String]) {
        var text = ""
        var wrong: [String] = []
        var answers: [String: Any] = [:]
        for step in steps {
            switch step {
            case .comment(let comment): text += comment + "\n"
            case .directive(let directive):
                text += "@" + directive + "\n"
                try perform(Self.substituted(directive, answers), world, &answers)
            case .exchange(let label, let asked, let expected):
                let asking = try Asked(Self.substituted(asked, answers))
                let (got, body) =
                    switch door {
                    case .process: try Self.rendered(world.respond(try asking.request(world)))
                    case .fastCGI(let door): try Self.rendered(asking.answer(door))
                    }
                if let json = try? JSONSerialization.jsonObject(with: Data(body)) { answers[label] = json }
                var wanted = expected
                // The host sends no body to HEAD (RFC 9110 §9.3.2); the responder says what it would be.
                if case .fastCGI = door, asking.method == .head { wanted = wanted.components(separatedBy: "\n\n")[0] }
                if got != wanted { wrong.append("\(label): wanted\n\(wanted)\ngot\n\(got)") }
                text += "=== \(label)\n\(asked)\n----------\n\(got)\n\n"
            }
        }
        return (text, wrong)
    }

    private func perform(_ directive: String, _ world: World, _ answers: inout [String: Any]) throws {
        let words = directive.split(separator: " ", maxSplits: 3).map(String.init)
        switch (words[0], words.count) {
        case ("advance", 2): world.advance(Int64(words[1]) ?? 0)
        case ("network", 2): world.network.set { $0.isDown = words[1] == "down" }
        case ("directory", 2): world.network.set { $0.refuses = words[1] == "refuses" }
        case ("takedown", 2): try world.app.life.setTakedown(true, of: DID(words[1])!)
        case ("delete", 2): try world.app.life.delete(DID(words[1])!)
        case ("tombstone", 2):
            let last: Value = .object([
                Value.Entry(key: "type", value: .text("plc_tombstone")), Value.Entry(key: "prev", value: .text("x")),
            ])
            world.network.set { $0.log[Bytes(words[1]), default: []].append(last) }
        case ("code", 4):
            let code = try world.mailedCode(words[1], DID(words[3])!)
            answers[words[2]] = ["code": code, "lower": code.lowercased()]
        case ("txt", 3): world.network.set { $0.texts[Bytes(words[1]), default: []].append(Bytes(words[2])) }
        case ("page", 4):
            world.network.set {
                $0.pages[Bytes(words[1])] = .init(status: Int(words[2]) ?? 0, body: Bytes(words[3]))
            }
        default: throw Malformed(description: "unknown directive \(directive)")
        }
    }

    private static func substituted(_ text: String, _ answers: [String: Any]) throws -> String {
        var out = ""
        var parts = text.components(separatedBy: "{{")
        out += parts.removeFirst()
        for part in parts {
            let halves = part.components(separatedBy: "}}")
            let path = halves[0].split(separator: ".").map(String.init)
            var value: Any? = answers[path[0]]
            for key in path.dropFirst() {
                if let items = value as? [Any], let index = Int(key), items.indices.contains(index) {
                    value = items[index]
                } else {
                    value = (value as? [String: Any])?[key]
                }
            }
            if let object = value as? [String: Any] {
                let json = try JSONSerialization.data(withJSONObject: object, options: [.sortedKeys])
                value = String(decoding: json, as: UTF8.self)
            }
            guard let found = value as? String else { throw Malformed(description: "no \(halves[0])") }
            out += found + halves.dropFirst().joined(separator: "}}")
        }
        return out
    }

    /// One request of a transcript.
    private struct Asked {
        let method: HTTPMethod
        let target: String
        var host = World.host
        var headers: [(name: String, value: String)] = []
        let body: [UInt8]

        init(_ text: String) throws {
            let halves = text.components(separatedBy: "\n\n")
            let lines = halves[0].components(separatedBy: "\n")
            let first = lines[0].components(separatedBy: " ")
            guard first.count == 2, let method = HTTPMethod(rawValue: first[0]) else {
                throw Malformed(description: lines[0])
            }
            self.method = method
            target = first[1]
            body = Array(halves.dropFirst().joined(separator: "\n\n").utf8)
            for line in lines.dropFirst() {
                let sides = line.components(separatedBy: ": ")
                let value = sides.dropFirst().joined(separator: ": ")
                if sides[0] == "Host" { host = value } else { headers.append((sides[0], value)) }
            }
        }

        func request(_ world: World) throws -> Request {
            try world.request(
                method, target, headers: headers.map { ($0.name.lowercased(), $0.value) }, body: body, host: host)
        }

        /// The whole way: as the web server sends it, in small records.
        func answer(_ door: FastCGIDoor) throws -> FCGIAnswer {
            let answer = try door.exchange(
                FastCGIDoor.parameters(
                    method.rawValue, target, host: host, headers: headers,
                    contentLength: body.isEmpty ? nil : String(body.count)), body: body, recordSize: 61)
            guard answer.isEnded else { throw Malformed(description: "an answer without an end") }
            return answer
        }
    }

    private static func rendered(_ response: Response) throws -> (String, [UInt8]) {
        guard case .bytes(let body) = response.body else { throw Malformed(description: "a body of another kind") }
        return (rendered(response.status, response.headers.map { "\($0.name): \($0.value.bytes)" }, body), body)
    }

    /// Without the fields that the host adds by itself.
    private static func rendered(_ answer: FCGIAnswer) throws -> (String, [UInt8]) {
        guard let status = answer.status else { throw Malformed(description: "no status") }
        let own = ["Status", "X-Request-Id", "Content-Length"]
        let names = answer.fields.filter { !own.contains($0.name) }.map { "\($0.name): \($0.value)" }
        return (rendered(status, names, answer.body), answer.body)
    }

    /// Status, fields and body. The two fields that every answer has are one word, once they are what they should be.
    private static func rendered(_ status: Int, _ names: [String], _ body: [UInt8]) -> String {
        var lines = ["\(status)"]
        let shared = names.filter { $0 == allowOrigin || $0 == exposeHeaders }
        if shared.count == 2 { lines.append("(CORS)") }
        lines += names.filter { shared.count != 2 || !shared.contains($0) }
        let text = String(decoding: body, as: UTF8.self).trimmingCharacters(in: .newlines)
        return lines.joined(separator: "\n") + (text.isEmpty ? "" : "\n\n" + text)
    }

    static let allowOrigin = "Access-Control-Allow-Origin: *"
    static let exposeHeaders =
        "Access-Control-Expose-Headers: DPoP-Nonce, WWW-Authenticate, RateLimit-Limit, RateLimit-Remaining, "
        + "RateLimit-Reset, RateLimit-Policy, Retry-After, Atproto-Repo-Rev, Atproto-Content-Labelers, X-Request-Id"
}
