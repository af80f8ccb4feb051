internal import Glibc

// Writes from many threads until it is killed, and reports each write on standard output after it was acknowledged.
// Arguments: engine, path or URL, schema, threads. The parent (CrashTests) kills it with SIGKILL and compares.
guard CommandLine.arguments.count == 5, let threads = Int(CommandLine.arguments[4]) else { exit(2) }
CrashChild.run(
    try CrashChild.open(CommandLine.arguments[1], CommandLine.arguments[2], CommandLine.arguments[3]),
    threads: threads)
