let words = CommandLine.arguments.dropFirst().compactMap { Int($0) }
try FanOutBench(subscribers: words.first ?? 500, payload: words.dropFirst().first ?? 500).run()
