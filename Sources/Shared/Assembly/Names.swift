public import Base

/// The names under which the service is known, from the settings.
public struct Names: Sendable {
    /// The host of the service, lower case, without port.
    public let host: Bytes
    /// Scheme, host and port as the world sees them; no slash at the end.
    public let publicURL: Bytes
    /// The domains under which handles are given out, without a dot in front.
    public let handleDomains: [Bytes]
    /// True when everything is meant for one machine: plain HTTP and handles under `.test`.
    public let isLocal: Bool

    public init(_ settings: Settings) {
        host = settings[Settings.host]
        isLocal = host == "localhost"
        let port = settings[Settings.port]
        publicURL =
            settings[Settings.publicURL]
            ?? (isLocal ? Bytes("http://localhost:\(port)") : "https://" + host)
        let given = settings[Settings.handleDomains]
        handleDomains = given.isEmpty ? [isLocal ? "test" : host] : given
    }

    /// The service's own DID.
    public var serviceDID: Bytes { "did:web:" + host }
}
