internal import CSystem

/// What a process that holds keys does before it reads them.
public enum ProcessHardening {
    /// Sets the core limit to 0 and marks the process as not dumpable, so that neither a crash nor a debugger of the
    /// same user writes its memory out. Throws what the kernel said.
    public static func protectMemory() throws(SystemError) {
        if csystem_protect_memory() != 0 { throw SystemError("protect memory") }
    }

    /// Blocks of at least this many bytes go back to the kernel when they are freed.
    static let returnedSizeMin: Int32 = 4 << 20

    /// Keeps what one thread needed for a moment from staying with it.
    ///
    /// glibc keeps a freed block for the thread that had it, up to the largest size it has seen freed. A password
    /// takes 16 MiB for a moment (scrypt), and soon every thread of a responder kept that: 500 MB after 40 sign-ins.
    public static func returnLargeBlocks() { _ = csystem_map_large_blocks(returnedSizeMin) }
}
