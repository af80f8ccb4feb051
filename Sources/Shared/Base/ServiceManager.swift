internal import CSystem
internal import Glibc

/// systemd's notification protocol (sd_notify(3)), over `NOTIFY_SOCKET`: what a long-running program tells whoever
/// started it. Make one, before any other thread runs: it takes the variables out of the environment.
public struct ServiceManager: Sendable {
    private let address: String?
    /// Half of what `WATCHDOG_USEC` allows, or nil when no watchdog is asked for.
    public let watchdogIntervalNanoseconds: UInt64?

    public init() {
        address = getenv("NOTIFY_SOCKET").map { String(cString: $0) }
        let pid = getenv("WATCHDOG_PID").map { Bytes(String(cString: $0)).decimal }
        let microseconds = getenv("WATCHDOG_USEC").flatMap { Bytes(String(cString: $0)).decimal }
        if let microseconds, microseconds >= 2_000, pid == nil || pid == Int(getpid()) {
            watchdogIntervalNanoseconds = UInt64(microseconds).multipliedReportingOverflow(by: 500).partialValue
        } else {
            watchdogIntervalNanoseconds = nil
        }
        for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"] { unsetenv(name) }
    }

    /// Sends `state`, such as `READY=1`. Nothing happens when nobody listens.
    public func send(_ state: StaticString) {
        guard let address else { return }
        // A manager that does not listen is not a reason to stop.
        state.withUTF8Buffer { _ = csystem_send_datagram(address, $0.baseAddress, $0.count) }
    }
}
