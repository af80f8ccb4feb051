internal import Assembly
internal import Base
internal import Net
internal import Relays
internal import Repos

/// Those that this server talks to: mail, relays. (The PLC directory is looked at by `Checks`.)
extension Outside {
    var peers: [Look] {
        var looks = [Look(name: "mail", look: mail)] + storage
        let crawlers = settings[Settings.crawlers]
        if crawlers.isEmpty {
            looks.append(
                Look(name: "relays") {
                    .warning(
                        "no relay is told of this server: the network does not see it",
                        "set SKYSTEAD_CRAWLERS, such as https://bsky.network")
                })
        }
        return looks + crawlers.map { url in Look(name: "relay \(url)") { self.relay(url) } }
    }

    // MARK: Mail

    private func mail() -> Finding {
        guard let server = settings[Settings.smtpURL] else {
            return .warning(
                "no mail can be sent: no confirmations, and nobody who forgot a password gets in again",
                "set SKYSTEAD_SMTP_URL and SKYSTEAD_MAIL_FROM")
        }
        // The user and the password stay where they are: only the place is used and named.
        do throws(SMTPError) {
            _ = try Outbound.mail(settings)
        } catch {
            return .wrong(error.description, MailTool.remedy(error))
        }
        let place = server.host + ":" + Bytes(String(server.port))
        let scheme: Bytes = server.isImplicitTLS ? "https://" : "http://"
        let client = Outbound.client(settings, also: [place])
        do throws(HTTPClientError) {
            let connection = try client.connect(scheme + place, deadlineMilliseconds: Self.deadlineMilliseconds)
            let greeting = try connection.receive { $0.ends(with: "\n") }
            guard greeting.starts(with: "220") else {
                return .wrong(
                    "\(place) does not speak SMTP to us: '\(greeting.upTo(60))'",
                    "smtps:// is for port 465, smtp:// (with STARTTLS) for 587")
            }
            try connection.send(Self.greetingOf(names.host))
            let offers = try connection.receive { Self.isLastReply($0) }
            try connection.send(Array("QUIT\r\n".utf8))
            guard offers.starts(with: "250") else {
                return .wrong("\(place) refuses us: '\(offers.upTo(60))'", "ask whoever runs it")
            }
            if !server.isImplicitTLS, !Self.offersTLS(offers) {
                return .warning(
                    "\(place) offers no STARTTLS: mail and its password go in plain text", "use smtps:// and port 465")
            }
            return .fine("\(place) takes mail")
        } catch {
            return .wrong(
                "\(place) is not reached: \(error)",
                error == .tls
                    ? "smtps:// is for port 465, smtp:// (with STARTTLS) for 587; its certificate must hold"
                    : "look at SKYSTEAD_SMTP_URL; many providers block ports 25 and 465, and leave 587 or 2465 open")
        }
    }

    private static func greetingOf(_ host: Bytes) -> [UInt8] {
        let line: Bytes = "EHLO " + host + "\r\n"
        return line.array
    }

    /// A reply ends with the line that has a blank after its code (RFC 5321 §4.2.1).
    static func isLastReply(_ text: Bytes) -> Bool {
        guard text.ends(with: "\n") else { return false }
        let lines = text.split(on: 0x0A).filter { !$0.isEmpty }
        guard let last = lines.last, last.count > 3 else { return false }
        return last[3] != 0x2D
    }

    private static func offersTLS(_ offers: Bytes) -> Bool {
        offers.split(on: 0x0A).contains { $0.from(4).trimming("\r ").lowercasedASCII == "starttls" }
    }

    // MARK: Relays

    private func relay(_ url: Bytes) -> Finding {
        do throws(Relay.StatusError) {
            let status = try Relay(url: url, client: Outbound.client(settings)).status(of: names.host)
            if let date = status.date.flatMap(HTTPDate.parse), let drift = Checks.drift(clock.now(), date, of: url) {
                return drift
            }
            let newest = try? database.map { try EventStore(database: $0, clock: clock).newest() }
            if let seq = status.seq, let newest, seq > newest {
                return .wrong(
                    "\(url) has seen event \(seq), and this server is at \(newest): it is told FutureCursor",
                    "skystead restore-finish")
            }
            if let word = status.status, word != "active", word != "idle" {
                return .warning("\(url) calls this server \(word)", "skystead crawlers notify; else ask its operator")
            }
            let seen = status.seq.map { "has seen event \($0)" } ?? "knows this server"
            return .fine(newest.map { "\(seen) of \($0)" } ?? seen)
        } catch {
            switch error {
            case .unknownHost: return .warning("\(url) does not know this server yet", "skystead crawlers notify")
            case .refused, .malformed:
                return .warning("\(url) \(SequenceTool.words(error))", "is this the address of a relay?")
            case .unreachable:
                return .wrong("\(url) \(SequenceTool.words(error))", "look at SKYSTEAD_CRAWLERS, DNS and the firewall")
            }
        }
    }
}
