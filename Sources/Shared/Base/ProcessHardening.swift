internal import CSystem

/// What a process that holds keys does before it reads them.
public enum ProcessHardening {
    /// Sets the core limit to 0 and marks the process as not dumpable, so that neither a crash nor a debugger of the
    /// same user writes its memory out. Throws what the kernel said.
    public static func protectMemory() throws(SystemError) {
        if csystem_protect_memory() != 0 { throw SystemError("protect memory") }
    }

    /// From this many bytes on, memory is given back to the kernel as soon as it is freed.
    private static let largeAllocation: Int32 = 1 << 20

    /// Keeps what a thread needs for a moment from staying with it. glibc raises the size from which it maps an
    /// allocation by itself to that of the largest one that was ever freed: after one scrypt in each thread, with its
    /// 16 MiB, a responder of 24 threads held 300 MiB for good. Call it before there are threads.
    public static func returnLargeMemory() { csystem_return_large_memory(largeAllocation) }
}
