internal import CSystem

/// What a process that holds keys does before it reads them.
public enum ProcessHardening {
    /// Sets the core limit to 0 and marks the process as not dumpable, so that neither a crash nor a debugger of the
    /// same user writes its memory out. Throws what the kernel said.
    public static func protectMemory() throws(SystemError) {
        if csystem_protect_memory() != 0 { throw SystemError("protect memory") }
    }
}
