/// Which addresses an outbound connection may reach: those that the IANA special-purpose registries call globally
/// reachable unicast (RFC 6890, RFC 8190).
///
/// The decision is made on the address that is about to be connected, never on a name or on a looked-up list: a
/// second look-up (DNS rebinding) can't get around it.
enum GlobalAddress {
    /// IPv4 blocks that no connection may reach, as (network, prefix length).
    static let refusedV4: [(network: UInt32, bits: UInt32)] = [
        (0x0000_0000, 8),  // "this network"
        (0x0A00_0000, 8),  // private
        (0x6440_0000, 10),  // carrier-grade NAT
        (0x7F00_0000, 8),  // loopback
        (0xA9FE_0000, 16),  // link-local, cloud metadata
        (0xAC10_0000, 12),  // private
        (0xC000_0000, 24),  // IETF protocol assignments
        (0xC000_0200, 24),  // TEST-NET-1
        (0xC058_6300, 24),  // 6to4 relays, deprecated (RFC 7526)
        (0xC0A8_0000, 16),  // private
        (0xC612_0000, 15),  // benchmarking
        (0xC633_6400, 24),  // TEST-NET-2
        (0xCB00_7100, 24),  // TEST-NET-3
        (0xE000_0000, 4),  // multicast
        (0xF000_0000, 4),  // reserved, and broadcast
    ]

    static func allows(v4 address: UInt32) -> Bool {
        !refusedV4.contains { address >> (32 - $0.bits) == $0.network >> (32 - $0.bits) }
    }

    /// IPv6: global unicast is 2000::/3 and nothing else, so loopback, mapped (::ffff:0:0/96), translated
    /// (64:ff9b::/96, 64:ff9b:1::/48), discard, unique local, link-local, site-local and multicast addresses are
    /// outside already. Inside it these four are refused: their low bits can hold an IPv4 address, or they are
    /// for protocols and examples.
    static func allows(v6 address: [UInt8]) -> Bool {
        guard address.count == 16, address[0] & 0xE0 == 0x20 else { return false }
        let first = UInt16(address[0]) << 8 | UInt16(address[1])
        let second = UInt16(address[2]) << 8 | UInt16(address[3])
        switch first {
        // 2001::/23: Teredo, benchmarking, ORCHID. 2001:db8::/32: examples.
        case 0x2001: return second >= 0x0200 && second != 0x0DB8
        // 6to4
        case 0x2002: return false
        // 3fff::/20: examples (RFC 9637)
        case 0x3FFF: return second >= 0x1000
        default: return true
        }
    }

    /// The decision for 4 or 16 bytes in network order; any other count is refused.
    static func allows(_ bytes: [UInt8]) -> Bool {
        switch bytes.count {
        case 4: allows(v4: bytes.reduce(0) { $0 << 8 | UInt32($1) })
        case 16: allows(v6: bytes)
        default: false
        }
    }
}
