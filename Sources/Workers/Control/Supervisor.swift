internal import Base
internal import CSystem
internal import Glibc

/// Keeps programs running, from one thread: starts them, notices when they die, starts them again, replaces them
/// one by one when asked, and stops them all in the opposite order.
final class Supervisor {
    /// What the operator asked for, by signal.
    enum Event: Equatable {
        case stop, reload, nothing
    }

    private struct Child {
        let plan: ChildPlan
        var pid: pid_t?
        var isReady = false
        /// Deaths in a row before it was ready.
        var failures = 0
        var startedAt: UInt64 = 0
        /// When it may be started again, by the monotonic clock.
        var notBefore: UInt64 = 0
    }

    /// How often a program may die before it was ready even once, until the supervisor gives up.
    static let failuresMax = 4
    static let restartDelayNanoseconds: UInt64 = 200_000_000
    /// Until one that does not start, and that the service does without, is tried again.
    static let hopelessDelayNanoseconds: UInt64 = 60_000_000_000
    static let readyDeadlineSeconds: UInt64 = 30
    /// How long a program without notification must run to count as started.
    static let settledNanoseconds: UInt64 = 2_000_000_000

    private var children: [Child]
    private var timetable: Timetable
    private let environment: [String: String]
    private let notifications: Int32
    private let signals: sigset_t
    private let output: Output
    private let stopDeadlineSeconds: Int
    /// Processes that were replaced and still drain.
    private var leaving: Set<pid_t> = []

    /// `notifyPath` is where the socket for sd_notify is made.
    init(
        plans: [ChildPlan], timetable: Timetable, environment: [String: String], notifyPath: String,
        stopDeadlineSeconds: Int, output: Output
    ) throws {
        children = plans.map { Child(plan: $0) }
        self.timetable = timetable
        self.output = output
        self.stopDeadlineSeconds = stopDeadlineSeconds
        self.environment = environment.merging(["NOTIFY_SOCKET": notifyPath]) { $1 }
        notifications = csystem_bind_datagram(notifyPath)
        guard notifications >= 0 else { throw SystemError("bind \(notifyPath)") }
        var set = sigset_t()
        sigemptyset(&set)
        for number in [SIGCHLD, SIGTERM, SIGINT, SIGHUP] { sigaddset(&set, number) }
        pthread_sigmask(SIG_BLOCK, &set, nil)
        signals = set
    }

    deinit { close(notifications) }

    /// True when every program that is needed runs and said that it is ready.
    var allAreReady: Bool { children.allSatisfy { !$0.plan.isNeeded || ($0.pid != nil && $0.isReady) } }

    /// Waits up to `milliseconds` for something to happen, deals with it, and says what the operator wants.
    /// Throws `ToolError` when a program cannot be kept running.
    func step(milliseconds: Int) throws -> Event {
        try startWhatIsDue()
        if allAreReady { try timetable.step(environment: environment) }
        // Notifications and the time of the next start are no signals: while any is awaited, the wait is short.
        let wait = allAreReady ? milliseconds : min(milliseconds, 10)
        var timeout = timespec(tv_sec: wait / 1_000, tv_nsec: wait % 1_000 * 1_000_000)
        var set = signals
        let number = sigtimedwait(&set, nil, &timeout)
        readNotifications()
        try reap()
        switch number {
        case SIGTERM, SIGINT: return .stop
        case SIGHUP: return .reload
        default: return .nothing
        }
    }

    private func startWhatIsDue() throws {
        for index in children.indices where children[index].pid == nil {
            guard Clock.monotonicNanoseconds() >= children[index].notBefore else { continue }
            try start(index)
            // In order: what comes later may need what comes before.
            guard children[index].isReady || !children[index].plan.isNeeded else { return }
        }
    }

    private func start(_ index: Int) throws {
        let plan = children[index].plan
        children[index].pid = try Spawn.start(plan, environment: environment)
        children[index].startedAt = Clock.monotonicNanoseconds()
        children[index].isReady = !plan.notifies
    }

    /// Datagrams of sd_notify; the kernel says whose they are.
    private func readNotifications() {
        var buffer = [UInt8](repeating: 0, count: 1_024)
        while true {
            var sender: pid_t = 0
            let count = csystem_receive_datagram(notifications, &buffer, buffer.count, &sender)
            guard count > 0 else { return }
            let lines = Bytes(Array(buffer[..<count])).split(on: 0x0A)
            guard lines.contains("READY=1") else { continue }
            if let index = children.firstIndex(where: { $0.pid == sender }) {
                children[index].isReady = true
                children[index].failures = 0
            }
        }
    }

    private func reap() throws {
        while true {
            var status: Int32 = 0
            let pid = waitpid(-1, &status, WNOHANG)
            guard pid > 0 else { return }
            if leaving.remove(pid) != nil { continue }
            let ending = Ending(status: status)
            if timetable.ended(pid, ending) { continue }
            guard let index = children.firstIndex(where: { $0.pid == pid }) else { continue }
            try died(index, ending)
        }
    }

    private func died(_ index: Int, _ ending: Ending) throws {
        let child = children[index]
        // Whatever it had started goes with it: workers of a killed nginx would keep its port.
        if let pid = child.pid { kill(-pid, SIGKILL) }
        // A program that cannot say that it is ready was so if it did not end at once by itself.
        let lived = Clock.monotonicNanoseconds() &- child.startedAt
        let ran = lived >= Self.settledNanoseconds || ending.isSignal
        let wasReady = child.isReady && (child.plan.notifies || ran)
        children[index].pid = nil
        children[index].isReady = false
        children[index].failures = wasReady ? 0 : child.failures + 1
        children[index].notBefore = Clock.monotonicNanoseconds() &+ Self.restartDelayNanoseconds
        guard children[index].failures >= Self.failuresMax else {
            return output.problem(
                "\(child.plan.name) \(ending); starting it again", remedy: "its log: \(child.plan.logPath)")
        }
        let problem = "\(child.plan.name) does not start: it \(ending)"
        let remedy = "its log ends with:\n\(tail(child.plan))"
        guard !child.plan.isNeeded else { throw ToolError(problem, remedy: remedy) }
        children[index].notBefore = Clock.monotonicNanoseconds() &+ Self.hopelessDelayNanoseconds
        // Once, not once a minute.
        guard children[index].failures == Self.failuresMax else { return }
        output.problem("\(problem); the service goes on without, and it is tried again every minute", remedy: remedy)
    }

    /// The last lines of a child's log.
    private func tail(_ plan: ChildPlan) -> String {
        guard let bytes = try? Files.read(plan.logPath, sizeMax: 64 << 20) else { return "    (no log)" }
        return Bytes(bytes).split(on: 0x0A).filter { !$0.isEmpty }.suffix(6).map { "    \($0)" }.joined(separator: "\n")
    }

    /// Replaces each program that can run beside its successor: the new one is ready before the old one is asked to
    /// stop, and both accept from the same socket, so that no request is lost.
    func rollOver() throws {
        for index in children.indices {
            guard let old = children[index].pid else { continue }
            guard children[index].plan.rollsOver else { continue }
            leaving.insert(old)
            try start(index)
            let deadline = Clock.monotonicNanoseconds() &+ Self.readyDeadlineSeconds &* 1_000_000_000
            while !children[index].isReady, Clock.monotonicNanoseconds() < deadline {
                usleep(2_000)
                readNotifications()
                try reap()
                if children[index].pid == nil { try start(index) }
            }
            guard children[index].isReady else {
                // The old one goes on serving: a broken new version is no outage.
                children[index].pid.map { _ = kill($0, SIGKILL) }
                leaving.remove(old)
                children[index].pid = old
                children[index].isReady = true
                output.problem("the new \(children[index].plan.name) did not get ready; the old one goes on")
                continue
            }
            kill(old, children[index].plan.stopSignal)
        }
    }

    /// Stops everything, last started first; what is still there after its time is killed.
    func stopAll() {
        for (pid, name) in timetable.running {
            kill(pid, SIGTERM)
            wait(for: pid, name: name, seconds: stopDeadlineSeconds)
        }
        for child in children.reversed() {
            guard let pid = child.pid else { continue }
            kill(pid, child.plan.stopSignal)
            let seconds = child.plan.stopDeadlineSeconds ?? stopDeadlineSeconds
            wait(for: pid, name: child.plan.name, seconds: seconds)
        }
        for pid in leaving { wait(for: pid, name: "a process that was replaced", seconds: stopDeadlineSeconds) }
    }

    private func wait(for pid: pid_t, name: String, seconds: Int) {
        let deadline = Clock.monotonicNanoseconds() &+ UInt64(clamping: seconds) &* 1_000_000_000
        var status: Int32 = 0
        while waitpid(pid, &status, WNOHANG) == 0 {
            if Clock.monotonicNanoseconds() > deadline {
                output.problem("\(name) did not stop in \(seconds) s and was killed")
                kill(pid, SIGKILL)
                waitpid(pid, &status, 0)
                return
            }
            usleep(5_000)
        }
    }
}
