internal import Assembly
internal import Base
internal import CSystem
internal import Crypto
internal import Glibc
internal import Net
internal import Storage

/// What a look at one thing found.
struct Finding: Equatable {
    enum Verdict: Equatable {
        case fine, warning, wrong
        /// It could not be looked at here; the text says why.
        case skipped
    }

    var verdict: Verdict
    var text: String
    /// What to do about it.
    var remedy: String?
    /// What to put into the web server's configuration.
    var lines: WebLines?

    static func fine(_ text: String) -> Finding { Finding(verdict: .fine, text: text) }
    static func warning(_ text: String, _ remedy: String) -> Finding {
        Finding(verdict: .warning, text: text, remedy: remedy)
    }
    static func wrong(_ text: String, _ remedy: String, _ lines: WebLines? = nil) -> Finding {
        Finding(verdict: .wrong, text: text, remedy: remedy, lines: lines)
    }
    static func skipped(_ text: String) -> Finding { Finding(verdict: .skipped, text: text) }
}

/// One look at one thing: a row of what `check` and `doctor` go through.
struct Look {
    let name: String
    var needsWebServer = false
    /// The service does its work without it: `up` does not wait for it.
    var isOptional = false
    let look: () -> Finding
}

/// The looks that `skystead check` takes, in the order in which one explains the next. `skystead doctor` begins with
/// them and goes on with those of `Outside`.
struct Checks {
    /// Free bytes below which there is a warning; SKYSTEAD_DISK_FREE_MIN says when something is wrong.
    static let diskWarningBytes = 2 << 30
    /// How far the clock may be from that of the PLC directory, whose answer is itself rounded to seconds.
    static let clockDriftSecondsMax: Int64 = 10

    let settings: Settings
    let paths: Paths
    let names: Names
    /// Where the web server is asked: the public URL, or the port of `up`.
    let front: Bytes
    let client: HTTPClient
    let clock: Clock

    init(settings: Settings, front: Bytes? = nil, clock: Clock = .system) {
        self.settings = settings
        self.clock = clock
        paths = Paths(settings)
        names = Names(settings)
        self.front = front ?? names.publicURL
        let authority = self.front.from((self.front.position(of: 0x2F) ?? 0) + 2)
        client = Outbound.client(settings, also: [authority])
    }

    /// Each look, by name.
    var all: [Look] {
        inside + [
            Look(name: "web server", needsWebServer: true, look: webServer),
            Look(name: "firehose", needsWebServer: true, look: firehose), plc,
            Look(name: "mail", isOptional: true, look: mail),
        ]
    }

    /// Those at this machine alone.
    var inside: [Look] {
        [
            Look(name: "data directory", look: dataDirectory), Look(name: "keys", look: keys),
            Look(name: "database", look: database),
            Look(name: "XRPC responder") { socket(paths.xrpcSocket, "skystead-xrpc") },
            Look(name: "admin responder") { socket(paths.adminSocket, "skystead-admin") },
            Look(name: "stream worker") { socket(paths.streamSocket, "skystead-stream") },
        ]
    }

    var plc: Look { Look(name: "PLC directory", look: plcDirectory) }

    // MARK: This machine

    private func dataDirectory() -> Finding {
        guard Files.exists(paths.data) else {
            return .wrong("\(paths.data) is not there", "`skystead migrate` makes it; or set SKYSTEAD_DATA_DIR")
        }
        guard access(paths.data, R_OK | W_OK | X_OK) == 0 else {
            return .wrong("\(paths.data) cannot be written by this user", "run as the user that the service runs as")
        }
        var status = statvfs()
        guard statvfs(paths.data, &status) == 0 else {
            return .warning("the free space is not known: \(SystemError("statvfs"))", "look at `df`")
        }
        return Self.disk(
            freeBytes: Int(clamping: status.f_bavail.multipliedReportingOverflow(by: status.f_frsize).0),
            wrongBelow: settings[Settings.diskFreeMin])
    }

    static func disk(freeBytes: Int, wrongBelow: Int) -> Finding {
        let text = "\(freeBytes >> 20) MiB free"
        if freeBytes < wrongBelow { return .wrong(text, "make room: writes are about to fail") }
        if freeBytes < diskWarningBytes { return .warning(text, "make room soon") }
        return .fine(text)
    }

    private func keys() -> Finding {
        do {
            let keys = try Keys.load(settings, paths)
            return .fine("rotation key \(keys.rotation.publicKey.didKey)")
        } catch let error as KeyFile.Refusal {
            switch error {
            case .openToOthers(let mode):
                return .wrong(
                    "\(paths.sealingKey) can be read by others (mode 0\(String(mode, radix: 8)))",
                    "chmod 0600 \(paths.sealingKey); if others had access, think of every key as known")
            case .wrongSize, .notAFile:
                return .wrong("\(paths.sealingKey) is not a key file", "restore it from a backup")
            }
        } catch let error as Keys.Missing {
            return .wrong(error.description, "`skystead migrate` makes the keys of a new server; else restore them")
        } catch {
            return .wrong("the keys cannot be read: \(error)", "run as the user that the service runs as")
        }
    }

    private func database() -> Finding {
        guard settings[Settings.databaseURL] != nil || Files.exists(paths.database) else {
            return .wrong("\(paths.database) is not there", "skystead migrate")
        }
        do {
            let database = try Databases.open(settings, paths)
            try database.requireSchema()
            let kind = settings[Settings.databaseURL] == nil ? "SQLite" : "PostgreSQL"
            return .fine("\(kind), schema version \(try database.schemaVersion())")
        } catch StorageError.schemaVersion(let found, let wanted) {
            return found < wanted
                ? .wrong("the schema is version \(found), this program wants \(wanted)", "skystead migrate")
                : .wrong("the schema is of a newer version (\(found), not \(wanted))", "install that version again")
        } catch StorageError.unsafeSetting(let text) {
            return .wrong("a setting that durability rests on is not in force: \(text)", "mend it before you go on")
        } catch {
            return .wrong("the database does not open: \(error)", "look at SKYSTEAD_DATABASE_URL and SKYSTEAD_DATA_DIR")
        }
    }

    private func socket(_ path: String, _ unit: String) -> Finding {
        let descriptor = csystem_connect_unix(path)
        guard descriptor >= 0 else {
            let error = SystemError("connect to \(path)")
            return error.errno == EACCES
                ? .warning("\(path) is for the web server's group only", "run as root to look further")
                : .wrong(error.description, "start it: systemctl start \(unit).socket, or `skystead up`")
        }
        close(descriptor)
        return .fine("listens on \(path)")
    }

    // MARK: Through the front door

    /// The longest answer that is read.
    private static let answerSizeMax = 65_536

    private func get(_ url: Bytes) throws(HTTPClientError) -> HTTPResponse {
        var request = HTTPRequest(.get, url, sizeMax: Self.answerSizeMax, redirects: .returned)
        request.deadlineMilliseconds = 5_000
        return try client.send(request)
    }

    private func webServer() -> Finding {
        let url = front + "/xrpc/_health"
        let response: HTTPResponse
        do throws(HTTPClientError) {
            response = try get(url)
        } catch {
            return .wrong(
                "\(url) is not answered: \(error)", "is nginx or Caddy running with conf/ and does the name lead here?")
        }
        switch response.status {
        case 200 where Bytes(response.body).starts(with: "{\"version\":"):
            return .fine("\(front) answers")
        case 502, 503, 504:
            return .wrong(
                "\(front) answers \(response.status): the web server does not reach the responder",
                "is \(paths.xrpcSocket) the socket in its configuration, and is its user in the socket's group?")
        default:
            return .wrong(
                "\(url) answers \(response.status), which is not this service",
                "another server block answers for this name: look at server_name and at the order of the files")
        }
    }

    private func firehose() -> Finding {
        let url = front + Firehose.path
        do throws(HTTPClientError) {
            let response = try get(url)
            if response.status == 426 { return .fine("\(url) wants a WebSocket") }
            return .wrong(
                "\(url) answers \(response.status) to a plain GET, not 426",
                "that one path must go to \(paths.streamSocket) with its Upgrade header: see conf/")
        } catch {
            return .wrong("\(url) is not answered: \(error)", "see the web server above")
        }
    }

    // MARK: The world

    private func mail() -> Finding {
        do throws(SMTPError) {
            guard let client = try Outbound.mail(settings), let sender = settings[Settings.mailFrom] else {
                return .warning(
                    "no mail is sent", "set SKYSTEAD_SMTP_URL; until then codes are in `skystead mail queue --codes`")
            }
            try client.check(sender)
            return .fine("the mail server would take mail of \(sender.address.bytes)")
        } catch {
            return .wrong(error.description, MailTool.remedy(error))
        }
    }

    private func plcDirectory() -> Finding {
        let url = settings[Settings.plcURL] + "/_health"
        let response: HTTPResponse
        do throws(HTTPClientError) {
            response = try get(url)
        } catch {
            return .wrong(
                "\(url) is not answered: \(error)",
                "no account can be made without it: look at SKYSTEAD_PLC_URL and DNS")
        }
        guard response.status == 200 else {
            return .warning("\(url) answers \(response.status)", "look at SKYSTEAD_PLC_URL")
        }
        guard let date = response["date"], let theirs = HTTPDate.parse(date) else {
            return .fine("\(settings[Settings.plcURL]) answers")
        }
        if let finding = Self.drift(clock.now(), theirs, of: settings[Settings.plcURL]) { return finding }
        return .fine("\(settings[Settings.plcURL]) answers, and the clocks agree")
    }

    /// What is wrong with this machine's clock, when `theirs` is what `url` has just answered as the time.
    static func drift(_ ours: Timestamp, _ theirs: Timestamp, of url: Bytes) -> Finding? {
        let drift = ours.seconds - theirs.seconds
        guard abs(drift) > clockDriftSecondsMax else { return nil }
        return .wrong(
            "the clock is \(drift) s away from that of \(url)",
            "run an NTP client: apt-get install systemd-timesyncd; timedatectl set-ntp true")
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 §5.6.7, the form that is sent).
enum HTTPDate {
    private static let months: [Bytes] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]

    static func parse(_ text: Bytes) -> Timestamp? {
        let parts = text.split(on: 0x20)
        guard parts.count == 6, parts[5] == "GMT", let day = number(parts[1]),
            let month = months.firstIndex(of: parts[2]), let year = number(parts[3]), year >= 1970, year <= 9999
        else { return nil }
        let time = parts[4].split(on: 0x3A)
        guard time.count == 3, let hour = number(time[0]), let minute = number(time[1]), let second = number(time[2]),
            (1...31).contains(day), hour < 24, minute < 60, second < 61
        else { return nil }
        // Days of the civil calendar, with March as the first month of the year.
        let shifted = month >= 2 ? year : year - 1
        let fromMarch = (month + 10) % 12
        let leapDays = shifted / 4 - shifted / 100 + shifted / 400
        let days = shifted * 365 + leapDays + (153 * fromMarch + 2) / 5 + day - 1 - 719_468
        return Timestamp(seconds: Int64(days * 86_400 + hour * 3_600 + minute * 60 + second))
    }

    /// Up to four digits, leading zeros allowed.
    private static func number(_ text: Bytes) -> Int? {
        guard (1...4).contains(text.count) else { return nil }
        var value = 0
        for byte in text {
            guard byte >= 0x30, byte <= 0x39 else { return nil }
            value = value * 10 + Int(byte - 0x30)
        }
        return value
    }
}
