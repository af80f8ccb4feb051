internal import Base
internal import ExchangeSupport
internal import FastCGI
internal import Glibc

// The host with the demo responder, as a process of its own: for tests of signals, inherited sockets and web servers.
// usage: host-fixture [--socket PATH] [--threads N] [--keep] [--drain SECONDS] [--metrics PORT] [--uid UID] [--quiet]

var configuration = FastCGIConfiguration()
configuration.threads = 4
configuration.logsRequests = true
var arguments = CommandLine.arguments.dropFirst()
while let argument = arguments.popFirst() {
    switch argument {
    case "--socket": configuration.socketPath = arguments.popFirst()
    case "--threads": configuration.threads = arguments.popFirst().flatMap { Int($0) } ?? 4
    case "--drain": configuration.drainDeadlineSeconds = arguments.popFirst().flatMap { Int($0) } ?? 10
    case "--metrics": configuration.metricsPort = arguments.popFirst().flatMap { Int($0) }
    case "--uid": configuration.allowedUIDs.append(arguments.popFirst().flatMap { UInt32($0) } ?? 0)
    case "--keep": configuration.keepsConnections = true
    case "--quiet": configuration.logsRequests = false
    default: exit(64)
    }
}
let demo = DemoResponder()
exit(FastCGIHost(configuration: configuration, responder: demo.respond, log: .standardError).run())
