internal import Base
internal import FastCGI
internal import Glibc
internal import Web

// The least that a responder can do, for measuring the host against empty_responder.c.
// usage: bench-empty-responder SOCKET THREADS [--log]

let arguments = CommandLine.arguments
guard arguments.count >= 3, let threads = Int(arguments[2]) else { exit(64) }
var configuration = FastCGIConfiguration(socketPath: arguments[1])
configuration.threads = threads
configuration.logsRequests = arguments.contains("--log")
configuration.keepsConnections = arguments.contains("--keep")
let host = FastCGIHost(
    configuration: configuration,
    responder: { _ in
        var response = Response(status: 200, body: .bytes(Array("hello, world\n".utf8)))
        response.append("Content-Type", "text/plain")
        return response
    }, log: .standardError)
exit(host.run())
