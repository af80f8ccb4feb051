internal import Assembly
internal import Base

extension Command {
    static let doctor = Command(
        "doctor", options: lookOptions,
        summary: "check, and from outside too: DNS, certificates, every path of the web server, mail, relays"
    ) { invocation in
        let settings = try ToolSettings.load(asOwner: false)
        let names = Names(settings)
        var front = invocation.value("front").map { Bytes($0) }
        // On one machine only the web server of `up` can be meant; a server with a name is asked by that name.
        if front == nil, names.isLocal { front = UpLock.front(Paths(settings), settings) }
        let checks = Checks(settings: settings, front: front)
        let outside = Outside(checks)
        let server = outside.webServer
        let looks = checks.inside + outside.machine + outside.world + [checks.plc] + outside.peers
        return report(
            looks.map { ($0.name, $0.look()) }, quiet: invocation.has("quiet"), server: server, to: invocation.output)
    }
}
