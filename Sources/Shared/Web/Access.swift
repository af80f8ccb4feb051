/// Who may call an endpoint, and what the endpoint is then told about them.
///
/// The type is the point: an endpoint whose access is `Access<Anonymous>` has no account to read, so it can't use one
/// by mistake, and one that needs an account can't be declared without saying how it is proved.
public struct Access<Caller: Sendable>: Sendable {
    /// For the generated list of endpoints, such as `account(repo:delete)`.
    public let rule: String
    /// Proves who calls, or throws what the caller may know about why not.
    public let check: @Sendable (Request) throws -> Caller

    public init(rule: String, check: @escaping @Sendable (Request) throws -> Caller) {
        self.rule = rule
        self.check = check
    }
}

/// The caller of an endpoint that does not ask who calls.
public struct Anonymous: Sendable {
    public init() {}
}

extension Access where Caller == Anonymous {
    public static var anyone: Access { Access(rule: "anyone") { _ in Anonymous() } }
}
