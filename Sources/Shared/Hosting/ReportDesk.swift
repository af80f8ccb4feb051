public import ATProto
public import Accounts
public import Base
internal import Crypto
public import Identity
public import Moderation
public import Net

/// Takes reports: keeps them here always, and passes them on to a labeler.
///
/// One attempt is made at once, after the report is durable; what does not work is tried again by a worker. So the
/// person who reports never waits for a labeler that is down for longer than one deadline, and no report is lost.
public struct ReportDesk: Sendable {
    /// A labeler that the operator has named, and where it is.
    public struct Labeler: Sendable {
        public var did: DID
        public var url: Bytes

        public init(did: DID, url: Bytes) {
            self.did = did
            self.url = url
        }
    }

    /// How long one attempt may take.
    public static let deadlineMilliseconds = 5_000
    /// Bytes of a labeler's answer, which only its status is read of.
    static let answerSizeMax = 262_144
    /// The service of a labeler in its DID document (https://atproto.com/specs/label).
    static let labelerFragment: Bytes = "#atproto_labeler"

    public let reports: ReportStore
    private let keys: KeyStore
    private let resolver: Resolver
    private let labeler: Labeler?
    private let send: @Sendable (HTTPRequest) throws -> Int
    private let clock: Clock
    private let entropy: Entropy
    private let log: Log

    /// `labeler` hears of reports that name no other. `send` sends a request and gives the answer's status.
    public init(
        reports: ReportStore, keys: KeyStore, resolver: Resolver, labeler: Labeler?,
        send: @escaping @Sendable (HTTPRequest) throws -> Int, clock: Clock, entropy: Entropy, log: Log
    ) {
        self.reports = reports
        self.keys = keys
        self.resolver = resolver
        self.labeler = labeler
        self.send = send
        self.clock = clock
        self.entropy = entropy
        self.log = log
    }

    /// The operator's labeler as a service, `did#service`.
    public var service: Bytes? { labeler.map { $0.did.bytes + Self.labelerFragment } }

    /// Keeps a report and tries to pass it on: to the labeler that it names, as `did#service`, else to the operator's.
    public func file(_ new: NewReport) throws -> Report {
        var new = new
        new.forwardTo = new.forwardTo ?? labeler?.did.bytes
        let report = try reports.create(new)
        if report.forwardTo != nil { _ = try forward(report) }
        return report
    }

    /// Passes on what is due, at most `limit` reports; returns how many arrived.
    public func forwardDue(limit: Int) throws -> Int {
        var count = 0
        for report in try reports.due(limit: limit) where try forward(report) { count += 1 }
        return count
    }

    private func forward(_ report: Report) throws -> Bool {
        guard let target = report.forwardTo, let reporter = report.reportedBy, try reports.claim(report) else {
            return false
        }
        let status: Int
        do {
            status = try send(try request(report, to: target, from: reporter))
        } catch {
            log.warning("report.forward", ["report": .integer(report.id), "cause": .text("\(error)")])
            return false
        }
        switch status {
        case 200..<300:
            try reports.markForwarded(report.id)
            return true
        case 400..<500 where status != 408 && status != 429:
            log.warning("report.refused", ["report": .integer(report.id), "status": .integer(status)])
            try reports.giveUp(report.id)
            return false
        default:
            log.warning("report.forward", ["report": .integer(report.id), "status": .integer(status)])
            return false
        }
    }

    private func request(_ report: Report, to target: Bytes, from reporter: DID) throws -> HTTPRequest {
        let hash = target.position(of: 0x23) ?? target.count
        guard let did = DID(target.upTo(hash)) else { throw IdentityError.invalidDocument(.noService) }
        let url = try self.url(of: did, fragment: hash == target.count ? Self.labelerFragment : target.from(hash))
        let now = clock.now()
        let token = try ServiceJWT.make(
            reporter, audience: did.bytes, method: ReportStore.method, expiresAt: now.seconds + ServiceJWT.seconds,
            key: try keys.key(of: reporter), now: now, entropy: entropy)
        var request = HTTPRequest(
            .post, url + "/xrpc/" + ReportStore.method,
            headers: [("Content-Type", "application/json"), ("Authorization", "Bearer " + token)],
            body: Bytes(Self.body(report)), sizeMax: Self.answerSizeMax)
        request.deadlineMilliseconds = Self.deadlineMilliseconds
        return request
    }

    /// The operator's labeler is where the settings say; any other where its DID document says.
    private func url(of did: DID, fragment: Bytes) throws -> Bytes {
        if let labeler, labeler.did == did { return labeler.url }
        let document = try resolver.document(of: did)
        guard let origin = document.origin(of: fragment) else { throw IdentityError.invalidDocument(.noService) }
        return origin
    }

    private static func body(_ report: Report) -> [UInt8] {
        var writer = JSONWriter()
        writer.beginObject()
        writer.key("reasonType" as StaticString)
        writer.string(report.reasonType)
        if let reason = report.reason {
            writer.key("reason" as StaticString)
            writer.string(reason)
        }
        writer.key("subject" as StaticString)
        report.subject.write(to: &writer)
        writer.endObject()
        return writer.finish()
    }
}
