public import ATProto
public import Base

/// What an account has let a client do: one sign-in of an app, with the family of refresh tokens that keeps it.
public struct AuthorizedSession: Sendable, Equatable {
    /// For so long after it was last used a refresh token of a public client is good: two weeks (atproto OAuth
    /// specification, "Tokens and Session Lifetime").
    public static let publicRefreshSeconds: Int64 = 1_209_600
    /// And its session ends then too, however often it was refreshed.
    public static let publicSecondsMax: Int64 = 1_209_600
    /// The same for a confidential client: 90 days (the specification allows 180).
    public static let confidentialRefreshSeconds: Int64 = 7_776_000
    /// Two years.
    public static let confidentialSecondsMax: Int64 = 63_072_000
    /// An access token is good for so long. (The specification recommends 15 minutes at most where tokens can't be
    /// revoked. These can; it bounds how much of "last used" is not seen.)
    public static let accessSeconds: Int64 = 900

    /// `ses-` and 32 digits. Not secret.
    public let id: Bytes
    public let account: DID
    public let clientID: Bytes
    /// What was granted, or the part of it that the client's metadata still declares.
    public internal(set) var scope: Bytes
    /// The DPoP key that every request must be proved with.
    public let thumbprint: Bytes
    /// Nil for a public client.
    public let key: ClientKeyPin?
    /// A digest of the client's metadata that the person consented to.
    public let metadataDigest: Bytes
    /// The browser that it was authorized in.
    public let device: Bytes?
    public let createdAt: Timestamp
    /// When its tokens were last traded for new ones, or made at first. As access tokens live 15 minutes, the app has
    /// used none of it later than 15 minutes after this: reading needs no write to say "last used".
    public internal(set) var refreshedAt: Timestamp
    /// It ends then unless it is refreshed before.
    public internal(set) var expiresAt: Timestamp

    /// When it ends, refreshed or not.
    public var endsAt: Timestamp {
        createdAt.adding(seconds: key == nil ? Self.publicSecondsMax : Self.confidentialSecondsMax)
    }

    /// When the access token that was made at `refreshedAt` ends.
    public var accessExpiresAt: Timestamp { min(refreshedAt.adding(seconds: Self.accessSeconds), endsAt) }

    /// Begins the time of a refresh token anew.
    mutating func touch(_ now: Timestamp) {
        refreshedAt = now
        let seconds = key == nil ? Self.publicRefreshSeconds : Self.confidentialRefreshSeconds
        expiresAt = min(now.adding(seconds: seconds), endsAt)
    }
}
