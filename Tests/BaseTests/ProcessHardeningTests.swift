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
}
