public import Base
internal import CSystem
internal import Glibc
internal import Hosting
internal import Mail
internal import Net
internal import Storage

/// `skystead-worker mail`: hands over what is queued, and looks again every second.
///
/// Two at once do no harm: a mail is leased to one of them.
public enum MailWorker {
    /// Serves until SIGTERM or SIGINT; the mail that is being handed over is finished first. Without a mail server it
    /// says so and returns. Throws what keeps it from starting, and what the database throws: whoever started it
    /// starts it again.
    public static func run(_ settings: Settings, log: Log) throws {
        var set = sigset_t()
        sigemptyset(&set)
        for signal in [SIGTERM, SIGINT] { sigaddset(&set, signal) }
        pthread_sigmask(SIG_BLOCK, &set, nil)
        let manager = ServiceManager()
        guard let delivery = try delivery(settings, log: log) else {
            // Ready and done: to end before that would be a failure in the eyes of systemd.
            manager.send("READY=1")
            log.warning("mail.off", ["problem": "SKYSTEAD_SMTP_URL is not set"])
            return
        }
        manager.send("READY=1")
        log.info("mail.started")
        var isStopping = false
        while !isStopping {
            manager.send("WATCHDOG=1")
            // Between two mails too: a long queue must not keep the process from stopping.
            let milliseconds = try delivery.run {
                manager.send("WATCHDOG=1")
                isStopping = csystem_wait_for_end(0) != 0
                return isStopping
            }
            if !isStopping { isStopping = try waits(milliseconds, manager) }
        }
        manager.send("STOPPING=1")
        log.info("mail.stopped")
    }

    /// What would be run, or nil without a mail server. Throws `Settings.Invalid` for one that may not be asked.
    static func delivery(_ settings: Settings, log: Log) throws -> MailDelivery? {
        let client: SMTPClient
        do throws(SMTPError) {
            guard let set = try Outbound.mail(settings) else { return nil }
            client = set
        } catch {
            throw Settings.Invalid(problems: [
                "SKYSTEAD_SMTP_URL: its host is no public DNS name and is not in SKYSTEAD_ALLOW_PRIVATE_HOSTS"
            ])
        }
        // `Settings` has seen to it that the one comes with the other.
        guard let sender = settings[Settings.mailFrom] else { return nil }
        let paths = Paths(settings)
        let keys = try Keys.load(settings, paths)
        let database = try Databases.openForService(settings, paths, log: log)
        return MailDelivery(
            queue: MailQueue(database: database, sealer: keys.mail, entropy: .system), sender: sender,
            host: Names(settings).host, clock: .system, entropy: .system, log: log,
            send: { message throws(SMTPError) in try client.send(message) }, whenSent: AccountMail.wasSent)
    }

    /// True when it is to stop. Waits in pieces that keep the watchdog content.
    private static func waits(_ milliseconds: Int, _ manager: ServiceManager) throws -> Bool {
        var left = milliseconds
        while left > 0 {
            let piece = min(left, 10_000)
            if csystem_wait_for_end(Int32(piece)) != 0 { return true }
            left -= piece
            manager.send("WATCHDOG=1")
        }
        return false
    }
}
