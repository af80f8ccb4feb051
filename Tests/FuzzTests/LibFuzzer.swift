#if FUZZER
    // The entry points that libFuzzer calls; only `scripts/fuzz` defines FUZZER. FUZZ_TARGET names the target, and its
    // corpus is written to the folder FUZZ_SEEDS before libFuzzer reads it.
    import Glibc

    private func complain(_ text: String) {
        let line = Array("\(text)\n".utf8)
        _ = write(2, line, line.count)
    }

    private let target: FuzzTarget = {
        guard let name = getenv("FUZZ_TARGET"), let target = FuzzTarget.named(String(cString: name)) else {
            let names = FuzzTarget.all.map(\.name).joined(separator: " ")
            complain("The targets are: \(names)")
            // Not exit: libFuzzer would take that for a crash.
            _exit(64)
        }
        return target
    }()

    @_cdecl("LLVMFuzzerInitialize")
    public func initialize(_: UnsafeMutableRawPointer?, _: UnsafeMutableRawPointer?) -> CInt {
        guard let folder = getenv("FUZZ_SEEDS").map({ String(cString: $0) }) else { return 0 }
        for (index, input) in target.corpus.enumerated() {
            guard let file = fopen("\(folder)/seed-\(index)", "w") else { continue }
            _ = fwrite(input, 1, input.count, file)
            fclose(file)
        }
        return 0
    }

    @_cdecl("LLVMFuzzerTestOneInput")
    public func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
        let input = Array(UnsafeBufferPointer(start: start, count: count))
        if let fault = target.fault(input) {
            complain("\(target.name): \(fault)")
            abort()
        }
        return 0
    }
#endif
