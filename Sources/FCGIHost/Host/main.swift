internal import Glibc

exit(HostProgram.main(Array(CommandLine.arguments.dropFirst())))
