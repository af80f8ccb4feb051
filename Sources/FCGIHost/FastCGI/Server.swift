package import Base
internal import CFCGI
internal import CSystem
internal import Glibc
internal import Synchronization
package import Web

/// A fixed number of threads that answer requests from one listening socket. Knows nothing of the process around it.
package final class Server: Sendable {
    let descriptor: Int32
    let configuration: FastCGIConfiguration
    let responder: Responder
    let log: Log
    let acceptFailures: Counter
    private let draining = Atomic<Bool>(false)
    private let workers: [WorkerState]

    package init(
        descriptor: Int32, configuration: FastCGIConfiguration, responder: @escaping Responder, log: Log,
        metrics: Metrics
    ) {
        self.descriptor = descriptor
        self.configuration = configuration
        self.responder = responder
        self.log = log
        let workers = (0..<max(1, configuration.threads)).map { _ in WorkerState() }
        self.workers = workers
        acceptFailures = metrics.counter(
            "skystead_accept_failures_total", help: "Times that accept(2) failed, such as for want of descriptors.")
        metrics.register { text in
            RequestMetrics.write(workers.map(\.metrics), to: &text)
            text.family("skystead_requests_in_flight", .gauge, help: "Threads that serve a request now.")
            let busy = workers.count { $0.isBusy.load(ordering: .relaxed) }
            text.sample("skystead_requests_in_flight", value: busy)
            text.family("skystead_threads", .gauge, help: "Threads that serve requests.")
            text.sample("skystead_threads", value: workers.count)
        }
    }

    var isDraining: Bool { draining.load(ordering: .sequentiallyConsistent) }

    /// The signal that gets an idle thread out of accept(2).
    static let wakeUpSignal = SIGUSR2
    /// An import of 50,000 records touches 124 KiB of it, and without optimization more than 512: what is not touched
    /// is only reserved.
    static let stackSize = 2 << 20

    /// Prepares the process: call once, before `start`, with the signals that end it already blocked.
    package static func prepareProcess() {
        signal(SIGPIPE, SIG_IGN)
        // FCGX_Init puts handlers of its own in place of every default one.
        FCGX_Init()
        signal(SIGPIPE, SIG_IGN)
        _ = csystem_install_wakeup_signal(wakeUpSignal)
    }

    /// Keeps the wake-up signal out of this thread, or lets it in: a thread starts with its creator's mask.
    static func setWakeUps(isBlocked: Bool) {
        var set = sigset_t()
        sigemptyset(&set)
        sigaddset(&set, wakeUpSignal)
        pthread_sigmask(isBlocked ? SIG_BLOCK : SIG_UNBLOCK, &set, nil)
    }

    /// Starts the threads. They inherit the caller's signal mask.
    package func start() throws(SystemError) {
        for worker in workers { try startThread(Boot(server: self, state: worker)) }
    }

    /// Stops accepting and waits for the requests in flight. Returns how many threads were still busy at the deadline.
    package func drain(deadlineSeconds: Int) -> Int {
        draining.store(true, ordering: .sequentiallyConsistent)
        let limit = Clock.monotonicNanoseconds() &+ UInt64(clamping: deadlineSeconds) &* 1_000_000_000
        while true {
            var running = 0
            for worker in workers where worker.isRunning.load(ordering: .acquiring) {
                running &+= 1
                let thread = worker.thread.load(ordering: .acquiring)
                if thread != 0, !worker.isBusy.load(ordering: .sequentiallyConsistent) {
                    pthread_kill(pthread_t(thread), Self.wakeUpSignal)
                }
            }
            if running == 0 { join() }
            if running == 0 || Clock.monotonicNanoseconds() >= limit { return running }
            // A thread may have been between its look at the flag and accept(2): it is woken again.
            usleep(5_000)
        }
    }

    /// Only called when no thread is left in its loop. (A thread is not detached, so that signalling one that has just
    /// ended is harmless.)
    private func join() {
        for worker in workers {
            let thread = worker.thread.exchange(0, ordering: .acquiringAndReleasing)
            if thread != 0 { pthread_join(pthread_t(thread), nil) }
        }
    }

    /// True unless every thread has been busy with one request for longer than `nanoseconds`.
    func makesProgress(within nanoseconds: UInt64) -> Bool {
        let now = Clock.monotonicNanoseconds()
        return workers.contains { worker in
            !worker.isBusy.load(ordering: .relaxed)
                || now &- worker.busySince.load(ordering: .relaxed) < nanoseconds
        }
    }

    private final class Boot: Sendable {
        let server: Server
        let state: WorkerState

        init(server: Server, state: WorkerState) {
            self.server = server
            self.state = state
        }
    }

    private func startThread(_ boot: Boot) throws(SystemError) {
        let code = Threads.start(stackSize: Self.stackSize, detached: false) {
            Self.setWakeUps(isBlocked: false)
            boot.state.thread.store(UInt(pthread_self()), ordering: .releasing)
            var worker = Worker(server: boot.server, state: boot.state)
            worker.run()
            boot.state.isRunning.store(false, ordering: .releasing)
        }
        if code != 0 { throw SystemError("pthread_create", errno: code) }
    }
}
