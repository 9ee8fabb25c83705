//! Addresses as they are meant: IPv6 that only carries an IPv4 address is that IPv4 address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The client that `interdict verify` tries paths as: link-local, so that no network has it.
pub const TESTER_V4: Ipv4Addr = Ipv4Addr::new(169, 254, 173, 2);
/// The same for IPv6, of a unique-local network that is ours.
pub const TESTER_V6: Ipv6Addr = Ipv6Addr::new(0xfd1d, 0x17e2, 0xd1c7, 0, 0, 0, 0, 2);
/// Where it asks a resolver on this machine from.
pub const TESTER_LOOPBACK: Ipv4Addr = Ipv4Addr::new(127, 173, 17, 2);

/// Whether an address is that of our own tests, whose attempts make nobody an endpoint.
#[must_use]
pub fn is_tester(address: IpAddr) -> bool {
    [IpAddr::V4(TESTER_V4), IpAddr::V4(TESTER_LOOPBACK), IpAddr::V6(TESTER_V6)].contains(&address.to_canonical())
}

/// The address that a packet in the end goes to: IPv4-mapped addresses (RFC 4291 §2.5.5.2) and those of the well-known NAT64
/// prefix `64:ff9b::/96` (RFC 6052 §2.1) are IPv4 in another coat, and a ban on a range holds for both.
#[must_use]
pub fn meant(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => nat64(v6).map_or_else(|| address.to_canonical(), IpAddr::V4),
    }
}

const fn nat64(address: Ipv6Addr) -> Option<Ipv4Addr> {
    match address.octets() {
        [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d] => Some(Ipv4Addr::new(a, b, c, d)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_coats_come_off_and_nothing_else() {
        for (given, same) in [
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("64:ff9b::192.0.2.1", "192.0.2.1"),
            ("64:ff9b:1::192.0.2.1", "64:ff9b:1::192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("192.0.2.1", "192.0.2.1"),
        ] {
            assert_eq!(meant(given.parse().unwrap()), same.parse::<IpAddr>().unwrap(), "{given}");
        }
    }
}
