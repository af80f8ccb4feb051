public import Base

/// The names that the world may be sent to: the rule that guards outbound requests, for addresses that somebody else
/// will open.
public enum PublicName {
    /// Whether `host`, in lower case, is a DNS name of two or more labels under a name of the public DNS, without a
    /// dot at the end. Addresses in any spelling are none, nor are the special names of RFC 6761.
    public static func isPublic(_ host: Bytes) -> Bool { OutboundURL.isPublicName(host) }
}
