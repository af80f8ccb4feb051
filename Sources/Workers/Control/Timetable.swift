internal import Base
internal import CSystem
internal import Glibc

/// One program that does a piece of work and ends, again and again: what a timer of `conf/systemd` starts.
struct TimedPlan: Sendable {
    /// Its units' name in `conf/systemd`.
    let unit: String
    /// The program and its words.
    let program: String
    let words: [String]
    /// From one start to the next, as the unit's `OnCalendar=`.
    let everySeconds: Int
    /// How long one run may take, as the unit's `TimeoutStartSec=`.
    let limitSeconds: Int
    /// It asks the service as others do.
    var needsWebServer = false

    /// Everything that the shipped timers start. ControlTests hold the units to it.
    static let all = [
        TimedPlan(
            unit: "skystead-collect", program: "skystead-worker", words: ["collect"], everySeconds: 3_600,
            limitSeconds: 1_800),
        TimedPlan(
            unit: "skystead-lexicons", program: "skystead-worker", words: ["lexicons"], everySeconds: 300,
            limitSeconds: 2_700),
        TimedPlan(
            unit: "skystead-check", program: "skystead", words: ["check"], everySeconds: 3_600, limitSeconds: 120,
            needsWebServer: true),
    ]

    /// As it is typed.
    var name: String { ([program] + words).joined(separator: " ") }
}

/// Runs what is due under `up`, one run of each at a time. A run that fails is told, and the next comes in its time.
///
/// When one was last started is the time of a file, so that an `up` which is restarted often still gets round to it.
struct Timetable {
    private struct Row {
        let timed: TimedPlan
        let plan: ChildPlan
        let stamp: String
        var pid: pid_t?
        /// By the monotonic clock.
        var startedAt: UInt64 = 0
        var wasEnded = false
    }

    private var rows: [Row]
    private let clock: Clock
    private let output: Output

    /// `programs` is where the programs are, `logs` where each run's output goes, `stamps` where the times are kept.
    init(
        _ timed: [TimedPlan], programs: String, logs: String, stamps: String, clock: Clock = .system, output: Output
    ) throws {
        self.clock = clock
        self.output = output
        rows = timed.map { timed in
            let plan = ChildPlan(
                name: timed.name, command: ["\(programs)/\(timed.program)"] + timed.words,
                logPath: "\(logs)/\(timed.words[0]).log", notifies: false)
            return Row(timed: timed, plan: plan, stamp: "\(stamps)/\(timed.words[0]).last")
        }
        // As a new timer of systemd's: the first run is one interval away.
        for row in rows where Self.time(of: row.stamp) == nil { try Self.touch(row.stamp) }
    }

    private static func touch(_ path: String) throws { try Files.write([], to: path, mode: 0o644) }

    private static func time(of path: String) -> Int64? {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        return Int64(status.st_mtim.tv_sec)
    }

    /// True when one that was last started at `last` is due. A time that is still to come is that of a clock which was
    /// set back since.
    static func isDue(last: Int64?, now: Int64, everySeconds: Int) -> Bool {
        guard let last, last <= now else { return true }
        return now - last >= Int64(everySeconds)
    }

    /// Starts what is due, and ends what takes too long.
    mutating func step(environment: [String: String]) throws {
        let now = clock.now().seconds
        for index in rows.indices {
            let row = rows[index]
            if let pid = row.pid {
                let ran = (Clock.monotonicNanoseconds() &- row.startedAt) / 1_000_000_000
                guard ran >= UInt64(clamping: row.timed.limitSeconds), !row.wasEnded else { continue }
                rows[index].wasEnded = true
                kill(-pid, SIGKILL)
            } else if Self.isDue(last: Self.time(of: row.stamp), now: now, everySeconds: row.timed.everySeconds) {
                try Self.touch(row.stamp)
                rows[index].pid = try Spawn.start(row.plan, environment: environment)
                rows[index].startedAt = Clock.monotonicNanoseconds()
                rows[index].wasEnded = false
            }
        }
    }

    /// False when `pid` is none of these.
    mutating func ended(_ pid: pid_t, _ ending: Ending) -> Bool {
        guard let index = rows.firstIndex(where: { $0.pid == pid }) else { return false }
        let row = rows[index]
        rows[index].pid = nil
        guard ending != .exited(0) else { return true }
        let what = row.wasEnded ? "was still running after \(row.timed.limitSeconds) s and was ended" : "\(ending)"
        output.problem(
            "\(row.plan.name) \(what); the service goes on, and it runs again \(row.timed.everySeconds / 60) min after "
                + "its start", remedy: "its log: \(row.plan.logPath)")
        return true
    }

    /// The processes that run.
    var running: [(pid: pid_t, name: String)] {
        rows.compactMap { row in row.pid.map { ($0, row.plan.name) } }
    }
}
