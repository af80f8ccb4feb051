internal import Base
internal import Glibc

/// How to start one of the programs that `up` keeps running.
struct ChildPlan: Sendable {
    let name: String
    let command: [String]
    /// Settings for this child beside the environment of the tool.
    var environment: [String: String] = [:]
    /// The listening socket that it finds as descriptor 0, or nil.
    var socket: Int32?
    /// Where its standard output and error go.
    let logPath: String
    /// True when it says READY=1 (sd_notify(3)); otherwise it counts as ready as soon as it runs.
    let notifies: Bool
    /// The signal that asks it to finish what it has begun and stop.
    var stopSignal = SIGTERM
    /// How long it may take for that where it is not as long as the others.
    var stopDeadlineSeconds: Int?
    /// True when a new one may run beside the old one until that has drained: they share an inherited socket.
    var rollsOver = false
    /// False when the service does its work without it: when it can't be started, that is told and nothing ends.
    var isNeeded = true
}

/// posix_spawn(3) with what a supervisor needs: the socket as descriptor 0, a log, default signals, and an end
/// with its parent.
enum Spawn {
    /// util-linux is essential in Debian; without it a child merely outlives a supervisor that was killed.
    private static let setpriv = "/usr/bin/setpriv"

    /// Starts `plan` and returns its process id.
    static func start(_ plan: ChildPlan, environment: [String: String]) throws(SystemError) -> pid_t {
        var command = plan.command
        if Files.exists(setpriv) { command = [setpriv, "--pdeathsig", "TERM", "--"] + command }

        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        if let socket = plan.socket {
            posix_spawn_file_actions_adddup2(&actions, socket, 0)
        } else {
            posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        }
        posix_spawn_file_actions_addopen(&actions, 1, plan.logPath, O_WRONLY | O_CREAT | O_APPEND, 0o640)
        posix_spawn_file_actions_adddup2(&actions, 1, 2)

        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // A group of its own, so that Ctrl-C reaches the supervisor only, which then stops everything in order.
        posix_spawnattr_setpgroup(&attributes, 0)
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        var all = sigset_t()
        sigfillset(&all)
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setflags(
            &attributes, Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))

        let merged = environment.merging(plan.environment) { $1 }
        return try withCStrings(command) { arguments throws(SystemError) in
            try withCStrings(merged.map { "\($0.key)=\($0.value)" }) { variables throws(SystemError) in
                var pid: pid_t = 0
                let code = posix_spawn(&pid, command[0], &actions, &attributes, arguments, variables)
                guard code == 0 else { throw SystemError("start \(plan.command[0])", errno: code) }
                return pid
            }
        }
    }

    private static func withCStrings<Result>(
        _ strings: [String], _ body: ([UnsafeMutablePointer<CChar>?]) throws(SystemError) -> Result
    ) throws(SystemError) -> Result {
        let copies = strings.map { strdup($0) }
        defer { copies.forEach { free($0) } }
        return try body(copies + [nil])
    }
}

/// What became of a child, for people.
enum Ending: CustomStringConvertible, Equatable {
    case exited(Int32)
    case signalled(Int32)

    /// From waitpid's status (wait(2): the macros do not import).
    init(status: Int32) {
        self = status & 0x7F == 0 ? .exited(status >> 8 & 0xFF) : .signalled(status & 0x7F)
    }

    var isSignal: Bool { if case .signalled = self { true } else { false } }

    var description: String {
        switch self {
        case .exited(let code): "exited with \(code)"
        case .signalled(let number): "was ended by signal \(number)"
        }
    }
}
