public import Base
public import Net
public import Storage

/// Hands over what is due, one mail after the other.
public struct MailDelivery: Sendable {
    /// Milliseconds until it is looked again when all is well. A read of an index; the database's change signal has one
    /// listener, the firehose, and rings for every post.
    public static let pauseMilliseconds = 1_000
    /// After a trouble that is not the mail's: the next mail would meet it too.
    public static let serverPauseMilliseconds = 5_000
    /// After a refused login: servers shut out who tries a wrong password often.
    public static let loginPauseMilliseconds = 60_000

    private let queue: MailQueue
    private let sender: MailSender
    private let host: Bytes
    private let clock: Clock
    private let entropy: Entropy
    private let log: Log
    private let send: @Sendable (MailMessage) throws(SMTPError) -> Void
    private let whenSent: @Sendable (ClaimedMail, Timestamp, any Writer) throws -> Void

    /// `host` ends the Message-IDs. `send` hands one mail over; `whenSent` is called in the transaction that marks it.
    public init(
        queue: MailQueue, sender: MailSender, host: Bytes, clock: Clock, entropy: Entropy, log: Log,
        send: @escaping @Sendable (MailMessage) throws(SMTPError) -> Void,
        whenSent: @escaping @Sendable (ClaimedMail, Timestamp, any Writer) throws -> Void
    ) {
        self.queue = queue
        self.sender = sender
        self.host = host
        self.clock = clock
        self.entropy = entropy
        self.log = log
        self.send = send
        self.whenSent = whenSent
    }

    /// Sends what is due until nothing is, the server makes trouble, or `isStopping`. Returns after how many
    /// milliseconds to come again. Throws what the database throws.
    public func run(isStopping: () -> Bool = { false }) throws -> Int {
        while !isStopping(), let mail = try queue.claim(now: clock.now()) {
            guard let error = attempt(mail) else {
                let now = clock.now()
                try queue.sent(mail, now: now) { try whenSent(mail, now, $0) }
                log.info("mail.sent", ["id": .bytes(mail.id), "attempts": .integer(mail.attempts)])
                continue
            }
            try note(error, mail)
            if case .authentication = error { return Self.loginPauseMilliseconds }
            if error.isOfServer { return Self.serverPauseMilliseconds }
        }
        return Self.pauseMilliseconds
    }

    private func attempt(_ mail: ClaimedMail) -> SMTPError? {
        let message = MailMessage(
            from: sender, to: mail.recipient, subject: mail.text.subject, text: mail.text.text, html: mail.text.html,
            date: mail.createdAt, id: mail.id, domain: host)
        // An id of the queue's and a host of the settings' always make a Message-ID.
        guard let message else { return .malformedReply }
        do throws(SMTPError) {
            try send(message)
            return nil
        } catch {
            return error
        }
    }

    private func note(_ error: SMTPError, _ mail: ClaimedMail) throws {
        let reason = Bytes(error.description)
        if case .refused(let reply) = error {
            try queue.failed(mail, reason, now: clock.now())
            // The server's text may name the receiver: it is in the row, for `skystead mail queue`.
            log.error("mail.refused", ["id": .bytes(mail.id), "code": .integer(reply.code)])
            return
        }
        let wait = try Self.wait(attempts: mail.attempts, entropy)
        try queue.postponed(mail, reason, until: clock.now().adding(seconds: wait))
        let cause: Log.Field =
            switch error {
            case .temporary(let reply), .authentication(let reply?): .integer(reply.code)
            default: .text("\(error)")
            }
        log.warning("mail.postponed", ["id": .bytes(mail.id), "seconds": .integer(Int(wait)), "cause": cause])
    }

    /// Seconds until the next try after `attempts` of them: by the table, and up to a fifth more, so that what failed
    /// together does not come back together.
    static func wait(attempts: Int, _ entropy: Entropy) throws -> Int64 {
        let waits = MailQueue.retrySeconds
        let wait = waits[min(max(attempts, 1), waits.count) - 1]
        let random = Int64(try entropy.bytes(1).first ?? 0)
        return wait + wait * random / 1_275
    }
}
