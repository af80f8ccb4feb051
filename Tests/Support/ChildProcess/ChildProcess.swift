public import Glibc
internal import Synchronization

/// A child of the tests, by posix_spawn(3): it inherits its three standard descriptors and nothing else.
///
/// Not Foundation's `Process`: its children have the signal mask of whichever thread starts them, and it notices an end
/// by a descriptor, which a child that another test starts at the same time inherits too (seen: a wait for ever).
public final class ChildProcess: Sendable {
    public let pid: pid_t
    private let status = Mutex<Int32?>(nil)

    /// Why there is no child.
    public struct Failed: Error {
        public let errno: Int32
    }

    /// Starts `command`, found by PATH. `environment` is all that it has.
    public init(
        _ command: [String], environment: [String: String], input: Int32? = nil, output: Int32? = nil,
        error: Int32? = nil
    ) throws(Failed) {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        for (target, given) in [(Int32(0), input), (1, output), (2, error)] {
            if let given {
                posix_spawn_file_actions_adddup2(&actions, given, target)
            } else if target == 0 {
                posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
            }
        }
        // Closing what is not open is no error here (glibc); nothing in the tests has a higher number.
        for descriptor in Int32(3)..<1_024 { posix_spawn_file_actions_addclose(&actions, descriptor) }
        // Signals as a shell would leave them: the thread that runs a test may have some blocked, and a child that never
        // hears SIGTERM never ends.
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var set = sigset_t()
        sigemptyset(&set)
        posix_spawnattr_setsigmask(&attributes, &set)
        sigfillset(&set)
        posix_spawnattr_setsigdefault(&attributes, &set)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
        let arguments: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) } + [nil]
        let variables: [UnsafeMutablePointer<CChar>?] = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { (arguments + variables).forEach { free($0) } }
        var pid: pid_t = 0
        let code = posix_spawnp(&pid, command[0], &actions, &attributes, arguments, variables)
        guard code == 0 else { throw Failed(errno: code) }
        self.pid = pid
    }

    public func signal(_ number: Int32) {
        status.withLock { if $0 == nil { kill(pid, number) } }
    }

    /// Waits for its end. Returns wait(2)'s status.
    @discardableResult public func wait() -> Int32 {
        status.withLock { status in
            if let status { return status }
            var found: Int32 = 0
            while waitpid(pid, &found, 0) < 0, errno == EINTR {}
            status = found
            return found
        }
    }

    /// The exit status, or nil when a signal ended it. Waits for its end.
    public var exitStatus: Int32? { wait() & 0x7F == 0 ? wait() >> 8 & 0xFF : nil }
    /// The signal that ended it, or nil. Waits for its end.
    public var endingSignal: Int32? { wait() & 0x7F == 0 ? nil : wait() & 0x7F }
}
