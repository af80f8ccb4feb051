internal import Glibc

exit(WorkerProgram.main(Array(CommandLine.arguments.dropFirst())))
