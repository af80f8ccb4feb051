public import Base
public import Net

/// The one client for outbound requests, as the settings allow it.
public enum Outbound {
    /// `also` names hosts that a tool may reach beside those in the settings, such as its own web server.
    public static func client(_ settings: Settings, also: [Bytes] = []) -> HTTPClient {
        HTTPClient(configuration(settings, also: also))
    }

    /// The client for mail, or nil when no mail server is set. Throws `SMTPError.addressNotAllowed`.
    public static func mail(_ settings: Settings) throws(SMTPError) -> SMTPClient? {
        guard let server = settings[Settings.smtpURL] else { return nil }
        return try SMTPClient(server, name: settings[Settings.host], configuration(settings))
    }

    /// What `client` is made from, for a tool that changes it.
    public static func configuration(_ settings: Settings, also: [Bytes] = []) -> HTTPClient.Configuration {
        var configuration = HTTPClient.Configuration()
        configuration.userAgent = Bytes("skystead/\(Version.text)")
        configuration.extraCAFile = settings[Settings.extraCAFile]
        for pair in settings[Settings.hostOverrides] {
            guard let equals = pair.position(of: 0x3D) else { continue }
            configuration.hostOverrides[pair.upTo(equals)] = pair.from(equals + 1)
        }
        configuration.privateHostsAllowed = Set(settings[Settings.allowPrivateHosts] + also)
        return configuration
    }
}

/// The program's version.
public enum Version {
    public static let text = "0.1.0"
}
