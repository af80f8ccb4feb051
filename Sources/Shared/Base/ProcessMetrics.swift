internal import Glibc

/// What the kernel says about this process, under the names that Prometheus' own clients use.
public enum ProcessMetrics {
    /// Writes them all.
    public static func write(to text: inout MetricsText) {
        text.family("process_resident_memory_bytes", .gauge, help: "Resident memory size.")
        text.sample("process_resident_memory_bytes", value: residentSize())
        text.family("process_cpu_seconds_total", .counter, help: "User and system CPU time.")
        text.sample("process_cpu_seconds_total", microseconds: cpuMicroseconds())
        text.family("process_open_fds", .gauge, help: "Open file descriptors.")
        text.sample("process_open_fds", value: openDescriptors())
        text.family("process_max_fds", .gauge, help: "The limit of open file descriptors.")
        text.sample("process_max_fds", value: maxDescriptors())
        text.family("process_start_time_seconds", .gauge, help: "When the process started, in Unix time.")
        text.sample("process_start_time_seconds", value: Int(clamping: startedAt.seconds))
    }

    /// When this was first asked for, which a host does at its start.
    public static let startedAt = Clock.system.now()

    /// The second number of /proc/self/statm is resident pages (proc(5)).
    private static func residentSize() -> Int {
        let file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return 0 }
        defer { close(file) }
        var buffer = [UInt8](repeating: 0, count: 256)
        let count = buffer.withUnsafeMutableBytes { read(file, $0.baseAddress, $0.count) }
        guard count > 0 else { return 0 }
        let fields = Bytes(Array(buffer[..<count])).split(on: 0x20)
        guard fields.count > 1, let pages = fields[1].decimal else { return 0 }
        return pages &* Int(sysconf(Int32(_SC_PAGESIZE)))
    }

    private static func cpuMicroseconds() -> Int {
        var usage = rusage()
        guard getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage) == 0 else { return 0 }
        return (usage.ru_utime.tv_sec &+ usage.ru_stime.tv_sec) &* 1_000_000
            &+ Int(usage.ru_utime.tv_usec) &+ Int(usage.ru_stime.tv_usec)
    }

    private static func openDescriptors() -> Int {
        guard let directory = opendir("/proc/self/fd") else { return 0 }
        defer { closedir(directory) }
        var count = 0
        while readdir(directory) != nil { count &+= 1 }
        // Without ".", ".." and the directory's own descriptor.
        return max(0, count &- 3)
    }

    private static func maxDescriptors() -> Int {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 0 }
        return Int(clamping: limit.rlim_cur)
    }
}
