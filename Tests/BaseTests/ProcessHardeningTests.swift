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

    /// Eight threads, one after the other, each with as much as a password takes: none of it stays.
    @Test func largeBlocksGoBack() async {
        await #expect(processExitsWith: .success) {
            ProcessHardening.returnLargeMemory()
            func resident() throws -> Int {
                let status = try String(contentsOfFile: "/proc/self/status", encoding: .utf8).split(separator: "\n")
                let line = try #require(status.first { $0.hasPrefix("VmRSS:") })
                return try #require(line.split(separator: " ").dropFirst().first.flatMap { Int($0) })
            }
            let size = (16 << 20) + 4_096
            let before = try resident()
            var threads: [Thread] = []
            let done = DispatchSemaphore(value: 0)
            let end = DispatchSemaphore(value: 0)
            for _ in 0..<8 {
                let thread = Thread {
                    for _ in 0..<3 {
                        guard let block = malloc(size) else { return }
                        memset(block, 1, size)
                        free(block)
                    }
                    done.signal()
                    // What a thread keeps is given up when it ends.
                    end.wait()
                }
                thread.start()
                threads.append(thread)
                done.wait()
            }
            #expect(try resident() - before < 16 << 10)
            for _ in threads { end.signal() }
        }
    }
}
