internal import Base
internal import Glibc

exit(Tool.main(Array(CommandLine.arguments.dropFirst()), output: .terminal))
