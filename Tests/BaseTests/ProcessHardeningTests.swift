import Base
import Foundation
import Testing

@Suite struct ProcessHardeningTests {
    @Test func protectedMemoryIsNotDumped() async {
        await #expect(processExitsWith: .success) {
            try ProcessHardening.protectMemory()
            let limits = try String(contentsOfFile: "/proc/self/limits", encoding: .utf8).split(separator: "\n")
            let core = limits.first { $0.hasPrefix("Max core file size") }?.split(separator: " ").suffix(3)
            #expect(core == ["0", "0", "bytes"])
        }
    }

    /// What eight threads needed for a moment, twice as much as one thread's heap would keep, is not the process's
    /// for good. In a process of its own: the setting is for the whole one.
    @Test func largeMemoryGoesBack() async {
        await #expect(processExitsWith: .success) {
            func resident() throws -> Int {
                let text = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8)
                return (text.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0) * 4_096
            }
            func use() {
                DispatchQueue.concurrentPerform(iterations: 8) { _ in
                    for _ in 0..<3 {
                        let memory = UnsafeMutableRawPointer.allocate(byteCount: 16 << 20, alignment: 16)
                        memset(memory, 1, 16 << 20)
                        memory.deallocate()
                    }
                }
            }
            ProcessHardening.returnLargeMemory()
            let before = try resident()
            use()
            #expect(try resident() - before < 16 << 20)
        }
    }
}
